import json,sys
P='/work/main/chapters/broken-padding.ipynb'
nb=json.load(open(P)); cells={c['id']:c for c in nb['cells']}
def put(i,s,tags=None):
    cells[i]['source']=s.strip('\n').splitlines(keepends=True)
    if tags is not None: cells[i]['metadata']={'tags':tags} if tags else {}
def after(prev,i,kind,s,tags=()):
    if i in cells: put(i,s,list(tags) if kind=='code' else None); return
    c={'cell_type':kind,'id':i,'metadata':{'tags':list(tags)} if tags else {},'source':s.strip('\n').splitlines(keepends=True)}
    if kind=='code': c|={'execution_count':None,'outputs':[]}
    nb['cells'].insert(nb['cells'].index(cells[prev])+1,c); cells[i]=c
put('broken-padding-32','''
Scaled pixels and a loss on logits both keep the padding. With the first the network collapses in {glue:text}`rate-scaled` runs, with the second in {glue:text}`rate-logits`. So same padding
alone breaks nothing.

What has padding to do with it, then? It makes the last feature map nine times larger, more large values add up in the dense layers, and the first logits lie further apart. An image whose true
class lies more than $\\ln 10^{7} \\approx 16$ below the winner is under the clip. Take the size of the first logits away from the one network and give it to the other: with small logits, same
padding collapses in {glue:text}`rate-small` runs, and with large logits valid padding does in {glue:text}`rate-large` instead of {glue:text}`rate-valid`. Padding is not the cause of the fault. It
moves the network closer to an edge, as anything does that makes the first logits larger.
''')
put('broken-padding-33b','''
### The remedies
''')
put('broken-padding-36a' if 'broken-padding-36a' in cells else 'broken-padding-36','''
All six keep the clip between softmax and loss, and make the dense layer smaller. One more block or a stride of 2 leaves few collapses ({glue:text}`rate-block` and
{glue:text}`rate-stride` runs); 20 filters or 64 dense units leave many ({glue:text}`rate-filters` and {glue:text}`rate-dense`). Is it the range of the first logits again?
''')
if 'broken-padding-36a' not in cells:
    cells['broken-padding-36']['id']='broken-padding-36a'; cells['broken-padding-36a']=cells.pop('broken-padding-36')
