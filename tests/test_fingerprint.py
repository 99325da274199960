"""Fingerprints: what a run means changes them, how it is written does not."""

import functools
import gc
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from nbclient import NotebookClient

from tests import fingerprint_pins
from utils.experiments import Arm, Experiment, Fit
from utils.experiments.fingerprint import (
    describe_code,
    describe_compile,
    describe_model,
    digest,
    plain,
)

ROOT = Path(__file__).parent.parent
PINS = json.loads((ROOT / "tests" / "fingerprints.json").read_text(encoding="utf-8"))
_counter = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_garbage():
    """Spare `clear_session`, which collects garbage, a look at all that TensorFlow imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def source(tmp_path):
    """Make a function from its text, as if it stood in a file."""

    def make(text, name="f"):
        path = tmp_path / f"written_{next(_counter)}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, name)

    return make


def of(function):
    return digest(describe_code(function))


def differ(*described):
    return len({digest(each) for each in described}) == len(described)


# Code


PLAIN = """
def f(model, split):
    return model.x + 1
"""


@pytest.mark.parametrize(
    "other",
    [
        "def f(model, split):  # why\n    # because\n    return model.x + 1",
        'def f(model, split):\n    """Say what it does."""\n    return model.x + 1',
        "def f(model, split):\n    '''Two\n\n    lines.'''\n\n    return model.x + 1",
        "def f( model,split ):\n  return (model . x\n     +1)",
        "def f(\n    model,\n    split,\n):\n    return model.x + 1",
        "UNREAD = 3\n\n\ndef f(model, split):\n    return model.x + 1",
        "x = 4\n\n\ndef f(model, split):\n    return model.x + 1",  # An attribute is no global.
    ],
)
def test_comments_docstrings_and_formatting_do_not_matter(source, other):
    assert of(source(other)) == of(source(PLAIN))


@pytest.mark.parametrize(
    "other",
    [
        "def f(model, split):\n    return model.x + 2",
        "def f(model, split):\n    return model.y + 1",
        "def f(model, split=None):\n    return model.x + 1",
        'def f(model, split):\n    "#a"\n    return model.x + 1 + len("#a")',
    ],
)
def test_the_code_matters(source, other):
    assert of(source(other)) != of(source(PLAIN))


READERS = {
    "plainly": "def f(m, s):\n    return K",
    "in a comprehension": "def f(m, s):\n    return [K for _ in range(3)]",
    "in a generator": "def f(m, s):\n    return sum(K for _ in range(3))",
    "in an inner function": "def f(m, s):\n    def g():\n        return K\n    return g()",
    "in an inner lambda": "def f(m, s):\n    return (lambda: K)()",
    "in a helper": "def g():\n    return K\n\ndef f(m, s):\n    return g()",
    "in a helper's helper": "def h():\n    return K\ndef g():\n    return h()\n"
    "def f(m, s):\n    return g()",
    "as a default": "def f(m, s, k=K):\n    return k",
    "as a keyword's default": "def f(m, s, *, k=K):\n    return k",
    "in a lambda": "f = lambda m, s: K",
    "as a lambda's default": "f = lambda m, s, k=K: k",
    "around it": "def make(k):\n    def f(m, s):\n        return k\n    return f\nf = make(K)",
    "in a class that it uses": "class C:\n    def g(self):\n        return K\n"
    "def f(m, s):\n    return C().g()",
    "in a partial that it uses": "import functools\ndef h(k):\n    return k\n"
    "g = functools.partial(h, K)\ndef f(m, s):\n    return g()",
    "in a class": "class f:\n    def call(self):\n        return K",
    "in a class's static method": "class f:\n    @staticmethod\n    def call():\n        return K",
    "in a class's property": "class f:\n    @property\n    def call(self):\n        return K",
    "in a class's base": "class B:\n    def call(self):\n        return K\nclass f(B):\n    pass",
    "as a class's attribute": "class f:\n    k = K",
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_constant_matters_wherever_it_is_read(source, reader):
    three, again, four = (source(f"K = {k}\n{reader}") for k in (3, 3, 4))
    assert of(three) == of(again) != of(four)


@pytest.mark.parametrize(
    "first, second",
    [
        ("True", "False"),
        ("None", "False"),
        ("1.0", "1.5"),
        ("'a'", "'b'"),
        ("(1, 2)", "(1, 3)"),
        ("[1, 2]", "[1, 3]"),
        ("[0]", "[]"),
        ("{'a': 1}", "{'a': 2}"),
        ("{'a': False}", "{'a': None}"),
        ("{'module': 1}", "{'module': 2}"),
        ("np.eye(2)", "2 * np.eye(2)"),
        ("np.zeros(2)", "np.zeros((2, 1))"),
        ("np.zeros(2, 'int32')", "np.zeros(1, 'int64')"),
        ("np.float32(1)", "np.float32(2)"),
    ],
)
def test_constants_of_every_kind_matter(source, first, second):
    text = "import numpy as np\nK = {}\ndef f(m, s):\n    return K"
    assert of(source(text.format(first))) == of(source(text.format(first)))
    assert of(source(text.format(first))) != of(source(text.format(second)))


def test_functions_that_call_each_other_have_a_fingerprint(source):
    text = "def g(n):\n    return f(n - 1)\ndef f(n):\n    return n and g(n) + {}"
    assert of(source(text.format(1))) == of(source(text.format(1))) != of(source(text.format(2)))


def test_a_lambda_is_found_in_the_middle_of_an_expression(source):
    text = """
    measures = {{
        "first": lambda model, split: model.x + 1,
        "second": lambda model, split: (  # several lines
            model.y
            + {}
        ),
    }}
    f = measures["{}"]
    """
    assert of(source(text.format(1, "second"))) != of(source(text.format(2, "second")))
    assert of(source(text.format(1, "first"))) == of(source(text.format(2, "first")))


def test_lambdas_hold_their_strings(source):
    # A sign that begins a comment elsewhere.
    assert of(source("f = (lambda: '#a')")) != of(source("f = (lambda: '#b')"))


def test_the_code_of_decorated_functions_matters(source):
    cached = "import functools\n@functools.lru_cache(maxsize={})\ndef f(x):\n    return x + {}"
    prints = [of(source(cached.format(*numbers))) for numbers in ((1, 1), (2, 1), (1, 2), (1, 1))]
    assert prints[0] == prints[3] and len(set(prints)) == 3
    user = "import functools\n@functools.cache\ndef g():\n    return {}\ndef f():\n    return g()"
    assert of(source(user.format(1))) == of(source(user.format(1))) != of(source(user.format(2)))
    wrapped = """
    import functools
    def twice(g):
        @functools.wraps(g)
        def inner(x):
            return {} * g(x)
        return inner
    @twice
    def f(x):
        return x + {}
    """
    prints = {of(source(wrapped.format(a, b))) for a, b in ((2, 1), (2, 2))}
    assert len(prints) == 2


def prepare(split, rng, side="left", invert=True):
    return split, rng, side, invert


def test_the_arguments_of_a_partial_matter():
    partial = functools.partial
    described = [
        describe_code(each)
        for each in (
            prepare,
            partial(prepare),
            partial(prepare, side="right"),
            partial(prepare, side="top"),
            partial(prepare, invert=False),
            partial(prepare, invert=None),
            partial(prepare, 1),
            partial(prepare, 2),
            partial(prepare, side=np.arange(3)),
            partial(prepare, side=np.arange(4)),
        )
    ]
    assert differ(*described)
    assert of(partial(prepare, side="a", invert=0)) == of(partial(prepare, invert=0, side="a"))


@given(st.dictionaries(st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.text()))
@settings(deadline=None)
def test_no_keyword_of_a_partial_is_lost(keywords):
    described = describe_code(functools.partial(prepare, **keywords))
    assert len(described[2]) == len(keywords)
    for keyword, value in keywords.items():
        assert [keyword, value] in described[2]


def test_no_function_is_none():
    assert describe_code(None) is None


class Callable_:
    def __call__(self, model, split):
        return 1.0


@pytest.mark.parametrize(
    "function",
    [np.tanh, len, Callable_(), Callable_().__call__, eval("lambda model, split: 1")],
)
def test_what_has_no_source_is_a_clear_error(function):
    with pytest.raises(
        ValueError, match=r"function=.* has no source text .* allowed are functions"
    ):
        describe_code(function)


def test_a_function_typed_at_a_prompt_is_a_clear_error():
    code = """
    from utils.experiments.fingerprint import describe_code
    exec("def f(model, split):\\n    return 1.0")
    try:
        describe_code(f)
    except ValueError as error:
        print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT
    )
    assert "function=<function f at" in result.stdout and "notebook cell" in result.stdout, result


