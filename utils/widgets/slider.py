"""Prepared pictures behind a slider. What happens in the page is in ``slider.js``."""

import html
from collections.abc import Sequence

from matplotlib.figure import Figure

from utils.checked import checked
from utils.figures import to_svg
from utils.widgets import page


@checked
def slider(states: Sequence[tuple[str, Figure, str]], label: str) -> None:
    """Show one of several figures below the cell, chosen by a slider or played one by one.

    Parameters
    ----------
    states : sequence of (str, matplotlib.figure.Figure, str)
        Name of each state, its figure, and what the figure shows, in a sentence. The names must
        differ.
    label : str
        What the slider changes; shown in front of it.

    Raises
    ------
    ValueError
        If there are fewer than two states, two have the same name, or a name or the label is empty.

    Notes
    -----
    Works with mouse, finger and keyboard, in a running notebook, on a built page, and from a file.
    The button beside the slider plays the states up to the last, until it is pressed again or the
    slider is moved; for a reader who prefers reduced motion it shows the next state. Without
    JavaScript the first state is shown.
    """
    if len(states) < 2:
        raise ValueError(f"states has {len(states)} entries; a slider needs at least two")
    names = [name for name, _, _ in states]
    if not label.strip() or not all(name.strip() for name in names):
        raise ValueError(f"label={label!r}, states named {names}; allowed are texts with a letter")
    if len(set(names)) < len(names):
        raise ValueError(f"states are named {names}; a name may stand there once")
    pictures = "".join(
        f'<div class="slider-state" data-name="{html.escape(name)}"{" hidden" * (number > 0)}>'
        # Two sliders may have a figure in common, and a browser that looks up an id in a hidden
        # picture finds no clip path there.
        f"{to_svg(figure, alt, f'{label} {names} {number}')}</div>"
        for number, (name, figure, alt) in enumerate(states)
    )
    content = (
        f'<div class="slider-controls"><span>{html.escape(label)}</span>'
        f"<output>{html.escape(names[0])}</output></div>"
        f'<div class="slider-states">{pictures}</div>'
    )
    markup = page.whole("slider", f"Interactive figure: {label}", {"label": label}, content)
    page.show(markup, f"slider: {label}; {', '.join(names)}")
