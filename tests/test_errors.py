"""What is refused, room by room: the message names the argument, its value and what is allowed."""

import builtins

import numpy as np
import pandas as pd
import pytest
from helpers import refused, runs_of

from utils import data, figures, widgets
from utils.data import load_mnist
from utils.evidence import artifacts, statistics
from utils.evidence.statistics import judge, mean, p_value, paired_difference, proportion
from utils.experiments import Arm, Experiment, Fit, by_scale, metrics, models
from utils.theory import arithmetic as ar
from utils.theory import reference as ref

# Data

X = np.random.default_rng(1).random((4, 28, 28, 1), np.float32)
FLAT = np.full((1, 3, 3), 0.5)


def split(*arguments):
    return load_mnist("quick").split(*arguments)


def replaced(name, change):
    whole = split(0)
    return whole.replace(**{name: change(getattr(whole, name))})


def with_pixel(value):
    def change(x):
        x = x.copy()
        x[3, 5, 5, 0] = value
        return x

    return change


def held_out(images):
    return data.hold_out(split(3, 200), np.random.default_rng(3), images)


NO_IMAGES = [np.zeros((28, 28)), [[0.0]], np.zeros((1, 1, 1, 1, 1))]
TAKE_IMAGES = [
    lambda x: data.shift(x, 0, 0),
    data.digit_boxes,
    lambda x: data.place(x, 0, 0),
    lambda x: data.to_border(x, "top"),
    lambda x: data.contrast(x, 0.5),
    lambda x: data.rotate(x, 10),
]
DATA = [
    *[
        (lambda take=take, x=x: take(x), "x is …; it must be an array of shape")
        for take in TAKE_IMAGES
        for x in NO_IMAGES
    ],
    *[
        (lambda take=take: take(np.array([[[0.0, 2.0]]])), "x holds 0..2; pixels must be in 0..1")
        for take in TAKE_IMAGES[-2:]
    ],
    *[
        (lambda take=take: take(np.zeros((1, 2, 2), np.uint8)), "x is uint8; it must be floating")
        for take in TAKE_IMAGES[-2:]
    ],
    (lambda: load_mnist("huge"), "scale is 'huge'; …'quick' and 'full'"),
    (lambda: split(-1), "seed is -1"),
    (lambda: split(2**32), "seed is 4,294,967,296; allowed are 0 to 4,294,967,295"),
    (lambda: split(1.5), "TypeError: seed is 1.5"),
    (lambda: split(None), "TypeError: seed is None"),
    (lambda: split(True), "TypeError: seed is True"),
    (lambda: split(0, 9), "train_size is 9; allowed are 10 to 4,000"),
    (lambda: split(0, 4_001), "train_size is 4,001"),
    (lambda: split(0, 3_995), "train_size is 3,995; allowed are 10 to 3,990, and all 4,000"),
    (lambda: split(0, 0.5), "TypeError: train_size is 0.5"),
    (lambda: split(0).replace(x_tset=X), "no array of a split is named ['x_tset']"),
    (lambda: replaced("x_train", lambda x: x * 255), "x_train holds 0..255; pixels must be in 0"),
    (lambda: replaced("x_train", with_pixel(-0.1)), "x_train holds -0.1..1; pixels must be in 0"),
    (lambda: replaced("x_train", with_pixel(np.nan)), "x_train holds nan..nan"),
    (lambda: replaced("x_train", np.float64), "x_train is float64 of shape"),
    (
        lambda: replaced("x_train", lambda x: x[..., 0]),
        "x_train is float32 of shape (4000, 28, 28)",
    ),
    (lambda: replaced("x_train", lambda x: x[:9].tolist()), "x_train is list"),
    (lambda: replaced("y_test", np.int32), "y_test is int32"),
    (lambda: replaced("y_test", lambda y: y + 1), "y_test holds 1..10; labels are 0 to 9"),
    (lambda: replaced("y_test", lambda y: y - 1), "y_test holds -1..8; labels are 0 to 9"),
    (
        lambda: replaced("y_test", lambda y: y[:-1]),
        "x_test holds 1,000 images and y_test 999 labels",
    ),
    (lambda: replaced("x_test", lambda x: x[:, 1:]), "one network must be able to take both"),
    (lambda: held_out(0), "images is 0; allowed are 1 to 199"),
    (lambda: held_out(200), "images is 200; allowed are 1 to 199"),
    (lambda: held_out(10.0), "TypeError: images is 10.0; it must be a whole number"),
    (lambda: data.shift(X, 29, 0), "dy is 29; allowed are -28 to 28"),
    (lambda: data.shift(X, 0, -29), "dx is -29; allowed are -28 to 28"),
    (lambda: data.shift(X, 0.5, 0), "TypeError: dy is 0.5; it must be a whole number"),
    (lambda: data.shift(X, 0, "1"), "TypeError: dx is '1'"),
    (lambda: data.rotate(X, np.nan), "degrees is nan; allowed is a finite number"),
    (lambda: data.rotate(X, np.inf), "degrees is inf; allowed is a finite number"),
    (lambda: data.digit_boxes(np.zeros((2, 6, 7))), "x[0] is all black"),
    (lambda: data.to_border(X, "middle"), "side is 'middle'; allowed are 'top', 'bottom'"),
    (lambda: data.to_border(X[:, :20], "top"), "as high as wide"),
    (lambda: data.place(FLAT, 0, 2, 4), "column is 2 for x[0], … allowed are 0 to 1"),
    (lambda: data.place(FLAT, -1, 0, 4), "row is -1 for x[0]"),
    (lambda: data.place(FLAT, 0, 0, 2), "size is 2; the digit of x[0] measures 3 pixels"),
    (lambda: data.place(FLAT, 0, 0, 0), "size is 0; allowed are 1 or more"),
    (lambda: data.place(FLAT, 0.5, 0), "TypeError: row is 0.5"),
    (lambda: data.place(FLAT, 0, np.array([0, 1])), "column has shape (2,)"),
    (lambda: data.contrast(X, -0.1), "factor is -0.1; allowed is 0"),
    (lambda: data.contrast(X, 1.1), "factor is 1.1; allowed is 0"),
    (lambda: data.contrast(X, np.nan), "factor is nan; allowed is 0"),
]