def test_code_in_a_notebook_has_the_fingerprint_that_it_has_in_a_file(tmp_path):
    text = """
    import keras
    K = 3
    class Twice(keras.layers.Layer):
        "Doubles."
        factor = 2
        def call(self, x):
            return x * self.factor * K
    def measure(model, split):
        return K
    pick = {"a": lambda labels: labels + K}["a"]
    """
    tail = """
    from utils.experiments.fingerprint import describe_code, digest
    print(*[digest(describe_code(each)) for each in (Twice, measure, pick)])
    """
    text, tail = textwrap.dedent(text), textwrap.dedent(tail)
    (tmp_path / "as_a_file.py").write_text(text)
    in_a_file = subprocess.run(
        [sys.executable, "-c", f"from as_a_file import Twice, measure, pick\n{tail}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    # A line magic is not Python: IPython rewrites it.
    cells = [nbformat.v4.new_code_cell(cell) for cell in ("%pwd", text, tail)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, resources={"metadata": {"path": str(ROOT)}}, timeout=120).execute()
    in_cells = [out.text for out in cells[2].outputs if out.get("name") == "stdout"]
    assert in_a_file.stdout == "".join(in_cells) and in_cells, in_a_file.stderr


# Models


def dense(units=3, activation="relu", name=None, **settings):
    net = keras.Sequential([keras.Input((4,))], name=name)
    net.add(layers.Dense(units, activation=activation, **settings))
    return net


def conv(**settings):
    settings = {"filters": 2, "kernel_size": 3, **settings}
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(**settings), layers.Flatten()])


