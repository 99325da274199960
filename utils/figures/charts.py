"""Plots of results: curves, intervals, images."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.evidence.statistics import Estimate
from utils.figures.style import COLOURS, IMAGE_MAP, INK, MARKERS, SIGNED_MAP, figure


def curves(
    axes: Axes,
    frame: pd.DataFrame,
    metric: str,
    labels: Mapping[str, str] | None = None,
    percent: bool = False,
) -> None:
    """Draw a metric over the epochs: the mean over seeds, and the spread from lowest to highest.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    frame : pandas.DataFrame
        What ``run`` returns.
    metric : str
        A column of it.
    labels : mapping of str to str, optional
        Which arms to draw, in which order, and their names in the legend; by default all.
    percent : bool
        Write the values, which lie in 0..1, in per cent.

    Raises
    ------
    ValueError
        When `labels` names an arm that is not in the frame.
    """
    arms = list(frame["arm"].unique())
    labels = labels or {arm: arm for arm in arms}
    if unknown := [arm for arm in labels if arm not in arms]:
        raise ValueError(f"labels names {unknown}; the arms of the frame are {arms}")
    factor = 100 if percent else 1
    for number, (arm, label) in enumerate(labels.items()):
        grouped = frame[frame["arm"] == arm].groupby("epoch")[metric]
        mean, low, high = (grouped.agg(how) * factor for how in ("mean", "min", "max"))
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.plot(mean.index, mean, marker=marker, markersize=4, color=colour, label=label)
        axes.fill_between(mean.index, low, high, color=colour, alpha=0.15, linewidth=0)
        if len(mean) == 1:  # A band over a single epoch has no width.
            axes.vlines(mean.index, low, high, color=colour, alpha=0.5)
    axes.set_xlabel("epoch")
    whole = MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(whole)


def intervals(
    axes: Axes,
    estimates: Mapping[str, Estimate],
    margin: float | None = None,
    factor: float = 1.0,
    groups: Sequence[str] = (),
) -> None:
    """Draw estimates with their 95 % intervals, one below the other, and the margin as a band.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    estimates : mapping of str to Estimate
        Name of each row, from the top.
    margin : float, optional
        Draws a line at zero and a band from -margin to +margin: within it, a difference does not
        count.
    factor : float
        The values and the margin are multiplied by it; 100 for percentage points.
    groups : sequence of str, optional
        A group for each row: rows of one group have one colour and marker.
    """
    groups = list(groups) or [""] * len(estimates)
    kinds = list(dict.fromkeys(groups))
    if margin is not None:
        axes.axvspan(-margin * factor, margin * factor, color=INK, alpha=0.15, linewidth=0)
        axes.axvline(0, color=INK, linewidth=1)
    for row, (estimate, group) in enumerate(zip(estimates.values(), groups, strict=True)):
        low, high = estimate.interval()
        kind = kinds.index(group) % len(COLOURS)
        colour, marker = COLOURS[kind], MARKERS[kind]
        axes.plot([low * factor, high * factor], [row, row], color=colour, linewidth=2)
        axes.plot(estimate.value * factor, row, marker=marker, markersize=6, color=colour)
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def image(
    axes: Axes, pixels: np.ndarray, title: str = "", signed: bool = False, values: bool = False
) -> None:
    """Draw one image, kernel or feature map, with a thin frame.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    pixels : ndarray, shape (height, width)
        An image from 0 (black) to its largest value (white); or, when `signed`, positive and
        negative values, drawn red and blue about a pale zero.
    title : str
        Stands above it.
    signed : bool
        Whether the sign matters.
    values : bool
        Write each value into its cell, with three significant digits; for small arrays.

    Raises
    ------
    ValueError
        When `pixels` is not as above.
    """
    pixels = _checked(pixels, signed)
    _draw(axes, pixels, title, signed, values, np.abs(pixels).max())


def _checked(pixels, signed: bool) -> np.ndarray:
    pixels = np.asarray(pixels, dtype=float)
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
        raise ValueError(
            f"pixels has shape {pixels.shape} and {np.count_nonzero(~np.isfinite(pixels))} values "
            "that are not finite; allowed is the shape (height, width), with finite values alone"
        )
    if not signed and pixels.min() < -1e-6 * np.abs(pixels).max():
        raise ValueError(
            f"pixels goes down to {pixels.min():.4g}; allowed are values ≥ 0, unless signed=True"
        )
    return pixels


def _draw(axes: Axes, pixels: np.ndarray, title: str, signed: bool, values: bool, top: float):
    """Draw an image in which `top` is white, or the strongest red."""
    top = max(top, 1e-12)
    drawn = axes.imshow(
        pixels,
        cmap=SIGNED_MAP if signed else IMAGE_MAP,
        vmin=-top if signed else 0,
        vmax=top,
        interpolation="none",  # An SVG then holds the pixels as they are, whatever its size.
    )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.8)
    if not values:
        return
    texts = {place: _written(value) for place, value in np.ndenumerate(pixels)}
    size = _font_size(axes, pixels.shape, max(map(len, texts.values())))
    for (row, column), text in texts.items():
        # Relative luminance: at 0.18 black and white stand out equally well.
        behind = drawn.norm(pixels[row, column])
        luminance = np.power(drawn.cmap(behind)[:3], 2.2) @ [0.2126, 0.7152, 0.0722]
        colour = "white" if luminance < 0.18 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _written(value: float) -> str:
    """Write a value as briefly as it can be read: 3, −0.125, 0.333."""
    value = round(value, 10) + 0.0  # What rounding left of a zero is a zero, and has no sign.
    text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def _font_size(axes: Axes, shape: tuple[int, int], letters: int) -> float:
    """Choose a size, in points, at which so many letters fit into a cell of an image."""
    place, (width, height) = axes.get_position(), axes.figure.get_size_inches() * 72
    cell = min(place.width * width / shape[1], place.height * height / shape[0])
    # The layout is not done yet, and will give the axes about a fifth more room.
    return float(np.clip(1.2 * cell / (0.62 * letters), 5, 9))


def image_row(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    signed: bool = False,
    values: bool = False,
    size: float = 1.3,
) -> Figure:
    """Draw images beside each other, all with the same range of values.

    Parameters
    ----------
    pictures : sequence of ndarray, shape (height, width)
        The images, kernels or feature maps.
    titles : sequence of str, optional
        One for each.
    signed, values
        As for `image`.
    size : float
        Width of each in inches.

    Returns
    -------
    matplotlib.figure.Figure
        Hand it to `show`.

    Raises
    ------
    ValueError
        When a picture is not as `image` needs it, or there are not as many titles as pictures.
    """
    titles = list(titles) or [""] * len(pictures)
    if not len(pictures) or len(titles) != len(pictures):
        raise ValueError(
            f"pictures has {len(pictures)} entries and titles {len(titles)}; allowed are at least "
            "one picture, and one title for each or none"
        )
    pictures = [_checked(picture, signed) for picture in pictures]
    height = size + (0.3 if any(titles) else 0)
    made, axes = figure(size * len(pictures), height, ncols=len(pictures))
    top = max(np.abs(picture).max() for picture in pictures)
    for place, picture, title in zip(axes[0], pictures, titles, strict=True):
        _draw(place, picture, title, signed, values, top)
    return made