# Theory

Z, K = np.zeros((1, 4, 4, 2)), np.zeros((3, 3, 2, 1))
WHOLE = "must be a whole number of at least 1, got"
THEORY = [
    (lambda: ref.conv2d(Z[0], K), "x must … (any, any, any, 2), … (4, 4, 2)"),
    (lambda: ref.conv2d(Z[..., :1], K), "x must … (any, any, any, 2), … (1, 4, 4, 1)"),
    (lambda: ref.conv2d(Z.astype(int), K), "x must be a floating-point array"),
    (lambda: ref.conv2d(Z, K[0]), "kernel must be a floating-point array"),
    (lambda: ref.conv2d(Z, K, dilation=2), "kernel must be no larger"),
    (lambda: ref.conv2d(Z, K, stride=0), f"stride {WHOLE} 0"),
    (lambda: ref.conv2d(Z, K, padding="half"), "padding must be …got 'half'"),
    (lambda: ref.conv2d_input_gradient(Z, K, (6, 6)), "dy must be"),
    (lambda: ref.conv2d_kernel_gradient(Z, Z, (3, 3)), "dy must be"),
    (lambda: ref.max_pool(Z, 2, 0), f"stride {WHOLE} 0"),
    (lambda: ref.max_pool(Z, 2, padding="full"), 'padding must be "valid" or "same"'),
    (lambda: ref.max_pool_gradient(Z, Z), "dy must be"),
    (lambda: ref.average_pool_gradient(Z, Z), "dy must be"),
    (lambda: ref.dropout(Z, 1, Z > 0), "rate must be at least 0 and below 1, got 1"),
    (lambda: ar.output_size(0, 3), f"size {WHOLE} 0"),
    (lambda: ar.output_size(28, 3.0), f"kernel {WHOLE} 3.0"),
    (lambda: ar.output_size(28, 3, 0), f"stride {WHOLE} 0"),
    (lambda: ar.output_size(28, 3, 0, "same"), f"stride {WHOLE} 0"),
    (lambda: ar.output_size(28, 0, 1, "same"), f"kernel {WHOLE} 0"),
    (lambda: ar.output_size(28, 3, dilation=0), f"dilation {WHOLE} 0"),
    (lambda: ar.output_size(28, True), f"kernel {WHOLE} True"),
    (lambda: ar.output_size(5, 3, dilation=3), "of 5 cells, got kernel=3 … effective size of 7"),
    (lambda: ar.output_size(28, 3, padding="half"), "padding must be \"valid\"…got 'half'"),
    (lambda: ar.output_size(28, 3, padding=-1), "padding must be …got -1"),
    (lambda: ar.output_size(28, 3, padding=(1, 2, 3)), "padding must be …got"),
    (lambda: ar.transposed_output_size(3, 3, 2, output_padding=2), "below stride=2, got 2"),
    (lambda: ar.transposed_output_size(3, 3, 2, output_padding=-1), "least 0, got -1"),
    (lambda: ar.transposed_output_size(2, 3, padding="full"), "no input gives size=2"),
    (lambda: ar.conv_parameters(3, 8, 3, groups=2), "groups must divide channels_in=3"),
    (lambda: ar.conv_parameters(3, 8, (3, 3, 3)), "kernel must be one whole number or two"),
    (lambda: ar.dense_parameters(-1, 8), f"units_in {WHOLE} -1"),
    (lambda: ar.batch_norm_parameters(0), f"channels {WHOLE} 0"),
    (lambda: ar.conv_multiply_adds(0, 1, 1, 1), f"positions {WHOLE} 0"),
    (lambda: ar.receptive_field([]), "must hold a layer"),
    (lambda: ar.receptive_field([3]), "layer 0 must be …got 3"),
    (lambda: ar.receptive_field([(3, 2, "same")]), "layer 0, … needs a size"),
]

