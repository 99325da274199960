"""Other images than MNIST: what is taken, what is refused, and runs that never mix with MNIST's."""

import dataclasses
import io
import json
import shutil
import zipfile

import joblib
import numpy as np
import pytest
from helpers import refused, runs_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils.data import DataError, Split, from_arrays, from_npz, load_mnist
from utils.evidence import RecordFile, claims, stages
from utils.evidence.stored import Page
from utils.experiments import Arm, Experiment, RunError, Stein, by_scale
from utils.experiments.backends import dask
from utils.experiments.models import classifier

GOOD_IMAGES = "allowed are uint8, or floating point in 0..1, of shape (n, height, width) or (n, hei"


def noise(count=120, shape=(6, 5, 3), classes=3, seed=0):
    """Random images in which each class comes equally often."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count) % classes


def made(name="noise", **settings):
    return from_arrays(*noise(**settings), name=name)


# What is taken


@st.composite
def good_arrays(draw):
    classes = draw(st.integers(2, 12))
    sizes = st.integers(1, 5)
    shape = draw(st.tuples(sizes, sizes) | st.tuples(sizes, sizes, sizes))
    count = draw(st.integers(10 * classes, 14 * classes))
    kind = draw(st.sampled_from([np.uint8, np.float16, np.float32, np.float64]))
    low_high = {} if kind == np.uint8 else {"min_value": 0, "max_value": 1}
    x = draw(hnp.arrays(kind, (count, *shape), elements=low_high or None, fill=st.just(kind(1))))
    y = np.arange(count, dtype=draw(st.sampled_from([np.uint8, np.int32, np.int64]))) % classes
    return x, y.reshape(draw(st.sampled_from([(-1,), (-1, 1)]))), classes


@given(good_arrays(), st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None)
def test_shape_classes_and_split_follow_from_the_arrays(arrays, seed, own_test):
    x, y, classes = arrays
    test = (x[: 2 * classes], y[: 2 * classes]) if own_test else ()
    found = from_arrays(x, y, *test, name="any-3")
    assert found.shape == (x.shape[1:] if x.ndim == 4 else (*x.shape[1:], 1))
    assert found.classes == classes
    assert len(found.x) + len(found.x_test) == len(x) + (2 * classes if own_test else 0)
    full = found.split(seed, scale="full")
    assert np.array_equal(full.y_train, found.y) and np.array_equal(full.y_test, found.y_test)
    quick = found.split(seed)
    assert len(quick.x_train) + len(quick.x_test) == len(full.x_train)
    assert len(quick.x_test) == len(full.x_train) // 5
    for split in (full, quick):
        assert set(split.y_train) == set(range(classes))
        for part in (split.x_train, split.x_test):
            assert part.dtype == np.float32 and part.min() >= 0 and part.max() <= 1
            assert not part.flags.writeable
    small = found.split(seed, classes)
    assert sorted(small.y_train) == list(range(classes))
    assert np.array_equal(small.x_test, quick.x_test)


def rows_of(*parts):
    return sorted(image.tobytes() for part in parts for image in part)


def test_every_image_is_in_one_part_with_its_label_and_its_pixels():
    x, y = noise()
    label = {(image / np.float32(255)).tobytes(): which for image, which in zip(x, y, strict=True)}
    found = from_arrays(x, y, name="noise")
    full, first, second = found.split(7, scale="full"), found.split(0), found.split(1)
    assert rows_of(full.x_train, full.x_test) == sorted(label)
    # What is tested at full scale is not seen at quick scale.
    assert rows_of(first.x_train, first.x_test) == rows_of(full.x_train)
    assert not np.array_equal(first.y_train, second.y_train)
    assert rows_of(first.x_train) == rows_of(found.split(0).x_train)
    assert rows_of(full.x_test) == rows_of(found.split(8, scale="full").x_test)
    for split in (full, first, found.split(0, 20)):
        for part in ("train", "test"):
            images, labels = getattr(split, f"x_{part}"), getattr(split, f"y_{part}")
            assert [label[image.tobytes()] for image in images] == list(labels)
            assert len(set(np.bincount(labels))) <= 2


def test_at_quick_scale_there_are_as_many_images_as_of_mnist():
    quick = made(count=7_000, shape=(2, 2)).split(3)
    assert (len(quick.x_train), len(quick.x_test)) == (4_000, 1_000)


def test_the_arrays_are_copied_and_may_change_afterwards():
    x, y = noise()
    found = from_arrays(x, y, x[:9], y[:9], name="noise")
    before = found.split(0).x_train.copy()
    x[:], y[:] = 0, 0
    assert np.array_equal(found.split(0).x_train, before) and found.classes == 3
    with pytest.raises(ValueError, match="read-only"):
        found.x[0] = 0


def test_more_than_ten_classes_have_a_split_that_can_be_changed_and_is_checked():
    split = made(classes=12).split(0)
    assert set(split.y_train) == set(range(12))
    turned = split.replace(y_test=11 - split.y_test)
    assert isinstance(turned, Split) and turned.y_test.max() == 11
    with refused("y_test holds -1; labels are 0 or more"):
        split.replace(y_test=split.y_test - 1)
    with refused("x_test holds -1..0"):
        split.replace(x_test=split.x_test * 0 - np.float32(split.x_test > 0))
    with refused("no array of a split is named ['y']"):
        split.replace(y=split.y_test)


def test_a_hash_follows_every_array_and_nothing_else():
    x, y = noise()
    other, swapped = x.copy(), y.copy()
    other[0, 0, 0, 0] ^= 1
    swapped[:2] = swapped[1::-1]
    floats = (x / 255).astype(np.float32)
    arrays = [(x, y), (other, y), (x, swapped), (x[:-3], y[:-3]), (floats, y), (x, y, x[:3], y[:3])]
    hashes = [from_arrays(*each, name="noise").hash for each in arrays]
    assert len(set(hashes)) == len(arrays)
    again = from_arrays(x.copy(order="F"), y.reshape(-1, 1).astype(np.uint8), name="other")
    assert again.hash == hashes[0]
    prints = {again.fingerprint(scale) for scale in ("quick", "full")}
    assert prints == {f"other-quick-{hashes[0]}", f"other-full-{hashes[0]}"}


# What is refused


X, Y = noise()
FLOAT = (X / 255).astype(np.float32)


def changed(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


BAD = {
    "x, no array": ({"x": X.tolist()}, TypeError, f"x is list; {GOOD_IMAGES}"),
    "x, flat": (
        {"x": X.reshape(120, -1)},
        ValueError,
        f"x is uint8 of shape (120, 90); {GOOD_IMAGES}",
    ),
    "x, five axes": ({"x": X[None]}, ValueError, "x is uint8 of shape (1, 120, 6, 5, 3); allowed"),
    "x, none": ({"x": X[:0], "y": Y[:0]}, ValueError, "x is uint8 of shape (0, 6, 5, 3); allowed"),
    "x, no pixels": ({"x": X[:, :0]}, ValueError, "x is uint8 of shape (120, 0, 5, 3); allowed"),
    "x, whole numbers": (
        {"x": X.astype(int)},
        TypeError,
        f"x is int64 of shape (120, 6, 5, 3); {GOOD_IMAGES}",
    ),
    "x, objects": ({"x": X.astype(object)}, TypeError, "x is object of shape (120, 6, 5, 3);"),
    "x, bool": ({"x": X > 9}, TypeError, "x is bool of shape (120, 6, 5, 3); allowed"),
    "x, NaN": (
        {"x": changed(FLOAT, np.nan)},
        ValueError,
        f"x is float32 of shape (120, 6, 5, 3) and holds NaN; {GOOD_IMAGES}",
    ),
    "x, to 255": ({"x": X.astype(float)}, ValueError, "and holds 0..255; allowed are uint8, or fl"),
    "x, negative": ({"x": changed(FLOAT, -0.5)}, ValueError, "and holds -0.5..1; allowed"),
    "x, infinite": ({"x": changed(FLOAT, np.inf)}, ValueError, "and holds 0..inf; allowed"),
    "y, no array": ({"y": Y.tolist()}, TypeError, "y is list; allowed are whole numbers from"),
    "y, floats": ({"y": Y / 1.0}, TypeError, "y is float64 of shape (120,); allowed are whole"),
    "y, objects": ({"y": Y.astype(object)}, TypeError, "y is object of shape (120,); allowed"),
    "y, one-hot": ({"y": np.eye(3, dtype=int)[Y]}, ValueError, "y is int64 of shape (120, 3); all"),
    "y, other length": ({"y": Y[:-1]}, ValueError, "x holds 120 images and y 119 labels; each"),
    "y, negative": (
        {"y": changed(Y, -1)},
        ValueError,
        "y is int64 of shape (120,) and holds -1..2; allowed are labels from 0 to 499",
    ),
    "y, too large": ({"y": changed(Y, 500)}, ValueError, "and holds 0..500; allowed are labels"),
    "y, one class": ({"y": Y * 0}, ValueError, "y holds one class, 0; allowed are 2 to 500"),
    "y, a gap": ({"y": Y * 2}, ValueError, "y holds the label 1 0 times; allowed are 10"),
    "y, a rare one": ({"y": changed(Y, 3)}, ValueError, "y holds the label 3 1 times; allowed are"),
    "one test array": ({"x_test": X}, ValueError, "y_test is None; allowed are both test"),
    "the other one": ({"y_test": Y}, ValueError, "x_test is None; allowed are both test arrays"),
    "test, other shape": (
        {"x_test": X[:, 1:], "y_test": Y},
        ValueError,
        "x_test holds uint8 images of shape (5, 5, 3) and x uint8 images of shape (6, 5, 3)",
    ),
    "test, other type": ({"x_test": FLOAT, "y_test": Y}, ValueError, "x_test holds float32 images"),
    "test, other length": (
        {"x_test": X, "y_test": Y[1:]},
        ValueError,
        "x_test holds 120 images and y_test 119 labels",
    ),
    "test, another class": (
        {"x_test": X, "y_test": Y + 1},
        ValueError,
        "y_test holds 3; allowed are the labels of y, 0 to 2",
    ),
    "test, a class missing": (
        {"x_test": X, "y_test": Y % 2},
        ValueError,
        "y_test holds the label 2 0 times; allowed are 1 times or more for each of 0 to 2",
    ),
    "test, NaN": (
        {"x": FLOAT, "x_test": changed(FLOAT, np.nan), "y_test": Y},
        ValueError,
        "x_test is float32 of shape (120, 6, 5, 3) and holds NaN",
    ),
    "name, with a path": ({"name": "../x"}, ValueError, "name is '../x'; allowed are lower"),
    "name, mnist": ({"name": "mnist"}, ValueError, "name is 'mnist'; allowed are"),
    "name, empty": ({"name": ""}, ValueError, "name is ''; allowed are"),
    "name, none": ({"name": None}, ValueError, "name is None; allowed are"),
    "name, two lines": ({"name": "a\n"}, ValueError, "name is 'a\\n'; allowed are"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_by_name_kind_and_what_is_allowed(case):
    change, error, message = BAD[case]
    with refused(message, error):
        from_arrays(**{"x": X, "y": Y, "name": "noise", **change})


ANY_ARRAY = hnp.arrays(
    hnp.scalar_dtypes() | st.just(np.dtype(object)), hnp.array_shapes(min_dims=0, max_dims=5)
)


@given(ANY_ARRAY, st.sampled_from(["x", "y", "x_test", "y_test"]))
@example(np.zeros((0, 4, 4)), "x")
@settings(deadline=None)
def test_whatever_an_array_is_the_error_names_it_and_what_is_allowed(array, argument):
    arrays = {"x": X, "y": Y, "x_test": X[:9], "y_test": Y[:9], argument: array}
    with pytest.raises((TypeError, ValueError), match=rf"\b{argument}\b.*(allowed|needs|must)"):
        from_arrays(**arrays, name="noise")


@pytest.mark.parametrize("train_size", [2, 95, 97])
def test_a_size_that_leaves_no_image_of_a_class_is_refused(train_size):
    with refused(f"train_size is {train_size}; allowed are 3 to 9"):
        made().split(0, train_size, "full")


# Archives


@pytest.fixture
def archive(tmp_path):
    def write(name="noise.npz", save=np.savez_compressed, **arrays):
        save(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def test_an_archive_gives_what_its_arrays_give(archive):
    two = from_arrays(X, Y, name="noise")
    four = from_arrays(X, Y, X[:9], Y[:9], name="noise")
    assert from_npz(archive(x=X, y=Y)).fingerprint("full") == two.fingerprint("full")
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:9], "y_test": Y[:9], "more": X}
    assert from_npz(str(archive(**arrays))).fingerprint("full") == four.fingerprint("full")
    assert from_npz(archive("A b.npz", x=X, y=Y), "c").name == "c"
    with refused("name is 'A b'; allowed are"):
        from_npz(archive("A b.npz", x=X, y=Y))


class Trap:
    """What unpickles itself by a call that leaves a trace."""

    def __reduce__(self):
        return (open, ("sprung", "w"))


def test_an_archive_with_python_objects_is_refused_and_nothing_is_unpickled(
    archive, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = archive(x=X, y=np.array([Trap()] * 120, dtype=object), save=np.savez)
    with refused(f"path='{path}', array 'y': Object arrays cannot be loaded…; allowed", DataError):
        from_npz(path)
    assert not (tmp_path / "sprung").exists()


def test_an_archive_without_its_arrays_is_refused(archive):
    for arrays, message in (
        ({"x": X}, "of y and y_train it has neither, and in all ['x']"),
        ({"images": X, "labels": Y}, "of x and x_train it has neither, and in all ['images', 'l"),
        ({"x": X, "x_train": X, "y": Y}, "of x and x_train it has both"),
    ):
        with refused(f"{message}…allowed is a NumPy .npz archive with the arrays x", DataError):
            from_npz(archive(**arrays))
    with refused("y_test is None; allowed are both test arrays, or neither"):
        from_npz(archive(x=X, y=Y, x_test=X))


def test_a_file_that_is_no_intact_archive_is_refused(archive, tmp_path):
    with refused("there is no such file; allowed is a NumPy .npz archive", DataError):
        from_npz(tmp_path / "nothing.npz")
    with refused("there is no such file", DataError):
        from_npz(tmp_path)
    np.save(tmp_path / "one.npy", X)
    with refused("it is no archive, or is cut short; allowed", DataError):
        from_npz(tmp_path / "one.npy")
    whole = archive(x=X, y=Y).read_bytes()
    for where, broken in {
        "cut": whole[: len(whole) // 2],
        "turned": bytes(b ^ 255 if 200 < at < 400 else b for at, b in enumerate(whole)),
    }.items():
        (tmp_path / f"{where}.npz").write_bytes(broken)
        with refused(f"path='{tmp_path / where}.npz'…; allowed", DataError):
            from_npz(tmp_path / f"{where}.npz")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("x.npy", "no array")
        file.writestr("y.npy", "")
    (tmp_path / "texts.npz").write_bytes(buffer.getvalue())
    with refused("texts.npz', array '…allowed", DataError):
        from_npz(tmp_path / "texts.npz")


# Experiments


def net(data=None, filters=2):
    from keras import layers

    shape, classes = (data.shape, data.classes) if data else ((28, 28, 1), 10)
    convolution = layers.Conv2D(filters, 3, activation="relu")
    return classifier(convolution, layers.Flatten(), shape=shape, classes=classes)


def experiment(data=None, name="an-experiment", **settings):
    arms = {"first": lambda: net(data), "second": lambda: net(data, 3)}
    settings = {"seeds": by_scale(2, 3), "batch_size": 32, "train_size": 40, **settings}
    return Experiment(name, arms, data=data, **settings)


def test_only_a_data_set_is_taken_for_one():
    for wrong in (X, "noise", (X, Y), load_mnist("quick")):
        with refused(
            "data=…; allowed are None, for MNIST, and what utils.data.from_arr", TypeError
        ):
            Experiment("x", {"a": net}, data=wrong)


@pytest.mark.training
@pytest.mark.parametrize("jobs", [1, 2])
def test_it_trains_on_the_images_of_its_data_in_whatever_process(records, jobs):
    data = made(classes=12, count=240, shape=(6, 5))
    metrics = {
        "sum": lambda model, split: split.x_train.sum(dtype=float),
        "labels": lambda model, split: split.y_train.sum(),
        "outputs": lambda model, split: model.output_shape[-1],
    }
    with joblib.parallel_config(n_jobs=jobs):
        found = experiment(data, metrics=metrics, seeds=by_scale(4, 1)).run("quick")
    table = found.quick
    assert set(table["experiment"]) == {"an-experiment@noise"}
    assert found.label == "quick runs on noise: 40 images, 1 epoch, 4 seeds"
    assert set(table["test_size"]) == {38} and set(table["outputs"]) == {12}
    for row in table.itertuples():
        split = data.split(row.seed, 40)
        assert (row.sum, row.labels) == (split.x_train.sum(dtype=float), split.y_train.sum())


@pytest.mark.training
def test_a_network_for_other_images_is_refused_in_one_line(records):
    wrong = Experiment("x", {"a": net}, seeds=1, data=made())
    with pytest.raises(RunError) as caught:
        wrong.run("quick")
    assert str(caught.value) == (
        "arm 'a', seed 0: ValueError: its model takes images of shape (28, 28, 1), and those of "
        "'noise' have (6, 5, 3); allowed is keras.Input((6, 5, 3))"
    )


@pytest.mark.training
def test_a_network_for_fewer_classes_is_refused_in_one_line(records):
    from keras import layers

    fewer = {"a": lambda: classifier(layers.Flatten(), shape=(6, 5, 3), classes=3)}
    message = "ValueError: its model has 3 outputs, and 'noise' has 5 classes; allowed is an output"
    with refused(message, RunError):
        Experiment("x", fewer, seeds=1, data=made(classes=5)).run("quick")


@pytest.mark.training
def test_records_of_other_data_lie_apart_and_carry_its_name_and_hash(records):
    data, other = made(), made(name="noise", seed=1)
    assert '`run("full")` runs what is missing' in repr(experiment(data).recorded())
    result = experiment(data).run("full")
    assert result.recorded.complete
    (file,) = (records / "results").glob("*.jsonl")
    assert file.name == "an-experiment@noise.jsonl"
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["data"] for line in lines] == [{"name": "noise", "hash": data.hash}] * 6
    assert {line["experiment"] for line in lines} == {"an-experiment@noise"}
    assert {(line["train_size"], line["test_size"]) for line in lines} == {(40, 24)}
    # Other images under the same name leave the records stale.
    stale = experiment(other).recorded()
    assert stale.frame.empty and stale.changed == dict.fromkeys(("first", "second"), ("data",))
    # Nor does a file count that was copied to where another's records are.
    for target, asks in (("an-experiment", None), ("an-experiment@more", made("more"))):
        shutil.copy(file, file.with_name(f"{target}.jsonl"))
        found = experiment(asks).recorded()
        assert found.frame.empty and len(found.missing) == 6
        assert "data" in found.changed["first"]
    # Records of MNIST in their place count as little.
    mnist = experiment().requirements()
    runs = [
        {**line, "fingerprint": mnist.fingerprints[line["arm"]], "data": None} for line in lines
    ]
    file.write_text("".join(json.dumps(run) + "\n" for run in runs), encoding="utf-8")
    assert len(mnist.counting(RecordFile(file).read()[0])) == 6
    assert experiment(data).recorded().frame.empty


@pytest.mark.training
def test_the_same_network_on_mnist_and_on_other_images_of_its_form_has_other_records():
    quick = load_mnist("quick")
    alike = from_arrays(quick.images[::5], quick.labels[::5], name="alike")
    arms = {"a": net}
    for scale in ("quick", "full"):
        on_mnist, on_alike = (
            Experiment("x", arms, data=data).fingerprints(scale)["a"] for data in (None, alike)
        )
        assert on_mnist.pop("data") != on_alike.pop("data")
        assert on_mnist == on_alike


@pytest.mark.training
def test_where_more_are_trained_at_a_time_other_data_stays_in_this_process(records, monkeypatch):
    data, seen = made(), []
    arms = {"a": Arm(lambda: net(data), prepare=lambda split, rng: seen.append(1) or split)}
    monkeypatch.setenv("MNIST_JOBS", "2")
    Experiment("x", arms, seeds=2, data=data).run("full")
    assert seen == [1, 1]


@pytest.mark.training
def test_a_cluster_is_told_that_it_gets_no_other_data(records, monkeypatch):
    monkeypatch.setattr(dask, "connect", lambda address: memoryview(b""))
    monkeypatch.setenv("MNIST_SCHEDULER", "tcp://nobody:1")
    with refused(
        "data=noise: 96 training…; allowed is to train on other data on", dask.ClusterError
    ):
        experiment(made()).run("quick")


# Claims


PART = {
    "says": "first against second", "experiment": "an-experiment", "metric": "test_accuracy",
    "treatment": "first", "baseline": "second", "expect": "increase", "margin": 0.01,
}  # fmt: skip


def claim_of(*parts):
    parts = tuple(claims.Comparison(**{**PART, **part}) for part in parts)
    return claims.Claim("a-claim", "S", ("own",), "c", "It is so.", "It is run.", parts)


def runs(experiment="an-experiment", scale="full", better=0.9):
    arms = {"first": [better, better + 0.01, better], "second": [0.8, 0.81, 0.8]}
    return runs_of("test_accuracy", scale, **arms).assign(experiment=experiment)


@pytest.fixture
def ledger(monkeypatch):
    listed = {"a-claim": claim_of({})}
    monkeypatch.setattr(claims, "load_ledger", lambda: listed)
    monkeypatch.setattr(stages, "load_ledger", lambda: listed)


def test_a_claim_of_the_ledger_is_asked_of_other_data_and_the_ledger_hears_nothing(ledger):
    on_mnist = claims.settle("a-claim", full=runs())
    on_other = claims.settle("a-claim", full=runs("an-experiment@noise", better=0.7))
    assert on_mnist.summary("full") == "supported" and on_other.summary("full") == "refuted"
    assert repr(on_other).startswith("a-claim on noise: ") and on_other.data == "noise"
    (page, told), (page_of_mnist, told_of_mnist) = (
        each._repr_mimebundle_() for each in (on_other, on_mnist)
    )
    assert told == {} and told_of_mnist["settled"]["claim"] == "a-claim"
    assert "on <code>noise</code>" in page["text/html"]
    assert "noise" not in page_of_mnist["text/html"]


def test_runs_of_several_data_are_refused_unless_the_claim_names_its_own(ledger):
    mixed = runs(), runs("an-experiment@noise", "quick")
    with refused("claim a-claim: the runs are of MNIST, noise; allowed are runs on one of them"):
        claims.settle("a-claim", *reversed(mixed))
    own = claim_of({}, {"says": "there", "experiment": "an-experiment@noise", "expect": "decrease"})
    settled = claims.settle(own, full=claims.pd.concat([runs(), runs("an-experiment@noise")]))
    assert [str(row.outcome) for row in settled.rows] == ["supported", "refuted"]
    assert settled.data == ""


def test_runs_on_other_data_settle_nothing_about_mnist_and_the_other_way_round(ledger):
    own = claim_of({"experiment": "an-experiment@noise"})
    assert claims.settle(own, full=runs()).rows == ()
    (row,) = claims.settle("a-claim", full=runs("an-experiment@noise")).rows
    assert row.part.experiment == "an-experiment@noise"


@pytest.mark.training
def test_a_pilot_on_other_data_asks_for_seeds_by_the_margin_of_the_claim(records, ledger):
    asked = experiment(made(), seeds=by_scale(1, Stein(first=100, pilot=5, cap=6)))
    result = asked.run("full")
    (stage,) = asked.requirements().stages
    assert (stage["pilot"], stage["half_width"], stage["seeds"]) == (5, 0.005, 6)
    assert result.recorded.complete and result.recorded.frame["seed"].nunique() == 6


def test_a_page_with_an_experiment_on_two_data_sets_waits_for_both():
    required = experiment().requirements()
    outputs = [
        {"metadata": {"recorded": each.to_metadata()}}
        for each in (required, dataclasses.replace(required, experiment="an-experiment@noise"))
    ]
    page = Page.of({"cells": [{"cell_type": "code", "source": "", "outputs": outputs}]})
    assert list(page.requirements) == ["an-experiment", "an-experiment@noise"]
    files = [each.file.path.name for each in page.requirements.values()]
    assert files == ["an-experiment.jsonl", "an-experiment@noise.jsonl"]


ENTRY = """
- id: an-own-claim
  section: Mine
  source: own
  chapter: my-page
  statement: It is so.
  settled_by: Both are run.
  parts:
    - {says: so, experiment: x, metric: test_accuracy, treatment: a, baseline: b,
       expect: increase, margin: 0.01, unit: points}
