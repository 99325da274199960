"""Running experiments: real training on a few images, real interruptions, real files."""

import dataclasses
import functools
import json
import os
import signal
import time
import weakref
from pathlib import Path

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from helpers import python, refused
from keras import layers

from utils import data
from utils.evidence import RecordFile, claims, last_epoch, records, stages
from utils.experiments import Arm, Experiment, Fit, RunError, Stein, by_scale

pytestmark = [pytest.mark.training, pytest.mark.usefixtures("imports_are_no_garbage")]

ROOT = Path(__file__).parent.parent
TINY = {"epochs": 2, "batch_size": 32, "train_size": 100}
SHORT = {"epochs": 1, "batch_size": 50, "train_size": 100}
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def tiny(*hidden, loss=LOGITS, optimizer="adam", metrics=("accuracy",), eager=False):
    net = keras.Sequential([keras.Input((28, 28, 1)), layers.MaxPooling2D(4), layers.Flatten()])
    for layer in (*hidden, layers.Dense(10)):
        net.add(layer)
    net.compile(optimizer, loss, metrics=list(metrics), run_eagerly=eager)
    return net


# Where training is not what is looked at: compiling the graph would take most of the time.
eager = functools.partial(tiny, eager=True)


def other():
    return eager(layers.Dense(4))


def wide(units):
    return eager(layers.Dense(units))


def units_of(model, split):
    return next(layer.units for layer in model.layers if isinstance(layer, layers.Dense))


def conv():
    return tiny(layers.Reshape((7, 7, 1)), layers.Conv2D(2, 3), layers.ReLU(), layers.Flatten())


def with_dropout():
    return tiny(layers.Dropout(0.5))


def one(build=eager, name="x", **settings):
    """Make an experiment of one arm, or of several."""
    arms = build if isinstance(build, dict) else {"a": build}
    return Experiment(name, arms, **{**SHORT, "seeds": 1, **settings})


def two_arms(**settings):
    arms = {"conv": conv, "dense": with_dropout}
    return Experiment("two-arms", arms, **{**TINY, "seeds": 2, **settings})


def quick(experiment):
    return experiment.run("quick").quick


def full(experiment):
    return experiment.run("full").recorded.frame


def same(first, second):
    pd.testing.assert_frame_equal(
        first.drop(columns="seconds"), second.drop(columns="seconds"), check_exact=True
    )


@pytest.fixture
def results(monkeypatch, tmp_path, full_mnist):
    """Let full scale train on few images and record in a folder of the test."""
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


class Counting:
    """Build an arm's model and count how often."""

    def __init__(self, build=eager):
        self.build, self.built = build, 0

    def __call__(self):
        self.built += 1
        return self.build()


# The table


METRICS = {
    "weights": lambda model, split: model.count_params(),
    "first_label": lambda model, split: split.y_train[0],
    "again": lambda model, split: model.evaluate(split.x_test, split.y_test, 1_000, 0)[0],
}
HISTORY = {
    "before": lambda history: history["test_loss"].loc[1],
    "epochs": lambda history: len(history),
}
ARTIFACTS = {
    "logits": lambda model, split: model.predict(split.x_test, 1_000, 0).astype(np.float16),
    "labels": lambda model, split: split.y_test,
}
UNSTORABLE = {
    "letters": lambda model, split: np.array(["a"]),
    "infinities": lambda model, split: np.array([1.0, np.inf]),
}
MEASURED = {"metrics": METRICS, "history_metrics": HISTORY}


@pytest.fixture(scope="module")
def table():
    return quick(two_arms(**MEASURED))


def test_the_table_has_a_row_for_each_arm_seed_and_epoch(table):
    assert list(table.columns) == [
        "experiment", "arm", "seed", "epoch", "scale", "train_size", "test_size", "parameters",
        "accuracy", "loss", "test_accuracy", "test_loss", "seconds", *METRICS, *HISTORY,
    ]  # fmt: skip
    keys = table[["seed", "arm", "epoch"]].itertuples(index=False, name=None)
    assert list(keys) == [
        (seed, arm, epoch) for seed in (0, 1) for arm in ("conv", "dense") for epoch in (1, 2)
    ]
    assert set(table["experiment"]) == {"two-arms"} and set(table["scale"]) == {"quick"}
    assert set(table["train_size"]) == {100} and set(table["test_size"]) == {1_000}
    assert (table["seconds"] > 0).all() and table["test_accuracy"].between(0, 1).all()


