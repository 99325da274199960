"""MNIST, other images in its place, and the changes that experiments make to images."""

from utils.data.arrays import Dataset, from_arrays, from_npz
from utils.data.images import contrast, digit_boxes, place, rotate, shift, to_border
from utils.data.mnist import (
    MNIST,
    SCALES,
    Split,
    current_scale,
    full_fingerprint,
    hold_out,
    load_mnist,
)
from utils.data.source import DataError

__all__ = [
    "MNIST",
    "SCALES",
    "DataError",
    "Dataset",
    "Split",
    "contrast",
    "current_scale",
    "digit_boxes",
    "from_arrays",
    "from_npz",
    "full_fingerprint",
    "hold_out",
    "load_mnist",
    "place",
    "rotate",
    "shift",
    "to_border",
]
