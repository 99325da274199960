"""Controls that compute with the running kernel; on a page, prepared pictures instead."""

import contextlib
import html
import inspect
import os
import threading
from collections.abc import Callable, Mapping

import ipywidgets
from IPython.display import display

from utils.checked import checked
from utils.figures import to_svg
from utils.widgets.slider import slider

# What `make notebooks` and the tests set: an output that is stored has no kernel behind it.
SETTING = "MNIST_LIVE"


@checked
def live(
    draw: Callable,
    controls: Mapping[str, object],
    states: Mapping[str, Mapping[str, object]],
    label: str,
    button: str = "Run",
) -> None:
    """Show what a function draws, with a control for each of its arguments.

    In a running notebook the kernel computes each picture when it is asked for. In a stored output,
    as on a page, a `slider` shows prepared states of the same function.

    Parameters
    ----------
    draw : callable
        Takes the controls by name and returns a figure and what it shows, in a sentence. Or a
        generator function that repeatedly yields how much is done, from 0 to 1, a figure and a
        sentence: it is started by a button, shows each picture as it comes, and can be stopped
        between two of them.
    controls : mapping of str to object
        For each argument, in order, what ``ipywidgets.interactive`` makes a control from: a pair or
        triple of numbers (a range and its step), a list or mapping of choices, a truth value. A
        control that the first state leaves out starts at the default of `draw`, or else at the
        first choice or the lowest number.
    states : mapping of str to mapping
        Name of each prepared state, and values of the controls. The controls start at the first
        state; the others give only what differs from it.
    label : str
        What the prepared states differ in; also shown above the controls.
    button : str
        Text on the button of a generator function.

    Raises
    ------
    ValueError
        If there are no controls or fewer than two states, a state sets something other than a
        control, a control cannot take a value from a state or a default of `draw`, or an entry of
        `controls` gives no control.

    Notes
    -----
    With ``MNIST_LIVE=0`` every output is made like a stored one. An error in `draw` is shown in
    place of the picture, and the next change of a control draws again.
    """
    made = _controls(controls)
    if len(states) < 2:
        raise ValueError(f"states has {len(states)} entries; a page needs at least two")
    start = {name: control.value for name, control in made.items()}
    parameters = inspect.signature(draw).parameters
    usual = {
        name: parameters[name].default
        for name in made
        if name in parameters and parameters[name].default is not inspect.Parameter.empty
    }
    given = {"draw": usual} | {f"states[{name!r}]": values for name, values in states.items()}
    for place, values in given.items():
        unknown = sorted(set(values) - set(made))
        if unknown:
            raise ValueError(f"{place} sets {unknown}; allowed are {list(made)}")
        for name, value in values.items():
            if not _can_be(made[name], value):
                raise ValueError(
                    f"{place} sets {name!r} to {value!r}; allowed is {controls[name]!r}"
                )
    start |= usual
    start |= next(iter(states.values()))
    for name, value in start.items():
        made[name].value = value
    if os.environ.get(SETTING) == "0":
        slider([(name, *_last(draw, start | values)) for name, values in states.items()], label)
    else:
        display(_Panel(draw, made, label, button).box)


def _controls(controls: Mapping[str, object]) -> dict[str, ipywidgets.Widget]:
    """Make the controls as ``ipywidgets.interactive`` does, to start at the first value of each."""
    if not controls:
        raise ValueError("controls is empty; at least one is needed")
    made = {}
    for name, given in controls.items():
        control = ipywidgets.interactive.widget_from_abbrev(given)
        if control is None:
            raise ValueError(
                f"controls[{name!r}]={given!r}; allowed are a range of numbers, a list or mapping "
                "of choices, and a truth value"
            )
        if isinstance(given, tuple):
            control.value = control.min
        control.description = name.replace("_", " ")
        control.style.description_width = "9em"
        made[name] = control
    return made


def _can_be(control: ipywidgets.Widget, value: object) -> bool:
    """Set a control, and tell whether it took the value: a slider moves it into its range."""
    with contextlib.suppress(Exception):  # A list of choices refuses it, whatever it is.
        control.value = value
        return control.value == value
    return False


def _last(draw: Callable, values: Mapping[str, object]) -> tuple:
    """Draw once, or to the end, and return the figure and what it shows."""
    if not inspect.isgeneratorfunction(draw):
        return draw(**values)
    *_, (_, figure, alt) = draw(**values)
    return figure, alt


class _Panel:
    """Controls, a picture and, for what takes long, a button, a bar and a way to stop."""

    def __init__(self, draw, controls, label, button):
        self.draw, self.controls = draw, controls
        self.picture = ipywidgets.HTML()
        rows = [ipywidgets.Label(label), *controls.values()]
        if inspect.isgeneratorfunction(draw):
            self.stopping = threading.Event()
            self.start = ipywidgets.Button(description=button, button_style="primary")
            self.stop = ipywidgets.Button(description="Stop", disabled=True)
            self.bar = ipywidgets.FloatProgress(min=0, max=1)
            self.start.on_click(self._run)
            self.stop.on_click(lambda _: self.stopping.set())
            rows.append(ipywidgets.HBox([self.start, self.stop, self.bar]))
        else:
            for control in controls.values():
                control.observe(self._draw, "value")
            self._draw()
        self.box = ipywidgets.VBox([*rows, self.picture])
        self.box.add_class("live")

    @property
    def values(self) -> dict[str, object]:
        return {name: control.value for name, control in self.controls.items()}

    def _show(self, figure, alt):
        self.picture.value = f'<div class="figure">{to_svg(figure, alt)}</div>'

    def _complain(self, error):
        words = html.escape(f"{type(error).__name__}: {error}")
        self.picture.value = f'<p class="live-error" role="alert">{words}</p>'

    def _draw(self, change=None):
        try:
            self._show(*self.draw(**self.values))
        except Exception as error:  # Whatever it is, the reader sees it and may go on.
            self._complain(error)

    def _run(self, _):
        """Start in a thread of its own: the kernel must be free to hear that it shall stop."""
        self.start.disabled, self.stop.disabled = True, False
        self.bar.value = 0
        self.stopping.clear()
        threading.Thread(target=self._follow, args=(self.values,), daemon=True).start()

    def _follow(self, values):
        try:
            for done, figure, alt in self.draw(**values):
                self.bar.value = done
                self._show(figure, alt)
                if self.stopping.is_set():
                    break
        except Exception as error:
            self._complain(error)
        finally:
            self.start.disabled, self.stop.disabled = False, True
