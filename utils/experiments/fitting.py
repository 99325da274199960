"""What a run's training may need besides Keras's `fit`: schedules, exact statistics, a trace."""

import importlib
import math
import time
from collections.abc import Callable

import numpy as np

from utils import data
from utils.experiments.quiet_keras import keras, tf
from utils.experiments.spec import Fit

# How Keras deals arrays to batches.
_ADAPTER = importlib.import_module("keras.src.trainers.data_adapters.array_data_adapter")

# Held out of the training images, for a trace to be taken on.
HELD_OUT = 2_000

_WARM_UP, _START = 0.3, 1 / 25
# As many as the mean and variance of a channel need; more would only take longer.
MOST_FOR_STATISTICS = 10_000
_BATCH = 1_000


def hold_out(split: data.Split, fit: Fit, seed: int) -> tuple[data.Split, data.Split | None]:
    """Take the images for a trace, if there is to be one, out of the training images.

    Parameters
    ----------
    split : utils.data.Split
        At least 2,001 training images.
    fit : Fit
        Settings at one scale.
    seed : int
        Draws the images.

    Returns
    -------
    split : utils.data.Split
        What is left to train on, with the same test images.
    held : utils.data.Split or None
        The same, with the held-out images instead of the test images.

    Raises
    ------
    ValueError
        If there are not enough training images.
    """
    if fit.trace_every is None:
        return split, None
    held = data.hold_out(split, np.random.default_rng((seed, 2)), HELD_OUT)
    return held.replace(x_test=split.x_test, y_test=split.y_test), held


def set_schedule(model: keras.Model, fit: Fit, images: int) -> None:
    """Make the learning rate of a compiled model change over the updates of a run.

    Parameters
    ----------
    model : keras.Model
        Compiled with the learning rate that the schedule starts from or rises to.
    fit : Fit
        Settings at one scale.
    images : int
        Training images per epoch.

    Raises
    ------
    ValueError
        If the model was compiled with a schedule of its own.

    Notes
    -----
    One cycle rises linearly and falls along a half-cosine to 0 [1]_; both are Keras's
    ``CosineDecay``.

    References
    ----------
    .. [1] L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks
       using large learning rates", arXiv:1708.07120, 2017.
    """
    if fit.schedule == "constant":
        return
    optimizer = model.optimizer
    if not isinstance(optimizer._learning_rate, keras.Variable):
        raise ValueError(
            f"schedule={fit.schedule!r}: the model was compiled with the learning rate "
            f"{optimizer._learning_rate!r}; allowed is a number"
        )
    peak = float(optimizer.learning_rate.numpy())
    updates = fit.epochs * math.ceil(images / fit.batch_size)
    warm = round(_WARM_UP * updates) if fit.schedule == "one_cycle" else 0
    # Updates count from 0, so the last one is not at 0 yet.
    optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(
        peak * _START if warm else peak,
        decay_steps=updates - warm,
        warmup_target=peak if warm else None,
        warmup_steps=warm,
    )


