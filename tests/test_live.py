"""Live controls: prepared states where outputs are stored, real controls in a real JupyterLab."""

import re
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from helpers import refused
from test_browser import chromium  # noqa: F401 - a fixture
from test_jupyterlab import opened, run_all

from utils import figures
from utils.widgets import live


def bar(height, kind="plain", filled=True):
    drawing, axes = figures.figure(2, 1)
    axes[0, 0].bar([0], [height])
    return drawing, f"A {kind} bar with a height of {height}, filled: {filled}."


CONTROLS = {"height": (1, 3), "kind": ["striped", "plain"], "filled": False}
STATES = {"low": {}, "high": {"height": 3, "kind": "striped"}}


@pytest.fixture
def stored(monkeypatch, capsys):
    """Have outputs made as for a page, and collect them."""
    shown = []
    monkeypatch.setenv("MNIST_LIVE", "0")
    monkeypatch.setattr("utils.widgets.page.display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_a_stored_output_has_the_prepared_states_of_the_same_function(stored):
    live(bar, CONTROLS, STATES, "bars")
    live(bar, CONTROLS, STATES, "bars")
    page = stored[0]["text/html"]
    assert stored[0] == stored[1], "the same call gives the same bytes"
    assert "A plain bar with a height of 1, filled: True." in page
    assert "A striped bar with a height of 3, filled: True." in page
    assert page.count('class="slider-state"') == 2 and "widget-view" not in str(stored)


def test_of_a_generator_a_stored_output_has_the_last_picture(stored):
    def growing(height):
        for number in range(1, height + 1):
            yield number / height, *bar(number)

    live(growing, {"height": (1, 3)}, {"one": {}, "three": {"height": 3}}, "bars")
    page = stored[0]["text/html"]
    assert "height of 1," in page and "height of 3," in page and "height of 2," not in page


def test_the_first_state_is_where_the_controls_and_the_other_states_start(stored, monkeypatch):
    states = {"high": {"height": 3, "filled": False}, "striped": {"kind": "striped"}}
    live(bar, CONTROLS, states, "bars")
    page = stored[0]["text/html"]
    assert "A plain bar with a height of 3, filled: False." in page
    assert "A striped bar with a height of 3, filled: False." in page
    shown = []
    monkeypatch.setenv("MNIST_LIVE", "1")
    # The name `utils.widgets.live` is the function; its module hides behind it.
    monkeypatch.setattr(sys.modules[live.__module__], "display", shown.append)
    live(bar, CONTROLS, states, "bars")
    _, *controls, picture = shown[0].children
    assert [control.value for control in controls] == [3, "plain", False]
    assert "A plain bar with a height of 3, filled: False." in picture.value


@pytest.mark.parametrize(
    "controls, states, message",
    [
        ({}, STATES, "controls is empty"),
        (CONTROLS, {"one": {}}, "states has 1 entries"),
        (CONTROLS, {"one": {}, "two": {"size": 1}}, "states['two'] sets ['size']…'height'"),
        (CONTROLS, {"one": {}, "two": {"height": 4}}, "sets 'height' to 4; allowed is (1, 3)"),
        (CONTROLS, {"one": {"kind": "dotted"}, "two": {}}, "sets 'kind' to 'dotted'; allowed is"),
        (
            {"height": (1, 3), "kind": ["striped"]},
            STATES,
            "draw sets 'kind' to 'plain'; allowed is",
        ),
        ({"height": object()}, STATES, "controls['height']=<object…allowed are a range"),
    ],
)
def test_what_gives_no_controls_or_no_states_is_refused(controls, states, message):
    with refused(message):
        live(bar, controls, states, "bars")


ROOT = Path(__file__).resolve().parent.parent
WITHOUT = {
    "claims": "the ledger has nothing to see at work",
    "draw-a-digit": "the whole page is one interactive figure, which needs no kernel",
    "recipe": "one curve after another, with nothing to choose",
    "your-own-claim": "the reader brings the experiment",
}


@pytest.mark.parametrize(
    "chapter", sorted({path.stem for path in ROOT.glob("chapters/*.ipynb")} - set(WITHOUT))
)
def test_a_chapter_has_one_live_cell_in_its_section_see_it(chapter):
    section, live_in = "", []
    for cell in nbformat.read(ROOT / f"chapters/{chapter}.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            section = (re.findall("^## (.*)$", cell.source, re.MULTILINE) or [section])[-1]
        else:
            live_in += [section] * len(re.findall(r"\bwidgets\.live\(", cell.source))
    assert live_in == ["See it"]


CELLS = """
    import time
    from utils import figures, widgets

    def bar(height, text):
        if height == 4:
            raise ValueError("four <is> too high")
        drawing, axes = figures.figure(2, 1)
        axes[0, 0].bar([0], [height])
        return drawing, f"A bar with a height of {height} and the text {text}."

    states = {"low": {}, "high": {"height": 3}}
    widgets.live(bar, {"height": (1, 4), "text": ["one", "two"]}, states, "bars")
    # ---
    def growing(height):
        for number in range(1, 41):
            time.sleep(0.25)
            yield number / 40, *bar(height + number / 100, "grown")

    widgets.live(growing, {"height": (1, 3)}, states, "growth", button="Grow")
"""


@pytest.mark.browser
@pytest.mark.kernel
def test_controls_compute_in_a_running_notebook(chromium, tmp_path):  # noqa: F811
    cells = textwrap.dedent(CELLS).split("# ---\n")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, tmp_path / "live.ipynb")
    with opened(chromium, tmp_path / "live.ipynb", MNIST_LIVE="1") as tab:
        run_all(tab, 2)
        quick, slow = tab.locator(".live").nth(0), tab.locator(".live").nth(1)
        assert (
            quick.locator("svg").get_attribute("aria-label")
            == "A bar with a height of 1 and the text one."
        )

        # By keyboard, then by mouse, then the other control.
        quick.get_by_role("slider").focus()
        tab.keyboard.press("ArrowRight")
        tab.locator('.live svg[aria-label*="height of 2 and the text one"]').wait_for()
        box = quick.locator(".noUi-base").bounding_box()
        tab.mouse.click(box["x"] + box["width"] * 0.66, box["y"] + box["height"] / 2)
        tab.locator('.live svg[aria-label*="height of 3 and the text one"]').wait_for()
        quick.locator("select").select_option("two")
        tab.locator('.live svg[aria-label*="height of 3 and the text two"]').wait_for()

        # An error is a message, and the next change draws again.
        quick.get_by_role("slider").focus()
        tab.keyboard.press("ArrowRight")
        alert = quick.get_by_role("alert")
        alert.wait_for()
        assert alert.inner_text() == "ValueError: four <is> too high"
        tab.keyboard.press("ArrowLeft")
        tab.locator('.live svg[aria-label*="height of 3 and the text two"]').wait_for()
        assert quick.get_by_role("alert").count() == 0

        # What takes long is started, seen to grow, and stopped; the other controls stay alive.
        grow, stop = (slow.get_by_role("button", name=name) for name in ("Grow", "Stop"))
        assert stop.is_disabled() and slow.locator("svg").count() == 0
        grow.click()
        tab.locator('.live svg[aria-label*="text grown"]').wait_for()
        assert grow.is_disabled()
        quick.locator("select").select_option("one")
        tab.locator('.live svg[aria-label*="height of 3 and the text one"]').wait_for()
        stop.click()
        slow.get_by_role("button", name="Grow", disabled=False).wait_for()
        reached = slow.locator("svg").get_attribute("aria-label")
        assert "height of 1.4 " not in reached
        tab.wait_for_timeout(800)
        assert slow.locator("svg").get_attribute("aria-label") == reached, "it has not stopped"
