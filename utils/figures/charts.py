"""Charts of results: the kinds of plots that recur in the chapters.

Each function takes what ``Experiment.run`` returns, or a table of runs, and shows a chart; with
``axes=`` it draws into a larger figure instead. The title tells what ran, and the numbers that are
drawn follow the alternative text.
"""

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from utils.checked import checked, shown
from utils.evidence.statistics import Estimate
from utils.evidence.table import evaluate
from utils.figures.parts import (
    draw_band,
    draw_reference,
    draw_rows,
    finish,
    head_of,
    kind_of_interval,
    letters_of,
    look_of,
    make_logarithmic,
    name_points,
    scaled,
    sheet,
    told_of,
)
from utils.figures.runs import (
    FEWEST_FOR_INTERVAL,
    Axis,
    axes_of,
    by_seed,
    check_arms,
    chosen_arms,
    estimate,
    runs_of,
)
from utils.figures.style import COLOURS, INK, say, show
from utils.theory.arithmetic import layer_table


@checked
def compare(
    result,
    metrics: str | Iterable[str] | Mapping[str, str] = "test_accuracy",
    *,
    alt: str | None = None,
    axes=None,
    arms: Iterable[str] | Mapping[str, str] | None = None,
    baseline: str | None = None,
    differences: Mapping[str, tuple] | None = None,
    margin: float | None = None,
    groups: Mapping[str, Iterable[str]] | None = None,
    title: str = "",
    label: str | None = None,
) -> None:
    """Compare arms: one row per arm with its mean and 95 % interval, one panel per metric.

    Parameters
    ----------
    result : Result or pandas.DataFrame
        What ``Experiment.run`` returns, or a table of runs.
    metrics : str, sequence of str, or mapping of str to str
        Columns, or expressions of columns such as ``train_accuracy - test_accuracy`` or
        ``test_accuracy < 0.5`` (for a condition, the proportion of runs and Wilson's interval); a
        mapping also gives their labels. If a label ends in ``, %`` or ``, points``, values are
        multiplied by 100; a metric called ``log2_…`` is drawn as the number whose logarithm it is.
    alt : str, optional
        What the figure shows, in a sentence; the numbers follow it. Required without `axes`.
    axes : Axes or array of Axes, optional
        Where to draw, one for each metric, as part of a larger figure; nothing is shown then.
    arms : sequence of str, or mapping of str to str
        Which arms, from the top; a mapping also gives their names. By default all. Arms that quick
        runs leave out are not drawn.
    baseline : str, optional
        An arm: the differences of all others from it are drawn, paired by seed.
    differences : mapping of str to (treatment, baseline), optional
        Instead of `arms`: name of each row, and the arms, or tuples of arms, that are compared.
    margin : float, optional
        The smallest difference that counts, in the metric's own unit, as a band about zero.
    groups : mapping of str to sequence of str, optional
        Name of each group and its arms (or rows), which have one colour and marker.
    title : str
        Text in front of what ran.
    label : str, optional
        What ran, if not as the result describes it.

    Raises
    ------
    ValueError
        If an arm is not there, or there are neither `alt` nor enough `axes`.

    Notes
    -----
    Below three seeds an interval means little: the single runs are drawn, and a mark at their mean.
    """
    frame, label = runs_of(result, label)
    panels = axes_of(metrics)
    if differences is None:
        check_arms(result, frame, [baseline] if baseline else [])
        labels, _ = chosen_arms(result, frame, arms, groups)
        rows = {name: (arm, baseline) for arm, name in labels.items() if arm != baseline}
        keys = [arm for arm in labels if arm != baseline]
    else:
        check_arms(result, frame, [arm for pair in differences.values() for arm in _flat(pair)])
        ran = set(frame["arm"])
        rows = {name: pair for name, pair in differences.items() if ran.issuperset(_flat(pair))}
        keys = list(rows)
    group_of = {key: kind for kind, members in (groups or {}).items() for key in members}
    kinds = [group_of.get(key, "") for key in keys]
    is_difference = baseline is not None or differences is not None
    columns = 2 if len(panels) == 4 else len(panels)
    lines = len(rows) + sum(name.count("\n") for name in rows)
    depth = len(panels) // columns
    drawing, places = sheet(
        axes,
        len(panels),
        alt,
        (7, (0.6 + 0.26 * lines) * depth + 0.35),
        ncols=columns,
        nrows=depth,
        sharey=True,
    )
    for place, axis in zip(places, panels, strict=True):
        found = {
            name: axis.drawn_estimate(estimate(frame, axis.metric, *pair))
            for name, pair in rows.items()
        }
        runs = {name: axis.drawn(by_seed(frame, axis.metric, *pair)) for name, pair in rows.items()}
        if is_difference or margin is not None:
            neutral = float(axis.drawn(0.0))
            ends = axis.drawn(np.array([-margin, margin])) if margin is not None else None
            draw_band(place, neutral, ends)
        draw_rows(place, found.items(), kinds, runs)
        if axis.logarithmic:
            make_logarithmic(place, "x")
        against = f"“{baseline}”" if baseline else ""
        text = axis.label_of_difference(against) if is_difference else axis.label
        # The names of the rows take their part of the width of the first column.
        room = 7 * 72 / columns - 5 * max(map(letters_of, rows), default=0) * (axes is None)
        place.set_xlabel(textwrap.fill(text, max(int(room / 5), 22)))
        say(place, told_of(axis, found.items(), is_difference))
    kind = kind_of_interval(estimate_ for estimate_ in found.values())
    finish(drawing, places, alt, head_of(title, label, kind))


