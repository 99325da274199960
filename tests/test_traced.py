"""A model that is traced already and gets fresh values trains as one that was rebuilt."""

import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from utils.evidence.artifacts import unpack
from utils.experiments import traced
from utils.experiments.spec import Arm, Fit, RunError
from utils.experiments.training import Job, train

pytestmark = pytest.mark.training

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
FIT = Fit(epochs=2, batch_size=32, train_size=100)
SHORT = Fit(epochs=1, batch_size=50, train_size=100)


def net(*inner, optimizer="adam", loss=LOGITS, **settings):
    """Build a small network with some layers between an image of 7×7 and the dense layer."""
    made = keras.Sequential([keras.Input((28, 28, 1)), layers.AveragePooling2D(4), *inner])
    made.add(layers.Flatten())
    made.add(layers.Dense(10))
    made.compile(optimizer, loss, metrics=["accuracy"], **settings)
    return made


class Scaled(layers.Layer):
    """A layer of one's own with weights, and noise from a generator of its own."""

    def __init__(self, factor=0.5):
        super().__init__()
        self.factor, self.random = factor, keras.random.SeedGenerator()

    def build(self, shape):
        self.scale = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x, training=False):
        noise = keras.random.uniform(keras.ops.shape(x), seed=self.random) if training else 0.0
        return self.factor * x * (1 + self.scale) + noise


class Static(layers.Layer):
    """A layer that is traced otherwise for batches of any size, as TensorFlow's arithmetic is."""

    def call(self, x):
        return x * (2 if x.shape[0] is None else 1)


def functional():
    image = keras.Input((28, 28, 1))
    small = layers.AveragePooling2D(4)(image)
    left = layers.Conv2D(2, 3, padding="same", activation="relu")(small)
    joined = layers.Concatenate()([layers.Add()([small, left]), left])
    made = keras.Model(image, layers.Dense(10)(layers.Flatten()(joined)))
    made.compile(keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True), LOGITS)
    return made


def own_loss(labels, outputs):
    wanted = keras.ops.one_hot(keras.ops.cast(labels, "int32"), 10)
    return keras.ops.mean((outputs - wanted) ** 2)


def scheduled():
    rate = keras.optimizers.schedules.CosineDecay(0.01, 8, warmup_target=0.02, warmup_steps=2)
    return keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0)


def conv(filters=2, **settings):
    return layers.Conv2D(filters, 3, padding="same", **settings)


ALIKE = {
    "convolutions": lambda: net(
        *[layers.ZeroPadding2D(2), layers.SeparableConv2D(3, 3, padding="same")],
        conv(4, strides=2, use_bias=False, kernel_initializer="he_normal"),
        conv(4, groups=2, kernel_regularizer="l2", activation="relu"),
        *[layers.Conv2DTranspose(2, 3, padding="same"), layers.PReLU(), layers.MaxPooling2D(2)],
        *[layers.LeakyReLU(), layers.Rescaling(2.0, -1.0)],
        optimizer=scheduled(),
    ),
    "normalisations": lambda: net(
        *[conv(trainable=False), layers.BatchNormalization(), layers.Reshape((49, 2, 1))],
        *[layers.Permute((2, 1, 3)), layers.LayerNormalization(), layers.Softmax(1)],
        optimizer="sgd",
    ),
    "dropouts": lambda: net(
        *[layers.Dropout(0.3), conv(), layers.SpatialDropout2D(0.5), layers.GaussianNoise(0.1)],
        *[layers.Dropout(0.2, seed=3), layers.GlobalMaxPooling2D()],
        steps_per_execution=2,
    ),
    "augmentation": lambda: net(
        *[layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.1)],
        *[layers.RandomFlip("horizontal"), layers.RandomShear(0.1, 0.1), layers.Cropping2D(1)],
    ),
    "an inner model, a layer of one's own": lambda: net(
        keras.Sequential([conv(), layers.Dropout(0.2), layers.BatchNormalization()]),
        *[Scaled(), Static(), layers.Activation("tanh")],
        loss=own_loss,
    ),
    "branches, a moving average of weights": functional,
}


