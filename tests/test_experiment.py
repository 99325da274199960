"""Running experiments: real training on a few images, real interruptions, real files."""

import contextlib
import dataclasses
import functools
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from utils import data
from utils.evidence import statistics as evidence
from utils.experiments import run as experiment
from utils.experiments.run import (
    Arm,
    Experiment,
    Fit,
    RunError,
    by_scale,
    kept,
    last_epoch,
    recorded,
    run,
    table,
)
from utils.evidence.records import RecordError

ROOT = Path(__file__).parent.parent
TINY = Fit(epochs=2, batch_size=32, train_size=100)


def tiny(
    units=10,
    dropout=0.0,
    loss=None,
    optimizer="adam",
    hidden=(),
    metrics=("accuracy",),
    eager=False,
):
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.MaxPooling2D(4), layers.Flatten()])
    for each in hidden:
        net.add(layers.Dense(each))
    if dropout:
        net.add(layers.Dropout(dropout))
    net.add(layers.Dense(units))
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer, loss, metrics=list(metrics), run_eagerly=eager)
    return net


# Where training is not what is looked at: compiling the graph would take most of the time.
eager = functools.partial(tiny, eager=True)
SHORT = Fit(epochs=1, batch_size=50, train_size=100)


def other():
    return eager(hidden=(4,))


