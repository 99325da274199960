"""Figures: what is stored, what is drawn, and that both can be read on light and on dark."""

import base64
import functools
import hashlib
import io
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from keras import layers
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch
from matplotlib.path import Path as Outline

from utils import figures
from utils.experiments import models
from utils.evidence.statistics import Estimate
from utils.theory.reference import conv2d, conv2d_transpose

ROOT = Path(__file__).resolve().parent.parent
ALT = "A line that rises from 1 to 3 & back"

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

    monkeypatch.setattr(figures, "display", catch)
    return bundles


def a_line(values=(1, 3, 2)):
    made, axes = figures.figure(5, 2)
    axes[0, 0].plot(values, marker="o", label="a line")
    axes[0, 0].set(title="rise & fall", xlim=(0.25, 1.75))
    axes[0, 0].legend()
    return made


def one_of_each():
    """Make a figure of every kind that this module draws."""
    made, axes = figures.figure(7, 2, ncols=3)
    figures.curves(axes[0, 0], runs_of(a=[[0.5, 0.7], [0.6, 0.9]]), "test_accuracy")
    figures.intervals(axes[0, 1], {"a − b": around(0.2, 0.1)}, margin=0.05)
    figures.image(axes[0, 2], [[-1, 2], [0, 1]], "kernel", signed=True, values=True)
    return {
        "axes": made,
        "row": figures.image_row([np.eye(3), np.ones((2, 2))], ["one", "two"], values=True),
        "walk": figures.shape_walk({"net-single": models.net_single()}),
        "line": a_line(),
        "arithmetic": figures.convolution_arithmetic(ARITHMETIC),
    }


@functools.cache
def svg_of(kind):
    return figures.to_svg(one_of_each()[kind], ALT)


def runs_of(**arms):
    """Make a table as `run` does from lists of seeds, each a list of epochs."""
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "epoch": epoch, "test_accuracy": value}
            for arm, seeds in arms.items()
            for seed, values in enumerate(seeds)
            for epoch, value in enumerate(values, start=1)
        ]
    )


def around(value, half):
    return Estimate(value, 5, "by hand", lambda confidence: (value - half, value + half))


def bare_axes(**grid):
    return figures.figure(5, 3, **grid)[1][0, 0]


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


def test_the_alternative_text_is_escaped_and_read_by_a_screen_reader():
    alt = 'Said of a <kernel>: "3 & 4"'
    svg = figures.to_svg(a_line(), alt)
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == alt
    assert "<kernel>" not in svg


@pytest.mark.parametrize("alt", ["", "   ", "accuracy", "Test accuracy curves"])
def test_an_alternative_text_that_says_nothing_is_refused(alt, shown):
    for use in (figures.show, figures.to_svg):
        with pytest.raises(ValueError, match=re.escape(f"alt={alt!r}")):
            use(a_line(), alt)
    assert shown == []


@pytest.mark.parametrize("kind", ["axes", "row", "walk", "line", "arithmetic"])
def test_an_svg_is_valid_has_the_ink_of_the_page_and_asks_for_nothing(kind):
    svg = svg_of(kind)
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert figures.INK not in svg.lower() and "currentColor" in svg
    # A style sheet in it would hold for the whole page, and a date would change at each run.
    assert not re.search(r"<style|<script|<metadata|<!--|<\?xml", svg)
    links = re.findall(r'href="([^"]*)"', svg)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


@pytest.mark.parametrize("kind", ["axes", "row", "walk", "line", "arithmetic"])
def test_every_reference_in_an_svg_leads_to_one_thing_in_it(kind):
    svg = svg_of(kind)
    ids = re.findall(r' id="([^"]+)"', svg)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', svg)
    assert used and set(used) == set(ids)
    assert len(ids) == len(set(ids))


