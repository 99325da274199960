"""Figures: what is stored, what is drawn, and that both can be read on light and on dark."""

import base64
import dataclasses
import hashlib
import io
import itertools
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib as mpl
import numpy as np
import pytest
from helpers import python, refused, runs_of
from keras import layers
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as Outline

from utils import figures
from utils.evidence import statistics
from utils.evidence.claims import Claim, Comparison, Exact, Row, Settlement, Tally
from utils.evidence.statistics import Estimate, Verdict
from utils.experiments import models
from utils.figures import style
from utils.theory.arithmetic import layer_table
from utils.theory.reference import conv2d, conv2d_transpose

ROOT = Path(__file__).resolve().parent.parent
ALT = 'A <line> that rises from 1 to "3" & back'
SEEDS = {"max": [0.98, 0.97, 0.99], "mean": [0.95, 0.96, 0.97], "none": [0.90, 0.94, 0.95]}

ARITHMETIC = {
    "valid": {"size": 5, "kernel": 3, "at": (1, 2)},
    "small": {"size": 2, "kernel": 2},
    "half": {"size": 5, "kernel": 3, "padding": "same"},
    "full": {"size": 5, "kernel": 3, "padding": "full"},
    "any": {"size": 4, "kernel": 4, "padding": 2, "at": (1, 3)},
    "lopsided": {"size": 6, "kernel": 3, "stride": 2, "padding": "same", "at": (2, 2)},
    "a rest": {"size": 6, "kernel": 3, "stride": 2, "at": (1, 1)},
    "gaps": {"size": 7, "kernel": 1, "stride": 3, "at": (2, 1)},
    "dilated": {"size": 7, "kernel": 3, "dilation": 2, "at": (1, 1)},
    "dilated, a rest": {"size": 8, "kernel": 2, "dilation": 3, "stride": 3, "at": (1, 0)},
    "transposed": {"size": 3, "kernel": 3, "stride": 2, "transposed": True, "at": (2, 3)},
    "transposed, half": {"size": 3, "kernel": 3, "padding": "same", "transposed": True},
    "transposed, a rest": {
        "size": 2, "kernel": 2, "stride": 3, "transposed": True, "at": (5, 1)
    },
}  # fmt: skip


@pytest.fixture
def shown(monkeypatch):
    """Catch what is displayed."""
    bundles = []

    def catch(bundle, raw):
        assert raw
        bundles.append(bundle)

    monkeypatch.setattr(style, "display", catch)
    return bundles


@pytest.fixture
def figures_shown(monkeypatch):
    """Catch the figures that are shown."""
    made, draw = [], style.to_svg

    def catch(figure, alt):
        made.append(figure)
        return draw(figure, alt)

    monkeypatch.setattr(style, "to_svg", catch)
    return made


def grid(rows, columns=(), **settings):
    """Draw a grid of images into a figure, which is not shown."""
    rows = list(rows)
    width = max(map(len, rows))
    size = settings.pop("size", 1.3)
    made, axes = figures.figure(size * width, size * len(rows) + 0.3, nrows=len(rows), ncols=width)
    figures.image_grid(rows, columns, axes=axes, **settings)
    return made


def around(value, half):
    return Estimate(value, 5, "by hand", lambda confidence: (value - half, value + half))


def a_line(values=(1, 3, 2)):
    made, axes = figures.figure(5, 2)
    axes[0, 0].plot(values, marker="o", label="a line")
    axes[0, 0].set(title="rise & fall", xlim=(0.25, 1.75))
    axes[0, 0].legend()
    return made


def one_of_each():
    """Make a figure of every kind that this module draws."""
    made, axes = figures.figure(7, 2, ncols=3)
    figures.curves(runs_of(a=[[0.5, 0.7], [0.6, 0.9]]), axes=axes[0, 0])
    figures.intervals(axes[0, 1], {"a − b": around(0.2, 0.1)}, margin=0.05)
    figures.image(axes[0, 2], [[-1, 2], [0, 1]], "kernel", signed=True, values=True)
    return {
        "axes": made,
        "row": grid([[np.eye(3), np.ones((2, 2))]], ["one", "two"], values=True),
        "walk": figures.shape_walk({"net-single": models.net_single()}),
        "line": a_line(),
        "arithmetic": figures.convolution_arithmetic(ARITHMETIC),
    }


def bare_axes():
    return figures.figure(5, 3)[1][0, 0]


def drawn(chart, *arguments, **settings):
    """Draw a chart into axes, and return them."""
    axes = bare_axes()
    chart(*arguments, axes=axes, **settings)
    return axes


# What is stored


def test_a_figure_is_stored_as_svg_as_png_and_in_words(shown):
    figures.show(a_line(), ALT)
    (bundle,) = shown
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == f"[figure: {ALT}]"
    assert re.fullmatch(r'<div class="figure"><svg .*</svg></div>', bundle["text/html"], re.S)
    pixels = imread(io.BytesIO(base64.b64decode(bundle["image/png"], validate=True)))
    assert pixels.shape == (200, 500, 4)
    assert pixels[0, 0, 3] == 0, "the ground of the PNG is not transparent"


@pytest.mark.parametrize("alt", ["", "   ", "accuracy", "Test accuracy curves"])
def test_an_alternative_text_that_says_nothing_is_refused(alt, shown):
    for use in (figures.show, figures.to_svg):
        with refused(f"alt={alt!r}"):
            use(a_line(), alt)
    assert shown == []


@pytest.mark.parametrize("kind", ["axes", "row", "walk", "line", "arithmetic"])
def test_an_svg_is_whole_has_the_ink_of_the_page_and_asks_for_nothing(kind):
    svg = figures.to_svg(one_of_each()[kind], ALT)
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", ALT)
    assert figures.INK not in svg.lower() and "currentColor" in svg
    # A style sheet in it would hold for the whole page, and a date would change at each run.
    assert not re.search(r"<style|<script|<metadata|<!--|<\?xml|<line>", svg)
    links = re.findall(r'href="([^"]*)"', svg)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    # Every reference leads to one thing, and nothing else has an id.
    ids = re.findall(r' id="([^"]+)"', svg)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert used and set(used) == set(ids) and len(ids) == len(set(ids))


def test_figures_on_one_page_share_no_id():
    made = [figures.to_svg(each, ALT) for each in one_of_each().values()]
    made += [figures.to_svg(a_line(), f"{ALT}, again"), figures.to_svg(a_line((2, 1, 2)), ALT)]
    made += [figures.to_svg(a_line(), ALT, salt=salt) for salt in ("here", "there")]
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in made]
    for first, second in itertools.combinations(ids, 2):
        assert first and not first & second