def test_names_and_their_counters_do_not_matter():
    keras.utils.clear_session()
    first = describe_model(conv())
    for _ in range(3):
        assert describe_model(conv()) == first
    keras.utils.clear_session()
    assert describe_model(conv()) == first
    named = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="mine"), layers.Flatten(name="flat")],
        name="net",
    )
    assert describe_model(named) == first


def test_names_in_inner_models_do_not_matter_and_their_settings_do():
    def nested(units):
        return keras.Sequential([keras.Input((4,)), dense(units), layers.Dense(1)])

    first = describe_model(nested(3))
    assert describe_model(nested(3)) == first
    assert differ(first, describe_model(nested(4)))


def test_each_setting_of_a_layer_matters():
    assert differ(
        *map(
            describe_model,
            (
                conv(),
                conv(kernel_size=5),
                conv(filters=3),
                conv(padding="same"),
                conv(strides=2),
                conv(dilation_rate=2),
                conv(activation="relu"),
                conv(activation="tanh"),
                conv(use_bias=False),
                conv(kernel_initializer="he_normal"),
                conv(kernel_regularizer="l2"),
                conv(trainable=False),
                conv(dtype="float16"),
            ),
        )
    )


@given(
    st.tuples(
        *2 * [st.tuples(st.integers(1, 4), st.sampled_from(["relu", "tanh", None]), st.booleans())]
    )
)
@settings(max_examples=30, deadline=None)
def test_two_models_share_a_fingerprint_exactly_when_their_settings_are_equal(pair):
    first, second = (
        describe_model(dense(units, activation, use_bias=bias)) for units, activation, bias in pair
    )
    assert (digest(first) == digest(second)) == (pair[0] == pair[1])


