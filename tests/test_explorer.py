"""The convolution explorer: its arithmetic against `utils` and Keras, and its page in a browser."""

import itertools
import re

import keras
import numpy as np
import pytest
import test_browser
import test_widgets
from keras import layers  # noqa: F401 (the layers that the page names are evaluated)

from utils import figures, widgets
from utils.theory import arithmetic, reference
from utils.widgets.explorer import LIMITS

chromium = test_browser.chromium
keys, number = test_widgets.keys, test_widgets.number

START = {"size": 5, "kernel": 3, "stride": 1, "padding": "valid", "dilation": 1}
START |= {"channels": 1, "filters": 1, "transposed": False}
WINDOW = ["size", "kernel", "stride", "padding", "dilation"]
PADDINGS = ["valid", "same", "full", *range(7)]
PLACE = ("filter", "row", "column")


def state_of(**arguments):
    """Return the settings and numbers with which the script of an explorer starts."""
    return test_widgets.state_of(test_widgets.shown(widgets.explorer, **arguments)[0])


def drawn_settings(rng):
    """Draw settings that a reader can choose."""
    numbers = {name: int(rng.integers(low, high + 1)) for name, (low, high) in LIMITS.items()}
    numbers["padding"] = PADDINGS[rng.integers(len(PADDINGS))]
    return numbers | {"transposed": bool(rng.integers(2))}


def drawn_state(rng, settings):
    """Draw numbers for settings, rounded so that JSON says the same."""
    c, f, size, kernel = (settings[name] for name in ("channels", "filters", "size", "kernel"))
    shapes = {"image": (c, size, size), "weights": (f, c, kernel, kernel), "bias": (f,)}
    drawn = {name: rng.normal(size=shape).round(3).tolist() for name, shape in shapes.items()}
    return {"settings": settings, **drawn}


def laid_out(settings):
    """Return the output size by `arithmetic`; None if there is none."""
    size = arithmetic.transposed_output_size if settings["transposed"] else arithmetic.output_size
    try:
        return size(*[settings[name] for name in WINDOW])
    except ValueError:
        return None


def convolved(state, settings=None):
    """Return the output by `reference`, channels first; of other settings if they are given."""
    settings = settings or state["settings"]
    c, f, size, kernel = (settings[name] for name in ("channels", "filters", "size", "kernel"))
    x = np.array(state["image"], float)[:c, :size, :size].transpose(1, 2, 0)[None]
    w = np.array(state["weights"], float)[:f, :c, :kernel, :kernel].transpose(2, 3, 1, 0)
    window = [np.array(state["bias"], float)[:f], *[settings[name] for name in WINDOW[2:]]]
    if settings["transposed"]:
        y = reference.conv2d_transpose(x, w.transpose(0, 1, 3, 2), *window)
    else:
        y = reference.conv2d(x, w, *window)
    return y[0].transpose(2, 0, 1)


# The module's arithmetic, in the browser


@pytest.fixture(scope="module")
def call(chromium):
    with test_widgets.evaluator(chromium, "explorer") as evaluate:
        yield evaluate


@pytest.fixture(scope="module")
def states(call):
    """Return 400 random states that have an output, each with what the module makes of it."""
    rng, drawn = np.random.default_rng(0), []
    while len(drawn) < 400:
        settings = drawn_settings(rng)
        if outputs := laid_out(settings):
            place = rng.integers([settings["filters"], outputs, outputs]).tolist()
            drawn.append((drawn_state(rng, settings), dict(zip(PLACE, place, strict=True))))
    answers = call(
        """given.map(([state, at]) => {
          const laid = module.plan(state.settings), factors = module.factors(state, laid, at);
          const outputs = module.convolve(state, laid), keras = module.keras(state.settings);
          return { factors, outputs, keras };
        })""",
        drawn,
    )
    return [(*state, answer) for state, answer in zip(drawn, answers, strict=True)]