# the table goes behind it
t=cells['broken-padding-31']; nb['cells'].remove(t); nb['cells'].insert(nb['cells'].index(cells['broken-padding-36a'])+1,t)
put('broken-padding-31','''
def range_at_start(name):
    """Range of an image's ten first logits: median, and mean of three seeds."""
    ranges = []
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        net = collapse.arms[name].build()
        hidden = keras.Model(net.inputs[0], net.layers[-3].output)
        kernel, bias = net.layers[-2].get_weights()
        logits = hidden(split.x_train[:500]).numpy() @ kernel + bias
        ranges.append(np.median(np.ptp(logits, axis=1)))
    return np.mean(ranges)


at_start = {name: range_at_start(name) for name in collapse.arms}
assert at_start["dense 64"] > at_start["same, 0..255"]  # as the text says
accuracy = last_epoch(result.best).groupby("arm")["test_accuracy"]
shares = accuracy.apply(lambda runs: f"{(runs < 0.5).mean():.0%}")
pd.DataFrame(
    {
        "range of the first logits": {k: round(v, 1) for k, v in at_start.items()},
        "runs that collapse": shares,
    }
).sort_values("range of the first logits").fillna("–")
''',['hide-input'])
after('broken-padding-31','broken-padding-36','markdown','''
In part. Networks whose first logits are small do not collapse. But a dense layer of 64 has larger first logits than one of 512, since Keras draws larger weights for a smaller layer, and it
collapses less often all the same. What happens in the first few updates counts as well.

So what should you do? Scale the pixels *and* keep the logits to the end. Scaling alone makes the trap unlikely; the
logits remove it. In new code, end the network in `Dense(10)`, and write `from_logits=True`.

## The verdict
''')
after('broken-padding-37','broken-padding-outcome-scaled','code','''
if result.recorded.complete:
    accuracy = last_epoch(result.recorded.frame).set_index("arm")["test_accuracy"]
    counts = (accuracy < 0.5).groupby("arm").sum()
    runs = accuracy.groupby("arm").size()
    assert counts["same, 0..1"] == 0 < 20 < counts["same, 0..255"]  # so C is right
    widgets.outcome(
        "scaled",
        "C",
        [
            f"The padding is still there, and {counts['same, 0..1']} of "
            f"{runs['same, 0..1']} runs collapse.",
            "The error has nothing to do with it: what counts is whether any image "
            "has a gradient.",
            f"{counts['same, 0..1']} of {runs['same, 0..1']} runs collapse, and "
            f"{counts['same, 0..255']} of {runs['same, 0..255']} with pixels to 255.",
        ],
    )
''',['hide-input'])
after('broken-padding-38','broken-padding-outcome-many','code','''
if result.recorded.complete:
    wide, valid = counts["valid, as many parameters"], counts["valid, 0..255"]
    low, high = too_many.rows[0].estimate.interval()
    widgets.outcome(
        "many",
        "A" if low > 0.5 else "B" if low > 0 else "C",
        [
            f"{wide} of {runs['valid, as many parameters']} runs of the wide network "
            f"collapse, and {counts['same, 0..255']} with same padding.",
            f"{wide} runs of the wide network collapse, and {valid} of the narrow one: "
            "so many more can be chance."
            if low <= 0
            else f"{wide} runs of the wide network collapse, and {valid} of the narrow "
            "one.",
            f"{wide} runs collapse, and {valid} of the narrow network.",
        ],
    )
''',['hide-input'])
put('broken-padding-40','''
for claim, verdict in {
    "padding-broke-it": "supported",
    "too-many-parameters": "TELL",
    "remedies-work": "TELL",
}.items():
    result.expect(claim, verdict)
if result.recorded.complete:
    zero = last_epoch(result.recorded.frame).set_index("arm")["gradient_norm"] == 0
    assert counts["same, logits"] == 0 < counts["valid, 0..255"]
    assert not zero["same, logits"].any() and not zero["same, 0..1"].any()
    shift = {row.part.treatment: row.estimate.interval() for row in broke_it.rows}
    assert max(shift["same, small logits"]) < 0 < min(shift["valid, large logits"])
figures.glue_claims(
    {"broke": broke_it, "many": too_many, "remedies": remedies_work},
    {"many": ["many-wide", "many-dense", "many-logits"]},
)
COUNTED = {
    "same": "same, 0..255",
    "valid": "valid, 0..255",
    "scaled": "same, 0..1",
    "logits": "same, logits",
    "small": "same, small logits",
    "large": "valid, large logits",
    "wide": "valid, as many parameters",
    "block": "one more block",
    "pool": "last pool 4",
    "stride": "stride 2",
    "filters": "20 filters",
    "dense": "dense 64",
    "two": "last map (2, 2, 64)",
}
figures.glue_numbers(
    result,
    {f"rate-{key}": ("test_accuracy < 0.5", arm) for key, arm in COUNTED.items()},
    "percent",
    "{count} of {runs}",
)


def stuck_between(runs):
    """Highest accuracy of a run that collapsed though it has a gradient."""
    last = last_epoch(runs).query("arm == 'same, 0..255' and test_accuracy < 0.5")
    return f"{last[last['gradient_norm'] > 0]['test_accuracy'].max():.0%}"


zeros = ("gradient_norm < 1e-30", "same, 0..255")
figures.glue_numbers(result, {"zero-same": zeros}, "percent", "{count}")
figures.glue_numbers(result, {"between": stuck_between})
''')
put('broken-padding-41','''
*Does same padding break it?* As an observation, **{glue:text}`broke-full`**: with
same padding {glue:text}`rate-same` runs collapse, with valid padding {glue:text}`rate-valid`. In {glue:text}`zero-same` runs with same padding the gradient is exactly 0 in the end. The other collapsed
runs have a few images left above the clip, and an accuracy of {glue:text}`between` at most.

*Is it the parameters?* **{glue:text}`many-full`**. TELL The network with valid padding and as many parameters collapses in {glue:text}`rate-wide` runs. (It is no clean control: with the weights
that Keras draws, a wider layer makes the first logits smaller.) With 64 dense units the network has fewer parameters than the one that
works, and collapses in {glue:text}`rate-dense`: less often than with 512, {glue:text}`many-dense-full`. And with every parameter in place and logits at its end it collapses in
{glue:text}`rate-logits`.

*Are the units dead?* Some are, as the count above shows, but not all, and the stuck weights learn again as soon as the loss sees the logits. So dead units are not what stops the learning.

*Do the remedies work?* **{glue:text}`remedies-full`**. TELL They make a collapse less likely and remove nothing. The source saw the network often stay at 10 % with a last feature map of (2, 2, 64);
here it collapses in {glue:text}`rate-two` runs.

*What would change our mind.* These runs see 20,000 images once, with Adam at its default learning rate and
Keras's default initial weights. Another optimiser or another initialisation moves the edge. A network that
collapsed with its softmax in sight of the loss would refute our explanation; so would one that recovered
from a gradient of exactly zero.

*Quick runs*, two of each network: same against valid padding, {glue:text}`broke-quick`.
''')
json.dump(nb,open(P,'w'),indent=1,ensure_ascii=False); open(P,'a').write('\n')
