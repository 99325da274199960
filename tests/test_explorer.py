"""The convolution explorer: its arithmetic against `utils` and Keras, and its page in a browser."""

import html
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest
import test_browser
import test_players
from keras import layers  # noqa: F401 (the layers that the page names are evaluated)

from utils.theory import arithmetic
from utils.theory import reference
from utils.widgets import explorer
from utils.widgets import slider as players

chromium = test_browser.chromium

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "utils" / "explorer.js").read_text("utf-8")
START = {
    "size": 5,
    "kernel": 3,
    "stride": 1,
    "padding": "valid",
    "dilation": 1,
    "channels": 1,
    "filters": 1,
    "transposed": False,
}
PLACE = ("filter", "row", "column")
PADDINGS = ["valid", "same", "full", *range(7)]


def stored(**arguments):
    """Return what `players.explorer` displays."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "display", lambda bundle, raw: shown.append(bundle))
        players.explorer(**arguments)
    (bundle,) = shown
    return bundle


def settings_of(bundle):
    """Return the settings and numbers with which the script starts."""
    return json.loads(html.unescape(re.search(r'data-settings="([^"]*)"', bundle["text/html"])[1]))


def drawn_settings(rng):
    """Draw settings that a reader can choose."""
    numbers = {
        name: int(rng.integers(low, high + 1)) for name, (low, high) in explorer.LIMITS.items()
    }
    numbers["padding"] = PADDINGS[rng.integers(len(PADDINGS))]
    return numbers | {"transposed": bool(rng.integers(2))}


def drawn_state(rng, settings):
    """Draw numbers for settings, rounded so that JSON says the same."""
    c, f, size, kernel = (settings[name] for name in ("channels", "filters", "size", "kernel"))
    shapes = {"image": (c, size, size), "weights": (f, c, kernel, kernel), "bias": (f,)}
    drawn = {name: rng.normal(size=shape).round(3).tolist() for name, shape in shapes.items()}
    return {"settings": settings, **drawn}


def laid_out(settings):
    """Return the output size by `utils.arithmetic`; None if there is none."""
    window = [settings[name] for name in ("size", "kernel", "stride", "padding", "dilation")]
    size = arithmetic.transposed_output_size if settings["transposed"] else arithmetic.output_size
    try:
        return size(*window)
    except ValueError:
        return None


def convolved(state):
    """Return the output by `utils.reference`, output channels first."""
    settings = state["settings"]
    x = np.array(state["image"], float).transpose(1, 2, 0)[None]
    w = np.array(state["weights"], float).transpose(2, 3, 1, 0)
    window = [settings[name] for name in ("stride", "padding", "dilation")]
    bias = np.array(state["bias"], float)
    if settings["transposed"]:
        y = reference.conv2d_transpose(x, w.transpose(0, 1, 3, 2), bias, *window)
    else:
        y = reference.conv2d(x, w, bias, *window)
    return y[0].transpose(2, 0, 1)


# The module's arithmetic, in the browser


@pytest.fixture(scope="module")
def call(chromium):
    """Evaluate an expression in which `xp` is the module and `given` an argument."""
    with test_browser.Watch(chromium) as watch:
        watch.tab.evaluate(
            """async (source) => {
              const blob = new Blob([source], { type: "text/javascript" });
              window.xp = await import(URL.createObjectURL(blob));
            }""",
            SOURCE,
        )

        def evaluate(expression, given):
            # As text: playwright takes apart thousands of objects one by one, and takes its time.
            function = f"(given) => JSON.stringify({expression})"
            return json.loads(
                watch.tab.evaluate(f"(x) => ({function})(JSON.parse(x))", json.dumps(given))
            )

        yield evaluate
        assert watch.complaints == []


@pytest.fixture(scope="module")
def states(call):
    """Return 400 random states that have an output, each with the module's plan and output."""
    rng, found = np.random.default_rng(0), []
    while len(found) < 400:
        settings = drawn_settings(rng)
        if laid_out(settings):
            found.append(drawn_state(rng, settings))
    answers = call(
        """given.map((state) => {
          const laid = xp.plan(state.settings);
          return { laid, outputs: xp.convolve(state, laid), keras: xp.keras(state.settings) };
        })""",
        found,
    )
    return list(zip(found, answers, strict=True))


def test_sizes_are_those_of_arithmetic_for_everything_that_a_reader_can_choose(call):
    names = ["size", "kernel", "stride", "padding", "dilation"]
    ranges = {name: range(low, high + 1) for name, (low, high) in explorer.LIMITS.items()}
    ranges["padding"] = PADDINGS
    everything = [
        dict(zip([*names, "transposed"], values, strict=True))
        for values in itertools.product(*[ranges[name] for name in names], [False, True])
    ]
    assert len(everything) == 12_000
    plans = call("given.map((each) => xp.plan(each))", everything)
    widths = call("given.map((each) => xp.paddingWidths(each.size, each))", everything)
    impossible = 0
    for settings, plan, zeros in zip(everything, plans, widths, strict=True):
        window = [settings[name] for name in names]
        assert tuple(zeros) == arithmetic.padding_widths(*window), settings
        outputs = laid_out(settings)
        assert plan.get("outputs") == outputs, settings
        if outputs is None:
            assert plan["error"].startswith("No output: "), settings
            impossible += 1
            continue
        unused = 0 if settings["transposed"] else arithmetic.unused_border(*window)
        assert plan["unused"] == unused, settings
        # The formula that a reader sees is one that Python can check.
        left, right = plan["formula"].split(" = ")
        python = left.replace("⌊(", "(").replace("⌋", "").replace("/", "//")
        assert eval(python.replace("·", "*").replace("−", "-")) == int(right) == outputs, settings
    assert impossible > 1_000