def test_metrics_are_taken_after_the_last_epoch_and_stand_in_its_row(table):
    first, last = (table[table["epoch"] == epoch].reset_index() for epoch in (1, 2))
    assert first[[*METRICS, *HISTORY]].isna().all(axis=None)
    assert (last["weights"] == last["parameters"]).all()
    assert set(last["parameters"]) == {conv().count_params(), with_dropout().count_params()}
    assert np.allclose(last["again"], last["test_loss"], rtol=1e-5)
    assert (last["before"] == first["test_loss"]).all() and (last["epochs"] == 2).all()


def test_a_history_has_the_columns_of_the_table_and_its_epochs_from_1():
    seen = []

    def note(history):
        seen.append(history)
        return 0

    found = quick(one(epochs=2, history_metrics={"n": note}))
    columns = ["accuracy", "loss", "test_accuracy", "test_loss", "seconds"]
    assert list(seen[0].index) == [1, 2] and list(seen[0].columns) == columns
    assert np.array_equal(seen[0].to_numpy(), found[columns].to_numpy())


def test_an_arm_may_prepare_the_images_change_the_targets_and_train_differently():
    seen = {}

    def prepare(split, rng):
        seen["drawn"] = rng.integers(1_000_000)
        return split.replace(x_train=1 - split.x_train[:60], y_train=split.y_train[:60])

    def one_hot(labels):
        return keras.utils.to_categorical(labels, 10)

    def brightness(model, split):
        return float(split.x_train.mean())

    arms = {
        "prepared": Arm(eager, prepare=prepare),
        "one-hot": Arm(
            lambda: eager(loss=keras.losses.CategoricalCrossentropy(from_logits=True)),
            targets=one_hot,
            fit=Fit(epochs=1, batch_size=16, train_size=200),
        ),
        "as it is": eager,
    }
    frame = quick(one(arms, epochs=2, seeds=[5], metrics={"mean": brightness}))
    frame = last_epoch(frame).set_index("arm")
    assert frame["train_size"].to_dict() == {"prepared": 60, "one-hot": 200, "as it is": 100}
    assert frame["epoch"].to_dict() == {"prepared": 2, "one-hot": 1, "as it is": 2}
    assert frame["mean"]["prepared"] > 0.8 > 0.2 > frame["mean"]["as it is"]
    assert seen["drawn"] == np.random.default_rng(5).integers(1_000_000)


def test_arms_seeds_and_settings_may_differ_between_the_scales(results):
    experiment = one(
        {"a": eager, "b": other, "c": other},
        quick_arms=["c", "a"],
        seeds=by_scale(quick=1, full=[3, 4]),
        epochs=by_scale(1, 2),
        batch_size=by_scale(50, 100),
        train_size=by_scale(100, 200),
    )
    small, large = quick(experiment), full(experiment)
    assert (list(small["arm"]), set(small["train_size"])) == (["c", "a"], {100})
    assert (len(large), set(large["seed"]), set(large["train_size"])) == (12, {3, 4}, {200})
    assert set(large["arm"]) == {"a", "b", "c"}
    arms = by_scale({"a": eager}, {"b": eager, "c": eager})
    assert [list(one().arms_at("quick")), list(Experiment("x", arms).arms_at("full"))] == [
        ["a"], ["b", "c"]
    ]  # fmt: skip


# What a seed fixes


def test_a_seed_fixes_all_numbers_to_the_last_bit_whatever_ran_before(table):
    keras.utils.set_random_seed(99)
    np.random.normal(size=7)
    # Of the four runs the last two, the other way round.
    turned = {"dense": with_dropout, "conv": conv}
    again = quick(dataclasses.replace(two_arms(**MEASURED, seeds=[1]), arms=turned))
    assert list(again["arm"]) == ["dense", "dense", "conv", "conv"]
    for run, rows in again.groupby(["arm", "seed"]):
        before = table.set_index(["arm", "seed"]).loc[[run]].reset_index()
        same(rows.reset_index(drop=True), before[rows.columns])


def places(labels):
    """Let the loss see each image's place in the training set instead of its label."""
    return np.arange(len(labels))


