"""`utils.theory.arithmetic`: against Keras, measured gradients and published numbers."""

import itertools

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers
from tensorflow.python.profiler.model_analyzer import profile
from tensorflow.python.profiler.option_builder import ProfileOptionBuilder

from utils.theory import arithmetic as ar

quick = settings(deadline=None, max_examples=60)
few = settings(deadline=None, max_examples=25)
sizes, kernels, strides = st.integers(1, 40), st.integers(1, 7), st.integers(1, 5)
paddings = st.integers(0, 6)
keras_paddings = st.sampled_from(["valid", "same"])


# --- Dumoulin & Visin 2016: i input, k kernel, s stride, p padding, o output; primes: transposed


@given(i=sizes, k=kernels, s=strides, p=paddings, n=st.integers(0, 4), d=st.integers(1, 4))
def test_relationships_1_to_7_and_15(i, k, s, p, n, d):
    if k <= i:
        assert ar.output_size(i, k) == (i - k) + 1  # 1: no padding, unit strides
        o = np.floor((i - k) / s) + 1  # 5: strides; 7: pooling
        pooled = layers.MaxPooling2D(k, s).compute_output_shape((1, i, i, 1))
        assert ar.output_size(i, k, s) == o == pooled[1]
    if k <= i + 2 * p:
        assert ar.output_size(i, k, padding=p) == (i - k) + 2 * p + 1  # 2: padding
        assert ar.output_size(i, k, s, p) == np.floor((i + 2 * p - k) / s) + 1  # 6: both
    for half in (n, "same"):
        assert ar.output_size(i, 2 * n + 1, padding=half) == i  # 3: half padding
    for full in ("full", k - 1):
        assert ar.output_size(i, k, padding=full) == i + (k - 1)  # 4: full padding
    if k + (k - 1) * (d - 1) <= i + 2 * p:
        o = np.floor((i + 2 * p - k - (k - 1) * (d - 1)) / s) + 1  # 15: dilation
        assert ar.output_size(i, k, s, p, d) == o


@given(i_=sizes, k=kernels, p=paddings, n=st.integers(0, 4))
def test_relationships_8_to_11_transposed_with_unit_strides(i_, k, p, n):
    assert ar.transposed_output_size(i_, k) == i_ + (k - 1)  # 8: no padding
    if i_ + (k - 1) - 2 * p >= 1:
        assert ar.transposed_output_size(i_, k, padding=p) == i_ + (k - 1) - 2 * p  # 9
    for half in (n, "same"):
        assert ar.transposed_output_size(i_, 2 * n + 1, padding=half) == i_  # 10
    if i_ - (k - 1) >= 1:
        assert ar.transposed_output_size(i_, k, padding="full") == i_ - (k - 1)  # 11


@given(i=sizes, k=kernels, s=strides, p=paddings)
def test_relationships_12_to_14_transposed_with_strides(i, k, s, p):
    assume(i + 2 * p >= k)
    i_, a = ar.output_size(i, k, s, p), (i + 2 * p - k) % s
    o_ = ar.transposed_output_size(i_, k, s, p, output_padding=a)
    assert o_ == s * (i_ - 1) + a + k - 2 * p == i  # 14: any size
    if a == 0:
        assert ar.transposed_output_size(i_, k, s, p) == i  # 13, and 12 where p is 0


# --- Sizes against Keras


@quick
@given(sizes, kernels, strides, keras_paddings, st.integers(1, 4), st.booleans())
def test_output_size_is_that_of_keras(size, kernel, stride, padding, dilation, strided):
    stride, dilation = (stride, 1) if strided else (1, dilation)
    layer = layers.Conv2D(3, kernel, stride, padding, dilation_rate=dilation)
    if padding == "valid" and (kernel - 1) * dilation + 1 > size:
        with pytest.raises(ValueError, match="kernel must be no larger"):
            ar.output_size(size, kernel, stride, padding, dilation)
        return
    shape = layer.compute_output_shape((1, size, size, 2))
    assert ar.output_size(size, kernel, stride, padding, dilation) == shape[1]
    if padding == "same":
        assert shape[1] == np.ceil(size / stride)
    if size < 15:  # Keras says the size; here is what really comes out.
        x = np.zeros((1, size, size, 1), "float32")
        assert layer(x).shape[1] == shape[1]
        pooled = layers.AveragePooling2D(kernel, stride, padding)(x)
        assert pooled.shape[1] == ar.output_size(size, kernel, stride, padding)


