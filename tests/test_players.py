"""Players: markup that is accessible and stable, and that moves in a real browser, from a file."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_browser
import yaml

from utils import figures
from utils.widgets import slider as players

chromium, address = test_browser.chromium, test_browser.address

ROOT = Path(__file__).resolve().parent.parent
THEME = ROOT / "chapters" / "_static" / "theme.css"


def states_of(number, word="step"):
    """Make so many states, with the same figures for any word: a column moves to the right."""
    states = []
    for place in range(number):
        made, axes = figures.figure(4, 2)
        figures.image(axes[0, 0], np.roll(np.eye(1, 8), place, axis=1))
        # A line beyond its axes: only a clip path keeps it inside.
        axes[0, 0].plot([-40, 40], [place / 9, place / 9])
        axes[0, 0].set(xlim=(-0.5, 7.5), ylim=(-0.5, 0.5))
        states.append((f"{word} {place}", made, f"The bright column stands at place {place}."))
    return states


def stored(states, label):
    """Return what `slider` displays."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "display", lambda bundle, raw: shown.append(bundle))
        players.slider(states, label)
    (bundle,) = shown
    return bundle


@pytest.fixture(scope="module")
def first():
    return stored(states_of(4), "the column's place")


@pytest.fixture(scope="module")
def second():
    return stored(states_of(4, "shift"), "pixels moved")


# The chapters of the book

CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    if part.get("numbered")
    for chapter in part["chapters"]
]