def noting(found, name, hidden=()):
    """Make an arm that notes what it draws, run after run."""

    def prepare(split, rng):
        found.setdefault(name, []).append({"split": split, "rng": rng.normal(size=3)})
        return split

    def build():
        if name not in found:  # For its fingerprint.
            return other()
        noted = found[name][-1]
        noted.update(batches=[], dropped=[])

        def loss(y_true, y_pred):
            if len(y_true) <= 40:  # The test images come a thousand at a time.
                noted["batches"].append(np.array(y_true, dtype=int).ravel())
            return keras.losses.sparse_categorical_crossentropy(y_true % 10, y_pred, True)

        class Noting(layers.Layer):
            def call(self, x, training=False):
                if training:
                    noted["dropped"].append(np.array(x) == 0)
                return x

        inside = [layers.Dense(6, name="shared"), layers.Dropout(0.5), Noting()]
        net = eager(*inside, *map(layers.Dense, hidden), loss=loss, metrics=())
        noted["weights"] = [weight.copy() for weight in net.get_weights()]
        return net

    return Arm(build, prepare, places)


@pytest.fixture(scope="module")
def draws():
    """Note what two arms draw at random under seeds 0 and 1, and the first under 0 again."""
    found = {}
    arms = {"small": noting(found, "small"), "large": noting(found, "large", (5, 4))}
    from utils.experiments.training import Job, train

    for name, seed in [(name, seed) for seed in (0, 1) for name in arms] + [("small", 0)]:
        train(Job(arms[name], name, seed, Fit(2, 40, 100), "quick"))
    return found


def test_a_seed_fixes_the_split_and_both_arms_get_it(draws):
    def drawn(run):
        split = run["split"]
        return [split.x_train, split.y_train, split.x_test, split.y_test, run["rng"]]

    first, second, again = map(drawn, draws["small"])
    for seed, run in enumerate((first, second)):
        assert all(map(np.array_equal, run, drawn(draws["large"][seed])))
    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, second))


def test_a_seed_fixes_the_initial_weights(draws):
    first, second, again = (run["weights"] for run in draws["small"])
    assert all(map(np.array_equal, first, again)) and not np.array_equal(first[0], second[0])
    # Layers of the same shape in the same place start alike in both arms.
    assert np.array_equal(first[0], draws["large"][0]["weights"][0])


def test_a_seed_fixes_the_order_of_the_batches_and_both_arms_get_it(draws):
    order = [np.concatenate(run["batches"]) for run in draws["small"]]
    assert [len(batch) for batch in draws["small"][0]["batches"]] == 2 * [40, 40, 20]
    for epoch in (slice(0, 100), slice(100, 200)):
        assert sorted(order[0][epoch]) == list(range(100))  # Each image once an epoch …
        assert list(order[0][epoch]) != list(range(100))  # … and not in the order of the file.
        for seed in (0, 1):
            large = np.concatenate(draws["large"][seed]["batches"])
            assert np.array_equal(order[seed][epoch], large[epoch])
        assert np.array_equal(order[0][epoch], order[2][epoch])
        assert not np.array_equal(order[0][epoch], order[1][epoch])
    # Keras alone, once seeded, would deal every epoch alike.
    assert not np.array_equal(order[0][:100], order[0][100:])


def test_a_seed_fixes_the_dropout_masks(draws):
    first, second, again = (run["dropped"] for run in draws["small"])
    assert 0.3 < np.mean(np.concatenate(first)) < 0.7
    assert all(map(np.array_equal, first, again)) and not np.array_equal(first[0], second[0])
    assert not np.array_equal(first[0], first[1])  # Each batch draws its own.