@quick
@given(sizes, kernels, strides, st.integers(1, 3))
def test_same_padding_is_that_of_tensorflow(size, kernel, stride, dilation):
    """The zeros are where a kernel of ones sees fewer than all of its cells."""
    stride, dilation = (stride, 1) if dilation == 1 else (1, dilation)
    before, after = ar.same_padding(size, kernel, stride, dilation)
    image = np.pad(np.ones(size), (before, after))
    expected = [
        image[i * stride :][: (kernel - 1) * dilation + 1 : dilation].sum()
        for i in range(ar.output_size(size, kernel, stride, "same", dilation))
    ]
    ones = tf.ones((1, size, 1)), tf.ones((kernel, 1, 1))
    seen = tf.nn.convolution(*ones, stride, "SAME", dilations=dilation)
    np.testing.assert_array_equal(seen[0, :, 0], expected)


@given(sizes, kernels, strides, keras_paddings | paddings, st.integers(1, 3))
def test_unused_border_is_what_no_window_covers(size, kernel, stride, padding, dilation):
    reach = (kernel - 1) * dilation + 1
    zeros = sum(ar.padding_widths(size, kernel, stride, padding, dilation))
    assume(reach <= size + zeros)
    outputs = ar.output_size(size, kernel, stride, padding, dilation)
    reached = np.zeros(size + zeros, bool)
    for i in range(outputs):
        reached[i * stride : i * stride + reach] = True
    border = len(reached) - 1 - np.flatnonzero(reached)[-1]
    assert (ar.unused_border(7, 2, 2), ar.unused_border(7, 2, 2, "same")) == (1, 0)
    assert ar.unused_border(size, kernel, stride, padding, dilation) == border


@quick
@given(st.data(), st.integers(1, 12), kernels, strides, keras_paddings, st.integers(1, 3))
def test_transposed_output_size_is_that_of_keras(data, size, kernel, stride, padding, dilation):
    stride, dilation = data.draw(st.sampled_from([(stride, 1), (1, dilation)]))
    output_padding = data.draw(st.none() | st.integers(0, stride - 1))
    layer = layers.Conv2DTranspose(
        1, kernel, stride, padding, output_padding, dilation_rate=dilation
    )
    shape = layer.compute_output_shape((1, size, size, 1))
    settings_ = size, kernel, stride, padding, dilation, output_padding
    if padding == "same" and output_padding == 0 and (kernel - 1) * dilation % 2:
        # Keras states a size here, which TensorFlow then refuses.
        assert np.ceil(shape[1] / stride) < size
        with pytest.raises(ValueError, match="no input gives size"):
            ar.transposed_output_size(*settings_)
        return
    assert ar.transposed_output_size(*settings_) == shape[1]
    assert ar.output_size(shape[1], kernel, stride, padding, dilation) == size
    if size < 7 and dilation == 1:
        assert layer(np.zeros((1, size, size, 1), "float32")).shape[1] == shape[1]


# --- Parameters and multiply-adds


@quick
@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.tuples(kernels, kernels),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_parameters_are_those_of_keras(per_group, filters, groups, kernel, bias, transposed):
    channels_in, filters = per_group * groups, filters * groups
    if transposed:
        layer, groups = layers.Conv2DTranspose(filters, kernel, use_bias=bias), 1
    else:
        layer = layers.Conv2D(filters, kernel, use_bias=bias, groups=groups)
    depthwise = layers.DepthwiseConv2D(kernel, depth_multiplier=2, use_bias=bias)
    dense, norm = layers.Dense(filters, use_bias=bias), layers.BatchNormalization()
    given = channels_in, 2 * channels_in, kernel, bias, channels_in
    for each, count in (
        (layer, ar.conv_parameters(channels_in, filters, kernel, bias, groups)),
        (depthwise, ar.conv_parameters(*given)),
        (dense, ar.dense_parameters(channels_in, filters, bias)),
        (norm, sum(ar.batch_norm_parameters(channels_in))),
    ):
        each.build((1, channels_in) if each is dense else (1, 9, 9, channels_in))
        assert count == each.count_params()
    trained = sum(int(np.prod(weight.shape)) for weight in norm.trainable_weights)
    assert ar.batch_norm_parameters(channels_in)[0] == trained