def test_sizes_are_those_of_arithmetic_for_everything_that_a_reader_can_choose(call):
    ranges = {name: range(low, high + 1) for name, (low, high) in LIMITS.items()}
    ranges |= {"padding": PADDINGS, "transposed": [False, True]}
    names = [*WINDOW, "transposed"]
    choices = itertools.product(*[ranges[name] for name in names])
    everything = [dict(zip(names, values, strict=True)) for values in choices]
    assert len(everything) == 12_000
    plans = call("given.map((each) => module.plan(each))", everything)
    widths = call("given.map((each) => module.paddingWidths(each.size, each))", everything)
    impossible = 0
    for settings, plan, zeros in zip(everything, plans, widths, strict=True):
        window, outputs = [settings[name] for name in WINDOW], laid_out(settings)
        assert tuple(zeros) == arithmetic.padding_widths(*window), settings
        assert plan.get("outputs") == outputs, settings
        if outputs is None:
            assert plan["error"].startswith("No output: "), settings
            impossible += 1
            continue
        unused = 0 if settings["transposed"] else arithmetic.unused_border(*window)
        assert plan["unused"] == unused, settings
        # The formula that a reader sees is one that Python can check.
        left, right = plan["formula"].split(" = ")
        for sign, python in zip("⌊⌋/·−", ("", "", "//", "*", "-"), strict=True):
            left = left.replace(sign, python)
        assert eval(left) == int(right) == outputs, settings
    assert impossible > 1_000


def test_outputs_and_the_factors_of_a_cell_are_those_of_the_reference(states):
    for state, at, answer in states:
        settings, expected = state["settings"], convolved(state)
        np.testing.assert_allclose(answer["outputs"], expected, atol=1e-9, err_msg=settings)
        x, w = (
            np.array([[[cell[part] for cell in row] for row in rows] for rows in answer["factors"]])
            for part in "xw"
        )
        step = -1 if settings["transposed"] else 1
        kernel = np.array(state["weights"])[at["filter"], :, ::step, ::step]
        np.testing.assert_array_equal(w, kernel, err_msg=settings)
        total = (x * w).sum() + state["bias"][at["filter"]]
        assert total == pytest.approx(expected[tuple(at.values())], abs=1e-9), settings
        if not settings["transposed"]:
            widths = arithmetic.padding_widths(*[settings[name] for name in WINDOW])
            padded = np.pad(np.array(state["image"]), ((0, 0), widths, widths))
            top, left = (at[axis] * settings["stride"] for axis in ("row", "column"))
            d, k = settings["dilation"], settings["kernel"]
            window = padded[:, top::d, left::d][:, :k, :k]
            np.testing.assert_array_equal(x, window, err_msg=settings)


def test_the_layers_that_are_named_do_the_same_in_keras(states):
    """Also where Keras refuses: it does, and nowhere else."""
    refused = 0
    for state, _, answer in states[:120]:
        settings, named = state["settings"], answer["keras"]
        text = f"keras.Sequential([{', '.join('layers.' + layer for layer in named['layers'])}])"
        if named["refused"]:
            refused += 1
            with pytest.raises(ValueError, match="dilation_rate > 1"):
                eval(text)
            continue
        if settings["transposed"] and settings["dilation"] > 1:
            continue  # TensorFlow has no dilated transposed convolution on a CPU.
        x = np.array(state["image"], "float32").transpose(1, 2, 0)[None]
        order = (2, 3, 0, 1) if settings["transposed"] else (2, 3, 1, 0)
        model = eval(text)
        model.build(x.shape)
        model.set_weights([np.array(state["weights"]).transpose(order), np.array(state["bias"])])
        y = keras.ops.convert_to_numpy(model(x))[0].transpose(2, 0, 1)
        np.testing.assert_allclose(y, answer["outputs"], rtol=1e-4, atol=1e-4, err_msg=text)
    assert 20 < refused < 80