def test_figures_on_one_page_share_no_id():
    made = [figures.to_svg(each, ALT) for each in one_of_each().values()]
    made += [figures.to_svg(a_line(), f"{ALT}, again"), figures.to_svg(a_line((2, 1, 2)), ALT)]
    made += [figures.to_svg(a_line(), ALT, salt=salt) for salt in ("here", "there")]
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in made]
    for first, second in itertools.combinations(ids, 2):
        assert first and not first & second


def test_letters_keep_their_size():
    # matplotlib draws a letter 2048 high, and scales it down by 1/64 and then by its size / 100.
    svg = figures.to_svg(a_line(), ALT)
    (letter,) = set(re.findall(r"scale\((0\.01\d*)\)", svg))
    assert float(letter) == 1 / 64
    sizes = {float(size) for size in re.findall(r"scale\((0\.\d+) -0\.\d+\)", svg)}
    assert sizes == {0.09, 0.11}


def test_coordinates_are_written_with_two_decimals():
    svg = figures.to_svg(a_line(), ALT)
    without_factors = re.sub(r"(?:scale|matrix)\([^)]*\)", "", svg)
    assert re.search(r"\d\.\d\d\b", without_factors)
    assert not re.search(r"\d\.\d{3}", without_factors)


def test_a_figure_fits_the_page_and_is_not_blown_up():
    root = ET.fromstring(figures.to_svg(a_line(), ALT))
    assert root.get("viewBox") == "0 0 360 144"
    assert root.get("width") is None and root.get("height") is None
    style = dict(each.split(":") for each in root.get("style").split(";"))
    assert style["--width"] == "450px"
    assert (style["width"], style["max-width"], style["height"]) == ("100%", "var(--width)", "auto")


def test_pixels_are_stored_as_they_are_and_shown_with_sharp_edges():
    pixels = np.arange(28 * 28.0).reshape(28, 28)
    svg = figures.to_svg(figures.image_row([pixels], size=1.3), ALT)
    (stored,) = re.findall(r'data:image/png;base64,([^"]+)"', svg)
    read = imread(io.BytesIO(base64.b64decode(stored)))
    assert read.shape[:2] == (28, 28)
    assert np.ptp(np.diff(read[:, :, 0].ravel())) < 0.01
    assert "image-rendering:pixelated" in svg


def shown_hash(made):
    return hashlib.sha256(repr([figures.to_svg(each, ALT) for each in made.values()]).encode())


def test_the_same_figure_gives_the_same_bytes_in_this_process_and_in_another(shown):
    made = one_of_each()
    for each in [*made.values(), *made.values(), *one_of_each().values()]:
        figures.show(each, ALT)
    first, second, third = (
        shown[start : start + len(made)] for start in range(0, len(shown), len(made))
    )
    assert first == second == third
    code = "from tests.test_figures import *; print(shown_hash(one_of_each()).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert other.stdout.strip() == shown_hash(made).hexdigest(), other.stderr


def test_settings_made_elsewhere_do_not_change_what_is_stored():
    before = figures.to_svg(a_line(), ALT)
    made = a_line()
    with mpl.rc_context({"svg.hashsalt": None, "svg.fonttype": "none"}):
        assert figures.to_svg(made, ALT) == before


# What is drawn


def test_curves_show_the_mean_and_the_spread_of_each_arm():
    frame = runs_of(
        one=[[0.5, 0.6, 0.7], [0.7, 0.8, 0.6], [0.51, 0.61, 0.62]],
        two=[[0.1, 0.2, 0.3]],
        three=[[1.0, 1.0, 1.0]],
    )
    axes = bare_axes()
    figures.curves(axes, frame, "test_accuracy", percent=True)
    assert [line.get_label() for line in axes.lines] == ["one", "two", "three"]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [57, 67, 64])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [10, 20, 30])
    corners = {tuple(np.round(corner, 6)) for corner in axes.collections[0].get_paths()[0].vertices}
    assert corners == {(1, 50), (2, 60), (3, 60), (1, 70), (2, 80), (3, 70)}
    assert axes.get_xlabel() == "epoch"
    assert [line.get_color() for line in axes.lines] == list(figures.COLOURS[:3])
    assert len({line.get_marker() for line in axes.lines}) == 3