def weights(model, split):
    return np.concatenate([np.ravel(each) for each in model.get_weights()])


def states(model, split):
    """Note everything else that a run leaves behind, the generators' states too."""
    variables = [*model.optimizer.variables, *model.non_trainable_variables]
    # Sizes that differ from seed to seed are traced for in the order in which they come.
    outputs = model.predict(split.x_test[: int(split.y_test[:3].sum()) + 1], verbose=0).sum()
    drawn = [outputs, random.random(), np.random.random(), float(keras.random.uniform(()))]
    return np.concatenate([drawn, *(np.ravel(np.asarray(each, float)) for each in variables)])


def loss_again(model, split):
    return np.ravel(model.evaluate(split.x_test, split.y_test, batch_size=1_000, verbose=0))[0]


ALL = {"weights": weights, "states": states}


def runs(build, build_hash, seeds=(0, 1), fit=FIT, artifacts=ALL, **metrics):
    """Train an arm on some seeds, and return the records without their times."""
    found = []
    for seed in seeds:
        measured = metrics or {"again": loss_again}
        settings = {"metrics": measured, "artifacts": artifacts, "build_hash": build_hash}
        record = train(Job(Arm(build), "arm", seed, fit, "quick", **settings))
        for epoch in record["epochs"]:
            del epoch["seconds"]
        compared = ("epochs", "measures", "kept", "parameters")
        found.append({name: record.get(name) for name in compared})
    return found


def begin(build, build_hash="x", fit=SHORT):
    """Begin a run and stop it before it trains: by then it is decided whose model it trains."""

    def stop(*_, **__):
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", stop)
        with pytest.raises(RunError, match="seed 1: InterruptedError"):
            runs(build, build_hash, [1], fit)


@pytest.fixture(autouse=True)
def _nothing_kept():
    traced.forget()
    yield
    traced.forget()


@pytest.fixture
def used_again(monkeypatch):
    """Note each time that a traced model is given fresh values."""
    noted, hand_over = [], traced._hand_over

    def noting(*models):
        noted.append(hand_over(*models))
        return noted[-1]

    monkeypatch.setattr(traced, "_hand_over", noting)
    return noted


@pytest.mark.parametrize("kind", ALIKE)
def test_seeds_after_the_first_give_the_bits_of_a_rebuilt_model(kind, used_again):
    kept, rebuilt = runs(ALIKE[kind], "x"), runs(ALIKE[kind], None, [1])
    assert used_again == [True] and kept[1:] == rebuilt
    first, second = (unpack("weights", run["kept"]["weights"]) for run in kept)
    assert not np.array_equal(first, second)


def test_each_of_several_arms_in_turn_is_traced_once(used_again):
    arms = [lambda rate=rate: net(layers.Dropout(rate)) for rate in (0.1, 0.5)]
    kept = [runs(arm, traced.hash_of(arm), [seed], SHORT) for seed in (0, 1) for arm in arms]
    assert used_again == [True, True]
    assert kept[2:] == [runs(arm, None, [1], SHORT) for arm in arms]


