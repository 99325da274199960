"""mdsub.py: sub(file, old, new) on one file's text, checked to occur once (for notebooks, in markdown sources)."""
import json
def sub(path, old, new):
    if path.endswith('.ipynb'):
        nb=json.load(open(path)); n=0
        for c in nb['cells']:
            s=''.join(c['source'])
            if c['cell_type']=='markdown' and old in s:
                n+=s.count(old); c['source']=s.replace(old,new).splitlines(keepends=True)
        assert n==1,(path,n,old)
        open(path,'w').write(json.dumps(nb,indent=1,ensure_ascii=False)+'\n')
    else:
        s=open(path).read(); assert s.count(old)==1,(path,s.count(old),old); open(path,'w').write(s.replace(old,new))
