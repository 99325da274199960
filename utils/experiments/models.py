"""Networks that more than one chapter uses; a chapter's own networks are in its cells."""

from collections.abc import Callable, Iterable

from utils.checked import checked
from utils.experiments.quiet_keras import keras

layers = keras.layers

_MOST_CLASSES = 10_000


@checked
def classifier(
    *hidden: layers.Layer,
    classes: int = 10,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.002,
    shape: tuple[int, int, int] = (28, 28, 1),
):
    """Compile a network for MNIST, or for other images, from its hidden layers.

    Parameters
    ----------
    *hidden : keras.layers.Layer
        The layers between the image and the last dense one; the last of them gives a vector.
    classes : int
        Outputs of the last dense layer, 2 to 10,000.
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Of the Adam optimizer, above 0.
    shape : tuple of int
        Height, width and channels of an image.

    Returns
    -------
    keras.Sequential
        Takes images of that shape with pixels in 0..1, returns a logit per class. Compiled with the
        cross-entropy of the logits.
    """
    if not 2 <= classes <= _MOST_CLASSES:
        raise ValueError(f"classes={classes!r}; allowed are 2 to {_MOST_CLASSES:,}")
    net = keras.Sequential([keras.Input(shape), *hidden, layers.Dense(classes)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
    return net


@checked
def deep(
    learning_rate: float,
    between: Callable[[], Iterable[layers.Layer]] = tuple,
    behind: Callable[[], Iterable[layers.Layer]] = tuple,
) -> keras.Sequential:
    """Compile four convolutions and two dense layers, with room for layers around each ReLU.

    Parameters
    ----------
    learning_rate : float
        Of stochastic gradient descent with momentum 0.9, above 0.
    between, behind : callable, optional
        ``between()`` gives new layers to put between a layer with weights and its ReLU,
        ``behind()`` layers to put after the ReLU or, if a pooling follows, after the pooling.
        Called for each convolution and for the first dense layer.

    Returns
    -------
    keras.Sequential
        Input (28, 28, 1) with pixels in 0..1, ten logits out. Compiled with the cross-entropy of
        the logits.
    """
    net = keras.Sequential([keras.Input((28, 28, 1))])

    def add(*weighted, pooling=()):
        for layer in (*weighted, *between(), layers.ReLU(), *pooling, *behind()):
            net.add(layer)

    for filters, pool in ((16, True), (32, True), (32, False), (32, False)):
        pooling = [layers.MaxPooling2D(2)] if pool else []
        add(layers.Conv2D(filters, 3, padding="same"), pooling=pooling)
    add(layers.Flatten(), layers.Dense(64))
    net.add(layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(learning_rate, momentum=0.9), loss, metrics=["accuracy"])
    return net


def pairs(count: int) -> keras.Sequential:
    """Build pairs-1, pairs-2, pairs-3, or the same with a fourth pair.

    Parameters
    ----------
    count : int
        Pairs of a convolution and a pooling, 1 to 4.

    Returns
    -------
    keras.Sequential
        Not compiled; input (28, 28, 1), ten probabilities out.

    Raises
    ------
    ValueError
        If `count` is none of the four.

    Notes
    -----
    The networks of source S2 (see the ledger), which names three; the fourth pair has the 128
    filters that the source gives for a larger image. From the third pair on the pooling is padded,
    so that size 7 becomes 4 and not 3.
    """
    if not isinstance(count, int) or count not in (1, 2, 3, 4):
        raise ValueError(f"count={count!r}; allowed are 1, 2, 3 and 4")
    net = keras.Sequential([keras.Input((28, 28, 1))])
    for number, filters in enumerate((24, 48, 64, 128)[:count]):
        net.add(layers.Conv2D(filters, 5, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2, padding="same" if number >= 2 else "valid"))
    net.add(layers.Flatten())
    net.add(layers.Dense(256, activation="relu"))
    net.add(layers.Dense(10, activation="softmax"))
    return net


def net_single() -> keras.Sequential:
    """Build net-single: one convolution before each of three poolings.

    Returns
    -------
    keras.Sequential
        Not compiled; input (28, 28, 1), ten probabilities out, 93,322 parameters.

    Notes
    -----
    The first network of source S0 (see the ledger).
    """
    net = keras.Sequential([keras.Input((28, 28, 1))])
    for filters in (32, 64, 64):
        net.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(0.25))
    return _with_head(net, 64)


def net_stacked() -> keras.Sequential:
    """Build net-stacked: two convolutions before each of two poolings.

    Returns
    -------
    keras.Sequential
        Not compiled; input (28, 28, 1), ten probabilities out, 887,530 parameters.

    Notes
    -----
    The second network of source S0 (see the ledger).
    """
    net = keras.Sequential([keras.Input((28, 28, 1))])
    for filters, kernel in ((32, 5), (64, 3)):
        for _ in range(2):
            net.add(layers.Conv2D(filters, kernel, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2))
        net.add(layers.Dropout(0.25))
    return _with_head(net, 256)


def _with_head(net: keras.Sequential, units: int) -> keras.Sequential:
    net.add(layers.Flatten())
    net.add(layers.Dense(units, activation="relu"))
    net.add(layers.Dropout(0.5))
    net.add(layers.Dense(10, activation="softmax"))
    return net