@checked
def curves(
    result,
    metrics: str | Iterable[str] | Mapping[str, str] = "test_accuracy",
    *,
    alt: str | None = None,
    axes=None,
    arms: Iterable[str] | Mapping | None = None,
    reference: Mapping[str, float] | None = None,
    title: str = "",
    label: str | None = None,
) -> None:
    """Draw metrics over the epochs: the mean over seeds, and the spread from lowest to highest.

    Parameters
    ----------
    result, metrics, alt, axes, title, label
        As for `compare`; one panel per metric.
    arms : sequence of str, or mapping
        Which arms, in which order; a mapping also gives their names in the legend. A mapping of
        titles to such mappings or sequences gives each of these a panel of its own.
    reference : mapping of str to float, optional
        Name and height, as drawn, of dashed lines such as chance level.

    Raises
    ------
    ValueError
        As for `compare`.
    """
    frame, label = runs_of(result, label)
    measured = axes_of(metrics)
    parts = _parts(arms)
    panels = [(name, part, axis) for name, part in parts.items() for axis in measured]
    drawing, places = sheet(
        axes, len(panels), alt, (7, 3.2), ncols=len(panels), sharey=len(measured) == 1
    )
    for number, (place, (name, part, axis)) in enumerate(zip(places, panels, strict=True)):
        labels, _ = chosen_arms(result, frame, part, None)
        _curve(place, frame, axis, labels)
        for text, height in (reference or {}).items():
            draw_reference(place, text, height)
        if name:
            place.set_title(name, fontsize=10)
        if number == 0 or len(measured) > 1:
            place.set_ylabel(axis.label)
        if len(parts) > 1 or number == 0:
            place.legend()
        last = {
            text: float(axis.drawn(by_seed(frame, axis.metric, arm).mean()))
            for arm, text in labels.items()
        }
        ends = "; ".join(f"{text} {axis.said(value)}" for text, value in last.items())
        say(place, f"{axis.label}, in the last epoch: {ends}.")
    finish(drawing, places, alt, head_of(title, label, "mean and spread"))


