"""Fingerprints: what a run means changes them, how it is written does not."""

import functools
import importlib.util
import itertools
import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from helpers import python
from hypothesis import given
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
)

ROOT = Path(__file__).parent.parent
PINS = json.loads((ROOT / "tests" / "fingerprints.json").read_text(encoding="utf-8"))
_counter = itertools.count()
pytestmark = pytest.mark.usefixtures("imports_are_no_garbage")


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


def prepare(split, rng, side="left", invert=True):
    return split, rng, side, invert


def dense(units=3, activation="relu", name=None, **settings):
    net = keras.Sequential([keras.Input((4,))], name=name)
    net.add(layers.Dense(units, activation=activation, **settings))
    return net


def conv(**settings):
    settings = {"filters": 2, "kernel_size": 3, **settings}
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(**settings), layers.Flatten()])


def chain(*layers_, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *layers_])


def branching(wiring):
    inputs = keras.Input((4,))
    first = layers.Dense(4)(inputs)
    second = layers.Dense(4)(inputs if wiring != "in a row" else first)
    pairs = {"one twice": [first, first], "first left out": [inputs, second]}
    joined = (layers.Concatenate if wiring != "added" else layers.Add)()(
        pairs.get(wiring, [first, second])
    )
    return keras.Model(inputs, layers.Dense(1)(joined))


def sharing(shared):
    a, b = keras.Input((4,)), keras.Input((4,))
    one = layers.Dense(2)
    two = one if shared else layers.Dense(2)
    return keras.Model([a, b], layers.Add()([one(a), two(b)]))


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


def compiled(optimizer="adam", loss="mse"):
    net = dense()
    net.compile(optimizer, loss)
    return describe_compile(net)


def of_two_outputs(loss):
    inputs = keras.Input((4,))
    net = keras.Model(inputs, {"a": layers.Dense(1)(inputs), "b": layers.Dense(1)(inputs)})
    net.compile("sgd", loss)
    return describe_compile(net)


def cropping():
    """A layer that draws a seed of its own, which only an experiment fixes."""
    net = chain(layers.RandomCrop(8, 8), layers.Flatten(), shape=(28, 28, 1))
    net.compile("sgd", "mse")
    return net


partial, optimizers, losses = functools.partial, keras.optimizers, keras.losses
SETTINGS = [
    {}, {"kernel_size": 5}, {"filters": 3}, {"padding": "same"}, {"strides": 2},
    {"dilation_rate": 2}, {"activation": "relu"}, {"activation": "tanh"}, {"use_bias": False},
    {"kernel_initializer": "he_normal"}, {"kernel_regularizer": "l2"}, {"trainable": False},
    {"dtype": "float16"},
]  # fmt: skip
RANDOM = {
    "RandomRotation": [0.1], "RandomTranslation": [0.1, 0.1], "RandomZoom": [0.1], "RandomFlip": [],
    "RandomShear": [0.1, 0.1], "RandomContrast": [0.1], "GaussianNoise": [0.1],
    "SpatialDropout2D": [0.1],
}  # fmt: skip
PARTIALS = [
    partial(prepare), partial(prepare, side="right"), partial(prepare, side="top"),
    partial(prepare, invert=False), partial(prepare, invert=None), partial(prepare, 1),
    partial(prepare, 2), partial(prepare, side=np.arange(3)), partial(prepare, side=np.arange(4)),
]  # fmt: skip
WIRINGS = ("side by side", "in a row", "one twice", "added", "first left out")
MODELS = {
    "the settings of a layer": lambda: [conv(**settings) for settings in SETTINGS],
    "rates, the order of layers and the input": lambda: [
        *(chain(layers.Dense(4), layers.Dropout(rate)) for rate in (0.1, 0.2, 0.0)),
        chain(layers.Dropout(0.1), layers.Dense(4)),
        chain(layers.Dense(4)),
        chain(layers.Dense(4), layers.Dense(4)),
        chain(layers.Dense(4), shape=(5,)),
    ],
    "an inner model": lambda: [chain(dense(units), layers.Dense(1)) for units in (3, 4)],
    "wiring": lambda: map(branching, WIRINGS),
    "a layer that is shared": lambda: map(sharing, (True, False)),
    "layers that draw at random": lambda: [
        *(chain(getattr(layers, kind)(*given), shape=(8, 8, 1)) for kind, given in RANDOM.items()),
        dense(kernel_initializer=keras.initializers.HeNormal()),
    ],
}
DIFFERENT = {kind: lambda made=made: map(describe_model, made()) for kind, made in MODELS.items()}
DIFFERENT |= {
    "the arguments of a partial": lambda: map(describe_code, [prepare, *PARTIALS]),
    "the optimizer": lambda: map(
        compiled,
        (
            "adam",
            "sgd",
            optimizers.Adam(0.002),
            optimizers.Adam(beta_2=0.99),
            optimizers.Adam(clipnorm=1.0),
            optimizers.Adam(weight_decay=0.1),
            optimizers.SGD(0.01, momentum=0.9),
            optimizers.SGD(0.01, momentum=0.9, nesterov=True),
            optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)),
            optimizers.Adam(optimizers.schedules.ExponentialDecay(0.1, 20, 0.5)),
        ),
    ),
    "the loss": lambda: [
        *(compiled(loss=loss) for loss in ("mse", own_loss, OwnLoss(), OwnLoss(3))),
        compiled(loss=losses.CategoricalCrossentropy()),
        compiled(loss=losses.CategoricalCrossentropy(from_logits=True)),
        compiled(loss=losses.CategoricalCrossentropy(label_smoothing=0.1)),
        compiled(loss=losses.SparseCategoricalCrossentropy()),
    ],
    "the losses of several outputs": lambda: [
        of_two_outputs({"a": "mse", "b": loss}) for loss in ("mse", "mae", own_loss)
    ],
    "a seed that a layer draws": lambda: [
        Experiment("x", arms={"crop": cropping}).fingerprints("quick")
    ],
    "the threads of an operation": lambda: [
        Experiment("x", {"crop": cropping}, exclusive=True, threads=threads).fingerprints("full")
        for threads in (None, 1, 2)
    ],
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_has_another_fingerprint_and_what_is_made_again_the_same(kind):
    first, again = ([*map(digest, DIFFERENT[kind]())] for _ in range(2))
    assert first == again and len(set(first)) == len(first)