def test_rate_of_dropout_order_of_layers_and_input_matter():
    def net(*layers_, shape=(4,)):
        return keras.Sequential([keras.Input(shape), *layers_])

    assert differ(
        *map(
            describe_model,
            (
                net(layers.Dense(4), layers.Dropout(0.1)),
                net(layers.Dense(4), layers.Dropout(0.2)),
                net(layers.Dense(4), layers.Dropout(0.0)),
                net(layers.Dropout(0.1), layers.Dense(4)),
                net(layers.Dense(4)),
                net(layers.Dense(4), layers.Dense(4)),
                net(layers.Dense(4), shape=(5,)),
            ),
        )
    )


def branching(wiring):
    inputs = keras.Input((4,))
    first = layers.Dense(4)(inputs)
    second = layers.Dense(4)(inputs if wiring != "in a row" else first)
    pair = [first, second] if wiring != "exchanged" else [second, first]
    if wiring == "one twice":
        pair = [first, first]
    joined = (layers.Concatenate if wiring != "added" else layers.Add)()(pair)
    if wiring == "first left out":
        joined = layers.Concatenate()([inputs, second])
    return keras.Model(inputs, layers.Dense(1)(joined))


WIRINGS = ("side by side", "in a row", "exchanged", "one twice", "added", "first left out")


def test_the_wiring_of_a_branching_model_matters():
    described = [describe_model(branching(wiring)) for wiring in WIRINGS]
    # Two equal branches exchanged are the same net.
    assert digest(described[2]) != digest(described[1])
    assert differ(*(each for number, each in enumerate(described) if number != 2))
    for wiring, each in zip(WIRINGS, described, strict=True):
        assert describe_model(branching(wiring)) == each


def test_a_shared_layer_differs_from_two_equal_ones():
    def net(shared):
        a, b = keras.Input((4,)), keras.Input((4,))
        one = layers.Dense(2)
        two = one if shared else layers.Dense(2)
        return keras.Model([a, b], layers.Add()([one(a), two(b)]))

    assert differ(describe_model(net(True)), describe_model(net(False)))
    assert describe_model(net(True)) == describe_model(net(True))


LAYER = """
import keras
from keras import ops
def helper(x):
    return x * {helper}
@keras.saving.register_keras_serializable("{package}")
class Mine(keras.layers.Layer):
    def __init__(self, k=1, **settings):
        super().__init__(**settings)
        self.k = k
    def call(self, x):
        return helper(x) + {call}  {comment}
    def get_config(self):
        return {{**super().get_config(), "k": self.k}}
"""


@pytest.mark.parametrize("around", ["plain", "inner model", "wrapper"])
def test_the_code_of_own_layers_matters(source, around):
    def described(k=1, **text):
        text = {"helper": 2, "call": 1, "comment": "", "package": "a", **text}
        inner = source(LAYER.format(**text), "Mine")(k=k)
        if around == "inner model":
            inner = keras.Sequential([keras.Input((4, 4)), inner])
        if around == "wrapper":
            inner = layers.TimeDistributed(inner)
        return describe_model(keras.Sequential([keras.Input((4, 4)), inner]))

    base = described()
    assert digest(described(comment="# why", package="b")) == digest(base)
    assert differ(base, described(call=2), described(helper=3), described(k=2))


def test_an_own_layer_without_a_configuration_of_its_own_is_described_by_its_code(source):
    text = """
    import keras

    class Mine(keras.layers.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)

        def call(self, x):
            return x * {}
    """

    def described(factor):
        layer = source(text.format(factor), "Mine")()
        return describe_model(keras.Sequential([keras.Input((4,)), layer]))

    assert digest(described(2)) == digest(described(2)) != digest(described(3))