def test_parameters_in_the_sources():
    assert ar.conv_parameters(1, 64, 3) == 640
    assert ar.conv_parameters(1, 32, 7) == 1600
    channels = 16
    two, one = 2 * ar.conv_parameters(channels, channels, 3, bias=False), 25 * channels**2
    assert (two, ar.conv_parameters(channels, channels, 5, bias=False)) == (18 * channels**2, one)


@pytest.fixture(scope="module")
def vgg16():
    return keras.applications.VGG16(weights=None)


def test_vgg16_counts(vgg16):
    """138,357,544 parameters and 15.47 G multiply-adds, as torchvision publishes them."""
    table = ar.layer_table(vgg16)
    assert table["parameters"].sum() == 138_357_544
    assert ar.multiply_adds(vgg16) == 15_470_264_320
    row = table.set_index("layer").loc["block5_conv3"]
    assert row["type"] == "Conv2D"
    assert row["output_shape"] == (14, 14, 512)
    assert row["multiply_adds"] == 14**2 * 3**2 * 512**2


def profiled(model):
    """Give TensorFlow's own count of products: half of the operations that it counts."""
    call = tf.function(lambda x: model(x)).get_concrete_function(
        tf.TensorSpec((1, *model.input_shape[1:]))
    )
    options = ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    counted = profile(call.graph, options=options)
    # The rest are additions of biases, pooling, and the parts of batch normalisation.
    products = ("convolution", "MatMul", "depthwise", "conv_transpose", "separable_conv2d")
    flops = {node.name: node.total_float_ops for node in counted.children}
    return sum(n for name, n in flops.items() if name.endswith(products)) // 2


def lenet(padding):
    return [
        *[layers.Rescaling(1 / 255), layers.Conv2D(6, 5, padding=padding, activation="relu")],
        *[layers.MaxPooling2D(2), layers.Conv2D(16, (3, 5), (1, 2)), layers.BatchNormalization()],
        *[layers.LeakyReLU(), layers.AveragePooling2D(2, padding="same"), layers.Dropout(0.5)],
        *[layers.Flatten(), layers.Dense(20, activation="relu"), layers.Dense(10)],
        *[layers.Softmax(), layers.Reshape((1, 10))],
    ]


MODELS = {
    "lenet, valid": lenet("valid"),
    "lenet, same": lenet("same"),
    "depthwise": [
        *[layers.ZeroPadding2D(2), layers.DepthwiseConv2D(3, 2, depth_multiplier=2)],
        layers.SeparableConv2D(5, 3, padding="same", depth_multiplier=3),
        *[layers.GlobalAveragePooling2D(), layers.Dense(3)],
    ],
    "dilated": [layers.Conv2D(4, 3, dilation_rate=2), layers.Dense(7), layers.GlobalMaxPooling2D()],
    "transposed": [
        *[layers.Conv2D(4, 3, 2, padding="same"), layers.Conv2DTranspose(2, 2, 3)],
        layers.Conv2DTranspose(3, 3, 2, padding="same"),
    ],
    "chain in a chain": [
        keras.Sequential([layers.Conv2D(4, 3), layers.ReLU()]),
        layers.Conv2D(2, 3),
    ],
}


@pytest.mark.parametrize("name", MODELS)
def test_counts_of_whole_models_are_those_of_tensorflow(name):
    model = keras.Sequential([keras.Input((28, 28, 2)), *MODELS[name]])
    assert ar.multiply_adds(model) == profiled(model) > 0
    table = ar.layer_table(model)
    assert isinstance(table, pd.DataFrame)
    assert table["parameters"].sum() == model.count_params()
    assert table["output_shape"].iloc[-1] == model.output_shape[1:]


def test_grouped_convolution_by_counting():
    """TensorFlow does not count these: each product lets one pixel alone reach one output."""
    layer = layers.Conv2D(6, 3, 2, groups=2, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((7, 8, 4)), layer])
    # No gradient is taken: TensorFlow has none of these where oneDNN is off.
    pixels = np.eye(7 * 8 * 4, dtype=np.float32).reshape(-1, 7, 8, 4)
    assert ar.multiply_adds(model) == np.count_nonzero(model(pixels))