# Experiments


def experiment(**settings):
    return Experiment(**{"name": "x", "arms": {"a": len}, **settings})


SETTINGS = [
    ({"name": "Two Arms"}, "name='Two Arms'; allowed are lower-case letters, digits"),
    ({"name": ""}, "name=''"),
    ({"name": "../x"}, "name='../x'"),
    ({"arms": {}}, "arms={}…at least one"),
    ({"arms": by_scale({"a": len}, {})}, "arms={} at full scale"),
    ({"arms": [len]}, "arms=…mapping"),
    ({"arms": {"a": "tiny"}}, "arms: 'a'='tiny'…builds its model"),
    ({"arms": {"a": Arm(None)}}, "arms: 'a'=None"),
    (
        {"arms": {"a": models.classifier()}},
        "arms: 'a'=<Sequential…a function that builds",
    ),
    ({"arms": {3: len}}, "arms: 3=…a text as the name"),
    ({"quick_arms": ["a", "c"]}, "quick_arms=['a', 'c']; allowed are names of arms…'a'"),
    ({"quick_arms": []}, "quick_arms=[]; …at least one"),
    ({"seeds": [0, 1, 2, 1]}, "seeds=(0, 1, 2, 1): seed 1 is there twice"),
    ({"seeds": by_scale(2, [3, 3])}, "seed 3 is there twice"),
    ({"seeds": 0}, "seeds=0 at quick scale; allowed are how many, at least 1"),
    ({"seeds": []}, "seeds=[]"),
    ({"seeds": by_scale(1, -2)}, "seeds=-2 at full scale"),
    ({"seeds": [-1]}, "seeds=[-1]…from 0 to"),
    ({"seeds": [2**32]}, "seeds=[4294967296]"),
    ({"seeds": 2.5}, "seeds=2.5"),
    ({"seeds": [0.5]}, "seeds=[0.5]"),
    ({"seeds": "012"}, "seeds='012'"),
    ({"seeds": True}, "seeds=True"),
    ({"seeds": iter([1, 2])}, "seeds=<list_iterator…sequence"),
    ({"epochs": 0}, "epochs=0 at quick scale; allowed are whole numbers ≥ 1"),
    ({"epochs": by_scale(1, 2.5)}, "epochs=2.5 at full scale"),
    ({"epochs": "1"}, "epochs='1'"),
    ({"epochs": True}, "epochs=True"),
    ({"batch_size": -3}, "batch_size=-3"),
    ({"train_size": 5}, "train_size=5 at quick scale; allowed are None and"),
    ({"train_size": 100.0}, "train_size=100.0"),
    ({"train_size": np.int64(100)}, "train_size="),
    ({"shuffle": by_scale(True, 1)}, "shuffle=1 at full scale; allowed are True and"),
    ({"test_every": 0}, "test_every=0 at quick scale; allowed are whole numbers ≥ 1"),
    ({"arms": {"a": Arm(len, fit=Fit(epochs=-1))}}, "epochs=-1"),
    ({"threads": 1}, "threads=1 with exclusive=False; allowed is None, and for an exclusive"),
    ({"threads": 0, "exclusive": True}, "threads=0…a whole number from 1"),
    ({"threads": True, "exclusive": True}, "threads=True"),
    ({"metrics": {"seed": len}}, "metrics: 'seed'=…any name but"),
    ({"metrics": {"m": 3}}, "metrics: 'm'=3; allowed are functions"),
    ({"history_metrics": {"seconds": len}}, "history_metrics: 'seconds'=…any name but"),
    ({"artifacts": {"m": None}}, "artifacts: 'm'=None; allowed are functions"),
    ({"metrics": {"m": len}, "history_metrics": {"m": len}}, "metrics: 'm' is the name of two"),
]
ONE = [[0.5, 0.5]]
EXPERIMENTS = [
    *[(lambda given=given: experiment(**given), message) for given, message in SETTINGS],
    (lambda: experiment().run("index"), "scale='index'; allowed are 'quick', 'full'"),
    (lambda: models.pairs(0), "count=0; allowed are 1, 2, 3 and 4"),
    (lambda: models.pairs(5), "count=5; allowed are 1, 2, 3 and 4"),
    (lambda: models.pairs(2.5), "count=2.5; allowed are 1, 2, 3 and 4"),
    (lambda: metrics.reliability(ONE, [0], 0), "bins=0; allowed are whole numbers ≥ 1"),
    (lambda: metrics.reliability(ONE, [0, 1]), "shape (1, 2) and labels (2,); allowed"),
    (lambda: metrics.reliability([0.5], [0]), "shape (1,)"),
    (lambda: metrics.reliability(np.zeros((0, 2)), []), "n ≥ 1"),
    (lambda: metrics.reliability([[1.5, -0.5]], [0]), "hold -0.5..1.5; allowed is 0..1"),
    (lambda: metrics.reliability([[np.nan, 0.5]], [0]), "hold nan"),
]

