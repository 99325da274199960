"""Closed-form output sizes, parameter counts, multiply-adds and receptive fields.

Sizes are counted along one axis, because the axes of a convolution do not interact. No
function here looks at a pixel or needs a framework; the functions that take a model only
read the settings of its layers.

References
----------
.. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning",
   arXiv:1603.07285, 2016.
.. [2] A. Araujo, W. Norris and J. Sim, "Computing receptive fields of convolutional neural
   networks", Distill, 2019, doi:10.23915/distill.00021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from utils.checked import checked, shown

if TYPE_CHECKING:
    import keras

Padding = str | int | tuple[int, int]
Pair = int | tuple[int, int]


def _whole(name, value, least=1):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def _truth(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _pair(name, value):
    sides = value if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{name} must be one whole number or two, got {value!r}")
    return tuple(_whole(name, side) for side in sides)


def _effective_size(kernel, dilation):
    """Cells from a kernel's first weight to its last; k + (k - 1)(d - 1) in [1]_."""
    return _whole("dilation", dilation) * (_whole("kernel", kernel) - 1) + 1


def _padding(value):
    """Return a padding's name, or its widths before and after."""
    if isinstance(value, str) and value in ("valid", "same", "full"):
        return value
    widths = value if isinstance(value, (tuple, list)) else (value, value)
    whole = [isinstance(w, Integral) and not isinstance(w, bool) and w >= 0 for w in widths]
    if len(widths) != 2 or not all(whole):
        raise ValueError(
            'padding must be "valid", "same", "full", a whole number of at least 0 '
            f"or a pair (before, after) of them, got {value!r}"
        )
    return int(widths[0]), int(widths[1])


# --- Output sizes -------------------------------------------------------------------------


