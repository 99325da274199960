import json,sys
P='/work/main/chapters/broken-padding.ipynb'
nb=json.load(open(P)); cells={c['id']:c for c in nb['cells']}
json.dump(nb,open('/work/broken-padding-with-dose.ipynb','w'),indent=1,ensure_ascii=False)
def put(i,s): cells[i]['source']=s.strip('\n').splitlines(keepends=True)
drop={'broken-padding-24b','broken-padding-24c','broken-padding-28','broken-padding-28b','broken-padding-30'}
nb['cells']=[c for c in nb['cells'] if c['id'] not in drop]
put('broken-padding-20','''
## Predict

The suspects are the padding, which is what was removed; the parameters, of which same padding makes more; dead units; the unscaled pixels; and the `Reshape`, which hides the softmax from the loss. First,
the network of the question keeps everything, its padding too, but its pixels come as 0 to 1.
''')
c=cells['broken-padding-predict-dose']; c['id']='broken-padding-predict-scaled'
cells['broken-padding-predict-scaled']=c
put('broken-padding-predict-scaled','''
widgets.predict(
    "scaled",
    "How often does the network with same padding stay at chance when its pixels are "
    "scaled to 0 to 1?",
    [
        "As often as before: the padding is the cause, and it is still there.",
        "About half as often: smaller pixels make a smaller error.",
        "Hardly ever: the first predictions are no longer certain.",
    ],
)
''')
put('broken-padding-20c','''
The second question is about parameters. A network with valid padding is given a dense layer so wide that it has as many of them as the one that fails.
''')
put('broken-padding-predict-many','''
widgets.predict(
    "many",
    "How often does the wide network with valid padding stay at chance?",
    [
        "As often as the one with same padding: the number of parameters decides.",
        "More often than the narrow one with valid padding, but less often than the "
        "one with same padding.",
        "As seldom as the narrow one: the parameters have nothing to do with it.",
    ],
)
''')
put('broken-padding-30b','''
### The interventions
''')
put('broken-padding-29','''
figures.compare(
    result,
    {
        "test_accuracy < 0.5": "proportion of runs that collapse",
        "gradient_norm < 1e-30": "with a gradient of exactly 0",
    },
    arms=[*as_asked, *interventions],
    alt="Proportion of the runs that collapse, and of those with a gradient of "
    "exactly 0, for the two networks of the question and five interventions.",
)
''')
json.dump(nb,open(P,'w'),indent=1,ensure_ascii=False); open(P,'a').write('\n')