# Evidence

FIVE = [0.981, 0.984, 0.979, 0.990, 0.983]
FRAME = runs_of("metric", a=FIVE, b=FIVE[::-1], short=FIVE[:3], one=[0.9], twos=[2.0, 1.0])
MIXED = pd.concat([FRAME, FRAME.assign(scale="quick")])
ABOVE = statistics.Estimate(0.5, 5, "fixed", lambda confidence: (0, 1))
NEEDS = "artifact 'w' has the dtype …finite real numbers"
EVIDENCE = [
    (lambda: paired_difference(FRAME, "acuracy", "a", "b"), "metric='acuracy'…'metric'"),
    (lambda: paired_difference(FRAME, "metric", "A", "b"), "arm='A'…['a', 'b', 'short'"),
    (lambda: paired_difference(FRAME, "metric", "a", "B"), "arm='B'"),
    (
        lambda: paired_difference(FRAME, "metric", "a", "short"),
        "'a' and baseline='short' have the seeds [0, 1, 2, 3, 4] and [0, 1, 2]",
    ),
    (lambda: mean(FRAME, "metric", "one"), "1 seed(s)… at least two"),
    (lambda: mean(FRAME, "arm", "a"), "metric='arm' holds …numbers"),
    (lambda: mean(MIXED, "metric", "a"), "several experiments or scales"),
    (lambda: mean(FRAME[["arm"]].iloc[:0], "accuracy", "a"), "metric='accuracy'"),
    *[
        (lambda call=call, bad=bad: call(bad), "metric='metric'…arm 'a', seed(s) [4]")
        for bad in (FRAME.replace(FIVE[4], value) for value in (np.nan, np.inf))
        for call in (
            lambda frame: paired_difference(frame, "metric", "a", "b"),
            lambda frame: mean(frame, "metric", "a"),
            lambda frame: proportion(frame, "metric", "a"),
        )
    ],
    (lambda: proportion(FRAME, "metric", "twos"), "metric='metric' holds [1.0, 2.0]…'twos'"),
    (lambda: statistics.proportion_difference(FRAME, "metric", "a", "twos"), "0 or 1"),
    (lambda: proportion(FRAME, "metric", "none"), "arm='none'"),
    (lambda: judge(ABOVE, 0, "increase"), "margin=0; allowed is a number above 0"),
    (lambda: judge(ABOVE, -1, "increase"), "margin=-1"),
    (lambda: judge(ABOVE, float("nan"), "increase"), "margin=nan"),
    (lambda: judge(ABOVE, 1, "up"), "expect='up'; allowed are 'increase', 'decrease'"),
    (lambda: p_value(ABOVE, 0, "increase"), "margin=0"),
    (lambda: ABOVE.interval(95), "confidence=95; allowed is 0 < confidence < 1"),
    (lambda: ABOVE.interval(0), "confidence=0"),
    (lambda: ABOVE.interval(float("nan")), "confidence=nan"),
    (lambda: statistics.control_false_discoveries([0.1, 1.2]), "p_values=…from 0 to 1"),
    (lambda: statistics.control_false_discoveries([0.1, np.nan]), "p_values="),
    (lambda: statistics.control_false_discoveries([0.1], 5), "rate=5; allowed is 0 < rate < 1"),
    (lambda: artifacts.pack("w", np.array([1, np.nan])), NEEDS),
    (lambda: artifacts.pack("w", np.array([np.inf])), NEEDS),
    (lambda: artifacts.pack("w", np.array(["a"])), NEEDS),
    (lambda: artifacts.pack("w", np.array([1j])), NEEDS),
    (lambda: artifacts.pack("w", [None]), NEEDS),
    (
        lambda: artifacts.pack("w", np.broadcast_to(np.float32(0), (2**24 + 1,))),
        "artifact 'w' has 67,108,868 bytes; allowed are 67,108",
    ),
]