WRAPPED = """
import functools
def twice(g):
    @functools.wraps(g)
    def inner(x):
        return 2 * g(x)
    return inner
@twice
def f(x):
    return x + {}
"""
CONFIG = "    def get_config(self):\n        return {{}}"
OWN = {  # A text with a number in it, and what describes the f that it makes.
    "functions that call each other": (
        "def g(n):\n    return f(n - 1)\ndef f(n):\n    return n and g(n) + {}",
        describe_code,
    ),
    "a string with a sign that begins a comment elsewhere": ("f = (lambda: '#{}')", describe_code),
    "the settings of a cache": (
        "import functools\n@functools.lru_cache(maxsize={})\ndef f(x):\n    return x",
        describe_code,
    ),
    "a cached function": (
        "import functools\n@functools.cache\ndef g():\n    return {}\ndef f():\n    return g()",
        describe_code,
    ),
    "a decorated function": (WRAPPED, describe_code),
    "an activation": (
        "from keras import ops\ndef f(x):\n    return ops.tanh(x) * {}",
        lambda f: describe_model(dense(activation=f)),
    ),
    "an initializer": (
        "import keras\nclass f(keras.initializers.Initializer):\n"
        "    def __call__(self, shape, dtype=None, **other):\n"
        f"        return keras.ops.ones(shape) * {{}}\n{CONFIG}",
        lambda f: describe_model(dense(kernel_initializer=f())),
    ),
    "a layer without a configuration": (
        "import keras\nclass f(keras.layers.Layer):\n    def __init__(self, **settings):\n"
        "        super().__init__(**settings)\n    def call(self, x):\n        return x * {}",
        lambda f: describe_model(chain(f())),
    ),
    "a lambda layer": ("f = lambda x: x * {}", lambda f: describe_model(chain(layers.Lambda(f)))),
    "a training step": (
        "import keras\nclass f(keras.Sequential):\n    def train_step(self, data):\n"
        "        return {{'loss': {}}}",
        lambda f: describe_model(f([keras.Input((4,))])),
    ),
    "a loss function": (
        "from keras import ops\ndef f(t, p):\n    return ops.mean((t - p) ** 2) * {}",
        lambda f: compiled(loss=f),
    ),
    "a loss class": (
        "import keras\nclass f(keras.losses.Loss):\n    def call(self, t, p):\n"
        f"        return keras.ops.mean(t - p) * {{}}\n{CONFIG}",
        lambda f: compiled(loss=f()),
    ),
    "a schedule": (
        "import keras\nclass f(keras.optimizers.schedules.LearningRateSchedule):\n"
        f"    def __call__(self, step):\n        return 0.1 * {{}}\n{CONFIG}",
        lambda f: compiled(optimizers.SGD(f())),
    ),
    "an optimizer": (
        "import keras\nclass f(keras.optimizers.SGD):\n"
        "    def update_step(self, g, v, r):\n        v.assign(v - {} * g)",
        lambda f: compiled(f()),
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_own_code_matters_and_where_it_stands_does_not(source, kind):
    text, describe = OWN[kind]
    texts = (text.format(1), "\n\n# moved\n" + text.format(1), text.format(2))
    first, moved, other = (digest(describe(source(each))) for each in texts)
    assert first == moved != other


def test_names_and_their_counters_do_not_matter():
    keras.utils.clear_session()
    first = describe_model(conv())
    for _ in range(3):
        assert describe_model(conv()) == first
    keras.utils.clear_session()
    assert describe_model(conv()) == first
    named = layers.Conv2D(2, 3, name="mine"), layers.Flatten(name="flat")
    assert describe_model(keras.Sequential([keras.Input((8, 8, 1)), *named], name="net")) == first
    assert compiled("adam") == compiled(optimizers.Adam(0.001, name="another"))
    keywords = partial(prepare, side="a", invert=0), partial(prepare, invert=0, side="a")
    assert of(keywords[0]) == of(keywords[1])


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


CONSTANTS = """True False None False 1.0 1.5 'a' 'b' (1,2) (1,3) [1,2] [1,3] [0] [] {'a':1} {'a':2}
{'a':False} {'a':None} {'module':1} {'module':2} np.eye(2) 2*np.eye(2) np.zeros(2) np.zeros((2,1))
np.zeros(2,'int32') np.zeros(1,'int64') np.float32(1) np.float32(2)"""


def test_constants_of_every_kind_matter(source):
    text = "import numpy as np\nK = {}\ndef f(m, s):\n    return K"
    prints, again = (
        [of(source(text.format(each))) for each in CONSTANTS.split()] for _ in range(2)
    )
    assert prints == again
    assert all(one != other for one, other in zip(prints[::2], prints[1::2], strict=True))


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


@pytest.mark.kernel
def test_code_in_a_notebook_has_the_fingerprint_that_it_has_in_a_file(tmp_path, monkeypatch):
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
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("as_a_file")
    parts = (module.Twice, module.measure, module.pick)
    in_a_file = [digest(describe_code(each)) for each in parts]
    # A line magic is not Python: IPython rewrites it.
    cells = [nbformat.v4.new_code_cell(cell) for cell in ("%pwd", text, tail)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, resources={"metadata": {"path": str(ROOT)}}, timeout=120).execute()
    in_cells = [out.text for out in cells[2].outputs if out.get("name") == "stdout"]
    assert "".join(in_cells).split() == in_a_file


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

    base = digest(described())
    assert digest(described(comment="# why", package="b")) == base
    others = {digest(described(**each)) for each in ({"call": 2}, {"helper": 3}, {"k": 2})}
    assert len(others - {base}) == 3


def test_a_subclassed_model_is_a_clear_error():
    class Mine(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="model=<Mine.*allowed are Sequential and functional"):
        describe_model(Mine())


# Whole experiments


def build(units=10):
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(units)])
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return net