def test_a_figure_fits_the_page_is_not_blown_up_and_has_short_numbers():
    svg = figures.to_svg(a_line(), ALT)
    root = ET.fromstring(svg)
    assert root.get("viewBox") == "0 0 360 144"
    assert root.get("width") is None and root.get("height") is None
    style = dict(each.split(":") for each in root.get("style").split(";"))
    assert style["--width"] == "450px"
    assert (style["width"], style["max-width"], style["height"]) == ("100%", "var(--width)", "auto")
    # matplotlib draws a letter 2048 high, and scales it down by 1/64 and then by its size / 100.
    assert {float(letter) for letter in re.findall(r"scale\((0\.01\d*)\)", svg)} == {1 / 64}
    sizes = {float(size) for size in re.findall(r"scale\((0\.\d+) -0\.\d+\)", svg)}
    assert sizes == {0.09, 0.11}
    without_factors = re.sub(r"(?:scale|matrix)\([^)]*\)", "", svg)
    assert re.search(r"\d\.\d\d\b", without_factors)
    assert not re.search(r"\d\.\d{3}", without_factors)


def test_pixels_are_stored_as_they_are_and_shown_with_sharp_edges():
    pixels = np.arange(28 * 28.0).reshape(28, 28)
    svg = figures.to_svg(grid([[pixels]]), ALT)
    (stored,) = re.findall(r'data:image/png;base64,([^"]+)"', svg)
    read = imread(io.BytesIO(base64.b64decode(stored)))
    assert read.shape[:2] == (28, 28)
    assert np.ptp(np.diff(read[:, :, 0].ravel())) < 0.01
    assert "image-rendering:pixelated" in svg


def shown_hash(made):
    texts = repr([figures.to_svg(each, ALT) for each in made.values()])
    return hashlib.sha256(texts.encode()).hexdigest()


