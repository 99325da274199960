"""A convolution to take apart.

What happens in the page is in ``explorer.js``; here are its limits, its first numbers and the
picture that is shown if no script runs.
"""

from collections.abc import Mapping
from numbers import Integral

import numpy as np
from matplotlib.patches import Rectangle

from utils import figures
from utils.checked import checked, shown
from utils.theory.arithmetic import output_size, padding_widths, transposed_output_size
from utils.theory.reference import conv2d, conv2d_transpose
from utils.widgets import page

LIMITS = {
    "size": (1, 10),
    "kernel": (1, 5),
    "stride": (1, 4),
    "padding": (0, 6),
    "dilation": (1, 3),
    "channels": (1, 3),
    "filters": (1, 3),
}


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
    """Show a convolution, one output cell at a time; a reader can change its settings and numbers.

    Parameters
    ----------
    size, kernel : int
        Cells along both axes of the input, 1 to 10, and of the kernel, 1 to 5.
    stride, dilation : int
        1 to 4, and 1 to 3.
    padding : {"valid", "same", "full"} or int
        See `utils.theory.arithmetic.padding_widths`; a number from 0 to 6.
    transposed : bool
        Start with the transposed convolution.
    channels, filters : int
        Channels of the input and of the output, 1 to 3.
    image : array_like, shape (size, size) or (size, size, channels), optional
        Numbers of the input; small whole ones by default.
    weights : array_like, shape (kernel, kernel, channels, filters), optional
        Numbers of the kernel, in the axis order of ``Conv2D``, even for the transposed convolution,
        whose own order swaps the last two. Trailing axes of length 1 may be left out.
    bias : float or array_like, shape (filters,)
        One number for all output channels, or one for each.

    Raises
    ------
    ValueError
        If a setting is not as above, the settings give no output, or an array does not fit them.

    Notes
    -----
    All settings are only a reader's starting point. Works where `slider` works; without JavaScript
    a picture of the first state is shown.
    """
    settings = {
        "size": size,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "channels": channels,
        "filters": filters,
        "transposed": transposed,
    }
    markup, alt = explorer_html(settings, image, weights, bias)
    page.show(markup, f"explorer: {alt}")


@checked
def explorer_html(
    settings: Mapping[str, object], image=None, weights=None, bias=0.0
) -> tuple[str, str]:
    """Write an explorer as self-contained HTML: style, numbers, picture and script.

    Parameters
    ----------
    settings : mapping of str to object
        ``size``, ``kernel``, ``stride``, ``padding``, ``dilation``, ``channels`` and ``filters``,
        and ``transposed``, a bool.
    image, weights, bias
        As for `explorer`.

    Returns
    -------
    markup : str
        Style, static picture and script; the same for the same arguments.
    alt : str
        The first state in words.

    Raises
    ------
    ValueError
        If a setting is outside `LIMITS`, there is no output, or an array does not have the shape
        that the settings imply.
    """
    settings = _checked(settings)
    image, weights, bias = numbers(settings, image, weights, bias)
    drawn, alt = _picture(settings, image, weights, bias)
    data = {
        "limits": LIMITS,
        "settings": settings,
        "image": image.tolist(),
        "weights": weights.tolist(),
        "bias": bias.tolist(),
    }
    return page.whole("explorer", "Convolution explorer", data, drawn), alt


def _checked(settings):
    """Return the settings as plain Python values, in the order of `LIMITS`."""
    checked = {}
    if missing := [*LIMITS.keys() - settings.keys(), *{"transposed"} - settings.keys()]:
        raise ValueError(f"settings={shown(settings)}; allowed is one with {sorted(missing)}")
    for name, (least, most) in LIMITS.items():
        value = settings[name]
        if name == "padding" and isinstance(value, str) and value in ("valid", "same", "full"):
            checked[name] = value
            continue
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            words = '"valid", "same", "full" or ' if name == "padding" else ""
            raise ValueError(
                f"{name}={value!r}; allowed is {words}a whole number from {least} to {most}"
            )
        checked[name] = int(value)
    transposed = settings["transposed"]
    if not isinstance(transposed, (bool, np.bool_)):
        raise ValueError(f"transposed={transposed!r}; allowed is True or False")
    return checked | {"transposed": bool(transposed)}