def test_functional_model_with_branches():
    image = keras.Input((12, 12, 2))
    left = layers.Conv2D(4, 3, padding="same")(image)
    right = layers.Conv2D(4, 5, padding="same")(image)
    y = layers.Dense(3)(layers.Flatten()(layers.Add()([left, right])))
    model = keras.Model(image, y)
    assert ar.multiply_adds(model) == 12 * 12 * 2 * 4 * (9 + 25) + 12 * 12 * 4 * 3


def test_a_chain_nested_in_a_model_is_taken_apart():
    steps = [layers.RandomTranslation(0.1, 0.1), layers.Conv2D(4, 3)]
    chain = keras.Sequential(steps, name="chain")
    image = keras.Input((12, 12, 2))
    functional = keras.Model(image, layers.Conv2D(1, 3)(layers.ReLU()(chain(image))))
    table = ar.layer_table(functional)
    assert table["type"].tolist() == [
        "InputLayer", "RandomTranslation", "Conv2D", "ReLU", "Conv2D"
    ]  # fmt: skip
    assert table["layer"][2] == f"chain/{steps[1].name}"
    assert table["multiply_adds"].sum() == 10**2 * 9 * 8 + 8**2 * 9 * 4
    assert ar.receptive_field(functional) == ar.ReceptiveField(5, 1, 2.0)


class Doubled(layers.Layer):
    """A layer that this course does not know."""

    def call(self, x):
        return 2 * x


def test_unknown_layers_are_not_counted_as_nothing():
    model = keras.Sequential([keras.Input((5, 5, 1)), Doubled(name="twice"), layers.Conv2D(1, 3)])
    with pytest.raises(ValueError, match="'twice' has the type Doubled.*known="):
        ar.layer_table(model)
    with pytest.raises(ValueError, match="'twice' has the type Doubled"):
        ar.receptive_field(model)
    assert ar.multiply_adds(model, known={"twice": 25}) == 25 + 81


def test_models_that_cannot_be_followed():
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    for output in (
        shared(shared(image)),
        layers.Add()([shared(image), shared(image)]),
        layers.ReLU()(keras.ops.add(image, 1)),
    ):
        with pytest.raises(ValueError, match="cannot follow the model"):
            ar.layer_table(keras.Model(image, output))
    branches = keras.Model(image, layers.Add()([image, layers.Conv2D(3, 1)(image)]))
    with pytest.raises(ValueError, match="has the type Functional"):
        ar.layer_table(keras.Sequential([keras.Input((8, 8, 3)), branches]))
    with pytest.raises(ValueError, match="model must be a built"):
        ar.layer_table(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match="fixed input size"):
        ar.layer_table(keras.Sequential([keras.Input((None, None, 1)), layers.Conv2D(1, 3)]))
    first = keras.Sequential(
        [keras.Input((1, 8, 8)), layers.MaxPooling2D(2, data_format="channels_first")]
    )
    with pytest.raises(ValueError, match="channels_last"):
        ar.layer_table(first)


# --- Receptive fields


def test_receptive_field_of_vgg16(vgg16):
    """212 at the last pool (Araujo et al. 2019), and the whole image behind it."""
    fields = ar.receptive_fields(vgg16)
    assert fields["block5_pool"].size == 212
    assert fields["block5_pool"].jump == 32
    sizes_ = [fields[f"block{block}_pool"].size for block in range(1, 6)]
    assert sizes_ == [6, 16, 44, 100, 212]
    assert ar.receptive_field(vgg16) == ar.ReceptiveField(224, 0, 111.5)
    same = (3, 1, "same")
    stages = [[same] * n + [(2, 2)] for n in (2, 2, 3, 3, 3)]
    assert ar.receptive_field(sum(stages, [])) == fields["block5_pool"]


def test_receptive_field_by_hand():
    assert ar.receptive_field([(3,)]) == ar.ReceptiveField(3, 1, 1.0)
    assert ar.receptive_field([(3, 1, "same")]) == ar.ReceptiveField(3, 1, 0.0)
    assert ar.receptive_field([(2, 2)]) == ar.ReceptiveField(2, 2, 0.5)
    assert ar.receptive_field([(3,), (3,)]) == ar.receptive_field([(5,)])
    assert ar.receptive_field([(3, 1, "valid", 2)]).size == 5
    assert ar.receptive_field([(3, 1, (2, 0))]) == ar.ReceptiveField(3, 1, -1.0)
    # From an even size TensorFlow puts the only zero after the image, so the field starts at 0.
    assert ar.receptive_field([(3, 2, "same")], size=28) == ar.ReceptiveField(3, 2, 1.0)
    assert ar.receptive_field([(3, 2, "same")], size=27) == ar.ReceptiveField(3, 2, 0.0)
    assert ar.ReceptiveField(3, 2, 0.0).pixels(0) == (-1, 1)
    assert ar.ReceptiveField(2, 2, 0.5).pixels(3) == (6, 7)


