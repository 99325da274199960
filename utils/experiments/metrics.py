"""What several chapters measure on a trained network, in the form that `Experiment` takes."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from utils.checked import checked
from utils.data import Split
from utils.experiments.quiet_keras import keras

_BATCH = 1_000
_REPEATS = 9


def predictions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the class with the largest output for each image.

    Parameters
    ----------
    model : keras.Model
        One output for each class.
    images : ndarray, shape (n, 28, 28, 1)
        At least one image.

    Returns
    -------
    ndarray of int64, shape (n,)
        Numbers of the classes, from 0.
    """
    return model.predict(images, batch_size=_BATCH, verbose=0).argmax(axis=-1)


def train_accuracy(model: keras.Model, split: Split) -> float:
    """Measure the accuracy on the training images, after training.

    What Keras reports as the accuracy of an epoch is an average over its batches, while the weights
    change and with dropout on.

    Parameters
    ----------
    model : keras.Model
        One output for each class.
    split : utils.data.Split
        Its training images are used.

    Returns
    -------
    float
        From 0 to 1.
    """
    return float(np.mean(predictions(model, split.x_train) == split.y_train))


@checked
def epochs_to(accuracy: float) -> Callable[[pd.DataFrame], float]:
    """Make a history metric: epochs until the test accuracy is reached, as a binary logarithm.

    The accuracy is interpolated linearly between epochs, from one tenth before the first. A run
    that never reaches it counts with all of its epochs.

    Parameters
    ----------
    accuracy : float
        Above 0.1, up to 1.

    Returns
    -------
    callable
        For the `history_metrics` of an `Experiment`.

    Raises
    ------
    ValueError
        If `accuracy` is not as above.
    """
    _require_level(accuracy)

    def summary(epochs):
        return np.log2(reached(epochs["test_accuracy"], accuracy))

    return summary


@checked
def seconds_to(accuracy: float) -> Callable[[pd.DataFrame], float]:
    """Make the same history metric as `epochs_to`, in seconds of training.

    Parameters
    ----------
    accuracy : float
        As for `epochs_to`.

    Returns
    -------
    callable
        As from `epochs_to`.

    Raises
    ------
    ValueError
        If `accuracy` is not as above.
    """
    _require_level(accuracy)

    def summary(epochs):
        spent = np.concatenate([[0], epochs["seconds"].cumsum()])
        at = reached(epochs["test_accuracy"], accuracy)
        return np.log2(np.interp(at, np.arange(len(spent)), spent))

    return summary


def _require_level(accuracy):
    # At a tenth or less every run would be there before it begins: see `reached`.
    if not 0.1 < accuracy <= 1:
        raise ValueError(f"accuracy={accuracy!r}; allowed is a number above 0.1, up to 1")


def reached(course, accuracy):
    """Find when a sequence of accuracies first reaches a level.

    Parameters
    ----------
    course : sequence of float
        The accuracy after each epoch; before the first it is taken to be one tenth.
    accuracy : float
        Above 0.1, up to 1.

    Returns
    -------
    float
        Epochs, interpolated linearly; all of them if it is never reached.
    """
    values = np.concatenate([[0.1], course])  # Guessing, before the first.
    if values.max() < accuracy:
        return len(values) - 1
    after = np.argmax(values >= accuracy)
    low, high = values[after - 1], values[after]
    return after - 1 + (accuracy - low) / (high - low)


def log2_milliseconds(model: keras.Model, split: Split) -> float:
    """Time a forward pass over 256 test images, and return it as a binary logarithm.

    A difference of 1 between two networks is a factor of two in time, on any machine.

    Parameters
    ----------
    model : keras.Model
        Any model of the images.
    split : utils.data.Split
        At least 256 test images.

    Returns
    -------
    float
        Binary logarithm of the milliseconds, the median of nine passes.
    """
    images = keras.ops.convert_to_tensor(split.x_test[:256])
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(model(images, training=False))
        seconds.append(time.perf_counter() - start)
    return float(np.log2(1_000 * np.median(seconds)))


@checked
def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> pd.DataFrame:
    """Compare how sure a classifier is with how often it is right.

    Parameters
    ----------
    probabilities : ndarray, shape (n, classes)
        One row per image, with values from 0 to 1.
    labels : ndarray of int, shape (n,)
        Their classes, from 0.
    bins : int
        Number of intervals of equal width that divide 0..1, at least 1; each contains its upper
        end.

    Returns
    -------
    pandas.DataFrame
        One row for each bin that holds an image: the mean ``confidence`` (the largest probability)
        of its images, their ``accuracy``, and its ``share`` of all images. The index is the number
        of the bin, from 0.

    Raises
    ------
    ValueError
        If the arrays do not have these shapes or ranges, are empty, or `bins` is below 1.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML
    2017.
    """
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if bins < 1:
        raise ValueError(f"bins={bins!r}; allowed are whole numbers ≥ 1")
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not labels.size:
        raise ValueError(
            f"probabilities have shape {probabilities.shape} and labels {labels.shape}; allowed "
            "are (n, classes) and (n,) with n ≥ 1"
        )
    if not (probabilities.min() >= 0 and probabilities.max() <= 1):
        raise ValueError(
            f"probabilities hold {probabilities.min()}..{probabilities.max()}; allowed is 0..1"
        )
    confidence = probabilities.max(axis=1)
    frame = pd.DataFrame(
        {
            "confidence": confidence,
            "accuracy": probabilities.argmax(axis=1) == labels,
            "share": 1 / len(labels),
        }
    )
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, None)
    return frame.groupby(number).agg({"confidence": "mean", "accuracy": "mean", "share": "sum"})


@checked
def calibration_error(table: pd.DataFrame) -> float:
    """Return the expected calibration error: the mean distance between confidence and accuracy.

    Parameters
    ----------
    table : pandas.DataFrame
        What `reliability` returns.

    Returns
    -------
    float
        From 0 to 1, each bin weighted by its share of the images.
    """
    return float((table["share"] * (table["confidence"] - table["accuracy"]).abs()).sum())