LEVEL = 0.5
FITS = (Fit(2, 32, 100), Fit(1, 33, 100), Fit(1, 32, 110), Fit(1, 32))


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


def test_a_change_shows_in_the_part_where_it_was_made(monkeypatch):
    assert set(fingerprint_of()) == {"model", "compile", "fit", "data", "measures"}
    assert changed() == changed(arm=Arm(lambda: build())) == set()  # How it is built is not it.
    for part, changes in (
        ("model", [{"arm": Arm(lambda: build(11))}]),
        ("fit", [{"fit": fit} for fit in FITS]),
        ("fit", [{"arm": Arm(build, fit=fit)} for fit in FITS]),
        ("data", [{"arm": Arm(build, each)} for each in (prepare, *PARTIALS[:2])]),
        ("data", [{"arm": Arm(build, targets=targets)}, {"scale": "full"}]),
        ("measures", [{"measures": {"m": each}} for each in (measure, other_measure)]),
        ("measures", [{"measures": {"n": measure}}, {"measures": {"n": measure, "m": measure}}]),
    ):
        assert [changed(**each) for each in changes] == [{part}] * len(changes)
        assert len({digest(fingerprint_of(**each)) for each in changes}) == len(changes)
    before = fingerprint_of(measures={"m": measure})
    monkeypatch.setitem(globals(), "LEVEL", 0.6)
    assert fingerprint_of(measures={"m": measure}) != before


def test_the_order_of_the_measures_does_not_matter():
    pair = {"m": measure, "n": other_measure}
    assert fingerprint_of(measures=pair) == fingerprint_of(measures=dict(reversed(pair.items())))


@pytest.mark.training
def test_a_fingerprint_is_the_same_in_another_process():
    code = (
        "import json; from tests.test_fingerprint import fingerprint_of, measure; "
        "print(json.dumps(fingerprint_of(measures={'m': measure})))"
    )
    found = python(code, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    assert json.loads(found) == fingerprint_of(measures={"m": measure})


# Hashes


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_a_digest_is_twelve_hexadecimal_digits_of_the_content(description):
    found = digest(description)
    assert len(found) == 12 and int(found, 16) >= 0
    assert digest(json.loads(json.dumps(description))) == found
    assert digest([description]) != found


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})


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
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    settings = {"capture_output": True, "encoding": "utf-8", "cwd": ROOT, "env": environment}
    result = subprocess.run([python, "tests/fingerprint_pins.py"], **settings)
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