def test_outputs_are_those_of_the_reference(states):
    for state, answer in states:
        np.testing.assert_allclose(
            answer["outputs"], convolved(state), rtol=1e-9, atol=1e-9, err_msg=state["settings"]
        )
    assert sum(state["settings"]["transposed"] for state, _ in states) > 100


def test_the_factors_of_an_output_cell_are_its_window_and_the_kernel(states, call):
    rng = np.random.default_rng(1)
    asked = []
    for state, answer in states[:150]:
        n = answer["laid"]["outputs"]
        place = rng.integers([state["settings"]["filters"], n, n])
        asked.append((state, dict(zip(PLACE, place.tolist(), strict=True))))
    given = call(
        "given.map(([state, at]) => xp.factors(state, xp.plan(state.settings), at))", asked
    )
    for (state, at), channels in zip(asked, given, strict=True):
        settings, kernel = state["settings"], state["weights"][at["filter"]]
        x, w = (np.array([[[f[k] for f in row] for row in c] for c in channels]) for k in "xw")
        turned = np.array(kernel)
        if settings["transposed"]:
            turned = turned[:, ::-1, ::-1]
        np.testing.assert_array_equal(w, turned, err_msg=settings)
        total = (x * w).sum() + state["bias"][at["filter"]]
        expected = convolved(state)[at["filter"], at["row"], at["column"]]
        np.testing.assert_allclose(total, expected, atol=1e-9, err_msg=settings)
        if not settings["transposed"]:
            widths = arithmetic.padding_widths(*[settings[n] for n in list(START)[:5]])
            padded = np.pad(np.array(state["image"]), ((0, 0), widths, widths))
            top, left = at["row"] * settings["stride"], at["column"] * settings["stride"]
            reach = settings["dilation"] * (settings["kernel"] - 1) + 1
            window = padded[:, top : top + reach, left : left + reach]
            d = settings["dilation"]
            np.testing.assert_array_equal(x, window[:, ::d, ::d], err_msg=settings)


def test_the_layers_that_are_named_do_the_same_in_keras(states):
    """Also where Keras refuses: it does, and nowhere else."""
    refused = 0
    for state, answer in states[:120]:
        settings, named = state["settings"], answer["keras"]
        x = np.array(state["image"], "float32").transpose(1, 2, 0)[None]
        w = np.array(state["weights"], "float32").transpose(2, 3, 1, 0)
        kernel = w.transpose(0, 1, 3, 2) if settings["transposed"] else w
        text = f"keras.Sequential([{', '.join('layers.' + layer for layer in named['layers'])}])"
        if named["refused"]:
            refused += 1
            with pytest.raises(ValueError, match="dilation_rate > 1"):
                eval(text)
            continue
        if settings["transposed"] and settings["dilation"] > 1:
            continue  # TensorFlow has no dilated transposed convolution on a CPU.
        model = eval(text)
        model.build(x.shape)
        model.set_weights([kernel, np.array(state["bias"], "float32")])
        y = keras.ops.convert_to_numpy(model(x))[0].transpose(2, 0, 1)
        np.testing.assert_allclose(y, answer["outputs"], rtol=1e-4, atol=1e-4, err_msg=text)
    assert 20 < refused < 80


def sentence(call, at, **state):
    shape = np.array(state["weights"]).shape
    settings = START | {"filters": shape[0], "channels": shape[1], "kernel": shape[2]}
    settings["size"] = len(state["image"][0])
    given = {"bias": [0.0] * shape[0]} | state | {"settings": settings}
    return call(
        "xp.sentence(given.state, xp.plan(given.state.settings), given.at)",
        {"state": given, "at": dict(zip(PLACE, at, strict=True))},
    )


def test_an_output_cell_is_said_in_words(call):
    image = [[[1, 2, 0], [3, -1, 0.5], [0, 0, 0]]]
    two = [[[[0, 1], [1, -2]]]]
    assert sentence(call, (0, 0, 0), image=image, weights=two) == (
        "output row 1, column 1: 1·0 + 2·1 + 3·1 + (−1)·(−2) + bias 0 = 7"
    )
    assert sentence(call, (0, 0, 1), image=image, weights=two, bias=[-1.5]) == (
        "output row 1, column 2: 2·0 + 0·1 + (−1)·1 + 0.5·(−2) + bias −1.5 = −3.5"
    )
    # Nine products are read out, more are not.
    nine = np.ones((1, 1, 3, 3)).tolist()
    assert sentence(call, (0, 0, 0), image=image, weights=nine).count("·") == 9
    long = sentence(
        call, (0, 0, 0), image=np.ones((1, 4, 4)).tolist(), weights=np.ones((1, 1, 4, 4)).tolist()
    )
    assert long == "output row 1, column 1: 1·1 + 1·1 + 1·1 + … + 1·1 + bias 0 = 16"
    channels = sentence(
        call, (1, 1, 0), image=image * 2, weights=[[two[0][0]] * 2, [two[0][0], [[0, 0], [0, 1]]]]
    )
    assert channels == (
        "output 2, row 2, column 1: (−1) (channel 1) + 0 (channel 2) + bias 0 = −1"
    )  # fmt: skip


