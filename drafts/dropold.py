"""dropold.py ID...: remove the `old:` block of these claims from claims.yml, keeping the layout."""
import re,sys
P='/work/main/chapters/claims.yml' if not sys.argv[1].startswith('/') else sys.argv.pop(1)
lines=open(P).read().split('\n'); out=[]; inside=False; cur=None
for l in lines:
    m=re.match(r'- id: (\S+)',l)
    if m: cur=m[1]
    if inside:
        if l.startswith('    ') : continue   # deeper
        if l=='' : inside=False
        elif re.match(r'  \S',l) and not l.startswith('  old:') and not l.startswith('    '): inside=False
        elif l.startswith('- ') or re.match(r'\S',l): inside=False
        else: continue
    if l=='  old:' and cur in sys.argv[1:]: inside=True; continue
    out.append(l)
open(P,'w').write('\n'.join(out))