def test_without_shuffling_the_first_batches_are_those_that_prepare_put_first():
    def three_first(split, rng):
        order = np.argsort(split.y_train != 3, kind="stable")
        return split.replace(x_train=split.x_train[order], y_train=split.y_train[order])

    def first_labels(shuffle):
        """Labels of the first batch of each epoch, by a loss that writes them down."""
        noted = []

        def loss(labels, outputs):
            noted.append(keras.ops.convert_to_numpy(labels).ravel().astype(int).tolist())
            return keras.losses.sparse_categorical_crossentropy(labels, outputs)

        arm = Arm(lambda: eager(loss=loss), three_first)
        quick(one(arm, epochs=2, batch_size=10, shuffle=shuffle))
        return noted[0], noted[len(noted) // 2]

    first, later = first_labels(False)
    assert first == 10 * [3] and later != 10 * [3]
    assert first_labels(True)[0] != 10 * [3]


def test_testing_now_and_then_changes_nothing_but_the_rows_without_it():
    settings = {**TINY, "epochs": 5}
    each, third = (quick(one(with_dropout, **settings, test_every=n)) for n in (1, 3))
    tested = ["test_accuracy", "test_loss"]
    assert third.loc[third["test_loss"].notna(), "epoch"].tolist() == [3, 5]
    rows = each["epoch"].isin([3, 5])
    same(each[rows], third[rows][each.columns])
    same(each.drop(columns=tested), third.drop(columns=tested))


def test_records_count_whether_or_not_a_setting_is_named_that_has_its_default():
    assert Fit(test_every=1, shuffle=True).described() == Fit().described()
    assert Fit(test_every=2).described() != Fit().described() != Fit(shuffle=False).described()


# Processes

PARALLEL = """
import joblib
from test_experiment import *

def told(**settings):
    runs = quick(one({"a": conv, "b": other, "c": with_dropout}, **settings, metrics=PROCESS))
    each = last_epoch(runs).groupby("arm")["process"].nunique().tolist()
    table = runs.drop(columns=["seconds", "process"]).to_json(double_precision=15)
    return set(runs["process"]) == {os.getpid()}, runs["process"].nunique(), each, table

for chosen in (1, None):
    with joblib.parallel_config(n_jobs=chosen):
        print(*told(seeds=3), sep="\\n")
print(told(seeds=1)[0], told(seeds=2, exclusive=True)[0])
with joblib.parallel_config(n_jobs=2):
    halved = quick(one({"c": with_dropout}, seeds=2, metrics=PROCESS))
    print(halved["process"].nunique())
    try:
        quick(one({"good": tiny, "bad": Arm(tiny, prepare=raising)}))
    except RunError as error:
        print(error)
"""
PROCESS = {"process": lambda model, split: os.getpid()}


def test_two_processes_share_quick_runs_give_the_numbers_of_one_and_name_what_fails():
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    said = python(PARALLEL, PYTHONPATH=paths, **threads).splitlines()
    one_process, two_processes, (few, halved, failure) = said[:4], said[4:8], said[8:]
    assert one_process[:3] == ["True", "1", "[1, 1, 1]"]
    if joblib.cpu_count() > 1:
        # An arm's seeds go to one process, which traces it once. The one arm too many is split, and
        # it is up to the machine whether a process that is free early takes both of its parts; of
        # a single arm, each of the two processes that wait for work takes one.
        assert two_processes[:2] == ["False", "2"]
        assert two_processes[2] in ("[1, 1, 1]", "[1, 1, 2]") and halved == "2"
    assert one_process[3] == two_processes[3] and '"experiment"' in one_process[3]
    assert few == "True True"  # So few do not repay the start, and some run alone.
    assert failure == "arm 'bad', seed 0: OSError: it is broken"


# Errors


def test_seeds_may_be_any_sequence_of_whole_numbers():
    for seeds in (range(3), [0, 1, 2], (0, 1, 2), 3, np.arange(3)):
        found = one(seeds=seeds).seeds_at("quick")
        assert found == (0, 1, 2) and {type(seed) for seed in found} == {int}


def raising(*_):
    raise OSError("it is broken")


def nan_loss(y_true, y_pred):
    return keras.ops.mean(y_pred) * float("nan")


def square(y_true, y_pred):
    return keras.ops.mean(y_pred**2)


def diverging_on_test(y_true, y_pred):
    """Is infinite for the thousand test images only."""
    return keras.ops.mean(y_pred**2) + (float("inf") if y_pred.shape[0] == 1_000 else 0.0)


BAD = {
    "raises": (raising, {}, "OSError: it is broken"),
    "raises in prepare": (Arm(eager, prepare=raising), {}, "OSError: it is broken"),
    "raises in targets": (Arm(eager, targets=raising), {}, "OSError: it is broken"),
    "raises in a metric": (eager, {"m": raising}, "OSError: it is broken"),
    "measures infinity": (eager, {"m": lambda *_: float("inf")}, "its metric 'm' is inf"),
    "measures nan": (eager, {"m": lambda *_: float("nan")}, "its metric 'm' is nan"),
    "measures what Keras does": (eager, {"test_loss": raising}, "'test_loss' has the name of"),
    "has a nan loss": (lambda: eager(loss=nan_loss), {}, "its loss is nan after epoch 1"),
    "diverges": (
        lambda: eager(loss=square, optimizer=keras.optimizers.SGD(1e30)),
        {},
        "its loss is (inf|nan) after epoch 1",
    ),
    "diverges on the test images": (
        lambda: eager(loss=diverging_on_test),
        {},
        "its test_loss is inf after epoch 1",
    ),
    "returns nothing": (lambda: None, {}, "its build returned None; allowed is a compiled"),
    "is not compiled": (
        lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten()]),
        {},
        "its build returned <Sequential.*compiled keras.Model",
    ),
    "has an unknown metric": (lambda: eager(metrics=["acuracy"]), {}, "acuracy"),
    "is too large": (Arm(eager, fit=Fit(1, 32, 3_995)), {}, "train_size is 3,995; allowed are 10"),
}
UNBUILT = ["raises", "returns nothing", "is not compiled"]