def test_curves_of_chosen_arms_have_their_names_and_their_order():
    frame = runs_of(one=[[0.5]], two=[[0.6]], three=[[0.7]])
    axes = bare_axes()
    figures.curves(axes, frame, "test_accuracy", {"three": "third", "one": "first"})
    assert [line.get_label() for line in axes.lines] == ["third", "first"]
    assert [line.get_ydata()[0] for line in axes.lines] == [0.7, 0.5]


def test_curves_of_one_epoch_show_their_spread_too():
    axes = bare_axes()
    figures.curves(axes, runs_of(one=[[0.5], [0.7], [0.9]]), "test_accuracy")
    (lines,) = (each for each in axes.collections if isinstance(each, LineCollection))
    np.testing.assert_allclose(lines.get_segments(), [[[1, 0.5], [1, 0.9]]])


@pytest.mark.parametrize("epochs", [1, 2, 3, 8, 40])
def test_epochs_are_written_as_whole_numbers(epochs):
    made, axes = figures.figure(3, 2)
    figures.curves(axes[0, 0], runs_of(one=[[0.5] * epochs]), "test_accuracy")
    made.draw_without_rendering()
    low, high = axes[0, 0].get_xlim()
    ticks = [tick for tick in axes[0, 0].get_xticks() if low <= tick <= high]
    assert ticks and all(tick == int(tick) for tick in ticks)


def test_curves_of_an_arm_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match=r"labels names \['tow'\].*\['one', 'two'\]"):
        figures.curves(
            bare_axes(), runs_of(one=[[1]], two=[[1]]), "test_accuracy", {"one": "", "tow": ""}
        )


def test_intervals_stand_from_the_top_with_their_ends_and_the_margin_as_a_band():
    axes = bare_axes()
    estimates = {"first": around(0.02, 0.01), "second": around(-0.03, 0.005)}
    figures.intervals(axes, estimates, margin=0.005, factor=100)
    zero, *drawn = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    rows = [(line.get_xdata(), line.get_ydata()) for line in drawn]
    expected = [([1, 3], [0, 0]), ([2], [0]), ([-3.5, -2.5], [1, 1]), ([-3], [1])]
    for (x, y), (expected_x, expected_y) in zip(rows, expected, strict=True):
        np.testing.assert_allclose(x, expected_x)
        np.testing.assert_allclose(y, expected_y)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first does not stand above the second"
    (band,) = axes.patches
    extent = band.get_extents().transformed(axes.transData.inverted())
    assert (extent.x0, extent.x1) == pytest.approx((-0.5, 0.5))


def test_without_a_margin_there_is_no_band_and_no_zero():
    axes = bare_axes()
    figures.intervals(axes, {"a mean": around(0.98, 0.01)})
    assert not axes.patches and len(axes.lines) == 2


def test_rows_of_a_group_have_one_colour_and_marker():
    axes = bare_axes()
    names = [f"row {number}" for number in range(10)]
    groups = ["a", "b", "a", "c", "d", "e", "f", "g", "h", "b"]
    figures.intervals(axes, {name: around(0, 1) for name in names}, groups=groups)
    points = axes.lines[1::2]
    looks = [(point.get_color(), point.get_marker()) for point in points]
    assert looks[0] == looks[2] and looks[1] == looks[9]
    assert len(set(looks[:8])) == len(set(groups[:8])) == 7
    with pytest.raises(ValueError):
        figures.intervals(bare_axes(), {"a": around(0, 1), "b": around(0, 1)}, groups=["a"])


