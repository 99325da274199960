"""The networks that several chapters use, layer by layer."""

import keras
import numpy as np
import pytest
from keras import layers

from utils import models

SINGLE = [
    ("Conv2D", (28, 28, 32)),
    ("MaxPooling2D", (14, 14, 32)),
    ("Dropout", (14, 14, 32)),
    ("Conv2D", (14, 14, 64)),
    ("MaxPooling2D", (7, 7, 64)),
    ("Dropout", (7, 7, 64)),
    ("Conv2D", (7, 7, 64)),
    ("MaxPooling2D", (3, 3, 64)),
    ("Dropout", (3, 3, 64)),
    ("Flatten", (576,)),
    ("Dense", (64,)),
    ("Dropout", (64,)),
    ("Dense", (10,)),
]
STACKED = [
    ("Conv2D", (28, 28, 32)),
    ("Conv2D", (28, 28, 32)),
    ("MaxPooling2D", (14, 14, 32)),
    ("Dropout", (14, 14, 32)),
    ("Conv2D", (14, 14, 64)),
    ("Conv2D", (14, 14, 64)),
    ("MaxPooling2D", (7, 7, 64)),
    ("Dropout", (7, 7, 64)),
    ("Flatten", (3136,)),
    ("Dense", (256,)),
    ("Dropout", (256,)),
    ("Dense", (10,)),
]
NETS = {
    "single": (models.net_single, 93_322, SINGLE, [3, 3, 3], [0.25, 0.25, 0.25, 0.5]),
    "stacked": (models.net_stacked, 887_530, STACKED, [5, 5, 3, 3], [0.25, 0.25, 0.5]),
}


@pytest.fixture(params=NETS, scope="module")
def net(request):
    build, *expected = NETS[request.param]
    return build(), *expected


def of_kind(built, kind):
    return [layer for layer in built.layers if isinstance(layer, kind)]


def test_parameters_and_shapes_layer_by_layer(net):
    built, parameters, walk, _, _ = net
    assert built.count_params() == parameters
    assert built.input_shape == (None, 28, 28, 1)
    assert [(type(each).__name__, each.output.shape[1:]) for each in built.layers] == walk
    # Every parameter is trained: none of the two nets normalises its batches.
    assert sum(np.prod(weight.shape) for weight in built.trainable_weights) == parameters


def test_kernels_paddings_strides_and_activations(net):
    built, _, _, kernels, _ = net
    convolutions, pools = of_kind(built, layers.Conv2D), of_kind(built, layers.MaxPooling2D)
    assert [each.kernel_size for each in convolutions] == [(side, side) for side in kernels]
    for each in convolutions:
        assert (each.padding, each.strides, each.use_bias) == ("same", (1, 1), True)
        assert each.activation is keras.activations.relu
    for each in pools:
        assert (each.pool_size, each.strides, each.padding) == ((2, 2), (2, 2), "valid")
    hidden, last = of_kind(built, layers.Dense)
    assert (hidden.activation, last.activation) == (
        keras.activations.relu,
        keras.activations.softmax,
    )


def test_dropout_rates(net):
    built, _, _, _, rates = net
    assert [each.rate for each in of_kind(built, layers.Dropout)] == rates


def test_a_net_is_left_to_be_compiled_and_gives_probabilities(net):
    built, *_ = net
    assert not built.compiled
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype="float32")
    probabilities = keras.ops.convert_to_numpy(built(images))
    assert probabilities.shape == (3, 10) and (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_each_call_builds_a_net_of_its_own():
    for build, *_ in NETS.values():
        first, second = build(), build()
        assert not {id(layer) for layer in first.layers} & {id(layer) for layer in second.layers}