class Drawing(layers.Layer):
    """Draws in one of the ways that are not Keras's."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        if how == "a number of its own":
            self.noise = float(keras.random.SeedGenerator().state[0])
        self.scale = tf.Variable(1.0 if how == "a variable of TensorFlow's" else 2.0)

    def call(self, x):
        if self.how == "TensorFlow's generator":
            return x + tf.random.uniform(tf.shape(x))
        if self.how == "Keras's global generator":
            return x + keras.random.uniform(keras.ops.shape(x))
        if self.how == "NumPy's, in each step":
            drawn = tf.numpy_function(lambda: np.float32(np.random.random()), [], tf.float32)
            return x * keras.ops.reshape(drawn, (1,) * 4)
        if self.how == "a number of its own":
            return x * self.noise
        return x * self.scale

    def get_config(self):
        return {"how": self.how}


def with_draw(draw):
    """Make a build function that draws a number of its own for a rate."""
    return lambda: net(layers.Rescaling(1.0, float(draw() > 2)), layers.Dropout(0.5))


class OwnMetric(keras.metrics.SparseCategoricalAccuracy):
    """Counts on, whatever it is told."""

    def reset_state(self):
        pass


class OwnStep(keras.Sequential):
    def train_step(self, batch):
        return super().train_step(batch)


def compiled_otherwise(model, metrics):
    model.compile("adam", LOGITS, metrics=metrics)
    return model


DIFFERENT = {
    "random": with_draw(random.random),
    "numpy.random": with_draw(np.random.random),
    "eager": lambda: net(run_eagerly=True),
    "NumPy's, while it is traced": lambda: net(
        loss=lambda labels, outputs: np.random.random() * own_loss(labels, outputs)
    ),
    "a training step of its own": lambda: compiled_otherwise(OwnStep(net().layers), None),
    "a metric of its own": lambda: compiled_otherwise(net(), [OwnMetric()]),
}
DIFFERENT |= {
    how: lambda how=how: net(Drawing(how))
    for how in (
        "TensorFlow's generator",
        "Keras's global generator",
        "NumPy's, in each step",
        "a number of its own",
        "a variable of TensorFlow's",
    )
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_may_hold_more_than_variables_is_rebuilt(kind, used_again):
    runs(DIFFERENT[kind], "x", [0], SHORT, {})
    begin(DIFFERENT[kind])
    assert used_again == []


CHANGES = {
    "a rate": lambda model, split: setattr(model.layers[1], "rate", 0.9) or 0,
    "what is trained": lambda model, split: setattr(model.layers[-1], "trainable", False) or 0,
    "how it was compiled": lambda model, split: model.compile("sgd", LOGITS) or 0,
    "what was fitted": lambda model, split: (
        model.fit(split.x_train, split.y_train, batch_size=30, verbose=0) and 0
    ),
    "values alone": lambda model, split: (
        model.set_weights([0 * each for each in model.get_weights()]) or 0
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_of_what_a_metric_changed_only_values_may_be_used_again(change, used_again):
    def build():
        return net(layers.Dropout(0.1))

    runs(build, "x", [0], SHORT, {}, change=CHANGES[change])
    begin(build)
    assert used_again == [True] * (change == "values alone")


def test_a_run_that_fails_leaves_nothing_behind(used_again):
    def failing(model, split):
        raise OSError

    runs(net, "x", [0], SHORT, {})
    with pytest.raises(RunError):
        runs(net, "x", [1], SHORT, {}, change=failing)
    begin(net)
    assert used_again == [True]


def test_other_images_or_batches_are_traced_anew_and_the_last_models_kept(used_again, monkeypatch):
    monkeypatch.setattr(traced, "_MOST", 2)
    for build_hash, batch, size in (("x", 50, 100), ("x", 25, 100), ("x", 25, 50), ("y", 25, 50)):
        runs(net, build_hash, [0], Fit(1, batch, size), {})
    assert used_again == []
    for build_hash in ("y", "x"):
        runs(net, build_hash, [1], Fit(1, 25, 50), {})
    assert used_again == [True, True]
    begin(net, "x", Fit(1, 25, 100))
    assert used_again == [True, True]


def test_a_hash_follows_what_a_build_reads():
    def make(rate):
        return lambda: net(layers.Dropout(rate))

    assert traced.hash_of(make(0.1)) == traced.hash_of(make(0.1)) != traced.hash_of(make(0.2))
    lock = threading.Lock()
    assert traced.hash_of(lambda: lock and net()) is None