def conv():
    net = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(2, 3, strides=3), layers.ReLU()]
    )
    net.add(layers.Flatten())
    net.add(layers.Dropout(0.3))
    net.add(layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("adam", loss, metrics=["accuracy"])
    return net


def with_dropout():
    return tiny(dropout=0.5)


def two_arms(**settings):
    settings = {"seeds": 2, "fit": TINY, **settings}
    return Experiment("two-arms", "a-claim", {"conv": conv, "dense": with_dropout}, **settings)


def without_seconds(frame):
    return frame.drop(columns="seconds")


def same(first, second):
    pd.testing.assert_frame_equal(without_seconds(first), without_seconds(second), check_exact=True)


def stand_in_for_full_mnist():
    """Make the embedded images look like the full set: published parts of 4,000 and 1,000."""
    quick = data.load_mnist("quick")
    mixed = np.arange(5_000).reshape(10, 500).T.ravel()  # Every digit in both parts.
    return dataclasses.replace(
        quick,
        scale="full",
        images=quick.images[mixed],
        labels=quick.labels[mixed],
        published_train=4_000,
    )


@pytest.fixture
def full_scale(monkeypatch, tmp_path):
    """Let full scale train on few images and record in a folder of the test."""
    use_stand_in(monkeypatch.setattr, tmp_path / "results")
    return tmp_path / "results"


def use_stand_in(setattr_, results):
    stand_in, load = stand_in_for_full_mnist(), data.load_mnist
    setattr_(data, "load_mnist", lambda scale=None: stand_in if scale == "full" else load(scale))
    setattr_(data, "full_fingerprint", lambda: stand_in.fingerprint)
    setattr_(experiment, "RESULTS", Path(results))


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_garbage():
    """Spare `clear_session`, which collects garbage, a look at all that TensorFlow imported."""
    gc.freeze()
    yield
    gc.unfreeze()


class Counting:
    """Build an arm's model and count how often."""

    def __init__(self, build=eager):
        self.build, self.built = build, 0

    def __call__(self):
        self.built += 1
        return self.build()


# The table


@pytest.fixture(scope="module")
def quick_run():
    experiment_ = two_arms(measures={"weights": count_weights, "first_label": first_label})
    return run(experiment_, "quick")


def count_weights(model, split):
    return model.count_params()


def first_label(model, split):
    return split.y_train[0]


def test_the_table_has_a_row_for_each_arm_seed_and_epoch(quick_run):
    assert list(quick_run.columns) == [
        "experiment", "arm", "seed", "epoch", "scale", "train_size", "test_size", "parameters",
        "accuracy", "loss", "test_accuracy", "test_loss", "seconds", "weights", "first_label",
    ]  # fmt: skip
    keys = quick_run[["seed", "arm", "epoch"]].itertuples(index=False, name=None)
    assert list(keys) == [
        (seed, arm, epoch) for seed in (0, 1) for arm in ("conv", "dense") for epoch in (1, 2)
    ]
    assert set(quick_run["experiment"]) == {"two-arms"} and set(quick_run["scale"]) == {"quick"}
    assert set(quick_run["train_size"]) == {100} and set(quick_run["test_size"]) == {1_000}
    assert (quick_run["seconds"] > 0).all()
    assert quick_run["test_accuracy"].between(0, 1).all()


def test_measures_stand_in_the_row_of_the_last_epoch(quick_run):
    first, last = (quick_run[quick_run["epoch"] == epoch] for epoch in (1, 2))
    assert first[["weights", "first_label"]].isna().all(axis=None)
    assert (last["weights"] == last["parameters"]).all()
    assert set(last["parameters"]) == {conv().count_params(), with_dropout().count_params()}


def test_summaries_are_taken_from_the_course_of_the_run():
    seen = []

    def best_epoch(epochs):
        seen.append(epochs)
        return epochs["test_loss"].idxmin()

    found = run(two_arms(seeds=1, summaries={"best": best_epoch, "epochs": len}), "quick")
    for (arm, runs), epochs in zip(found.groupby("arm"), seen, strict=True):
        columns = ["accuracy", "loss", "test_accuracy", "test_loss", "seconds"]
        assert list(epochs.index) == [1, 2] and list(epochs.columns) == columns
        assert np.array_equal(epochs.to_numpy(), runs[columns].to_numpy()), arm
        assert runs["best"].isna().tolist() == [True, False] and runs["epochs"].iloc[1] == 2
        assert runs["best"].iloc[1] == runs.set_index("epoch")["test_loss"].idxmin()


def test_without_shuffling_the_first_batches_are_those_that_prepare_put_first():
    def three_first(split, rng):
        order = np.argsort(split.y_train != 3, kind="stable")
        return split.replace(x_train=split.x_train[order], y_train=split.y_train[order])

    def first_labels(shuffle, epochs):
        """Labels of the first batch of each epoch, by a loss that writes them down."""
        noted = []

        def loss(labels, outputs):
            noted.append(keras.ops.convert_to_numpy(labels).ravel().astype(int).tolist())
            return keras.losses.sparse_categorical_crossentropy(labels, outputs)

        def build():
            net = tiny()
            net.compile("sgd", loss, run_eagerly=True)
            return net

        fit = Fit(epochs, batch_size=10, train_size=100, shuffle=shuffle)
        run(Experiment("x", "c", {"a": Arm(build, three_first)}, 1, fit), "quick")
        return [noted[0], noted[len(noted) // 2]] if epochs == 2 else noted[0]

    assert first_labels(False, 1) == 10 * [3]
    assert first_labels(True, 1) != 10 * [3]
    first, later = first_labels(False, 2)
    assert first == 10 * [3] and later != 10 * [3]


def test_the_last_epoch_of_each_run_is_kept_and_never_the_best(quick_run):
    last = last_epoch(quick_run)
    assert len(last) == 4 and set(last["epoch"]) == {2}
    with_best_first = quick_run.assign(test_accuracy=1.0 / quick_run["epoch"])
    assert set(last_epoch(with_best_first)["test_accuracy"]) == {0.5}
    assert list(last_epoch(pd.concat([quick_run, quick_run.assign(scale="full")]))["scale"]) == [
        *4 * ["quick"], *4 * ["full"]
    ]  # fmt: skip


def test_training_learns():
    long = Experiment("x", "c", {"a": tiny}, 1, Fit(epochs=6, batch_size=16, train_size=800))
    assert last_epoch(run(long, "quick"))["test_accuracy"][0] > 0.4  # Guessing gives 0.1.


def test_the_test_metrics_are_those_of_the_test_images_at_the_end():
    taken = {}

    def check(model, split):
        taken["loss"], taken["accuracy"] = model.evaluate(split.x_test, split.y_test, verbose=0)
        return 0.0

    last = last_epoch(run(Experiment("x", "c", {"a": tiny}, 1, TINY, {"check": check}), "quick"))
    assert last["test_accuracy"][0] == pytest.approx(taken["accuracy"], abs=1e-6)
    assert last["test_loss"][0] == pytest.approx(taken["loss"], rel=1e-4)


def test_an_empty_table_has_its_leading_columns():
    assert list(table([], "x", "full").columns)[:4] == ["experiment", "arm", "seed", "epoch"]


def test_an_arm_may_prepare_the_images_change_the_targets_and_train_differently():
    seen = {}

    def prepare(split, rng):
        seen["drawn"] = rng.integers(1_000_000)
        return split.replace(x_train=1 - split.x_train[:60], y_train=split.y_train[:60])

    def one_hot(labels):
        return keras.utils.to_categorical(labels, 10)

    def measure(model, split):
        return float(split.x_train.mean())

    arms = {
        "prepared": Arm(tiny, prepare=prepare),
        "one-hot": Arm(
            lambda: tiny(loss=keras.losses.CategoricalCrossentropy(from_logits=True)),
            targets=one_hot,
            fit=Fit(epochs=1, batch_size=16, train_size=200),
        ),
        "as it is": Arm(tiny),
    }
    frame = last_epoch(run(Experiment("x", "c", arms, [5], TINY, {"mean": measure}), "quick"))
    frame = frame.set_index("arm")
    assert frame["train_size"].to_dict() == {"prepared": 60, "one-hot": 200, "as it is": 100}
    assert frame["epoch"].to_dict() == {"prepared": 2, "one-hot": 1, "as it is": 2}
    assert frame["mean"]["prepared"] > 0.8 > 0.2 > frame["mean"]["as it is"]
    assert seen["drawn"] == np.random.default_rng(5).integers(1_000_000)


def test_settings_may_differ_between_the_scales(full_scale):
    arms = by_scale(quick={"a": tiny}, full={"a": tiny, "b": lambda: tiny(hidden=(4,))})
    experiment_ = Experiment(
        "x",
        "c",
        arms,
        seeds=by_scale(quick=1, full=[3, 4]),
        fit=Fit(by_scale(1, 2), by_scale(50, 25), by_scale(100, 200)),
    )
    quick, full = run(experiment_, "quick"), run(experiment_, "full")
    assert (len(quick), set(quick["seed"]), set(quick["train_size"])) == (1, {0}, {100})
    assert (len(full), set(full["seed"]), set(full["train_size"])) == (8, {3, 4}, {200})


# What a seed fixes


def test_the_same_seed_gives_the_same_numbers_to_the_last_bit(quick_run):
    again = run(two_arms(measures={"weights": count_weights, "first_label": first_label}), "quick")
    same(quick_run, again)


def test_other_seeds_give_other_numbers(quick_run):
    for _, rows in last_epoch(quick_run).groupby("arm"):
        assert rows["loss"].nunique() == 2 and rows["test_loss"].nunique() == 2


def test_a_run_does_not_depend_on_what_ran_before_it_in_the_process(quick_run):
    keras.utils.set_random_seed(99)
    np.random.normal(size=7)
    alone = Experiment("two-arms", "c", {"dense": with_dropout}, [1], TINY)
    found = without_seconds(run(alone, "quick"))
    expected = quick_run[(quick_run["arm"] == "dense") & (quick_run["seed"] == 1)]
    pd.testing.assert_frame_equal(
        found, expected[found.columns].reset_index(drop=True), check_exact=True
    )


@pytest.fixture(scope="module")
def draws():
    """Note what two arms draw at random under each of two seeds."""
    found = {}

    def arm(name, hidden):
        def build():
            kept = found.setdefault((name, len([k for k in found if k[0] == name])), {})
            log = kept.setdefault("batches", [])

            def loss(y_true, y_pred):
                log.append(np.array(y_true, dtype=int).ravel())
                return keras.losses.sparse_categorical_crossentropy(
                    y_true % 10, y_pred, from_logits=True
                )

            class Noting(layers.Layer):
                def call(self, x, training=False):
                    if training:
                        kept.setdefault("dropped", []).append(np.array(x) == 0)
                    return x

            net = keras.Sequential([keras.Input((28, 28, 1)), layers.MaxPooling2D(4)])
            net.add(layers.Flatten())
            net.add(layers.Dense(6, name="shared"))
            net.add(layers.Dropout(0.5))
            net.add(Noting())
            for units in hidden:
                net.add(layers.Dense(units))
            net.add(layers.Dense(10))
            kept["weights"] = [w.copy() for w in net.get_weights()]
            net.compile("adam", loss, run_eagerly=True)
            return net

        # What the loss gets is each image's place in the training set instead of its label.
        return Arm(build, prepare=functools.partial(note, found, name), targets=places)

    arms = {"small": arm("small", ()), "large": arm("large", (5, 4))}
    run(Experiment("x", "c", arms, 2, Fit(2, 40, 100)), "quick")
    run(Experiment("x", "c", {"small": arms["small"]}, 1, Fit(2, 40, 100)), "quick")
    return found


def note(found, name, split, rng):
    found.setdefault("splits", {}).setdefault(name, []).append((split, rng.normal(size=3)))
    return split


def places(labels):
    return np.arange(len(labels))


def training_batches(drawn):
    """Leave out the test images, which are evaluated a thousand at a time."""
    return [batch for batch in drawn["batches"] if len(batch) <= 40]


def test_a_seed_fixes_the_split_and_both_arms_get_it(draws):
    small, large = draws["splits"]["small"], draws["splits"]["large"]
    for seed in (0, 1):
        for part in ("x_train", "y_train", "x_test", "y_test"):
            first, second = getattr(small[seed][0], part), getattr(large[seed][0], part)
            assert np.array_equal(first, second)
        assert np.array_equal(small[seed][1], large[seed][1])  # What `prepare` draws.
    assert not np.array_equal(small[0][0].x_train, small[1][0].x_train)
    assert not np.array_equal(small[0][0].x_test, small[1][0].x_test)
    assert np.array_equal(small[0][0].x_train, small[2][0].x_train)


def test_testing_now_and_then_changes_nothing_but_the_rows_without_it():
    def trained(**settings):
        fit = Fit(5, batch_size=32, train_size=100, **settings)
        return run(Experiment("x", "c", {"dropout": with_dropout}, 1, fit), "quick")

    each, third = trained(), trained(test_every=3)
    tested = ["test_accuracy", "test_loss"]
    assert third.loc[third["test_loss"].notna(), "epoch"].tolist() == [3, 5]
    kept = each["epoch"].isin([3, 5])
    same(
        each[kept].reset_index(drop=True),
        third[third["epoch"].isin([3, 5])][each.columns].reset_index(drop=True),
    )
    same(each.drop(columns=tested), third.drop(columns=tested))


def test_records_count_whether_or_not_a_setting_is_named_that_has_its_default():
    assert Fit(test_every=1, shuffle=True).described() == Fit().described()
    assert Fit(test_every=2).described() != Fit().described()


def test_a_seed_fixes_the_initial_weights(draws):
    first, second, again = (draws["small", number]["weights"] for number in (0, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], second[0])
    # Layers of the same shape in the same place start alike in both arms.
    assert np.array_equal(first[0], draws["large", 0]["weights"][0])


def test_a_seed_fixes_the_order_of_the_batches_and_both_arms_get_it(draws):
    order = [np.concatenate(training_batches(draws["small", number])) for number in (0, 1, 2)]
    assert [len(batch) for batch in training_batches(draws["small", 0])] == 2 * [40, 40, 20]
    for epoch in (slice(0, 100), slice(100, 200)):
        assert sorted(order[0][epoch]) == list(range(100))  # Each image once an epoch …
        assert list(order[0][epoch]) != list(range(100))  # … and not in the order of the file.
        for seed in (0, 1):
            large = np.concatenate(training_batches(draws["large", seed]))
            assert np.array_equal(order[seed][epoch], large[epoch])
        assert np.array_equal(order[0][epoch], order[2][epoch])
        assert not np.array_equal(order[0][epoch], order[1][epoch])
    for seed in (0, 1):  # Keras alone, once seeded, would deal every epoch alike.
        assert not np.array_equal(order[seed][:100], order[seed][100:])


def test_a_seed_fixes_the_dropout_masks(draws):
    first, second, again = (draws["small", number]["dropped"] for number in (0, 1, 2))
    assert 0.3 < np.mean(np.concatenate(first)) < 0.7
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], first[1])  # Each batch draws its own.


PARALLEL = """
import joblib
from tests.test_experiment import *
for chosen in (1, 2):
    with joblib.parallel_config(n_jobs=chosen):
        print(without_seconds(run(two_arms(), "quick")).to_json(double_precision=15))
with joblib.parallel_config(n_jobs=2):
    try:
        arms = {"good": tiny, "bad": Arm(tiny, prepare=raising)}
        run(Experiment("x", "c", arms, 1, TINY), "quick")
    except RunError as error:
        print(error)
"""


def python(code, *arguments, **environment):
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )


