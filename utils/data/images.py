"""Transformations of images: shift, rotation, placement and lower contrast.

Each function returns new images and leaves its input unchanged. Its code and helpers are part of
the fingerprint of every experiment that prepares its images with it.
"""

import numpy as np
from scipy import ndimage

# Their names are part of the fingerprints of recorded runs, so they keep the underscore.
from utils.checked import checked
from utils.data.mnist import _check_unit_range, _check_whole

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


def shift(x, dy: int, dx: int) -> np.ndarray:
    """Shift images by whole pixels; what they vacate becomes black.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images of any type and range.
    dy, dx : int
        Pixels down and to the right; negative ones go up and to the left. At most the height and
        the width, which leave nothing to see.

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


@checked
def rotate(x, degrees: float) -> np.ndarray:
    """Rotate images about their centre; vacated corners become black.

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
    Values between pixels are interpolated linearly, so every rotation but those by multiples of a
    right angle blurs the image slightly. Done by ``scipy.ndimage.rotate``.
    """
    _check_images(x)
    _check_unit_range(x, "x")
    if not abs(degrees) < np.inf:
        raise ValueError(f"degrees is {degrees!r}; allowed is a finite number")
    turned = ndimage.rotate(x, float(degrees), axes=(2, 1), reshape=False, order=1)
    return turned.clip(0, 1).astype(x.dtype, copy=False)


def digit_boxes(x) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Find the smallest box around the lit pixels of each image, the digit's box.

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
    """Put each digit on a black canvas, with the top left corner of its box at a given location.

    Only the digit's box counts, not the black around it: a digit can touch the border, and fits on
    a canvas that is smaller than its image.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Images with a black (0) background.
    row, column : int or array of int, shape (n,)
        Where the first lit row and column of each digit go, from 0; one number for all images, or
        one for each.
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


@checked
def to_border(x, side: str) -> np.ndarray:
    """Move each digit until its box touches the named side, or both sides of a corner.

    Parameters
    ----------
    x : ndarray, shape (n, height, width, channels) or (n, height, width)
        Square images with a black (0) background.
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


@checked
def contrast(x, factor: float) -> np.ndarray:
    """Lower the contrast: move each image's pixels towards its mean.

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


def _per_image(value, name: str, count: int) -> np.ndarray:
    try:
        values = np.asarray(value)
    except ValueError:  # Lists of several lengths.
        values = np.array(None)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} is {value!r}; it must be whole numbers")
    if values.shape not in ((), (count,)):
        raise ValueError(
            f"{name} has shape {values.shape}; allowed are one number, or one for each of the "
            f"{count:,} images"
        )
    return np.broadcast_to(values.astype(np.int64), (count,))


def _check_images(x) -> None:
    if not isinstance(x, np.ndarray) or x.ndim not in (3, 4):
        found = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(
            f"x is {found}; it must be an array of shape (n, height, width, channels) or "
            "(n, height, width)"
        )