@checked
def tradeoff(
    result,
    x: str | Mapping[str, float],
    y: str = "test_accuracy",
    *,
    xlabel: str | None = None,
    ylabel: str | None = None,
    alt: str | None = None,
    axes=None,
    arms: Iterable[str] | Mapping[str, str] | None = None,
    groups: Mapping[str, Iterable[str]] | None = None,
    log: bool = False,
    join: bool = False,
    reference: Mapping[str, float] | None = None,
    title: str = "",
    label: str | None = None,
) -> None:
    """Draw one metric against another or a cost: a large mark per arm, a small one per run.

    Parameters
    ----------
    result, alt, axes, arms, title, label
        As for `compare`; the arms are named beside their marks.
    x : str or mapping of str to float
        A metric, as for `compare`, or what each arm costs.
    y : str
        A metric.
    xlabel, ylabel : str, optional
        Labels of the axes; their endings count as for `compare`.
    groups : mapping of str to sequence of str, optional
        Name of each group and its arms: they have one colour and marker, and an entry in the
        legend.
    log : bool
        Whether the horizontal axis is logarithmic; it always is for a metric called ``log2_…``.
    join : bool
        Join the means of a group, or of all arms if there are no groups, in their order.
    reference : mapping of str to float, optional
        Name and height, as drawn, of dashed lines such as a target.

    Raises
    ------
    ValueError
        As for `compare`; or if `x` lacks an arm.
    """
    frame, label = runs_of(result, label)
    labels, kinds = chosen_arms(result, frame, arms, groups)
    (up,) = axes_of(y if ylabel is None else {y: ylabel})
    costs = x if isinstance(x, Mapping) else None
    if costs is None:
        (across,) = axes_of(x if xlabel is None else {x: xlabel})
    else:
        across = Axis("", xlabel or "")
        if lacking := [arm for arm in labels if arm not in costs]:
            raise ValueError(f"x has no entry for {lacking}; it has {list(costs)}")
    drawing, (place,) = sheet(axes, 1, alt, (6.4, 3.6))
    points, runs = {}, []
    order = list(dict.fromkeys(kinds))
    for (arm, name), kind in zip(labels.items(), kinds, strict=True):
        heights = by_seed(frame, up.metric, arm)
        if costs is not None:
            widths = pd.Series(float(costs[arm]), heights.index)
        else:
            widths = by_seed(frame, across.metric, arm)
        points[name] = float(across.drawn(widths.mean())), float(up.drawn(heights.mean()))
        look = look_of(order.index(kind)) | {"linestyle": "none"}
        runs += zip(across.drawn(widths), up.drawn(heights), strict=True)
        place.plot(across.drawn(widths), up.drawn(heights), markersize=4, alpha=0.45, **look)
        place.plot(*points[name], markersize=8, label=kind, **look)
    if join:
        for kind in order if groups else [None]:
            joined = [
                point
                for point, other in zip(points.values(), kinds, strict=True)
                if kind in (None, other)
            ]
            colour = INK if kind is None else COLOURS[order.index(kind) % len(COLOURS)]
            place.plot(*np.transpose(joined), color=colour, linewidth=1, alpha=0.5, zorder=1)
    for text, height in (reference or {}).items():
        draw_reference(place, text, height)
    place.set(xlabel=across.label, ylabel=up.label)
    place.margins(0.12)
    for axis, which, asked in ((across, "x", log), (up, "y", False)):
        if axis.logarithmic or asked:
            make_logarithmic(place, which)
    name_points(place, points, runs)
    if groups:
        handles, names = place.get_legend_handles_labels()
        handles = {name: handle for name, handle in zip(names, handles, strict=True) if name}
        place.legend(handles.values(), handles)
    told = "; ".join(
        f"{name} {across.said(wide)} and {up.said(high)}" for name, (wide, high) in points.items()
    )
    say(place, f"Means, {across.label} and {up.label}: {told}.")
    finish(drawing, [place], alt, head_of(title, label, "runs and mean"))