@pytest.mark.parametrize("kind", BAD)
def test_an_arm_that_fails_is_named_with_its_seed(kind):
    build, metrics, message = BAD[kind]
    seed = "" if kind in UNBUILT else ", seed 7"  # It is built for its fingerprint first.
    with pytest.raises(RunError, match=f"^arm '{kind}'{seed}: .*{message}"):
        quick(one({kind: build}, seeds=[7], metrics=metrics))


@pytest.mark.parametrize("kind", UNBUILT)
def test_an_arm_that_cannot_be_built_is_named_before_anything_is_trained(kind, results):
    build, _, message = BAD[kind]
    first = Counting()
    with pytest.raises(RunError, match=f"^arm '{kind}': .*{message}"):
        full(one({"good": first, kind: build}, seeds=3))
    assert first.built == 1 and not results.exists()


def test_full_scale_without_its_data_is_one_error_and_trains_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    monkeypatch.setenv("MNIST_PATH", str(tmp_path / "none.npz"))
    with pytest.raises(data.DataError, match="none.npz"):
        full(two_arms())
    assert list(tmp_path.iterdir()) == []


# Recording


def done(experiment):
    """Return arm and seed of each record, in the order of the file."""
    found, damaged = RecordFile.of(experiment.name).read()
    assert damaged == []
    return [(record["arm"], record["seed"]) for record in found]


def flaky(split, rng):
    """Fail on the second seed, as long as the outer world is not in order."""
    if os.environ.get("BROKEN") and rng.normal() == np.random.default_rng(1).normal():
        raise OSError("it is broken")
    return split


def test_a_record_says_what_was_run_where_and_when(results):
    experiment = one(Counting(), metrics={"weights": METRICS["weights"]})
    frame = full(experiment)
    (record,) = RecordFile.of("x").read()[0]
    assert list(record)[:3] == ["experiment", "arm", "seed"]
    assert (record["experiment"], record["arm"], record["seed"]) == ("x", "a", 0)
    assert record["fingerprint"] == experiment.fingerprints("full")["a"]
    assert (record["train_size"], record["test_size"]) == (100, 1_000)
    assert len(record["epochs"]) == 1 and record["measures"] == {"weights": eager().count_params()}
    assert record["versions"]["keras"] == keras.__version__
    assert record["machine"]["cores"] == os.cpu_count() and record["machine"]["threads"] >= 1
    assert time.strptime(record["date"], "%Y-%m-%d")
    assert record["seconds"] >= sum(epoch["seconds"] for epoch in record["epochs"]) - 0.01
    assert set(frame["scale"]) == {"full"}


def test_running_again_trains_nothing_and_more_seeds_and_arms_only_what_is_missing(results):
    a, b = Counting(), Counting(other)
    first = full(one(a, seeds=2))
    assert a.built == 1 + 2  # One for the fingerprint.
    second = one(a, seeds=2).run("full")
    assert a.built == 1 + 2 + 1 and second.quick is None
    pd.testing.assert_frame_equal(second.best, first, check_exact=True)
    larger = one({"b": b, "a": a}, seeds=3)
    assert set(larger.recorded().missing) == {("b", 0), ("b", 1), ("b", 2), ("a", 2)}
    a.built = b.built = 0
    result = larger.run("full")
    assert (a.built, b.built) == (1 + 1, 1 + 3)
    assert len(last_epoch(result.best)) == 6 == len(done(larger))
    assert result.recorded.complete and result.recorded.changed == {}


