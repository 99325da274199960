"""The house style: figures that follow the page's light or dark theme, and the plots that recur.

A figure is stored twice: as SVG that takes the colour of the text around it, for the page and
for JupyterLab, and as PNG for viewers that show no SVG. Series have Okabe and Ito's colours, which
people with any colour vision can tell apart; signed values have a map that is pale at zero.
"""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from utils.evidence import Estimate

# Text and axes are drawn in this grey, which is legible on white and on black alike; in the SVG
# it becomes "the colour of the text around".
INK = "#808080"

# Okabe and Ito's palette without black, and with its yellow last: it is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SIGNED_MAP = "RdBu_r"
IMAGE_MAP = "gray"

_STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "path",
    # Without a fixed salt the ids in an SVG, and so the stored notebook, differ at each run.
    "svg.hashsalt": "convolution-tested",
}


def figure(width: float = 7.0, height: float = 3.0, **grid) -> tuple[Figure, np.ndarray]:
    """Make a figure in the house style.

    Parameters
    ----------
    width, height : float
        Size in inches; a page is about 7 wide.
    **grid
        Handed to ``Figure.subplots``: ``nrows``, ``ncols``, ``sharey``, ``width_ratios`` …

    Returns
    -------
    figure : matplotlib.figure.Figure
        Hand it to `show`.
    axes : numpy.ndarray of Axes
        Always an array with two dimensions, rows and columns.
    """
    # For good and not in a context: what a chapter adds to the axes later has the style as well.
    mpl.rcParams.update(_STYLE)
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots(squeeze=False, **grid)


def show(figure: Figure, alt: str) -> None:
    """Show a figure below the cell.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `figure`.
    alt : str
        What the figure shows, for those who cannot see it: a sentence, not its title.

    Raises
    ------
    ValueError
        When `alt` says nothing.
    """
    if len(alt.split()) < 4:
        raise ValueError(f"alt={alt!r}; say in a sentence what the figure shows")
    drawing, picture = io.StringIO(), io.BytesIO()
    figure.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    svg = drawing.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', _open_svg(alt), svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    display(
        {
            "text/html": f'<div class="figure">{svg.strip()}</div>',
            "image/png": base64.b64encode(picture.getvalue()).decode(),
            "text/plain": f"[figure: {alt}]",
        },
        raw=True,
    )


def _open_svg(alt: str):
    def replacement(match: re.Match) -> str:
        width, height = match.groups()
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width} {height}" '
            f'style="width:100%;max-width:{float(width) * 1.25:.0f}px;height:auto">'
        )

    return replacement


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
    """
    labels = labels or {arm: arm for arm in frame["arm"].unique()}
    factor = 100 if percent else 1
    for number, (arm, label) in enumerate(labels.items()):
        grouped = frame[frame["arm"] == arm].groupby("epoch")[metric]
        mean, low, high = (grouped.agg(how) * factor for how in ("mean", "min", "max"))
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.plot(mean.index, mean, marker=marker, markersize=4, color=colour, label=label)
        axes.fill_between(mean.index, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)


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
        kind = kinds.index(group)
        axes.plot([low * factor, high * factor], [row, row], color=COLOURS[kind], linewidth=2)
        axes.plot(
            estimate.value * factor, row, marker=MARKERS[kind], markersize=6, color=COLOURS[kind]
        )
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
        Write each value into its cell; for small arrays.
    """
    pixels = np.asarray(pixels, dtype=float)
    top = max(np.abs(pixels).max(), 1e-12)
    axes.imshow(
        pixels,
        cmap=SIGNED_MAP if signed else IMAGE_MAP,
        vmin=-top if signed else 0,
        vmax=top,
        interpolation="nearest",
    )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.8)
    if values:
        for (row, column), value in np.ndenumerate(pixels):
            strong = abs(value) > 0.6 * top if signed else value < 0.5 * top
            axes.text(
                column,
                row,
                f"{value:.4g}",
                ha="center",
                va="center",
                color="white" if strong else "black",
                fontsize=9,
            )


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
    """
    titles = list(titles) or [""] * len(pictures)
    made, axes = figure(size * len(pictures), size + (0.3 if any(titles) else 0), ncols=len(pictures))
    top = max(np.abs(picture).max() for picture in pictures)
    for place, picture, title in zip(axes[0], pictures, titles, strict=True):
        image(place, picture, title, signed, values)
        place.images[0].set_clim(-top if signed else 0, top)
    return made


def shape_walk(models: Mapping[str, object]) -> Figure:
    """Draw how the feature maps shrink and deepen on the way through one or several models.

    Parameters
    ----------
    models : mapping of str to keras.Model
        Name of each row; every model is sequential.

    Returns
    -------
    matplotlib.figure.Figure
        A row a model, a box a layer: its height is the side of the map in pixels, its width grows
        with the number of channels. Layers that only change values (dropout, activations) are
        left out. Hand it to `show`.
    """
    walks = {name: _shapes(model) for name, model in models.items()}
    made, axes = figure(7.5, 1.75 * len(walks), nrows=len(walks))
    tallest = max(shape[0] for walk in walks.values() for _, shape in walk if len(shape) == 3)
    for row, (name, walk) in zip(axes[:, 0], walks.items(), strict=True):
        for number, (kind, shape) in enumerate(walk):
            is_map = len(shape) == 3
            height = shape[0] / tallest if is_map else 0.12
            width = 0.18 + 0.09 * np.log2(shape[-1]) if is_map else 0.7
            row.add_patch(
                FancyBboxPatch(
                    (number - width / 2, -height / 2),
                    width,
                    height,
                    boxstyle="round,pad=0,rounding_size=0.03",
                    facecolor=COLOURS[0] if is_map else COLOURS[1],
                    alpha=0.75,
                    edgecolor="none",
                )
            )
            size = f"{shape[0]}×{shape[1]}×{shape[2]}" if is_map else f"{shape[0]}"
            row.text(number, -0.6, size, ha="center", va="top", fontsize=9)
            row.text(number, 0.58, kind, ha="center", va="bottom", fontsize=8)
        row.set_xlim(-0.6, max(len(walk) for walk in walks.values()) - 0.4)
        row.set_ylim(-0.85, 0.85)
        row.set_title(name, fontsize=10)
        row.axis("off")
    return made


def _shapes(model) -> list[tuple[str, tuple[int, ...]]]:
    """List name and output shape, batch left out, of the layers that a walk shows."""
    walk = [("input", tuple(model.input_shape[1:]))]
    for layer in model.layers:
        shape, kind = tuple(layer.output.shape[1:]), type(layer).__name__
        if kind.endswith("Conv2D"):
            walk.append((f"conv {layer.kernel_size[0]}×{layer.kernel_size[1]}", shape))
        elif kind == "Dense" or shape != walk[-1][1]:
            walk.append(("pool" if kind.endswith("Pooling2D") else kind.lower(), shape))
    return walk