def support(model, index, axis):
    """Measure which rows (columns) of the image move one cell of the output, or any unit."""
    shape = model.input_shape[1:]
    image = tf.ones((1, *shape))
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = model(image)
        if len(y.shape) == 4:
            y = tf.gather(y[0], index, axis=axis)
    gradient = tape.gradient(y, image)[0].numpy()
    other = tuple(a for a in range(3) if a != axis)
    return np.flatnonzero(gradient.sum(axis=other) > 0)


def positive(model):
    """Make all weights positive, so that no two paths cancel."""
    for weight in model.weights:
        weight.assign(np.full(weight.shape, 0.1, "float32"))
    return model


@st.composite
def stacks(draw):
    """Draw one to four layers with windows, as arguments of Keras."""
    stack = []
    for _ in range(draw(st.integers(1, 4))):
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        if kernel == (1, 1):
            # TensorFlow 2.21 with oneDNN crashes in the gradient of a strided 1 x 1 kernel.
            stride = (1, 1)
        kind = draw(st.sampled_from(["conv", "dilated", "pool", "zeros", "depthwise"]))
        stack.append((kind, kernel, stride, draw(keras_paddings)))
    return stack


WINDOWS = {  # What Keras is given, and what a list of windows says of it.
    "conv": (
        lambda kernel, s, p: layers.Conv2D(1, kernel, s, p, activation="relu"),
        lambda kernel, s, p: (kernel, s, p),
    ),
    "dilated": (
        lambda kernel, s, p: layers.Conv2D(1, kernel, 1, p, dilation_rate=2),
        lambda kernel, s, p: (kernel, 1, p, 2),
    ),
    "pool": (layers.AveragePooling2D, lambda kernel, s, p: (kernel, s, p)),
    "zeros": (
        lambda kernel, s, p: layers.ZeroPadding2D(((kernel[0], s[0]), (s[1], kernel[1]))),
        lambda kernel, s, p: (1, 1, (kernel, s)),
    ),
    "depthwise": (
        lambda kernel, s, p: layers.DepthwiseConv2D(kernel, s[0], p),
        lambda kernel, s, p: (kernel, s, p),
    ),
}


def build(stack, size):
    made = [WINDOWS[kind][0](*settings_) for kind, *settings_ in stack]
    try:
        return positive(keras.Sequential([keras.Input((*size, 1)), *made]))
    except ValueError:  # the image is used up before the last layer
        assume(False)


