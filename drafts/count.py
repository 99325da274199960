import json,sys
from collections import defaultdict
for f in sys.argv[1:]:
    d=defaultdict(list)
    for l in open(f):
        r=json.loads(l)
        if 'arm' not in r: continue
        d[r['arm']].append((r['epochs'][-1]['test_accuracy'],r['measures'].get('gradient_norm')))
    for a,v in d.items():
        print(f"{a:32} n={len(v):2} collapsed={sum(x<.5 for x,_ in v):2} zero={sum(g<1e-30 for _,g in v):2} partial={sum(.15<x<.5 for x,_ in v)} acc={sorted(round(x,3) for x,_ in v)[:3]}..{sorted(round(x,3) for x,_ in v)[-2:]}")