@pytest.mark.training
def test_the_same_figure_gives_the_same_bytes_in_this_process_and_in_another(shown):
    made = one_of_each()
    for each in [*made.values(), *made.values(), *one_of_each().values()]:
        figures.show(each, ALT)
    first, second, third = (
        shown[start : start + len(made)] for start in range(0, len(shown), len(made))
    )
    assert first == second == third
    code = "from test_figures import *; print(shown_hash(one_of_each()))"
    other = python(code, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    with mpl.rc_context({"svg.hashsalt": None, "svg.fonttype": "none"}):  # Made elsewhere.
        assert other.strip() == shown_hash(made)


# What is drawn


def rows_of(axes):
    """Return what is drawn in each row of a comparison: its name, marks, and ends of its bar."""
    names = [text.get_text() for text in axes.get_yticklabels()]
    rows = {name: {"marks": [], "bar": None} for name in names}
    for line in axes.lines:
        x, y = line.get_xdata(), line.get_ydata()
        if set(y) <= set(range(len(names))) and len(set(y)) == 1:
            row = rows[names[int(y[0])]]
            if line.get_marker() == "None":
                row["bar"] = tuple(map(float, x))
            else:
                row["marks"].append(list(map(float, x)))
    return rows


def band_of(axes, direction=0):
    """Return the ends of the margin's band."""
    (band,) = axes.patches
    extent = band.get_extents().transformed(axes.transData.inverted())
    return tuple(extent.get_points()[:, direction])


AGAINST = {"max": ("max", "none"), "mean": ("mean", "none")}
PAIRS = {"pooling − none": (("max", "mean"), "none"), "max − mean": ("max", "mean")}


@pytest.mark.parametrize(
    "metric, how, rows, label, band",
    [
        ("test_accuracy", {}, {arm: (arm,) for arm in SEEDS}, "test accuracy, %", None),
        (
            "test_accuracy",
            {"baseline": "none", "margin": 0.01},
            AGAINST,
            "test accuracy minus that of “none”, points",
            (-1, 1),
        ),
        ("test_accuracy", {"differences": PAIRS}, PAIRS, "difference in test accuracy, points", ()),
        (
            "log2_seconds",  # The logarithm of a time is drawn as a factor.
            {"baseline": "none", "margin": 1},
            AGAINST,
            "seconds, as a multiple of “none”",
            (0.5, 2),
        ),
    ],
)
def test_a_comparison_shows_estimates_with_their_intervals_and_the_margin(
    metric, how, rows, label, band
):
    frame = runs_of(**SEEDS)
    frame["log2_seconds"] = 10 * frame["test_accuracy"]
    axes = drawn(figures.compare, frame, metric, **how)
    log = metric == "log2_seconds"
    shown = rows_of(axes)
    assert list(shown) == list(rows)
    for name, arms in rows.items():
        estimate = statistics.mean if len(arms) == 1 else statistics.paired_difference
        expected = estimate(frame, metric, *arms)
        numbers = np.array([expected.value, *expected.interval()])
        value, *ends = np.exp2(numbers) if log else 100 * numbers
        assert shown[name]["marks"] == [[pytest.approx(value)]]
        assert shown[name]["bar"] == pytest.approx(tuple(ends))
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first does not stand above the second"
    assert " ".join(axes.get_xlabel().split()) == label
    assert axes.get_xscale() == ("log" if log else "linear")
    assert band_of(axes) == pytest.approx(band) if band else not axes.patches


def test_of_a_condition_the_proportion_of_runs_is_drawn():
    frame = runs_of(**SEEDS)
    low = {"test_accuracy < 0.945": "collapsed runs, %"}
    row = rows_of(drawn(figures.compare, frame, low))["none"]
    assert row["marks"] == [[pytest.approx(200 / 3)]]
    frame["low"] = (frame["test_accuracy"] < 0.945).astype(float)
    wilson = statistics.proportion(frame, "low", "none").interval()
    assert row["bar"] == pytest.approx(tuple(100 * end for end in wilson))


def test_two_seeds_are_drawn_as_runs_without_an_interval(figures_shown, shown):
    frame = runs_of("test_accuracy", "quick", max=[0.98, 0.96], none=[0.90, 0.94])
    row = rows_of(drawn(figures.compare, frame))["max"]
    assert row["bar"] is None
    assert row["marks"] == [[pytest.approx(98), pytest.approx(96)], [pytest.approx(97)]]
    figures.compare(frame, alt=ALT)
    figures.compare(runs_of(**SEEDS), alt=ALT)
    few, more = (made.get_suptitle() for made in figures_shown)
    assert few == "quick runs: 4,000 images, 1 epoch, 2 seeds; runs and mean"
    assert more.endswith("3 seeds; mean and 95 % interval")


def test_rows_of_a_group_have_one_colour_and_marker():
    names = [f"row {number}" for number in range(10)]
    groups = {name: [] for name in "abcdefgh"}
    for name, group in zip(names, "abacdefghb", strict=True):
        groups[group].append(name)
    frame = runs_of(**dict.fromkeys(names, [0.1, 0.2, 0.3]))
    points = drawn(figures.compare, frame, arms=names, groups=groups).lines[1::2]
    looks = [(point.get_color(), point.get_marker()) for point in points]
    assert looks[0] == looks[2] and looks[1] == looks[9]
    assert len(set(looks[:8])) == 7
    del groups["a"]
    names = list(rows_of(drawn(figures.compare, frame, groups=groups)))
    assert names[:3] == ["row 1", "row 9", "row 3"]
    assert names[-2:] == ["row 0", "row 2"]  # in no group, and drawn all the same


def test_several_metrics_stand_beside_each_other_and_four_in_a_square(shown, figures_shown):
    frame = runs_of(**SEEDS).assign(test_loss=0.1, loss=0.2, seconds=3.0)
    metrics = ["test_accuracy", "test_loss", "loss", "seconds"]
    for count, places in ((2, [(0, 0), (0, 1)]), (4, [(0, 0), (0, 1), (1, 0), (1, 1)])):
        figures.compare(frame, metrics[:count], alt=ALT)
        axes = figures_shown.pop().axes
        spots = [place.get_subplotspec() for place in axes]
        assert [(spot.rowspan.start, spot.colspan.start) for spot in spots] == places
        assert [place.get_xlabel() for place in axes][:2] == ["test accuracy, %", "test loss"]


def test_the_numbers_drawn_follow_the_alternative_text(shown):
    figures.compare(runs_of(**SEEDS), arms={"max": "max\npooling"}, alt="What the arms reach.")
    assert shown[0]["text/plain"] == (
        "[figure: What the arms reach. test accuracy, %: max pooling 98.]"
    )
    made, axes = figures.figure(ncols=2)
    figures.compare(runs_of(**SEEDS), baseline="none", axes=axes[0, 0])
    figures.curves(runs_of(**SEEDS), arms=["mean"], axes=axes[0, 1])
    figures.show(made, "Two charts beside each other.")
    assert shown[1]["text/plain"] == (
        "[figure: Two charts beside each other. test accuracy, %: max +5.00; mean +3.00. "
        "test accuracy, %, in the last epoch: mean 96.]"
    )
    assert 'aria-label="Two charts beside each other. test' in shown[1]["text/html"]


def a_sweep(result, **how):
    arms = {"one": {"max": 1, "none": 2}}
    figures.sweep(result, "test_accuracy", arms, xlabel="x", **how)


CHARTS = {
    "compare": figures.compare,
    "curves": figures.curves,
    "tradeoff": lambda result, **how: figures.tradeoff(result, "train_size", **how),
    "sweep": a_sweep,
    "cumulative": lambda result, **how: figures.cumulative(result, ["max", "none"], **how),
    "lines": lambda _, **how: figures.lines([1, 2], {"one": [3, 4]}, **how),
    "network_costs": lambda _, **how: figures.network_costs({"net": models.net_single()}, **how),
    "image_grid": lambda _, **how: figures.image_grid([[np.eye(2)]], **how),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_shows_itself_once_with_words_or_is_drawn_into_axes(name, shown):
    frame = runs_of(**SEEDS)
    for alt in (None, "", "a chart"):
        with pytest.raises(ValueError, match=f"alt={alt!r}; say in a sentence"):
            CHARTS[name](frame, alt=alt)
    assert shown == []
    assert CHARTS[name](frame, alt=ALT) is None
    (bundle,) = shown
    assert bundle["text/plain"].startswith(f"[figure: {ALT}")
    _, axes = figures.figure(ncols=2 if name == "network_costs" else 1)
    CHARTS[name](frame, axes=axes)
    assert len(shown) == 1 and all(place.has_data() for place in axes.flat)
    with pytest.raises(ValueError, match="axes has"):
        CHARTS[name](frame, axes=figures.figure(ncols=3)[1])


@pytest.mark.parametrize("name", [*CHARTS][:5])
def test_the_title_says_what_ran_and_recorded_runs_go_first(name, figures_shown, shown):
    known = result_of(runs_of(**SEEDS), label="recorded runs: 60,000 images")
    CHARTS[name](known, alt=ALT, title="pooling")
    CHARTS[name](known, alt=ALT, label="other words")
    usual, named = (made.get_suptitle() for made in figures_shown)
    assert usual.startswith("pooling – recorded runs: 60,000 images; ")
    assert named.startswith("other words; ")
    axes = drawn(CHARTS[name], known, title="pooling", label="")
    assert axes.get_title(loc="left").startswith("pooling")


def result_of(best, label="runs", arms=(), quick=None, complete=True):
    """Stand in for what `Experiment.run` returns."""
    names = [*best["arm"].unique(), *arms]
    return SimpleNamespace(
        best=best,
        label=label,
        quick=quick,
        recorded=SimpleNamespace(frame=best, complete=complete),
        experiment=SimpleNamespace(arms_at=lambda scale: dict.fromkeys(names)),
    )


def test_arms_that_quick_runs_leave_out_are_left_out():
    result = result_of(runs_of(max=SEEDS["max"], none=SEEDS["none"]), arms=["mean"])
    axes = drawn(figures.compare, result, arms=["max", "mean", "none"])
    assert list(rows_of(axes)) == ["max", "none"]
    pairs = {"known": ("max", "none"), "left out": ("max", "mean")}
    assert list(rows_of(drawn(figures.compare, result, differences=pairs))) == ["known"]
    with refused("arms ['meen'] are not there; allowed are ['max', 'mean', 'none']"):
        drawn(figures.compare, result, arms=["max", "meen"])


def settlement(scale="full"):
    """Settle a claim of one comparison by hand."""
    arms = {"treatment": "max", "baseline": "none"}
    comparison = Comparison(
        says="less of it", experiment="by hand", metric="test_accuracy", **arms,
        expect="decrease", margin=0.01, unit="points",
    )  # fmt: skip
    claim = Claim("a-claim", "", ("S0",), "", "", "", parts=(comparison,))
    outcome = Verdict.SUPPORTED if scale == "full" else Tally(2, 2, "in the claimed direction")
    return Settlement(claim, (Row(comparison, scale, around(-0.03, 0.015), outcome),))


def test_curves_show_the_mean_and_the_spread_of_each_arm():
    frame = runs_of(
        one=[[0.5, 0.6, 0.7], [0.7, 0.8, 0.6], [0.51, 0.61, 0.62]],
        two=[[0.1, 0.2, 0.3]],
        three=[[1.0, np.nan, 1.0]],
    )
    axes = drawn(figures.curves, frame)
    assert [line.get_label() for line in axes.lines] == ["one", "two", "three"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [57, 67, 64])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [10, 20, 30])
    tested = [[1, 100], [3, 100]]  # Epochs that were not tested are left out.
    np.testing.assert_allclose(axes.lines[2].get_xydata(), tested)
    corners = {tuple(np.round(corner, 6)) for corner in axes.collections[0].get_paths()[0].vertices}
    assert corners == {(1, 50), (2, 60), (3, 60), (1, 70), (2, 80), (3, 70)}
    assert axes.get_xlabel() == "epoch" and axes.get_ylabel() == "test accuracy, %"
    assert [line.get_color() for line in axes.lines] == list(figures.COLOURS[:3])
    assert len({line.get_marker() for line in axes.lines}) == 3
    of_one_epoch = drawn(figures.curves, runs_of(one=[[0.5], [0.7], [0.9]]))
    (lines,) = (each for each in of_one_epoch.collections if isinstance(each, LineCollection))
    np.testing.assert_allclose(lines.get_segments(), [[[1, 50], [1, 90]]])


def test_curves_of_chosen_arms_have_their_names_their_order_and_their_panels(shown, figures_shown):
    frame = runs_of(one=[[0.5]], two=[[0.6]], three=[[0.7]])
    lines = drawn(figures.curves, frame, arms={"three": "third", "one": "first"}).lines
    assert [(line.get_label(), line.get_ydata()[0]) for line in lines] == [
        ("third", 70), ("first", 50)
    ]  # fmt: skip
    panels = {"some": ["one"], "others": {"two": "second", "three": "third"}}
    figures.curves(frame, arms=panels, reference={"chance": 10}, alt=ALT)
    places = figures_shown[0].axes
    assert [place.get_title(loc="left") for place in places] == list(panels)
    for place, names in zip(places, (["one"], ["second", "third"]), strict=True):
        assert [text.get_text() for text in place.get_legend().get_texts()] == names
        assert place.lines[-1].get_ydata()[0] == 10
        assert place.texts[0].get_text() == "chance"


def marks_of(axes, size):
    """Return the marks of one size that are drawn alone or in a row without a line."""
    return [
        tuple(map(float, point))
        for line in axes.lines
        if line.get_markersize() == size and line.get_marker() != "None"
        for point in line.get_xydata()
    ]


def test_a_tradeoff_shows_every_run_the_mean_of_each_arm_and_its_name():
    costs = {"max": 1, "mean": 10, "none": 100}
    axes = drawn(figures.tradeoff, runs_of(**SEEDS), costs, xlabel="cost", log=True)
    means = {arm: (costs[arm], 100 * np.mean(values)) for arm, values in SEEDS.items()}
    np.testing.assert_allclose(marks_of(axes, 8), list(means.values()))
    runs = [(costs[arm], 100 * value) for arm, values in SEEDS.items() for value in values]
    np.testing.assert_allclose(marks_of(axes, 4), runs)
    assert [text.get_text() for text in axes.texts] == list(means)
    np.testing.assert_allclose([text.xy for text in axes.texts], list(means.values()))
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "cost"


def test_a_tradeoff_of_two_metrics_is_grouped_and_joined():
    frame = runs_of(**SEEDS)
    frame["log2_seconds"] = frame["seed"] + frame["arm"].map({"max": 1, "mean": 2, "none": 3})
    groups = {"pooling": ["max", "mean"], "without": ["none"]}
    axes = drawn(figures.tradeoff, frame, "log2_seconds", groups=groups, join=True)
    np.testing.assert_allclose([x for x, _ in marks_of(axes, 8)], [4, 8, 16])
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["pooling", "without"]
    large = [line for line in axes.lines if line.get_markersize() == 8]
    assert large[0].get_color() == large[1].get_color() != large[2].get_color()
    joined = [line for line in axes.lines if line.get_marker() == "None"]
    np.testing.assert_allclose(joined[0].get_xydata(), [(4, 98), (8, 96)])


def test_names_of_a_tradeoff_cover_neither_each_other_nor_a_mean():
    # Two pairs lie so close together that names on the same side would meet, or cover a mark.
    places = {
        "a rather long name": (1, 95),
        "beta": (1.3, 95.26),
        "gamma": (3, 90),
        "delta": (2.9, 90.05),
        "epsilon": (3, 95),
    }
    frame = runs_of(**{name: [high / 100] * 3 for name, (_, high) in places.items()})
    made, axes = figures.figure(6, 4)
    costs = {name: wide for name, (wide, _) in places.items()}
    figures.tradeoff(frame, costs, xlabel="cost", axes=axes)
    made.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes[0, 0].texts]
    assert_apart(made, boxes)
    means = axes[0, 0].transData.transform(marks_of(axes[0, 0], 8))
    assert not [box for box in boxes for mean in means if box.contains(*mean)]
    # No name stands far from its mark.
    nearest = [np.abs(text.xyann).sum() for text in axes[0, 0].texts]
    assert max(nearest) <= 18


