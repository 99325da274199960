"""What every widget owes: stable bytes, a picture without script, names, keys, quiet neighbours."""

import contextlib
import hashlib
import html
import json
import re
from functools import cache
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest
import test_browser
from helpers import python
from keras import layers

from utils import figures, widgets
from utils.widgets import page as shared

chromium = test_browser.chromium

ROOT = Path(__file__).resolve().parent.parent
THEME = ROOT / "chapters" / "_static" / "theme.css"
FOLDER = Path(shared.__file__).parent
KINDS = ("slider", "explorer", "draw", "question")


# One of each kind


def states_of(count, word="step"):
    """Make so many states, with the same figures for any word: a column moves to the right."""
    states = []
    for place in range(count):
        made, axes = figures.figure(4, 2)
        figures.image(axes[0, 0], np.roll(np.eye(1, 8), place, axis=1))
        # A line beyond its axes: only a clip path keeps it inside.
        axes[0, 0].plot([-40, 40], [place / 9, place / 9])
        axes[0, 0].set(xlim=(-0.5, 7.5), ylim=(-0.5, 0.5))
        states.append((f"{word} {place}", made, f"The bright column stands at place {place}."))
    return states


@cache
def small_net():
    """Build a network with every kind of layer, whose weights need no training."""
    hidden = [
        *[layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()],
        *[layers.MaxPooling2D(2), layers.AveragePooling2D(2), layers.Dropout(0.5)],
    ]
    ends = layers.Flatten(), layers.Dense(10)
    net = keras.Sequential([keras.Input((28, 28, 1)), *hidden, *ends])
    rng = np.random.default_rng(0)
    net.set_weights([rng.uniform(0.01, 0.3, part.shape) for part in net.get_weights()])
    return net


def example_digits():
    """Return two groups of examples: an empty image, and bright bars."""
    images = np.zeros((5, 28, 28), np.uint8)
    for number in range(1, 5):
        images[number, 4:24, 5 * number : 5 * number + 3] = 255
    return {"One": ([0, 1, 2], images[:3]), "Two": ([3, 4], images[3:])}


SHOW = {
    "slider": lambda: widgets.slider(states_of(4), "the column's place"),
    "explorer": lambda: widgets.explorer(size=4, padding=1),
    "draw": lambda: widgets.draw_a_digit(
        {"small": small_net(), "the same": small_net()}, example_digits(), first=1
    ),
    "question": lambda: widgets.quiz(
        "What is 6 × 7?", {"42": "Six times seven.", "13": "That is their sum."}, "42"
    ),
}


def shown(show, *arguments, **settings):
    """Return what a widget displays below its cell: HTML, and words."""
    bundles = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "display", lambda bundle, raw: bundles.append(bundle))
        show(*arguments, **settings)
    (bundle,) = bundles
    assert set(bundle) == {"text/html", "text/plain"}
    return bundle["text/html"], bundle["text/plain"]


@cache
def example(kind):
    return shown(SHOW[kind])


def state_of(markup):
    """Return what the script of a widget starts with."""
    return json.loads(html.unescape(re.search(r'data-state="([^"]*)"', markup)[1]))


def script_of(kind):
    return "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in ("common", kind))


# Pages and clocks


def written(path, *markups, theme="light"):
    """Write a page with some widgets, in the colours of a theme; return its address."""
    style = f'<link rel="stylesheet" href="{THEME.as_uri()}">' if theme else ""
    boxes = "".join(
        f'<div class="cell_output" id="box{number}"><div class="text_html">{markup}</div></div>'
        for number, markup in enumerate(markups)
    )
    path.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>x</title>'
        f"{style}<style>body {{ background: var(--pst-color-background);"
        f" color: var(--pst-color-text-base) }}</style>"
        f"<body><main class='bd-article'>{boxes}</main></body></html>",
        encoding="utf-8",
    )
    return path.as_uri()


@contextlib.contextmanager
def opened(chromium, path, *markups, theme="light", clock=False, **settings):
    """Open widgets in a tab, which must not complain; a clock stands still unless it is run."""
    settings = {"viewport": {"width": 1000, "height": 900}} | settings
    with test_browser.Watch(chromium, **settings) as watch:
        if clock:
            watch.tab.clock.install(time=0)
        watch.tab.goto(written(path / "page.html", *markups, theme=theme))
        if clock:
            watch.tab.clock.pause_at(3_600_000)
        yield watch.tab
        assert watch.complaints == []


