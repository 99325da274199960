"""What several chapters measure of a trained network, in the form that `Experiment` takes."""

import time

import numpy as np

from utils.data import Split
from utils.quiet import quiet_native_stderr

with quiet_native_stderr():
    import keras

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

    What Keras reports as the accuracy of an epoch is an average over its batches while the weights
    change, and with dropout on.

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


def log2_milliseconds(model: keras.Model, split: Split) -> float:
    """Time a forward pass over 256 test images, and return it as a power of two.

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
        Logarithm to base 2 of the milliseconds; the median of nine passes.
    """
    images = keras.ops.convert_to_tensor(split.x_test[:256])
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        keras.ops.convert_to_numpy(model(images, training=False))
        seconds.append(time.perf_counter() - start)
    return float(np.log2(1_000 * np.median(seconds)))