TWO = [[0, 1], [1, -2]]
IMAGE = [[1, 2, 0], [3, -1, 0.5], [0, 0, 0]]
SENTENCES = [
    ((0, 0, 0), [IMAGE], [[TWO]], 0, "row 1, column 1: 1·0 + 2·1 + 3·1 + (−1)·(−2) + bias 0 = 7"),
    ((0, 0, 1), [IMAGE], [[TWO]], -1.5,
     "row 1, column 2: 2·0 + 0·1 + (−1)·1 + 0.5·(−2) + bias −1.5 = −3.5"),
    # Nine products are read out, more are not.
    ((0, 0, 0), np.ones((1, 3, 3)), np.ones((1, 1, 3, 3)), 0,
     f"row 1, column 1: {' + '.join(['1·1'] * 9)} + bias 0 = 9"),
    ((0, 0, 0), np.ones((1, 4, 4)), np.ones((1, 1, 4, 4)), 0,
     "row 1, column 1: 1·1 + 1·1 + 1·1 + … + 1·1 + bias 0 = 16"),
    ((1, 1, 0), [IMAGE] * 2, [[TWO] * 2, [TWO, [[0, 0], [0, 1]]]], 0,
     "2, row 2, column 1: (−1) (channel 1) + 0 (channel 2) + bias 0 = −1"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "image", "weights", "bias", "words"), SENTENCES)
def test_an_output_cell_is_said_in_words(call, at, image, weights, bias, words):
    image, weights = np.array(image), np.array(weights)
    filters, channels, kernel, _ = weights.shape
    sizes = {"filters": filters, "channels": channels, "kernel": kernel, "size": len(image[0])}
    state = {"image": image.tolist(), "weights": weights.tolist(), "bias": [bias] * filters}
    given = {"state": state | {"settings": START | sizes}, "at": dict(zip(PLACE, at, strict=True))}
    said = call("module.sentence(given.state, module.plan(given.state.settings), given.at)", given)
    assert said == f"output {words}"


def test_numbers_are_written_as_in_the_figures(call):
    values = [0, -0.0, -1e-12, 3, -2, 1 / 3, -0.125, 12.345, 123456, 0.1 + 0.2, -999, 2.5e6, 1e-3]
    expected = ["0", "0", "0", "3", "−2", "0.333", "−0.125", "12.3", "123456", "0.3", "−999"]
    assert call("given.map(module.written)", values) == [*expected, "2500000", "0.001"]


# What is stored


def test_own_numbers_come_first_and_keep_their_places():
    image, weights = np.arange(18).reshape(3, 3, 2), np.arange(24).reshape(2, 2, 2, 3) / 4
    sizes = {"size": 3, "kernel": 2, "channels": 2, "filters": 3}
    given = state_of(**sizes, image=image, weights=weights, bias=[1, 2, 3])
    np.testing.assert_array_equal(np.array(given["image"])[:2, :3, :3], image.transpose(2, 0, 1))
    got = np.array(given["weights"])[:, :2, :2, :2]
    np.testing.assert_array_equal(got, weights.transpose(3, 2, 0, 1))
    assert given["bias"] == [1, 2, 3]
    # There are numbers for the largest input and kernel that a reader can choose.
    assert np.shape(given["image"]) == (3, 10, 10) and np.shape(given["weights"]) == (3, 3, 5, 5)
    # Axes of length 1 may be left out; whole numbers may be NumPy's.
    flat = state_of(size=np.int64(3), padding=np.int8(1), image=image[..., 0], weights=np.eye(3))
    np.testing.assert_array_equal(np.array(flat["image"])[0, :3, :3], image[..., 0])
    assert flat["settings"] == START | {"size": 3, "padding": 1}
    assert flat["limits"] == {name: list(limits) for name, limits in LIMITS.items()}