def test_a_signed_image_is_symmetric_about_a_pale_zero():
    axes = bare_axes()
    figures.image(axes, [[-0.5, 0.0], [0.25, 2.0]], "kernel", signed=True)
    (drawn,) = axes.images
    assert drawn.get_clim() == (-2, 2)
    assert min(drawn.to_rgba([0.0])[0][:3]) > 0.95
    red, blue = drawn.to_rgba([2.0])[0], drawn.to_rgba([-2.0])[0]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0]
    assert axes.get_title(loc="left") == "kernel"
    assert not len(axes.get_xticks()) and not len(axes.get_yticks())


def test_an_unsigned_image_goes_from_black_at_zero_to_white_at_its_top():
    axes = bare_axes()
    figures.image(axes, [[0.2, 0.4]])
    (drawn,) = axes.images
    np.testing.assert_allclose(drawn.to_rgba([0.0, 0.4])[:, :3], [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("signed", [False, True])
def test_an_image_of_nothing_has_the_colour_of_zero(signed):
    row = figures.image_row([np.zeros((2, 2))] * 2, signed=signed)
    for axes in row.axes:
        np.testing.assert_allclose(
            axes.images[0].to_rgba([[0.0]])[0, 0, :3], 0.97 if signed else 0, atol=0.01
        )


def test_values_are_written_briefly_and_stand_in_their_cells():
    axes = bare_axes()
    pixels = np.array([[-1.0, 0.125], [-0.0, 1 / 3], [0.1 + 0.2 - 0.3, 1234.0], [-0.05678, 12.5]])
    figures.image(axes, pixels, signed=True, values=True)
    written = {(*text.get_position()[::-1],): text.get_text() for text in axes.texts}
    assert written == {
        (0, 0): "−1",
        (0, 1): "0.125",
        (1, 0): "0",
        (1, 1): "0.333",
        (2, 0): "0",
        (2, 1): "1234",
        (3, 0): "−0.0568",
        (3, 1): "12.5",
    }


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
    row = figures.image_row(pictures, signed=signed, values=True)
    for axes in row.axes:
        pixels = axes.images[0].get_array()
        for text in axes.texts:
            column, line = text.get_position()
            behind = axes.images[0].to_rgba(pixels[line : line + 1, column : column + 1])[0, 0, :3]
            assert contrast(text.get_color(), behind) >= 4.5, pixels[line, column]


@pytest.mark.parametrize("shape, size", [((3, 3), 1.3), ((4, 4), 1.7), ((2, 5), 2.2)])
def test_long_values_stay_within_their_cells(shape, size):
    pixels = np.full(shape, -0.0123)
    row = figures.image_row([pixels, pixels], ["a", "b"], signed=True, values=True, size=size)
    row.draw_without_rendering()
    for axes in row.axes:
        cell = axes.get_window_extent().width / shape[1]
        for text in axes.texts:
            assert text.get_window_extent().width <= cell
            assert text.get_fontsize() >= 5


def test_images_in_a_row_share_one_range():
    row = figures.image_row([np.eye(2), 4 * np.eye(2)], ["dim", "bright"])
    assert {axes.images[0].get_clim() for axes in row.axes} == {(0, 4)}
    assert [axes.get_title(loc="left") for axes in row.axes] == ["dim", "bright"]
    signed = figures.image_row([np.eye(2), -4 * np.eye(2)], signed=True)
    assert {axes.images[0].get_clim() for axes in signed.axes} == {(-4, 4)}


@pytest.mark.parametrize(
    "pixels, message",
    [
        (np.zeros((2, 2, 1)), r"shape \(2, 2, 1\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        ([[0.0, np.nan]], "1 values that are not finite"),
        ([[0.0, -1.0, 3.0]], "down to -1; allowed are values ≥ 0, unless signed=True"),
    ],
)
def test_pixels_that_cannot_be_drawn_are_refused(pixels, message):
    for draw in (lambda: figures.image(bare_axes(), pixels), lambda: figures.image_row([pixels])):
        with pytest.raises(ValueError, match=message):
            draw()


def test_titles_that_do_not_match_the_pictures_are_refused():
    for pictures, titles in (([np.eye(2)] * 2, ["one"]), ([], [])):
        with pytest.raises(ValueError, match=f"pictures has {len(pictures)} entries"):
            figures.image_row(pictures, titles)


def words_of(axes):
    """Return the names above and the sizes below the boxes of a walk, from the left."""
    above, below = (
        [text.get_text() for text in axes.texts if (text.get_position()[1] > 0) == up]
        for up in (True, False)
    )
    return list(zip(above, below, strict=True))


def test_a_walk_shows_every_layer_with_its_shape():
    walk = figures.shape_walk(
        {"net-single": models.net_single(), "net-stacked": models.net_stacked()}
    )
    single, stacked = (words_of(axes) for axes in walk.axes)
    assert single == [
        ("input", "28×28×1"),
        ("conv 3×3", "28×28×32"),
        ("pool", "14×14×32"),
        ("conv 3×3", "14×14×64"),
        ("pool", "7×7×64"),
        ("conv 3×3", "7×7×64"),
        ("pool", "3×3×64"),
        ("flatten", "576"),
        ("dense", "64"),
        ("dense", "10"),
    ]
    assert stacked == [
        ("input", "28×28×1"),
        ("conv 5×5", "28×28×32"),
        ("conv 5×5", "28×28×32"),
        ("pool", "14×14×32"),
        ("conv 3×3", "14×14×64"),
        ("conv 3×3", "14×14×64"),
        ("pool", "7×7×64"),
        ("flatten", "3136"),
        ("dense", "256"),
        ("dense", "10"),
    ]
    assert [axes.get_title(loc="left") for axes in walk.axes] == ["net-single", "net-stacked"]


def test_the_height_of_a_box_is_the_side_of_its_map():
    (axes,) = figures.shape_walk({"net": models.net_stacked()}).axes
    boxes = [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
    maps = [28, 28, 28, 14, 14, 14, 7]
    heights = [box.get_height() for box in boxes]
    np.testing.assert_allclose(heights[: len(maps)], np.divide(maps, 28))
    widths = [box.get_width() for box in boxes[: len(maps)]]
    assert widths[0] < widths[1] == widths[2] == widths[3] < widths[4]
    assert boxes[0].get_facecolor() != boxes[-1].get_facecolor()


def test_a_walk_names_poolings_that_keep_the_size_global_ones_and_vectors():
    net = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.MaxPooling2D(3, strides=1, padding="same"),
            layers.ReLU(),
            layers.Conv2D(8, 3, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10),
            layers.Softmax(),
            layers.Reshape((1, 10)),
        ]
    )
    (axes,) = figures.shape_walk({"net": net}).axes
    assert words_of(axes) == [
        ("input", "28×28×1"),
        ("pool", "28×28×1"),
        ("conv 3×3", "13×13×8"),
        ("global pool", "8"),
        ("dense", "10"),
        ("reshape", "1×10"),
    ]
    without_maps = keras.Sequential([keras.Input((784,)), layers.Dense(10)])
    (axes,) = figures.shape_walk({"net": without_maps}).axes
    assert words_of(axes) == [("input", "784"), ("dense", "10")]


def deep_net(blocks=(2, 2, 3)):
    """Build a net of as many stages as the deepest one of the course has."""
    net = keras.Sequential([keras.Input((128, 128, 3))])
    for convolutions in blocks:
        for _ in range(convolutions):
            net.add(layers.Conv2D(32, 3))
        net.add(layers.MaxPooling2D(2))
    net.add(layers.Flatten())
    net.add(layers.Dense(64))
    net.add(layers.Dense(1))
    return net


@pytest.mark.parametrize("build", [models.net_stacked, deep_net])
def test_no_label_of_a_walk_touches_another(build):
    walk = figures.shape_walk({"first": build(), "second": build()})
    walk.draw_without_rendering()
    frame = walk.bbox
    boxes = [text.get_window_extent() for axes in walk.axes for text in axes.texts]
    boxes += [axes.title.get_window_extent() for axes in walk.axes]
    boxes += [axes._left_title.get_window_extent() for axes in walk.axes]
    boxes = [box for box in boxes if box.width > 0]
    for box in boxes:
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 <= frame.y1
    assert [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])] == []


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
        for box in [*boxes, *grids]:
            assert made.bbox.x0 <= box.x0 and box.x1 <= made.bbox.x1
            assert made.bbox.y0 <= box.y0 and box.y1 <= made.bbox.y1
        assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert not [pair for pair in itertools.product(boxes, grids) if pair[0].overlaps(pair[1])]
        assert min(text.get_fontsize() for axes in drawn for text in axes.texts) >= 8


