import json,sys
P='/work/main/chapters/broken-padding.ipynb'
nb=json.load(open(P)); cells={c['id']:c for c in nb['cells']}
def put(i,s): cells[i]['source']=s.strip('\n').splitlines(keepends=True)
put('broken-padding-28','''
### The scale of the pixels

If the clip is the cause, then whatever makes the first logits larger must make a collapse more likely, and padding is only one of such things. The scale of the pixels is another, and it can
be turned up step by step:
''')
put('broken-padding-28b','''
both = pd.concat([result.best, dose_result.best])
label = "quick runs"
if result.recorded.complete and dose_result.recorded.complete:
    label = "20,000 images, 1 epoch"
drawing, axes = figures.figure(7, 3.4, ncols=2, sharey=True)
SHARES = {
    "test_accuracy < 0.5": "proportion of runs that collapse",
    "gradient_norm < 1e-30": "with a gradient of exactly 0",
}
for place, (metric, text) in zip(axes[0], SHARES.items()):
    figures.sweep(
        both,
        {metric: text},
        "{series}, 0..{x}",
        names={"same": "same padding", "valid": "valid padding"},
        xlabel="largest pixel",
        spread="band",
        log=True,
        axes=place,
        label=label,
    )
axes[0, 0].set_ylim(-0.02, 1.02)
figures.show(
    drawing,
    "Against the largest pixel from 1 to 1,024, on a logarithmic axis, for both "
    "paddings with Wilson's intervals: the proportion of runs that collapse, and "
    "of those whose gradient is exactly 0 in the end.",
)
''')
put('broken-padding-29','''
figures.compare(
    result,
    SHARES,
    arms=[*as_asked, *interventions],
    alt="Proportion of the runs that collapse, and of those with a gradient of "
    "exactly 0, for the two networks of the question and five interventions.",
)
''')
put('broken-padding-33','''
figures.compare(
    result,
    {"test_accuracy < 0.5": "proportion of runs that collapse"},
    arms={
        "same, 0..255": "same padding (fails)",
        "valid, 0..255": "valid padding (works)",
        **{name: name for name in remedies},
    },
    alt="Proportion of the runs that collapse for the two networks of the question "
    "and six remedies with same padding and the head of the question.",
)
''')
json.dump(nb,open(P,'w'),indent=1,ensure_ascii=False)