def test_an_own_activation_and_initializer_matter(source):
    act = "from keras import ops\ndef f(x):\n    return ops.tanh(x) * {}"
    first, again, other = (dense(activation=source(act.format(n))) for n in (1, 1, 2))
    assert digest(describe_model(first)) == digest(describe_model(again))
    assert differ(describe_model(first), describe_model(other), describe_model(dense()))
    init = (
        "import keras\nclass f(keras.initializers.Initializer):\n"
        "    def __call__(self, shape, dtype=None, **other):\n"
        "        return keras.ops.ones(shape) * {}\n    def get_config(self):\n        return {{}}"
    )
    first, again, other = (
        describe_model(dense(kernel_initializer=source(init.format(n))())) for n in (1, 1, 2)
    )
    assert digest(first) == digest(again) != digest(other)


def test_a_lambda_layer_is_described_by_its_code_and_not_by_where_it_stands(source):
    text = "{}f = lambda x: x * {}"

    def described(before, factor):
        inner = layers.Lambda(source(text.format(before, factor)))
        return describe_model(keras.Sequential([keras.Input((4,)), inner]))

    assert digest(described("", 2)) == digest(described("\n\n# moved\n", 2))
    assert digest(described("", 2)) != digest(described("", 3))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.RandomRotation(0.1),
        lambda: layers.RandomTranslation(0.1, 0.1),
        lambda: layers.RandomZoom(0.1),
        lambda: layers.RandomFlip(),
        lambda: layers.RandomShear(0.1, 0.1),
        lambda: layers.RandomContrast(0.1),
        lambda: layers.GaussianNoise(0.1),
        lambda: layers.SpatialDropout2D(0.1),
        lambda: layers.Dense(2, kernel_initializer=keras.initializers.HeNormal()),
    ],
)
def test_layers_that_draw_at_random_have_a_fixed_fingerprint(make):
    first, second = (
        describe_model(keras.Sequential([keras.Input((8, 8, 1)), make()])) for _ in range(2)
    )
    assert digest(first) == digest(second)


def test_a_layer_that_draws_its_own_seed_has_a_fixed_fingerprint_in_an_experiment():
    def build():
        net = keras.Sequential(
            [keras.Input((28, 28, 1)), layers.RandomCrop(8, 8), layers.Flatten()]
        )
        net.compile("sgd", "mse")
        return net

    experiment = Experiment("x", arms={"crop": build})
    assert experiment.fingerprints("quick") == experiment.fingerprints("quick")


def test_an_own_training_step_matters(source):
    text = """
    import keras

    class Mine(keras.Sequential):
        def train_step(self, data):
            return {{"loss": {}}}
    """

    def described(loss):
        return describe_model(source(text.format(loss), "Mine")([keras.Input((4,))]))

    plain = describe_model(keras.Sequential([keras.Input((4,))]))
    assert digest(described(1)) == digest(described(1))
    assert differ(plain, described(1), described(2))


def test_a_subclassed_model_is_a_clear_error():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="model=<Mine.*allowed are Sequential and functional"):
        describe_model(Mine())


# How it was compiled


def compiled(optimizer="adam", loss="mse", **settings):
    net = dense()
    net.compile(optimizer, loss, **settings)
    return describe_compile(net)


def own_loss(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 2)


class OwnLoss(keras.losses.Loss):
    def __init__(self, power=2):
        super().__init__()
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(abs(y_true - y_pred) ** self.power)

    def get_config(self):
        return {"power": self.power}