SWEPT = {
    "plain, 0.1": [0.94, 0.95, 0.99],
    "plain, 0.01": [0.90, 0.91, 0.92],
    "norm, 0.1": [0.96, 0.97, 0.98],
    "norm, 1": [0.5, 0.6, 0.7],
    "another": [0.1, 0.1, 0.1],
}


def named(axes):
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def swept(arms, metrics="test_accuracy", frame=None, **how):
    """Sweep over the arms above, or others; return the axes and the ends of the bars."""
    frame = runs_of(**SWEPT) if frame is None else frame
    axes = drawn(figures.sweep, frame, metrics, arms, **{"xlabel": "rate", **how})
    return axes, [each.get_segments()[0] for each in axes.collections]


def test_a_sweep_finds_the_setting_in_the_names_of_the_arms():
    names = {"norm": "batch norm", "plain": "plain"}
    axes, bars = swept("{series}, {x}", log=True, names=names, marks={"plain": 0.1})
    lines = named(axes)
    assert list(lines) == ["batch norm", "plain"]
    np.testing.assert_allclose(lines["plain"].get_xydata(), [(0.01, 91), (0.1, 96)])
    np.testing.assert_allclose(lines["batch norm"].get_xydata(), [(0.1, 97), (1, 60)])
    expected = statistics.mean(runs_of(**SWEPT), "test_accuracy", "plain, 0.1").interval()
    np.testing.assert_allclose(bars[3], [(0.1, 100 * end) for end in expected])
    np.testing.assert_allclose(marks_of(axes, 13), [(0.1, 96)])
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_a_sweep_shows_the_spread_or_differences_and_the_margin_where_it_is_asked_for():
    _, bars = swept("plain, {x}", spread="range")
    np.testing.assert_allclose(bars, [[(0.01, 90), (0.01, 92)], [(0.1, 94), (0.1, 99)]])
    axes, _ = swept("plain, {x}", baseline="norm, 0.1", margin=0.02)
    line = next(line for line in axes.lines if line.get_markersize() == 5)
    np.testing.assert_allclose(line.get_ydata(), [-6, -1])
    assert band_of(axes, 1) == pytest.approx((-2, 2))


def test_a_sweep_joins_its_intervals_to_a_band_where_it_is_asked_for():
    axes, how = bare_axes(), {"xlabel": "rate", "spread": "band"}
    figures.sweep(runs_of(**SWEPT), "test_accuracy < 0.915", "plain, {x}", axes=axes, **how)
    (band,) = axes.collections
    assert isinstance(band, PolyCollection)
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.round(6)}
    for arm, rate in {"plain, 0.01": 0.01, "plain, 0.1": 0.1}.items():
        frame = runs_of(**SWEPT).assign(bad=lambda runs: runs["test_accuracy"] < 0.915)
        ends = statistics.proportion(frame, "bad", arm).interval()
        assert {(rate, round(end, 6)) for end in ends} <= corners
    # Two runs have no interval: they are drawn one by one.
    axes = bare_axes()
    pairs = {arm: runs[:2] for arm, runs in SWEPT.items()}
    figures.sweep(runs_of(**pairs), "test_accuracy", "plain, {x}", axes=axes, **how)
    assert not axes.collections
    np.testing.assert_allclose(marks_of(axes, 3), [(0.01, 90), (0.01, 91), (0.1, 94), (0.1, 95)])


