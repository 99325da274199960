"""The networks that several chapters use, layer by layer."""

import keras
import numpy as np
import pytest
from keras import layers

from utils.experiments import models

NETS = {  # Their shapes, layer by layer, are those of their walk in test_figures.
    "single": (models.net_single, 93_322, [3, 3, 3], [0.25, 0.25, 0.25, 0.5]),
    "stacked": (models.net_stacked, 887_530, [5, 5, 3, 3], [0.25, 0.25, 0.5]),
}


def of_kind(built, kind):
    return [layer for layer in built.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", NETS)
def test_a_network_of_the_sources_layer_by_layer(name):
    build, parameters, kernels, rates = NETS[name]
    built, again = build(), build()
    assert not {*map(id, built.layers)} & {*map(id, again.layers)}, "each call builds its own"
    assert not built.compiled and built.input_shape == (None, 28, 28, 1)
    # Every parameter is trained: none of the two nets normalises its batches.
    trained = sum(np.prod(weight.shape) for weight in built.trainable_weights)
    assert built.count_params() == trained == parameters
    convolutions = of_kind(built, layers.Conv2D)
    assert [each.kernel_size for each in convolutions] == [(side, side) for side in kernels]
    relu, softmax = keras.activations.relu, keras.activations.softmax
    for each in convolutions:
        found = each.padding, each.strides, each.use_bias, each.activation
        assert found == ("same", (1, 1), True, relu)
    for each in of_kind(built, layers.MaxPooling2D):
        assert (each.pool_size, each.strides, each.padding) == ((2, 2), (2, 2), "valid")
    assert [each.activation for each in of_kind(built, layers.Dense)] == [relu, softmax]
    assert [each.rate for each in of_kind(built, layers.Dropout)] == rates
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype="float32")
    probabilities = keras.ops.convert_to_numpy(built(images))
    assert probabilities.shape == (3, 10) and (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


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
    assert kinds == 2 * "Co Ba Re Ma Dr " + 2 * "Co Ba Re Dr " + "Fl De Ba Re Dr De "