@pytest.mark.parametrize(
    "arguments",
    [
        {"padding": "same", "channels": 2, "filters": 3, "bias": 2.5},
        {"size": 6, "stride": 2, "padding": 2, "dilation": 2},
        {"size": 3, "stride": 2, "transposed": True},
        {"size": 4, "padding": "same", "stride": 3, "kernel": 2, "transposed": True, "filters": 2},
        # Crops more than the kernel adds: input cells lie outside of all windows.
        {"size": 6, "kernel": 2, "padding": 2, "transposed": True},
    ],
)
def test_the_static_picture_shows_what_the_script_would(call, monkeypatch, arguments):
    drawn, plain = {}, figures.image

    def image(axes, pixels, title, **settings):
        drawn[title] = np.array(pixels)
        plain(axes, pixels, title, **settings)

    monkeypatch.setattr(figures, "image", image)
    markup, words = test_widgets.shown(widgets.explorer, **arguments)
    state = test_widgets.state_of(markup)
    settings = state["settings"]
    laid, outputs = call(
        "[module.plan(given.settings), module.convolve(given, module.plan(given.settings))]", state
    )
    n, size, kernel = laid["outputs"], settings["size"], settings["kernel"]
    assert words.endswith(f"is {n}×{n}, and its first value is {outputs[0][0][0]:.4g}.]")
    places = np.array(laid["real"]) - min(0, laid["real"][0])
    for c in range(settings["channels"]):
        of = f" {c + 1}," if settings["channels"] > 1 else ""
        pixels = drawn.pop(f"Input{of} {size}×{size}")
        given = np.array(state["image"])[c, :size, :size]
        np.testing.assert_array_equal(pixels[np.ix_(places, places)], given)
        assert np.count_nonzero(pixels) == np.count_nonzero(given)
        assert len(pixels) == max(laid["wide"], laid["real"][-1] + 1) - min(0, laid["real"][0])
        given = np.array(state["weights"])[0, c, :kernel, :kernel]
        np.testing.assert_array_equal(drawn.pop(f"Kernel{of} {kernel}×{kernel}"), given)
    for f, values in enumerate(outputs):
        of = f" {f + 1}," if settings["filters"] > 1 else ""
        np.testing.assert_allclose(drawn.pop(f"Output{of} {n}×{n}"), values)
    assert drawn == {}


# In a browser


@pytest.fixture
def open_page(chromium, tmp_path):
    """Open an explorer with some arguments."""

    def start(arguments, **settings):
        markup, _ = test_widgets.shown(widgets.explorer, **arguments)
        return test_widgets.opened(chromium, tmp_path, markup, **settings)

    return start


def shown_values(tab, kind):
    """Return the numbers of the input, kernel or output cells, in the order of the page."""
    labels = tab.locator(f".xp-{kind}").evaluate_all("all => all.map((e) => e.ariaLabel)")
    return [number(label.split(": ")[1]) for label in labels]


def text(tab, part):
    return tab.locator(f".xp-{part}").inner_text()


def box(tab, selector, number=0):
    return tab.locator(selector).nth(number).bounding_box()


def focus(tab):
    return tab.evaluate("document.activeElement.getAttribute('aria-label')")


def choose(tab, **changed):
    """Set the controls as a reader would, and return what is then said of them."""
    settings = START | changed
    for name in ("size", "kernel", "stride", "dilation", "channels", "filters"):
        tab.locator(f"[name={name}]").fill(str(settings[name]))
    numeric = isinstance(settings["padding"], int)
    tab.locator("[name=kind]").select_option("number" if numeric else settings["padding"])
    if numeric:
        tab.locator("[name=padding]").fill(str(settings["padding"]))
    tab.locator("[name=transposed]").set_checked(settings["transposed"])
    return text(tab, "note")