def same_padding(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Count the zeros that "same" padding adds before and after the input.

    TensorFlow's rule, which Keras follows: just enough zeros for ``ceil(size / stride)`` outputs.
    If the number of zeros is odd, the extra one goes *after* the input, so the padding depends on
    the input size and need not be symmetric.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        Cells along one axis, each at least 1.

    Returns
    -------
    (int, int)
        Zeros before and after.

    Raises
    ------
    ValueError
        If a number is not a whole number of at least 1.
    """
    outputs = -(-_whole("size", size) // _whole("stride", stride))
    total = max((outputs - 1) * stride + _effective_size(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def padding_widths(
    size: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> tuple[int, int]:
    """Count the zeros that any kind of padding adds before and after the input.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        Cells along one axis, each at least 1.
    padding : {"valid", "same", "full"}, int or (int, int)
        "valid" adds none, "same" is `same_padding`, "full" adds one cell fewer than the kernel's
        effective size on both sides; a number adds that many on both sides, a pair adds (before,
        after).

    Returns
    -------
    (int, int)
        Zeros before and after.

    Raises
    ------
    ValueError
        If `kernel`, `dilation` or `padding` (for "same", also `size` or `stride`) is not as above.
    """
    effective = _effective_size(kernel, dilation)
    padding = _padding(padding)
    if padding == "valid":
        return 0, 0
    if padding == "same":
        return same_padding(size, kernel, stride, dilation)
    if padding == "full":
        return effective - 1, effective - 1
    return padding


def output_size(
    size: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> int:
    """Compute the output size of a convolution or pooling along one axis.

    Parameters
    ----------
    size, kernel, stride, dilation : int
        Cells along one axis, each at least 1.
    padding : {"valid", "same", "full"}, int or (int, int)
        See `padding_widths`.

    Returns
    -------
    int
        ``floor((size + before + after - effective) / stride) + 1`` with the effective kernel
        size ``effective = dilation * (kernel - 1) + 1``: Relationship 15 of [1]_, of which 1 to
        7 are special cases. For "same" padding this is ``ceil(size / stride)``.

    Raises
    ------
    ValueError
        If a setting is not as above, or the effective kernel size is larger than the padded input.
    """
    _whole("size", size), _whole("stride", stride)
    effective, padding = _effective_size(kernel, dilation), _padding(padding)
    if padding == "same":
        return -(-size // stride)
    padded = size + sum(padding_widths(size, kernel, stride, padding, dilation))
    if effective > padded:
        raise ValueError(
            f"kernel must be no larger than the padded input of {padded} cells, got "
            f"kernel={kernel} with dilation={dilation}, an effective size of {effective}"
        )
    return (padded - effective) // stride + 1


def unused_border(
    size: int, kernel: int, stride: int = 1, padding: Padding = "valid", dilation: int = 1
) -> int:
    """Count the cells at the far end of the padded input beyond the last window.

    They exist if the stride does not divide ``padded size - effective``, and their values cannot
    change the output. Cells that a stride skips *between* two windows are not counted.

    Parameters
    ----------
    size, kernel, stride, padding, dilation
        As for `output_size`.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        As for `output_size`.
    """
    outputs = output_size(size, kernel, stride, padding, dilation)
    padded = size + sum(padding_widths(size, kernel, stride, padding, dilation))
    return padded - (outputs - 1) * stride - _effective_size(kernel, dilation)


def transposed_output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: Padding = "valid",
    dilation: int = 1,
    output_padding: int | None = None,
) -> int:
    """Compute the output size of a transposed convolution along one axis.

    A transposed convolution restores a size that the convolution with the same settings maps to
    `size`. With a stride above 1 there are several; `output_padding` chooses among them.

    Parameters
    ----------
    size, kernel, stride, padding, dilation
        As for `output_size`; `size` is that of the transposed convolution's input.
    output_padding : int, optional
        0 to ``stride - 1``; the ``a`` of Relationship 14. None chooses as Keras does: the result is
        ``size * stride`` with "same" padding, and ``(size - 1) * stride + max(effective, stride)``
        with "valid". With any other padding, None means 0.

    Returns
    -------
    int
        ``stride * (size - 1) + output_padding + effective - before - after``, Relationships 8
        to 14 of [1]_, with the effective kernel size of `output_size`. "same" with an explicit
        `output_padding` follows Keras: ``stride * (size - 1) + effective % 2 + output_padding``.

    Raises
    ------
    ValueError
        If a setting is not as above, or no input of the convolution gives `size`, for example
        because the padding crops everything.
    """
    _whole("size", size), _whole("stride", stride)
    effective, padding = _effective_size(kernel, dilation), _padding(padding)
    if output_padding is not None and _whole("output_padding", output_padding, 0) >= stride:
        raise ValueError(f"output_padding must be below stride={stride}, got {output_padding}")
    if padding == "same":
        result = (size - 1) * stride
        result += stride if output_padding is None else effective % 2 + output_padding
    else:
        if output_padding is None:
            output_padding = max(stride - effective, 0) if padding == "valid" else 0
        zeros = sum(padding_widths(size, kernel, stride, padding, dilation))
        result = (size - 1) * stride + effective - zeros + output_padding
    if result < 1 or output_size(result, kernel, stride, padding, dilation) != size:
        raise ValueError(
            f"no input gives size={size} under kernel={kernel}, stride={stride}, "
            f"padding={padding!r}, dilation={dilation}, output_padding={output_padding}"
        )
    return result


# --- Parameters and multiply-adds ---------------------------------------------------------


def conv_parameters(
    channels_in: int, filters: int, kernel: Pair, bias: bool = True, groups: int = 1
) -> int:
    """Count the parameters of a 2D convolution, transposed or not.

    Parameters
    ----------
    channels_in, filters : int
        Input and output channels. A depthwise convolution has ``groups=channels_in`` and
        ``filters=channels_in * depth_multiplier``.
    kernel : int or (int, int)
        Height and width.
    bias : bool
        Whether each filter has a bias.
    groups : int
        Number of groups; divides `channels_in` and `filters`.

    Returns
    -------
    int
        ``filters * (height * width * channels_in / groups + bias)``

    Raises
    ------
    ValueError
        If a number is not a whole number of at least 1, or `groups` does not divide the channels.
    """
    _whole("groups", groups), _whole("channels_in", channels_in), _whole("filters", filters)
    if channels_in % groups or filters % groups:
        raise ValueError(
            f"groups must divide channels_in={channels_in} and filters={filters}, got {groups}"
        )
    return filters * (
        prod(_pair("kernel", kernel)) * (channels_in // groups) + _truth("bias", bias)
    )


def dense_parameters(units_in: int, units: int, bias: bool = True) -> int:
    """Count a dense layer's parameters.

    Parameters
    ----------
    units_in, units : int
        Numbers of inputs and outputs, at least 1.
    bias : bool
        Whether each unit has a bias.

    Returns
    -------
    int
        ``units * (units_in + bias)``

    Raises
    ------
    ValueError
        If a number is not a whole number of at least 1.
    """
    return _whole("units", units) * (_whole("units_in", units_in) + _truth("bias", bias))


def batch_norm_parameters(channels: int) -> tuple[int, int]:
    """Count batch normalisation's parameters.

    Parameters
    ----------
    channels : int
        At least 1.

    Returns
    -------
    (int, int)
        Trainable (gamma and beta) and non-trainable (moving mean and variance), two of each per
        channel.

    Raises
    ------
    ValueError
        If `channels` is not a whole number of at least 1.
    """
    return 2 * _whole("channels", channels), 2 * channels


def conv_multiply_adds(
    positions: Pair, channels_in: int, filters: int, kernel: Pair, groups: int = 1
) -> int:
    """Count a 2D convolution's multiply-adds for one image.

    Parameters
    ----------
    positions : int or (int, int)
        How many positions the kernel takes: the height and width of the *output* of a convolution,
        or of the *input* of a transposed one.
    channels_in, filters, kernel, groups
        As for `conv_parameters`.

    Returns
    -------
    int
        Every weight is used once per position. Products with the zeros of the padding are counted,
        as is usual; the bias is not, since it multiplies nothing.

    Raises
    ------
    ValueError
        As for `conv_parameters`.
    """
    weights = conv_parameters(channels_in, filters, kernel, bias=False, groups=groups)
    return prod(_pair("positions", positions)) * weights


def dense_multiply_adds(units_in: int, units: int) -> int:
    """Count a dense layer's multiply-adds for one image: every weight is used once.

    Parameters
    ----------
    units_in, units : int
        Numbers of inputs and outputs, at least 1.

    Returns
    -------
    int
        ``units * units_in``

    Raises
    ------
    ValueError
        If a number is not a whole number of at least 1.
    """
    return dense_parameters(units_in, units, bias=False)


# --- Whole models -------------------------------------------------------------------------

# At inference each value of the output depends on the values at its own place alone.
_POINTWISE = {
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization", "Rescaling",
    "Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "RandomBrightness",
    "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom",
}  # fmt: skip
_GATHERS = {"Flatten", "Reshape", "GlobalAveragePooling2D", "GlobalMaxPooling2D"}
_MERGES = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"}
_POOLS = {"MaxPooling2D", "AveragePooling2D"}
_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2D", "SeparableConv2D"}
_NO_PRODUCTS = (
    _POINTWISE | _GATHERS | _MERGES | _POOLS
    | {"InputLayer", "ZeroPadding2D", "Cropping2D", "UpSampling2D", "Permute", "Softmax",
       "LayerNormalization", "GroupNormalization"}
)  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """One layer at work: its name, its type, the calls that feed it, its output's shape."""

    name: str
    kind: str
    layer: object
    sources: list
    shape: tuple


def _calls(model):
    """List a built Keras model's layers in order, the input first."""
    if not getattr(model, "layers", None) or not getattr(model, "inputs", None):
        raise ValueError(f"model must be a built Sequential or functional model, got {model!r}")
    calls, made, chain = [], {}, _is_sequential(model)
    if chain:
        calls.append(_Call("input", "InputLayer", None, [], _shape(model.inputs[0])))
    for outer in model.layers:
        sources = calls[-1:]
        if not chain:
            tensors = outer.input if isinstance(outer.input, (list, tuple)) else [outer.input]
            is_input = type(outer).__name__ == "InputLayer"
            sources = [] if is_input else _makers(made, tensors, outer.name)
        for name, layer in _unnest(outer.name, outer):
            if getattr(layer, "data_format", "channels_last") != "channels_last":
                raise ValueError(f'layer {name!r} must have data_format "channels_last"')
            call = _Call(name, type(layer).__name__, layer, sources, _shape(layer.output))
            calls.append(call)
            sources = [call]
        made[id(outer.output)] = calls[-1]
    if not chain:
        _makers(made, model.outputs, "its output")
    return calls


def _is_sequential(layer):
    return any(cls.__name__ == "Sequential" for cls in type(layer).__mro__)


def _unnest(name, layer):
    if _is_sequential(layer):
        for inner in layer.layers:
            yield from _unnest(f"{name}/{inner.name}", inner)
    else:
        yield name, layer


def _makers(made, tensors, name):
    # A layer knows the tensors of its first call alone, so a second call would go uncounted.
    if any(id(tensor) not in made for tensor in tensors):
        raise ValueError(
            f"cannot follow the model at {name!r}: it must consist of layers, each called once, "
            "without bare operations"
        )
    return [made[id(tensor)] for tensor in tensors]


def _shape(tensor):
    shape = tuple(tensor.shape)[1:]
    if None in shape:
        raise ValueError(f"model must be built for a fixed input size, got shape {tensor.shape}")
    return shape


@checked
def layer_table(model: keras.Model, known: dict[str, int] | None = None) -> pd.DataFrame:
    """Tabulate a Keras model's shapes, parameters and multiply-adds, one row per layer.

    Parameters
    ----------
    model : keras.Model
        Built, Sequential or functional, channels last.
    known : dict of str to int, optional
        Multiply-adds for one image, by layer name, for layers that are not known here.

    Returns
    -------
    pandas.DataFrame
        Columns ``layer`` and ``type`` (names), ``output_shape`` (tuple, without the batch),
        ``parameters`` and ``multiply_adds`` (int, for one image).

    Raises
    ------
    ValueError
        If the model is not as above, or has a layer of unknown type: a silent zero would be wrong.

    Notes
    -----
    Only products with a convolution's kernel or a dense matrix count, as in published counts.
    Pooling, activations, dropout, rescaling and batch normalisation (at inference one product per
    value, which can be folded into the layer before it) count 0.
    """
    rows = []
    for call in _calls(model):
        parameters = call.layer.count_params() if call.layer else 0
        cost = (known or {}).get(call.name)
        cost = _multiply_adds(call) if cost is None else _whole(f"known[{call.name!r}]", cost, 0)
        rows.append((call.name, call.kind, call.shape, parameters, cost))
    columns = ["layer", "type", "output_shape", "parameters", "multiply_adds"]
    return pd.DataFrame(rows, columns=columns)


@checked
def multiply_adds(model: keras.Model, known: dict[str, int] | None = None) -> int:
    """Count a Keras model's multiply-adds for one image.

    Parameters
    ----------
    model, known
        As for `layer_table`.

    Returns
    -------
    int
        The sum over all layers.

    Raises
    ------
    ValueError
        As for `layer_table`.
    """
    return int(layer_table(model, known)["multiply_adds"].sum())


def _multiply_adds(call):
    layer = call.layer
    if call.kind in _NO_PRODUCTS:
        return 0
    places, channels = call.sources[0].shape[:-1], call.sources[0].shape[-1]
    if call.kind == "Dense":
        return prod(places) * dense_multiply_adds(channels, layer.units)
    if call.kind == "Conv2D":
        return conv_multiply_adds(
            call.shape[:2], channels, layer.filters, layer.kernel_size, layer.groups
        )
    if call.kind == "Conv2DTranspose":
        return conv_multiply_adds(places, channels, layer.filters, layer.kernel_size)
    if call.kind in ("DepthwiseConv2D", "SeparableConv2D"):
        middle = channels * layer.depth_multiplier
        cost = conv_multiply_adds(call.shape[:2], channels, middle, layer.kernel_size, channels)
        if call.kind == "SeparableConv2D":
            cost += conv_multiply_adds(call.shape[:2], middle, layer.filters, 1)
        return cost
    raise ValueError(
        f"layer {call.name!r} has the type {call.kind}, whose multiply-adds are not known here; "
        f"state them with known={{{call.name!r}: ...}}"
    )


# --- Receptive fields ---------------------------------------------------------------------


@dataclass(frozen=True)
class ReceptiveField:
    """What the outputs of a layer see of the input, along one axis.

    Attributes
    ----------
    size : int
        Number of pixels from the first to the last that one output depends on.
    jump : int
        Pixels by which the fields of neighbouring outputs are offset; 0 if all share one field.
    start : float
        Centre of the first output's field. Pixels are numbered from 0 and a pixel's number is its
        centre: a field of the pixels 0, 1 and 2 has the centre 1, one of 0 and 1 has 0.5. With
        padding, it or parts of the field may lie outside the image.
    """

    size: int
    jump: int
    start: float

    @checked
    def pixels(self, index: int = 0) -> tuple[int, int]:
        """Give the first and last pixel that one output sees, padding included.

        Parameters
        ----------
        index : int
            Number of the output, from 0.

        Returns
        -------
        (int, int)
            Numbers of the pixels, from 0; those outside the image are padding.
        """
        first = self.start + index * self.jump - (self.size - 1) / 2
        return round(first), round(first) + self.size - 1


@checked
def receptive_fields(
    layers_or_model: Sequence[tuple] | keras.Model, size: int | None = None, axis: int = 0
) -> dict[int | str, ReceptiveField]:
    """Compute the receptive field of every layer along one axis.

    Parameters
    ----------
    layers_or_model : list of tuple, or keras.Model
        Tuples ``(kernel, stride, padding, dilation)``, of which the last three may be left out (by
        default 1, "valid", 1); or a built Keras model, Sequential or functional, with one image as
        its input, channels last.
    size : int, optional
        Size of the image; for a list only, and needed only if a layer with a stride has
        "same" padding, whose zeros depend on it.
    axis : {0, 1}
        For a model only: along the height or the width.

    Returns
    -------
    dict of (int or str) to ReceptiveField
        In order; keys are the positions in the list, or the names of the layers.

    Raises
    ------
    ValueError
        If the field of a layer is not known here, as for transposed convolutions, where it differs
        from cell to cell; or if branches with different jumps meet.

    Notes
    -----
    The recursion of [2]_: a kernel of the effective size ``k`` makes the size grow by
    ``(k - 1) * jump``; a stride multiplies the jump. Where branches meet, the field is the smallest
    interval that holds all of theirs: the largest of them if their centres agree. Flatten, Reshape,
    global pooling and all that follows have one field for all units: the smallest interval that
    holds every pixel seen by any cell. That is the whole image, unless strides leave a border
    unused. Before that point padding is part of a field. Random augmentation, dropout and batch
    normalisation are treated as at inference.
    """
    if axis not in (0, 1):
        raise ValueError(f"axis must be 0 (height) or 1 (width), got {axis!r}")
    if size is not None:
        _whole("size", size)
    if hasattr(layers_or_model, "layers"):
        calls = _calls(layers_or_model)
        shapes = [call.shape for call in calls if call.kind == "InputLayer"]
        if len(shapes) != 1 or len(shapes[0]) != 3:
            raise ValueError(f"model must have one input (height, width, channels), got {shapes}")
        views = {}
        for call in calls:
            sources = [views[source.name] for source in call.sources]
            views[call.name] = _view(call, sources, axis, shapes[0][axis])
        return {name: field for name, (field, _) in views.items()}
    if not isinstance(layers_or_model, Sequence) or isinstance(layers_or_model, (str, bytes)):
        raise TypeError(
            f"layers_or_model={shown(layers_or_model)}; allowed are a list of tuples and a model"
        )
    fields, field = {}, ReceptiveField(1, 1, 0.0)
    for index, layer in enumerate(layers_or_model):
        if not isinstance(layer, (tuple, list)) or not 1 <= len(layer) <= 4:
            raise ValueError(
                f"layers_or_model: layer {index} must be (kernel, stride, padding, dilation), "
                f"got {layer!r}"
            )
        window = (*layer, *(1, "valid", 1)[len(layer) - 1 :])
        if size is None and window[2] == "same" and window[1] > 1:
            raise ValueError(f'layer {index}, "same" padding with a stride, needs a size, got None')
        # Without a stride, "same" padding is the same for inputs of every size.
        field = fields[index] = _through(field, size or 1, *window)
        size = output_size(size, *window) if size is not None else None
    return fields


@checked
def receptive_field(
    layers_or_model: Sequence[tuple] | keras.Model, size: int | None = None, axis: int = 0
) -> ReceptiveField:
    """Compute the receptive field of the last layer alone.

    Parameters
    ----------
    layers_or_model, size, axis
        As for `receptive_fields`.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    ValueError
        As for `receptive_fields`, or if there is no layer or more than one output.
    """
    fields = receptive_fields(layers_or_model, size, axis)
    if not fields or len(getattr(layers_or_model, "outputs", [None])) != 1:
        raise ValueError(
            f"layers_or_model must hold a layer and have one output, got {layers_or_model!r}"
        )
    return list(fields.values())[-1]


def _through(field, size, kernel, stride, padding, dilation):
    before, _ = padding_widths(size, kernel, stride, padding, dilation)
    effective = _effective_size(kernel, dilation)
    return ReceptiveField(
        field.size + (effective - 1) * field.jump,
        field.jump * _whole("stride", stride),
        field.start + ((effective - 1) / 2 - before) * field.jump,
    )


def _view(call, sources, axis, image):
    """Give a layer's field, and the first and last real pixel that each of its cells sees.

    The field is the closed formula, which padding does not touch; the pixels are followed cell
    by cell, because only so is it known what padding and unused borders hide at the edges.
    """
    if call.kind == "InputLayer":
        return ReceptiveField(1, 1, 0.0), [(pixel, pixel) for pixel in range(image)]
    fields, seen = zip(*sources, strict=True)
    jumps, places = {field.jump for field in fields}, {x.shape[:-1] for x in call.sources}
    if jumps == {0}:
        # Units that share one field have seen all that can be seen: no layer adds to it.
        return _field(_join(field.pixels() for field in fields), 0), []
    if call.kind in _MERGES and len(jumps) == 1 and places == {call.shape[:-1]}:
        joined = _field(_join(field.pixels() for field in fields), *jumps)
        return joined, [_join(cells) for cells in zip(*seen, strict=True)]
    if call.kind in _GATHERS:
        return _field(_join(seen[0]), 0), []
    if call.kind in _POINTWISE or call.kind == "Dense":
        return sources[0]
    window, cells = _window(call, axis), len(seen[0])
    kernel, stride, padding, dilation = window
    effective = _effective_size(kernel, dilation)
    before, _ = padding_widths(cells, kernel, stride, padding, dilation)
    starts = range(-before, output_size(cells, *window) * stride - before, stride)
    taps = [range(start, start + effective, dilation) for start in starts]
    seen = [_join(seen[0][tap] for tap in window if 0 <= tap < cells) for window in taps]
    return _through(fields[0], cells, kernel, stride, padding, dilation), seen


def _window(call, axis):
    layer = call.layer
    if call.kind in _CONVOLUTIONS:
        dilation = layer.dilation_rate
        dilation = dilation if isinstance(dilation, int) else dilation[axis]
        return layer.kernel_size[axis], layer.strides[axis], layer.padding, dilation
    if call.kind in _POOLS:
        return layer.pool_size[axis], layer.strides[axis], layer.padding, 1
    if call.kind == "ZeroPadding2D":
        return 1, 1, layer.padding[axis], 1
    raise ValueError(
        f"layer {call.name!r} has the type {call.kind} and joins inputs of the shapes "
        f"{[source.shape for source in call.sources]}: its receptive field is not known here"
    )


def _join(intervals):
    intervals = [pixels for pixels in intervals if pixels]
    if intervals:
        return min(first for first, _ in intervals), max(last for _, last in intervals)
    return None  # a window on padding alone


def _field(pixels, jump):
    first, last = pixels
    return ReceptiveField(last - first + 1, jump, (first + last) / 2)
