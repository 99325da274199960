"""Schedules, recalibrated batch normalisation, traces and the answers that a run keeps."""

import keras
import numpy as np
import pytest
from keras import layers

from utils import data
from utils.evidence import artifacts
from utils.experiments import Arm, Experiment, Fit, Stein, by_scale, fitting, training
from utils.experiments.models import classifier
from utils.experiments.training import Job

pytestmark = pytest.mark.training


def small_net(learning_rate=0.01, *more):
    return classifier(layers.Flatten(), *more, learning_rate=learning_rate)


def normalised_net():
    keras.utils.set_random_seed(0)
    net = classifier(
        layers.Conv2D(4, 3, strides=2),
        layers.BatchNormalization(momentum=0.5),
        layers.ReLU(),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(8),
        layers.BatchNormalization(),
    )
    net.jit_compile = False
    return net


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def rates_of(schedule, epochs, batch_size, images=100):
    net, watch, fit = small_net(), Rates(), Fit(epochs, batch_size, schedule=schedule)
    fitting.set_schedule(net, fit, images)
    x = np.zeros((images, 28, 28, 1), "float32")
    net.jit_compile = False
    net.fit(x, np.zeros(images), batch_size, epochs=epochs, callbacks=[watch], verbose=0)
    return np.array(watch.seen)


def test_one_cycle_rises_for_three_tenths_and_ends_near_zero():
    rates = rates_of("one_cycle", epochs=4, batch_size=4)
    assert len(rates) == 100
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates.argmax() == 30 and rates.max() == pytest.approx(0.01)
    assert np.allclose(np.diff(rates[:31]), (0.01 - 0.01 / 25) / 30, rtol=1e-3)
    by_hand = 0.01 * (1 + np.cos(np.pi * np.arange(70) / 70)) / 2
    assert np.allclose(rates[30:], by_hand, rtol=1e-4)


def test_cosine_falls_from_the_start_over_all_updates_a_last_smaller_batch_counts():
    rates = rates_of("cosine", epochs=3, batch_size=30)
    assert len(rates) == 12  # Three batches of 30 and one of 10 an epoch.
    assert np.allclose(rates, 0.01 * (1 + np.cos(np.pi * np.arange(12) / 12)) / 2, rtol=1e-4)


def test_constant_leaves_the_rate():
    assert np.allclose(rates_of("constant", epochs=1, batch_size=50), 0.01)


def test_a_schedule_needs_a_number_to_start_from():
    net = small_net(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    with pytest.raises(ValueError, match="schedule='cosine': the model was compiled with the lear"):
        fitting.set_schedule(net, Fit(schedule="cosine"), 100)


def test_recalibrated_statistics_are_those_of_the_images():
    net = normalised_net()
    x = data.load_mnist("quick").split(0).x_train[:2_500]
    y = np.arange(len(x)) % 10
    net.fit(x, y, verbose=0)
    fitting.recalibrate(net, x)
    first, second = (layer for layer in net.layers if isinstance(layer, layers.BatchNormalization))
    for layer in (first, second):  # What reaches the second depends on the first.
        before = keras.Model(net.inputs[0], layer.input).predict(x, verbose=0).astype(float)
        axes = tuple(range(before.ndim - 1))
        np.testing.assert_allclose(layer.moving_mean, before.mean(axes), atol=1e-4)
        np.testing.assert_allclose(layer.moving_variance, before.var(axes), rtol=1e-3)


@pytest.fixture(scope="module")
def split():
    return data.load_mnist("quick").split(0)


def run(arm, fit, seed=3, scale="quick", **more):
    job = Job(arm, "an arm", seed, fit.at(scale), scale, **more)
    return training.train(job)


FIT = Fit(epochs=2, batch_size=100, train_size=2_500, schedule="cosine")


def without_times(record):
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["epochs"]]