@checked
def sweep(
    result,
    metrics: str | Iterable[str] | Mapping,
    arms: str | Mapping[str, str] | Mapping[str, Mapping[str, float]] | Iterable[str],
    *,
    xlabel: str,
    x: str | None = None,
    alt: str | None = None,
    axes=None,
    names: Mapping[str, str] | None = None,
    together: bool = False,
    ylabel: str = "",
    baseline: str | None = None,
    margin: float | None = None,
    spread: str = "interval",
    log: bool = False,
    marks: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
    title: str = "",
    label: str | None = None,
) -> None:
    """Draw metrics against a numerical setting: means with 95 % intervals, a line per series.

    Parameters
    ----------
    result, alt, axes, baseline, margin, title, label
        As for `compare`.
    metrics : str, mapping of str to str, or mapping of float to str
        Metrics as for `compare`, one panel each. With numbers as keys, the setting belongs to the
        metrics and not to the arms: ``{0: "test_accuracy", 2: "accuracy_at_2"}`` draws these
        columns at 0 and 2, with a line for each of `arms`.
    arms : str, mapping or sequence
        Pattern of the arms' names: ``"{series}, {x}"``, or ``"{x}"`` for a single series; ``{_}``
        matches what is ignored. Or for each series its arms and their numbers. If `metrics` has
        numbers, the arms as for `compare`.
    xlabel : str
        Label of the setting.
    x : str, optional
        A column with the setting, such as ``train_size``, if it is not in the names; the pattern is
        then ``"{_}, {series}"``, for example.
    names : mapping of str to str, optional
        Which series are drawn, in which order, and their names in the legend.
    together : bool
        Draw all metrics in one panel; their labels then name the lines.
    ylabel : str
        Label of that panel, or of the one of `metrics` with numbers; its ending counts.
    spread : {"interval", "band", "range"}
        The 95 % intervals as bars, or joined to a band along the line; or bars from the lowest to
        the highest run, for cases where runs fail at some settings and an interval would exceed
        what is possible.
    log : bool
        Whether the setting's axis is logarithmic.
    marks : mapping of str to float, optional
        The chosen setting of a series, by its name in the legend: a ring is drawn around it.
    reference : mapping of str to float, optional
        Name and height, as drawn, of dashed lines such as chance level.

    Raises
    ------
    ValueError
        As for `compare`; or if no arm fits `arms`.
    """
    if spread not in ("interval", "band", "range"):
        raise ValueError(f"spread={spread!r}; allowed are 'interval', 'band' and 'range'")
    frame, label = runs_of(result, label)
    panels: dict[str, list] = {}  # For each panel its lines: name, axis, (x, metric, arm) each.
    if isinstance(metrics, Mapping) and not all(isinstance(key, str) for key in metrics):
        labels, _ = chosen_arms(result, frame, arms, None)
        axis = Axis("", ylabel)
        panels[ylabel] = [
            (name, axis, [(number, metric, arm) for number, metric in metrics.items()])
            for arm, name in labels.items()
        ]
    else:
        series = _series(result, frame, arms, x)
        for name in names or {}:
            if name not in series:
                series[name] = {}  # Quick runs may leave a series out.
        names = names or {name: name for name in series}
        for axis in axes_of(metrics):
            if together:
                axis, word = Axis(axis.metric, ylabel), axis.label
            for name, text in names.items():
                places_ = sorted((number, axis.metric, arm) for arm, number in series[name].items())
                if together:
                    text = f"{text}, {word}" if len(names) > 1 else word
                if places_:
                    panels.setdefault(axis.label, []).append((text, axis, places_))
    if not panels:
        raise ValueError(f"arms={arms!r} has none with runs; allowed is at least one")
    drawing, places = sheet(axes, len(panels), alt, (7, 3.1), ncols=len(panels))
    for number, (place, (text, lines)) in enumerate(zip(places, panels.items(), strict=True)):
        if baseline is not None or margin is not None:
            axis = lines[0][1]
            ends = axis.drawn(np.array([-margin, margin])) if margin is not None else None
            draw_band(place, float(axis.drawn(0.0)), ends, "y")
        every = [
            _series_line(place, frame, index, *line, baseline, marks, spread)
            for index, line in enumerate(lines)
        ]
        for name, height in (reference or {}).items():
            draw_reference(place, name, height)
        if any(axis.logarithmic for _, axis, _ in lines):
            make_logarithmic(place, "y")
        if log:
            place.set_xscale("log")
            place.minorticks_off()
        settings = sorted({setting for _, _, points in lines for setting, *_ in points})
        if len(settings) <= 9:
            place.set_xticks(settings, [f"{setting:,g}" for setting in settings])
        place.set(xlabel=xlabel, ylabel=text)
        if place is places[-1] and len(lines) > 4:
            place.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        elif number == 0 and 1 < len(lines) <= 4:
            place.legend()
    kind = "mean and spread" if spread == "range" else kind_of_interval(sum(every, []))
    finish(drawing, places, alt, head_of(title, label, kind))