def test_a_cell_that_is_pointed_at_shows_its_windows_kernels_products_and_sum(open_page):
    arguments = {"channels": 2, "filters": 3, "bias": [1, 2, 3]}
    state = state_of(**arguments)
    with open_page(arguments, viewport={"width": 1000, "height": 1200}) as tab:
        captions = tab.locator(".xp-caption b").all_inner_texts()
        channels = [[f"Input {c}: 5×5", f"Kernel {c}: 3×3", f"Products {c}"] for c in (1, 2)]
        assert captions == sum(channels, []) + [f"Output {f}: 3×3" for f in (1, 2, 3)]
        strokes = "e => getComputedStyle(e).stroke"
        edges = [tab.locator(f".xp-{k} rect").first.evaluate(strokes) for k in ("input", "output")]
        assert edges == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"], "those of the figures"
        for f, (row, column) in enumerate([(1, 2), (2, 0), (2, 2)]):
            tab.locator(f"[data-part=output-{f}] .xp-output").nth(3 * row + column).hover()
            frame = tab.locator(".xp-window rect").nth(1).bounding_box()
            first, last = (box(tab, ".xp-input", 5 * (row + o) + column + o) for o in (0, 2))
            for side, size in (("x", "width"), ("y", "height")):
                assert abs(frame[side] - first[side]) < 6
                assert abs(frame[side] + frame[size] - last[side] - last[size]) < 6
            kernels = np.array(state["weights"])[f, :2, :3, :3]
            products = np.array(state["image"])[:2, row : row + 3, column : column + 3] * kernels
            assert shown_values(tab, "kernel") == kernels.ravel().tolist()
            told = tab.locator(".xp-product").all_text_contents()
            assert [number(each.split("= ")[1]) for each in told] == products.ravel().tolist()
            for c, total in enumerate(products.sum(axis=(1, 2))):
                caption = tab.locator(f"[data-part=product-{c}] .xp-caption").inner_text()
                assert caption.split("\n")[1] == f"sum {total}".replace("-", "−")
            words = f"output {f + 1}, row {row + 1}, column {column + 1}: "
            end = f" + bias {f + 1} = {products.sum() + f + 1}".replace("-", "−")
            assert text(tab, "sum").startswith(words) and text(tab, "sum").endswith(end)
            (chosen,) = tab.locator(".xp-output[aria-selected=true]").all()
            assert chosen.get_attribute("aria-label").startswith(words[:-2])
            assert tab.get_by_label(f"Bias {f + 1}", exact=True).input_value() == str(f + 1)
        assert tab.locator(".xp-sum").get_attribute("role") == "status", "it is read out"
        # The kernel that is changed is that of the output in question.
        tab.locator("[data-part=kernel-1] .xp-kernel").first.click()
        tab.keyboard.type("9")
        keys(tab, "Enter")
        state["weights"][2][1][0][0] = 9
        np.testing.assert_allclose(shown_values(tab, "output"), convolved(state).ravel())


def test_arrow_keys_move_over_the_cells(open_page):
    with open_page({}) as tab:
        tab.locator(".xp-output").first.focus()
        moves = {
            "ArrowRight": "1, column 2", "ArrowDown": "2, column 2", "End": "2, column 3",
            "ArrowUp": "1, column 3", "Home": "1, column 1", "ArrowLeft": "1, column 1",
        }  # fmt: skip
        for key, place in moves.items():
            tab.keyboard.press(key)
            assert text(tab, "sum").startswith(f"output row {place}: "), key
            assert focus(tab).startswith(f"output row {place}: "), key
        # Tab leads back to where a reader was.
        tab.locator(".xp-kernel").first.focus()
        keys(tab, "ArrowDown", "Tab", "Shift+Tab")
        assert focus(tab).startswith("kernel row 2, column 1: ")


def test_numbers_are_changed_by_keyboard_and_by_mouse(open_page):
    arguments = {"size": 3, "kernel": 2}
    state = state_of(**arguments)
    with open_page(arguments) as tab:
        cells, editor = tab.locator(".xp-kernel"), tab.locator(".xp-editor")
        bias = tab.get_by_label("Bias", exact=True)

        def enter(typed, key="Enter"):
            tab.keyboard.type(typed)
            keys(tab, key)

        def check():
            expected = convolved(state).ravel()
            np.testing.assert_allclose(shown_values(tab, "output"), expected, atol=5e-3)
            inputs = np.array(state["image"])[0, :3, :3].ravel()
            assert shown_values(tab, "input") == inputs.tolist()

        tab.locator(".xp-input").first.focus()
        keys(tab, "ArrowRight")
        for typed, value in (("-7", -7), ("2.5", 2.5), ("0,25", 0.25)):
            enter(typed)
            state["image"][0][0][1] = value
            check()
            assert focus(tab).startswith("input row 1, column 2: "), "the focus stays on the cell"
        # Escape leaves the number as it was.
        keys(tab, "Enter")
        enter("99", "Escape")
        check()
        # With the mouse, from one cell to the next: leaving a cell keeps what was typed there.
        cells.nth(0).click()
        tab.keyboard.type("4")
        cells.nth(3).click()
        state["weights"][0][0][0][0] = 4
        check()
        assert editor.get_attribute("aria-label") == "kernel row 2, column 2"
        keys(tab, "Escape")
        # What is no number is said in words, and the old one stays.
        for typed in ("x2", "1e9", ""):
            cells.nth(3).click()
            editor.fill(typed)
            keys(tab, "Enter")
            assert text(tab, "note") == (
                f"“{typed}” is no number from −999 to 999; kernel row 2, column 2 stays −1."
            )
            check()
        for typed, note in (("0.5", ""), ("", "Bias must be a number from −999 to 999.")):
            bias.fill(typed)
            state["bias"][0] = 0.5
            check()
            assert text(tab, "note") == note
        tab.get_by_role("button", name="Reset").click()
        state = state_of(**arguments)
        check()
        assert bias.input_value() == "0"