@contextlib.contextmanager
def evaluator(chromium, kind, prelude=""):
    """Evaluate expressions in which `module` is a widget's script and `given` an argument."""
    with test_browser.Watch(chromium) as watch:
        watch.tab.evaluate(
            """async ([source, prelude]) => {
              const blob = new Blob([source], { type: "text/javascript" });
              window.module = await import(URL.createObjectURL(blob));
              window.eval(prelude);
            }""",
            [script_of(kind), prelude],
        )

        def evaluate(expression, given):
            # As text: playwright takes apart thousands of objects one by one, and takes its time.
            function = f"(given) => JSON.stringify({expression}, (key, value) => " + (
                "ArrayBuffer.isView(value) ? Array.from(value) : value)"
            )
            return json.loads(
                watch.tab.evaluate(f"(x) => ({function})(JSON.parse(x))", json.dumps(given))
            )

        yield evaluate
        assert watch.complaints == []


def run_scripts_again(tab, box):
    """Run the scripts of a box once more, as JupyterLab does when the same output comes again."""
    tab.locator(f"#{box}").evaluate(
        """(box) => {
          for (const old of box.querySelectorAll("script")) {
            const script = document.createElement("script");
            for (const { name, value } of old.attributes) script.setAttribute(name, value);
            script.textContent = old.textContent;
            old.replaceWith(script);
          }
        }"""
    )
    tab.wait_for_timeout(50)  # Of this process: the page's own clock may stand still.


def keys(tab, *names):
    for name in names:
        tab.keyboard.press(name)


def number(text):
    return float(text.replace("−", "-"))


# What is stored


def digests():
    return {kind: hashlib.sha256(example(kind)[0].encode()).hexdigest() for kind in KINDS}


@pytest.mark.training
def test_the_same_widget_gives_the_same_bytes_in_this_process_and_in_another():
    code = "import sys; sys.path.insert(0, 'tests'); import test_widgets as t; print(t.digests())"
    assert python(code).strip().split("\n")[-1] == str(digests())
    for kind in KINDS:
        assert shown(SHOW[kind]) == example(kind)


LARGEST = {"slider": 8_000, "explorer": 30_000, "draw": 50_000, "question": 9_000}


@pytest.mark.parametrize("kind", KINDS)
def test_a_widget_is_small_and_asks_nothing_of_the_network(kind):
    markup, _ = example(kind)
    script = script_of(kind)
    assert markup.count("<script") == 1 and script in markup
    assert (FOLDER / f"{kind}.css").read_text("utf-8") in markup
    # Either would end the script element that it is written into.
    assert "</script" not in script and "<!--" not in script
    assert len(script.encode()) < LARGEST[kind]
    assert len(markup.encode()) < 130_000
    addresses = set(re.findall(r"https?://[^\s\"'`]+", markup))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"\bimport\b", script) and not re.search(r"url\((?!#)", markup)


WORDS = {
    "slider": "slider: the column's place; step 0, step 1, step 2, step 3",
    "explorer": "explorer: {}",
    "draw": "draw a digit: {}",
}


@pytest.mark.parametrize("kind", WORDS)
def test_without_a_script_there_is_a_picture_and_nothing_to_operate(kind, chromium, tmp_path):
    markup, words = example(kind)
    settings = {"java_script_enabled": False, "viewport": {"width": 360, "height": 740}}
    with opened(chromium, tmp_path, markup, **settings) as tab:
        (picture,) = [each for each in tab.get_by_role("img").all() if each.is_visible()]
        assert picture.bounding_box()["width"] > 200
        assert words == f"[{WORDS[kind].format(picture.get_attribute('aria-label'))}]"
        assert tab.locator("input, button, select, [tabindex]").count() == 0


def test_colours_are_those_of_the_figures(chromium):
    shares = np.linspace(-1, 1, 101)
    with evaluator(chromium, "slider") as call:
        for signed, name in ((True, "RdBu_r"), (False, "gray")):
            given = shares if signed else (shares + 1) / 2
            theirs = mpl.colormaps[name]((shares + 1) / 2)[:, :3] * 255
            ours = call(f"given.map((x) => module.shade(x, {json.dumps(signed)}))", given.tolist())
            # matplotlib's map has 256 steps.
            np.testing.assert_allclose(ours, theirs, atol=3.5)
        assert call("module.shade(given)", -1) == [5, 48, 97], "signed unless told otherwise"


# Names and keys

