import json
DOSE=[f"{p}, 0..{b}" for p in("same","valid") for b in(1,64,128,181,255,362,512,1024)]
keep={"same, 0..255","valid, 0..255","same, 0..1"}
src='/work/law/chapters/results/padding-collapse.jsonl'; n=0
with open('/work/main/chapters/results/padding-collapse.jsonl','w') as out:
    for l in open(src):
        r=json.loads(l)
        if r.get('arm') in DOSE and r['arm'] not in keep: continue
        out.write(l); n+=1
print(n)