def test_the_controls_lead_to_the_outputs_of_the_reference(open_page):
    rng, state, seen = np.random.default_rng(3), state_of(), 0
    with open_page({}) as tab:
        while seen < 8:
            settings = drawn_settings(rng)
            outputs = laid_out(settings)
            if outputs and outputs > 12:
                continue
            note = choose(tab, **settings)
            if outputs is None:
                assert note.startswith("No output: "), settings
                continue
            seen += 1
            expected, values = convolved(state, settings).ravel(), shown_values(tab, "output")
            np.testing.assert_allclose(values, expected, rtol=5e-3, err_msg=str(settings))
            assert f" = {outputs}. In Keras: " in text(tab, "facts")
            # The last output cell can be reached, and its window lies inside the picture.
            tab.locator(".xp-output").last.click()
            frame, whole = box(tab, ".xp-window rect"), box(tab, "[data-part=input-0] svg")
            for side, size in (("x", "width"), ("y", "height")):
                assert frame[side] + frame[size] <= whole[side] + whole[size] + 1


def test_what_cannot_be_is_said_in_words(open_page):
    invalid = "[...document.querySelectorAll('[aria-invalid=true]')].map(e => e.name)"
    visible = "all => all.filter((e) => e.checkVisibility()).length"
    with open_page({}) as tab:
        parts = tab.locator(":is(.xp-grids, .xp-steps, .xp-sum, .xp-facts)")
        assert choose(tab) == "" and parts.evaluate_all(visible) == 4
        for changed, note in (
            ({"size": 2}, "the kernel reaches over 3 cells, and the input has only 2."),
            (
                {"size": 2, "dilation": 3, "padding": 2},
                "the kernel reaches over 7 cells, and the input with its padding has only 6.",
            ),
            (
                {"size": 2, "padding": 2, "transposed": True},
                "the kernel spreads the input over 4 cells, and the padding crops 4.",
            ),
        ):
            assert choose(tab, **changed) == f"No output: {note}"
            assert tab.locator("[name=size]").input_value() == "2", "it is not mended"
            assert parts.evaluate_all(visible) == 0
        assert choose(tab, stride=0, kernel="", padding=7) == (
            "Kernel size must be a whole number from 1 to 5. Stride must be a whole number from 1 "
            "to 4. Padding width must be a whole number from 0 to 6."
        )
        assert tab.evaluate(invalid) == ["kernel", "stride", "padding"]
        assert choose(tab, size=2.5) == "Input size must be a whole number from 1 to 10."
        refused = "Keras refuses a stride and a dilation above 1 together: here stands what the"
        assert choose(tab, size=7, stride=2, dilation=2) == f"{refused} definition gives."
        assert parts.evaluate_all(visible) == 4 and tab.evaluate(invalid) == []
        assert '"same" padding; any other' in choose(tab, padding="full")
        assert text(tab, "facts") == (
            "Output size ⌊(5 + 4 − 3) / 1⌋ + 1 = 7. In Keras: ZeroPadding2D(2), then Conv2D(1, 3)."
        )


