"""Images other than MNIST, for the same experiments: two arrays, or a NumPy archive.

``Experiment(..., data=from_arrays(x, y, name="fashion"))`` trains and tests on them instead of
MNIST. Its runs carry the name of the data, ``experiment@fashion``, in every table and have a file
of records of their own, so that they are never taken for runs on MNIST.
"""

import hashlib
import re
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

# Their names are part of the fingerprints of recorded runs, so they keep the underscore.
from utils.data.mnist import Split, _check_scale, _check_type, _check_whole, _read_only
from utils.data.source import DataError

# At quick scale at most as many as of MNIST.
_QUICK_TRAIN, _QUICK_TEST = 4_000, 1_000
# What is held out for testing where no test images are given, and at quick scale.
_TEST_SHARE = 5
# So many that both parts hold each class, and that a draw of the training images can.
_FEWEST_A_CLASS = 2 * _TEST_SHARE
_MOST_CLASSES = 500

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEYS = ("x", "y", "x_test", "y_test")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images and labels other than MNIST's, from `from_arrays` or `from_npz`.

    Attributes
    ----------
    name : str
        Name of the data in tables and records.
    x, x_test : ndarray of uint8 or float32, shape (n, height, width, channels)
        Training and test images, read-only; floats are in 0..1.
    y, y_test : ndarray of int64, shape (n,)
        Their labels, from 0, read-only.
    hash : str
        Hash of the content of all four arrays.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    hash: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image, for ``keras.Input``."""
        return self.x.shape[1:]

    @property
    def classes(self) -> int:
        """Number of classes; the labels run from 0 to one less."""
        return int(self.y.max()) + 1

    def fingerprint(self, scale: str) -> str:
        """Identify these images at one scale.

        Parameters
        ----------
        scale : {"quick", "full"}
            The scale.

        Returns
        -------
        str
            Its name, the scale and the hash.
        """
        return f"{self.name}-{_check_scale(scale, 'scale')}-{self.hash}"

    def split(self, seed: int, train_size: int | None = None, scale: str = "quick") -> Split:
        """Return the images that one seed trains on and is tested on.

        At quick scale the seed draws 4,000 images to train on and 1,000 to test on, or four fifths
        and one fifth of them if there are fewer than 5,000, all from the training images and
        stratified by class. At full scale every seed gets all training and all test images.

        Parameters
        ----------
        seed : int
            From 0 to 2³² - 1. The same seed gives the same split.
        train_size : int, optional
            Draw only so many of the training images, stratified by class; the test images stay the
            same. At least as many as there are classes, and at least that many fewer than there are
            images; or all of them.
        scale : {"quick", "full"}
            The scale.

        Returns
        -------
        Split

        Raises
        ------
        ValueError
            If `seed`, `train_size` or `scale` is not as above.
        TypeError
            If a number is not whole.
        """
        seed = _check_whole(seed, "seed", 0, 2**32 - 1)
        train, x_test, y_test = np.arange(len(self.x)), self.x_test, self.y_test
        if _check_scale(scale, "scale") == "quick":
            count = min(len(train), _QUICK_TRAIN + _QUICK_TEST)
            test = count // _TEST_SHARE
            train, drawn = _draw(train, self.y, count - test, test, seed)
            x_test, y_test = self.x[drawn], self.y[drawn]
        if train_size is not None:
            train_size = _check_whole(train_size, "train_size", self.classes, len(train))
            if len(train) - self.classes < train_size < len(train):
                raise ValueError(
                    f"train_size is {train_size:,}; allowed are {self.classes:,} to "
                    f"{len(train) - self.classes:,}, and all {len(train):,}: a stratified draw "
                    "must leave at least one image of each class"
                )
            if train_size < len(train):
                train, _ = _draw(train, self.y[train], train_size, None, seed)
        # A slice, unlike an array of indices, copies nothing.
        chosen = slice(None) if len(train) == len(self.x) else train
        kind = Split if self.classes <= 10 else _WiderSplit
        return kind(_to_unit(self.x[chosen]), self.y[chosen], _to_unit(x_test), y_test)

    def __repr__(self) -> str:
        """Describe the data in one line."""
        height, width, channels = self.shape
        return (
            f"{self.name}: {len(self.x):,} training and {len(self.x_test):,} test images, "
            f"{height}×{width}×{channels}, {self.classes} classes"
        )


class _WiderSplit(Split):
    """A split with labels above 9, at which `Split` ends: its code is in recorded fingerprints."""

    def __post_init__(self):
        labels = {}
        for name in ("y_train", "y_test"):
            labels[name] = getattr(self, name)
            _check_type(labels[name], name, np.int64, 1)
            if len(labels[name]) and labels[name].min() < 0:
                raise ValueError(f"{name} holds {labels[name].min()}; labels are 0 or more")
        Split(self.x_train, labels["y_train"] % 10, self.x_test, labels["y_test"] % 10)
        for each in fields(self):
            object.__setattr__(self, each.name, _read_only(getattr(self, each.name)))

    def replace(self, **arrays) -> "Split":
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = sorted(set(arrays) - set(known))
        if unknown:
            raise ValueError(f"no array of a split is named {unknown}; its arrays: {list(known)}")
        return _WiderSplit(**{**known, **arrays})


def from_arrays(x, y, x_test=None, y_test=None, *, name: str) -> Dataset:
    """Take images and labels as the data of an experiment.

    Parameters
    ----------
    x : ndarray, shape (n, height, width) or (n, height, width, channels)
        Training images: uint8, or floating point in 0..1.
    y : ndarray of int, shape (n,) or (n, 1)
        Their labels, from 0 to one less than the number of classes: 2 to 500 classes, with at least
        ten images of each.
    x_test, y_test : ndarray, optional
        Test images and labels of the same kind, at least one image of each class. Without them, a
        fifth of the images is held out, the same for every seed.
    name : str
        Name of the data in tables and records: lower-case letters, digits and single hyphens
        between them, and not ``mnist``.

    Returns
    -------
    Dataset
        With copies of the arrays.

    Raises
    ------
    TypeError
        If an argument is not an array, or has another type.
    ValueError
        If an argument has another shape or range. Each message names the argument, what it is, and
        what is allowed.

    Notes
    -----
    With more than ten classes, neither `hold_out` nor the ``trace_every`` of an experiment can hold
    out training images.

    Examples
    --------
    >>> (x, y), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
    >>> fashion = from_arrays(x, y, x_test, y_test, name="fashion")
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "mnist":
        raise ValueError(
            f"name is {name!r}; allowed are lower-case letters, digits and single hyphens between "
            "them, and not 'mnist'"
        )
    x, y = _images(x, "x"), _labels(y, "y")
    _check_pairs(x, y, "x", "y")
    if (x_test is None) != (y_test is None):
        missing = "x_test" if x_test is None else "y_test"
        raise ValueError(f"{missing} is None; allowed are both test arrays, or neither")
    counts = np.bincount(y)
    _check_counts(counts, "y", _FEWEST_A_CLASS)
    if x_test is None:
        held = len(y) // _TEST_SHARE
        train, test = _draw(np.arange(len(y)), y, len(y) - held, held, 0)
        x, y, x_test, y_test = x[train], y[train], x[test], y[test]
    else:
        x_test, y_test = _images(x_test, "x_test"), _labels(y_test, "y_test")
        _check_pairs(x_test, y_test, "x_test", "y_test")
        if (x_test.dtype, x_test.shape[1:]) != (x.dtype, x.shape[1:]):
            raise ValueError(
                f"x_test holds {x_test.dtype} images of shape {x_test.shape[1:]} and x {x.dtype} "
                f"images of shape {x.shape[1:]}; one network must be able to take both"
            )
        if y_test.max() >= len(counts):
            raise ValueError(
                f"y_test holds {y_test.max()}; allowed are the labels of y, 0 to {len(counts) - 1}"
            )
        _check_counts(np.bincount(y_test, minlength=len(counts)), "y_test", 1)
    arrays = [_read_only(array) for array in (x, y, x_test, y_test)]
    return Dataset(name, *arrays, hash=_hash(arrays))


