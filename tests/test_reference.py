"""`utils.theory.reference` against Keras layers and TensorFlow's gradients."""

import inspect
import itertools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats
from scipy.optimize import check_grad

from utils.theory import reference as ref
from utils.theory.arithmetic import padding_widths

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 4)
TIGHT = {"rtol": 1e-9, "atol": 1e-11}  # for float64
LOOSE = {"rtol": 1e-4, "atol": 1e-5}  # for float32


def gradients(function, inputs, seed):
    """Give the output, a random gradient with respect to it, and those of the inputs."""
    inputs = [tf.constant(array) for array in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
    dy = np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype.as_numpy_dtype)
    back = tape.gradient(y, inputs, output_gradients=tf.constant(dy))
    return y.numpy(), dy, [gradient.numpy() for gradient in back]


@st.composite
def convolutions(draw, paddings):
    """Draw images, a kernel, a bias and settings under which every output exists."""
    taps = draw(st.tuples(sides, sides))
    dilation, stride = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    size = tuple((k - 1) * dilation + 1 + draw(st.integers(0, 5)) for k in taps)
    n, channels_in, filters = draw(st.tuples(*[st.integers(1, 3)] * 3))
    rng = np.random.default_rng(draw(seeds))
    x = rng.normal(size=(n, *size, channels_in))
    kernel = rng.normal(size=(*taps, channels_in, filters))
    return x, kernel, rng.normal(size=filters), stride, draw(paddings), dilation


def tensorflow_conv2d(stride, padding, dilation, widths):
    """Convolve by TensorFlow, which cannot pad, stride and dilate at once: one by one."""

    def convolve(x, kernel, bias):
        padded = tf.pad(x, [(0, 0), *widths, (0, 0)])
        y = tf.nn.convolution(padded, kernel, padding="VALID", dilations=dilation)
        return y[:, ::stride, ::stride] + bias

    return convolve


any_padding = st.one_of(
    st.sampled_from(["valid", "same", "full"]),
    st.integers(0, 3),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)


@quick
@given(convolutions(any_padding), seeds)
def test_conv2d_and_gradients_under_every_padding(convolution, seed):
    x, kernel, bias, stride, padding, dilation = convolution
    settings_ = stride, padding, dilation
    widths = [
        padding_widths(cells, taps, *settings_)
        for cells, taps in zip(x.shape[1:3], kernel.shape[:2], strict=True)
    ]
    theirs = tensorflow_conv2d(*settings_, widths)
    y, dy, (dx, dkernel, dbias) = gradients(theirs, (x, kernel, bias), seed)
    np.testing.assert_allclose(ref.conv2d(x, kernel, bias, *settings_), y, **TIGHT)
    back = ref.conv2d_input_gradient(dy, kernel, x.shape[1:3], *settings_)
    np.testing.assert_allclose(back, dx, **TIGHT)
    our_dkernel, our_dbias = ref.conv2d_kernel_gradient(dy, x, kernel.shape[:2], *settings_)
    np.testing.assert_allclose(our_dkernel, dkernel, **TIGHT)
    np.testing.assert_allclose(our_dbias, dbias, **TIGHT)


@quick
@given(convolutions(st.sampled_from(["valid", "same"])), st.booleans())
def test_conv2d_is_the_keras_layer(convolution, strided):
    x, kernel, bias, stride, padding, dilation = convolution
    stride, dilation = (stride, 1) if strided else (1, dilation)
    layer = keras.layers.Conv2D(
        len(bias), kernel.shape[:2], stride, padding, dilation_rate=dilation, dtype="float64"
    )
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    ours = ref.conv2d(x, kernel, bias, stride, padding, dilation)
    np.testing.assert_allclose(ours, layer(x), **TIGHT)


