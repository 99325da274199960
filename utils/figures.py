"""The house style: figures that follow the page's light or dark theme, and the plots that recur.

A figure is stored twice: as SVG that takes the colour of the text around it, for the page and
for JupyterLab, and as PNG for viewers that show no SVG. Series have Okabe and Ito's colours, which
people with any colour vision can tell apart; signed values have a map that is pale at zero.
"""

import base64
import hashlib
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
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from utils.arithmetic import output_size, padding_widths, transposed_output_size
from utils.evidence import Estimate

# Text and axes are drawn in this grey, which is legible on white and on black alike; in the SVG
# it becomes "the colour of the text around".
INK = "#808080"

# Okabe and Ito's palette without black, and with its yellow last: it is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SIGNED_MAP = "RdBu_r"
IMAGE_MAP = "gray"

# What a layer reads and what it writes, in pictures of convolution arithmetic.
_INPUT_COLOUR, _OUTPUT_COLOUR = COLOURS[:2]

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
    svg = to_svg(figure, alt)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    display(
        {
            "text/html": f'<div class="figure">{svg}</div>',
            "image/png": base64.b64encode(picture.getvalue()).decode(),
            "text/plain": f"[figure: {alt}]",
        },
        raw=True,
    )


def to_svg(figure: Figure, alt: str, salt: str = "") -> str:
    """Draw a figure as an SVG element that takes the colour of the text around it.

    Parameters
    ----------
    figure, alt
        As for `show`.
    salt : str
        Goes into the ids: a figure that stands on a page twice has one salt here and another there.

    Returns
    -------
    str
        One ``<svg>`` element, as wide as the page allows and no wider than it was made for. The
        same figure always gives the same text, and its ids differ from those of other figures, so
        that many of them can stand on one page.

    Raises
    ------
    ValueError
        When `alt` says nothing.
    """
    if len(alt.split()) < 4:
        raise ValueError(f"alt={alt!r}; say in a sentence what the figure shows")
    drawing = io.StringIO()
    with mpl.rc_context(_STYLE):
        # Laid out once: a second time would start from the first, and move it a little.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(drawing, format="svg")
    svg = drawing.getvalue()
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width} {height}" '
        f'style="--width:{float(width) * 1.25:.0f}px;width:100%;max-width:var(--width);height:auto;'
        'stroke-linejoin:round;stroke-linecap:butt">'
    )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :].strip().replace(INK, "currentColor")
    # A style sheet inside of an SVG would hold for the whole page: `opening` has its two settings.
    for useless in ("<metadata>.*?</metadata>", "<style.*?</style>", "<!--.*?-->"):
        body = re.sub(useless, "", body, flags=re.DOTALL)
    # Two decimals of a point are finer than any screen, and halve the size of a page; but a factor
    # with two decimals would shrink the letters.
    body = re.sub(
        r"(?:scale|matrix)\([^)]*\)|(\d+\.\d\d)\d+", lambda found: found[1] or found[0], body
    )
    return opening + _own_ids(body, alt + salt)


def _own_ids(body: str, salt: str) -> str:
    """Drop the ids that nothing refers to, and name the others by a hash of the figure.

    Matplotlib makes some of them from the address of an object in memory, so they are numbered in
    their order before the hash is taken.
    """
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    numbers = {name: str(number) for number, name in enumerate(used)}
    body = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="@{numbers[found[1]]}"' if found[1] in numbers else "",
        body,
    )
    body = re.sub(
        r'(href="#|url\(#)([^")]+)', lambda found: f"{found[1]}@{numbers[found[2]]}", body
    )
    mark = "f" + hashlib.sha256((body + salt).encode()).hexdigest()[:8]
    return re.sub(r'( id="|href="#|url\(#)@', rf"\g<1>{mark}-", body)


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
    longest = max(map(len, walks.values()))
    # Names and sizes of many layers stand side by side only when each is broken in two lines.
    broken = longest > 10
    made, axes = figure(7.5, (1.95 if broken else 1.75) * len(walks), nrows=len(walks))
    sides = [shape[0] for walk in walks.values() for _, shape in walk if len(shape) == 3]
    for row, (name, walk) in zip(axes[:, 0], walks.items(), strict=True):
        for number, (kind, shape) in enumerate(walk):
            is_map = len(shape) == 3
            height = max(shape[0] / max(sides), 0.06) if is_map else 0.12
            width = 0.18 + 0.09 * np.log2(shape[-1]) if is_map else 0.7
            row.add_patch(
                FancyBboxPatch(
                    (number - width / 2, -height / 2),
                    width,
                    height,
                    boxstyle="round,pad=0,rounding_size=0.03",
                    facecolor=COLOURS[0] if is_map else COLOURS[1],
                    edgecolor="none",
                )
            )
            size = "×".join(map(str, shape))
            if broken:
                kind = kind.replace(" ", "\n")
                size = f"{shape[0]}×{shape[1]}\n×{shape[2]}" if is_map else size
            row.text(number, -0.6, size, ha="center", va="top", fontsize=7.5 if broken else 8)
            row.text(number, 0.58, kind, ha="center", va="bottom", fontsize=8)
        row.set_xlim(-0.6, longest - 0.4)
        row.set_ylim(-1.0 if broken else -0.85, 1.0 if broken else 0.85)
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
        elif kind.endswith("Pooling2D"):
            walk.append(("global pool" if kind.startswith("Global") else "pool", shape))
        elif kind == "Dense" or shape != walk[-1][1]:
            walk.append((kind.lower(), shape))
    return walk


