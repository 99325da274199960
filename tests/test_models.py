"""The networks that several chapters use, layer by layer."""

import keras
import numpy as np
import pytest
from keras import layers

from utils.experiments import models

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


@pytest.mark.parametrize(
    "count, parameters, last_map",
    [
        (1, 1_207_674, (14, 14, 24)),
        (2, 634_410, (7, 7, 48)),
        (3, 371_306, (4, 4, 64)),
        (4, 445_162, (2, 2, 128)),
    ],
)
def test_pairs(count, parameters, last_map):
    net = models.pairs(count)
    assert not net.compiled and net.count_params() == parameters
    convolutions, pools = of_kind(net, layers.Conv2D), of_kind(net, layers.MaxPooling2D)
    assert [each.filters for each in convolutions] == [24, 48, 64, 128][:count]
    assert all((each.kernel_size, each.padding) == ((5, 5), "same") for each in convolutions)
    assert tuple(pools[-1].output.shape[1:]) == last_map
    assert [each.padding for each in pools] == ["valid", "valid", "same", "same"][:count]
    assert [each.units for each in of_kind(net, layers.Dense)] == [256, 10]
    assert net.layers[-1].activation is keras.activations.softmax


@pytest.mark.parametrize("count", [0, 5, 2.5])
def test_pairs_refuses_other_counts(count):
    with pytest.raises(ValueError, match=f"count={count}; allowed are 1, 2, 3 and 4"):
        models.pairs(count)


def test_a_classifier_is_compiled_on_its_logits():
    net = models.classifier(layers.Flatten(), classes=3, learning_rate=0.01)
    assert net.input_shape == (None, 28, 28, 1) and net.output_shape == (None, 3)
    assert net.layers[-1].activation is keras.activations.linear
    assert isinstance(net.optimizer, keras.optimizers.Adam)
    assert float(net.optimizer.learning_rate) == pytest.approx(0.01)
    x, y = np.ones((4, 28, 28, 1), "float32"), np.array([0, 1, 2, 2])
    logits = keras.ops.convert_to_numpy(net(x))
    likelihood = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(likelihood[range(4), y]).mean()
    assert net.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


def test_the_deep_net_puts_layers_about_every_relu_but_none_about_the_output():
    plain = models.deep(0.03)
    kinds = [type(layer).__name__ for layer in plain.layers]
    assert kinds == [
        *["Conv2D", "ReLU", "MaxPooling2D"], *["Conv2D", "ReLU", "MaxPooling2D"],
        *["Conv2D", "ReLU"], *["Conv2D", "ReLU"], *["Flatten", "Dense", "ReLU"], "Dense",
    ]  # fmt: skip
    assert [each.filters for each in of_kind(plain, layers.Conv2D)] == [16, 32, 32, 32]
    assert plain.input_shape == (None, 28, 28, 1) and plain.output_shape == (None, 10)
    assert isinstance(plain.optimizer, keras.optimizers.SGD) and plain.optimizer.momentum == 0.9
    assert float(plain.optimizer.learning_rate) == pytest.approx(0.03)
    assert plain.loss.from_logits
    full = models.deep(
        0.1,
        between=lambda: [layers.BatchNormalization()],
        behind=lambda: [layers.Dropout(0.1)],
    )
    kinds = "".join(f"{type(layer).__name__[:2]} " for layer in full.layers)
    assert kinds == 2 * "Co Ba Re Dr Ma " + 2 * "Co Ba Re Dr " + "Fl De Ba Re Dr De "