def test_numbers_are_written_as_in_the_figures(call):
    values = [0, -0.0, -1e-12, 3, -2, 1 / 3, -0.125, 12.345, 123456, 0.1 + 0.2, -999, 2.5e6, 1e-3]
    expected = ["0", "0", "0", "3", "−2", "0.333", "−0.125", "12.3", "123456", "0.3", "−999"]
    assert call("given.map(xp.written)", values) == [*expected, "2500000", "0.001"]


def test_colours_are_those_of_the_figures(call):
    shares = np.linspace(-1, 1, 101)
    theirs = mpl.colormaps["RdBu_r"]((shares + 1) / 2)[:, :3] * 255
    # matplotlib's map has 256 steps.
    np.testing.assert_allclose(call("given.map(xp.shade)", shares.tolist()), theirs, atol=3.5)


# What is stored


def test_the_module_is_small_and_asks_nothing_of_the_network():
    assert len(SOURCE.encode()) < 25_000
    # Either would end the script element that it is written into.
    assert "</script" not in SOURCE and "<!--" not in SOURCE
    shown = stored()["text/html"]
    assert SOURCE in shown
    addresses = set(re.findall(r"https?://[^\s\"'`]+", shown))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "import " not in SOURCE.replace("important", "") and "url(" not in SOURCE


def test_an_explorer_is_stored_as_html_and_in_words():
    bundle = stored(size=6, stride=2, padding="same", bias=2.5)
    assert set(bundle) == {"text/html", "text/plain"}
    given = settings_of(bundle)
    expected = START | {"size": 6, "stride": 2, "padding": "same"}
    assert given["settings"] == expected
    assert given["limits"] == {name: list(limits) for name, limits in explorer.LIMITS.items()}
    state = given | {
        "image": np.array(given["image"])[:1, :6, :6],
        "weights": np.array(given["weights"])[:1, :1, :3, :3],
        "bias": given["bias"][:1],
    }
    first = convolved(state)[0, 0, 0]
    assert bundle["text/plain"] == (
        "[explorer: Convolution of a 6×6 input with a 3×3 kernel, stride 2, padding same, "
        f"dilation 1: the output is 3×3, and its first value is {first:.4g}.]"
    )
    assert f'aria-label="{bundle["text/plain"][11:-1]}"' in bundle["text/html"]