def convolution_arithmetic(cases: Mapping[str, Mapping[str, object]], columns: int = 3) -> Figure:
    """Draw how a kernel's window leads from input cells to an output cell, one picture a case.

    Parameters
    ----------
    cases : mapping of str to mapping
        Title of each picture, and its settings, the same along both axes: ``size``, ``kernel``,
        ``stride``, ``padding`` and ``dilation`` as for `utils.arithmetic.output_size`, the last
        three if they are wanted; ``transposed=True`` for a transposed convolution; and ``at``, the
        row and column of the output cell whose window is drawn, by default the first.
    columns : int
        Pictures beside each other.

    Returns
    -------
    matplotlib.figure.Figure
        Input cells are blue squares, crossed out where no window reads them; zeros that are put
        around or between them are dashed squares. Output cells are orange circles. The frame is
        the window of one of them, and what it reads and writes is filled. Below the title stands
        the formula with its numbers. All pictures have one scale. Hand it to `show`.

    Raises
    ------
    ValueError
        When there is no case, `columns` is below 1, an output cell named by ``at`` is not there,
        or a transposed convolution would have to crop its input.
    """
    if not cases or columns < 1:
        raise ValueError(f"cases has {len(cases)} entries, columns={columns!r}; allowed are 1 up")
    plans = {name: _plan(name, **settings) for name, settings in cases.items()}
    columns = min(columns, len(plans))
    rows = -(-len(plans) // columns)
    cells = max(max(plan["left"] + plan["outputs"] for plan in plans.values()), 13) + 0.75
    widest = [plan["wide"] for plan in plans.values()]
    heights = [max(widest[row * columns : (row + 1) * columns]) + 5.4 for row in range(rows)]
    scale = min(7.4 / (columns * cells), 0.24)  # Inches a cell.
    made, axes = figure(
        columns * cells * scale,
        sum(heights) * scale * 1.04,
        nrows=rows,
        ncols=columns,
        height_ratios=heights,
    )
    for place in axes.flat[len(plans) :]:
        place.axis("off")
    for number, (name, plan) in enumerate(plans.items()):
        place = axes.flat[number]
        place.set(xlim=(-0.25, cells - 0.25), ylim=(heights[number // columns] - 2.9, -2.5))
        place.set_aspect("equal", anchor="NW")
        place.axis("off")
        _draw_plan(place, name, plan)
    made.get_layout_engine().set(w_pad=0, h_pad=0, wspace=0, hspace=0)
    return made


def _plan(
    name, size, kernel, stride=1, padding="valid", dilation=1, transposed=False, at=(0, 0)
) -> dict:
    """Lay one case out along one axis: where its cells are, and which of them a window reads."""
    reach = dilation * (kernel - 1) + 1
    if transposed:
        # The same as a convolution with stride 1 over an input with zeros between and around it.
        outputs = transposed_output_size(size, kernel, stride, padding, dilation)
        cut = sum(padding_widths(outputs, kernel, stride, padding, dilation))
        before = reach - 1 - padding_widths(outputs, kernel, stride, padding, dilation)[0]
        real = [before + number * stride for number in range(size)]
        wide, step = outputs + reach - 1, 1
        if before < 0 or real[-1] >= wide:
            raise ValueError(f"case {name!r}: padding={padding!r} crops more than there is to crop")
        more = outputs - (stride * (size - 1) + reach - cut)
        formula = f"{stride} · ({size} − 1) + {reach} − {cut}{f' + {more}' * bool(more)}"
    else:
        outputs = output_size(size, kernel, stride, padding, dilation)
        before, after = padding_widths(size, kernel, stride, padding, dilation)
        real = list(range(before, before + size))
        wide, step = before + size + after, stride
        formula = f"⌊({size} + {before + after} − {reach}) / {stride}⌋ + 1"
    if not all(0 <= index < outputs for index in at):
        raise ValueError(f"case {name!r}: at={at!r}; the output has {outputs} rows and columns")
    windows = [range(first * step, first * step + reach, dilation) for first in range(outputs)]
    return {
        "size": size,
        "outputs": outputs,
        "wide": wide,
        "left": max(wide + 2, (wide - outputs) / 2 + 6.8),  # Leaves room for the words below.
        "real": real,
        "read": sorted(set().union(*windows)),
        "windows": [windows[index] for index in at],
        "at": at,
        "reach": reach,
        "formula": f"{formula} = {outputs}",
    }


def _draw_plan(axes: Axes, name: str, plan: dict) -> None:
    """Draw one case; cell (row, column) of the padded input has its centre at (column, row) + ½."""
    wide, outputs, real = plan["wide"], plan["outputs"], plan["real"]
    left, over = plan["left"], (wide - outputs) / 2  # Both grids are centred at one height.
    everywhere = {(row, column) for row in range(wide) for column in range(wide)}
    cells = {(row, column) for row in real for column in real}
    used = {(row, column) for row in plan["read"] for column in plan["read"]}
    rows, columns = plan["windows"]
    window = {(row, column) for row in rows for column in columns}

    def squares(places, label, inset=0.09, **look):
        corners = [(column + inset, row + inset) for row, column in sorted(places)]
        _add_path(axes, [_square(corner, 1 - 2 * inset) for corner in corners], label, **look)

    def circles(places, label, **look):
        centres = [(left + c + 0.5, over + r + 0.5) for r, c in sorted(places)]
        _add_path(axes, [_circle(centre, 0.38) for centre in centres], label, **look)

    thin = {"facecolor": "none", "edgecolor": INK, "linewidth": 0.7}
    squares(everywhere - cells - window, "zeros", 0.12, **thin, linestyle=(0, (2, 1.5)))
    squares(cells - window, "input", facecolor=_INPUT_COLOUR, alpha=0.45)
    squares(cells & window, "input read", facecolor=_INPUT_COLOUR)
    zeros_read = {**thin, "edgecolor": _INPUT_COLOUR, "linewidth": 1.3, "linestyle": (0, (2, 1.2))}
    squares(window - cells, "zeros read", 0.12, **zeros_read)
    crosses = [_cross((column + 0.5, row + 0.5), 0.25) for row, column in sorted(cells - used)]
    _add_path(axes, crosses, "unused", facecolor="none", edgecolor=INK, linewidth=1)
    written = {plan["at"]}
    every_output = {(row, column) for row in range(outputs) for column in range(outputs)}
    circles(every_output - written, "output", facecolor=_OUTPUT_COLOUR, alpha=0.45)
    circles(written, "output written", facecolor=_OUTPUT_COLOUR)
    frame = _square((columns[0], rows[0]), plan["reach"])
    _add_path(axes, [frame], "window", facecolor="none", edgecolor=_OUTPUT_COLOUR, linewidth=1.8)
    centre = np.array([left + plan["at"][1] + 0.5, over + plan["at"][0] + 0.5])
    for corner in ((columns[-1] + 1, rows[0]), (columns[-1] + 1, rows[-1] + 1)):
        line = zip(corner, centre - [0.38, 0], strict=True)
        axes.plot(*line, color=_OUTPUT_COLOUR, linewidth=0.8)
    axes.text(0, -1.9, name, ha="left", va="center", fontsize=9.5, fontweight="bold")
    axes.text(0, -0.75, plan["formula"], ha="left", va="center", fontsize=8.5)
    size = plan["size"]
    below = {wide / 2: f"input {size}×{size}", left + outputs / 2: f"output {outputs}×{outputs}"}
    for x, words in below.items():
        axes.text(x, wide + 0.8, words, ha="center", va="center", fontsize=8.5)


def _square(corner, side) -> Path:
    steps = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    return Path(np.asarray(corner) + side * steps, codes)


def _cross(centre, reach) -> Path:
    steps = np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)])
    return Path(np.asarray(centre) + reach * steps, [Path.MOVETO, Path.LINETO] * 2)


def _circle(centre, radius) -> Path:
    # Four curves, each off by less than a thousandth of the radius; matplotlib's own has eight.
    k = 0.5523
    steps = [(1, 0), (1, k), (k, 1), (0, 1), (-k, 1), (-1, k), (-1, 0), (-1, -k), (-k, -1), (0, -1),
             (k, -1), (1, -k), (1, 0), (1, 0)]  # fmt: skip
    codes = [Path.MOVETO, *[Path.CURVE4] * 12, Path.CLOSEPOLY]
    return Path(np.asarray(centre) + radius * np.array(steps), codes)


def _add_path(axes: Axes, shapes: Sequence[Path], label: str, **look) -> None:
    """Draw shapes of one look as one path: a tenth of the SVG that as many patches would take."""
    if shapes:
        look = {"edgecolor": "none", **look}
        axes.add_patch(PathPatch(Path.make_compound_path(*shapes), label=label, **look))
