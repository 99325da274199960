"""What is measured of a trained network."""

import time

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from utils.data import load_mnist
from utils.experiments import metrics
from utils.experiments.metrics import epochs_to, reached, seconds_to

SPLIT = load_mnist("quick").split(0, 100)


class Answer(layers.Layer):
    """Says 7 of every image, after a pause."""

    def __init__(self, pause=0.0):
        super().__init__()
        self.pause = pause

    def call(self, images):
        if self.pause:
            time.sleep(self.pause)
        return keras.ops.zeros((keras.ops.shape(images)[0], 10)) + keras.ops.one_hot(7, 10)


def answering(pause=0.0):
    return keras.Sequential([keras.Input((28, 28, 1)), Answer(pause)])


def test_predictions_are_the_largest_output_of_each_image():
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
    keras.utils.set_random_seed(0)
    net.layers[-1].set_weights(
        [np.random.default_rng(0).normal(size=(784, 10)), np.arange(10) / 10]
    )
    found = metrics.predictions(net, SPLIT.x_test)
    kernel, bias = net.layers[-1].get_weights()
    expected = (SPLIT.x_test.reshape(-1, 784) @ kernel + bias).argmax(axis=1)
    assert found.shape == (1000,) and np.mean(found == expected) > 0.999


def test_train_accuracy_is_that_of_the_training_images():
    # Every digit is there equally often among the 100 images: a tenth are sevens.
    assert metrics.train_accuracy(answering(), SPLIT) == pytest.approx(0.1)
    sevens = SPLIT.replace(y_train=np.full(100, 7))
    assert metrics.train_accuracy(answering(), sevens) == 1


def test_a_pass_that_takes_longer_is_told_apart_in_powers_of_two():
    fast, slow = (metrics.log2_milliseconds(answering(pause), SPLIT) for pause in (0.02, 0.32))
    # Sleeping takes at least so long; a busy machine makes both slower, and by no factor of eight.
    assert np.log2(20) <= fast and np.log2(320) <= slow
    assert 1 < slow - fast < 7


def test_reliability_by_hand():
    sure = np.array([[0.95, 0.05], [0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    table = metrics.reliability(sure, np.array([0, 1, 1, 1]), bins=10)
    assert list(table.index) == [4, 7, 8, 9]  # 0.8 and 0.9 are the upper ends of their bins.
    assert table["confidence"].to_numpy() == pytest.approx([0.5, 0.8, 0.9, 0.95])
    assert list(table["accuracy"]) == [0, 1, 0, 1]
    assert list(table["share"]) == 4 * [0.25]
    assert metrics.calibration_error(table) == pytest.approx((0.5 + 0.2 + 0.9 + 0.05) / 4)


def test_who_is_as_often_right_as_said_is_calibrated():
    rng = np.random.default_rng(0)
    right = rng.uniform(0.5, 1, 200_000)
    labels = (rng.random(len(right)) > right).astype(int)
    table = metrics.reliability(np.stack([right, 1 - right], axis=1), labels)
    assert table["share"].sum() == pytest.approx(1)
    assert metrics.calibration_error(table) < 0.005
    twice_as_sure = np.stack([(1 + right) / 2, (1 - right) / 2], axis=1)
    overconfident = metrics.reliability(twice_as_sure, labels)
    assert metrics.calibration_error(overconfident) == pytest.approx(0.125, abs=0.005)


def course(*accuracies):
    return pd.DataFrame(
        {"test_accuracy": accuracies, "seconds": [2.0, 3.0, 5.0][: len(accuracies)]}
    )


@pytest.mark.parametrize(
    ("level", "epochs", "seconds"),
    [
        (0.5, 1.0, 2.0),
        (0.3, 0.5, 1.0),  # Half-way from guessing, 0.1, to the end of the first epoch.
        (0.7, 1.5, 3.5),
        (0.9, 2.0, 5.0),
        (0.95, 3.0, 10.0),  # Never reached: all epochs, all seconds.
    ],
)
def test_time_to_an_accuracy_is_read_off_a_straight_line(level, epochs, seconds):
    frame = course(0.5, 0.9, 0.8)
    assert reached(frame["test_accuracy"], level) == pytest.approx(epochs)
    assert 2 ** epochs_to(level)(frame) == pytest.approx(epochs)
    assert 2 ** seconds_to(level)(frame) == pytest.approx(seconds)


@pytest.mark.parametrize("made", [epochs_to, seconds_to])
@pytest.mark.parametrize("level", [0, 0.1, 1.01, float("nan")])
def test_a_level_that_no_run_has_to_reach_or_none_can_is_refused(made, level):
    with pytest.raises(ValueError, match="^accuracy=.*; allowed is a number above 0.1, up to 1$"):
        made(level)
