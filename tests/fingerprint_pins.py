"""What every Python and every Keras that the course supports must take the same fingerprint of.

``python tests/fingerprint_pins.py`` prints those of all kinds of code below, and of every kind of
layer, loss and optimizer that chapters use. `fingerprints.json` holds them. A new kind goes in with
``python tests/fingerprint_pins.py > tests/fingerprints.json``; where an old one changes, recorded
runs become stale.
"""

import abc
import collections
import contextlib
import dataclasses
import enum
import functools
import json
import math
import typing

import numpy as np

import utils  # noqa: F401 (before Keras, as in a notebook)
from utils.experiments.fingerprint import describe_code, describe_compile, describe_model, digest

# isort: split
import keras
from keras import layers

LEVEL, TABLE, CURVE = 3, {"a": (1, None), "b": [2.5, "é"]}, np.linspace(0, 1, 5)
CODE = {}


def pinned(thing):
    """Pin a function or a class by its name."""
    CODE[thing.__name__] = thing
    return thing


# Classes to which the standard library adds methods, more of them in later versions of Python.


@dataclasses.dataclass
class Dataclass:
    width: int
    height: float = 1.5

    def area(self):
        return self.width * self.height * LEVEL


@dataclasses.dataclass(eq=False, repr=False)
class DataclassWithoutEq:
    width: int = 2


@dataclasses.dataclass(frozen=True, order=True)
class DataclassFrozenAndOrdered:
    width: int = 2

    def __post_init__(self):
        object.__setattr__(self, "width", abs(self.width))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataclassWithSlots:
    width: int = 2
    names: list = dataclasses.field(default_factory=list)

    @functools.cached_property
    def shown(self):
        return f"{self.width}"


class NamedTuple(typing.NamedTuple):
    width: int
    height: float = 1.5

    def area(self):
        return self.width * self.height


class TypedDict(typing.TypedDict, total=False):
    width: int


class Enumeration(enum.Enum):
    FIRST = "first"
    SECOND = (2, 3.0)

    @property
    def title(self):
        return self.name.title()


class IntegerEnumeration(enum.IntEnum):
    ONE = 1
    OTHER = enum.auto()

    def __str__(self):
        return f"number {self.value}"


class Flags(enum.Flag):
    LEFT = 1
    RIGHT = 2
    BOTH = LEFT | RIGHT


class EnumerationWithNew(str, enum.Enum):
    A = ("a", 1)

    def __new__(cls, text, rank):
        member = str.__new__(cls, text)
        member._value_ = text
        member.rank = rank
        return member


@functools.total_ordering
class TotallyOrdered:
    def __init__(self, rank):
        self.rank = rank

    def __eq__(self, other):
        return self.rank == other.rank

    def __lt__(self, other):
        return self.rank < other.rank