@quick
@given(convolutions(st.sampled_from(["valid", "same"])), st.data())
def test_conv2d_transpose_is_the_keras_layer(convolution, data):
    """Undilated, since TensorFlow has no dilated one for float64 on a CPU.

    Its dilated form is the input gradient that is tested above.
    """
    x, kernel, bias, stride, padding, _ = convolution
    kernel = kernel.transpose(0, 1, 3, 2)
    # With "same" padding and an even kernel no size fits an output padding of 0.
    least = int(padding == "same" and any(taps % 2 == 0 for taps in kernel.shape[:2]))
    choices = [None, *range(least, stride)]
    output_padding = data.draw(st.sampled_from(choices), "output padding")
    layer = keras.layers.Conv2DTranspose(
        len(bias), kernel.shape[:2], stride, padding, output_padding, dtype="float64"
    )
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    ours = ref.conv2d_transpose(x, kernel, bias, stride, padding, 1, output_padding)
    np.testing.assert_allclose(ours, layer(x), **TIGHT)


@quick
@given(convolutions(st.just("full")), st.integers(0, 3), st.integers(0, 3))
def test_convolution_moves_with_the_image(convolution, down, right):
    """With full padding nothing is lost at the border, so that the equality is exact."""
    x, kernel, bias, stride, padding, dilation = convolution
    # Only whole strides of the image are whole steps of the map.
    grown = np.pad(x, ((0, 0), (down * stride, 0), (right * stride, 0), (0, 0)))
    before = ref.conv2d(x, kernel, bias, stride, padding, dilation)
    after = ref.conv2d(grown, kernel, bias, stride, padding, dilation)
    moved = after[:, down:, right:]
    rows, columns = before.shape[1:3]
    np.testing.assert_allclose(moved[:, :rows, :columns], before, **TIGHT)


@quick
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds)
def test_two_convolutions_without_an_activation_are_one(first_side, second_side, channels, seed):
    rng = np.random.default_rng(seed)
    side = first_side + second_side + 2
    x = rng.normal(size=(2, side, side, 2))
    first = rng.normal(size=(first_side, first_side, 2, channels))
    second = rng.normal(size=(second_side, second_side, channels, 3))
    # Each input channel of the first kernel is an image that the flipped second one slides over.
    composed = ref.conv2d(
        first.transpose(2, 0, 1, 3), second[::-1, ::-1], padding="full"
    ).transpose(1, 2, 0, 3)
    assert composed.shape[:2] == (first_side + second_side - 1,) * 2
    both = ref.conv2d(ref.conv2d(x, first), second)
    np.testing.assert_allclose(ref.conv2d(x, composed), both, **TIGHT)


@quick
@given(convolutions(any_padding))
def test_conv_matrix_and_its_transpose(convolution):
    x, kernel, _, *settings_ = convolution
    matrix = ref.conv_matrix(kernel, x.shape[1:3], *settings_)
    y = ref.conv2d(x[:1], kernel, None, *settings_)
    np.testing.assert_allclose(matrix @ x[0].ravel(), y.ravel(), **TIGHT)
    dx = ref.conv2d_input_gradient(y, kernel, x.shape[1:3], *settings_)
    np.testing.assert_allclose(matrix.T @ y.ravel(), dx.ravel(), **TIGHT)


def test_conv_matrix_of_the_published_example():
    """A 3 x 3 kernel on 4 x 4 cells: the matrix printed in Dumoulin & Visin's section 4.1."""
    kernel = np.arange(1.0, 10).reshape(3, 3, 1, 1)
    matrix = ref.conv_matrix(kernel, (4, 4))
    first = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    expected = [np.roll(first, shift) for shift in (0, 1, 4, 5)]
    np.testing.assert_array_equal(matrix, expected)
    small = np.arange(4.0).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(
        ref.conv2d_transpose(small, kernel).ravel(), matrix.T @ small.ravel()
    )


POOLS = {
    "max": (keras.ops.max_pool, ref.max_pool, ref.max_pool_gradient),
    "average": (keras.ops.average_pool, ref.average_pool, ref.average_pool_gradient),
}