def test_the_setting_of_a_sweep_may_be_a_column_or_belong_to_a_metric():
    frame = runs_of(**{"few, plain": [0.8, 0.9], "many, plain": [0.9, 1.0]})
    frame["train_size"] = np.where(frame["arm"] == "few, plain", 100, 4000)
    frame["off_50"] = frame["test_accuracy"] - 0.5
    axes, _ = swept("{_}, {series}", frame=frame, x="train_size")
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(100, 85), (4000, 95)])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [80, 90], err_msg="the single runs")
    metrics, label = {0: "test_accuracy", 50: "off_50"}, "test accuracy, %"
    axes, _ = swept({"few, plain": "few"}, metrics, frame, ylabel=label, xlabel="units off, %")
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(0, 85), (50, 35)])
    assert axes.get_ylabel() == label


def test_metrics_of_a_sweep_share_a_panel_or_have_one_each(shown, figures_shown):
    metrics = {"test_accuracy": "test", "1 - test_accuracy": "error"}
    axes, _ = swept("plain, {x}", metrics, together=True, ylabel="share, %")
    assert list(named(axes)) == ["test", "error"]
    np.testing.assert_allclose(named(axes)["error"].get_ydata(), [9, 4])
    frame, metrics = runs_of(**SWEPT).assign(loss=0.5), ["test_accuracy", "loss"]
    figures.sweep(frame, metrics, "plain, {x}", xlabel="rate", alt=ALT)
    labels = [place.get_ylabel() for place in figures_shown[0].axes]
    assert labels == ["test accuracy, %", "training loss"]


def test_a_cumulative_ablation_leads_from_mean_to_mean():
    frame = runs_of(**SEEDS)
    steps = {"none": "start", "mean": "pooling", "max": "by the largest"}
    axes = drawn(figures.cumulative, frame, steps)
    means = [100 * np.mean(SEEDS[arm]) for arm in steps]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width(), bar.get_y()) for bar in axes.patches]
    expected = [(means[step], means[step + 1], step + 0.69) for step in (0, 1)]
    np.testing.assert_allclose(bars, expected)
    assert [text.get_text() for text in axes.get_yticklabels()] == list(steps.values())
    gain = statistics.paired_difference(frame, "test_accuracy", "max", "mean")
    expected = f"{100 * gain.value:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    assert axes.texts[1].get_text() == expected.replace("-", "−")
    # Losses have another colour than gains, and groups each their own.
    for groups in (None, {"other": ["max"], "same": ["none"]}):
        axes = drawn(figures.cumulative, frame, ["mean", "max", "none"], groups=groups)
        colours = [bar.get_facecolor()[:3] for bar in axes.patches]
        assert colours == [to_rgb(colour) for colour in figures.COLOURS[:2]]


def test_lines_have_marks_where_they_are_short_and_dashes_where_they_are_long():
    series = {"one": [3, 2], "two": [1, np.nan]}
    axes = drawn(figures.lines, ["28×28", "14×14"], series, reference={"chance": 10})
    assert [line.get_label() for line in axes.lines[:2]] == ["one", "two"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [3, 2])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["28×28", "14×14"]
    assert axes.lines[2].get_ydata()[0] == 10
    assert len({line.get_marker() for line in axes.lines[:2]}) == 2
    grid_ = np.linspace(1, 100, 50)
    axes = drawn(figures.lines, grid_, {"one": grid_, "two": grid_**2}, log="xy")
    assert [line.get_marker() for line in axes.lines] == ["", ""]
    assert len({line.get_linestyle() for line in axes.lines}) == 2
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_network_costs_are_those_of_the_layer_table():
    nets = {"single": models.net_single(), "stacked": models.net_stacked()}
    _, axes = figures.figure(ncols=2)
    figures.network_costs(nets, axes=axes)
    tables = [layer_table(net) for net in nets.values()]
    units = ("parameters", 1e3, ", thousands"), ("multiply_adds", 1e6, ", millions")
    for place, (column, divisor, unit) in zip(axes.flat, units, strict=True):
        bars = place.patches[2:]
        ends = [divisor * (bar.get_x() + bar.get_width()) for bar in bars]
        np.testing.assert_allclose(ends, [table[column].sum() for table in tables])
        dense = [table.loc[table["type"] == "Dense", column].sum() for table in tables]
        np.testing.assert_allclose([divisor * bar.get_width() for bar in bars], dense)
        assert place.get_xlabel().endswith(unit)


ENDS = [(0.9, 1.1), (0.4, 2.2), (1, 30), (3, 4000), (1e-4, 1), (97, 98), (8, 9)]


def ticks_of(axes):
    """Return the places and texts of the ticks within the horizontal axis."""
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    return {at: text.get_text() for at, text in ticks if low <= at <= high}


@pytest.mark.parametrize("ends", ENDS)
def test_a_logarithmic_axis_has_plain_numbers(ends):
    axes = drawn(figures.lines, ends, {"one": [1, 2]}, log="x")
    texts = list(ticks_of(axes).values())
    assert 2 <= len(texts) <= 9 and len(set(texts)) == len(texts)
    assert not any("$" in text for text in texts)
    assert not len(axes.xaxis.get_minorticklocs())
    if ends[1] / ends[0] > 3:  # Across decades the ticks are those of a ruler.
        assert {text.replace(",", "").strip("0.")[:1] for text in texts} <= {*"12357"}


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 40])
def test_epochs_are_written_as_whole_numbers(epochs):
    ticks = ticks_of(drawn(figures.curves, runs_of(one=[[0.5] * epochs])))
    assert ticks and all(tick == int(tick) for tick in ticks)


def test_intervals_stand_from_the_top_with_their_ends_and_the_margin_as_a_band():
    axes = bare_axes()
    estimates = {"first": around(0.02, 0.01), "second": around(-0.03, 0.005)}
    figures.intervals(axes, estimates, margin=0.005, factor=100)
    assert list(rows_of(axes).items()) == [
        ("first", {"marks": [[2]], "bar": pytest.approx((1, 3))}),
        ("second", {"marks": [[-3]], "bar": pytest.approx((-3.5, -2.5))}),
    ]
    assert list(axes.lines[0].get_xdata()) == [0, 0]
    assert band_of(axes) == pytest.approx((-0.5, 0.5))
    with pytest.raises(ValueError):
        figures.intervals(bare_axes(), estimates, groups=["a"])


# Numbers in the text


@pytest.fixture
def glued(monkeypatch):
    """Catch what is kept for the prose."""
    kept = {}

    def glue(key, text, display):
        assert not display and isinstance(text, str)
        kept[key] = text

    monkeypatch.setattr("myst_nb.glue", glue)
    return kept