def test_two_processes_give_the_same_numbers_as_one_and_name_what_fails():
    output, error = python(PARALLEL).communicate(timeout=300)
    assert len(output.splitlines()) == 3, error
    in_this_process, in_two, failure = output.splitlines()
    assert in_this_process == in_two and in_two.startswith('{"experiment"')
    assert failure == "arm 'bad', seed 0: OSError: it is broken"


def process(model, split):
    return os.getpid()


@pytest.mark.parametrize("chosen, processes", [(None, min(2, joblib.cpu_count())), (1, 1)])
def test_quick_runs_are_shared_by_two_processes_unless_joblib_is_told_otherwise(chosen, processes):
    def trained_by(seeds):
        runs = run(Experiment("x", "c", {"a": tiny}, seeds, TINY, {"process": process}), "quick")
        return set(last_epoch(runs)["process"])

    with joblib.parallel_config(n_jobs=chosen):
        assert trained_by(seeds=3) == {os.getpid()}  # So few do not repay the start.
        assert len(trained_by(seeds=12)) == processes


# Errors


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"name": "Two Arms"}, "name='Two Arms'; allowed are lower-case letters, digits"),
        ({"name": ""}, "name=''"),
        ({"name": "../x"}, "name='../x'"),
        ({"arms": {}}, "arms={}.*at least one"),
        ({"arms": by_scale({"a": tiny}, {})}, "arms={} at full scale"),
        ({"arms": [tiny]}, "arms=.*mapping"),
        ({"arms": {"a": "tiny"}}, "arms: 'a'='tiny'.*builds its model"),
        ({"arms": {"a": Arm(None)}}, "arms: 'a'=None"),
        ({"arms": {3: tiny}}, "arms: 3=.*a text as the name"),
        ({"seeds": [0, 1, 2, 1]}, r"seeds=\(0, 1, 2, 1\): seed 1 stands there twice"),
        ({"seeds": by_scale(2, [3, 3])}, "seed 3 stands there twice"),
        ({"seeds": 0}, "seeds=0 at quick scale; allowed are how many, at least 1"),
        ({"seeds": []}, r"seeds=\[\]"),
        ({"seeds": by_scale(1, -2)}, "seeds=-2 at full scale"),
        ({"seeds": [-1]}, r"seeds=\[-1\].*from 0 to"),
        ({"seeds": [2**32]}, r"seeds=\[4294967296\]"),
        ({"seeds": 2.5}, "seeds=2.5"),
        ({"seeds": [0.5]}, r"seeds=\[0.5\]"),
        ({"seeds": "012"}, "seeds='012'"),
        ({"seeds": True}, "seeds=True"),
        ({"seeds": iter([1, 2])}, "seeds=<list_iterator.*sequence"),
        ({"fit": Fit(epochs=0)}, "epochs=0 at quick scale; allowed are whole numbers ≥ 1"),
        ({"fit": Fit(epochs=by_scale(1, 2.5))}, "epochs=2.5 at full scale"),
        ({"fit": Fit(epochs="1")}, "epochs='1'"),
        ({"fit": Fit(epochs=True)}, "epochs=True"),
        ({"fit": Fit(batch_size=-3)}, "batch_size=-3"),
        ({"fit": Fit(train_size=5)}, "train_size=5 at quick scale; allowed are None and"),
        ({"fit": Fit(train_size=100.0)}, "train_size=100.0"),
        ({"fit": Fit(train_size=np.int64(100))}, "train_size="),
        ({"arms": {"a": Arm(tiny, fit=Fit(epochs=-1))}}, "epochs=-1"),
        ({"measures": {"seed": first_label}}, "measures: 'seed'=.*any name but"),
        ({"measures": {"m": 3}}, "measures: 'm'=3; allowed are functions"),
        ({"summaries": {"seconds": len}}, "summaries: 'seconds'=.*any name but"),
        ({"summaries": {"m": None}}, "summaries: 'm'=None; allowed are functions"),
        ({"measures": {"m": first_label}, "summaries": {"m": len}}, "'m' is the name of a measure"),
        ({"fit": Fit(shuffle=by_scale(True, 1))}, "shuffle=1 at full scale; allowed are True and"),
        ({"fit": Fit(test_every=0)}, "test_every=0 at quick scale; allowed are whole numbers ≥ 1"),
    ],
)
def test_bad_settings_are_refused_with_the_argument_the_value_and_what_is_allowed(
    settings, message
):
    with pytest.raises(ValueError, match=message):
        Experiment(**{"name": "x", "claims": "c", "arms": {"a": tiny}, **settings})