@few
@given(stacks(), st.integers(30, 45), st.integers(30, 45), st.sampled_from([0, 1]), st.booleans())
def test_receptive_field_is_the_support_of_the_gradient(stack, height, width, axis, flat):
    model = build(stack, (height, width))
    image = (height, width)[axis]
    field = ar.receptive_field(model, axis=axis)
    cells = model.output_shape[1 + axis]
    for index in {0, 1, cells // 2, cells - 1} & set(range(cells)):
        first, last = field.pixels(index)
        seen = support(model, index, axis)
        if 0 <= first and last < image:
            assert (seen[0], seen[-1]) == (first, last)
        elif len(seen):  # beside padding, a dilated kernel may miss the cells at the edge
            assert first <= seen[0] and seen[-1] <= last
    # Behind a layer that gathers all cells the field is all that any of them sees.
    gather = layers.Flatten() if flat else layers.GlobalAveragePooling2D()
    model = positive(keras.Sequential([model, gather, layers.Dense(3), layers.Reshape((1, 3))]))
    field, seen = ar.receptive_field(model, axis=axis), support(model, None, axis)
    assert field.jump == 0
    assert field.pixels(0) == field.pixels(7) == (seen[0], seen[-1])
    # On one axis, a list of windows says the same as the model.
    square = [(kind, (k[0], k[0]), (s[0], s[0]), padding) for kind, k, s, padding in stack]
    model = build(square, (height, height))
    listed = [WINDOWS[kind][1](k[0], s[0], padding) for kind, k, s, padding in square]
    ours = ar.receptive_fields(listed, size=height)
    assert list(ours.values()) == list(ar.receptive_fields(model).values())[1:]


def test_a_strided_net_can_leave_a_border_unseen():
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(1, 3), layers.MaxPooling2D(2),
        layers.Conv2D(1, 3), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    # 28, 26, 13, 11, 5: the pool on 11 leaves out a row, and with it 2 rows of pixels.
    assert ar.receptive_field(model).pixels() == (0, 25)
    shifted = [layers.ZeroPadding2D(((1, 0), (0, 1))), layers.MaxPooling2D(2), layers.Flatten()]
    model = keras.Sequential([keras.Input((28, 28, 1)), *shifted])
    # A row of zeros in front of 28 makes 29, and the last row is left out; a column of zeros
    # behind them is left out itself.
    assert ar.receptive_field(model, axis=0).pixels() == (0, 26)
    assert ar.receptive_field(model, axis=1).pixels() == (0, 27)


def test_where_branches_meet_the_field_holds_both():
    image = keras.Input((20, 20, 1))
    same = {"padding": "same", "strides": 2}
    left = layers.Conv2D(1, 3, **same)(image)
    right = layers.Conv2D(1, 6, **same)(layers.BatchNormalization()(image))
    model = positive(keras.Model(image, layers.Concatenate()([left, right])))
    field = ar.receptive_field(model)
    assert field == ar.ReceptiveField(6, 2, 0.5)
    seen = support(model, 5, 0)
    assert field.pixels(5) == (seen[0], seen[-1])
    upper = layers.Flatten(name="upper")(layers.MaxPooling2D(3, 9)(image))
    lower = layers.Flatten()(layers.Conv2D(1, 3)(layers.ZeroPadding2D(((0, 9), (0, 0)))(image)))
    both = layers.Concatenate(name="both")([upper, lower])
    model = keras.Model(image, [upper, layers.Dense(2)(both)])
    spans = {name: field.pixels() for name, field in ar.receptive_fields(model).items()}
    assert (spans["upper"], spans["both"]) == ((0, 11), (0, 19))
    whole = layers.GlobalMaxPooling2D(keepdims=True)(image)
    uneven = layers.Add()([layers.Conv2D(1, 1)(image), whole])
    with pytest.raises(ValueError, match="not known here"):
        ar.receptive_field(keras.Model(image, uneven))
    stacked = layers.Concatenate(axis=1)([image, image])
    with pytest.raises(ValueError, match="not known here"):
        ar.receptive_field(keras.Model(image, stacked))
    with pytest.raises(ValueError, match="have one output"):
        ar.receptive_field(keras.Model(image, [left, right]))


# --- Updates: n samples, b batch, e epochs


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 60), b=st.integers(1, 60), e=st.integers(1, 2))
def test_an_epoch_is_as_many_updates_as_batches_and_the_last_is_what_is_left(n, b, e):
    sizes = []

    class Counting(keras.Sequential):
        def train_step(self, batch):
            sizes.append(len(batch[0]))
            return super().train_step(batch)

    net = Counting([keras.Input((1,)), layers.Dense(1)])
    net.compile("sgd", "mse", run_eagerly=True)
    x = np.zeros((n, 1))
    net.fit(x, x, batch_size=b, epochs=e, verbose=0)
    updates = -(-n // b)
    assert sizes == e * ([b] * (updates - 1) + [n - b * (updates - 1)])
    assert int(net.optimizer.iterations) == e * updates


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_variance_of_a_batch_mean_falls_as_one_over_its_size(size):
    """Over all batches that can be drawn, with and without putting back, of any gradients."""
    gradients = np.random.default_rng(0).normal(size=(5, 3)) ** 3  # images, weights
    count, one = len(gradients), gradients.var(axis=0)
    ways = {1.0: itertools.product, (count - size) / (count - 1): itertools.permutations}
    for factor, draw in ways.items():
        how = {"repeat": size} if draw is itertools.product else {"r": size}
        batches = np.array(list(draw(range(count), **how)))
        means = gradients[batches].mean(axis=1)
        np.testing.assert_allclose(means.mean(axis=0), gradients.mean(axis=0))
        np.testing.assert_allclose(means.var(axis=0), factor * one / size)