def test_a_failed_run_keeps_the_finished_ones_and_is_tried_again(results, monkeypatch):
    experiment = one({"b": Arm(eager, prepare=flaky), "a": eager}, seeds=2)
    monkeypatch.setenv("BROKEN", "yes")
    with pytest.raises(RunError, match="^arm 'b', seed 1: OSError: it is broken"):
        full(experiment)
    assert done(experiment) == [("b", 0), ("a", 0)]
    monkeypatch.delenv("BROKEN")
    assert len(last_epoch(full(experiment))) == 4
    assert done(experiment)[2:] == [("b", 1), ("a", 1)]


CHANGES = {
    "model": lambda: eager(layers.Dense(3)),
    "compile": lambda: eager(optimizer="sgd"),
    "fit": Arm(eager, fit=Fit(1, 25, 100)),
    "data": Arm(eager, prepare=flaky),
}


def test_a_changed_arm_is_trained_again_and_the_part_that_changed_is_named(results):
    before = one({"a": eager, "b": other})
    full(before)
    file = RecordFile.of("x").path
    recorded = file.read_bytes()
    for part, arm in CHANGES.items():
        file.write_bytes(recorded)
        later = one({"a": arm, "b": other})
        stale = later.recorded()
        assert stale.changed == {"a": (part,)} and set(stale.frame["arm"]) == {"b"}
        assert stale.missing == (("a", 0),) and not stale.complete
        assert "1 of 2 runs recorded" in repr(stale) and "`make results` runs what" in repr(stale)
        assert f"because these changed: a: {part}." in repr(stale)
        result = later.run("full")
        assert result.recorded.complete and result.recorded.changed == {}
        assert len(done(later)) == 3  # The old ones stay; back again, they count again.
        assert before.recorded().complete


def test_a_changed_metric_makes_every_arm_stale(results):
    arms, metrics = {"a": eager, "b": other}, {"m": METRICS["weights"]}
    full(one(arms, metrics=metrics))
    for settings in (
        {"metrics": {"m": METRICS["first_label"]}},
        {"metrics": metrics, "history_metrics": HISTORY},
        {"metrics": metrics, "artifacts": ARTIFACTS},
        {},
    ):
        assert one(arms, **settings).recorded().changed == dict.fromkeys(arms, ("measures",))
    assert one(arms, metrics=metrics).recorded().complete


def test_the_arrays_that_a_run_leaves_behind_come_back_as_they_were(results):
    experiment = one({"a": eager, "b": other}, artifacts=ARTIFACTS)
    assert experiment.recorded().artifacts() == {}
    result = experiment.run("full")
    frame = last_epoch(result.best).set_index(["arm", "seed"])
    found = result.recorded.artifacts()
    assert set(found) == {("a", 0), ("b", 0)}
    for run, arrays in found.items():
        assert arrays["logits"].shape == (1_000, 10) and arrays["logits"].dtype == np.float16
        assert np.array_equal(arrays["labels"], data.load_mnist("full").split(0).y_test)
        right = np.mean(arrays["logits"].argmax(axis=1) == arrays["labels"])
        assert right == pytest.approx(frame.loc[run, "test_accuracy"], abs=2e-3)
    assert not {"logits", "labels"} & set(frame.columns)


def test_quick_runs_leave_no_arrays_behind():
    assert len(quick(one(artifacts=UNSTORABLE))) == 1


@pytest.mark.parametrize("artifact", UNSTORABLE)
def test_what_cannot_be_stored_ends_the_run_and_is_not_recorded(results, artifact):
    experiment = one(artifacts={"it": UNSTORABLE[artifact]})
    with pytest.raises(RunError, match="arm 'a', seed 0: .*'it'.*finite real numbers"):
        full(experiment)
    assert experiment.recorded().missing == (("a", 0),)


# The result