def test_numbers_are_written_in_their_unit_with_a_minus_and_the_interval(glued):
    frame = runs_of(**SEEDS)
    frame["log2_time"] = np.log2(frame["test_accuracy"] / 0.9)
    found = statistics.paired_difference(frame, "test_accuracy", "none", "max")
    value, low, high = 100 * np.array([found.value, *found.interval()])
    ratio = statistics.paired_difference(frame, "log2_time", "max", "none")
    times, slow, fast = np.exp2([ratio.value, *ratio.interval()])
    down = ("test_accuracy", "none", "max")
    for asked, unit, text in (
        (down, "points", f"{value:+.2f} [{low:+.2f}, {high:+.2f}] points"),
        (down, "plain", f"{value / 100:+.3f} [{low / 100:+.3f}, {high / 100:+.3f}]"),
        (down, "share", f"{value / 100:+.2f} [{low / 100:+.2f}, {high / 100:+.2f}]"),
        (("test_accuracy", "max"), "percent", "98.0 %"),
        (("log2_time", "max", "none"), "times", f"{times:.2f} [{slow:.2f}, {fast:.2f}]"),
    ):
        figures.glue_numbers(result_of(frame), {"it": asked}, unit)
        assert glued == {"it": text.replace("-", "−")}


def test_numbers_have_other_texts_and_expressions(glued):
    frame = runs_of(**SEEDS).assign(train_accuracy=1.0)
    result = result_of(frame)
    for key, asked, unit, text, expected in (
        ("range", ("test_accuracy", "none"), "percent", "{min:.0f}% to {max:.0f}%", "90% to 95%"),
        ("sd", ("test_accuracy", "max"), "points", "{sd:.2f}", "1.00"),
        ("count", ("test_accuracy < 0.945", "none"), "plain", "{count} of {runs}", "2 of 3"),
        ("gap", ("train_accuracy - test_accuracy", "max"), "points", "{value:.1f}", "2.0"),
        ("of both", ("test_accuracy", ("max", "mean"), "none"), "points", "{min:.1f}", "2.5"),
    ):
        figures.glue_numbers(result, {key: asked}, unit, text)
        assert glued.pop(key) == expected, key
    figures.glue_numbers(result, {"own": lambda runs: f"{len(runs)} runs"})
    assert glued == {"own": "9 runs"}


def test_what_has_not_run_says_so(glued):
    quick = runs_of("test_accuracy", "quick", max=[0.98, 0.96], none=[0.90, 0.94])
    half = result_of(runs_of(max=[0.9]), quick=quick, complete=False)
    asked = {
        "max": ("test_accuracy", "max", "none"),
        "left out": ("test_accuracy", "mean"),
        "own": lambda runs: f"{len(runs)}",
    }
    figures.glue_numbers(half, asked)
    assert glued == dict.fromkeys(asked, "not yet run")
    glued.clear()
    figures.glue_numbers(half, asked, scale="both")
    assert glued == {f"{key}-full": "not yet run" for key in asked} | {
        "max-quick": "+5.00 points",  # Two seeds have no interval.
        "left out-quick": "not yet run",
        "own-quick": "4",
    }
    glued.clear()
    figures.glue_numbers(half, {"max": ("test_accuracy", "max")}, "percent", scale="quick")
    assert glued == {"max": "97.0 %"}


def test_verdicts_are_kept_with_the_parts_that_they_rest_on(glued):
    settled, quick = settlement(), settlement(scale="quick")
    parts = (*settled.claim.parts, Exact("its size", Verdict.REFUTED, "", ()))
    both = Settlement(dataclasses.replace(settled.claim, parts=parts), settled.rows)
    assert both.summary("full") == "holds in part, 1 of 2 parts supported"
    named = {"fewer": settled, "both": both, "quick": quick}
    figures.glue_claims(named, {"fewer": ["fewer of it"], "quick": ["part"]})
    for name, claim in named.items():
        assert glued.pop(f"{name}-quick") == claim.summary("quick")
        assert glued.pop(f"{name}-full") == claim.summary("full")
    open_ = "not yet run"
    assert glued == {
        "both-exact": "refuted",
        "fewer of it-full": "−3.00 [−4.50, −1.50] points",
        "fewer of it-full-word": "supported",
        **{f"fewer of it-quick{end}": open_ for end in ("", "-word")},
        "part-quick": "−3.00 points",  # Quick runs have no interval.
        "part-quick-word": "2 of 2 runs in the claimed direction",
        **{f"part-full{end}": open_ for end in ("", "-word")},
    }
    with refused("parts['fewer'] has 2 entries; the claim has 1"):
        figures.glue_claims({"fewer": settled}, {"fewer": ["one", "two"]})
    glued.clear()
    figures.glue_claims({"definition": "bn-definition"})  # By its id in the ledger.
    assert glued == {"definition-exact": "supported"}


def test_an_image_goes_from_black_to_white_or_is_symmetric_about_a_pale_zero():
    def colours(pixels, values, **how):
        axes = bare_axes()
        figures.image(axes, pixels, "kernel", **how)
        assert axes.get_title(loc="left") == "kernel"
        assert not len(axes.get_xticks()) and not len(axes.get_yticks())
        return axes.images[0].to_rgba(np.array(values, float))[:, :3]

    ends = colours([[0.2, 0.4]], [0, 0.4])
    np.testing.assert_allclose(ends, [[0, 0, 0], [1, 1, 1]])
    zero, red, blue = colours([[-0.5, 0.0], [0.25, 2.0]], [0, 2, -2], signed=True)
    assert zero.min() > 0.95 and red[0] > 2 * red[2] and blue[2] > 2 * blue[0]
    # An image of nothing has the colour of zero.
    for signed, grey in ((True, 0.97), (False, 0)):
        np.testing.assert_allclose(colours(np.zeros((2, 2)), [0], signed=signed), grey, atol=0.01)
    row = grid([[np.eye(2), -4 * np.eye(2)]], signed=True)
    assert {place.images[0].get_clim() for place in row.axes} == {(-4, 4)}


def test_values_are_written_briefly_and_stand_in_their_cells():
    axes = bare_axes()
    pixels = np.array([[-1.0, 0.125], [-0.0, 1 / 3], [0.1 + 0.2 - 0.3, 1234.0], [-0.05678, 12.5]])
    figures.image(axes, pixels, signed=True, values=True)
    written = {text.get_position(): text.get_text() for text in axes.texts}
    texts = [[written[column, row] for column in range(2)] for row in range(4)]
    assert texts == [["−1", "0.125"], ["0", "0.333"], ["0", "1234"], ["−0.0568", "12.5"]]


def contrast(first, second):
    """Contrast of two colours, from 1 to 21 (WCAG 2.1, https://www.w3.org/TR/WCAG21)."""

    def luminance(colour):
        parts = np.array(to_rgb(colour))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("signed", [False, True])