@checked
def cumulative(
    result,
    steps: Iterable[str] | Mapping[str, str],
    metric: str | Mapping[str, str] = "test_accuracy",
    *,
    alt: str | None = None,
    axes=None,
    groups: Mapping[str, Iterable[str]] | None = None,
    title: str = "",
    label: str | None = None,
) -> None:
    """Draw a cumulative ablation: a bar per step, from the mean before it to the mean after it.

    Parameters
    ----------
    result, alt, axes, title, label
        As for `compare`.
    steps : sequence of str, or mapping of str to str
        The arms in their order, from the top, each with one change more than the one before; a
        mapping also names their rows. Arms that quick runs leave out are not drawn.
    metric : str, or mapping of one str to its label
        As for `compare`.
    groups : mapping of str to sequence of str, optional
        Kinds of change and the arms that make them, which share a colour. By default gains have one
        colour and losses another.

    Raises
    ------
    ValueError
        As for `compare`; or if fewer than two of the arms have runs.
    """
    frame, label = runs_of(result, label)
    (axis,) = axes_of(metric)
    labels, kinds = chosen_arms(result, frame, steps, groups)
    if len(labels) < 2:
        raise ValueError(f"steps has {len(labels)} arms with runs; allowed are at least 2")
    order = list(groups or {})
    lines = len(labels) + sum(name.count("\n") for name in labels.values())
    drawing, (place,) = sheet(axes, 1, alt, (6.4, 0.95 + 0.3 * lines))
    before, told, changes = None, [], []
    for row, ((arm, name), kind) in enumerate(zip(labels.items(), kinds, strict=True)):
        runs = axis.drawn(by_seed(frame, axis.metric, arm))
        level = float(axis.drawn(by_seed(frame, axis.metric, arm).mean()))
        words = axis.said(level)
        if before is not None:
            number = order.index(kind) if kind in order else int(level < before[1])
            width = level - before[1]
            place.barh(row, width, 0.62, left=before[1], color=COLOURS[number], alpha=0.75)
            place.plot([before[1]] * 2, [row - 1, row + 0.31], color=INK, linewidth=0.6)
            change = axis.drawn_estimate(estimate(frame, axis.metric, arm, before[0]))
            words = _interval_text(axis, change)
            changes.append(change)
            x = place.get_yaxis_transform()
            place.text(1.01, row, words, transform=x, ha="left", va="center", fontsize=9)
        place.plot(runs, [row] * len(runs), ".", color=INK, markersize=4)
        place.plot(level, row, "|", color=INK, markersize=13)
        told.append(f"{name} {words}")
        before = arm, level
    place.set_yticks(range(len(labels)), labels.values())
    place.set_ylim(len(labels) - 0.4, -0.6)
    place.grid(axis="y", visible=False)
    place.set_xlabel(axis.label)
    if axis.logarithmic:
        make_logarithmic(place, "x")
    say(place, f"{axis.label}, from step to step: {'; '.join(told)}.")
    finish(drawing, [place], alt, head_of(title, label, kind_of_interval(changes)))


