"""Questions with answers, and guesses that are shown again beside the result.

What happens in the page is in ``question.js``.
"""

import html
import string
from collections.abc import Mapping, Sequence

from utils.widgets import page


def quiz(text: str, answers: Mapping[str, str], right: str) -> None:
    """Ask a question below the cell; a chosen answer is marked right or wrong, with the reason.

    Parameters
    ----------
    text : str
        The question.
    answers : mapping of str to str
        Two or more answers, in their order, with the reason why each is right or wrong.
    right : str
        The right answer.

    Raises
    ------
    ValueError
        If there are fewer than two answers or more than 26, a text is empty, or `right` is none of
        the answers.

    Notes
    -----
    Native radio buttons, so that mouse, finger, keyboard and screen reader work as usual. Without
    JavaScript the reasons are folded below the answers.
    """
    _check(text, answers, right)
    listed, reasons = _list(answers), _list(answers.values())
    folded = f"<details><summary>Answers</summary>{reasons}</details>"
    state = {"text": text, "answers": list(answers.items()), "right": list(answers).index(right)}
    _show("Question", text, state, f"<p>{html.escape(text)}</p>{listed}{folded}", answers)


def predict(name: str, text: str, answers: Sequence[str]) -> None:
    """Ask below the cell for a guess at a result that comes later on the page; see `outcome`.

    Parameters
    ----------
    name : str
        Name of the guess; once on a page.
    text : str
        The question.
    answers : sequence of str
        As for `quiz`, but all different and without reasons: the experiment will tell which is
        right.

    Raises
    ------
    ValueError
        As for `quiz`.
    """
    _check(text, answers, name=name)
    state = {"name": name, "text": text, "answers": [[answer, ""] for answer in answers]}
    content = f"<p>{html.escape(text)}</p>{_list(answers)}"
    _show("Prediction", text, state, content, answers)


def outcome(name: str, right: str, reasons: Sequence[str]) -> None:
    """Show below the cell what became of a guess.

    Parameters
    ----------
    name : str
        Name of the guess, as in `predict`.
    right : str
        The letter of the right answer. Compute it from the runs, or assert it, so that it cannot
        outlive them.
    reasons : sequence of str
        For each answer, why it is right or wrong.

    Raises
    ------
    ValueError
        If `right` is not one of the letters, or as for `quiz`.
    """
    letters = string.ascii_uppercase[: len(reasons)]
    _check(name, reasons, name=name)
    if right not in list(letters):
        raise ValueError(f"right={right!r}; allowed are {', '.join(letters)}")
    place = letters.index(right)
    words = [
        f"{'✓ Right' if number == place else '✗ Wrong'}: {reason}"
        for number, reason in enumerate(reasons)
    ]
    state = {"name": name, "outcome": True, "right": place}
    content = f"<p>Your prediction, and what the runs say:</p>{_list(words)}"
    _show("Outcome of the prediction", name, state, content, words)


def _check(text: str, answers, right: str | None = None, name: str = "x") -> None:
    given = list(answers)
    texts = [text, name, *given, *(answers.values() if isinstance(answers, Mapping) else ())]
    if not 2 <= len(given) <= len(string.ascii_uppercase):
        raise ValueError(f"answers has {len(given)} entries; allowed are 2 to 26")
    if not all(isinstance(each, str) and each.strip() for each in texts):
        raise ValueError(f"text, name and answers are {texts}; allowed are texts with a letter")
    if len(set(given)) < len(given):
        raise ValueError(f"answers are {given}; an answer may stand there once")
    if right is not None and right not in given:
        raise ValueError(f"right={right!r}; allowed is one of the answers, {given}")


def _list(texts) -> str:
    items = "".join(f"<li>{html.escape(each)}</li>" for each in texts)
    return f'<ol type="A">{items}</ol>'


def _show(kind: str, text: str, state: dict, content: str, answers) -> None:
    markup = page.whole("question", f"{kind}: {text}", state, content)
    lettered = zip(string.ascii_uppercase, answers, strict=False)
    page.show(markup, f"{kind}: {text} {' '.join(f'{a}. {words}' for a, words in lettered)}")
