import yaml,sys,os
from collections import defaultdict
led=yaml.safe_load(open('/work/main/chapters/claims.yml'))
claims=led['claims'] if isinstance(led,dict) else led
d=defaultdict(lambda: defaultdict(set)); ch={}
for c in claims:
    for kind in('parts','further'):
        for p in c.get(kind,[]):
            e=p.get('experiment')
            if e and not os.path.exists(f'/work/main/chapters/results/{e}.jsonl'):
                ch.setdefault(c['chapter'],set()).add(e)
                d[e]['arms']|={str(p.get('treatment')),str(p.get('baseline'))}
                d[e]['metrics'].add(p.get('metric')); d[e]['claims'].add(c['id'])
for c in ch:
    print('##',c)
    for e in sorted(ch[c]):
        print('  ',e,'\n      arms',sorted(map(str,d[e]['arms'])),'\n      metrics',d[e]['metrics'],'\n     ',d[e]['claims'])