def moving(chapter):
    """Return the markup of each player and explorer of a chapter, as it is stored."""
    notebook = json.loads((ROOT / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    shown = [
        "".join(output["data"].get("text/html", ""))
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "data" in output
    ]
    return [markup for markup in shown if re.search('class="(player|explorer)[ "]', markup)]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_something_that_moves_and_it_is_small(chapter):
    found = moving(chapter)
    assert found
    assert sum(len(markup.encode()) for markup in found) <= 400_000


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_players_of_a_chapter_move_by_mouse_and_by_keyboard(chapter, chromium, address):
    with test_browser.Watch(chromium, viewport={"width": 1440, "height": 1000}) as watch:
        watch.open(f"{address}/{chapter}.html")
        boxes = watch.tab.locator(".player").all()
        assert len(boxes) == sum('class="player"' in markup for markup in moving(chapter))
        for box in boxes:
            slider, picture = box.locator("input"), box.locator(".player-states")
            seen = [picture.screenshot()]
            slider.press("ArrowRight")
            assert slider.input_value() == "1"
            seen.append(picture.screenshot())
            place = slider.bounding_box()
            slider.click(position={"x": place["width"] - 2, "y": place["height"] / 2})
            assert slider.input_value() == slider.get_attribute("max") != "1"
            seen.append(picture.screenshot())
            # The last picture may be the first again: batch norm undone is one.
            assert seen[0] != seen[1] != seen[2]
        assert watch.complaints == []


def themed_page(folder, boxes, theme):
    """Write a file with these boxes, in the book's colours if there is a theme; return its address.

    Other tests of what moves in a page use it as well.
    """
    style = f'<link rel="stylesheet" href="{THEME.as_uri()}">' if theme else ""
    path = folder / "page.html"
    path.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>x</title>'
        f"{style}<style>body {{ background: var(--pst-color-background);"
        f" color: var(--pst-color-text-base) }}</style>"
        f"<body><main class='bd-article'>{boxes}</main></body></html>",
        encoding="utf-8",
    )
    return path.as_uri()


# Markup


def test_a_player_is_stored_as_html_and_in_words(first):
    assert set(first) == {"text/html", "text/plain"}
    assert first["text/plain"] == "[slider: the column's place; step 0, step 1, step 2, step 3]"
    markup = first["text/html"]
    assert markup.count("<input") == markup.count("<output") == markup.count("<script") == 1
    # JupyterLab would take the arrow keys, even from a slider that has the focus.
    assert len(re.findall(r"<(?:input|button)[^>]* data-lm-suppress-shortcuts", markup)) == 2
    # What no script answers to is not offered.
    assert re.search(r"<button [^>]*hidden>", markup)
    assert re.search(r'<input type="range" min="0" max="3" value="0" [^>]*disabled>', markup)
    assert 'aria-valuetext="step 0"' in markup


def test_the_first_state_is_shown_and_the_others_are_hidden(first):
    found = re.findall(
        r'<div class="player-state" data-name="([^"]*)"( hidden)?><svg', first["text/html"]
    )
    assert found == [
        ("step 0", ""),
        ("step 1", " hidden"),
        ("step 2", " hidden"),
        ("step 3", " hidden"),
    ]
    alts = re.findall(r'aria-label="([^"]*)"', first["text/html"])
    assert alts == [f"The bright column stands at place {place}." for place in range(4)]


def test_a_player_asks_nothing_of_the_network(first):
    addresses = re.findall(r"https?://[^\s\"']+", first["text/html"])
    assert set(addresses) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_names_and_label_are_escaped():
    named = [
        (f'<b> "{place}" & so on', made, alt) for place, (_, made, alt) in enumerate(states_of(2))
    ]
    markup = stored(named, "kernel < 3 & stride > 1")["text/html"]
    assert "kernel &lt; 3 &amp; stride &gt; 1" in markup
    assert markup.count("&lt;b&gt; &quot;0&quot; &amp; so on") == 3
    assert "<b>" not in markup


def test_players_on_one_page_share_no_id_and_no_mark_even_with_the_same_figures(first, second):
    other_label = stored(states_of(4), "another label")
    ids, marks = [], []
    for bundle in (first, second, other_label):
        ids += re.findall(r' id="([^"]+)"', bundle["text/html"])
        marks += re.findall(r'<div class="player" data-player="([^"]+)"', bundle["text/html"])
    assert ids and len(ids) == len(set(ids))
    assert len(set(marks)) == 3


def test_the_same_player_gives_the_same_bytes_in_this_process_and_in_another(first):
    assert stored(states_of(4), "the column's place") == first
    code = (
        "import sys; sys.path.insert(0, 'tests'); from test_players import stored, states_of; "
        'print(stored(states_of(4), "the column\'s place"))'
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert other.stdout.strip() == repr(first), other.stderr


def test_bad_states_and_labels_are_refused():
    (name, made, alt), other = states_of(2)
    for states in ([], [(name, made, alt)]):
        with pytest.raises(ValueError, match=f"states has {len(states)} entries"):
            players.slider(states, "label")
    with pytest.raises(
        ValueError, match=r"named \['step 0', 'step 0'\]; a name may stand there once"
    ):
        players.slider([(name, made, alt), (name, made, alt)], "label")
    with pytest.raises(ValueError, match="label=' '"):
        players.slider([(name, made, alt), other], " ")
    with pytest.raises(ValueError, match=r"states named \['', 'step 1'\]"):
        players.slider([("", made, alt), other], "label")
    with pytest.raises(ValueError, match="alt='short'"):
        players.slider([(name, made, "short"), other], "label")


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory, first, second):
    """Address of a file with two players, and with the first of them once more."""

    def write(theme=""):
        path = tmp_path_factory.mktemp("page") / "page.html"
        style = f'<link rel="stylesheet" href="{THEME.as_uri()}">' if theme else ""
        boxes = "".join(
            f'<div class="cell_output" id="{name}">{bundle["text/html"]}</div>'
            for name, bundle in {"one": first, "two": second, "twin": first}.items()
        )
        path.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>x</title>'
            f"{style}<body><main class='bd-article'>{boxes}</main></body></html>",
            encoding="utf-8",
        )
        return path.as_uri()

    return write


def seen(tab, box):
    """Return the pictures that show in a box, the written value, and what is read out."""
    pictures = tab.locator(f"#{box} .player-state svg").all()
    slider = tab.locator(f"#{box} input")
    return (
        [each.get_attribute("aria-label")[-2] for each in pictures if each.is_visible()],
        tab.locator(f"#{box} output").inner_text(),
        slider.get_attribute("aria-valuetext"),
    )


def at(place, word="step"):
    return ([str(place)], f"{word} {place}", f"{word} {place}")


@pytest.mark.parametrize("theme", ["", "light"])
def test_the_keyboard_moves_one_player_and_no_other(chromium, page, theme):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page(theme))
        assert [seen(tab, box) for box in ("one", "two", "twin")] == [at(0), at(0, "shift"), at(0)]
        for _ in ("button", "slider", "button", "slider"):
            tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.closest('.cell_output').id") == "two"
        keys = {"ArrowRight": 1, "ArrowUp": 2, "ArrowLeft": 1, "End": 3, "Home": 0, "PageUp": 1}
        for key, place in keys.items():
            tab.keyboard.press(key)
            assert seen(tab, "two") == at(place, "shift"), key
        assert (seen(tab, "one"), seen(tab, "twin")) == (at(0), at(0))
        tab.keyboard.press("Tab")
        tab.keyboard.press("Tab")
        tab.keyboard.press("ArrowRight")
        assert [seen(tab, box) for box in ("one", "two", "twin")] == [at(0), at(1, "shift"), at(1)]
        assert watch.complaints == []