# Figures

ALT = "A picture in a sentence"
ARMS = runs_of(max=[0.98, 0.97, 0.99], mean=[0.95, 0.96, 0.97], none=[0.90, 0.94, 0.95])
UNKNOWN = "arms ['meen'] are not there; allowed are ['max', 'mean', 'none']"
DRAW = figures.convolution_arithmetic
VALID = {"size": 5, "kernel": 3}


def sweep(arms, **how):
    figures.sweep(ARMS, "test_accuracy", arms, xlabel="", alt=ALT, **how)


def grid(rows, *columns, **how):
    figures.image_grid(rows, *columns, alt=ALT, **how)


def pixels(values):
    figures.image(figures.figure()[1][0, 0], values)


FIGURES = [
    (lambda: figures.compare(ARMS, arms=["max", "meen"], alt=ALT), UNKNOWN),
    (lambda: figures.compare(ARMS, baseline="meen", alt=ALT), UNKNOWN),
    (lambda: figures.compare(ARMS, differences={"a": ("max", "meen")}, alt=ALT), UNKNOWN),
    (lambda: figures.compare(ARMS, groups={"a": ["meen"]}, alt=ALT), UNKNOWN),
    (lambda: figures.curves(ARMS, arms={"max": "", "meen": ""}, alt=ALT), UNKNOWN),
    (lambda: figures.tradeoff(ARMS, "train_size", arms=["meen"], alt=ALT), UNKNOWN),
    (lambda: figures.cumulative(ARMS, ["max", "none", "meen"], alt=ALT), UNKNOWN),
    (lambda: sweep({"a": {"meen": 1}}), UNKNOWN),
    (lambda: sweep("{x} images"), "arms='{x} images' fits none of the arms"),
    (lambda: sweep("{x}", spread="all"), "spread='all'…'interval', 'band' and 'range'"),
    (lambda: figures.tradeoff(ARMS, {"max": 1, "mean": 2}, alt=ALT), "x has no entry for ['none']"),
    (lambda: figures.cumulative(ARMS, ["max"], alt=ALT), "steps has 1 arms with runs; allowed are"),
    (lambda: grid([]), "rows has at most"),
    (lambda: grid([[]]), "rows has at most"),
    (lambda: grid([[FLAT[0]]], ["one", "two"]), "rows has at most"),
    (lambda: grid([[FLAT[0]]], shared="rows"), "shared='rows'; allowed are 'all', 'row'"),
    *[
        (lambda draw=draw, bad=bad: draw(bad), message)
        for bad, message in (
            (np.zeros((2, 2, 2)), "shape (2, 2, 2)"),
            (np.zeros((0, 3)), "shape (0, 3)"),
            ([[0.0, np.nan]], "1 values that are not finite"),
            ([[0.0, -1.0, 3.0]], "down to -1; allowed are values ≥ 0, unless signed=True"),
        )
        for draw in (pixels, lambda values: grid([[values]]))
    ],
    (lambda: DRAW({}), "cases has 0 entries"),
    (lambda: DRAW({"a": VALID}, 0), "columns=0"),
    (lambda: DRAW({"far": VALID | {"at": (3, 0)}}), "case 'far': at=(3, 0); the output has 3"),
    (
        lambda: DRAW({"cut": {"size": 9, "kernel": 3, "padding": 3, "transposed": True}}),
        "case 'cut': padding=3 crops more",
    ),
    (lambda: figures.glue_numbers(None, {}, "miles"), "unit='miles'; allowed are 'points'"),
    (lambda: figures.glue_numbers(None, {}, scale="large"), "scale='large'; allowed are 'full'"),
    (
        lambda: figures.glue_claims({"a": "max-or-mean"}),
        "settled['a']='max-or-mean'; the claim has no exact",
    ),
]

