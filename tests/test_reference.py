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

from utils.theory import reference as ref
from utils.theory.arithmetic import padding_widths

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 4)
TIGHT = {"rtol": 1e-9, "atol": 1e-11}  # for float64


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
    # The matrix and its transpose say the same of one image.
    matrix = ref.conv_matrix(kernel, x.shape[1:3], *settings_)
    np.testing.assert_allclose(matrix @ x[0].ravel(), (y - bias)[0].ravel(), **TIGHT)
    np.testing.assert_allclose(matrix.T @ dy[0].ravel(), dx[0].ravel(), **TIGHT)
    our_dkernel, our_dbias = ref.conv2d_kernel_gradient(dy, x, kernel.shape[:2], *settings_)
    np.testing.assert_allclose(our_dkernel, dkernel, **TIGHT)
    np.testing.assert_allclose(our_dbias, dbias, **TIGHT)


@quick
@given(convolutions(st.sampled_from(["valid", "same"])), st.booleans())
def test_conv2d_is_the_keras_layer(convolution, strided):
    x, kernel, bias, stride, padding, dilation = convolution
    stride, dilation = (stride, 1) if strided else (1, dilation)
    given = len(bias), kernel.shape[:2], stride, padding
    layer = keras.layers.Conv2D(*given, dilation_rate=dilation, dtype="float64")
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


@quick
@given(batches())
def test_batch_norm_bounds_each_value(batch):
    """Of N values of a channel none lies beyond √(N − 1); one among equals lies there."""
    x = batch[0]
    bound = np.sqrt(x[..., 0].size - 1)
    assert np.abs(ref.batch_norm(x, 1, 0, *ref.batch_moments(x), epsilon=0)).max() < bound + 1e-9
    first = (0,) * (x.ndim - 1)
    x = np.zeros_like(x)
    x[first] = 1
    y = ref.batch_norm(x, 1, 0, *ref.batch_moments(x), epsilon=0)
    np.testing.assert_allclose(y[first], bound)


@st.composite
def classifications(draw):
    """Draw logits, mild or confident, and targets, one-hot or spread out."""
    rng = np.random.default_rng(draw(seeds))
    logits = draw(st.sampled_from([1.0, 30.0])) * rng.normal(size=(5, 4))
    one_hot = np.eye(4)[rng.integers(0, 4, 5)]
    return logits, draw(st.sampled_from([one_hot, rng.dirichlet(np.ones(4), 5)]))


def squared_error_of_softmax_gradient(target, logits):
    p = ref.softmax(logits)
    return ref.softmax_gradient(ref.squared_error_gradient(target, p), p)


LOSSES = {  # Keras's, ours and our gradient, of a target and an output
    "cross-entropy of logits": (
        lambda t, z: keras.ops.categorical_crossentropy(t, z, from_logits=True),
        ref.cross_entropy_from_logits,
        ref.cross_entropy_from_logits_gradient,
    ),
    "squared error": (
        keras.losses.mean_squared_error,
        ref.squared_error,
        ref.squared_error_gradient,
    ),
    "squared error behind a softmax": (
        lambda t, z: keras.losses.mean_squared_error(t, keras.ops.softmax(z)),
        lambda t, z: ref.squared_error(t, ref.softmax(z)),
        squared_error_of_softmax_gradient,
    ),
}


@pytest.mark.parametrize("name", LOSSES)
@quick
@given(classification=classifications(), seed=seeds)
def test_losses_and_their_gradients(name, classification, seed):
    (logits, target), (theirs, ours, ours_back) = classification, LOSSES[name]
    loss, dloss, (dlogits,) = gradients(lambda z: theirs(target, z), [logits], seed)
    np.testing.assert_allclose(ours(target, logits), loss, **TIGHT)
    back = dloss[:, None] * ours_back(target, logits)
    np.testing.assert_allclose(back, dlogits, **TIGHT)


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
    exact = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else TIGHT
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
@given(classifications())
def test_squared_error_never_points_against_cross_entropy(classification):
    """At the logits the product of both gradients is 2/K times a variance under p."""
    logits, target = classification
    p = ref.softmax(logits)
    product = squared_error_of_softmax_gradient(target, logits) * (p - target)
    mean = (p * (p - target)).sum(axis=-1, keepdims=True)
    variance = (p * (p - target - mean) ** 2).sum(axis=-1)
    np.testing.assert_allclose(product.sum(axis=-1), 2 / 4 * variance, rtol=1e-6, atol=1e-12)
    assert np.all(product.sum(axis=-1) > -1e-12)


@quick
@given(seeds, st.sampled_from([1.0, 30.0, 1000.0]))
def test_softmax_is_positive_and_sums_to_one(seed, size):
    """Positive on paper; in floating point a number far below the largest becomes zero."""
    logits = size * np.random.default_rng(seed).normal(size=(6, 10))
    theirs, dp, (dlogits,) = gradients(keras.ops.softmax, [logits], seed)
    p = ref.softmax(logits)
    np.testing.assert_allclose(p, theirs, **TIGHT)
    np.testing.assert_allclose(ref.softmax_gradient(dp, p), dlogits, **TIGHT)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    below = logits.max(axis=-1, keepdims=True) - logits
    assert np.all(p[below < 700] > 0)
    assert np.all(p[below > 750] == 0)


def test_a_thousand_times_the_probability():
    """What each loss and its gradient make of a rise from one millionth to one thousandth."""
    p = np.array([1e-6, 1e-3])
    target, both = np.array([[1.0, 0.0]] * 2), np.stack([p, 1 - p], axis=1)
    one, keras_losses = (target[:, :1], both[:, :1]), keras.losses
    cross = keras_losses.categorical_crossentropy(target, both), np.log(1000)
    for ours, (theirs, fall) in (
        (ref.cross_entropy(target, both), cross),
        (ref.squared_error(*one), (keras_losses.mean_squared_error(*one), 0.001997000001)),
    ):
        np.testing.assert_allclose(ours, theirs, **TIGHT)
        np.testing.assert_allclose(ours[0] - ours[1], fall, rtol=1e-9)
    logits, ones = special.logit(p)[:, None], np.ones((2, 1))
    for loss, gradient in (
        (keras_losses.binary_crossentropy, p - 1),
        (keras_losses.mean_squared_error, 2 * (p - 1) * p * (1 - p)),
    ):
        _, dloss, (dlogits,) = gradients(
            lambda z, loss=loss: loss(ones, keras.ops.sigmoid(z)), [logits], 0
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype):
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype(dtype)
    given = {
        "probabilities": abs(x), "kernel": np.ones((2, 2, 2, 2), dtype), "size": (5, 5),
        "kernel_size": (1, 1), "mask": x > 0, "pool": 1, "rate": 0.25, "slope": 0.1,
        "padding": "same",
    }  # fmt: skip
    given |= dict.fromkeys(["x", "dy", "dp", "logits", "output", "target"], x)
    vectors = ["bias", "gamma", "beta", "mean", "variance", "moving", "batch"]
    given |= dict.fromkeys(vectors, np.ones(2, dtype))
    for function in set(public()) - {ref.dropout_mask}:
        named = inspect.signature(function).parameters
        found = function(**{name: value for name, value in given.items() if name in named})
        for array in found if isinstance(found, tuple) else [found]:
            assert array.dtype == dtype, function