@pytest.mark.parametrize("kind", POOLS)
@quick
@given(
    seed=seeds,
    pool=sides,
    stride=st.none() | sides,
    padding=st.sampled_from(["valid", "same"]),
    extra=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    levels=st.sampled_from([2, 3, 1000]),
    top=st.sampled_from([0, 3]),
)
def test_pooling_and_its_gradient(kind, seed, pool, stride, padding, extra, levels, top):
    theirs, ours, ours_back = POOLS[kind]
    size = (2, pool + extra[0], pool + extra[1], 2)
    # Few levels make many ties, many levels make none; below a top of 0 any padding would win.
    x = top - np.random.default_rng(seed).integers(1, levels + 1, size).astype("float64")
    y, dy, (dx,) = gradients(lambda x: theirs(x, pool, stride, padding), [x], seed)
    np.testing.assert_allclose(ours(x, pool, stride, padding), y, **TIGHT)
    np.testing.assert_allclose(ours_back(dy, x, pool, stride, padding), dx, **TIGHT)


def test_pooling_by_hand():
    x = np.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(ref.max_pool(x, 2).ravel(), [5])
    np.testing.assert_array_equal(ref.max_pool(x, 2, padding="same").ravel(), [5, 6, 8, 9])
    np.testing.assert_array_equal(ref.max_pool(-x, 2, padding="same").ravel(), [-1, -3, -7, -9])
    np.testing.assert_array_equal(ref.average_pool(x, 2, padding="same").ravel(), [3, 4.5, 7.5, 9])


# TensorFlow flushes subnormal numbers to 0.
ordinary = st.floats(-2, 2, allow_subnormal=False)


@quick
@given(hnp.arrays("float64", (3, 4), elements=ordinary), st.sampled_from([0, 0.25]), seeds)
def test_relu(x, slope, seed):
    """TensorFlow keeps a leaky slope in float32: 0.25 is exact there, 0.2 is not."""
    x[0, 0] = 0
    function = keras.ops.relu if slope == 0 else lambda x: keras.ops.leaky_relu(x, slope)
    y, dy, (dx,) = gradients(function, [x], seed)
    np.testing.assert_allclose(ref.relu(x, slope), y, **TIGHT)
    np.testing.assert_allclose(ref.relu_gradient(dy, x, slope), dx, **TIGHT)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.8])
def test_dropout_is_the_keras_layer_for_the_same_mask(rate):
    x = np.random.default_rng(0).normal(size=(40, 25))
    layer = keras.layers.Dropout(rate, seed=1, dtype="float64")
    y, dy, (dx,) = gradients(lambda x: layer(x, training=True), [x], 2)
    mask = y != 0
    assert 0 < mask.mean() < 1
    np.testing.assert_allclose(ref.dropout(x, rate, mask), y, **TIGHT)
    np.testing.assert_allclose(ref.dropout(dy, rate, mask), dx, **TIGHT)
    np.testing.assert_array_equal(layer(x, training=False), x)


def test_dropout_mask_keeps_one_minus_rate():
    mask = ref.dropout_mask((1000, 100), 0.3, np.random.default_rng(0))
    # Five standard errors of a share of 100,000 draws.
    assert abs(mask.mean() - 0.7) < 5 * np.sqrt(0.7 * 0.3 / mask.size)


