"""Diagrams: how feature maps change through a network, and what a kernel reads."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from utils.checked import checked
from utils.figures.style import COLOURS, INK, figure
from utils.theory.arithmetic import output_size, padding_widths, transposed_output_size

# What a layer reads and what it writes, in pictures of convolution arithmetic.
_INPUT_COLOUR, _OUTPUT_COLOUR = COLOURS[:2]


@checked
def shape_walk(models: Mapping[str, object]) -> Figure:
    """Draw how the feature maps shrink and deepen through one or several models.

    Parameters
    ----------
    models : mapping of str to keras.Model
        Name of each row; every model is sequential.

    Returns
    -------
    matplotlib.figure.Figure
        One row per model, one box per layer: its height is the size of the feature map in pixels,
        and its width grows with the number of channels. Layers that only change values (dropout,
        activations) are left out. Pass it to `show`.
    """
    for name, model in models.items() or [("none", None)]:
        if not hasattr(model, "input_shape"):
            raise ValueError(f"models: {name!r}={model!r}; allowed are Keras's, one at least")
    walks = {name: _shapes(model) for name, model in models.items()}
    longest = max(map(len, walks.values()))
    # Names and sizes of many layers stand side by side only when each is broken in two lines.
    broken = longest > 10
    made, axes = figure(7.5, (1.95 if broken else 1.75) * len(walks), nrows=len(walks))
    sizes = [shape[0] for walk in walks.values() for _, shape in walk if len(shape) == 3]
    for row, (name, walk) in zip(axes[:, 0], walks.items(), strict=True):
        for number, (kind, shape) in enumerate(walk):
            is_feature_map = len(shape) == 3
            height = max(shape[0] / max(sizes), 0.06) if is_feature_map else 0.12
            width = 0.18 + 0.09 * np.log2(shape[-1]) if is_feature_map else 0.7
            row.add_patch(
                FancyBboxPatch(
                    (number - width / 2, -height / 2),
                    width,
                    height,
                    boxstyle="round,pad=0,rounding_size=0.03",
                    facecolor=COLOURS[0] if is_feature_map else COLOURS[1],
                    edgecolor="none",
                )
            )
            size = "×".join(map(str, shape))
            if broken:
                kind = kind.replace(" ", "\n")
                size = f"{shape[0]}×{shape[1]}\n×{shape[2]}" if is_feature_map else size
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


@checked
def convolution_arithmetic(cases: Mapping[str, Mapping[str, object]], columns: int = 3) -> Figure:
    """Draw how a kernel's window leads from input cells to an output cell, one picture per case.

    Parameters
    ----------
    cases : mapping of str to mapping
        Title of each picture, and its settings, the same along both axes: ``size``, ``kernel`` (its
        size), ``stride``, ``padding`` and ``dilation`` as for
        `utils.theory.arithmetic.output_size`, the last three optional; ``transposed=True`` for a
        transposed convolution; and ``at``, the row and column of the output cell whose window is
        drawn, by default the first.
    columns : int
        Pictures per row.

    Returns
    -------
    matplotlib.figure.Figure
        Input cells are blue squares, crossed out where no window reads them; zeros added around or
        between them are dashed squares. Output cells are orange circles. The frame is the window of
        one of them, and what it reads and writes is filled. Below the title is the formula with its
        numbers. All pictures have one scale. Pass it to `show`.

    Raises
    ------
    ValueError
        If there is no case, `columns` is below 1, the output cell at ``at`` does not exist, or a
        transposed convolution would have to crop its input.
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
    effective = dilation * (kernel - 1) + 1
    if transposed:
        # The same as a convolution with stride 1 over an input with zeros between and around it.
        outputs = transposed_output_size(size, kernel, stride, padding, dilation)
        cut = sum(padding_widths(outputs, kernel, stride, padding, dilation))
        before = effective - 1 - padding_widths(outputs, kernel, stride, padding, dilation)[0]
        real = [before + number * stride for number in range(size)]
        wide, step = outputs + effective - 1, 1
        if before < 0 or real[-1] >= wide:
            raise ValueError(f"case {name!r}: padding={padding!r} crops more than there is to crop")
        more = outputs - (stride * (size - 1) + effective - cut)
        formula = f"{stride} · ({size} − 1) + {effective} − {cut}{f' + {more}' * bool(more)}"
    else:
        outputs = output_size(size, kernel, stride, padding, dilation)
        before, after = padding_widths(size, kernel, stride, padding, dilation)
        real = list(range(before, before + size))
        wide, step = before + size + after, stride
        formula = f"⌊({size} + {before + after} − {effective}) / {stride}⌋ + 1"
    if not all(0 <= index < outputs for index in at):
        raise ValueError(f"case {name!r}: at={at!r}; the output has {outputs} rows and columns")
    windows = [range(first * step, first * step + effective, dilation) for first in range(outputs)]
    return {
        "size": size,
        "outputs": outputs,
        "wide": wide,
        "left": max(wide + 2, (wide - outputs) / 2 + 6.8),  # Leaves room for the words below.
        "real": real,
        "read": sorted(set().union(*windows)),
        "windows": [windows[index] for index in at],
        "at": at,
        "effective": effective,
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
    frame = _square((columns[0], rows[0]), plan["effective"])
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


def _cross(centre, half) -> Path:
    steps = np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)])
    return Path(np.asarray(centre) + half * steps, [Path.MOVETO, Path.LINETO] * 2)


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