"""


def test_a_claim_is_read_as_in_the_ledger_and_shown_without_a_link_to_it():
    claim = claims.read_claim(ENTRY)
    assert claims.read_claim(ENTRY.replace("- id", "  id")) == claim
    assert (claim.id, claim.source, claim.parts[0].margin) == ("an-own-claim", ("own",), 0.01)
    frame = runs_of("test_accuracy", "quick", a=[0.9, 0.8], b=[0.8, 0.9]).assign(experiment="x")
    settled = claims.settle(claim, frame)
    page, told = settled._repr_mimebundle_()
    assert settled.summary("quick") == "1 of 2 runs in the claimed direction"
    assert told == {} and "claims.html" not in page["text/html"]
    # Nor on other data.
    settled = claims.settle(claim, frame.assign(experiment="x@noise"))
    page, told = settled._repr_mimebundle_()
    assert settled.data == "noise" and told == {} and "claims.html" not in page["text/html"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("margin: 0.01", "margin: 0", "claim an-own-claim, parts 'so', margin: 0; allowed"),
        ("expect: increase, ", "", "claim an-own-claim, parts 'so': missing fields ['expect']"),
        ("source: own", "source: S9", "claim an-own-claim: source=('S9',); allowed is 'own', or"),
        ("source: own", "source: S2", "claim an-own-claim, parts 'so': place=(); allowed"),
        ("an-own-claim", "max-or-mean", "claim max-or-mean: the id is in claims.yml; allowed"),
        ("experiment: x", "experiment: x@", "experiment: 'x@'"),
        (ENTRY, "it is so", "claim 0: 'it is so'; allowed"),
        (ENTRY, "", "claim 0: None; allowed"),
        (ENTRY, "- {", "text is no YAML"),
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(old, new, message):
    with refused(message, claims.LedgerError):
        claims.read_claim(ENTRY.replace(old, new))