@pytest.mark.parametrize("images", [50, 48])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_those_that_keras_makes_of_arrays_epoch_by_epoch(images, shuffle):
    rng = np.random.default_rng(0)
    x = rng.random((images, 28, 28, 1))
    targets = keras.utils.to_categorical(np.arange(images) % 10).astype(float)
    keras.utils.set_random_seed(3)
    deal = fitting.Deal((x, targets), Fit(batch_size=16, shuffle=shuffle))
    for epoch in range(3):
        if epoch:
            order = rng.permutation(images)
            x, targets = x[order], targets[order]
            deal.again(order)
        usual = fitting._ADAPTER.ArrayDataAdapter(x, targets, batch_size=16, shuffle=shuffle)
        usual = usual.get_tf_dataset()
        assert usual.element_spec == deal.batches.element_spec
        assert len(deal.batches) == -(-images // 16)
        for by_keras, ours in zip(usual, deal.batches, strict=True):
            assert all(map(np.array_equal, by_keras, ours))
    # Each epoch deals them otherwise, and each image once.
    dealt = np.concatenate([np.array(part) for part, _ in deal.batches])
    assert not np.array_equal(dealt, x.astype("float32")) or not shuffle
    assert np.array_equal(np.sort(dealt.sum((1, 2, 3))), np.sort(x.astype("f").sum((1, 2, 3))))


def test_a_trace_is_taken_on_images_that_are_not_trained_on_and_changes_nothing():
    fits = [Fit(**{**vars(FIT), "trace_every": every}) for every in (2, 1_000)]
    often, never = (run(Arm(lambda: small_net(0.01, layers.Dropout(0.2))), fit) for fit in fits)
    assert without_times(often) == without_times(never)
    assert often["train_size"] == 500
    updates = [row[0] for row in often["trace"]]
    assert updates == list(range(0, 11, 2)) and [row[0] for row in never["trace"]] == [0]
    seconds = [row[1] for row in often["trace"]]
    assert seconds[0] == 0 and sorted(seconds) == seconds
    losses = [row[2] for row in often["trace"]]
    assert losses[0] > losses[-1] and 0 <= often["trace"][-1][3] <= 1


def test_held_out_images_are_drawn_from_the_training_images(split):
    left, held = fitting.hold_out(split, Fit(trace_every=5), 7)
    assert len(left.x_train) == 2_000 == len(held.x_test)
    together = np.concatenate([left.x_train, held.x_test]).reshape(4_000, -1)
    assert np.array_equal(
        np.sort(together.sum(axis=1)), np.sort(split.x_train.reshape(4_000, -1).sum(axis=1))
    )
    assert np.array_equal(left.x_test, split.x_test)
    assert fitting.hold_out(split, Fit(), 7) == (split, None)


def test_metrics_of_a_trace_stand_in_the_record():
    fit = Fit(**{**vars(FIT), "trace_every": 3})
    take = {"updates": lambda trace: trace.index.max(), "start": lambda t: t["seconds"].iloc[0]}
    record = run(Arm(small_net), fit, trace_metrics=take)
    assert record["measures"] == {"updates": 9.0, "start": 0.0}


def test_recalibration_comes_before_the_last_test():
    precise = Fit(**{**vars(FIT), "precise_batch_norm": True})
    plain, exact = (run(Arm(normalised_net), fit) for fit in (FIT, precise))
    assert without_times(plain)[0] == without_times(exact)[0]
    last = plain["epochs"][-1], exact["epochs"][-1]
    assert last[0]["loss"] == last[1]["loss"]
    assert last[0]["test_loss"] != last[1]["test_loss"]


def test_a_recorded_run_keeps_which_answers_are_right(full_mnist):
    record = run(Arm(small_net), FIT, scale="full")
    bits = np.unpackbits(artifacts.unpack("correct", record["correct"]))[:1_000]
    assert bits.mean() == pytest.approx(record["epochs"][-1]["test_accuracy"], abs=1e-6)
    assert "correct" not in run(Arm(small_net), FIT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "linear"}, "schedule='linear' at quick scale; allowed are 'constant', 'one_"),
        ({"precise_batch_norm": 1}, "precise_batch_norm=1 at quick scale; allowed are True and F"),
        ({"trace_every": 0}, "trace_every=0 at quick scale; allowed are None and whole numbers"),
        ({"seeds": Stein()}, "seeds=Stein.* at quick scale; allowed is, at full scale alone"),
        ({"seeds": by_scale(2, Stein(0, 4))}, "seeds=Stein.* at full scale; allowed is, at full"),
        ({"seeds": by_scale(2, Stein(0, 10, 9))}, "a pilot of at least 5 seeds and a cap no lower"),
        ({"trace_metrics": {"a": len}}, "trace_metrics=.'a'.: arm 'x' has no trace at quick"),
        ({"metrics": {"a": len}, "history_metrics": {"a": len}}, "'a' is the name of two of them"),
    ],
)
def test_settings_that_are_not_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        Experiment("fitting", {"x": small_net}, **settings)


def test_what_is_new_in_a_fit_counts_only_where_it_is_used():
    assert set(Fit().described()) == {"epochs", "batch_size", "train_size"}
    assert Fit(schedule="cosine", trace_every=5).described()["schedule"] == "cosine"
