"""A widget in a cell's output: style, content and script, and no other file."""

import html
import json
from pathlib import Path

from IPython.display import display

from utils.checked import checked

_HERE = Path(__file__).parent

KINDS = ("draw", "explorer", "question", "slider")


@checked
def whole(kind: str, label: str, state: object, content: str) -> str:
    """Write a widget as self-contained HTML.

    Parameters
    ----------
    kind : str
        Name of its files ``<kind>.css`` and ``<kind>.js``, and its class in the page.
    label : str
        Name of the widget for a screen reader.
    state : object
        What the script starts with; JSON must be able to hold it.
    content : str
        What is shown if no script runs, as HTML.

    Returns
    -------
    str
        The same for the same arguments.
    """
    code = script(kind)
    style = (_HERE / f"{kind}.css").read_text("utf-8")
    packed = html.escape(json.dumps(state, separators=(",", ":")))
    return (
        f'<style>\n{style}</style><div class="{kind}" role="group" '
        f'aria-label="{html.escape(label)}" data-state="{packed}">{content}</div>'
        f'<script type="module">{code}</script>'
    )


@checked
def script(kind: str) -> str:
    """Return the text between a widget's script tags, the same on every page.

    Parameters
    ----------
    kind : str
        As for `whole`.

    Returns
    -------
    str
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r}; allowed are {', '.join(map(repr, KINDS))}")
    parts = ((_HERE / f"{name}.js").read_text("utf-8") for name in ("common", kind))
    return "\n" + "\n".join(parts)


@checked
def show(markup: str, words: str) -> None:
    """Show a widget below the cell, and in words where no HTML is shown.

    Parameters
    ----------
    markup : str
        The widget as HTML, as `whole` gives it.
    words : str
        What it shows.
    """
    display({"text/html": markup, "text/plain": f"[{words}]"}, raw=True)
