"""Parts of charts: the sheet they are drawn on, what ran above it, rows, bands, marks, axes."""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Locator, MaxNLocator, NullLocator

from utils.evidence.statistics import Estimate
from utils.figures.runs import FEWEST_FOR_INTERVAL, Axis
from utils.figures.style import COLOURS, INK, MARKERS, figure, require_alt, show


def sheet(axes, count: int, alt: str | None, size: tuple[float, float], **grid):
    """Make a figure, or use the given axes; the figure is then None."""
    if axes is None:
        require_alt(alt)
        drawing, axes = figure(*size, **grid)
        return drawing, list(axes.flat)
    places = list(np.ravel(axes))
    if len(places) != count:
        raise ValueError(f"axes has {len(places)} entries; this chart has {count} panels")
    return None, places


def finish(drawing, places: list[Axes], alt: str | None, head: str) -> None:
    """Write what ran above the chart, and show it unless it is part of a larger figure."""
    if drawing is None:
        drawn = places[0].figure
        drawn.draw_without_rendering()  # Only then do the axes leave room for the names of rows.
        width = places[0].get_position().width * drawn.get_figwidth() * 72
        over = places[0].get_title(loc="left")
        text = "\n".join(filter(None, [over, textwrap.fill(head, int(width / 5.2))]))
        places[0].set_title(text, fontsize=9)
        return
    drawing.suptitle(head, x=0.01, ha="left", fontsize=10, wrap=True)
    show(drawing, alt)


def head_of(title: str, label: str, kind: str) -> str:
    """Write what ran, and what is drawn of it, after a title."""
    what = "; ".join(filter(None, (label, kind)))
    return f"{title} – {what}" if title and what else title or what


def kind_of_interval(estimates: Iterable[Estimate]) -> str:
    """Describe what is drawn of the runs behind estimates."""
    enough = all(each.runs >= FEWEST_FOR_INTERVAL for each in estimates)
    return "mean and 95 % interval" if enough else "runs and mean"


def told_of(axis: Axis, estimates: Iterable[tuple[str, Estimate]], difference: bool) -> str:
    """Write the values of estimates for a screen reader."""
    values = "; ".join(f"{name} {axis.said(each.value, difference)}" for name, each in estimates)
    return f"{axis.label}: {values}.".removeprefix(": ")


def draw_rows(
    axes: Axes,
    estimates: Collection[tuple[str, Estimate]],
    groups: Sequence[str],
    runs: Mapping[str, Iterable[float]] | None = None,
) -> None:
    """Draw estimates one below the other; where they have no interval, the single runs."""
    kinds = list(dict.fromkeys(groups))
    for row, ((name, found), group) in enumerate(zip(estimates, groups, strict=True)):
        look = look_of(kinds.index(group))
        if found.runs >= FEWEST_FOR_INTERVAL:
            axes.plot(found.interval(), [row, row], color=look["color"], linewidth=2)
        elif runs:
            values = list(runs[name])
            look_of_run = look | {"linestyle": "none", "alpha": 0.45}
            axes.plot(values, [row] * len(values), markersize=4, **look_of_run)
        axes.plot(found.value, row, markersize=6, **look)
    axes.set_yticks(range(len(estimates)), [name for name, _ in estimates])
    axes.set_ylim(len(estimates) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def name_points(axes: Axes, points: Mapping[str, tuple[float, float]], runs: Iterable) -> None:
    """Write the name of each point beside it, where it covers least of names, points and runs."""
    axes.get_xlim(), axes.get_ylim()  # Only asked for, they follow what has been drawn.
    per_point = axes.figure.dpi / 72
    places = {name: axes.transData.transform(point) for name, point in points.items()}
    frame, taken = axes.bbox, []
    dots = [_square(place, 5) for place in places.values()]
    dots += [_square(place, 3) for place in axes.transData.transform(list(runs))]
    for name, (x, y) in places.items():
        width, height = 5.2 * per_point * len(name), 11 * per_point
        spots = []
        for across, up in _SPOTS:
            left = x + across * per_point - (0.5 - np.sign(across) / 2) * width
            low = y + up * per_point - (0.5 - np.sign(up) / 2) * height
            box = (left, low, left + width, low + height)
            outside = max(0, frame.x0 - box[0]) + max(0, box[2] - frame.x1)
            outside += max(0, frame.y0 - box[1]) + max(0, box[3] - frame.y1)
            cost = sum(_overlap(box, dot) for dot in dots) + 20 * outside
            cost += 3 * sum(_overlap(box, other) for other in taken) + abs(across) + abs(up)
            spots.append((cost, len(spots), box, (across, up)))
        _, _, box, (across, up) = min(spots)
        taken.append(box)
        axes.annotate(
            name,
            points[name],
            xytext=(across, up),
            textcoords="offset points",
            ha=("right", "center", "left")[int(np.sign(across)) + 1],
            va=("top", "center", "bottom")[int(np.sign(up)) + 1],
            fontsize=9,
        )


# Where a name may stand, in points from its mark; the first is the best.
_SPOTS = (
    *((7, 0), (-7, 0), (0, 8), (0, -8), (7, 5), (7, -5), (-7, 5), (-7, -5)),
    *((across, up) for up in (18, -18, 28, -28) for across in (0, 7, -7)),
)


def _square(centre, half: float) -> tuple[float, float, float, float]:
    return centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half


def _overlap(first, second) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def draw_band(axes: Axes, neutral: float, ends=None, across: str = "x") -> None:
    """Draw a line where nothing differs, and the band in which a difference does not count."""
    span, line = {"x": (axes.axvspan, axes.axvline), "y": (axes.axhspan, axes.axhline)}[across]
    if ends is not None:
        span(*ends, color=INK, alpha=0.15, linewidth=0)
    line(neutral, color=INK, linewidth=1)


def draw_reference(axes: Axes, name: str, height: float) -> None:
    """Draw a dashed line such as chance, with its name."""
    axes.axhline(height, color=INK, linestyle="--", linewidth=1)
    end = axes.get_yaxis_transform()
    axes.text(0.01, height, name, transform=end, ha="left", va="bottom", fontsize=9)


def look_of(number: int) -> dict:
    """Choose colour and marker."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
    }


class _PlainTicks(Locator):
    """Ticks of a logarithmic axis at numbers that are read at a glance."""

    def __call__(self):
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin, vmax):
        low, high = sorted((vmin, vmax))
        decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        for leading in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            ticks = np.outer(decades, leading).ravel()
            ticks = ticks[(ticks >= low) & (ticks <= high)]
            if len(ticks) >= 3:
                return ticks[:: -(-len(ticks) // 6)]
        return MaxNLocator(4).tick_values(low, high)


def make_logarithmic(axes: Axes, which: str) -> None:
    """Make the axis x or y logarithmic, with numbers written out."""
    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(_PlainTicks())
    axis.set_major_formatter("{x:,.10g}")  # 10,000 and not 1e+04
    axis.set_minor_locator(NullLocator())


def letters_of(name: str) -> int:
    """Count the letters of the longest line of a name."""
    return max(map(len, name.split("\n")))


def scaled(found: Estimate, factor: float) -> Estimate:
    """Multiply an estimate and its interval."""

    def bounds(confidence):
        return tuple(sorted(end * factor for end in found.interval(confidence)))

    return Estimate(found.value * factor, found.runs, found.method, bounds)
