"""Figures in the house style."""

from utils.figures.charts import curves, image, image_row, intervals
from utils.figures.diagrams import convolution_arithmetic, shape_walk
from utils.figures.style import (
    COLOURS,
    IMAGE_MAP,
    INK,
    MARKERS,
    SIGNED_MAP,
    figure,
    show,
    to_svg,
)

__all__ = [
    "COLOURS",
    "IMAGE_MAP",
    "INK",
    "MARKERS",
    "SIGNED_MAP",
    "convolution_arithmetic",
    "curves",
    "figure",
    "image",
    "image_row",
    "intervals",
    "shape_walk",
    "show",
    "to_svg",
]