def test_seeds_may_be_any_sequence_of_whole_numbers():
    for seeds in (range(3), [0, 1, 2], (0, 1, 2), 3, np.arange(3)):
        found = Experiment("x", "c", {"a": tiny}, seeds).seeds_at("quick")
        assert found == (0, 1, 2) and {type(seed) for seed in found} == {int}


def test_a_scale_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="scale='index'; allowed are 'quick', 'full'"):
        run(two_arms(seeds=by_scale(1, 2)), "index")


def test_one_claim_at_full_scale_leaves_the_others_quick(monkeypatch, full_scale):
    monkeypatch.setenv("MNIST_SCALE", "full")
    monkeypatch.setenv("MNIST_CLAIM", "another-claim")
    one = Experiment("x", ["a-claim", "b-claim"], {"a": tiny}, 1, TINY)
    assert set(run(one)["scale"]) == {"quick"}
    monkeypatch.setenv("MNIST_CLAIM", "b-claim")
    assert set(run(one)["scale"]) == {"full"}


def raising(*_):
    raise OSError("it is broken")


def nan_loss(y_true, y_pred):
    return keras.ops.mean(y_pred) * float("nan")


def square(y_true, y_pred):
    return keras.ops.mean(y_pred**2)


def diverging_on_test(y_true, y_pred):
    """Is infinite for the thousand test images only."""
    return keras.ops.mean(y_pred**2) + (float("inf") if y_pred.shape[0] == 1_000 else 0.0)