def test_input_and_output_of_arithmetic_have_other_shapes_and_other_colours():
    (axes,) = figures.convolution_arithmetic({"valid": ARITHMETIC["valid"]}).axes
    looks = {patch.get_label(): patch for patch in axes.patches}
    squares, circles = looks["input"].get_path(), looks["output"].get_path()
    assert Outline.CURVE4 in circles.codes and Outline.CURVE4 not in squares.codes
    assert looks["input"].get_facecolor()[:3] == to_rgb(figures.COLOURS[0])
    assert looks["output"].get_facecolor()[:3] == to_rgb(figures.COLOURS[1])


def test_arithmetic_that_cannot_be_drawn_is_refused():
    draw = figures.convolution_arithmetic
    with pytest.raises(ValueError, match="cases has 0 entries"):
        draw({})
    with pytest.raises(ValueError, match="columns=0"):
        draw({"valid": ARITHMETIC["valid"]}, 0)
    with pytest.raises(ValueError, match=r"case 'far': at=\(3, 0\); the output has 3"):
        draw({"far": {"size": 5, "kernel": 3, "at": (3, 0)}})
    with pytest.raises(ValueError, match="case 'cut': padding=3 crops more"):
        draw({"cut": {"size": 9, "kernel": 3, "padding": 3, "transposed": True}})