PART = {
    "says": "dense against conv", "experiment": "two-arms", "metric": "train_size",
    "treatment": "dense", "baseline": "conv", "expect": "no difference", "margin": 1,
    "unit": "",
}  # fmt: skip
ELSEWHERE = {**PART, "says": "the same elsewhere", "experiment": "others"}
SOURCE = dict.fromkeys(("title", "author", "kind", "note", "cite"), "a source")


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Return a function that lets the ledger hold one claim, of some parts."""
    load = claims.load_ledger

    def hold(*parts):
        claim = {
            "id": "a-claim", "section": "A section", "source": "S0", "chapter": "a-chapter",
            "statement": "The same.", "settled_by": "Both are trained.",
            "parts": [{**part, "place": "S0, 1st paragraph"} for part in parts],
        }  # fmt: skip
        path = tmp_path / "claims.yml"
        path.write_text(
            yaml.safe_dump(json.loads(json.dumps({"sources": {"S0": SOURCE}, "claims": [claim]}))),
            "utf-8",
        )
        load.cache_clear()
        found = load(path)
        for module in (claims, stages):
            monkeypatch.setattr(module, "load_ledger", lambda: found)

    yield hold
    load.cache_clear()


def cheap(name="two-arms", **settings):
    return one({"conv": eager, "dense": other}, name, **{"seeds": 2, **settings})


def read_again(result):
    """Return a result as it would be with the runs that are recorded by now."""
    return dataclasses.replace(result, recorded=result.experiment.recorded())


def test_the_best_runs_are_the_recorded_ones_once_they_are_complete(results):
    experiment = one({"conv": eager}, seeds=2, train_size=by_scale(50, 100))
    before = experiment.run("quick")
    assert before.best is before.quick and before.recorded.frame.empty
    assert before.label == "quick runs: 50 images, 1 epoch, 2 seeds"
    full(dataclasses.replace(experiment, seeds=1))
    assert read_again(before).best is before.quick
    full(experiment)
    after = experiment.run("quick")
    assert after.best is after.recorded.frame and len(after.quick) == 2
    assert after.label == "recorded runs: 100 images, 1 epoch, 2 seeds"


def test_a_setting_moves_the_seeds_of_quick_runs_and_those_alone(results, monkeypatch):
    experiment = cheap(seeds=by_scale(quick=(0, 3), full=2))
    monkeypatch.setenv("MNIST_SEED", "7")
    moved = experiment.run("quick")
    assert set(moved.quick["seed"]) == {7, 10} and "2 seeds from 7" in moved.label
    assert set(full(experiment)["seed"]) == {0, 1}
    monkeypatch.delenv("MNIST_SEED")
    alone = dataclasses.replace(experiment, seeds=[10])
    same(quick(alone), moved.quick.query("seed == 10").reset_index(drop=True))
    for wrong in ("-1", "1.5", "one"):
        monkeypatch.setenv("MNIST_SEED", wrong)
        with pytest.raises(ValueError, match=f"MNIST_SEED='{wrong}'"):
            experiment.run("quick")


def test_a_result_says_what_ran_and_tells_the_ledger_what_has_to_match(results):
    experiment = cheap(seeds=1)
    before = experiment.run("quick")
    assert repr(before) == (
        "two-arms, quick runs: 100 images, 1 epoch, 1 seed.\n"
        "two-arms, full scale: 0 of 2 runs recorded. `make results` runs what is missing."
    )
    shown, extra = experiment.run("full")._repr_mimebundle_()
    assert shown["text/plain"] == (
        "two-arms, full scale: 2 of 2 runs recorded: 100 images, 1 epoch, 1 seed."
    )
    assert "<code>make results</code>" in before._repr_mimebundle_()[0]["text/html"]
    assert extra == {
        "recorded": {
            "experiment": "two-arms",
            "seeds": [0],
            "fingerprints": experiment.fingerprints("full"),
        },
        "exclusive": False,
    }
    json.dumps(extra)


def test_a_claim_is_judged_by_the_runs_of_all_results_that_it_rests_on(results, ledger):
    first, second = cheap(), cheap("others")
    ledger(PART, {**ELSEWHERE, "expect": "increase"})
    found = first.run("quick")
    assert [(row.scale, str(row.outcome)) for row in found.verdict("a-claim").rows] == [
        ("quick", "2 of 2 runs within the margin")
    ]
    found.expect("a-claim", "refuted")  # Without recorded runs nothing is insisted on.
    full(first)
    found, others = read_again(found), second.run("full")
    assert found.verdict("a-claim").verdict("full") is None
    settled = found.verdict("a-claim", others)
    assert [row.scale for row in settled.rows] == ["quick", "full", "full"]
    assert str(settled.verdict("full")) == "holds in part"
    for words in ("holds in part", "holds in part, 1 of 2 parts supported"):
        found.expect("a-claim", words, others)
    for words in ("refuted", "holds in part, 2 of 2 parts supported"):
        message = f"^claim a-claim: the text says {words}, the runs holds in part, 1 of 2 parts"
        with pytest.raises(AssertionError, match=message):
            found.expect("a-claim", words, others)
    with pytest.raises(ValueError, match="verdict='suported'; allowed are supported, "):
        found.expect("a-claim", "suported", others)
    ledger(PART, ELSEWHERE)
    found.expect("a-claim", "supported", others)


def test_a_chosen_setting_is_the_best_of_its_series_or_ties_with_it(results):
    widths = {"plain, 0.1": 4, "plain, 0.3": 3, "plain, slow, 0.1": 5, "plain, slow, 0.3": 5}
    sweep = one(
        {arm: functools.partial(wide, units) for arm, units in widths.items()},
        metrics={"units": units_of},
    )
    before = sweep.run("quick")
    before.expect_best({"plain": 0.3}, "units")  # Without recorded runs nothing is insisted on.
    full(sweep)
    found = read_again(before)
    found.expect_best({"plain": 0.1, "plain, slow": 0.1}, "units")
    found.expect_best({"plain": 0.3, "plain, slow": 0.3}, "-units")
    message = "^x: the text chooses 'plain, 0.3', the runs 'plain, 0.1'$"
    with pytest.raises(AssertionError, match=message):
        found.expect_best({"plain, slow": 0.3, "plain": 0.3}, "units")
    for chosen in ({"plain": 0.2}, {"slow": 0.1}):
        with pytest.raises(ValueError, match=r"no arm '\w+, 0\.\d'; allowed are \['plain, 0.1', "):
            before.expect_best(chosen)
    with pytest.raises(ValueError, match="expression='unit'; the frame has "):
        found.expect_best({"plain": 0.1}, "unit")


def test_a_claim_that_asks_for_what_an_experiment_has_not_is_refused(results, ledger):
    found = cheap().run("quick")
    has = "allowed is an arm of the experiment 'two-arms': ['conv', 'dense']"
    ledger({**PART, "baseline": "con"})
    with refused(f"claim a-claim, 'dense against conv': baseline='con'; {has}"):
        found.verdict("a-claim")
    ledger({**PART, "treatment": ["dense", "cnv"]})
    with refused(f"treatment=('dense', 'cnv'); {has}"):
        found.verdict("a-claim")
    ledger(ELSEWHERE)
    with refused("claim a-claim: experiment=['others']; allowed is one of ['two-arms'], or more"):
        found.verdict("a-claim")


def test_a_pilot_decides_how_many_seeds_are_trained(results, ledger):
    ledger({**PART, "metric": "test_loss", "expect": "increase", "margin": 1e-6})
    experiment = cheap(seeds=by_scale(1, Stein(first=7, pilot=5, cap=6)))
    assert experiment.recorded().missing == tuple(
        (arm, seed) for seed in range(7, 12) for arm in ("conv", "dense")
    )
    result = experiment.run("full")
    assert result.recorded.complete and set(result.best["seed"]) == set(range(7, 13))
    (stage,) = RecordFile.of("two-arms").stages()
    assert stage["seeds"] == 6 < stage["wanted"] and stage["pilot"] == 5
    (row,) = result.verdict("a-claim").rows
    assert (row.estimate.runs, row.estimate.method) == (6, "Stein")
    content = RecordFile.of("two-arms").path.read_bytes()
    full(experiment)
    assert RecordFile.of("two-arms").path.read_bytes() == content


def test_one_claim_at_full_scale_leaves_what_does_not_serve_it_quick(monkeypatch, results, ledger):
    ledger(PART)
    monkeypatch.setenv("MNIST_SCALE", "full")
    monkeypatch.setenv("MNIST_CLAIM", "a-claim")
    monkeypatch.setattr(claims, "serves", lambda experiment, claim: experiment == "others")
    one_, others = (cheap(name, seeds=1) for name in ("two-arms", "others"))
    assert one_.run().quick is not None and not one_.recorded().complete
    assert others.run().quick is None and others.recorded().complete
    monkeypatch.delenv("MNIST_CLAIM")
    assert one_.run().quick is None


def test_an_interrupt_is_not_lost_while_garbage_is_collected(monkeypatch):
    clear = keras.utils.clear_session

    class Object:
        pass

    def interrupted_clear():
        kept = Object()
        # What such a callback raises, Python prints and drops.
        reference = weakref.ref(kept, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del kept
        assert reference() is None
        clear()

    monkeypatch.setattr(keras.utils, "clear_session", interrupted_clear)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        quick(one({"a": eager, "b": other}, seeds=8))
    assert signal.getsignal(signal.SIGINT) is handler
