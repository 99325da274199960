"""Questions: a reason for each answer, and a guess that is shown again beside its result."""

import ast

import nbformat
import pytest
import test_browser
import test_widgets
from helpers import refused

from utils import widgets
from utils.commands import course
from utils.paths import CHAPTERS

chromium = test_browser.chromium

ANSWERS = {"<b>42</b>": "Six <i>times</i> seven.", "13": "That is their sum."}
REASONS = ["None is <lost>.", "A few are.", "All are."]


def quiz(*arguments):
    return test_widgets.shown(widgets.quiz, *arguments)


def prediction(name="kept"):
    answers = ["nothing", "a little", "everything"]
    markup, _ = test_widgets.shown(widgets.predict, name, "What is lost?", answers)
    return markup


def outcome(right="B", name="kept"):
    return test_widgets.shown(widgets.outcome, name, right, REASONS)[0]


def test_each_answer_of_a_quiz_is_right_or_wrong_with_its_reason(chromium, tmp_path):
    markup, words = quiz("What is 6 & 7?", ANSWERS, "<b>42</b>")
    assert words == "[Question: What is 6 & 7? A. <b>42</b> B. 13]"
    with test_widgets.opened(chromium, tmp_path, markup) as tab:
        told = tab.locator("output")
        assert told.inner_text() == "" and told.get_attribute("aria-live") == "polite"
        tab.get_by_role("radio", name="B. 13").check()
        assert told.inner_text() == "✗ Not quite: That is their sum."
        tab.keyboard.press("ArrowUp")
        assert tab.get_by_role("radio", name="A. <b>42</b>").is_checked()
        assert told.inner_text() == "✓ Right: Six <i>times</i> seven."


def test_without_a_script_the_reasons_are_folded_below_the_answers(chromium, tmp_path):
    markup, _ = quiz("What is 6 & 7?", ANSWERS, "13")
    with test_widgets.opened(chromium, tmp_path, markup, java_script_enabled=False) as tab:
        assert tab.locator("input").count() == 0
        reason = tab.get_by_text("That is their sum.")
        assert tab.get_by_text("13", exact=True).is_visible() and not reason.is_visible()
        tab.get_by_text("Answers").click()
        assert reason.is_visible()


@pytest.mark.parametrize("order", [1, -1])
def test_a_guess_is_shown_again_beside_its_result(order, chromium, tmp_path):
    markups = [prediction(), outcome()][::order]
    other = [prediction("another"), outcome("A", "another")]
    with test_widgets.opened(chromium, tmp_path, *markups, *other) as tab:
        first, second = (
            tab.locator(".question").filter(has=tab.locator("li")).nth(number) for number in (0, 1)
        )
        head = first.locator("p")
        assert head.inner_text() == "You have made no prediction above. What the runs say:"
        asked = tab.get_by_role("group", name="Prediction: What is lost?").first
        asked.get_by_role("radio", name="A. nothing").check()
        assert "see it again" in asked.locator("output").inner_text()
        assert head.inner_text() == "You predicted A, which is wrong. What the runs say:"
        assert first.locator("li.chosen").all_inner_texts() == ["✗ Wrong: None is <lost>."]
        tab.keyboard.press("ArrowDown")
        assert head.inner_text() == "You predicted B, which is right. What the runs say:"
        assert first.locator("li.chosen").all_inner_texts() == ["✓ Right: A few are."]
        assert "no prediction" in second.locator("p").inner_text()


def test_a_guess_outlives_its_cell(chromium, tmp_path):
    """JupyterLab takes out of the page what is out of sight, and runs a script anew."""
    with test_widgets.opened(chromium, tmp_path, prediction(), outcome()) as tab:
        tab.get_by_role("radio", name="B. a little").check()
        tab.locator("#box0").evaluate("box => box.remove()")
        tab.locator("#box1 .question").evaluate("root => { root.started = false; }")
        test_widgets.run_scripts_again(tab, "box1")
        assert "You predicted B" in tab.locator("#box1 p").inner_text()


MANY = [str(number) for number in range(27)]


@pytest.mark.parametrize(
    "show, message",
    [
        (lambda: widgets.quiz("?", {"a": "b"}, "a"), "answers has 1 entries; allowed are 2 to 26"),
        (lambda: widgets.predict("n", "?", MANY), "answers has 27 entries"),
        (lambda: widgets.quiz("?", {"a": "b", "c": " "}, "a"), "allowed are texts with a letter"),
        (lambda: widgets.quiz(" ", ANSWERS, "13"), "allowed are texts with a letter"),
        (lambda: widgets.predict("", "?", ["a", "b"]), "allowed are texts with a letter"),
        (lambda: widgets.predict("n", "?", ["a", "a"]), "an answer may stand there once"),
        (lambda: widgets.quiz("?", ANSWERS, "12"), "right='12'; allowed is one of the answers"),
        (lambda: widgets.outcome("n", "D", REASONS), "right='D'; allowed are A, B, C"),
        (lambda: widgets.outcome("n", "AB", REASONS), "right='AB'; allowed are A, B, C"),
    ],
)
def test_what_is_no_question_is_refused(show, message):
    with refused(message):
        show()


# What the chapters ask, by their source

SOURCES = {
    chapter.name: nbformat.read(CHAPTERS / f"{chapter.name}.ipynb", as_version=4).cells
    for chapter in course.chapters()
}


def calls(cells, function):
    """Find the calls of a function of `widgets`: number of the cell, call, tags of the cell."""
    for number, cell in enumerate(cells):
        source = cell.source if cell.cell_type == "code" else ""
        for call in ast.walk(ast.parse(source)) if f"widgets.{function}(" in source else ():
            if isinstance(call, ast.Call) and ast.unparse(call.func) == f"widgets.{function}":
                yield number, call, cell.metadata.get("tags", [])


@pytest.mark.parametrize("name", SOURCES)
def test_a_chapter_asks_three_questions_before_what_to_remember(name):
    cells = SOURCES[name]
    assert any("## Predict" in cell.source.splitlines() for cell in cells)
    found = list(calls(cells, "quiz"))
    assert len(found) == 3
    first, last = found[0][0], found[-1][0]
    assert cells[first - 1].source.endswith("## Check yourself")
    assert cells[last + 1].source.startswith(("## What to remember", "## Exercise"))
    assert last - first == 2, "one question a cell, and nothing between them"
    assert all("hide-input" in tags for _, _, tags in found)
    right = []
    for _, call, _ in found:
        answers = list(ast.literal_eval(call.args[1]))
        [chosen] = [ast.literal_eval(word.value) for word in call.keywords if word.arg == "right"]
        right.append(answers.index(chosen))
        assert 3 <= len(answers) <= 4
    assert len(set(right)) > 1, "the right answer is always at the same position"


@pytest.mark.parametrize("name", SOURCES)
def test_each_prediction_has_one_outcome_with_as_many_answers_further_down(name):
    said = {}
    for function in ("predict", "outcome"):
        said[function] = {}
        for number, call, tags in calls(SOURCES[name], function):
            asked = ast.literal_eval(call.args[0])
            assert asked not in said[function], f"{function} {asked!r} stands there twice"
            assert "hide-input" in tags
            said[function][asked] = number, len(call.args[2].elts)
    assert said["predict"] and said["predict"].keys() == said["outcome"].keys()
    for asked, (number, answers) in said["predict"].items():
        told, reasons = said["outcome"][asked]
        assert number < told and answers == reasons, asked