def test_values_can_be_read_on_whatever_is_behind_them(signed):
    steps = np.linspace(-1 if signed else 0, 1, 41)
    # In a row all images share one range, so a dark image stands beside a bright one.
    pictures = [steps[np.newaxis], 0.2 * np.abs(steps[np.newaxis])]
    row = grid([pictures], signed=signed, values=True)
    for axes in row.axes:
        pixels = axes.images[0].get_array()
        for text in axes.texts:
            column, line = text.get_position()
            behind = axes.images[0].to_rgba(pixels[line : line + 1, column : column + 1])[0, 0, :3]
            assert contrast(text.get_color(), behind) >= 4.5, pixels[line, column]


@pytest.mark.parametrize("shape, size", [((3, 3), 1.3), ((4, 4), 1.7), ((2, 5), 2.2)])
def test_long_values_stay_within_their_cells(shape, size):
    pixels = np.full(shape, -0.0123)
    row = grid([[pixels, pixels]], ["a", "b"], signed=True, values=True, size=size)
    row.draw_without_rendering()
    for axes in row.axes:
        cell = axes.get_window_extent().width / shape[1]
        assert max(text.get_window_extent().width for text in axes.texts) <= cell
        assert min(text.get_fontsize() for text in axes.texts) >= 5


@pytest.mark.parametrize("shared, tops", [("all", [4, 4, 4]), ("row", [4, 4, 2]), (8, [8, 8, 8])])
def test_pictures_of_a_grid_share_a_range(shared, tops):
    rows = {"upper": [np.eye(2), 4 * np.eye(2)], "lower": [2 * np.eye(2)[:, :, np.newaxis], None]}
    _, axes = figures.figure(3, 3, nrows=2, ncols=2)
    figures.image_grid(rows, ["dim", "bright"], axes=axes, shared=shared)
    drawn = [place.images[0] for place in axes.flat if place.images]
    assert [image.get_clim() for image in drawn] == [(0, top) for top in tops]
    assert [place.get_title(loc="left") for place in axes.flat] == ["dim", "bright", "", ""]
    assert [place.get_ylabel() for place in axes[:, 0]] == ["upper", "lower"]
    assert not axes[1, 1].axison, "the place without a picture has a frame"


def test_pixels_drawn_to_scale_have_one_size(shown, figures_shown):
    figures.image_grid([[np.eye(6), np.eye(3)]], alt=ALT, to_scale=True, size=2)
    (made,) = figures_shown
    large, small = (axes.get_window_extent().width for axes in made.axes)
    assert large / small == pytest.approx(2, rel=0.1)
    assert len(shown) == 1


def assert_apart(made, boxes, others=()):
    """Check that no box leaves the figure, covers another one or one of the others."""
    for box in [*boxes, *others]:
        assert made.bbox.x0 <= box.x0 and box.x1 <= made.bbox.x1
        assert made.bbox.y0 <= box.y0 and box.y1 <= made.bbox.y1
    pairs = [*itertools.combinations(boxes, 2), *itertools.product(boxes, others)]
    assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]


def words_of(axes):
    """Return the names above and the sizes below the boxes of a walk, from the left."""
    above, below = (
        [text.get_text() for text in axes.texts if (text.get_position()[1] > 0) == up]
        for up in (True, False)
    )
    return ", ".join(map(" ".join, zip(above, below, strict=True)))


def test_a_walk_shows_every_layer_with_its_shape():
    nets = {"net-single": models.net_single(), "net-stacked": models.net_stacked()}
    single, stacked = figures.shape_walk(nets).axes
    assert words_of(single) == (
        "input 28×28×1, conv 3×3 28×28×32, pool 14×14×32, conv 3×3 14×14×64, pool 7×7×64, "
        "conv 3×3 7×7×64, pool 3×3×64, flatten 576, dense 64, dense 10"
    )
    assert words_of(stacked) == (
        "input 28×28×1, conv 5×5 28×28×32, conv 5×5 28×28×32, pool 14×14×32, conv 3×3 14×14×64, "
        "conv 3×3 14×14×64, pool 7×7×64, flatten 3136, dense 256, dense 10"
    )
    assert [axes.get_title(loc="left") for axes in (single, stacked)] == list(nets)
    # The height of a box is the side of its map.
    boxes = [patch for patch in stacked.patches if isinstance(patch, FancyBboxPatch)]
    maps = [28, 28, 28, 14, 14, 14, 7]
    heights = [box.get_height() for box in boxes]
    np.testing.assert_allclose(heights[: len(maps)], np.divide(maps, 28))
    widths = [box.get_width() for box in boxes[: len(maps)]]
    assert widths[0] < widths[1] == widths[2] == widths[3] < widths[4]
    assert boxes[0].get_facecolor() != boxes[-1].get_facecolor()


def test_a_walk_names_poolings_that_keep_the_size_global_ones_and_vectors():
    hidden = [
        *[layers.MaxPooling2D(3, strides=1, padding="same"), layers.ReLU()],
        *[layers.Conv2D(8, 3, strides=2), layers.GlobalAveragePooling2D(), layers.Dense(10)],
        *[layers.Softmax(), layers.Reshape((1, 10))],
    ]
    with_maps = (
        "input 28×28×1, pool 28×28×1, conv 3×3 13×13×8, global pool 8, dense 10, reshape 1×10"
    )
    vectors = (784,), [layers.Dense(10)], "input 784, dense 10"
    for shape, made, words in (((28, 28, 1), hidden, with_maps), vectors):
        net = keras.Sequential([keras.Input(shape), *made])
        (axes,) = figures.shape_walk({"net": net}).axes
        assert words_of(axes) == words


def deep_net():
    """Build a net of as many stages as the deepest one of the course has."""
    hidden = []
    for convolutions in (2, 2, 3):
        hidden += [*(layers.Conv2D(32, 3) for _ in range(convolutions)), layers.MaxPooling2D(2)]
    ends = layers.Flatten(), layers.Dense(64), layers.Dense(1)
    return keras.Sequential([keras.Input((128, 128, 3)), *hidden, *ends])


@pytest.mark.parametrize("build", [models.net_stacked, deep_net])
def test_no_label_of_a_walk_touches_another(build):
    walk = figures.shape_walk({"first": build(), "second": build()})
    walk.draw_without_rendering()
    texts = [text for axes in walk.axes for text in (*axes.texts, axes.title, axes._left_title)]
    boxes = [text.get_window_extent() for text in texts]
    assert_apart(walk, [box for box in boxes if box.width > 0])


def cells_of(axes, label):
    """Return the (row, column) of the centre of each cell of one kind in a picture."""
    places = []
    for patch in axes.patches:
        if patch.get_label() == label:
            starts = np.flatnonzero(patch.get_path().codes == Outline.MOVETO)
            if label == "unused":  # A cross is two strokes.
                starts = starts[::2]
            for corners in np.split(patch.get_path().vertices, starts[1:]):
                column, row = (corners.min(axis=0) + corners.max(axis=0)) / 2
                places.append((float(round(row, 6)), float(round(column, 6))))
    assert len(set(places)) == len(places)
    return set(places)