def test_what_no_window_reads_is_crossed_out_and_said(open_page):
    with open_page({}) as tab:

        def crossed():
            path = tab.locator(".xp-unused").first.get_attribute("d")
            return {(int(x) // 30, int(y) // 30) for x, y in re.findall(r"M(\d+) (\d+)", path)}

        assert crossed() == set()
        assert choose(tab, size=6, stride=2) == "The last row and column are in no window."
        assert crossed() == {(x, y) for x in range(6) for y in range(6) if 5 in (x, y)}
        # Between two windows as well.
        assert choose(tab, size=7, stride=4) == ""
        assert crossed() == {(x, y) for x in range(7) for y in range(7) if 3 in (x, y)}
        last = choose(tab, size=9, kernel=2, stride=4)
        assert last == "The last 3 rows and columns are in no window."


def test_padding_and_spreading_are_drawn_as_zeros(open_page):
    with open_page({"padding": "same"}) as tab:
        assert tab.locator(".xp-zero").count() == 7 * 7 - 5 * 5
        start, frame = box(tab, ".xp-input"), box(tab, ".xp-window rect")
        # The first window begins one cell before the input.
        assert frame["x"] < start["x"] - 0.9 * start["width"]
        choose(tab, size=3, stride=2, transposed=True)
        assert tab.locator(".xp-zero").count() == 9 * 9 - 3 * 3
        first, second = box(tab, ".xp-input", 0), box(tab, ".xp-input", 1)
        assert second["x"] - first["x"] > 1.8 * first["width"]
        assert "turned" in tab.locator("[data-part=kernel-0] .xp-caption").inner_text()


def test_a_finger_on_a_phone(open_page):
    phone = {"has_touch": True, "is_mobile": True, "viewport": {"width": 360, "height": 740}}
    with open_page({"padding": "same"}, **phone) as tab:
        tab.locator(".xp-output").nth(7).tap()
        assert text(tab, "sum").startswith("output row 2, column 3: ")
        tab.locator(".xp-input").nth(3).tap()
        assert tab.locator(".xp-editor").is_visible()
        tab.keyboard.type("8")
        tab.locator(".xp-output").nth(0).tap()
        assert shown_values(tab, "input")[3] == 8
        assert text(tab, "sum").startswith("output row 1, column 1: ")
        for kind in ("input", "kernel", "output"):
            assert box(tab, f".xp-{kind} rect")["width"] > 20


def test_the_largest_explorer_fits_a_phone_and_can_be_read(open_page):
    largest = {name: high for name, (_, high) in LIMITS.items()} | {"padding": "full", "stride": 1}
    with open_page(largest, viewport={"width": 360, "height": 740}) as tab:
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= 360
        # Its cells do not shrink below what can be read and hit: they scroll in their own box.
        assert box(tab, ".xp-input rect")["width"] > 18
        for theme in ("light", "dark"):
            tab.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
            assert tab.evaluate(test_browser.CONTRAST) == [], theme
            colours = tab.locator(".xp-cell").evaluate_all(
                """(all) => all.map((cell) => ["rect", "text"].map((part) =>
                  getComputedStyle(cell.querySelector(part)).fill.match(/[\\d.]+/g).map(Number)))"""
            )
            share = np.array(colours) / 255
            linear = np.where(share <= 0.04, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
            light = np.sort(linear @ [0.2126, 0.7152, 0.0722], axis=1)
            assert len(light) > 500 and ((light[:, 1] + 0.05) / (light[:, 0] + 0.05)).min() > 4.5


def test_signs_have_their_colours(open_page):
    with open_page({"image": np.tile([-2, -1, 0, 1, 2], (5, 1))}) as tab:
        fills = tab.locator(".xp-input rect").evaluate_all(
            "all => all.map((e) => getComputedStyle(e).fill.match(/\\d+/g).map(Number))"
        )
        (r2, _, b2), (r1, _, b1), zero, (r3, _, b3), (r4, _, b4) = fills[:5]
        assert b2 - r2 > b1 - r1 > 0 and r4 - b4 > r3 - b3 > 0
        assert zero == [247, 247, 247]