def infinite(model, split):
    return float("inf")


def nan_measure(model, split):
    return float("nan")


BAD = {
    "raises": (Arm(raising), {}, "OSError: it is broken"),
    "raises in prepare": (Arm(eager, prepare=raising), {}, "OSError: it is broken"),
    "raises in targets": (Arm(eager, targets=raising), {}, "OSError: it is broken"),
    "raises in a measure": (Arm(eager), {"m": raising}, "OSError: it is broken"),
    "measures infinity": (Arm(eager), {"m": infinite}, "its measure 'm' is inf"),
    "measures nan": (Arm(eager), {"m": nan_measure}, "its measure 'm' is nan"),
    "measures a metric": (Arm(eager), {"test_loss": first_label}, "'test_loss' has the name of a"),
    "has a nan loss": (Arm(lambda: eager(loss=nan_loss)), {}, "its loss is nan after epoch 1"),
    "diverges": (
        Arm(lambda: eager(loss=square, optimizer=keras.optimizers.SGD(1e30))),
        {},
        "its loss is (inf|nan) after epoch 1",
    ),
    "diverges on the test images": (
        Arm(lambda: eager(loss=diverging_on_test)),
        {},
        "its test_loss is inf after epoch 1",
    ),
    "returns nothing": (Arm(lambda: None), {}, "its build returned None; allowed is a compiled"),
    "is not compiled": (
        Arm(lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten()])),
        {},
        "its build returned <Sequential.*compiled keras.Model",
    ),
    "has an unknown metric": (Arm(lambda: eager(metrics=["acuracy"])), {}, "acuracy"),
    "is too large": (Arm(eager, fit=Fit(1, 32, 3_995)), {}, "train_size is 3,995; allowed are 10"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_arm_that_fails_is_named_with_its_seed(kind):
    arm, measures, message = BAD[kind]
    experiment_ = Experiment("x", "c", {kind: arm}, [7], SHORT, measures)
    with pytest.raises(RunError, match=f"^arm '{kind}', seed 7: .*{message}"):
        run(experiment_, "quick")


@pytest.mark.parametrize("kind", ["raises", "returns nothing", "is not compiled"])
def test_an_arm_that_cannot_be_built_is_named_before_anything_is_trained(kind, full_scale):
    arm, _, message = BAD[kind]
    first = Counting()
    experiment_ = Experiment("x", "c", {"good": first, kind: arm}, 3, TINY)
    with pytest.raises(RunError, match=f"^arm '{kind}': .*{message}"):
        run(experiment_, "full")
    assert first.built == 1 and not experiment_.record_file.path.exists()


def test_a_comparison_on_an_unknown_metric_is_refused(quick_run):
    with pytest.raises(ValueError, match="metric='test_acuracy'.*'test_accuracy'"):
        evidence.paired_difference(quick_run, "test_acuracy", "conv", "dense")
    estimate = evidence.paired_difference(quick_run, "test_accuracy", "conv", "dense")
    assert estimate.runs == 2


def test_full_scale_without_its_data_is_one_error_and_trains_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    monkeypatch.setenv("MNIST_PATH", str(tmp_path / "none.npz"))
    with pytest.raises(data.DataError, match="none.npz"):
        run(two_arms(), "full")
    assert list(tmp_path.iterdir()) == []


# Recording


def lines_of(experiment_):
    return experiment_.record_file.path.read_text().splitlines()


def flaky(split, rng):
    """Fail on the second seed, as long as the outer world is not in order."""
    if os.environ.get("BROKEN") and rng.normal() == np.random.default_rng(1).normal():
        raise OSError("it is broken")
    return split


def test_each_finished_run_is_on_the_disk_before_the_next_begins(full_scale):
    seen = []

    def prepare(split, rng):
        file = full_scale / "x.jsonl"
        seen.append(len(file.read_text().splitlines()) if file.exists() else 0)
        return split

    run(Experiment("x", "c", {"a": Arm(eager, prepare=prepare)}, 4, SHORT), "full")
    assert seen == [0, 1, 2, 3]


def test_a_record_says_what_was_run_where_and_when(full_scale):
    experiment_ = two_arms(seeds=1, measures={"weights": count_weights})
    frame = run(experiment_, "full")
    record = json.loads(lines_of(experiment_)[0])
    assert list(record)[:3] == ["experiment", "arm", "seed"]
    assert (record["experiment"], record["arm"], record["seed"]) == ("two-arms", "conv", 0)
    assert record["fingerprint"] == experiment_.fingerprints("full")["conv"]
    assert (record["train_size"], record["test_size"]) == (100, 1_000)
    assert len(record["epochs"]) == 2 and record["measures"] == {"weights": conv().count_params()}
    assert record["versions"]["keras"] == keras.__version__
    assert record["machine"]["cores"] == os.cpu_count() and record["machine"]["threads"] >= 1
    assert time.strptime(record["date"], "%Y-%m-%d")
    assert record["seconds"] >= sum(epoch["seconds"] for epoch in record["epochs"]) - 0.01
    assert set(frame["scale"]) == {"full"}


def test_running_again_trains_nothing_and_gives_the_same_table(full_scale):
    builds = {"a": Counting(), "b": Counting(other)}
    experiment_ = Experiment("x", "c", builds, 2, SHORT)
    first = run(experiment_, "full")
    assert [each.built for each in builds.values()] == [1 + 2, 1 + 2]  # One for the fingerprint.
    before = lines_of(experiment_)
    second = run(experiment_, "full")
    assert [each.built for each in builds.values()] == [4, 4]
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert lines_of(experiment_) == before
    assert recorded(experiment_).complete
    pd.testing.assert_frame_equal(recorded(experiment_).frame, first, check_exact=True)


def test_more_seeds_and_more_arms_train_only_what_is_missing(full_scale):
    a, b = Counting(), Counting(other)
    run(Experiment("x", "c", {"a": a}, 2, SHORT), "full")
    larger = Experiment("x", "c", {"b": b, "a": a}, 3, SHORT)
    assert set(recorded(larger).missing) == {("b", 0), ("b", 1), ("b", 2), ("a", 2)}
    a.built = b.built = 0
    frame = run(larger, "full")
    assert (a.built, b.built) == (1 + 1, 1 + 3)
    assert len(last_epoch(frame)) == 6 and len(lines_of(larger)) == 6
    assert recorded(larger).complete and recorded(larger).changed == {}


def test_a_failed_run_keeps_the_finished_ones_and_is_tried_again(full_scale, monkeypatch):
    experiment_ = Experiment("x", "c", {"a": eager, "b": Arm(eager, prepare=flaky)}, 3, SHORT)
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(RunError, match="^arm 'b', seed 1: OSError: it is broken"):
        run(experiment_, "full")
    done = [(record["arm"], record["seed"]) for record in experiment_.record_file.read()[0]]
    assert done == [("a", 0), ("b", 0), ("a", 1)]
    monkeypatch.delenv("BROKEN")
    assert len(last_epoch(run(experiment_, "full"))) == 6
    done = [(record["arm"], record["seed"]) for record in experiment_.record_file.read()[0]]
    assert done[3:] == [("b", 1), ("a", 2), ("b", 2)]


def measure_one(model, split):
    return 1.0


def measure_two(model, split):
    return 2.0


def len_of(epochs):
    return len(epochs)


CHANGES = {
    "model": {"arms": {"a": lambda: eager(hidden=(3,)), "b": other}},
    "compile": {"arms": {"a": lambda: eager(optimizer="sgd"), "b": other}},
    "fit": {"arms": {"a": Arm(eager, fit=Fit(1, 25, 100)), "b": other}},
    "data": {"arms": {"a": Arm(eager, prepare=flaky), "b": other}},
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_changed_arm_is_trained_again_and_the_part_that_changed_is_named(part, full_scale):
    base = {
        "name": "x",
        "claims": "a-claim",
        "arms": {"a": eager, "b": other},
        "seeds": 2,
        "fit": SHORT,
    }
    run(Experiment(**base), "full")
    later = Experiment(**{**base, **CHANGES[part]})
    stale = recorded(later)
    assert stale.changed == {"a": (part,)}
    assert stale.missing == (("a", 0), ("a", 1)) and not stale.complete
    assert set(stale.frame["arm"]) == {"b"}
    assert f"because these changed: a: {part}." in repr(stale)
    assert "2 of 4 runs recorded" in repr(stale) and "make results CLAIM=a-claim" in repr(stale)
    run(later, "full")
    assert recorded(later).complete and recorded(later).changed == {}
    assert len(lines_of(later)) == 6  # The old ones stay; back again, they count again.
    assert recorded(Experiment(**base)).complete


def test_a_changed_measure_makes_every_arm_stale(full_scale):
    base = {"name": "x", "claims": "c", "arms": {"a": eager, "b": other}, "seeds": 1, "fit": SHORT}
    run(Experiment(**base, measures={"m": measure_one}), "full")
    later = Experiment(**base, measures={"m": measure_two})
    assert recorded(later).changed == {"a": ("measures",), "b": ("measures",)}
    with_summary = Experiment(**base, measures={"m": measure_one}, summaries={"epochs": len_of})
    assert recorded(with_summary).changed == {"a": ("measures",), "b": ("measures",)}
    assert recorded(Experiment(**base, measures={"m": measure_one})).complete
    assert set(last_epoch(run(later, "full"))["m"]) == {2.0}


def logits(model, split):
    return model.predict(split.x_test, verbose=0).astype(np.float16)


def labels(model, split):
    return split.y_test


def test_what_an_experiment_for_no_claim_lacks_is_run_without_one(full_scale, monkeypatch):
    made = Experiment("made", claims=(), arms={"a": eager}, seeds=1, fit=SHORT)
    assert made.claims == ()
    assert "`make results` runs what is missing" in repr(recorded(made))
    # With the full scale of a claim it stays quick, as the experiments of other claims do.
    monkeypatch.setenv("MNIST_SCALE", "full")
    monkeypatch.setenv("MNIST_CLAIM", "a-claim")
    assert set(run(made)["scale"]) == {"quick"} and not recorded(made).complete
    monkeypatch.delenv("MNIST_CLAIM")
    assert set(run(made)["scale"]) == {"full"} and recorded(made).complete


def letters(model, split):
    return np.array(["a"])


def infinite(model, split):
    return np.array([1.0, np.inf])


def test_arrays_that_a_run_keeps_come_back_as_they_were(full_scale):
    keeps = {"logits": logits, "labels": labels}
    experiment_ = two_arms(keeps=keeps)
    assert kept(experiment_) == {}
    frame = last_epoch(run(experiment_, "full")).set_index(["arm", "seed"])
    found = kept(experiment_)
    assert set(found) == {("conv", 0), ("conv", 1), ("dense", 0), ("dense", 1)}
    for job, arrays in found.items():
        assert arrays["logits"].shape == (1_000, 10) and arrays["logits"].dtype == np.float16
        assert np.array_equal(arrays["labels"], data.load_mnist("full").split(0).y_test)
        right = np.mean(arrays["logits"].argmax(axis=1) == arrays["labels"])
        assert right == pytest.approx(frame.loc[job, "test_accuracy"], abs=2e-3)
    assert not set(keeps) & set(frame.columns)
    # They are part of what a record must match, and of the line that is written at once.
    assert recorded(two_arms()).changed == {"conv": ("measures",), "dense": ("measures",)}
    assert kept(two_arms()) == {}
    run(two_arms(), "full")
    assert kept(two_arms())["conv", 0] == {}


def test_quick_runs_keep_nothing():
    assert run(two_arms(seeds=1, keeps={"broken": letters}), "quick")["seed"].eq(0).all()


@pytest.mark.parametrize("keep", [letters, infinite])
def test_what_cannot_be_kept_ends_the_run_and_is_not_recorded(full_scale, keep):
    experiment_ = Experiment("x", "c", {"a": eager}, seeds=1, fit=SHORT, keeps={"it": keep})
    with pytest.raises(RunError, match="arm 'a', seed 0: .*keeps as 'it'.*finite real numbers"):
        run(experiment_, "full")
    assert recorded(experiment_).missing == (("a", 0),)


def test_what_is_recorded_tells_the_ledger_what_has_to_match(full_scale):
    experiment_ = two_arms(seeds=1)
    nothing = recorded(experiment_)
    assert nothing.frame.empty and nothing.missing == (("conv", 0), ("dense", 0))
    assert "0 of 2 runs recorded" in repr(nothing) and "Not yet run" in repr(nothing)
    run(experiment_, "full")
    text, extra = recorded(experiment_)._repr_mimebundle_()
    assert text["text/plain"] == ("Full MNIST, two-arms: 2 of 2 runs recorded (arms: 2, seeds: 1).")
    assert extra == {
        "recorded": {
            "experiment": "two-arms",
            "seeds": [0],
            "fingerprints": experiment_.fingerprints("full"),
        }
    }
    json.dumps(extra)


def test_torn_damaged_and_blank_lines_are_reported_and_only_their_runs_are_missing(full_scale):
    experiment_ = Experiment("x", "c", {"a": eager}, 4, SHORT)
    first = run(experiment_, "full")
    path = experiment_.record_file.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\n\n" + lines[1][:70] + b"\n" + lines[2] + lines[3][:-20])
    broken = recorded(experiment_)
    assert broken.missing == (("a", 1), ("a", 3)) and broken.damaged == (4, 6)
    assert "Damaged lines, skipped: 4, 6." in repr(broken)
    same(run(experiment_, "full"), first)
    again = recorded(experiment_)
    assert again.complete and again.damaged == (4, 6)


def test_a_run_that_cannot_be_recorded_is_named(full_scale):
    full_scale.write_text("a file, where the folder should be")
    with pytest.raises(RecordError, match="arm 'conv', seed 0 was trained but not recorded"):
        run(two_arms(seeds=1), "full")


# Interruptions: a process of its own, stopped at some moment

WORK = """
import sys
from tests.test_experiment import *
use_stand_in(setattr, sys.argv[1])
print("ready", flush=True)
try:
    run(interrupted(), "full")
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("done", flush=True)
"""


def interrupted():
    return Experiment("x", "c", {"a": eager, "b": other}, 8, SHORT)


def test_stopped_at_any_moment_it_loses_at_most_the_run_in_progress(full_scale):
    moments = random.Random(0)
    experiment_, path = interrupted(), full_scale / "x.jsonl"
    before = 0
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = python(WORK, full_scale)
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        # Somewhere after its next record: before, in and after the recording of another one.
        while process.poll() is None and count_lines(path) <= before:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.6))
        finished = count_lines(path)
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        if process.poll() is None:  # Python drops an interrupt that comes while it frees objects.
            process.send_signal(how)
        output, error = process.communicate(timeout=60)
        if how == signal.SIGINT:
            assert output == "interrupted\n", error
        assert process.returncode == (0 if how == signal.SIGINT else -how)
        found, damaged = experiment_.record_file.read()
        assert damaged == [] and len(found) >= finished > before
        before = len(found)
    frame = run(experiment_, "full")
    found, damaged = experiment_.record_file.read()
    runs = [(record["arm"], record["seed"]) for record in found]
    assert before < 16 and damaged == [] and len(runs) == len(set(runs)) == 16
    assert len(last_epoch(frame)) == 16 and recorded(experiment_).complete


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_an_interrupt_is_not_lost_while_garbage_is_collected(full_scale, monkeypatch):
    clear = keras.utils.clear_session

    class Kept:
        pass

    def interrupted_clear():
        kept = Kept()
        # What such a callback raises, Python prints and drops.
        reference = weakref.ref(kept, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del kept
        assert reference() is None
        clear()

    monkeypatch.setattr(keras.utils, "clear_session", interrupted_clear)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(), "quick")
    assert signal.getsignal(signal.SIGINT) is handler


def test_two_that_run_the_same_experiment_at_once_record_each_run_once(full_scale):
    another = python(WORK, full_scale)
    assert another.stdout.readline() == "ready\n", another.stderr.read()
    frame = run(interrupted(), "full")
    output, error = another.communicate(timeout=300)
    assert output == "done\n", error
    found, damaged = interrupted().record_file.read()
    runs = [(record["arm"], record["seed"]) for record in found]
    assert damaged == [] and len(runs) == len(set(runs)) == 16
    assert len(last_epoch(frame)) == 16
