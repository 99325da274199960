"""MNIST, and the changes that experiments make to its images."""

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
    "Split",
    "contrast",
    "current_scale",
    "digit_boxes",
    "full_fingerprint",
    "hold_out",
    "load_mnist",
    "place",
    "rotate",
    "shift",
    "to_border",
]