@checked
def lines(
    x: Sequence,
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str = "",
    ylabel: str = "",
    alt: str | None = None,
    axes=None,
    log: str = "",
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> None:
    """Draw numbers that come from no experiment: a line per series, with marks if there are few.

    Parameters
    ----------
    x : sequence of float or of str
        Positions of the values of all series; texts are spaced equally.
    series : mapping of str to sequence of float
        Name of each line and its values, one for each position; NaN breaks the line.
    xlabel, ylabel : str
        Labels of the axes.
    alt, axes
        As for `compare`.
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic.
    reference : mapping of str to float, optional
        Name and height of dashed lines such as chance level.
    title : str
        Title of the chart.

    Raises
    ------
    ValueError
        If there are neither `alt` nor `axes`, no positions or no series, or `log` is not as above.
    """
    if not len(x) or not series or log not in ("", "x", "y", "xy"):
        raise ValueError(
            f"x has {len(x)} entries, series {len(series)}, and log={shown(log)}; allowed are one "
            "or more, and '', 'x', 'y', 'xy'"
        )
    drawing, (place,) = sheet(axes, 1, alt, (6, 2.9))
    words = list(x) if isinstance(x[0], str) else None
    at = range(len(words)) if words else x
    for number, (name, values) in enumerate(series.items()):
        look = look_of(number) | {"markersize": 5}
        if len(at) > 20:  # Without marks, dashes tell them apart besides the colour.
            look |= {"marker": "", "linestyle": ("-", "--", "-.", ":")[number % 4]}
        place.plot(at, values, label=name, **look)
    for which in log:
        make_logarithmic(place, which)
    if words:
        place.set_xticks(at, words)
    for name, height in (reference or {}).items():
        draw_reference(place, name, height)
    place.set(xlabel=xlabel, ylabel=ylabel)
    place.set_title(title, fontsize=10)
    if len(series) > 1:
        place.legend()
    if drawing is not None:
        show(drawing, alt)


@checked
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
        Draws a line at zero and a band from -margin to +margin, in which a difference does not
        count.
    factor : float
        The values and the margin are multiplied by it; 100 for percentage points.
    groups : sequence of str, optional
        A group for each row: rows of one group share a colour and marker.

    Notes
    -----
    `compare` draws this from a result. An estimate from fewer than three runs has no interval.
    """
    if not estimates:
        raise ValueError("estimates is empty; allowed is at least one")
    if margin is not None:
        draw_band(axes, 0, (-margin * factor, margin * factor))
    rows = [(name, scaled(found, factor)) for name, found in estimates.items()]
    draw_rows(axes, rows, list(groups) or [""] * len(estimates))


@checked
def network_costs(models: Mapping[str, object], *, alt: str | None = None, axes=None) -> None:
    """Draw parameters and multiply-adds of networks, split into dense and other layers.

    Parameters
    ----------
    models : mapping of str to keras.Model
        Name of each row, from the top.
    alt, axes
        As for `compare`; there are two panels.

    Raises
    ------
    ValueError
        If there are neither `alt` nor two `axes`, or `utils.theory.arithmetic.layer_table` does not
        know a layer.
    """
    if not models:
        raise ValueError("models is empty; allowed is at least one")
    tables = [layer_table(model) for model in models.values()]
    size = (7, 0.9 + 0.35 * len(models))
    drawing, places = sheet(axes, 2, alt, size, ncols=2, sharey=True)
    for place, column in zip(places, ("parameters", "multiply_adds"), strict=True):
        amounts = np.array(
            [
                [table.loc[(table["type"] == "Dense") == dense, column].sum() for table in tables]
                for dense in (False, True)
            ]
        )
        name, divisor = (
            ("millions", 1e6) if amounts.sum(axis=0).max() >= 1e6 else ("thousands", 1e3)
        )
        start = np.zeros(len(models))
        for number, kind in enumerate(("convolutions", "dense layers")):
            wide = amounts[number] / divisor
            colour = COLOURS[number]
            place.barh(range(len(models)), wide, 0.6, left=start, color=colour, label=kind)
            start += wide
        words = "multiply-adds of an image" if column == "multiply_adds" else "parameters"
        place.set_xlabel(f"{words}, {name}")
        place.set_yticks(range(len(models)), list(models))
        place.set_ylim(len(models) - 0.5, -0.5)
        place.grid(axis="y", visible=False)
        told = "; ".join(
            f"{model} {convolutions:,} and {dense:,}"
            for model, convolutions, dense in zip(models, *amounts, strict=True)
        )
        say(place, f"{words}, of convolutions and of dense layers: {told}.".capitalize())
    places[0].legend()
    if drawing is not None:
        show(drawing, alt)


def _curve(axes: Axes, frame: pd.DataFrame, axis: Axis, labels: Mapping[str, str]) -> None:
    """Draw one metric of some arms over the epochs."""
    frame = frame.assign(drawn=evaluate(frame, axis.metric).astype(float))
    frame = frame.dropna(subset="drawn")  # Not every epoch is tested.
    for number, (arm, text) in enumerate(labels.items()):
        grouped = frame[frame["arm"] == arm].groupby("epoch")["drawn"]
        mean, low, high = (axis.drawn(grouped.agg(how)) for how in ("mean", "min", "max"))
        epochs, look = mean.index, look_of(number)
        # A mark at every epoch would hide a curve of a hundred of them.
        often = None if len(epochs) <= 20 else [0, len(epochs) - 1]
        axes.plot(epochs, mean, markersize=4, label=text, markevery=often, **look)
        axes.fill_between(epochs, low, high, color=look["color"], alpha=0.15, linewidth=0)
        if len(epochs) == 1:  # A band over a single epoch has no width.
            axes.vlines(epochs, low, high, color=look["color"], alpha=0.5)
    axes.set_xlabel("epoch")
    whole = MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axes.xaxis.set_major_locator(whole)
    if axis.logarithmic:
        make_logarithmic(axes, "y")


def _series_line(
    axes: Axes,
    frame: pd.DataFrame,
    number: int,
    name: str,
    axis: Axis,
    points,
    baseline,
    marks,
    spread,
) -> list[Estimate]:
    """Draw one line of a sweep, and return its estimates as drawn."""
    look = look_of(number)
    settings = [setting for setting, *_ in points]
    found = [
        axis.drawn_estimate(estimate(frame, metric, arm, baseline)) for _, metric, arm in points
    ]
    values = np.array([each.value for each in found])
    axes.plot(settings, values, markersize=5, label=name, **look)
    banded = spread == "band" and all(each.runs >= FEWEST_FOR_INTERVAL for each in found)
    if banded:
        ends = zip(*(each.interval() for each in found), strict=True)
        axes.fill_between(settings, *ends, color=look["color"], alpha=0.2, linewidth=0)
    for (setting, metric, arm), each in zip(points, found, strict=True):
        runs = axis.drawn(by_seed(frame, metric, arm, baseline))
        if spread == "range":
            axes.vlines(setting, runs.min(), runs.max(), color=look["color"], alpha=0.6)
        elif each.runs >= FEWEST_FOR_INTERVAL:
            if not banded:
                axes.vlines(setting, *each.interval(), color=look["color"], alpha=0.6)
        else:
            dots = look | {"linestyle": "none", "alpha": 0.45}
            axes.plot([setting] * len(runs), runs, markersize=3, **dots)
        if marks and marks.get(name) == setting:
            axes.plot(
                setting, each.value, "o", markersize=13, color=look["color"],
                markerfacecolor="none",
            )  # fmt: skip
    told = ", ".join(
        f"{setting:,g} {axis.said(each.value, baseline is not None)}"
        for setting, each in zip(settings, found, strict=True)
    )
    say(axes, f"{', '.join(filter(None, (axis.label, name)))}: {told}.")
    return found


def _series(result, frame, arms, x) -> dict[str, dict[str, float]]:
    """Sort the arms that have runs into series, each with the number of its setting."""
    ran = list(dict.fromkeys(frame["arm"]))
    if isinstance(arms, Mapping):
        check_arms(result, frame, [arm for members in arms.values() for arm in members])
        return {
            name: {arm: number for arm, number in members.items() if arm in ran}
            for name, members in arms.items()
        }
    if not isinstance(arms, str):
        raise TypeError(f"arms={shown(arms)}; allowed is a text or a mapping, with such metrics")
    parts = {"{series}": r"(?P<series>.+)", "{x}": r"(?P<x>[\d.,]*\d)", "{_}": r".+"}
    pattern = re.escape(arms)
    for part, expression in parts.items():
        pattern = pattern.replace(re.escape(part), expression)
    series: dict[str, dict[str, float]] = {}
    for arm in ran:
        if match := re.fullmatch(pattern, arm):
            named = match.groupdict()
            number = by_seed(frame, x, arm).mean() if x else named["x"].replace(",", "")
            series.setdefault(named.get("series", ""), {})[arm] = float(number)
    if not series:
        raise ValueError(f"arms={arms!r} fits none of the arms; they are {ran}")
    return series


def _parts(arms) -> dict:
    """Sort what `curves` takes as arms into panels, each with its title."""
    values = list(arms.values()) if isinstance(arms, Mapping) else []
    return arms if values and not isinstance(values[0], str) else {"": arms}


def _flat(pair: tuple) -> list[str]:
    return [arm for side in pair for arm in ((side,) if isinstance(side, str) else side)]


def _interval_text(axis: Axis, change: Estimate) -> str:
    value, low, high = (axis.said(each, True) for each in (change.value, *change.interval()))
    return f"{value} [{low}, {high}]" if change.runs >= FEWEST_FOR_INTERVAL else value
