"""Peak memory: measured in a real process of its own."""

import keras
import numpy as np
import pytest
from keras import layers

from utils.experiments.memory import peak_memory

pytestmark = pytest.mark.training


def network():
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.Conv2D(64, 3), layers.Flatten()])
    net.add(layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("sgd", loss)
    return net


def test_a_larger_batch_needs_as_much_more_as_its_feature_maps_hold():
    # What this process holds does not count: the child begins with a memory of its own.
    ballast = np.ones(2**27)
    peaks = peak_memory(network(), (8, 1024))
    del ballast
    assert list(peaks) == [8, 1024]
    maps = 26 * 26 * 64 * 4 / 2**20  # Mebibytes an image, kept for the gradient.
    assert 0 < peaks[8] < 200
    assert peaks[1024] - peaks[8] > 0.9 * 1016 * maps
    assert peaks[1024] < 10 * 1024 * maps


@pytest.mark.parametrize("sizes", [(), (8, 8), (16, 8), (0, 1)])
def test_batch_sizes_that_do_not_rise_are_refused(sizes):
    with pytest.raises(ValueError, match=r"batch_sizes=.* allowed are rising whole numbers"):
        peak_memory(network(), sizes)


def test_a_network_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match="not compiled"):
        peak_memory(keras.Sequential([keras.Input((4,)), layers.Dense(1)]), (1,))


def test_a_process_that_fails_says_why():
    class Own(layers.Layer):
        def call(self, inputs):
            return inputs

    net = keras.Sequential([keras.Input((28, 28, 1)), Own(), layers.Flatten(), layers.Dense(10)])
    net.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="process that measures memory failed: .*Own"):
        peak_memory(net, (1,))