BUTTONS = {
    "explorer": ["Reset", "Back", "Play: output cells", "Step"],
    "draw": [
        "Clear", "Shift left", "Shift right", "Shift up", "Shift down", "Rotate left",
        "Rotate right", "Invert", "As drawn", "One, number 1: a 0", "Two, number 2: a 4",
    ],
}  # fmt: skip
NUMBERS = [
    "Input size", "Kernel size", "Stride", "Padding width", "Dilation", "Channels in",
    "Channels out", "Bias",
]  # fmt: skip
NAMES = {
    "slider": [
        ("slider", "the column's place"),
        ("button", "Play: the column's place"),
        ("group", "Interactive figure: the column's place"),
    ],
    "explorer": [
        *[("button", name) for name in BUTTONS["explorer"]],
        *[("spinbutton", name) for name in NUMBERS],
        ("combobox", "Padding"),
        ("checkbox", "Transposed"),
        ("grid", "Input: 4×4, with zeros 6×6"),
        ("grid", "Kernel: 3×3, bias 0"),
        ("grid", "Output: 4×4, row 1, column 1"),
    ],
    "draw": [
        *[("button", name) for name in BUTTONS["draw"]],
        ("slider", "Pen"),
        ("group", "Network"),
        ("toolbar", "One"),
        ("toolbar", "Two"),
        ("img", "The image that the networks get"),
    ],
    "question": [
        ("group", "Question: What is 6 × 7?"),
        ("group", "What is 6 × 7?"),
        ("radio", "A. 42"),
        ("radio", "B. 13"),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_has_a_name_and_keeps_its_keys(kind, chromium, tmp_path):
    with opened(chromium, tmp_path, example(kind)[0]) as tab:
        for role, name in NAMES[kind]:
            assert tab.get_by_role(role, name=name, exact=True).count() == 1, name
        unnamed = tab.locator("[role=application]:not([aria-label])").count()
        # JupyterLab would take arrows and digits from whatever does not carry this mark.
        marked = "data-lm-suppress-shortcuts"
        unmarked = tab.locator(f":is(input, select, button, [tabindex]):not([{marked}])").count()
        assert unnamed == unmarked == 0


TAB_ORDER = {
    "slider": ["play", "INPUT"],
    "explorer": [
        "size", "kernel", "stride", "kind", "padding", "dilation", "channels", "filters",
        "transposed", "bias", "reset", "back", "play", "step", "input row 1, column 1: ",
        "kernel row 1, column 1: ", "output row 1, column 1: ",
    ],
    "draw": [
        "Drawing area: ", "clear", "pen", *[f"change-{number}" for number in range(6)], "invert",
        "reset", "Probabilities: ", "One, number 1", "Two, number 1", "network", "Convolution: ",
        "Batch norm: ", "ReLU: ", "Max pooling: ", "Average pooling: ", "Dense layer: ",
    ],
    "question": ["question-"],  # A group of radio buttons is one stop; arrows go on from there.
}  # fmt: skip


@pytest.mark.parametrize("theme", ["light", "dark", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_reached_by_tab_and_its_focus_is_seen(kind, theme, chromium, tmp_path):
    with opened(chromium, tmp_path, example(kind)[0], theme=theme) as tab:
        reached, unseen = [], []
        for _ in TAB_ORDER[kind]:
            tab.keyboard.press("Tab")
            name, seen = tab.evaluate(
                """() => {
                  const at = document.activeElement, shape = at.querySelector?.("rect") ?? at;
                  const style = () => JSON.stringify(Object.entries(getComputedStyle(shape))
                    .filter(([name]) => /^(outline|stroke)/.test(name)));
                  const held = style();
                  at.blur();
                  const left = style();
                  at.focus({ focusVisible: true });
                  return [at.name || at.getAttribute("aria-label") || at.tagName, held !== left];
                }"""
            )
            reached.append(name)
            unseen += [] if seen else [name]
        for name, expected in zip(reached, TAB_ORDER[kind], strict=True):
            assert name.startswith(expected), reached
        assert unseen == []
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.tagName") == "BODY"


# Several on a page, narrow and wide

ACT = {
    "slider": lambda box: box.locator("input").press("ArrowRight"),
    "explorer": lambda box: box.locator(".xp-output").nth(2).click(),
    "draw": lambda box: box.get_by_role("button", name="Invert").click(),
    "question": lambda box: box.get_by_role("radio").first.check(),
}
TELLS = {"slider": "output", "explorer": ".xp-sum", "draw": ".dd-note", "question": "output"}


@pytest.mark.parametrize("kind", KINDS)
def test_widgets_on_one_page_do_not_disturb_each_other(kind, chromium, tmp_path):
    markups = [example(kind)[0]] * 2 + [example(other)[0] for other in KINDS if other != kind]
    with opened(chromium, tmp_path, *markups) as tab:
        boxes = [tab.locator(f"#box{number}") for number in range(len(markups))]

        def told():
            return [
                box.locator(TELLS[box.locator("[data-state]").get_attribute("class")]).inner_text()
                for box in boxes
            ]

        before = told()
        ACT[kind](boxes[1])
        after = told()
        alike = [one == other for one, other in zip(before, after, strict=True)]
        assert alike == [True, False, *[True] * (len(boxes) - 2)]
        # A cell that runs later brings its own script, which leaves all others as they are.
        for number in range(len(boxes)):
            run_scripts_again(tab, f"box{number}")
        assert told() == after
        ACT[kind](boxes[0])
        assert told()[:2] == [after[1]] * 2
        assert tab.evaluate("[...document.querySelectorAll('[id]:not(svg *)')].length") == len(
            boxes
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_widget_fits_every_width_and_can_be_read(kind, theme, chromium, tmp_path):
    with opened(chromium, tmp_path, example(kind)[0], theme=theme) as tab:
        for width in test_browser.WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            # Each explanation of a unit has other pictures.
            for row in [None, *tab.locator(".dd-strip, .dd-bars").all()]:
                if row:
                    row.focus()
                    row.press("ArrowRight")
                assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
                inside = tab.locator(".text_html").evaluate("e => e.scrollWidth - e.clientWidth")
                assert inside <= 0 and tab.evaluate(test_browser.CONTRAST) == []


# Playing

PLAYS = {
    "slider": (SHOW["slider"], "Play: the column's place", [f"step {place}" for place in range(4)]),
    "explorer": (
        lambda: widgets.explorer(size=2, kernel=1),
        "Play: output cells",
        [f"output row {row}, column {column}" for row in (1, 2) for column in (1, 2)],
    ),
}


@pytest.fixture(params=PLAYS)
def player(request, chromium, tmp_path):
    """Open two of a kind that plays; give the tab, a button, a function and what it may tell."""
    show, name, places = PLAYS[request.param]
    calm = {"reduced_motion": "reduce"} if "calm" in request.fixturenames else {}
    with opened(chromium, tmp_path, *[shown(show)[0]] * 2, clock=True, **calm) as tab:

        def told(box=0):
            text = tab.locator(f"#box{box} {TELLS[request.param]}").inner_text()
            return places.index(text.split(":")[0])

        button = tab.locator("#box0 .play")
        assert calm or button.get_attribute("aria-label") == name
        yield tab, button, told, request.param


@pytest.fixture
def calm():
    """Ask the system for less motion."""


def test_play_shows_every_state_long_enough_to_be_read_and_stops_at_the_last(player):
    tab, button, told, _ = player
    tab.clock.run_for(60_000)
    assert told() == 0, "nothing moves before a reader asks for it"
    icon = button.locator("path").get_attribute("d")
    for _ in range(2):
        assert button.get_attribute("aria-pressed") == "false"
        assert button.locator("path").get_attribute("d") == icon
        button.click()
        first = told()
        assert button.get_attribute("aria-pressed") == "true"
        assert button.locator("path").get_attribute("d") != icon
        for place in range(first, 3):
            assert told() == place
            tab.clock.run_for(1_000)
            assert told() == place, "a second is too short to read"
            tab.clock.run_for(500)
        tab.clock.run_for(60_000)
        assert told() == 3 and told(1) == 0
    assert first == 0, "from the last state it starts anew"


@pytest.mark.parametrize("means", ["the button", "a state", "a script that runs again"])
def test_a_reader_stops_what_plays(player, means):
    tab, button, told, kind = player
    button.focus()
    tab.keyboard.press("Space")
    assert told() == 1
    if means == "a state":
        ACT[kind](tab.locator("#box0"))
        assert told() == 2
    elif means == "the button":
        tab.keyboard.press("Enter")
    else:
        run_scripts_again(tab, "box0")
        button.click()
    place = told()
    assert button.get_attribute("aria-pressed") == "false"
    tab.clock.run_for(60_000)
    assert told() == place


def test_what_has_left_the_page_stops(player):
    tab, button, _, _ = player
    button.click()
    tab.evaluate(
        """() => {
          const { clearInterval } = window;
          window.cleared = 0;
          window.clearInterval = (timer) => { window.cleared++; clearInterval(timer); };
          document.querySelector("#box0").remove();
        }"""
    )
    tab.clock.run_for(1_500)
    assert tab.evaluate("cleared") == 1, "at its next step"


def test_for_a_reader_who_prefers_reduced_motion_a_button_shows_the_next_state(calm, player):
    tab, button, told, kind = player
    if kind == "explorer":
        assert not button.is_visible(), "it has a button for a step"
        button = tab.locator("#box0 [name=step]")
    else:
        assert button.get_attribute("aria-label") == "Next: the column's place"
        assert button.get_attribute("aria-pressed") is None
    for place in (1, 2, 3, 0):
        button.click()
        tab.clock.run_for(60_000)
        assert told() == place