def jacobian(size, kernel, transposed=False, at=(0, 0), **settings):
    """Lay out which input pixel each output cell reads: (out, out, in, in), from unit images."""
    units = np.eye(size**2).reshape(size**2, size, size, 1)
    layer = conv2d_transpose if transposed else conv2d
    responses = layer(units, np.ones((kernel, kernel, 1, 1)), **settings)[..., 0]
    return np.moveaxis(responses.reshape(size, size, *responses.shape[1:]), (0, 1), (2, 3))


@pytest.mark.parametrize("name", ARITHMETIC)
def test_a_picture_of_arithmetic_shows_what_the_layer_reads_and_writes(name):
    settings = ARITHMETIC[name]
    reads = jacobian(**settings)
    outputs, size = reads.shape[0], settings["size"]
    row, column = settings.get("at", (0, 0))
    (axes,) = figures.convolution_arithmetic({name: settings}).axes
    pixels = sorted(cells_of(axes, "input") | cells_of(axes, "input read"))
    assert len(pixels) == size**2
    by_row = np.array(pixels).reshape(size, size, 2)

    def places(mask):
        return {tuple(map(float, place)) for place in by_row[mask]}

    assert cells_of(axes, "input read") == places(reads[row, column] > 0)
    assert cells_of(axes, "unused") == places(reads.sum(axis=(0, 1)) == 0)
    written = cells_of(axes, "output written")
    every = sorted(cells_of(axes, "output") | written)
    assert len(every) == outputs**2
    assert written == {every[row * outputs + column]}
    # The output stands to the right of all that belongs to the input.
    zeros = cells_of(axes, "zeros") | cells_of(axes, "zeros read")
    assert min(x for _, x in every) > max(x for _, x in {*pixels, *zeros}) + 1
    words = [text.get_text() for text in axes.texts]
    assert words[0] == name and words[1].endswith(f" = {outputs}")
    assert words[2:] == [f"input {size}×{size}", f"output {outputs}×{outputs}"]


@pytest.mark.parametrize(
    "name, side, formula",
    [
        ("valid", 5, "⌊(5 + 0 − 3) / 1⌋ + 1 = 3"),
        ("full", 9, "⌊(5 + 4 − 3) / 1⌋ + 1 = 7"),
        ("lopsided", 7, "⌊(6 + 1 − 3) / 2⌋ + 1 = 3"),
        ("dilated", 7, "⌊(7 + 0 − 5) / 1⌋ + 1 = 3"),
        ("transposed", 9, "2 · (3 − 1) + 3 − 0 = 7"),
        ("transposed, half", 5, "1 · (3 − 1) + 3 − 2 = 3"),
        ("transposed, a rest", 7, "3 · (2 − 1) + 2 − 0 + 1 = 6"),
    ],
)
def test_zeros_fill_the_padded_input_and_the_formula_has_its_numbers(name, side, formula):
    (axes,) = figures.convolution_arithmetic({name: ARITHMETIC[name]}).axes
    kinds = ("input", "input read", "zeros", "zeros read")
    cells = [cells_of(axes, kind) for kind in kinds]
    assert sum(map(len, cells)) == side**2
    assert set().union(*cells) == {(r + 0.5, c + 0.5) for r in range(side) for c in range(side)}
    assert axes.texts[1].get_text() == formula
    (window,) = (patch for patch in axes.patches if patch.get_label() == "window")
    corners = window.get_path().vertices
    read = cells_of(axes, "input read") | cells_of(axes, "zeros read")
    rows, columns = zip(*read, strict=True)
    np.testing.assert_allclose(corners.min(axis=0), [min(columns) - 0.5, min(rows) - 0.5])
    np.testing.assert_allclose(corners.max(axis=0), [max(columns) + 0.5, max(rows) + 0.5])
    assert len(read) == ARITHMETIC[name]["kernel"] ** 2


def test_pictures_of_arithmetic_have_one_scale_and_no_label_touches_another():
    for columns in (2, 3):
        made = figures.convolution_arithmetic(ARITHMETIC, columns)
        assert made.get_size_inches()[0] <= 7.5
        made.draw_without_rendering()
        drawn = [axes for axes in made.axes if axes.texts]
        assert len(drawn) == len(ARITHMETIC)
        scales = [axes.transData.transform([(0, 0), (1, 1)]) for axes in drawn]
        steps = [np.abs(end - start) for start, end in scales]
        np.testing.assert_allclose(steps, np.full((len(drawn), 2), steps[0][0]), rtol=1e-6)
        boxes = [text.get_window_extent() for axes in drawn for text in axes.texts]
        grids = [patch.get_window_extent() for axes in drawn for patch in axes.patches]
        assert_apart(made, boxes, grids)
        assert min(text.get_fontsize() for axes in drawn for text in axes.texts) >= 8


def test_input_and_output_of_arithmetic_have_other_shapes_and_other_colours():
    (axes,) = figures.convolution_arithmetic({"valid": ARITHMETIC["valid"]}).axes
    looks = {patch.get_label(): patch for patch in axes.patches}
    squares, circles = looks["input"].get_path(), looks["output"].get_path()
    assert Outline.CURVE4 in circles.codes and Outline.CURVE4 not in squares.codes
    assert looks["input"].get_facecolor()[:3] == to_rgb(figures.COLOURS[0])
    assert looks["output"].get_facecolor()[:3] == to_rgb(figures.COLOURS[1])


# Whether it can be read


def test_the_ink_of_a_png_can_be_read_on_white_and_on_the_page_in_both_themes():
    css = (ROOT / "chapters" / "_static" / "theme.css").read_text(encoding="utf-8")
    grounds = re.findall(r"--pst-color-background: (#[0-9a-f]{6});", css)
    assert len(grounds) == 2 and contrast(*grounds) > 15
    for ground in ("#ffffff", *grounds):
        assert contrast(figures.INK, ground) >= 3.9, ground


# Viénot, Brettel and Mollon 1999, doi:10.1002/(SICI)1520-6378(199908)24:4<243::AID-COL5>3.0.CO;2-3,
# on linear RGB: what somebody without the long or the middle cones sees.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_series_are_told_apart_by_any_eye(sight):
    assert len(set(figures.COLOURS)) == len(set(figures.MARKERS)) == 7
    assert style._STYLE["axes.prop_cycle"].by_key()["color"] == list(figures.COLOURS)

    def seen(colour):
        """Turn what is seen of a colour, in linear sRGB, into CIELAB for the white D65."""
        linear = np.clip(np.asarray(SIGHT[sight]) @ np.array(to_rgb(colour)) ** 2.2, 0, 1)
        matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        xyz = np.asarray(matrix) @ linear / [0.9505, 1, 1.089]
        f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    for first, second in itertools.combinations(figures.COLOURS, 2):
        # A difference of 2.3 in CIELAB can just be noticed; these shall be told apart at a glance.
        assert np.linalg.norm(seen(first) - seen(second)) > 10, (first, second)