def from_npz(path, name: str | None = None) -> Dataset:
    """Read images and labels from a NumPy archive, as the data of an experiment.

    Parameters
    ----------
    path : path
        The ``.npz`` file, with the arrays ``x`` (or ``x_train``) and ``y`` (or ``y_train``), and
        perhaps ``x_test`` and ``y_test``, as for `from_arrays`.
    name : str, optional
        As for `from_arrays`; by default the file's name without its suffix.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        If the file does not exist, is not such an archive, is damaged, lacks an array, or holds
        Python objects, which are never unpickled.
    TypeError, ValueError
        As for `from_arrays`.
    """
    path = Path(path).expanduser()
    arrays = _read(path)
    if "x_train" in arrays:
        arrays["x"] = arrays.pop("x_train")
    if "y_train" in arrays:
        arrays["y"] = arrays.pop("y_train")
    return from_arrays(**arrays, name=path.stem if name is None else name)


def _read(path: Path) -> dict[str, np.ndarray]:
    allowed = (
        "allowed is a NumPy .npz archive with the arrays x and y (or x_train and y_train), and "
        "perhaps x_test and y_test"
    )
    if not path.is_file():
        raise DataError(f"path={str(path)!r}: there is no such file; {allowed}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"path={str(path)!r}: it is no archive, or is cut short; {allowed}")
    arrays, key = {}, None
    try:
        with np.load(path, allow_pickle=False) as file:
            names = list(file.files)
            for key in {*_KEYS, "x_train", "y_train"} & set(names):
                arrays[key] = file[key]
                if not isinstance(arrays[key], np.ndarray):
                    raise ValueError("it is no array")
    # A damaged archive raises whatever the layer that stumbles over it raises.
    except Exception as error:
        where = f", array {key!r}" if key else ""
        raise DataError(f"path={str(path)!r}{where}: {error}; {allowed}") from error
    for part in ("x", "y"):
        if (part in arrays) == (f"{part}_train" in arrays):
            found = "both" if part in arrays else "neither"
            raise DataError(
                f"path={str(path)!r}: of {part} and {part}_train it has {found}, and in all "
                f"{sorted(names)}; {allowed}"
            )
    return arrays


# Checks and conversions


def _kind_of(value) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return type(value).__name__


def _images(x, name: str) -> np.ndarray:
    allowed = (
        "allowed are uint8, or floating point in 0..1, of shape (n, height, width) or "
        "(n, height, width, channels)"
    )
    wrong = f"{name} is {_kind_of(x)}; {allowed}"
    if not isinstance(x, np.ndarray) or (x.dtype != np.uint8 and x.dtype.kind != "f"):
        raise TypeError(wrong)
    if x.ndim not in (3, 4) or not x.size:
        raise ValueError(wrong)
    if x.dtype.kind == "f":
        low, high = x.min(), x.max()
        # Asked this way round, NaN does not pass.
        if not (low >= 0 and high <= 1):
            values = "NaN" if np.isnan(low) else f"{low:g}..{high:g}"
            raise ValueError(f"{name} is {_kind_of(x)} and holds {values}; {allowed}")
    kind = np.uint8 if x.dtype == np.uint8 else np.float32
    x = np.array(x, dtype=kind, order="C")
    return x if x.ndim == 4 else x[..., np.newaxis]


def _labels(y, name: str) -> np.ndarray:
    allowed = "allowed are whole numbers from 0, of shape (n,) or (n, 1)"
    wrong = f"{name} is {_kind_of(y)}; {allowed}"
    if not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        raise TypeError(wrong)
    if y.ndim not in (1, 2) or y.shape[1:] not in ((), (1,)) or not y.size:
        raise ValueError(wrong)
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= _MOST_CLASSES:
        raise ValueError(
            f"{name} is {_kind_of(y)} and holds {low}..{high}; allowed are labels from 0 to "
            f"{_MOST_CLASSES - 1}"
        )
    return y.astype(np.int64).reshape(-1)


def _check_pairs(x: np.ndarray, y: np.ndarray, images: str, labels: str) -> None:
    if len(x) != len(y):
        raise ValueError(
            f"{images} holds {len(x):,} images and {labels} {len(y):,} labels; each image needs "
            "one label"
        )


def _check_counts(counts: np.ndarray, name: str, fewest: int) -> None:
    """Check the number of images of each class."""
    if len(counts) < 2:
        raise ValueError(f"{name} holds one class, 0; allowed are 2 to {_MOST_CLASSES} classes")
    rare = int(counts.argmin())
    if counts[rare] < fewest:
        raise ValueError(
            f"{name} holds the label {rare} {counts[rare]} times; allowed are {fewest} times or "
            f"more for each of 0 to {len(counts) - 1}"
        )


def _draw(rows, labels, train: int, test: int | None, seed: int):
    """Draw rows for two parts, stratified by their labels."""
    # scikit-learn takes longer to import than all the rest of this module.
    from sklearn.model_selection import train_test_split

    return train_test_split(
        rows, train_size=train, test_size=test, stratify=labels, random_state=seed
    )


def _to_unit(x: np.ndarray) -> np.ndarray:
    return np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x


def _hash(arrays: list[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()[:16]