def batches(arrays: tuple, size: int, order: "tf.Variable | None" = None) -> "tf.data.Dataset":
    """Cut arrays into batches, in a pipeline built once for all epochs of a run.

    Given arrays, each call of Keras's `fit` and `evaluate` builds one anew. With a thousand images
    and a small network that takes a third of an epoch.

    Parameters
    ----------
    arrays : tuple of ndarray
        Images and targets, equally many of each.
    size : int
        Batch size; the last batch has what is left.
    order : tf.Variable, shape (n,), optional
        Indices of the images, read anew in each epoch.

    Returns
    -------
    tf.data.Dataset
        The batches that Keras makes of arrays in this order, with floats as float32.
    """
    arrays = [np.asarray(array) for array in arrays]
    # In float32, as Keras turns an array into a tensor.
    kinds = [keras.config.floatx() if array.dtype.kind == "f" else array.dtype for array in arrays]
    tensors = [tf.constant(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
    images = len(arrays[0])

    def places(_):
        indices = tf.range(images) if order is None else order.read_value()
        # Where all batches are of one size, the graph is to know it, and rounds otherwise.
        whole = images % size == 0
        return tf.data.Dataset.from_tensor_slices(indices).batch(size, drop_remainder=whole)

    options = tf.data.Options()
    # To look for a better pipeline takes longer than this one does.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return (
        tf.data.Dataset.range(1)
        .flat_map(places)
        .map(lambda place: tuple(tf.gather(tensor, place) for tensor in tensors))
        .apply(tf.data.experimental.assert_cardinality(math.ceil(images / size)))
        .prefetch(2)
        .with_options(options)
    )


class Deal:
    """Deals the training images of a run in the order in which Keras deals arrays.

    Parameters
    ----------
    train : tuple of ndarray
        Images and targets.
    fit : Fit
        Settings at one scale.

    Attributes
    ----------
    batches : tf.data.Dataset
        Those of the current epoch.
    order : ndarray of int
        The images in their order before Keras shuffles them.

    Notes
    -----
    Once seeded, Keras shuffles alike in every epoch. The images are therefore dealt anew before
    each; what Keras's shuffling does to them is found out once.
    """

    def __init__(self, train: tuple, fit: Fit):
        images = len(train[0])
        self.order = self._shuffled = np.arange(images)
        if fit.shuffle:
            asked = _ADAPTER.ArrayDataAdapter(self.order, batch_size=images, shuffle=True)
            self._shuffled = next(iter(asked.get_tf_dataset())).numpy()
        self._order = tf.Variable(self._shuffled, trainable=False)
        self.batches = batches(train, fit.batch_size, self._order)

    def again(self, permutation: np.ndarray) -> None:
        """Deal them anew for the next epoch.

        Parameters
        ----------
        permutation : ndarray of int
            Of the images in their present order.
        """
        self.order = self.order[permutation]
        self._order.assign(self.order[self._shuffled])


def recalibrate(model: keras.Model, images: np.ndarray) -> None:
    """Set the moving statistics of each batch normalisation to those of training images.

    Parameters
    ----------
    model : keras.Model
        Sequential, or a graph of layers that are used once.
    images : ndarray, shape (n, height, width, channels)
        Some thousands of training images.

    Notes
    -----
    Done from the first layer to the last, so that each sees its inputs at inference [1]_.

    References
    ----------
    .. [1] Y. Wu and J. Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, 2021.
    """
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = keras.Model(model.inputs, layer.input)
        sums = []
        for start in range(0, len(images), _BATCH):
            values = np.asarray(before([images[start : start + _BATCH]], training=False), float)
            axes = tuple(range(values.ndim - 1))
            sums.append([values.sum(axes), (values**2).sum(axes), values[..., 0].size])
        total, squares, count = (sum(each) for each in zip(*sums, strict=True))
        mean = total / count
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(squares / count - mean**2, 0))


class Trace(keras.callbacks.Callback):
    """Evaluates a model on held-out images at regular intervals of updates.

    Parameters
    ----------
    held : utils.data.Split
        Its test images are the held-out ones.
    targets : callable
        As of an `Arm`.
    every : int
        Updates from one evaluation to the next.

    Attributes
    ----------
    rows : list of [int, float, float, float]
        Updates so far, seconds of training so far, loss and accuracy.
    spent : float
        Seconds spent on evaluating so far, except for the first time.
    """

    def __init__(self, held: data.Split, targets: Callable, every: int):
        super().__init__()
        self.rows, self.spent = [], 0.0
        self._images = tf.constant(held.x_test)
        self._targets = tf.constant(targets(held.y_test))
        self._labels = held.y_test
        self._every = every
        self._updates, self._trained = 0, 0.0

    def set_model(self, model):  # noqa: D102
        super().set_model(model)
        if not self.rows:
            self._outputs = tf.function(lambda images: model(images, training=False))
            self._outputs(self._images)  # Tracing it is not training, and not a later row's.
            self._look()

    def on_train_batch_begin(self, batch, logs=None):  # noqa: D102
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):  # noqa: D102
        now = time.perf_counter()
        self._trained += now - self._begun
        self._updates += 1
        if self._updates % self._every == 0:
            self._look()
            self.spent += time.perf_counter() - now

    def _look(self):
        outputs = self._outputs(self._images)
        loss = float(self.model.compute_loss(y=self._targets, y_pred=outputs, training=False))
        right = classes_of(np.asarray(outputs)) == self._labels
        self.rows.append([self._updates, round(self._trained, 4), loss, float(right.mean())])


def classes_of(outputs: np.ndarray) -> np.ndarray:
    """Return the class with the largest output for each image.

    Parameters
    ----------
    outputs : ndarray, shape (n, ..., classes)
        With axes of length 1 between.

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    return outputs.reshape(len(outputs), -1).argmax(axis=1)