# Widgets


def states(*names, alt="A picture in a sentence"):
    return [(name, figures.figure()[0], alt) for name in names]


def draw(labels, images, **more):
    net = models.keras.Sequential([models.keras.Input((28, 28, 1)), models.layers.Flatten()])
    net.add(models.layers.Dense(10))
    widgets.draw_a_digit({"net": net}, {"A": (labels, images)}, **more)


DIGIT = np.zeros((1, 28, 28), np.uint8)
WIDGETS = [
    (lambda: widgets.slider([], "label"), "states has 0 entries"),
    (lambda: widgets.slider(states("a"), "label"), "states has 1 entries"),
    (lambda: widgets.slider(states("a", "a"), "label"), "named ['a', 'a']; a name may stand there"),
    (lambda: widgets.slider(states("a", "b"), " "), "label=' '"),
    (lambda: widgets.slider(states("", "b"), "label"), "states named ['', 'b']"),
    (lambda: widgets.slider(states("a", "b", alt="short"), "label"), "alt='short'"),
    (lambda: widgets.draw_a_digit({"net": None}, {}), "0 groups of examples"),
    (lambda: draw([1], np.zeros((2, 28, 28), np.uint8)), "examples['A'] has 1 labels"),
    (lambda: draw([1], np.zeros((1, 28, 28))), "dtype float64; allowed is the shape"),
    (lambda: draw([], DIGIT[:0]), "has 0 labels"),
    (lambda: draw([1], DIGIT, first=1), "first=1; allowed"),
    *[
        (lambda given=given: widgets.explorer(**given), message)
        for given, message in (
            ({"size": 11}, "size=11; allowed is a whole number from 1 to 10"),
            ({"kernel": 2.0}, "kernel=2.0; allowed is a whole number from 1 to 5"),
            ({"stride": True}, "stride=True; allowed is a whole number"),
            (
                {"padding": "half"},
                'padding=\'half\'; allowed is "valid", "same", "full" or a whole',
            ),
            ({"padding": -1}, "padding=-1; allowed is"),
            ({"size": 3, "kernel": 5}, "kernel must be no larger than the padded input of 3"),
            ({"size": 1, "padding": 3, "transposed": True}, "no input gives size=1"),
            ({"image": np.ones((4, 4))}, "image has shape (4, 4)…of shape (5, 5, 1)"),
            ({"weights": np.ones((3, 3, 2))}, "weights has shape … of shape (3, 3, 1, 1)"),
            ({"image": np.full((5, 5), np.nan)}, "allowed is an array of finite numbers"),
            ({"weights": np.full((3, 3), "a")}, "weights has shape … dtype <U1"),
            ({"filters": 2, "bias": [1, 2, 3]}, "bias has shape (3,)…shape (2,)"),
        )
    ],
]

ROOMS = {"data": DATA, "theory": THEORY, "experiments": EXPERIMENTS, "evidence": EVIDENCE}
ROOMS |= {"figures": FIGURES, "widgets": WIDGETS}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(*row, id=f"{room}-{number}")
        for room, rows in ROOMS.items()
        for number, row in enumerate(rows)
    ],
)
def test_a_refusal_names_the_argument_its_value_and_what_is_allowed(call, message):
    kind, _, words = message.rpartition("Error: ")
    with refused(words, getattr(builtins, f"{kind or 'Value'}Error")):
        call()