class Abstract(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

    @property
    @abc.abstractmethod
    def name(self) -> str: ...


class Concrete(Abstract):
    __slots__ = ("side",)

    def area(self):
        return self.side**2

    name = "square"


Item = typing.TypeVar("Item")


class Generic(typing.Generic[Item]):
    item: Item

    def get(self) -> Item:
        return self.item


class Protocol(typing.Protocol):
    def get(self, key: str = "a") -> int: ...


class Members:
    """A docstring, which does not count."""

    constant = 4
    curve = CURVE
    hinted: int = 5

    class Inner:
        depth = 1

    def __init__(self, k=LEVEL):
        self.k = k

    @property
    def p(self):
        return self._p

    @p.setter
    def p(self, value):
        self._p = value + LEVEL

    @staticmethod
    def static(x):
        return x + LEVEL

    @classmethod
    def make(cls):
        return cls(LEVEL)

    @functools.cached_property
    def cached(self):
        return [self.k + LEVEL for _ in range(3)]

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def remembered(self):
        return self.k

    @functools.singledispatchmethod
    def dispatched(self, x):
        return x

    @contextlib.contextmanager
    def around(self):
        yield self


for cls in (
    Dataclass, DataclassWithoutEq, DataclassFrozenAndOrdered, DataclassWithSlots, NamedTuple,
    TypedDict, Enumeration, IntegerEnumeration, Flags, EnumerationWithNew, TotallyOrdered, Abstract,
    Concrete, Generic, Protocol, Members,
):  # fmt: skip
    pinned(cls)

CODE["namedtuple"] = collections.namedtuple("Pair", "x y", defaults=(1,))


# Functions: syntax whose tree or byte code differs between versions.


@pinned
@functools.cache
def cached(x):
    return x + LEVEL


@pinned
@contextlib.contextmanager
def context(x):
    yield x + LEVEL


@pinned
@functools.singledispatch
def dispatched(x):
    return LEVEL


def twice(function):
    @functools.wraps(function)
    def inner(*arguments, **keywords):
        return 2 * function(*arguments, **keywords)

    return inner


@pinned
@twice
@twice
def decorated(x):
    return x + LEVEL


@pinned
def defaults(a, /, b=LEVEL, *rest, c=(1, 2.0), d=None, **others) -> "list[int]":
    return a, b, rest, c, d, others


@pinned
def comprehensions(rows):
    pairs = {x: [LEVEL * y for y in range(x) if y] for x in rows}
    return pairs, {x for x in rows}, sum(z for row in rows for z in (row, LEVEL))


@pinned
def inner_class(x):
    class Inner:
        scale = LEVEL
        scales = [TABLE["a"] for _ in range(2)]

        def call(self):
            return CURVE * x

    return Inner().call()


@pinned
def walrus(values):
    while (n := len(values)) > LEVEL:
        values = values[: n // 2]
    return [m for v in values if (m := v % 3)]


@pinned
def matched(value):
    match value:
        case {"kind": "a", **rest}:
            return rest
        case [1, (2 | 3) as second, *_] if second > LEVEL:
            return second
        case complex(real=0) | None:
            return -1j
        case _:
            return ...


# fmt: off
@pinned
def strings(x, width=8):
    name = f"{x!r:>{width}} {x = } {x:.3f}{LEVEL}{{}}" "tail" f"{x:{'>'}{width}.{2}}\t{'é'}"
    nested = f'{", ".join(f"{y:02d}" for y in x)} {x:} {TABLE["a"]!s}' rf"\d{x}" u"u"  # noqa: UP025
    return name + nested + f"" + f"{x}" f"" + b"\x00" b"\xff".hex() + """several
    lines"""  # noqa: F541
# fmt: on


@pinned
def unusual(*values, **settings):
    global LEVEL
    first, *rest = values
    a = b = +1
    b += ~a if not rest else -a @ CURVE
    del rest[::2], a
    assert 0 < b <= 1_000 != 1e-3, f"{b}"
    total = (lambda x, *y, k=LEVEL: (x, y, k))(*values, **settings)
    for x in values:
        if x:
            continue
        break
    else:
        raise ValueError(x) from None
    with open(first) as file, contextlib.suppress(OSError):
        nonlocal_ = [*file, 0x1F, 1_0.5, 2j, b"a", True, None, ...]
    try:
        return nonlocal_[1:, ..., None], total, {**settings, "k": 1}, print(*values, sep="")
    except (OSError, ValueError) as error:
        return error
    else:
        pass
    finally:
        yield from values


@pinned
async def waiting(source):
    async with source as stream:
        return [await x async for x in stream]


def make(k, curve):
    def closure(x):
        def inside():
            return k + x

        return inside() + curve

    return closure


@pinned
def recursive(n: int) -> int:
    return n and other(n - 1)


def other(n):
    return recursive(n) + LEVEL


def prepare(split, rng, side="left", invert=True):
    return split, rng, side, invert


CODE |= {
    "lambda": lambda model, split: model.x + LEVEL,
    "lambda over lines": lambda labels, k=LEVEL: [math.sqrt(label) + k for label in labels],
    "closure": make(4, CURVE),
    "partial": functools.partial(prepare, 1, side="right", invert=None, table=TABLE),
    "partial of a partial": functools.partial(functools.partial(prepare, side="right"), CURVE),
    "reads a table": lambda: (TABLE, CURVE, np.float32(1)),
}


@keras.saving.register_keras_serializable("pins")
class Own(layers.Layer):
    def __init__(self, k=1, **settings):
        super().__init__(**settings)
        self.k = k

    def call(self, x):
        return x * LEVEL + self.k

    def get_config(self):
        return {**super().get_config(), "k": self.k}


@keras.saving.register_keras_serializable("pins")
class OwnBatchNorm(layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=True)


class OwnInitializer(keras.initializers.Initializer):
    def __call__(self, shape, dtype=None):
        return keras.ops.ones(shape, dtype) * LEVEL

    def get_config(self):
        return {}


def own_loss(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** LEVEL)


def kinds():
    """Return the layers, by their kind; each takes an 8×8 image with two channels."""
    settings = {
        "Activation": ["tanh"], "AveragePooling2D": [2], "Conv2D": [4, 3],
        "Conv2DTranspose": [4, 3], "Cropping2D": [1], "Dense": [3], "DepthwiseConv2D": [3],
        "Dropout": [0.25], "GaussianNoise": [0.1], "GroupNormalization": [2], "MaxPooling2D": [2],
        "Permute": [(2, 1, 3)], "RandomContrast": [0.1], "RandomRotation": [0.1],
        "RandomShear": [0.1, 0.1], "RandomTranslation": [0.1, 0.1], "RandomZoom": [0.1],
        "Rescaling": [0.5], "Reshape": [(64, 2)], "SeparableConv2D": [4, 3],
        "SpatialDropout2D": [0.1], "ZeroPadding2D": [1],
    }  # fmt: skip
    plain = (
        "BatchNormalization Flatten GlobalAveragePooling2D GlobalMaxPooling2D "
        "LayerNormalization LeakyReLU PReLU RandomFlip ReLU Softmax UpSampling2D"
    )
    settings |= dict.fromkeys(plain.split(), ())
    found = {kind: getattr(layers, kind)(*given) for kind, given in settings.items()}
    return {
        **found,
        "Conv2D, all settings": layers.Conv2D(
            4, (3, 2), padding="same", dilation_rate=2, activation="relu", use_bias=False,
            kernel_initializer=keras.initializers.RandomUniform(-1, 1, seed=3),
            kernel_regularizer=keras.regularizers.L2(0.1), kernel_constraint="max_norm",
        ),
        "BatchNormalization, other settings": layers.BatchNormalization(
            momentum=0.9, epsilon=0.01, scale=False
        ),
        "Dense, own initializer": layers.Dense(2, kernel_initializer=OwnInitializer()),
        "Dense, he_normal": layers.Dense(2, "gelu", kernel_initializer="he_normal"),
        "Dense, variance": layers.Dense(
            2, kernel_initializer=keras.initializers.VarianceScaling(0.5, "fan_avg", "uniform")
        ),
        "Lambda": layers.Lambda(lambda x: x * LEVEL),
        "TimeDistributed": layers.TimeDistributed(layers.Dense(2)),
        "Own": Own(2),
        "OwnBatchNorm": OwnBatchNorm(),
    }  # fmt: skip


def branching():
    """Return a functional model that shares a layer, with a model inside."""
    image = keras.Input((8, 8, 2))
    shared = layers.Conv2D(2, 3, padding="same")
    joined = layers.Add()([shared(image), shared(shared(image))])
    inner = keras.Sequential([layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)])
    return keras.Model(image, layers.Concatenate()([inner(joined), layers.Flatten()(image)]))


def compiled():
    """Return optimizers, and losses, with which a model is compiled."""
    optimizers, losses = keras.optimizers, keras.losses
    return {
        "Adam": (optimizers.Adam(0.002, clipnorm=1.0), "mse"),
        "SGD": (optimizers.SGD(0.1, momentum=0.9, nesterov=True), own_loss),
        "CosineDecay": (
            optimizers.Adam(optimizers.schedules.CosineDecay(0.1, 100, warmup_steps=10)), "mae",
        ),
        "ExponentialDecay": (
            optimizers.SGD(optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)), "mse"
        ),
        "AdamW": (optimizers.AdamW(), losses.MeanSquaredError()),
        "Adadelta": (optimizers.Adadelta(), losses.BinaryCrossentropy(from_logits=True)),
        "RMSprop": ("rmsprop", losses.CategoricalCrossentropy(label_smoothing=0.1)),
        "by name": ("adam", losses.SparseCategoricalCrossentropy(from_logits=True)),
    }  # fmt: skip


def fingerprints():
    """Take all fingerprints, by group and name."""
    keras.utils.set_random_seed(0)  # Some layers draw a seed and show it as a setting.
    models = {
        kind: describe_model(keras.Sequential([keras.Input((8, 8, 2)), layer]))
        for kind, layer in kinds().items()
    }
    models["branching"] = describe_model(branching())
    compilations = {}
    for name, (optimizer, loss) in compiled().items():
        net = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
        net.compile(optimizer, loss)
        compilations[name] = describe_compile(net)
    code = {name: describe_code(thing) for name, thing in CODE.items()}
    return {
        group: {name: digest(each) for name, each in described.items()}
        for group, described in {"code": code, "models": models, "compile": compilations}.items()
    }


if __name__ == "__main__":
    print(json.dumps(fingerprints(), indent=1, ensure_ascii=False))