# Whether it can be read


def test_the_ink_of_a_png_can_be_read_on_white_and_on_the_page_in_both_themes():
    css = (ROOT / "chapters" / "_static" / "theme.css").read_text(encoding="utf-8")
    grounds = re.findall(r"--pst-color-background: (#[0-9a-f]{6});", css)
    assert len(grounds) == 2 and contrast(*grounds) > 15
    for ground in ("#ffffff", *grounds):
        assert contrast(figures.INK, ground) >= 3.9, ground


def test_the_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


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
    assert figures._STYLE["axes.prop_cycle"].by_key()["color"] == list(figures.COLOURS)

    def seen(colour):
        linear = np.asarray(SIGHT[sight]) @ np.array(to_rgb(colour)) ** 2.2
        return lab(np.clip(linear, 0, 1))

    for first, second in itertools.combinations(figures.COLOURS, 2):
        # A difference of 2.3 in CIELAB can just be noticed; these shall be told apart at a glance.
        assert np.linalg.norm(seen(first) - seen(second)) > 10, (first, second)


def lab(linear):
    """Turn linear sRGB into CIELAB for the white D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.asarray(matrix) @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_same_figure_gives_the_same_text_wherever_it_lies_in_memory():
    """Matplotlib names some clip paths by the address of an object."""

    def drawn():
        made, axes = figures.figure(2, 2)
        figures.image(axes[0, 0], np.eye(3), values=True)
        axes[0, 0].set_anchor("NW")
        return figures.to_svg(made, "a picture of three ones")

    kept = [drawn() for _ in range(30)]
    assert len(set(kept)) == 1
