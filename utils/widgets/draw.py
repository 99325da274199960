"""A sheet to draw a digit on, and what networks make of it.

What happens in the page is in ``draw.js``; this module takes networks apart into what it needs, and
draws the picture that is shown if no script runs.
"""

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from utils import figures
from utils.checked import checked, shown
from utils.theory.reference import softmax
from utils.widgets import page


@checked
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
        Title of a group, and its labels and images: uint8, of shape (labels, 28, 28).
    first : int
        Index, in the first group, of the example that is on the sheet at first.

    Raises
    ------
    ValueError
        If a network has another shape or a layer that is not known here, or the examples are not as
        above.

    Notes
    -----
    The networks run in the page: they need no kernel. Works where `slider` works; without
    JavaScript a picture of the first example is shown.
    """
    markup, alt = draw_html(networks, examples, first)
    page.show(markup, f"draw a digit: {alt}")


@checked
def draw_html(
    networks: Mapping[str, object],
    examples: Mapping[str, tuple[Sequence[int], np.ndarray]],
    first: int = 0,
) -> tuple[str, str]:
    """Write the page as self-contained HTML: style, weights, examples, picture and script.

    Parameters
    ----------
    networks, examples, first
        As for `draw_a_digit`.

    Returns
    -------
    markup : str
        Style, static picture and script; the same for the same arguments.
    alt : str
        The first example, and what the first network makes of it, in words.

    Raises
    ------
    ValueError
        If a network has a layer or a setting that the page does not know, or the examples are not
        as for `draw_a_digit`.
    """
    if not networks or not examples:
        raise ValueError(
            f"{len(networks)} networks, {len(examples)} groups of examples; allowed is at least one"
        )
    groups = [_group(title, *group) for title, group in examples.items()]
    start = next(iter(examples.values()))
    if not 0 <= first < len(start[0]):
        raise ValueError(f"first={first!r}; allowed is the place of an example of the first group")
    data = {
        "first": first,
        "networks": [{"name": name, **described(net)} for name, net in networks.items()],
        "examples": groups,
    }
    drawn, alt = _picture(next(iter(networks.values())), np.asarray(start[1])[first])
    return page.whole("draw", "Draw a digit", data, drawn), alt


@checked
def described(model) -> dict:
    """Take a network apart into plain settings and one vector of weights.

    Parameters
    ----------
    model : keras.Model
        Layers in a row, from images of shape (28, 28, 1) to ten logits.

    Returns
    -------
    dict
        ``layers``, a dict for each of them, in which ``parts`` has the name and the length of each
        of its arrays; and ``weights``, all arrays one after the other, packed. They are packed at
        half precision where that loses nothing.

    Raises
    ------
    ValueError
        If the shapes differ, or the page does not know a layer or one of its settings.
    """
    shapes = [getattr(model, f"{end}_shape", None) for end in ("input", "output")]
    if shapes != [(None, 28, 28, 1), (None, 10)]:
        raise ValueError(
            f"model={shown(model)} goes from {shapes[0]} to {shapes[1]}; allowed is from "
            "(None, 28, 28, 1) to (None, 10)"
        )
    found = [_layer(each) for each in model.layers]
    if found[-1][0].get("kind") != "dense" or found[-1][0]["relu"]:
        raise ValueError(
            f"the network ends in {model.layers[-1].name!r}; allowed is a dense layer that gives "
            "logits"
        )
    told = [
        settings
        | ({"parts": {name: array.size for name, array in arrays.items()}} if arrays else {})
        for settings, arrays in found
    ]
    flat = [np.ravel(array) for _, arrays in found for array in arrays.values()]
    weights = np.concatenate(flat).astype("float32")
    rounded = weights.astype("float16")
    return {
        "layers": told,
        "weights": _pack(rounded if (rounded == weights).all() else weights),
    }


def _layer(layer) -> tuple[dict, dict]:
    """Return what the page needs of one layer: its settings, and its arrays by name."""
    # By name: who shows a slider alone should not start TensorFlow.
    kind, arrays = type(layer).__name__, layer.get_weights()
    if kind == "Conv2D":
        allowed = layer.strides[0] == layer.strides[1] and layer.data_format == "channels_last"
        if allowed and layer.dilation_rate == (1, 1) and layer.groups == 1:
            settings = {
                "kind": "convolution",
                "kernel": list(layer.kernel_size),
                "stride": layer.strides[0],
                "padding": layer.padding,
                "filters": layer.filters,
                "relu": _relu(layer),
            }
            return settings, _weighted(arrays, layer.filters)
    elif kind == "Dense":
        settings = {"kind": "dense", "units": layer.units, "relu": _relu(layer)}
        return settings, _weighted(arrays, layer.units)
    elif kind in ("MaxPooling2D", "AveragePooling2D"):
        if layer.strides[0] == layer.strides[1] and layer.data_format == "channels_last":
            settings = {
                "kind": "pooling",
                "pool": list(layer.pool_size),
                "stride": layer.strides[0],
                "padding": layer.padding,
                "mean": kind == "AveragePooling2D",
            }
            return settings, {}
    elif kind == "BatchNormalization":
        names = ("gamma", "beta", "mean", "variance")
        if len(arrays) == len(names) and layer.axis in (-1, 3):
            settings = {"kind": "batch norm", "epsilon": layer.epsilon}
            return settings, dict(zip(names, arrays, strict=True))
    elif kind == "ReLU":
        if (layer.negative_slope, layer.threshold, layer.max_value) == (0, 0, None):
            return {"kind": "relu"}, {}
    elif kind == "Dropout":
        return {"kind": "dropout"}, {}
    elif kind == "Flatten":
        return {"kind": "flatten"}, {}
    raise ValueError(
        f"the layer {layer.name!r} is a {kind} with settings {layer.get_config()}, which "
        "the page does not know"
    )


def _relu(layer) -> bool:
    """Say whether a ReLU belongs to a layer; anything but that or nothing is refused."""
    activation = layer.activation.__name__
    if activation not in ("relu", "linear"):
        raise ValueError(
            f"the layer {layer.name!r} has the activation {activation!r}; allowed are relu and "
            "linear"
        )
    return activation == "relu"


def _weighted(arrays, outputs: int) -> dict:
    return {
        "weights": arrays[0],
        "bias": arrays[1] if len(arrays) > 1 else np.zeros(outputs, "float32"),
    }


def _group(title: str, labels: Sequence[int], images: np.ndarray) -> dict:
    images = np.asarray(images)
    if images.shape != (len(labels), 28, 28) or images.dtype != np.uint8 or not len(labels):
        raise ValueError(
            f"examples[{title!r}] has {len(labels)} labels, and images of shape {images.shape} "
            f"and dtype {images.dtype}; allowed is the shape (labels, 28, 28), in uint8"
        )
    return {"title": title, "labels": [int(each) for each in labels], "images": _pack(images)}


def _pack(array: np.ndarray) -> dict:
    """Write an array as text, with the lower byte first."""
    array = array.astype(array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.str, "base64": base64.b64encode(array.tobytes()).decode()}


def _picture(network, image: np.ndarray) -> tuple[str, str]:
    """Draw an example and its probabilities as SVG, and say what is to be seen."""
    pixels = image.astype("float32") / 255
    made, axes = figures.figure(6, 2.6, ncols=2, width_ratios=[1, 1.4])
    figures.image(axes[0, 0], pixels, "A test digit")
    bars, alt = axes[0, 1], "An empty image, to draw a digit on."
    if pixels.any():
        logits = network.predict(pixels[None, :, :, None], verbose=0)
        shares = softmax(logits.astype(float))[0]
        bars.barh(range(10), shares, color=figures.COLOURS[0])
        alt = (
            "A digit and the probabilities that a network gives it: "
            f"{shares.argmax()} has the most."
        )
    bars.set(yticks=range(10), xlim=(0, 1), xlabel="probability")
    bars.invert_yaxis()
    return f'<div class="figure">{figures.to_svg(made, alt)}</div>', alt