def test_the_optimizer_and_its_settings_matter():
    optimizers = keras.optimizers
    assert differ(
        compiled("adam"),
        compiled("sgd"),
        compiled(optimizers.Adam(0.002)),
        compiled(optimizers.Adam(beta_2=0.99)),
        compiled(optimizers.Adam(clipnorm=1.0)),
        compiled(optimizers.Adam(weight_decay=0.1)),
        compiled(optimizers.SGD(0.01, momentum=0.9)),
        compiled(optimizers.SGD(0.01, momentum=0.9, nesterov=True)),
        compiled(optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 10, 0.5))),
        compiled(optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 20, 0.5))),
    )
    assert compiled("adam") == compiled(optimizers.Adam(0.001, name="another"))


def test_the_loss_and_its_settings_matter():
    losses = keras.losses
    assert differ(
        compiled(loss="mse"),
        compiled(loss=losses.CategoricalCrossentropy()),
        compiled(loss=losses.CategoricalCrossentropy(from_logits=True)),
        compiled(loss=losses.CategoricalCrossentropy(label_smoothing=0.1)),
        compiled(loss=losses.SparseCategoricalCrossentropy()),
        compiled(loss=own_loss),
        compiled(loss=OwnLoss()),
        compiled(loss=OwnLoss(3)),
    )
    for loss in (lambda: "mse", losses.CategoricalCrossentropy, lambda: own_loss, OwnLoss):
        assert digest(compiled(loss=loss())) == digest(compiled(loss=loss()))


OWN = {
    "loss function": "def f(t, p):\n    return ops.mean((t - p) ** 2) * {}",
    "loss class": "class f(keras.losses.Loss):\n    def call(self, t, p):\n"
    "        return ops.mean(t - p) * {}\n    def get_config(self):\n        return {{}}",
    "schedule": "class f(keras.optimizers.schedules.LearningRateSchedule):\n"
    "    def __call__(self, step):\n        return 0.1 * {}\n"
    "    def get_config(self):\n        return {{}}",
    "optimizer": "class f(keras.optimizers.SGD):\n    def update_step(self, g, v, r):\n"
    "        v.assign(v - {} * g)",
}


@pytest.mark.parametrize("kind", OWN)
def test_the_code_of_own_losses_optimizers_and_schedules_matters(source, kind):
    def described(number):
        mine = source("import keras\nfrom keras import ops\n" + OWN[kind].format(number))
        if kind.startswith("loss"):
            return compiled(loss=mine if kind == "loss function" else mine())
        return compiled(mine() if kind == "optimizer" else keras.optimizers.SGD(mine()))

    assert digest(described(1)) == digest(described(1)) != digest(described(2))


def test_the_losses_of_several_outputs_are_described_each():
    def described(loss):
        inputs = keras.Input((4,))
        net = keras.Model(inputs, {"a": layers.Dense(1)(inputs), "b": layers.Dense(1)(inputs)})
        net.compile("sgd", loss)
        return describe_compile(net)

    assert differ(
        described({"a": "mse", "b": "mse"}),
        described({"a": "mse", "b": "mae"}),
        described({"a": "mse", "b": own_loss}),
    )


# Whole experiments


def build(units=10):
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(units)])
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


LEVEL = 0.5


def measure(model, split):
    return LEVEL


def other_measure(model, split):
    return 1 - LEVEL


def targets(labels):
    return labels


def fingerprint_of(arm=build, fit=None, measures=None, scale="quick"):
    settings = vars(fit or Fit(1, 32, 100))
    experiment = Experiment("x", arms={"a": arm}, seeds=1, metrics=measures or {}, **settings)
    return experiment.fingerprints(scale)["a"]


def changed(**changes):
    now, before = fingerprint_of(**changes), fingerprint_of()
    return {part for part in before if now[part] != before[part]}


def test_a_change_shows_in_the_part_where_it_was_made():
    assert set(fingerprint_of()) == {"model", "compile", "fit", "data", "measures"}
    assert changed() == set()
    assert changed(arm=Arm(lambda: build(11))) == {"model"}
    assert changed(arm=Arm(lambda: build())) == set()  # How it is built is not what it is.
    for fit in (Fit(2, 32, 100), Fit(1, 33, 100), Fit(1, 32, 110), Fit(1, 32)):
        assert changed(fit=fit) == {"fit"}
        assert changed(arm=Arm(build, fit=fit)) == {"fit"}
    assert changed(arm=Arm(build, prepare=prepare)) == {"data"}
    assert changed(arm=Arm(build, targets=targets)) == {"data"}
    assert changed(measures={"m": measure}) == {"measures"}
    assert changed(scale="full") == {"data"}