@pytest.mark.parametrize("theme", ["", "dark"])
def test_the_mouse_moves_one_player_and_no_other(chromium, page, theme):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page(theme))
        box = tab.locator("#one input").bounding_box()
        left, middle = box["x"] + 3, box["y"] + box["height"] / 2
        right = left + box["width"] - 6
        tab.mouse.click(right, middle)
        assert (seen(tab, "one"), seen(tab, "two"), seen(tab, "twin")) == (
            at(3),
            at(0, "shift"),
            at(0),
        )
        tab.mouse.down()
        for place, part in ((2, 2 / 3), (1, 1 / 3), (0, 0)):
            # While it is dragged, and not only at the end.
            tab.mouse.move(left + part * (right - left), middle)
            assert seen(tab, "one") == at(place)
        tab.mouse.up()
        assert watch.complaints == []


def test_a_finger_moves_a_player(chromium, page):
    with test_browser.Watch(
        chromium, has_touch=True, viewport={"width": 360, "height": 640}
    ) as watch:
        watch.tab.goto(page("light"))
        box = watch.tab.locator("#two input").bounding_box()
        watch.tab.touchscreen.tap(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
        assert seen(watch.tab, "two") == at(3, "shift")


@pytest.mark.parametrize("theme", ["", "light"])
def test_a_slider_has_its_label_as_its_name(chromium, page, theme):
    with test_browser.Watch(chromium) as watch:
        watch.tab.goto(page(theme))
        slider = watch.tab.get_by_role("slider", name="pixels moved", exact=True)
        assert slider.count() == 1 and slider.is_enabled()
        assert watch.tab.get_by_role("slider").count() == 3
        pictures = watch.tab.get_by_role("img").all()
        assert [each.get_attribute("aria-label")[-2] for each in pictures] == ["0", "0", "0"]


def test_without_javascript_the_first_state_is_shown(chromium, page):
    with test_browser.Watch(chromium, java_script_enabled=False) as watch:
        watch.tab.goto(page("light"))
        assert [seen(watch.tab, box) for box in ("one", "two")] == [at(0), at(0, "shift")]
        assert watch.tab.locator("#one input").is_disabled()
        assert not watch.tab.locator("#one button").is_visible()


def test_what_stands_outside_the_axes_stays_hidden_in_every_state(chromium, page):
    """A clip path that is taken from a hidden picture clips nothing in Chromium."""
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        tab.locator("#two input").focus()
        for key in ("ArrowRight", "End"):
            tab.keyboard.press(key)
            drawn = tab.locator("#two .player-state:not([hidden]) svg")
            clips = drawn.evaluate(
                "svg => [...svg.querySelectorAll('[clip-path]')].map("
                "each => svg.contains(document.querySelector("
                "each.getAttribute('clip-path').slice(4, -1).replaceAll('\"', ''))))"
            )
            assert clips and all(clips)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_the_theme_gives_a_wide_slider_a_visible_focus_and_steady_numerals(
    chromium, page, theme, width
):
    with test_browser.Watch(chromium, viewport={"width": width, "height": 800}) as watch:
        tab = watch.tab
        tab.goto(page(theme))
        assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
        controls = tab.locator("#one .player-controls").bounding_box()
        slider = tab.locator("#one input")
        button = tab.locator("#one button").bounding_box()
        before = slider.bounding_box()
        # Beside each other, and together as wide as there is room.
        assert before["width"] > 0.8 * controls["width"]
        assert button["x"] + button["width"] <= before["x"]
        assert before["x"] + before["width"] > controls["x"] + 0.95 * controls["width"]
        assert abs(button["y"] + button["height"] / 2 - before["y"] - before["height"] / 2) < 4
        assert min(before["height"], button["height"], button["width"]) >= 24
        assert tab.locator("#one .player-state svg").first.bounding_box()["width"] <= width
        tab.keyboard.press("Tab")
        tab.keyboard.press("Tab")
        tab.keyboard.press("End")
        style = slider.evaluate(
            "each => ({style: getComputedStyle(each).outlineStyle,"
            " width: getComputedStyle(each).outlineWidth,"
            " ring: getComputedStyle(each).outlineColor,"
            " ground: getComputedStyle(document.documentElement).getPropertyValue("
            "'--pst-color-background')})"
        )
        assert (style["style"], style["width"]) == ("solid", "2px")
        assert style["ring"] != style["ground"]
        assert slider.bounding_box() == before, "a longer value moves the slider"
        numerals = tab.locator("#one output").evaluate(
            "each => getComputedStyle(each).fontVariantNumeric"
        )
        assert numerals == "tabular-nums"


# Playing


def stopped_clock(tab, address):
    """Open a page in which time passes only when a test says so."""
    tab.clock.install(time=0)
    tab.goto(address)
    tab.clock.pause_at(3_600_000)


def test_play_shows_every_state_long_enough_to_be_read_and_stops_at_the_last(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        stopped_clock(tab, page("light"))
        button = tab.get_by_role("button", name="Play: pixels moved", exact=True)
        tab.clock.run_for(60_000)
        assert seen(tab, "two") == at(0, "shift"), "nothing moves before a reader asks for it"
        assert button.get_attribute("aria-pressed") == "false"
        icon = button.locator("path").get_attribute("d")
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert button.locator("path").get_attribute("d") != icon
        for place in (1, 2):
            assert seen(tab, "two") == at(place, "shift")
            tab.clock.run_for(1_000)
            assert seen(tab, "two") == at(place, "shift"), "a second is too short to read"
            tab.clock.run_for(players._PACE - 1_000)
        tab.clock.run_for(60_000)
        assert seen(tab, "two") == at(3, "shift")
        assert button.get_attribute("aria-pressed") == "false"
        assert button.locator("path").get_attribute("d") == icon
        assert (seen(tab, "one"), seen(tab, "twin")) == (at(0), at(0))
        button.click()
        assert seen(tab, "two") == at(0, "shift"), "from the last state it starts anew"
        tab.clock.run_for(60_000)
        assert seen(tab, "two") == at(3, "shift")
        assert watch.complaints == []


@pytest.mark.parametrize("pause", ["button", "slider"])
def test_a_reader_stops_what_plays(chromium, page, pause):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        stopped_clock(tab, page("dark"))
        said = tab.locator("#one output")
        assert said.get_attribute("aria-live") == "off"
        tab.keyboard.press("Tab")
        tab.keyboard.press("Space")
        assert seen(tab, "one") == at(1)
        assert said.get_attribute("aria-live") == "polite", "what plays is read out"
        if pause == "slider":
            tab.keyboard.press("Tab")
            tab.keyboard.press("ArrowLeft")
            assert said.get_attribute("aria-live") == "off", "the slider says its value itself"
        else:
            tab.keyboard.press("Enter")
        shown = seen(tab, "one")
        assert tab.locator("#one button").get_attribute("aria-pressed") == "false"
        tab.clock.run_for(60_000)
        assert seen(tab, "one") == shown


def run_scripts_again(tab, box):
    """Run the scripts of a box once more, as JupyterLab does when the same output comes again."""
    tab.locator(f"#{box}").evaluate(
        """async (box) => {
          for (const old of box.querySelectorAll("script")) {
            const script = document.createElement("script");
            for (const { name, value } of old.attributes) script.setAttribute(name, value);
            script.textContent = old.textContent;
            old.replaceWith(script);
          }
          await new Promise((done) => requestAnimationFrame(done));
        }"""
    )


def test_a_script_that_runs_again_leaves_what_plays_in_the_readers_hand(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        tab.clock.install(time=0)
        tab.locator("#two button").click()
        run_scripts_again(tab, "two")
        tab.locator("#two button").click()
        shown = seen(tab, "two")
        tab.clock.run_for(60_000)
        assert shown == at(1, "shift") == seen(tab, "two")


def test_a_player_that_has_left_the_page_stops(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        stopped_clock(tab, page())
        tab.locator("#one button").click()
        tab.evaluate("window.gone = document.querySelector('#one .player'); gone.remove()")
        tab.clock.run_for(60_000)
        # It notices at its next step: the states behind that are not reached.
        assert tab.evaluate("gone.querySelector('input').value") == "2"


def test_for_a_reader_who_prefers_reduced_motion_the_button_shows_the_next_state(chromium, page):
    with test_browser.Watch(chromium, reduced_motion="reduce") as watch:
        tab = watch.tab
        stopped_clock(tab, page("light"))
        button = tab.get_by_role("button", name="Next: pixels moved", exact=True)
        assert button.get_attribute("aria-pressed") is None
        for place in (1, 2, 3, 0):
            button.click()
            tab.clock.run_for(60_000)
            assert seen(tab, "two") == at(place, "shift")
