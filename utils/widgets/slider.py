"""Pictures that a reader moves: prepared states behind a slider, with no kernel and no network."""

import hashlib
import html
from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from utils.figures import to_svg
from utils.widgets.draw import draw_html
from utils.widgets.explorer import explorer_html

# The script touches its own player and nothing else on the page. It goes by a mark and not by an id
# or by its own place: a page may hold the same player twice, and some programs that show notebooks
# run a script somewhere else. Nothing moves until a reader asks for it, and for whoever asked their
# system for less motion the button goes one state on.
_SCRIPT = """<script>
document.querySelectorAll('.player[data-player="%s"]').forEach((player) => {
  if (player.ready) return;
  player.ready = true;
  const slider = player.querySelector("input"), output = player.querySelector("output");
  const button = player.querySelector("button"), icon = button.querySelector("path");
  const states = [...player.querySelectorAll(".player-state")];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const icons = {
    Play: "M4 2v12l10-6z", Pause: "M3 2h4v12H3zM9 2h4v12H9z", Next: "M3 2v12l7-6zM11 2h3v12h-3z",
  };
  let timer;
  const show = () => {
    states.forEach((state, number) => { state.hidden = number !== +slider.value; });
    const name = states[slider.value].dataset.name;
    output.textContent = name;
    slider.setAttribute("aria-valuetext", name);
  };
  const dress = () => {
    const name = calm.matches ? "Next" : "Play";
    button.setAttribute("aria-label", `${name}: ${button.dataset.label}`);
    if (calm.matches) button.removeAttribute("aria-pressed");
    else button.setAttribute("aria-pressed", timer !== undefined);
    icon.setAttribute("d", icons[timer === undefined ? name : "Pause"]);
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    dress();
  };
  const step = () => {
    slider.value = (+slider.value + 1) %% states.length;
    show();
    // A player that has left its page, as when its cell runs again, stops as well.
    if (+slider.value === states.length - 1 || !player.isConnected) stop();
  };
  button.onclick = () => {
    // The slider says its value itself; what moves without it is said here.
    output.setAttribute("aria-live", "polite");
    if (timer !== undefined) return stop();
    if (!calm.matches) timer = setInterval(step, %d);
    dress();
    step();
  };
  slider.oninput = () => {
    output.setAttribute("aria-live", "off");
    stop();
    show();
  };
  calm.addEventListener("change", stop);
  slider.disabled = button.hidden = false;
  stop();
  show();
});
</script>"""

# Milliseconds a state, when it plays: enough to read its name and look at its picture.
_PACE = 1500

# JupyterLab takes keys for its own shortcuts, arrows among them, unless what has the focus says so.
_OWN_KEYS = "data-lm-suppress-shortcuts"


def slider(states: Sequence[tuple[str, Figure, str]], label: str) -> None:
    """Show one of several figures below the cell, chosen by a slider or played one by one.

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
    file. The button beside the slider plays the states up to the last, and stops when it is pressed
    again or the slider is moved; for a reader who prefers reduced motion it shows the next state.
    Without JavaScript the first state is shown.
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
        f'<button type="button" class="play" {_OWN_KEYS} data-label="{html.escape(label)}" hidden>'
        '<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        '<path fill="currentColor"/></svg></button>'
        f"<label><span>{html.escape(label)}</span> "
        f'<input type="range" min="0" max="{len(drawn) - 1}" value="0" autocomplete="off" '
        f"{_OWN_KEYS} "
        f'aria-valuetext="{first}" disabled></label><output aria-live="off">{first}</output></div>'
        f'<div class="player-states">{pictures}</div></div>'
    )
    text = f"[slider: {label}; {', '.join(names)}]"
    display({"text/html": markup + _SCRIPT % (mark, _PACE), "text/plain": text}, raw=True)


def explorer(
    size: int = 5,
    kernel: int = 3,
    stride: int = 1,
    padding: str | int = "valid",
    dilation: int = 1,
    transposed: bool = False,
    channels: int = 1,
    filters: int = 1,
    image: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    bias: float | np.ndarray = 0.0,
) -> None:
    """Show a convolution whose settings and numbers a reader changes, one output cell at a time.

    Parameters
    ----------
    size, kernel : int
        Cells along both axes of the input, 1 to 10, and of the kernel, 1 to 5.
    stride, dilation : int
        1 to 4, and 1 to 3.
    padding : {"valid", "same", "full"} or int
        See `utils.arithmetic.padding_widths`; a number from 0 to 6.
    transposed : bool
        Start with the transposed convolution.
    channels, filters : int
        Channels of the input and of the output, 1 to 3.
    image : array_like, shape (size, size) or (size, size, channels), optional
        Numbers of the input; small whole ones by default.
    weights : array_like, shape (kernel, kernel, channels, filters), optional
        Numbers of the kernel, in ``Conv2D``'s order also for the transposed convolution, whose own
        has its last two axes the other way round. Last axes of length 1 may be left out.
    bias : float or array_like, shape (filters,)
        One for all, or one for each output channel.

    Raises
    ------
    ValueError
        When a setting is not as above, the settings give no output, or an array does not fit them.

    Notes
    -----
    All settings are only where a reader starts. Works where `slider` works; without JavaScript a
    picture of the first state is shown.
    """
    settings = {
        "size": size,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "channels": channels,
        "filters": filters,
        "transposed": bool(transposed),
    }
    shown, alt = explorer_html(settings, image, weights, bias)
    display({"text/html": shown, "text/plain": f"[explorer: {alt}]"}, raw=True)


def draw_a_digit(
    networks: Mapping[str, object],
    examples: Mapping[str, tuple[Sequence[int], np.ndarray]],
    first: int = 0,
) -> None:
    """Show a sheet to draw a digit on, and everything that trained networks compute from it.

    Parameters
    ----------
    networks : mapping of str to keras.Model
        Name and network: layers in a row, from images of shape (28, 28, 1) with pixels in 0..1 to
        ten logits. Convolutions, poolings, batch norm, ReLU, dropout, flatten and dense layers.
    examples : mapping of str to (sequence of int, ndarray)
        Title of a group, and its labels and images, of shape (labels, 28, 28) in uint8.
    first : int
        Place in the first group of the example that a reader finds on the sheet.

    Raises
    ------
    ValueError
        When a network has another shape or a layer that is not known here, or the examples are not
        as above.

    Notes
    -----
    The networks run in the page: they need no kernel. Works where `slider` works; without
    JavaScript a picture of the first example is shown.
    """
    shown, alt = draw_html(networks, examples, first)
    display({"text/html": shown, "text/plain": f"[draw a digit: {alt}]"}, raw=True)
