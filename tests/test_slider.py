"""Sliders: pictures that a reader moves, by mouse, finger and keyboard."""

import re

import pytest
import test_browser
import test_widgets

from utils import widgets

chromium = test_browser.chromium


def stored(*arguments):
    return test_widgets.shown(widgets.slider, *arguments)[0]


# Markup


def test_names_and_label_are_escaped_and_shown_as_they_are(chromium, tmp_path):
    first, second = test_widgets.states_of(2)
    named = [('<b> "0" & so on', *first[1:]), ("<i>1</i>", *second[1:])]
    markup = stored(named, "<u>kernel</u> & stride > 1")
    assert not re.search("<[bui]>", markup)
    with test_widgets.opened(chromium, tmp_path, markup) as tab:
        slider = tab.get_by_role("slider", name="<u>kernel</u> & stride > 1", exact=True)
        assert slider.get_attribute("aria-valuetext") == '<b> "0" & so on'
        slider.press("End")
        assert tab.locator("output").inner_text() == "<i>1</i>"


# In a browser


@pytest.fixture(scope="module")
def alike():
    """Return the markup of two sliders that have the same figures."""
    labels = {"step": "the column's place", "shift": "pixels moved"}
    markups = [stored(test_widgets.states_of(4, word), label) for word, label in labels.items()]
    ids = [re.findall(r' id="([^"]+)"', markup) for markup in markups]
    assert ids[0] and not set(ids[0]) & set(ids[1])
    return markups


@pytest.fixture
def open_page(chromium, tmp_path, alike):
    return lambda **settings: test_widgets.opened(chromium, tmp_path, *alike, **settings)


def seen(tab, number=0):
    """Return which pictures of a slider show, which one is named and which is read out."""
    box = tab.locator(f"#box{number}")
    shown = [svg for svg in box.locator(".slider-state svg").all() if svg.is_visible()]
    told = [
        box.locator("output").inner_text(),
        box.locator("input").get_attribute("aria-valuetext"),
    ]
    return [svg.get_attribute("aria-label")[-2] for svg in shown], told


def at(place, word="step"):
    return [str(place)], [f"{word} {place}"] * 2


@pytest.mark.parametrize("theme", ["", "light"])
def test_the_keyboard_moves_a_slider(open_page, theme):
    with open_page(theme=theme) as tab:
        assert [seen(tab, number) for number in range(2)] == [at(0), at(0, "shift")]
        for _ in ("button", "slider", "button", "slider"):
            tab.keyboard.press("Tab")
        keys = {"ArrowRight": 1, "ArrowUp": 2, "ArrowLeft": 1, "End": 3, "Home": 0, "PageUp": 1}
        for key, place in keys.items():
            tab.keyboard.press(key)
            assert seen(tab, 1) == at(place, "shift"), key
            assert seen(tab) == at(0)
            # A clip path that is taken from a hidden picture clips nothing in Chromium.
            clips = tab.locator("#box1 .slider-state:not([hidden]) svg").evaluate(
                """(svg) => [...svg.querySelectorAll("[clip-path]")].map((part) => svg.contains(
                  document.querySelector(part.getAttribute("clip-path").slice(4, -1)
                    .replaceAll('"', ''))))"""
            )
            assert clips and all(clips)


@pytest.mark.parametrize("theme", ["", "dark"])
def test_the_mouse_moves_a_slider(open_page, theme):
    with open_page(theme=theme) as tab:
        box = tab.locator("#box0 input").bounding_box()
        left, middle = box["x"] + 3, box["y"] + box["height"] / 2
        right = left + box["width"] - 6
        tab.mouse.click(right, middle)
        assert (seen(tab), seen(tab, 1)) == (at(3), at(0, "shift"))
        tab.mouse.down()
        for place in (2, 1, 0):
            # While it is dragged, and not only at the end.
            tab.mouse.move(left + place / 3 * (right - left), middle)
            assert seen(tab) == at(place)
        tab.mouse.up()


def test_what_plays_is_read_out_and_what_is_moved_says_its_value_itself(open_page):
    with open_page(clock=True) as tab:
        output, button = tab.locator("#box0 output"), tab.locator("#box0 button")
        for act, live in (
            (lambda: None, "off"),
            (button.click, "polite"),
            (lambda: tab.locator("#box0 input").press("ArrowLeft"), "off"),
        ):
            act()
            assert output.get_attribute("aria-live") == live


@pytest.mark.parametrize("theme", ["light", "dark", ""])
@pytest.mark.parametrize("width", [360, 1440])
def test_a_slider_is_wide_large_enough_to_hit_and_does_not_move(open_page, theme, width):
    with open_page(theme=theme, viewport={"width": width, "height": 800}) as tab:
        controls, slider = tab.locator("#box0 .slider-controls"), tab.locator("#box0 input")
        row, button, before = (
            each.bounding_box() for each in (controls, tab.locator("#box0 button"), slider)
        )
        # Beside each other, and together as wide as there is room.
        assert before["width"] > 0.8 * row["width"]
        assert button["x"] + button["width"] <= before["x"]
        assert before["x"] + before["width"] > row["x"] + 0.95 * row["width"]
        assert abs(button["y"] + button["height"] / 2 - before["y"] - before["height"] / 2) < 4
        assert min(before["height"], button["height"], button["width"]) >= 24
        assert tab.locator("#box0 svg >> visible=true").last.bounding_box()["width"] <= width
        slider.press("End")
        assert slider.bounding_box() == before, "a longer value moves the slider"
        numerals = "e => getComputedStyle(e).fontVariantNumeric"
        assert tab.locator("#box0 output").evaluate(numerals) == "tabular-nums"