def test_prepare_targets_and_measures_differ_among_each_other(monkeypatch):
    prints = [
        fingerprint_of(arm=Arm(build, prepare=prepare)),
        fingerprint_of(arm=Arm(build, prepare=functools.partial(prepare, side="right"))),
        fingerprint_of(arm=Arm(build, targets=targets)),
        fingerprint_of(measures={"m": measure}),
        fingerprint_of(measures={"n": measure}),
        fingerprint_of(measures={"m": other_measure}),
        fingerprint_of(measures={"m": measure, "n": other_measure}),
    ]
    monkeypatch.setitem(globals(), "LEVEL", 0.6)
    prints.append(fingerprint_of(measures={"m": measure}))
    assert differ(*prints)


def test_the_order_of_the_measures_does_not_matter():
    pair = {"m": measure, "n": other_measure}
    assert fingerprint_of(measures=pair) == fingerprint_of(measures=dict(reversed(pair.items())))


def test_a_fingerprint_is_the_same_in_another_process():
    code = (
        "import json; from tests.test_fingerprint import fingerprint_of, measure; "
        "print(json.dumps(fingerprint_of(measures={'m': measure})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(result.stdout) == fingerprint_of(measures={"m": measure})


# Hashes


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_a_digest_is_twelve_hexadecimal_digits_of_the_content(description):
    found = digest(description)
    assert len(found) == 12 and int(found, 16) >= 0
    assert digest(json.loads(json.dumps(description))) == found
    assert digest([description]) != found


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


def test_empty_settings_and_bookkeeping_are_left_out_of_a_configuration():
    config = {"units": 3, "seed": None, "flag": False, "extra": {}, "list": [], "dtype": "float32"}
    assert plain({**config, "module": "keras.layers", "registered_name": "x"}) == {"units": 3}
    assert plain({"rate": 0.0, "count": 0, "name": ""}) == {"rate": 0.0, "count": 0, "name": ""}


# The same in every Python and Keras


@pytest.mark.parametrize("group", PINS)
def test_this_python_takes_the_pinned_fingerprints(group):
    assert pins_here()[group] == PINS[group]


@functools.cache
def pins_here():
    return fingerprint_pins.fingerprints()


def other_pythons():
    """List the Pythons of prepared environments: those of `make test-pythons`, or those named."""
    named = os.environ.get("COURSE_PYTHONS", "").split(os.pathsep)
    found = [*filter(None, named), *map(str, sorted(ROOT.glob(".venv-*/bin/python")))]
    return found or [pytest.param("", marks=pytest.mark.skip("no other Python is prepared"))]


@pytest.mark.parametrize("python", other_pythons())
def test_every_other_python_takes_the_pinned_fingerprints(python):
    result = subprocess.run(
        [python, "tests/fingerprint_pins.py"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    assert result.returncode == 0, result.stderr[-2_000:]
    assert json.loads(result.stdout) == PINS


def test_every_kind_of_layer_and_optimizer_of_a_chapter_is_pinned():
    texts = [(ROOT / "utils" / "experiments" / "models.py").read_text(encoding="utf-8")]
    for path in (ROOT / "chapters").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    pattern = r"\b(?:layers|optimizers|schedules|losses|initializers)\.([A-Z]\w+)\("
    used = set(re.findall(pattern, "\n".join(texts)))
    pinned = (ROOT / "tests" / "fingerprint_pins.py").read_text(encoding="utf-8")
    assert len(used) > 20
    assert {kind for kind in used if not re.search(rf"\b{kind}\b", pinned)} == set()
