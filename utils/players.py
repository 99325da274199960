"""Pictures that a reader moves: prepared states behind a slider, with no kernel and no network."""

import hashlib
import html
from collections.abc import Sequence

from IPython.display import display
from matplotlib.figure import Figure

from utils.figures import to_svg

# The script touches its own player and nothing else on the page. It goes by a mark and not by an id
# or by its own place: a page may hold the same player twice, and some programs that show notebooks
# run a script somewhere else.
_SCRIPT = """<script>
document.querySelectorAll('.player[data-player="%s"]').forEach((player) => {
  const slider = player.querySelector("input"), output = player.querySelector("output");
  const states = [...player.querySelectorAll(".player-state")];
  const show = () => {
    states.forEach((state, number) => { state.hidden = number !== +slider.value; });
    const name = states[slider.value].dataset.name;
    output.textContent = name;
    slider.setAttribute("aria-valuetext", name);
  };
  slider.disabled = false;
  slider.oninput = show;
  show();
});
</script>"""


def slider(states: Sequence[tuple[str, Figure, str]], label: str) -> None:
    """Show one of several figures below the cell, chosen by a slider.

    Parameters
    ----------
    states : sequence of (str, matplotlib.figure.Figure, str)
        Name of each state, its figure, and what the figure shows, in a sentence. The names differ.
    label : str
        What the slider changes; stands in front of it.

    Raises
    ------
    ValueError
        When there are fewer than two states, two of them have one name, or a name or the label is
        empty.

    Notes
    -----
    Works with mouse, finger and keyboard, in a running notebook, in the built page, and from a
    file. Without JavaScript the first state is shown.
    """
    if len(states) < 2:
        raise ValueError(f"states has {len(states)} entries; a slider needs at least two")
    names = [name for name, _, _ in states]
    if not label.strip() or not all(name.strip() for name in names):
        raise ValueError(f"label={label!r}, states named {names}; allowed are texts with a letter")
    if len(set(names)) < len(names):
        raise ValueError(f"states are named {names}; a name may stand there once")
    # Two players may have a figure in common, and a browser that looks up an id in a hidden picture
    # finds no clip path there.
    drawn = [
        (name, to_svg(figure, alt, f"{label} {names} {number}"))
        for number, (name, figure, alt) in enumerate(states)
    ]
    mark = hashlib.sha256(repr((label, drawn)).encode()).hexdigest()[:12]
    pictures = "".join(
        f'<div class="player-state" data-name="{html.escape(name)}"{" hidden" * (number > 0)}>'
        f"{svg}</div>"
        for number, (name, svg) in enumerate(drawn)
    )
    first = html.escape(names[0])
    # What a screen reader says of the slider need not be said again for the text beside it; and
    # Firefox brings a slider back to where it stood before a reload unless it is told not to.
    markup = (
        f'<div class="player" data-player="{mark}"><div class="player-controls">'
        f"<label>{html.escape(label)} "
        f'<input type="range" min="0" max="{len(drawn) - 1}" value="0" autocomplete="off" '
        f'aria-valuetext="{first}" disabled></label><output aria-live="off">{first}</output></div>'
        f'<div class="player-states">{pictures}</div></div>'
    )
    text = f"[slider: {label}; {', '.join(names)}]"
    display({"text/html": markup + _SCRIPT % mark, "text/plain": text}, raw=True)