def numbers(settings: Mapping[str, object], image=None, weights=None, bias=0.0):
    """Give the first numbers, for the largest input and kernel that a reader can choose.

    Parameters
    ----------
    settings, image, weights, bias
        As for `explorer_html`.

    Returns
    -------
    image : ndarray, shape (channels, rows, columns)
    weights : ndarray, shape (filters, channels, rows, columns)
    bias : ndarray, shape (filters,)
        The given numbers first, and small whole ones beyond them.
    """
    most = {name: high for name, (_, high) in LIMITS.items()}
    size, kernel, channels = settings["size"], settings["kernel"], settings["channels"]
    c, row, column = np.indices((most["channels"], most["size"], most["size"]))
    pixels = (3 * row + 5 * column + row * column + 2 * c) % 4
    f, c, row, column = np.indices(
        (most["filters"], most["channels"], most["kernel"], most["kernel"])
    )
    taps = (row + 2 * column + c + f) % 3 - 1
    pixels = _put(pixels, "image", image, (size, size, channels), (2, 0, 1))
    shape = (kernel, kernel, channels, settings["filters"])
    taps = _put(taps, "weights", weights, shape, (3, 2, 0, 1))
    offsets = np.zeros(most["filters"], int)
    if np.ndim(bias) == 0:
        bias = np.full(settings["filters"], bias)
    return pixels, taps, _put(offsets, "bias", bias, (settings["filters"],), (0,))


def _put(into, name, values, shape, order):
    """Lay values over the first ones; last axes that have one entry may be left out."""
    if values is None:
        return into
    values = np.asarray(values)
    left_out = values.shape + (1,) * (len(shape) - values.ndim)
    if left_out != shape or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(
            f"{name} has shape {values.shape} and dtype {values.dtype}; allowed is an array of "
            f"finite numbers of shape {shape}"
        )
    values = values.reshape(shape).transpose(order)
    into = into.astype(np.result_type(into, values))
    into[tuple(slice(length) for length in values.shape)] = values
    return into


def _picture(settings, image, weights, bias):
    """Draw the first state as SVG, and say it in words."""
    size, kernel, stride, padding, dilation, channels, filters = (settings[n] for n in LIMITS)
    window = stride, padding, dilation
    x = image[None, :channels, :size, :size].transpose(0, 2, 3, 1).astype(float)
    w = weights[:filters, :channels, :kernel, :kernel].transpose(2, 3, 1, 0).astype(float)
    bias = bias[:filters].astype(float)
    reach = dilation * (kernel - 1) + 1
    if settings["transposed"]:
        outputs = transposed_output_size(size, kernel, *window)
        y = conv2d_transpose(x, w.transpose(0, 1, 3, 2), bias, *window)
        first, gap = reach - 1 - padding_widths(outputs, kernel, *window)[0], stride
        wide = outputs + reach - 1
    else:
        outputs = output_size(size, kernel, *window)
        y = conv2d(x, w, bias, *window)
        first, gap = padding_widths(size, kernel, *window)[0], 1
        wide = size + sum(padding_widths(size, kernel, *window))
    # Of a transposed convolution with much padding, input cells may lie outside of all windows.
    start = min(first, 0)
    places = first - start + gap * np.arange(size)
    spread = np.zeros((max(wide - start, places[-1] + 1),) * 2 + (channels,))
    spread[np.ix_(places, places)] = x[0]
    rows = max(channels, filters)
    cells = [len(spread), kernel, outputs]
    scale = min(7 / (sum(cells) + 2), 0.42)  # Inches a cell.
    made, axes = figures.figure(
        scale * (sum(cells) + 2),
        rows * (max(scale * max(cells), 0.5) + 0.35),
        nrows=rows,
        ncols=3,
        width_ratios=cells,
    )
    for place in axes.flat:
        place.axis("off")
    for number in range(channels):
        of = f" {number + 1}," if channels > 1 else ""
        place = _image(axes[number, 0], spread[..., number], f"Input{of} {size}×{size}")
        _frame(place, places[0], places[-1] - places[0] + 1, figures.COLOURS[0])
        _frame(place, -start, reach, figures.COLOURS[1])
        _image(axes[number, 1], w[..., number, 0], f"Kernel{of} {kernel}×{kernel}")
    for number in range(filters):
        of = f" {number + 1}," if filters > 1 else ""
        place = _image(axes[number, 2], y[0, ..., number], f"Output{of} {outputs}×{outputs}")
        _frame(place, 0, outputs, figures.COLOURS[1])
    kind = "Transposed convolution" if settings["transposed"] else "Convolution"
    alt = (
        f"{kind} of a {size}×{size} input with a {kernel}×{kernel} kernel, stride {stride}, "
        f"padding {padding}, dilation {dilation}: the output is {outputs}×{outputs}, and its first "
        f"value is {y[0, 0, 0, 0]:.4g}."
    )
    return f'<div class="figure">{figures.to_svg(made, alt)}</div>', alt


def _image(axes, values, title):
    axes.axis("on")
    axes.set_anchor("NW")
    figures.image(axes, values, title, signed=True, values=True)
    return axes


def _frame(axes, first, cells, colour):
    corner = (first - 0.5, first - 0.5)
    axes.add_patch(
        Rectangle(corner, cells, cells, fill=False, edgecolor=colour, linewidth=2.5, clip_on=False)
    )