def test_the_same_explorer_gives_the_same_bytes_in_this_process_and_in_another():
    settings = START | {"size": 4, "channels": 2}
    code = (
        "import sys; sys.stdout.reconfigure(encoding='utf-8'); from utils import explorer; "
        f"print(explorer.explorer_html({settings}))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert other.stdout.strip() == repr(explorer.explorer_html(settings)), other.stderr
    assert explorer.explorer_html(settings)[0] == stored(size=4, channels=2)["text/html"]


def test_own_numbers_come_first_and_keep_their_places():
    image = np.arange(18).reshape(3, 3, 2)
    weights = np.arange(24).reshape(2, 2, 2, 3) / 4
    given = settings_of(
        stored(
            size=3, kernel=2, channels=2, filters=3, image=image, weights=weights, bias=[1, 2, 3]
        )
    )
    for channel in range(2):
        got = np.array(given["image"][channel])
        np.testing.assert_array_equal(got[:3, :3], image[..., channel])
        for filter_ in range(3):
            got = np.array(given["weights"][filter_][channel])
            np.testing.assert_array_equal(got[:2, :2], weights[..., channel, filter_])
    assert given["bias"] == [1, 2, 3]
    # There are numbers for the largest input and kernel that a reader can choose.
    assert np.shape(given["image"]) == (3, 10, 10) and np.shape(given["weights"]) == (3, 3, 5, 5)
    # Axes of length 1 may be left out.
    flat = settings_of(stored(size=3, image=image[..., 0], weights=np.eye(3)))
    np.testing.assert_array_equal(np.array(flat["image"])[0, :3, :3], image[..., 0])


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"padding": "same", "channels": 2, "filters": 3},
        {"size": 6, "stride": 2, "padding": 2, "dilation": 2},
        {"size": 3, "stride": 2, "transposed": True},
        {"size": 4, "padding": "full", "transposed": True},
        {"size": 4, "padding": "same", "stride": 3, "kernel": 2, "transposed": True, "filters": 2},
        # Crops more than the kernel adds: input cells lie outside of all windows.
        {"size": 6, "kernel": 2, "padding": 2, "transposed": True},
    ],
)
def test_the_static_picture_shows_what_the_script_would(call, arguments):
    drawn = {}
    with pytest.MonkeyPatch.context() as patch:
        plain = explorer.figures.image

        def image(axes, pixels, title, **settings):
            drawn[title] = np.array(pixels)
            plain(axes, pixels, title, **settings)

        patch.setattr(explorer.figures, "image", image)
        state = settings_of(stored(**arguments))
    settings = state["settings"]
    laid, outputs = call(
        "[xp.plan(given.settings), xp.convolve(given, xp.plan(given.settings))]", state
    )
    start = min(0, laid["real"][0])
    wide = max(laid["wide"], laid["real"][-1] + 1) - start
    for c in range(settings["channels"]):
        of = f" {c + 1}," if settings["channels"] > 1 else ""
        size, places = settings["size"], np.array(laid["real"]) - start
        expected = np.zeros((wide, wide))
        expected[np.ix_(places, places)] = np.array(state["image"])[c, :size, :size]
        np.testing.assert_array_equal(drawn.pop(f"Input{of} {size}×{size}"), expected)
        k = settings["kernel"]
        expected = np.array(state["weights"])[0, c, :k, :k]
        np.testing.assert_array_equal(drawn.pop(f"Kernel{of} {k}×{k}"), expected)
    for f, values in enumerate(outputs):
        of = f" {f + 1}," if settings["filters"] > 1 else ""
        title = f"Output{of} {laid['outputs']}×{laid['outputs']}"
        np.testing.assert_allclose(drawn.pop(title), values)
    assert drawn == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 11}, "size=11; allowed is a whole number from 1 to 10"),
        ({"kernel": 2.0}, "kernel=2.0; allowed is a whole number from 1 to 5"),
        ({"stride": True}, "stride=True; allowed is a whole number"),
        ({"padding": "half"}, 'padding=\'half\'; allowed is "valid", "same", "full" or a whole'),
        ({"padding": -1}, "padding=-1; allowed is"),
        ({"channels": 4}, "channels=4; allowed is a whole number from 1 to 3"),
        ({"size": 3, "kernel": 5}, "kernel must reach no further than the padded input of 3"),
        ({"size": 1, "padding": 3, "transposed": True}, "no input gives size=1"),
        ({"image": np.ones((4, 4))}, r"image has shape \(4, 4\).*of shape \(5, 5, 1\)"),
        ({"weights": np.ones((3, 3, 2))}, r"weights has shape .* of shape \(3, 3, 1, 1\)"),
        ({"image": np.full((5, 5), np.nan)}, "allowed is an array of finite numbers"),
        ({"weights": np.full((3, 3), "a")}, "weights has shape .* dtype <U1"),
        ({"filters": 2, "bias": [1, 2, 3]}, r"bias has shape \(3,\).*shape \(2,\)"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        players.explorer(**arguments)


def test_numpy_whole_numbers_are_welcome():
    assert stored(size=np.int64(4), padding=np.int8(1)) == stored(size=4, padding=1)


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Write a page with the theme, and with an explorer for each of some arguments."""

    def write(*explorers, theme="light"):
        boxes = "".join(
            f'<div class="cell_output" id="box{number}">{stored(**arguments)["text/html"]}</div>'
            for number, arguments in enumerate(explorers)
        )
        return test_players.themed_page(tmp_path_factory.mktemp("page"), boxes, theme)

    return write


def shown_values(tab, kind):
    """Return the numbers of the input, kernel or output cells, in the order of the page."""
    labels = tab.evaluate(
        f"[...document.querySelectorAll('.xp-{kind}')].map(e => e.getAttribute('aria-label'))"
    )
    return [float(label.split(": ")[1].replace("−", "-")) for label in labels]


def expected_values(state, settings):
    """Return the outputs for other settings, with the numbers that a page started with."""
    c, f, size, kernel = (settings[name] for name in ("channels", "filters", "size", "kernel"))
    cut = {
        "settings": settings,
        "image": np.array(state["image"])[:c, :size, :size],
        "weights": np.array(state["weights"])[:f, :c, :kernel, :kernel],
        "bias": state["bias"][:f],
    }
    return convolved(cut).ravel()


def text(tab, part):
    return tab.locator(f".xp-{part}").inner_text()


def box(tab, selector, number=0):
    return tab.locator(selector).nth(number).bounding_box()


def assert_framed(tab, first, last):
    """Check that the frame lies around two input cells and what is between them, and no more."""
    drawn = box(tab, ".xp-window rect", tab.locator(".xp-window rect").count() - 1)
    start, end = box(tab, ".xp-input", first), box(tab, ".xp-input", last)
    for side, size in (("x", "width"), ("y", "height")):
        assert abs(drawn[side] - start[side]) < 6
        assert abs(drawn[side] + drawn[size] - end[side] - end[size]) < 6


def test_the_mouse_shows_window_products_and_sum_of_an_output_cell(chromium, page):
    with test_browser.Watch(chromium, viewport={"width": 1000, "height": 900}) as watch:
        tab = watch.tab
        tab.goto(page({"bias": 1}))
        state = settings_of(stored(bias=1))
        assert_framed(tab, 0, 12)
        for number, first, last in ((5, 7, 19), (6, 10, 22), (8, 12, 24)):
            tab.locator(".xp-output").nth(number).hover()
            assert_framed(tab, first, last)
            row, column = divmod(number, 3)
            window = np.array(state["image"])[0, row : row + 3, column : column + 3]
            kernel = np.array(state["weights"])[0, 0, :3, :3]
            products = [
                float(each.split("= ")[1].replace("−", "-"))
                for each in tab.locator(".xp-product").all_text_contents()
            ]
            np.testing.assert_array_equal(products, (window * kernel).ravel())
            total = int((window * kernel).sum())
            caption = tab.locator("[data-part=product-0] .xp-caption").inner_text()
            assert caption.split("\n")[1] == f"sum {total}".replace("-", "−")
            words = text(tab, "sum")
            assert words.startswith(f"output row {row + 1}, column {column + 1}: ")
            assert words.endswith(f" + bias 1 = {total + 1}".replace("-", "−"))
            chosen = tab.locator(".xp-output[aria-selected=true]")
            assert chosen.count() == 1
            label = chosen.get_attribute("aria-label")
            assert label.startswith(f"output row {row + 1}, column {column + 1}")
        assert tab.locator(".xp-sum").get_attribute("role") == "status", "it is read out"
        assert watch.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark", ""])
def test_everything_is_reached_by_keyboard_and_its_focus_is_seen(chromium, page, theme):
    with test_browser.Watch(chromium, viewport={"width": 1000, "height": 900}) as watch:
        tab = watch.tab
        tab.goto(page({"size": 4, "padding": 1}, theme=theme))
        reached = []
        for _ in range(18):
            tab.keyboard.press("Tab")
            reached.append(
                tab.evaluate(
                    """() => {
                      const at = document.activeElement, shape = at.querySelector?.("rect");
                      const style = (each) => JSON.stringify(Object.entries(getComputedStyle(each))
                        .filter(([name]) => /^(outline|stroke)/.test(name)));
                      const held = style(shape ?? at);
                      at.blur();
                      const left = style(shape ?? at);
                      at.focus({ focusVisible: true });
                      return [at.name || at.getAttribute("aria-label"), held !== left];
                    }"""
                )
            )
        names = [name for name, _ in reached]
        assert names[:10] == [
            "size", "kernel", "stride", "kind", "padding",
            "dilation", "channels", "filters", "transposed", "bias",
        ]  # fmt: skip
        assert names[10:14] == ["reset", "back", "play", "step"]
        assert names[14].startswith("input row 1, column 1: ")
        assert names[15].startswith("kernel row 1, column 1: ")
        assert names[16].startswith("output row 1, column 1: ")
        unseen = [name for name, seen in reached[:17] if not seen]
        assert unseen == []


def test_arrow_keys_move_over_the_cells(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({}))
        tab.locator(".xp-output").first.focus()
        moves = {
            "ArrowRight": "1, column 2", "ArrowDown": "2, column 2", "End": "2, column 3",
            "ArrowUp": "1, column 3", "Home": "1, column 1", "ArrowLeft": "1, column 1",
        }  # fmt: skip
        for key, place in moves.items():
            tab.keyboard.press(key)
            assert text(tab, "sum").startswith(f"output row {place}: "), key
            focus = tab.evaluate("document.activeElement.getAttribute('aria-label')")
            assert focus.startswith(f"output row {place}: "), key
        # Tab leads back to where a reader was.
        tab.locator(".xp-kernel").first.focus()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
        focus = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focus.startswith("kernel row 2, column 1: ")


def test_numbers_are_changed_by_keyboard_and_by_mouse(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({"size": 3, "kernel": 2}))
        state = settings_of(stored(size=3, kernel=2))

        def check():
            expected = expected_values(state, state["settings"])
            np.testing.assert_allclose(shown_values(tab, "output"), expected, atol=5e-3)
            assert (
                shown_values(tab, "input")
                == np.ravel([row[:3] for row in state["image"][0][:3]]).tolist()
            )

        tab.locator(".xp-input").first.focus()
        tab.keyboard.press("ArrowRight")
        for typed, value in (("-7", -7), ("2.5", 2.5), ("0,25", 0.25)):
            tab.keyboard.type(typed)
            tab.keyboard.press("Enter")
            state["image"][0][0][1] = value
            check()
            focus = tab.evaluate("document.activeElement.getAttribute('aria-label')")
            assert focus.startswith("input row 1, column 2: "), "the focus stays on the cell"
        # Escape leaves the number as it was.
        tab.keyboard.press("Enter")
        tab.keyboard.type("99")
        tab.keyboard.press("Escape")
        check()
        # With the mouse, from one cell to the next: leaving a cell keeps what was typed there.
        tab.locator(".xp-kernel").nth(0).click()
        tab.keyboard.type("4")
        tab.locator(".xp-kernel").nth(3).click()
        state["weights"][0][0][0][0] = 4
        check()
        editor = tab.locator(".xp-editor")
        assert editor.get_attribute("aria-label") == "kernel row 2, column 2"
        tab.keyboard.type("-3")
        tab.keyboard.press("Enter")
        state["weights"][0][0][1][1] = -3
        check()
        assert not text(tab, "note")
        # What is no number is said in words, and the old one stays.
        for typed in ("x2", "1e9", ""):
            tab.locator(".xp-kernel").nth(3).click()
            editor.fill(typed)
            tab.keyboard.press("Enter")
            assert text(tab, "note") == (
                f"“{typed}” is no number from −999 to 999; kernel row 2, column 2 stays −3."
            )
            check()
        bias = tab.get_by_label("Bias", exact=True)
        bias.fill("0.5")
        state["bias"][0] = 0.5
        check()
        assert not text(tab, "note"), "the complaint has gone"
        bias.fill("")
        assert text(tab, "note") == "Bias must be a number from −999 to 999."
        check()
        tab.get_by_role("button", name="Reset").click()
        state.update(settings_of(stored(size=3, kernel=2)))
        check()
        assert bias.input_value() == "0"
        assert watch.complaints == []


def choose(tab, settings):
    """Set the controls as a reader would."""
    for name in ("size", "kernel", "stride", "dilation", "channels", "filters"):
        tab.locator(f"[name={name}]").fill(str(settings[name]))
    numeric = isinstance(settings["padding"], int)
    tab.locator("[name=kind]").select_option("number" if numeric else settings["padding"])
    if numeric:
        tab.locator("[name=padding]").fill(str(settings["padding"]))
    tab.locator("[name=transposed]").set_checked(settings["transposed"])


def test_the_controls_lead_to_the_outputs_of_the_reference(chromium, page):
    rng, state = np.random.default_rng(3), settings_of(stored())
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({}))
        seen = 0
        while seen < 8:
            settings = drawn_settings(rng)
            outputs = laid_out(settings)
            if outputs and outputs > 12:
                continue
            choose(tab, settings)
            if outputs is None:
                assert text(tab, "note").startswith("No output: "), settings
                assert not tab.locator(".xp-grids").is_visible()
                continue
            seen += 1
            expected = expected_values(state, settings)
            np.testing.assert_allclose(
                shown_values(tab, "output"), expected, rtol=5e-3, err_msg=str(settings)
            )
            assert f" = {outputs}. In Keras: " in text(tab, "facts")
            assert tab.locator(".xp-caption-output").count() == settings["filters"]
            # The last output cell can be reached, and its window lies inside the picture.
            tab.locator(".xp-output").last.click()
            frame, whole = box(tab, ".xp-window rect"), box(tab, "[data-part=input-0] svg")
            assert frame["x"] + frame["width"] <= whole["x"] + whole["width"] + 1
            assert frame["y"] + frame["height"] <= whole["y"] + whole["height"] + 1
        assert watch.complaints == []


def test_what_cannot_be_is_said_in_words(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({}))

        def said(**changed):
            choose(tab, START | changed)
            return text(tab, "note")

        assert said() == ""
        assert said(size=2) == (
            "No output: the kernel reaches over 3 cells, and the input has only 2."
        )
        assert tab.locator("[name=size]").input_value() == "2", "it is not mended"
        assert not tab.locator(".xp-grids").is_visible()
        assert not tab.locator(".xp-steps").is_visible()
        assert said(size=2, dilation=3, padding=2) == (
            "No output: the kernel reaches over 7 cells, and the input with its padding has only 6."
        )
        assert said(size=2, padding=2, transposed=True) == (
            "No output: the kernel spreads the input over 4 cells, and the padding crops 4."
        )
        assert said(stride=0, kernel="") == (
            "Kernel size must be a whole number from 1 to 5. "
            "Stride must be a whole number from 1 to 4."
        )
        invalid = "[...document.querySelectorAll('[aria-invalid=true]')].map(e => e.name)"
        assert tab.evaluate(invalid) == ["kernel", "stride"]
        assert said(padding=7) == "Padding width must be a whole number from 0 to 6."
        assert said(size=2.5) == "Input size must be a whole number from 1 to 10."
        refused = "Keras refuses a stride and a dilation above 1 together: here stands what the"
        assert said(size=7, stride=2, dilation=2) == f"{refused} definition gives."
        assert tab.locator(".xp-grids").is_visible()
        assert tab.evaluate(invalid) == []
        assert "“same” padding; any other" in said(padding="full").replace('"same"', "“same”")
        assert text(tab, "facts") == (
            "Output size ⌊(5 + 4 − 3) / 1⌋ + 1 = 7. In Keras: ZeroPadding2D(2), then Conv2D(1, 3)."
        )


def test_what_no_window_reads_is_crossed_out_and_said(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({"size": 6, "stride": 2}))

        def crosses():
            path = tab.locator(".xp-unused").first.get_attribute("d")
            return [tuple(map(int, each)) for each in re.findall(r"M(\d+) (\d+)", path)]

        assert text(tab, "note") == "The last row and column are in no window."
        unit = crosses()[-1][0] // 5
        cells = {(x // unit, y // unit) for x, y in crosses()}
        assert cells == {(x, y) for x in range(6) for y in range(6) if 5 in (x, y)}
        choose(tab, START | {"size": 7, "stride": 4})
        assert text(tab, "note") == ""
        # Between two windows as well.
        cells = {(x // unit, y // unit) for x, y in crosses()}
        assert cells == {(x, y) for x in range(7) for y in range(7) if 3 in (x, y)}
        choose(tab, START | {"size": 9, "kernel": 2, "stride": 4})
        assert text(tab, "note") == "The last 3 rows and columns are in no window."
        choose(tab, START)
        assert crosses() == []


def test_padding_and_spreading_are_drawn_as_zeros(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({"padding": "same"}))
        assert tab.locator(".xp-zero").count() == 7 * 7 - 5 * 5
        start, frame = box(tab, ".xp-input"), box(tab, ".xp-window rect")
        # The first window begins one cell before the input.
        assert frame["x"] < start["x"] - 0.9 * start["width"]
        choose(tab, START | {"size": 3, "stride": 2, "transposed": True})
        assert tab.locator(".xp-zero").count() == 9 * 9 - 3 * 3
        first, second = box(tab, ".xp-input", 0), box(tab, ".xp-input", 1)
        assert second["x"] - first["x"] > 1.8 * first["width"]
        caption = tab.locator("[data-part=kernel-0] .xp-caption").inner_text()
        assert "turned" in caption


def test_channels_have_their_own_input_kernel_and_products(chromium, page):
    with test_browser.Watch(chromium, viewport={"width": 1000, "height": 1200}) as watch:
        tab = watch.tab
        tab.goto(page({"channels": 2, "filters": 3, "bias": [1, 2, 3]}))
        state = settings_of(stored(channels=2, filters=3, bias=[1, 2, 3]))
        parts = tab.evaluate(
            "[...document.querySelectorAll('[data-part]')].map(e => e.dataset.part)"
        )
        assert parts == [
            "input-0", "kernel-0", "product-0", "input-1", "kernel-1", "product-1",
            "output-0", "output-1", "output-2",
        ]  # fmt: skip
        bias = tab.locator("[name=bias]")
        for number in range(3):
            tab.locator(f"[data-part=output-{number}] .xp-output").nth(4).hover()
            kernels = np.array(state["weights"])[number, :2, :3, :3]
            assert shown_values(tab, "kernel") == kernels.ravel().tolist()
            sums = (np.array(state["image"])[:2, 1:4, 1:4] * kernels).sum(axis=(1, 2))
            total = sums.sum() + number + 1
            assert text(tab, "sum").startswith(f"output {number + 1}, row 2, column 2: ")
            assert text(tab, "sum").endswith(f" + bias {number + 1} = {total}".replace("-", "−"))
            assert bias.input_value() == str(number + 1)
            assert tab.get_by_label(f"Bias {number + 1}", exact=True).count() == 1
        # The kernel that is changed is that of the output in question.
        tab.locator("[data-part=kernel-1] .xp-kernel").first.click()
        tab.keyboard.type("9")
        tab.keyboard.press("Enter")
        state["weights"][2][1][0][0] = 9
        expected = expected_values(state, state["settings"])
        np.testing.assert_allclose(shown_values(tab, "output"), expected)


def stopped_clock(tab, address):
    test_players.stopped_clock(tab, address)
    return tab.get_by_role("button", name="Play", exact=True)


def test_play_and_step_go_through_all_output_cells(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        play = stopped_clock(tab, page({"size": 3, "kernel": 2, "filters": 2}))

        def at():
            found = re.match(r"output (\d), row (\d), column (\d):", text(tab, "sum"))
            return tuple(map(int, found.groups()))

        tab.clock.run_for(60_000)
        assert at() == (1, 1, 1), "nothing moves before a reader asks for it"
        order = list(itertools.product((1, 2), (1, 2), (1, 2)))
        step, back = (tab.get_by_role("button", name=name) for name in ("Step", "Back"))
        for place in [*order[1:], order[0]]:
            step.click()
            assert at() == place
        back.click()
        assert at() == order[-1]
        step.click()
        play.click()
        assert play.get_attribute("aria-pressed") == "true"
        for place in order[1:4]:
            assert at() == place
            tab.clock.run_for(1_000)
            assert at() == place, "a second is too short to read"
            tab.clock.run_for(500)
        play.click()
        assert play.get_attribute("aria-pressed") == "false"
        tab.clock.run_for(60_000)
        assert at() == order[4]
        play.click()
        tab.clock.run_for(60_000)
        assert at() == order[-1]
        assert play.get_attribute("aria-pressed") == "false", "it stops at the last cell"
        play.click()
        assert at() == order[0]
        # A reader who takes a cell in hand stops it.
        tab.locator(".xp-output").nth(6).click()
        tab.clock.run_for(60_000)
        assert at() == order[6]
        assert watch.complaints == []


def test_for_a_reader_who_prefers_reduced_motion_there_are_steps_alone(chromium, page):
    with test_browser.Watch(chromium, reduced_motion="reduce") as watch:
        play = stopped_clock(watch.tab, page({}))
        assert play.count() == 0
        watch.tab.get_by_role("button", name="Step").click()
        watch.tab.clock.run_for(60_000)
        assert text(watch.tab, "sum").startswith("output row 1, column 2: ")


def test_a_finger_on_a_phone(chromium, page):
    with test_browser.Watch(
        chromium, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740}
    ) as watch:
        tab = watch.tab
        tab.goto(page({"padding": "same"}))
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


LARGEST = {name: high for name, (_, high) in explorer.LIMITS.items()} | {
    "padding": "full",
    "transposed": False,
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_largest_explorer_fits_a_phone_and_can_be_read(chromium, page, theme):
    with test_browser.Watch(chromium, viewport={"width": 360, "height": 740}) as watch:
        tab = watch.tab
        tab.goto(page({}, theme=theme))
        choose(tab, LARGEST)
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= 360
        assert tab.evaluate(test_browser.CONTRAST) == []
        # Its cells do not shrink below what can be read and hit: they scroll in their own box.
        assert box(tab, ".xp-input rect")["width"] > 18
        numbers = tab.evaluate(
            """() => [...document.querySelectorAll('.xp-cell')].map((each) => {
              const fill = (found) => getComputedStyle(found).fill.match(/[\\d.]+/g).map(Number);
              return [fill(each.querySelector("rect")), fill(each.querySelector("text"))];
            })"""
        )
        light = [
            np.where(np.array(pair) <= 10, np.array(pair) / 255 / 12.92,
                     ((np.array(pair) / 255 + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
            for pair in numbers
        ]  # fmt: skip
        ratios = [(max(pair) + 0.05) / (min(pair) + 0.05) for pair in light]
        assert len(ratios) > 500 and min(ratios) > 4.5


def test_input_and_output_are_told_apart_by_colour_and_in_words(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({}))
        edges = [
            tab.locator(f".xp-{kind} rect").first.evaluate("e => getComputedStyle(e).stroke")
            for kind in ("input", "output")
        ]
        assert edges == ["rgb(0, 114, 178)", "rgb(213, 94, 0)"], "those of the figures"
        captions = tab.locator(".xp-caption b").all_inner_texts()
        assert captions == ["Input: 5×5", "Kernel: 3×3", "Products", "Output: 3×3"]


def test_signs_have_their_colours(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({"image": np.tile([-2, -1, 0, 1, 2], (5, 1))}))
        fills = tab.evaluate(
            "[...document.querySelectorAll('.xp-input rect')].slice(0, 5)"
            ".map(e => getComputedStyle(e).fill.match(/\\d+/g).map(Number))"
        )
        (r2, _, b2), (r1, _, b1), zero, (r3, _, b3), (r4, _, b4) = fills
        assert b2 - r2 > b1 - r1 > 0 and r4 - b4 > r3 - b3 > 0
        assert zero == [247, 247, 247]


def test_every_control_has_a_name_and_keeps_its_keys(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({"padding": 1}))
        for name in (
            "Input size", "Kernel size", "Stride", "Padding width", "Dilation", "Channels in",
            "Channels out", "Bias",
        ):  # fmt: skip
            assert tab.get_by_role("spinbutton", name=name, exact=True).count() == 1, name
        assert tab.get_by_role("combobox", name="Padding", exact=True).count() == 1
        assert tab.get_by_role("checkbox", name="Transposed", exact=True).count() == 1
        for name in ("Reset", "Back", "Play", "Step"):
            assert tab.get_by_role("button", name=name, exact=True).count() == 1, name
        for name in ("Input: 5×5", "Kernel: 3×3", "Output: 5×5"):
            assert tab.get_by_role("grid", name=name).count() == 1, name
        # JupyterLab would take arrows and digits from whatever does not carry this mark.
        without = tab.evaluate(
            """[...document.querySelectorAll("input, select, button, [tabindex]")]
              .filter((each) => !each.hasAttribute("data-lm-suppress-shortcuts")).length"""
        )
        assert without == 0


def test_explorers_on_one_page_do_not_disturb_each_other(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page({}, {}, {"size": 4}))
        second = tab.locator("#box1")
        second.locator(".xp-output").nth(4).click()
        second.locator("[name=bias]").fill("5")
        sums = [tab.locator(f"#box{number} .xp-sum").inner_text() for number in range(3)]
        assert [each.split(":")[0] for each in sums] == [
            "output row 1, column 1", "output row 2, column 2", "output row 1, column 1",
        ]  # fmt: skip
        assert ["bias 5" in each for each in sums] == [False, True, False]
        # A cell that runs later brings its own script, which leaves the others as they are.
        test_players.run_scripts_again(tab, "box2")
        assert sums == [tab.locator(f"#box{n} .xp-sum").inner_text() for n in range(3)]
        ids = tab.evaluate("[...document.querySelectorAll('.explorer [id]')].length")
        assert ids == 0
        assert watch.complaints == []


def test_without_javascript_the_first_state_is_shown(chromium, page):
    with test_browser.Watch(
        chromium, java_script_enabled=False, viewport={"width": 360, "height": 740}
    ) as watch:
        tab = watch.tab
        tab.goto(page({"padding": "same"}))
        picture = tab.get_by_role("img")
        assert picture.count() == 1 and picture.is_visible()
        label = picture.get_attribute("aria-label")
        assert label.startswith("Convolution of a 5×5 input with a 3×3 kernel, stride 1, padding")
        assert tab.locator("input, button").count() == 0


def test_the_script_takes_the_place_of_the_picture(chromium, page):
    with test_browser.Watch(chromium) as watch:
        watch.tab.goto(page({}))
        assert watch.tab.locator(".explorer .figure").count() == 0
        assert watch.tab.locator(".xp-grids").is_visible()