@quick
@given(
    hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(-10, 10)),
    st.floats(0, 0.95),
)
def test_the_mean_over_all_dropout_masks_is_the_input(x, rate):
    masks = np.array(list(itertools.product([False, True], repeat=len(x))))
    chance = np.where(masks, 1 - rate, rate).prod(axis=1)
    np.testing.assert_allclose(chance.sum(), 1)
    scaled = [ref.dropout(x, rate, mask) for mask in masks]
    np.testing.assert_allclose(chance @ scaled, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(chance @ (masks * x), (1 - rate) * x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("drawn_by", ["reference", "keras"])
def test_kept_units_are_binomial(drawn_by):
    shape, rate = (20_000, 64), 0.5
    if drawn_by == "keras":
        mask = keras.layers.Dropout(rate, seed=1)(np.ones(shape, "float32"), training=True) != 0
    else:
        mask = ref.dropout_mask(shape, rate, np.random.default_rng(0))
    kept, law = np.sum(mask, axis=1), stats.binom(shape[1], 1 - rate)
    assert law.mean() == 32 and law.std() == 4 and round(law.sf(32), 2) == 0.45
    for count in range(20, 45):  # Five standard errors of a share of so many draws.
        share = law.cdf(count)
        error = np.sqrt(share * (1 - share) / len(kept))
        assert abs(np.mean(kept <= count) - share) < 5 * error


@st.composite
def batches(draw):
    shape = draw(st.sampled_from([(7, 3), (2, 3, 4, 3)]))
    rng = np.random.default_rng(draw(seeds))
    x = draw(st.floats(0.1, 10)) * rng.normal(size=shape) + draw(st.floats(-10, 10))
    return x, rng.normal(size=3), rng.normal(size=3), draw(st.sampled_from([1e-3, 1e-5]))


def keras_batch_norm(shape, gamma, beta, epsilon):
    layer = keras.layers.BatchNormalization(epsilon=epsilon, momentum=0.9, dtype="float64")
    layer.build(shape)
    layer.set_weights([gamma, beta, np.full(3, 0.5), np.full(3, 2.0)])
    return layer


@quick
@given(batches(), seeds)
def test_batch_norm_in_training(batch, seed):
    x, gamma, beta, epsilon = batch
    layer = keras_batch_norm(x.shape, gamma, beta, epsilon)
    y, dy, (dx,) = gradients(lambda x: layer(x, training=True), [x], seed)
    mean, variance = ref.batch_moments(x)
    # TensorFlow folds the two steps into one product, which rounds a little differently.
    near = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(ref.batch_norm(x, gamma, beta, mean, variance, epsilon), y, **near)
    np.testing.assert_allclose(layer.moving_mean, ref.moving_average(0.5, mean, 0.9), **near)
    np.testing.assert_allclose(layer.moving_variance, ref.moving_average(2, variance, 0.9), **near)
    our_dx, our_dgamma, our_dbeta = ref.batch_norm_gradient(dy, x, gamma, epsilon)
    np.testing.assert_allclose(our_dx, dx, **near)

    def training(gamma, beta):
        mean, variance = tf.nn.moments(tf.constant(x), list(range(x.ndim - 1)))
        return keras.ops.batch_normalization(x, mean, variance, -1, beta, gamma, epsilon)

    _, dy, (dgamma, dbeta) = gradients(training, [gamma, beta], seed)
    np.testing.assert_allclose(our_dgamma, dgamma, **near)
    np.testing.assert_allclose(our_dbeta, dbeta, **near)


@quick
@given(batches())
def test_batch_norm_at_inference(batch):
    x, gamma, beta, epsilon = batch
    y = keras_batch_norm(x.shape, gamma, beta, epsilon)(x, training=False)
    ours = ref.batch_norm(x, gamma, beta, np.full(3, 0.5), np.full(3, 2.0), epsilon)
    np.testing.assert_allclose(ours, y, **TIGHT)


def test_the_defaults_are_those_of_keras():
    layer = keras.layers.BatchNormalization()
    assert ref.moving_average(0.0, 1.0) == pytest.approx(1 - layer.momentum)
    for function, name, value in (
        (ref.batch_norm, "epsilon", layer.epsilon),
        (ref.batch_norm_gradient, "epsilon", layer.epsilon),
        (ref.cross_entropy, "epsilon", keras.config.epsilon()),
        (ref.cross_entropy_gradient, "epsilon", keras.config.epsilon()),
        (ref.conv2d, "padding", keras.layers.Conv2D(1, 1).padding),
        (ref.max_pool, "pool", keras.layers.MaxPooling2D().pool_size[0]),
    ):
        assert inspect.signature(function).parameters[name].default == value


def public():
    return [value for name, value in vars(ref).items() if inspect.isfunction(value)
            and value.__module__ == ref.__name__ and name[0] != "_"]  # fmt: skip


@pytest.mark.parametrize("function", public(), ids=lambda function: function.__name__)
def test_a_function_says_its_shapes_its_types_and_its_source(function):
    parameters = inspect.signature(function).parameters
    documented = inspect.getdoc(function)
    assert all(each.annotation is not each.empty for each in parameters.values())
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty
    for part in ("Parameters\n-", "Returns\n-", "Notes\n-", *parameters):
        assert part in documented
    assert re.search(r"shape|As for", documented)


@quick
@given(batches())
def test_batch_norm_undone(batch):
    """Scale and shift undo it at inference; left at one and zero, they do not."""
    x, _, _, epsilon = batch
    mean, variance = np.full(3, 0.5), np.full(3, 2.0)
    layer = keras_batch_norm(x.shape, np.sqrt(variance + epsilon), mean, epsilon)
    np.testing.assert_allclose(layer(x, training=False), x, **TIGHT)
    layer = keras_batch_norm(x.shape, np.ones(3), np.zeros(3), epsilon)
    assert not np.allclose(layer(x, training=False), x)


@st.composite
def classifications(draw):
    """Draw logits, mild or confident, and targets, one-hot or spread out."""
    rng = np.random.default_rng(draw(seeds))
    logits = draw(st.sampled_from([1.0, 30.0])) * rng.normal(size=(5, 4))
    one_hot = np.eye(4)[rng.integers(0, 4, 5)]
    return logits, draw(st.sampled_from([one_hot, rng.dirichlet(np.ones(4), 5)]))


@quick
@given(classifications(), seeds)
def test_softmax_and_its_gradient(classification, seed):
    logits, _ = classification
    p, dp, (dlogits,) = gradients(keras.ops.softmax, [logits], seed)
    np.testing.assert_allclose(ref.softmax(logits), p, **TIGHT)
    np.testing.assert_allclose(ref.softmax_gradient(dp, p), dlogits, **TIGHT)


@quick
@given(classifications(), seeds)
def test_cross_entropy_from_logits(classification, seed):
    logits, target = classification

    def theirs(logits):
        return keras.ops.categorical_crossentropy(target, logits, from_logits=True)

    loss, dloss, (dlogits,) = gradients(theirs, [logits], seed)
    np.testing.assert_allclose(ref.cross_entropy_from_logits(target, logits), loss, **TIGHT)
    ours = dloss[:, None] * ref.cross_entropy_from_logits_gradient(target, logits)
    np.testing.assert_allclose(ours, dlogits, **TIGHT)


@quick
@given(classifications(), seeds, st.sampled_from([1.0, 0.3, 5.0]))
def test_cross_entropy_of_probabilities(classification, seed, total):
    """Keras divides by the sum and clips, in this order; a clipped share has no slope."""
    logits, target = classification
    p = total * ref.softmax(logits)

    def theirs(p):
        return keras.ops.categorical_crossentropy(target, p)

    loss, dloss, (dp,) = gradients(theirs, [p], seed)
    np.testing.assert_allclose(ref.cross_entropy(target, p), loss, **TIGHT)
    ours = dloss[:, None] * ref.cross_entropy_gradient(target, p)
    # Gradients of some 1e7 are a difference of larger ones: compare them by their scale.
    np.testing.assert_allclose(ours, dp, rtol=1e-9, atol=1e-11 * (1 + np.abs(dp).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wanted", [1e-9, 0.5e-7, 1.5e-7, 1e-3, 1 - 1e-3, 1 - 0.3e-7])
def test_clipping_at_the_edges(wanted, dtype):
    p = np.array([[wanted, 1 - wanted]], dtype)
    target = np.array([[1, 0]], dtype)
    loss, _, (dp,) = gradients(lambda p: keras.ops.categorical_crossentropy(target, p), [p], 0)
    exact = LOOSE if dtype == "float32" else TIGHT
    np.testing.assert_allclose(ref.cross_entropy(target, p), loss, **exact)
    clipped = not 1e-7 < wanted < 1 - 1e-7
    assert (np.abs(dp).max() == 0) == clipped
    assert (np.abs(ref.cross_entropy_gradient(target, p)).max() == 0) == clipped
    assert ref.cross_entropy(target, p).dtype == dtype


def test_keras_goes_back_to_the_logits_only_if_it_sees_the_softmax():
    """The two losses differ by what stands between the softmax and the loss alone."""
    logits, target = np.array([[40.0, 0, 0]]), np.array([[0.0, 1, 0]])

    def seen(logits):
        return keras.ops.categorical_crossentropy(target, keras.ops.softmax(logits))

    def hidden(logits):
        p = keras.ops.reshape(keras.ops.softmax(logits), (1, 3))
        return keras.ops.categorical_crossentropy(target, p)

    for function in (seen, tf.function(seen)):
        loss, dloss, (dlogits,) = gradients(function, [logits], 0)
        np.testing.assert_allclose(loss, ref.cross_entropy_from_logits(target, logits), **TIGHT)
        ours = dloss[:, None] * ref.cross_entropy_from_logits_gradient(target, logits)
        np.testing.assert_allclose(dlogits, ours, **TIGHT)
    for function in (hidden, tf.function(hidden)):
        loss, _, (dlogits,) = gradients(function, [logits], 0)
        np.testing.assert_allclose(loss, ref.cross_entropy(target, ref.softmax(logits)), **TIGHT)
        np.testing.assert_allclose(loss, -np.log(1e-7), **TIGHT)
        assert np.all(dlogits == 0)


@quick
@given(classifications(), seeds)
def test_squared_error_of_the_output_and_behind_a_softmax(classification, seed):
    logits, target = classification

    def theirs(output):
        return keras.losses.mean_squared_error(target, output)

    loss, dloss, (doutput,) = gradients(theirs, [logits], seed)
    np.testing.assert_allclose(ref.squared_error(target, logits), loss, **TIGHT)
    ours = dloss[:, None] * ref.squared_error_gradient(target, logits)
    np.testing.assert_allclose(ours, doutput, **TIGHT)
    _, dloss, (dlogits,) = gradients(lambda z: theirs(keras.ops.softmax(z)), [logits], seed)
    p = ref.softmax(logits)
    ours = ref.softmax_gradient(dloss[:, None] * ref.squared_error_gradient(target, p), p)
    np.testing.assert_allclose(ours, dlogits, **TIGHT)


@quick
@given(seeds, st.sampled_from([1.0, 30.0, 1000.0]))
def test_softmax_is_positive_and_sums_to_one(seed, size):
    """Positive on paper; in floating point a number far below the largest becomes zero."""
    logits = size * np.random.default_rng(seed).normal(size=(6, 10))
    p = ref.softmax(logits)
    np.testing.assert_allclose(p, keras.ops.softmax(logits), **TIGHT)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    below = logits.max(axis=-1, keepdims=True) - logits
    assert np.all(p[below < 700] > 0)
    assert np.all(p[below > 750] == 0)


def test_a_thousand_times_the_probability():
    """What each loss and its gradient make of a rise from one millionth to one thousandth."""
    p = np.array([1e-6, 1e-3])
    target, both = np.array([[1.0, 0.0]] * 2), np.stack([p, 1 - p], axis=1)
    one = target[:, :1], both[:, :1]
    for ours, theirs, fall in (
        (
            ref.cross_entropy(target, both),
            keras.losses.categorical_crossentropy(target, both),
            np.log(1000),
        ),
        (ref.squared_error(*one), keras.losses.mean_squared_error(*one), 0.001997000001),
    ):
        np.testing.assert_allclose(ours, theirs, **TIGHT)
        np.testing.assert_allclose(ours[0] - ours[1], fall, rtol=1e-9)
    logits = special.logit(p)[:, None]
    for loss, gradient in (
        (keras.losses.binary_crossentropy, p - 1),
        (keras.losses.mean_squared_error, 2 * (p - 1) * p * (1 - p)),
    ):
        ones = np.ones((2, 1))
        _, dloss, (dlogits,) = gradients(
            lambda z, loss=loss, ones=ones: loss(ones, keras.ops.sigmoid(z)), [logits], 0
        )
        np.testing.assert_allclose(dlogits[:, 0], dloss * gradient, **TIGHT)


@quick
@given(classifications(), seeds, st.floats(0.1, 10))
def test_losses_are_negative_log_likelihoods(classification, seed, sigma):
    """Of normal errors with equal variance, and of categorical and binomial labels."""
    logits, target = classification
    rng = np.random.default_rng(seed)
    normal = -stats.norm.logpdf(target, logits, sigma).sum(axis=-1)
    constant = target.shape[-1] * np.log(sigma * np.sqrt(2 * np.pi))
    squares = target.shape[-1] * ref.squared_error(target, logits) / (2 * sigma**2)
    np.testing.assert_allclose(normal, squares + constant, rtol=1e-9, atol=1e-9)

    p = rng.dirichlet(np.ones(4), 5) * 0.99 + 0.0025
    one_hot = np.eye(4)[rng.integers(0, 4, 5)]
    categorical = -stats.multinomial.logpmf(one_hot, 1, p)
    np.testing.assert_allclose(categorical, ref.cross_entropy(one_hot, p), rtol=1e-9)

    trials, chance = 10, p[:, 0]
    hits = rng.integers(0, trials + 1, 5)
    binomial = -stats.binom.logpmf(hits, trials, chance)
    two = np.stack([hits, trials - hits], axis=1) / trials
    entropies = trials * ref.cross_entropy(two, np.stack([chance, 1 - chance], axis=1))
    orders = np.log(special.comb(trials, hits))
    np.testing.assert_allclose(binomial, entropies - orders, rtol=1e-9, atol=1e-9)


def test_gradients_by_differences():
    """Without any framework: a small step in each direction."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 5, 4, 2)), rng.normal(size=(3, 2, 2, 3))
    dy = rng.normal(size=ref.conv2d(x, kernel, None, 2, "same").shape)
    gamma, beta = rng.normal(size=2), rng.normal(size=2)
    target = np.eye(4)[[0, 2]]
    checks = {
        "convolution, input": (
            x,
            lambda x: (dy * ref.conv2d(x, kernel, None, 2, "same")).sum(),
            lambda x: ref.conv2d_input_gradient(dy, kernel, x.shape[1:3], 2, "same"),
        ),
        "convolution, kernel": (
            kernel,
            lambda kernel: (dy * ref.conv2d(x, kernel, None, 2, "same")).sum(),
            lambda kernel: ref.conv2d_kernel_gradient(dy, x, (3, 2), 2, "same")[0],
        ),
        "batch norm": (
            x,
            lambda x: (x0 * ref.batch_norm(x, gamma, beta, *ref.batch_moments(x))).sum(),
            lambda x: ref.batch_norm_gradient(x0, x, gamma)[0],
        ),
        "cross-entropy behind softmax": (
            rng.normal(size=(2, 4)),
            lambda z: ref.cross_entropy(target, ref.softmax(z)).sum(),
            lambda z: ref.softmax_gradient(
                ref.cross_entropy_gradient(target, ref.softmax(z)), ref.softmax(z)
            ),
        ),
    }
    x0 = rng.normal(size=x.shape)
    for name, (at, value, gradient) in checks.items():
        error = check_grad(
            lambda flat, f=value, shape=at.shape: f(flat.reshape(shape)),
            lambda flat, f=gradient, shape=at.shape: f(flat.reshape(shape)).ravel(),
            at.ravel(),
        )
        assert error < 1e-5, name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype):
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype(dtype)
    kernel = np.ones((2, 2, 2, 2), dtype)
    y = ref.conv2d(x, kernel, np.ones(2, dtype), 2, "same")
    vector = np.ones(2, dtype)
    results = [
        y,
        ref.conv2d_input_gradient(y, kernel, (5, 5), 2, "same"),
        *ref.conv2d_kernel_gradient(y, x, (2, 2), 2, "same"),
        ref.conv2d_transpose(x, kernel),
        ref.conv_matrix(kernel, (3, 3)),
        ref.max_pool(x),
        ref.max_pool_gradient(ref.max_pool(x), x),
        ref.average_pool(x),
        ref.average_pool_gradient(ref.average_pool(x), x),
        ref.relu(x, 0.1),
        ref.relu_gradient(x, x, 0.1),
        ref.dropout(x, 0.25, x > 0),
        ref.batch_norm(x, vector, vector, *ref.batch_moments(x)),
        ref.moving_average(vector, vector),
        *ref.batch_norm_gradient(x, x, vector),
        ref.softmax(x),
        ref.softmax_gradient(x, ref.softmax(x)),
        ref.cross_entropy(ref.softmax(x), ref.softmax(x)),
        ref.cross_entropy_gradient(ref.softmax(x), ref.softmax(x)),
        ref.cross_entropy_from_logits(ref.softmax(x), x),
        ref.cross_entropy_from_logits_gradient(ref.softmax(x), x),
        ref.squared_error(x, x),
        ref.squared_error_gradient(x, x),
    ]
    assert {result.dtype.name for result in results} == {dtype}


def test_float32_agrees_with_a_float32_keras_net():
    """A whole small net, forward, in the precision in which the course trains."""
    keras.utils.set_random_seed(0)
    net = keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(3, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(2),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(4, 3),
        keras.layers.Flatten(),
        keras.layers.Softmax(),
    ])  # fmt: skip
    x = np.random.default_rng(0).random((5, 8, 8, 1), "float32")
    weights = net.get_weights()
    y = ref.max_pool(ref.relu(ref.conv2d(x, weights[0], weights[1], padding="same")))
    y = ref.conv2d(ref.batch_norm(y, *weights[2:6]), weights[6], weights[7])
    np.testing.assert_allclose(ref.softmax(y.reshape(5, -1)), net(x), **LOOSE)


X = np.zeros((1, 4, 4, 2))
K = np.zeros((3, 3, 2, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ref.conv2d(X[0], K), r"x must .* \(any, any, any, 2\), .* \(4, 4, 2\)"),
        (lambda: ref.conv2d(X[..., :1], K), r"x must .* \(any, any, any, 2\), .* \(1, 4, 4, 1\)"),
        (lambda: ref.conv2d(X.astype(int), K), "x must be a floating-point array"),
        (lambda: ref.conv2d(X, K[0]), "kernel must be a floating-point array"),
        (lambda: ref.conv2d(X, K, dilation=2), "kernel must be no larger"),
        (lambda: ref.conv2d(X, K, stride=0), "stride must be a whole number of at least 1, got 0"),
        (lambda: ref.conv2d(X, K, padding="half"), "padding must be .*got 'half'"),
        (lambda: ref.conv2d_input_gradient(X, K, (6, 6)), "dy must be"),
        (lambda: ref.conv2d_kernel_gradient(X, X, (3, 3)), "dy must be"),
        (lambda: ref.max_pool(X, 2, 0), "stride must be a whole number of at least 1, got 0"),
        (lambda: ref.max_pool(X, 2, padding="full"), 'padding must be "valid" or "same"'),
        (lambda: ref.max_pool_gradient(X, X), "dy must be"),
        (lambda: ref.average_pool_gradient(X, X), "dy must be"),
        (lambda: ref.dropout(X, 1, X > 0), "rate must be at least 0 and below 1, got 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
