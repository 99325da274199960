"""Figures in the house style, and the numbers in the prose."""

from utils.figures.charts import (
    compare,
    cumulative,
    curves,
    intervals,
    lines,
    network_costs,
    sweep,
    tradeoff,
)
from utils.figures.diagrams import convolution_arithmetic, shape_walk
from utils.figures.images import image, image_grid
from utils.figures.report import glue_claims, glue_numbers, glue_texts
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
    "compare",
    "convolution_arithmetic",
    "cumulative",
    "curves",
    "figure",
    "glue_claims",
    "glue_numbers",
    "glue_texts",
    "image",
    "image_grid",
    "intervals",
    "lines",
    "network_costs",
    "shape_walk",
    "show",
    "sweep",
    "to_svg",
    "tradeoff",
]
