"""The page to draw a digit on: its networks against Keras, and its sheet in a browser."""

import base64
import html
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import keras
import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import test_browser
import test_players
from keras import layers

from utils import data
from utils.commands import definitions
from utils.theory import arithmetic
from utils.theory import reference
from utils.widgets import draw
from utils.widgets import slider as players

chromium, address, start = test_browser.chromium, test_browser.address, test_browser.start

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "chapters" / "draw-a-digit.ipynb"
SOURCE = (ROOT / "utils" / "draw.js").read_text("utf-8")
NAMES = ["default", "no pooling", "average pooling", "dropout", "batch norm"]


@cache
def published():
    """Return the page's own markup: what stands in the stored notebook."""
    outputs = [
        output["data"]["text/html"]
        for cell in nbformat.read(NOTEBOOK, as_version=4).cells
        for output in cell.get("outputs", [])
        if "data-networks" in output.get("data", {}).get("text/html", "")
    ]
    (markup,) = outputs
    return markup


def given_to(markup):
    return json.loads(html.unescape(re.search(r'data-networks="([^"]*)"', markup)[1]))


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])


def filled(net, vector):
    """Give a network its weights from one vector."""
    arrays = net.get_weights()
    ends = np.cumsum([array.size for array in arrays])
    assert ends[-1] == len(vector)
    parts = np.split(vector.astype("float32"), ends[:-1])
    net.set_weights([part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)])
    return net


@pytest.fixture(scope="module")
def networks():
    """Build the networks of the page in Keras, with the weights that stand in the page."""
    arms = definitions.recorded_in(NOTEBOOK)["draw-a-digit"].experiment.arms_at("full")
    return {
        each["name"]: filled(arms[each["name"]].build(), unpacked(each["weights"]))
        for each in given_to(published())["networks"]
    }


@pytest.fixture(scope="module")
def digits():
    """Return 1,000 images as Keras takes them, and their labels."""
    split = data.load_mnist("quick").split(0)
    return split.x_test, split.y_test


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


@pytest.fixture(scope="module")
def call(chromium):
    """Evaluate an expression in which `dd` is the module and `given` an argument."""
    with test_browser.Watch(chromium) as watch:
        watch.tab.evaluate(
            """async (source) => {
              const blob = new Blob([source], { type: "text/javascript" });
              window.dd = await import(URL.createObjectURL(blob));
              window.floats = (base64) => dd.decoded({ dtype: "<f4", base64 });
              window.maps = ([height, width, channels], base64) =>
                ({ height, width, channels, data: floats(base64) });
            }""",
            SOURCE,
        )

        def evaluate(expression, given):
            # As text: playwright takes apart thousands of objects one by one, and takes its time.
            function = f"(given) => JSON.stringify({expression}, (key, value) => " + (
                "ArrayBuffer.isView(value) ? Array.from(value) : value)"
            )
            return json.loads(
                watch.tab.evaluate(f"(x) => ({function})(JSON.parse(x))", json.dumps(given))
            )

        yield evaluate
        assert watch.complaints == []


LOGITS = """(() => {
  const network = dd.loaded(given.network), all = floats(given.images), found = [];
  for (let start = 0; start < all.length; start += 784) {
    found.push(dd.forward(network, all.subarray(start, start + 784)).at(-1).data);
  }
  return found;
})()"""


def logits(call, network, images):
    given = {"network": {"name": "x", **network}, "images": encoded(images.astype("<f4"))}
    return np.array(call(LOGITS, given))


# What the networks compute


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_the_page_computes_what_keras_computes(name, networks, digits, call, capsys):
    images, labels = digits
    (told,) = [each for each in given_to(published())["networks"] if each["name"] == name]
    ours = logits(call, told, images)
    theirs = networks[name].predict(images, batch_size=500, verbose=0)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    # A page in which every network gave the same would pass with wrong weights in all places.
    assert np.mean(ours.argmax(axis=1) == labels) > 0.8
    with capsys.disabled():
        print(f"\n{name}: differs from Keras by at most {np.abs(ours - theirs).max():.1e}")


def other_networks():
    """Build networks with the settings that the page knows and its own networks lack."""
    yield keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(3, (5, 2), strides=2, use_bias=False, padding="valid"),
            layers.ReLU(),
            layers.AveragePooling2D(3, strides=2, padding="same"),
            layers.Dropout(0.2),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D((3, 2), strides=2, padding="same"),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10),
        ]
    )
    yield keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])


def test_networks_with_other_settings_compute_what_keras_computes(digits, call):
    keras.utils.set_random_seed(0)
    for net in other_networks():
        # Full precision, and biases that are not 0.
        rng = np.random.default_rng(1)
        net.set_weights([rng.normal(0, 0.3, each.shape) for each in net.get_weights()])
        told = draw.described(net)
        assert told["weights"]["dtype"] == "<f4"
        ours = logits(call, told, digits[0][:50])
        theirs = net.predict(digits[0][:50], verbose=0)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def settings_drawn(rng, kind):
    """Draw a layer's settings, its input and its arrays; none where no window fits."""
    height, width, channels = rng.integers([1, 1, 1], [12, 12, 4])
    taps, stride = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    padding = ("valid", "same")[rng.integers(2)]
    x = rng.normal(size=(1, height, width, channels)).astype("float32")
    if padding == "valid" and taps > min(height, width):
        return None
    if kind == "convolution":
        filters = int(rng.integers(1, 5))
        layer = {"kernel": [taps, taps], "filters": filters}
        kernel = rng.normal(size=(taps, taps, channels, filters)).astype("float32")
        arrays = {"weights": kernel, "bias": rng.normal(size=filters).astype("float32")}
        expected = reference.conv2d(x, kernel, arrays["bias"], stride, padding)
    else:
        layer, arrays = {"pool": [taps, taps], "mean": bool(rng.integers(2))}, {}
        pool = reference.average_pool if layer["mean"] else reference.max_pool
        expected = pool(x, taps, stride, padding)
    return layer | {"kind": kind, "stride": stride, "padding": padding}, x, arrays, expected


APPLIED = """given.map(({ layer, shape, x, arrays }) => {
  for (const [name, text] of Object.entries(arrays)) layer[name] = floats(text);
  return dd.APPLY[layer.kind](maps(shape, x), layer);
})"""


def applied(call, cases):
    given = [
        {
            "layer": layer,
            "shape": x.shape[1:],
            "x": encoded(x.astype("<f4")),
            "arrays": {name: encoded(array.astype("<f4")) for name, array in arrays.items()},
        }
        for layer, x, arrays, _ in cases
    ]
    return call(APPLIED, given)


@pytest.mark.parametrize("kind", ["convolution", "pooling"])
def test_layers_with_windows_are_those_of_the_reference(kind, call):
    rng = np.random.default_rng(0)
    cases = [case for case in (settings_drawn(rng, kind) for _ in range(400)) if case]
    assert len(cases) > 250
    for (layer, x, _, expected), found in zip(cases, applied(call, cases), strict=True):
        shape = (1, found["height"], found["width"], found["channels"])
        assert shape == expected.shape, (layer, x.shape)
        ours = np.reshape(found["data"], shape)
        np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=1e-5, err_msg=str(layer))


def test_the_other_layers_are_those_of_the_reference(call):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 5, 4, 3)).astype("float32")
    names = ("gamma", "beta", "mean", "variance")
    arrays = {name: rng.uniform(0.1, 2, 3).astype("float32") for name in names}
    kernel, bias = rng.normal(size=(60, 6)).astype("float32"), rng.normal(size=6).astype("float32")
    flat = x.reshape(1, 1, 1, 60)
    cases = [
        ({"kind": "batch norm", "epsilon": 0.01}, x, arrays,
         reference.batch_norm(x, *arrays.values(), epsilon=0.01)),
        ({"kind": "relu"}, x, {}, reference.relu(x)),
        ({"kind": "dropout"}, x, {}, x),
        ({"kind": "flatten"}, x, {}, flat),
        ({"kind": "dense", "units": 6}, flat, {"weights": kernel, "bias": bias},
         (flat[0, 0] @ kernel + bias).reshape(1, 1, 1, 6)),
    ]  # fmt: skip
    for case, found in zip(cases, applied(call, cases), strict=True):
        shape = (1, found["height"], found["width"], found["channels"])
        assert shape == case[3].shape, case[0]
        np.testing.assert_allclose(np.reshape(found["data"], shape), case[3], atol=1e-5)
    scores = rng.normal(0, 300, size=(20, 10))
    shares = call("given.map((each) => dd.softmax(each))", scores.tolist())
    np.testing.assert_allclose(shares, reference.softmax(scores), atol=1e-12)


def test_half_precision_is_read_as_numpy_reads_it(call):
    bits = np.concatenate([np.arange(0x7C00), np.arange(0x8000, 0xFC00)]).astype("<u2")
    packed = {"dtype": "<f2", "base64": encoded(bits)}
    np.testing.assert_array_equal(call("dd.decoded(given)", packed), bits.view("<f2"))


def test_weights_lose_nothing_on_their_way(networks):
    for name, net in networks.items():
        told = draw.described(net)
        (there,) = [each for each in given_to(published())["networks"] if each["name"] == name]
        assert there == {"name": name, **told}
        flat = np.concatenate([each.ravel() for each in net.get_weights()])
        np.testing.assert_array_equal(unpacked(told["weights"]), flat)
        assert told["weights"]["dtype"] == "<f2"


# From ink to an image


def area_average(ink):
    """Prepare ink another way: by differences of interpolated cumulative sums."""
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / 255
    scale = max(box.shape) / 20
    edges = np.arange(21) * scale
    for axis in (0, 1):
        total = np.insert(np.cumsum(box, axis=axis), 0, 0, axis=axis)
        places = np.arange(total.shape[axis])
        box = np.apply_along_axis(lambda line, at: np.interp(edges, at, line), axis, total, places)
        box = np.diff(box, axis=axis) / scale
    wide = np.zeros((68, 68))  # With room on all sides.
    wide[20:40, 20:40] = box
    centre = [np.average(np.arange(20), weights=box.sum(axis=axis)) for axis in (1, 0)]
    top, left = (20 + int(place + 0.5 + 1e-6) - 14 for place in centre)
    return wide[top : top + 28, left : left + 28]


def prepared(call, inks):
    given = [{"dtype": "|u1", "base64": encoded(ink)} for ink in inks]
    width = inks[0].shape[1]
    found = call(f"given.map((each) => dd.prepared(dd.decoded(each), {width}))", given)
    return np.reshape(found, (-1, 28, 28))


def test_ink_is_scaled_by_the_mean_of_an_area_and_centred_by_its_mass(call):
    rng = np.random.default_rng(3)
    inks = []
    for _ in range(60):
        ink = np.zeros((280, 280), np.uint8)
        top, left = rng.integers(0, 180, 2)
        tall, wide = rng.integers(3, 100, 2)
        ink[top : top + tall, left : left + wide] = rng.integers(0, 256, (tall, wide))
        inks.append(ink)
    inks[0][:], inks[1][:] = 0, 255
    inks[2][:] = 0
    inks[2][279, 0] = 255
    found = prepared(call, inks)
    assert not found[0].any(), "an empty sheet is an empty image"
    for image, ink in zip(found[1:], inks[1:], strict=True):
        np.testing.assert_allclose(image, area_average(ink), atol=1e-5)
    # One point fills the whole box.
    assert (found[2] == 1).sum() == 400


def test_a_digit_of_mnist_that_is_drawn_larger_elsewhere_comes_back(digits, call):
    pixels = np.round(255 * digits[0][:200, :, :, 0]).astype("uint8")
    rng = np.random.default_rng(4)
    inks = []
    for image in pixels:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        large = np.kron(box, np.ones((7, 7), np.uint8))
        ink = np.zeros((280, 280), np.uint8)
        top, left = (rng.integers(0, 281 - side) for side in large.shape)
        ink[top : top + large.shape[0], left : left + large.shape[1]] = large
        inks.append(ink)
    off = np.abs(prepared(call, inks) - pixels / 255).max(axis=(1, 2))
    # Of very few the mass lies between two pixels.
    assert np.mean(off < 1e-6) > 0.95


REDRAWN = """(() => {
  const network = dd.loaded(given.network), all = dd.decoded(given.images), found = [];
  const small = Object.assign(document.createElement("canvas"), { width: 28, height: 28 });
  const paper = Object.assign(document.createElement("canvas"), { width: 280, height: 280 });
  const [from, onto] = [small, paper].map((each) =>
    each.getContext("2d", { willReadFrequently: true }));
  given.places.forEach(([left, top, side], index) => {
    const pixels = new ImageData(28, 28);
    for (let i = 0; i < 784; i++) {
      const value = all[784 * index + i];
      pixels.data.set([value, value, value, 255], 4 * i);
    }
    from.putImageData(pixels, 0, 0);
    onto.fillRect(0, 0, 280, 280);
    onto.drawImage(small, left, top, side, side);
    const { data } = onto.getImageData(0, 0, 280, 280), ink = new Uint8Array(78400);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i];
    const { data: logits } = dd.forward(network, dd.prepared(ink, 280)).at(-1);
    found.push(logits.indexOf(Math.max(...logits)));
  });
  return found;
})()"""


@pytest.mark.parametrize("name", NAMES)
def test_digits_that_are_drawn_anew_are_still_recognised(name, networks, digits, call, capsys):
    images, labels = digits[0][:200], digits[1][:200]
    rng = np.random.default_rng(5)
    sides = rng.uniform(90, 270, 200)
    places = [[*rng.uniform(0, 280 - side, 2), side] for side in sides]
    (told,) = [each for each in given_to(published())["networks"] if each["name"] == name]
    pixels = np.round(255 * images).astype("uint8")
    given = {"network": told, "images": {"dtype": "|u1", "base64": encoded(pixels)}}
    answers = call(REDRAWN, given | {"places": places})
    before = np.mean(networks[name].predict(images, verbose=0).argmax(axis=1) == labels)
    after = np.mean(np.array(answers) == labels)
    with capsys.disabled():
        print(f"\n{name}: {before:.1%} of 200 digits, drawn anew {after:.1%}")
    assert after >= before - 0.02


def test_changes_are_those_that_the_experiments_make(digits, call):
    images = digits[0][:6]
    for degrees, down, right in [(15, 0, 0), (-30, 0, 0), (90, 0, 0), (0, 3, -5), (0, -28, 28)]:
        expected = data.shift(data.rotate(images, degrees), down, right)
        change = {"degrees": degrees, "down": down, "right": right}
        for inverted in (False, True):
            given = {"images": [encoded(each) for each in images], "change": change}
            given["change"]["inverted"] = inverted
            found = call(
                "given.images.map((each) => dd.changed(floats(each), given.change))", given
            )
            theirs = data.invert(expected) if inverted else expected
            np.testing.assert_allclose(found, theirs.reshape(6, -1), atol=1e-4, err_msg=str(change))


# Small things


def test_numbers_are_written_short(call):
    values = [0, 1e-5, -0.0004, 0.12345, -2.5, 12.345, 1234.5, -98765.4, 1]
    expected = ["0", "0", "0", "0.123", "−2.5", "12.3", "1235", "−98765", "1"]
    assert call("given.map((each) => dd.written(each))", values) == expected
    shares = [0, 0.00049, 0.001, 0.5, 0.12345, 0.9994, 0.9999, 1]
    expected = ["< 0.1 %", "< 0.1 %", "0.1 %", "50.0 %", "12.3 %", "99.9 %", "> 99.9 %", "> 99.9 %"]
    assert call("given.map((each) => dd.percent(each))", shares) == expected


def test_colours_are_those_of_the_figures(call):
    shares = np.linspace(-1, 1, 101)
    for signed, name in ((True, "RdBu_r"), (False, "gray")):
        places = (shares + 1) / 2
        given = shares if signed else places
        theirs = mpl.colormaps[name](places)[:, :3] * 255
        ours = call(f"given.map((each) => dd.shade(each, {str(signed).lower()}))", given.tolist())
        np.testing.assert_allclose(ours, theirs, atol=3.5)


FIELDS = """given.asked.map(([number, place]) => {
  const network = dd.loaded(given.network), values = dd.forward(network, new Float32Array(784));
  return dd.fieldOf(network, values, number, { row: place, column: place });
})"""


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_depends_on_the_pixels_that_arithmetic_says(name, networks, call):
    (told,) = [each for each in given_to(published())["networks"] if each["name"] == name]
    fields = arithmetic.receptive_fields(networks[name])
    asked, expected = [], []
    for number, layer in enumerate(networks[name].layers, start=1):
        if len(layer.output.shape) != 4:
            break
        field = fields[layer.name]
        for place in range(layer.output.shape[1]):
            middle, reach = field.start + place * field.jump, (field.size - 1) / 2
            asked.append((number, place))
            expected.append((max(middle - reach, 0), min(middle + reach, 27)))
    assert len(asked) > 20
    for (first, last), found in zip(
        expected, call(FIELDS, {"network": told, "asked": asked}), strict=True
    ):
        assert (found["top"], found["bottom"]) == (found["left"], found["right"]) == (first, last)


# What is stored


def stored(networks, examples, **more):
    """Return what `players.draw_a_digit` displays."""
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "display", lambda bundle, raw: shown.append(bundle))
        players.draw_a_digit(networks, examples, **more)
    (bundle,) = shown
    return bundle


def example_digits():
    """Return two groups of examples."""
    split = data.load_mnist("quick").split(0)
    pixels = np.round(255 * split.x_test[:9, :, :, 0]).astype("uint8")
    return {"One": (split.y_test[:4], pixels[:4]), "Two": (split.y_test[4:9], pixels[4:])}


def test_the_page_is_small_and_asks_nothing_of_the_network(capsys):
    # Either would end the script element that it is written into.
    assert "</script" not in SOURCE and "<!--" not in SOURCE
    markup = published()
    assert SOURCE in markup, "store it again: make notebooks NOTEBOOK=chapters/draw-a-digit.ipynb"
    assert (ROOT / "utils" / "draw.css").read_text("utf-8") in markup
    size, script = len(markup.encode()), len(SOURCE.encode())
    with capsys.disabled():
        print(f"\nthe page's own data and code: {size:,} bytes, of them {script:,} script")
    assert size < 300_000
    addresses = set(re.findall(r"https?://[^\s\"'`]+", markup))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"\bimport\b", SOURCE) and not re.search(r"url\((?!#)", markup)


def test_what_is_given_is_what_the_page_gets_and_is_said_in_words(networks):
    examples, some = example_digits(), {"default": networks["default"]}
    bundle = stored(some, examples, first=2)
    told = given_to(bundle["text/html"])
    assert [each["title"] for each in told["examples"]] == ["One", "Two"] and told["first"] == 2
    for each, (labels, images) in zip(told["examples"], examples.values(), strict=True):
        assert each["labels"] == list(labels)
        np.testing.assert_array_equal(unpacked(each["images"]), images.ravel())
    image = examples["One"][1][2][None, :, :, None] / np.float32(255)
    digit = networks["default"].predict(image, verbose=0).argmax()
    words = f"A digit and the probabilities that a network gives it: {digit} has the most."
    assert bundle["text/plain"] == f"[draw a digit: {words}]"
    assert f'aria-label="{words}"' in bundle["text/html"]
    assert stored(some, examples, first=2) == bundle


SAME = """
import hashlib, sys
import keras, numpy as np
from keras import layers
from utils.widgets import draw
keras.utils.set_random_seed(0)
net = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(10)])
net.set_weights([np.sin(np.arange(each.size)).reshape(each.shape) for each in net.get_weights()])
images = (np.arange(1568) % 251).astype("uint8").reshape(2, 28, 28)
markup, _ = draw.draw_html({"net": net}, {"Some": ([1, 2], images)})
"""


def test_the_same_page_gives_the_same_bytes_in_this_process_and_in_another():
    mine = {}
    exec(SAME, mine)
    code = SAME + "print(hashlib.sha256(markup.encode()).hexdigest())"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    digest = mine["hashlib"].sha256(mine["markup"].encode()).hexdigest()
    assert other.stdout.strip() == digest, other.stderr


def with_layers(*hidden, last=None):
    return keras.Sequential(
        [keras.Input((28, 28, 1)), *hidden, layers.Flatten(), last or layers.Dense(10)]
    )


REFUSED = {
    "LayerNormalization": lambda: with_layers(layers.LayerNormalization()),
    "dilation_rate": lambda: with_layers(layers.Conv2D(2, 3, dilation_rate=2)),
    "groups": lambda: with_layers(layers.Conv2D(2, 3), layers.Conv2D(2, 3, groups=2)),
    "the activation 'tanh'; allowed are relu": lambda: with_layers(
        layers.Conv2D(2, 3, activation="tanh")
    ),
    "'negative_slope': 0.1": lambda: with_layers(layers.ReLU(negative_slope=0.1)),
    "'scale': False": lambda: with_layers(layers.BatchNormalization(scale=False)),
    "strides": lambda: with_layers(layers.MaxPooling2D(2, strides=(1, 2))),
    "that gives logits": lambda: with_layers(last=layers.Dense(10, activation="relu")),
    "allowed are relu and linear": lambda: with_layers(last=layers.Dense(10, activation="softmax")),
    "allowed is from (None, 28, 28, 1) to (None, 10)": lambda: with_layers(last=layers.Dense(9)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_does_not_know_is_refused_and_named(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw.described(REFUSED[message]())


@pytest.mark.parametrize(
    ("examples", "more", "message"),
    [
        ({}, {}, "0 groups of examples"),
        ({"A": ([1], np.zeros((2, 28, 28), np.uint8))}, {}, r"examples\['A'\] has 1 labels"),
        ({"A": ([1], np.zeros((1, 28, 28)))}, {}, "dtype float64; allowed is the shape"),
        ({"A": ([], np.zeros((0, 28, 28), np.uint8))}, {}, "has 0 labels"),
        ({"A": ([1], np.zeros((1, 28, 28), np.uint8))}, {"first": 1}, "first=1; allowed"),
    ],
)
def test_bad_examples_are_named(examples, more, message):
    with pytest.raises(ValueError, match=message):
        players.draw_a_digit({"net": with_layers()}, examples, **more)


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Write a page with the theme, in which the published sheet stands so many times."""

    def write(times=1, theme="light"):
        boxes = "".join(
            f'<div class="cell_output" id="box{number}"><div class="text_html">'
            f"{published()}</div></div>"
            for number in range(times)
        )
        return test_players.themed_page(tmp_path_factory.mktemp("page"), boxes, theme)

    return write


PIXELS = """(canvas) => {
  const { width, height } = canvas, ink = canvas.getContext("2d");
  const { data } = ink.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, index) => data[4 * index]);
}"""


def settled(tab):
    """Wait until what is drawn has been computed."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 30)))")


def seen(tab, selector=".dd-image canvas"):
    """Return the pixels of a canvas, from 0 to 1."""
    settled(tab)
    side = tab.locator(selector).first.evaluate("each => each.width")
    return np.reshape(tab.locator(selector).first.evaluate(PIXELS), (-1, side)) / 255


def said(tab):
    settled(tab)
    return tab.locator(".dd-said").inner_text()


def probabilities(tab):
    settled(tab)
    widths = tab.locator(".dd-track i").evaluate_all(
        "all => all.map((e) => parseFloat(e.style.width))"
    )
    return np.array(widths) / 100


def expected_of(net, image):
    return reference.softmax(net.predict(image[None, :, :, None], verbose=0).astype(float))[0]


def stroke(tab, *points):
    """Draw with the mouse, along points given in shares of the sheet."""
    box = tab.locator(".dd-paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place, steps=8)
    tab.mouse.up()


def press(tab, name):
    tab.get_by_role("button", name=name, exact=True).click()


def centre(image):
    return [np.average(np.arange(28), weights=image.sum(axis=axis)) for axis in (1, 0)]


def test_a_digit_that_is_drawn_with_the_mouse_is_centred_and_named(chromium, page, networks):
    with test_browser.Watch(chromium, viewport={"width": 900, "height": 900}) as watch:
        tab = watch.tab
        tab.goto(page())
        example = seen(tab)
        press(tab, "Clear")
        assert not seen(tab).any() and "of an empty image" in said(tab)
        # A one, small and in a corner.
        stroke(tab, (0.8, 0.55), (0.8, 0.95))
        image = seen(tab)
        assert not np.array_equal(image, example)
        np.testing.assert_allclose(centre(image), 14, atol=0.51)
        rows = np.flatnonzero(image.any(axis=1))
        assert len(rows) == 20
        shares = expected_of(networks["default"], image)
        np.testing.assert_allclose(probabilities(tab), shares, atol=2e-3)
        assert said(tab).startswith(f"The network says {shares.argmax()}\n")
        # A second stroke is added to it.
        stroke(tab, (0.6, 0.75), (0.95, 0.75))
        assert np.abs(seen(tab) - image).sum() > 5
        # A thicker pen leaves more ink.
        thin = tab.locator(".dd-paper").evaluate(PIXELS)
        press(tab, "Clear")
        tab.locator("[name=pen]").fill("40")
        stroke(tab, (0.8, 0.55), (0.8, 0.95))
        stroke(tab, (0.6, 0.75), (0.95, 0.75))
        assert sum(tab.locator(".dd-paper").evaluate(PIXELS)) > 1.3 * sum(thin)
        assert watch.complaints == []


def test_a_digit_is_drawn_with_the_keyboard(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        for _ in range(2):
            tab.keyboard.press("Tab")
            if tab.evaluate("document.activeElement.className") == "dd-paper":
                break
        assert tab.evaluate("document.activeElement.className") == "dd-paper"
        pen = tab.locator(".dd-pen")
        assert pen.is_visible()
        tab.keyboard.press("Delete")
        assert not seen(tab).any()
        tab.keyboard.press("ArrowUp")
        tab.keyboard.press("ArrowUp")
        assert not seen(tab).any(), "the pen is up"
        tab.keyboard.press("Space")
        assert "dd-down" in pen.get_attribute("class")
        for _ in range(10):
            tab.keyboard.press("ArrowDown")
        image = seen(tab)
        rows = np.flatnonzero(image.any(axis=1))
        assert len(rows) == 20 and rows[0] in (4, 5)
        assert image[rows[1:-1], 13:15].min() > 0.3
        tab.keyboard.press("Space")
        for _ in range(5):
            tab.keyboard.press("ArrowRight")
        assert np.array_equal(seen(tab), image), "the pen is up again"
        scroll = tab.evaluate("scrollY")
        tab.keyboard.press("Backspace")
        assert not seen(tab).any() and tab.evaluate("scrollY") == scroll
        tab.keyboard.press("Tab")
        assert not pen.is_visible()
        assert watch.complaints == []


def test_a_finger_draws_and_the_page_does_not_scroll(chromium, page):
    with test_browser.Watch(
        chromium, has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740}
    ) as watch:
        tab = watch.tab
        tab.goto(page())
        press(tab, "Clear")
        box = tab.locator(".dd-paper").bounding_box()
        session = watch.context.new_cdp_session(tab)
        for kind, share in [
            ("Start", 0.2),
            ("Move", 0.4),
            ("Move", 0.6),
            ("Move", 0.8),
            ("End", 0),
        ]:
            place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + share * box["height"]}
            points = [] if kind == "End" else [place]
            session.send(
                "Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points}
            )
        image = seen(tab)
        assert np.ptp(np.flatnonzero(image.any(axis=1))) == 19
        assert tab.evaluate("scrollY") == 0
        # A unit is chosen by a tap.
        tab.locator('[data-stage="1"] [data-map="6"]').tap()
        assert (
            tab.locator(".dd-unit .dd-caption").inner_text().startswith("Convolution 1, map 7, row")
        )


def test_examples_are_laid_on_the_sheet_as_they_are(chromium, page):
    given = given_to(published())["examples"]
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        for group, number in ((0, 0), (0, 11), (1, 3)):
            images = unpacked(given[group]["images"]).reshape(-1, 28, 28)
            tab.locator(f'[data-group="{group}"] button').nth(number).click()
            np.testing.assert_allclose(255 * seen(tab), images[number], atol=0.5)
            assert said(tab).endswith(f"MNIST calls it a {given[group]['labels'][number]}")
            large = seen(tab, ".dd-paper")
            np.testing.assert_allclose(255 * large[5::10, 5::10], images[number], atol=1)
        # Tab leads to one of a group, the arrow keys to the others.
        stops = tab.locator('[data-group="0"] button[tabindex="0"]')
        assert stops.count() == 1
        stops.focus()
        before = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label != before and f"MNIST calls it a {label[-1]}" in said(tab)
        # A stroke makes another image of it, of which MNIST says nothing.
        stroke(tab, (0.3, 0.3), (0.7, 0.7))
        assert "MNIST" not in said(tab)
        assert watch.complaints == []


def test_the_image_is_shifted_rotated_and_inverted(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        image = seen(tab)[None]
        first = probabilities(tab)
        press(tab, "Shift right")
        press(tab, "Shift right")
        press(tab, "Shift up")
        np.testing.assert_allclose(seen(tab), data.shift(image, -2, 4)[0], atol=1e-6)
        assert tab.locator(".dd-note").inner_text() == "shifted 4 px right, shifted 2 px up"
        assert not np.array_equal(probabilities(tab), first)
        press(tab, "Rotate left")
        press(tab, "Invert")
        turned = data.invert(data.shift(data.rotate(image, 15), -2, 4))[0]
        np.testing.assert_allclose(seen(tab), turned, atol=3e-3)
        assert tab.get_by_role("button", name="Invert").get_attribute("aria-pressed") == "true"
        press(tab, "Invert")
        press(tab, "Rotate right")
        press(tab, "Rotate right")
        assert tab.locator(".dd-note").inner_text().startswith("rotated 15° to the right, ")
        press(tab, "As drawn")
        assert np.array_equal(seen(tab), image[0]) and np.array_equal(probabilities(tab), first)
        # However often a button is pressed: what is left of the image is none, and a full turn.
        for _ in range(20):
            press(tab, "Shift left")
        assert tab.locator(".dd-note").inner_text() == "shifted 28 px left"
        press(tab, "As drawn")
        for _ in range(24):
            press(tab, "Rotate left")
        assert tab.locator(".dd-note").inner_text() == "as drawn, centred"


def number(text):
    return float(text.replace("−", "-"))


def grids(tab):
    """Return the numbers of each drawn table of the inspector."""
    texts = tab.locator(".dd-unit svg").evaluate_all(
        "all => all.map((e) => [...e.querySelectorAll('text')].map((t) => t.textContent))"
    )
    return [np.array([number(each) for each in texts_]) for texts_ in texts]


def choose(tab, stage, map_, row=None, column=None, size=1):
    box = tab.locator(f'[data-stage="{stage}"] [data-map="{map_}"]')
    box.scroll_into_view_if_needed()
    drawn = box.bounding_box()
    at = (0.5, 0.5) if row is None else ((column + 0.5) / size, (row + 0.5) / size)
    tab.mouse.click(drawn["x"] + at[0] * drawn["width"], drawn["y"] + at[1] * drawn["height"])
    return tab.locator(".dd-unit .dd-caption").inner_text(), tab.locator(".dd-sum").inner_text()


def inner(net, image):
    """Return what each layer of a network gives for an image."""
    model = keras.Model(net.inputs, [layer.output for layer in net.layers])
    return [np.array(each)[0] for each in model.predict(image[None, :, :, None], verbose=0)]


def pick_network(tab, name):
    tab.get_by_role("radio", name=re.compile(f"^{name}")).check()
    settled(tab)


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_unit_add_up_and_are_those_of_keras(name, chromium, page, networks):
    net, rng = networks[name], np.random.default_rng(6)
    with test_browser.Watch(chromium, viewport={"width": 1000, "height": 1000}) as watch:
        tab = watch.tab
        tab.goto(page())
        pick_network(tab, name)
        image = seen(tab).astype("float32")
        found = inner(net, image)
        inputs = [image[:, :, None], *found]
        for stage, layer in enumerate(net.layers, start=1):
            kind, y, x = type(layer).__name__, found[stage - 1], inputs[stage - 1]
            if kind in ("Flatten", "Dropout"):
                continue
            if kind == "Dense":
                x = found[[type(each).__name__ for each in net.layers].index("Flatten") - 1]
                digit = int(rng.integers(10))
                title, text = choose(tab, stage, digit)
                assert title == f"Dense layer, digit {digit}"
                kernel, bias = layer.get_weights()
                parts = x * kernel[:, digit].reshape(x.shape)
                sums = [number(each) for each in tab.locator(".dd-triple span").all_inner_texts()]
                np.testing.assert_allclose(sums, parts.sum(axis=(0, 1)), atol=0.006, rtol=6e-3)
                assert f"the bias {_said(bias[digit])}".replace("-", "−") in text
                total = number(text.split(" it is ")[1].rstrip("."))
                assert total == pytest.approx(y[digit], abs=2e-3, rel=1e-3)
                continue
            side, map_ = y.shape[0], int(rng.integers(y.shape[2]))
            places = [(0, 0), (side // 2, side // 2), (side - 1, side // 3)]
            for row, column in places:
                title, text = choose(tab, stage, map_, row, column, side)
                assert title.endswith(f", map {map_ + 1}, row {row + 1}, column {column + 1}")
                value, shown = y[row, column, map_], grids(tab)
                if kind == "Conv2D":
                    kernel, bias = layer.get_weights()
                    channels = x.shape[2]
                    assert len(shown) == 3 * channels
                    for channel in range(channels):
                        window, weights, products = shown[3 * channel : 3 * channel + 3]
                        tight = kernel[:, :, channel, map_].ravel()
                        np.testing.assert_allclose(weights, tight, atol=6e-4, rtol=6e-3)
                        np.testing.assert_allclose(products, window * weights, atol=3e-3, rtol=3e-2)
                    sums = [
                        number(each.split("sum ")[1])
                        for each in tab.locator(".dd-part > span").all_inner_texts()
                    ]
                    for channel in range(channels):
                        products = shown[3 * channel + 2]
                        assert sums[channel] == pytest.approx(products.sum(), abs=0.02, rel=0.02)
                    total = number(
                        re.search(r" it is ([−\d.e]+?)[;.]? ?(ReLU|$)", text)[1].rstrip(".")
                    )
                    assert total == pytest.approx(sum(sums) + bias[map_], abs=3e-3, rel=1e-3)
                    relu = layer.activation.__name__ == "relu"
                    assert (max(total, 0) if relu else total) == pytest.approx(
                        value, abs=2e-3, rel=1e-3
                    )
                    assert ("ReLU" in text) == relu
                elif "Pooling" in kind:
                    (window,) = shown
                    whole = window.max() if kind.startswith("Max") else window.mean()
                    assert whole == pytest.approx(value, abs=2e-3, rel=6e-3)
                    assert tab.locator(".dd-unit .dd-chosen").count() == kind.startswith("Max")
                    assert number(text.split(" is ")[1].rstrip(".")) == pytest.approx(
                        value, abs=6e-4, rel=1e-3
                    )
                elif kind == "BatchNormalization":
                    numbers = [
                        number(each) for each in re.findall(r"−?\d+(?:\.\d+)?(?:e-\d+)?", text)
                    ]
                    given, mean, variance, epsilon, gamma, beta, result = numbers
                    ours = (given - mean) / np.sqrt(variance + epsilon) * gamma + beta
                    assert ours == pytest.approx(result, abs=2e-2, rel=1e-2)
                    assert result == pytest.approx(value, abs=6e-4, rel=1e-3)
                else:
                    assert kind == "ReLU" and ("stays" in text) == (value > 0)
        digit = int(rng.integers(10))
        title, text = choose(tab, len(inputs), digit)
        assert title == f"Softmax, digit {digit}"
        logit, power, total = (
            number(each) for each in re.findall(r" (−?[\d.]+(?:e[+-]?\d+)?)(?= is|\. D|,)", text)
        )
        assert logit == pytest.approx(found[-1][digit], abs=2e-3, rel=1e-3)
        assert total == pytest.approx(np.exp(found[-1]).sum(), rel=2e-3)
        assert text.endswith(f"it is {tab.locator('.dd-share').nth(digit).inner_text()}.")
        assert watch.complaints == []


def _said(value):
    """Write a value as the page does, to four digits."""
    return "0" if abs(value) < 5e-4 else f"{float(f'{value:.4g}'):g}"


def test_every_map_of_every_layer_is_drawn(chromium, page, networks):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        for name, net in networks.items():
            pick_network(tab, name)
            found = inner(net, seen(tab).astype("float32"))
            assert tab.locator(".dd-layer").count() == len(net.layers) - 1, "all but flatten"
            for stage, (layer, y) in enumerate(zip(net.layers, found, strict=True), start=1):
                drawn = tab.locator(f'.dd-strip[data-stage="{stage}"] canvas')
                shown = y.ndim == 3 and type(layer).__name__ != "Dropout"
                assert drawn.count() == (y.shape[2] if shown else 0)
                if shown and y.min() >= 0:
                    pixels = [np.reshape(p, y.shape[:2]) for p in drawn.evaluate_all(
                        f"all => all.map({PIXELS})")]  # fmt: skip
                    expected = 255 * y / y.max()
                    np.testing.assert_allclose(np.stack(pixels, axis=2), expected, atol=1)
            logits_ = [
                number(each.split("\n")[-1]) for each in tab.locator(".dd-logit").all_inner_texts()
            ]
            np.testing.assert_allclose(logits_, found[-1], atol=6e-3, rtol=6e-3)


def test_all_networks_answer_side_by_side(chromium, page, networks):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        image = seen(tab).astype("float32")
        for row, name in enumerate(NAMES):
            shares = expected_of(networks[name], image)
            text = tab.locator(".dd-networks output").nth(row).inner_text()
            digit, percent = text.replace("\u2009", " ").split(", ")
            assert int(digit) == shares.argmax()
            assert float(re.search(r"[\d.]+", percent)[0]) == pytest.approx(
                100 * shares.max(), abs=0.11
            )


def test_units_are_reached_with_the_keyboard(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        caption = tab.locator(".dd-unit .dd-caption")
        choose(tab, 3, 2, 5, 12, 14)
        strip = tab.locator('.dd-strip[data-stage="3"]')
        strip.focus()
        for key, place in {
            "ArrowRight": "3, row 6, column 14", "ArrowDown": "3, row 7, column 14",
            "PageDown": "4, row 7, column 14", "PageUp": "3, row 7, column 14",
            "ArrowLeft": "3, row 7, column 13", "ArrowUp": "3, row 6, column 13",
        }.items():  # fmt: skip
            tab.keyboard.press(key)
            assert caption.inner_text() == f"Convolution 2, map {place}", key
        # Over the side of a map lies the next one, and behind the last there is none.
        for _ in range(2):
            tab.keyboard.press("ArrowRight")
        assert caption.inner_text() == "Convolution 2, map 4, row 6, column 1"
        for _ in range(20):
            tab.keyboard.press("PageDown")
        assert caption.inner_text() == "Convolution 2, map 16, row 6, column 1"
        # Tab goes on to the next layer, and shows a unit of it; the bars are such a row as well.
        tab.keyboard.press("Tab")
        assert caption.inner_text().startswith("Max pooling 2, map 1, row ")
        tab.locator(".dd-bars").focus()
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
        tab.keyboard.press("ArrowDown")
        assert caption.inner_text() == "Softmax, digit 1"
        # It is read out once the hand rests.
        tab.wait_for_timeout(900)
        status = tab.locator(".dd-status")
        assert status.get_attribute("role") == "status"
        assert status.inner_text().startswith("Softmax, digit 1. e to the power of the logit")
        assert watch.complaints == []


def test_frames_lie_about_what_a_unit_reads(chromium, page):
    with test_browser.Watch(chromium, viewport={"width": 1000, "height": 1000}) as watch:
        tab = watch.tab
        tab.goto(page())
        choose(tab, 3, 2, 5, 8, 14)
        assert tab.locator('[data-stage="2"] .dd-window').count() == 8
        frame = tab.locator('[data-stage="2"] .dd-window').first.evaluate(
            "e => [e.style.top, e.style.left, e.style.height].map(parseFloat)"
        )
        np.testing.assert_allclose(frame, [100 * 4 / 14, 100 * 7 / 14, 100 * 3 / 14], atol=1e-3)
        field = tab.locator(".dd-image .dd-window").evaluate(
            "e => [e.style.top, e.style.height].map(parseFloat)"
        )
        np.testing.assert_allclose(field, [100 * 7 / 28, 100 * 8 / 28], atol=1e-3)
        choose(tab, 4, 2, 3, 3, 7)
        assert tab.locator('[data-stage="3"] .dd-window').count() == 1
        choose(tab, 6, 0)
        assert tab.locator('[data-stage="4"] .dd-window').count() == 16
        assert tab.locator(".dd-logit.dd-here").count() == 1


def test_the_recognised_digit_is_read_out_once_the_hand_rests(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        status = tab.locator(".dd-status")
        tab.wait_for_timeout(900)
        first = status.inner_text()
        assert first.startswith("The network says ")
        for number_ in range(20):
            tab.locator('[data-group="0"] button').nth(number_).click()
            digit = said(tab).split("\n")[0]
            if digit != first.split(",")[0]:
                break
        assert status.inner_text() == first
        tab.wait_for_timeout(900)
        assert status.inner_text().startswith(f"{digit}, ")


def test_every_control_has_a_name_a_focus_and_keeps_its_keys(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        for name in (
            "Clear", "Shift left", "Shift right", "Shift up", "Shift down", "Rotate left",
            "Rotate right", "Invert", "As drawn",
        ):  # fmt: skip
            assert tab.get_by_role("button", name=name, exact=True).count() == 1, name
        assert tab.get_by_role("slider", name="Pen", exact=True).count() == 1
        assert tab.get_by_role("group", name="Network").get_by_role("radio").count() == 5
        assert tab.get_by_role("toolbar").count() == 2
        # JupyterLab would take arrows and digits from whatever does not carry this mark.
        without = tab.evaluate(
            """[...document.querySelectorAll(".draw :is(input, select, button, [tabindex])")]
              .filter((each) => !each.hasAttribute("data-lm-suppress-shortcuts")).length"""
        )
        assert without == 0
        unnamed = tab.evaluate(
            """[...document.querySelectorAll(".draw [role=application]")]
              .filter((each) => !each.getAttribute("aria-label")).length"""
        )
        assert unnamed == 0
        unseen = []
        for _ in range(40):
            tab.keyboard.press("Tab")
            name, outline = tab.evaluate(
                """() => {
                  const at = document.activeElement, { outlineStyle } = getComputedStyle(at);
                  return [at.getAttribute("aria-label") || at.name || at.tagName, outlineStyle];
                }"""
            )
            if name == "BODY":
                break
            if outline == "none":
                unseen.append(name)
        assert name == "BODY" and unseen == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_every_width_and_can_be_read(chromium, page, theme):
    with test_browser.Watch(chromium, color_scheme=theme) as watch:
        tab = watch.tab
        tab.goto(page(theme=theme))
        for width in test_browser.WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            for name, stage in (("default", 3), ("batch norm", 5), ("default", 6), ("default", 7)):
                pick_network(tab, name)
                choose(tab, stage, 3)
                assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
                inside = tab.locator(".text_html").evaluate("e => e.scrollWidth - e.clientWidth")
                assert inside <= 0, (width, name, stage)
                assert tab.evaluate(test_browser.CONTRAST) == []
        assert watch.complaints == []


def test_two_on_a_page_do_not_disturb_each_other(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page(times=2))
        settled(tab)
        first, second = tab.locator("#box0"), tab.locator("#box1")
        second.get_by_role("radio").nth(3).check()
        second.get_by_role("button", name="Invert").click()
        settled(tab)
        assert first.get_by_role("radio").nth(0).is_checked()
        assert first.locator(".dd-note").inner_text() == "as drawn, centred"
        # A cell that runs later brings its own script, which leaves the other as it is.
        test_players.run_scripts_again(tab, "box1")
        settled(tab)
        assert second.locator(".dd-note").inner_text() == "inverted"
        assert tab.evaluate("[...document.querySelectorAll('.draw [id]')].length") <= 40
        assert watch.complaints == []


def test_enter_on_a_network_does_not_leave_the_page(chromium, page):
    with test_browser.Watch(chromium) as watch:
        tab = watch.tab
        tab.goto(page())
        press(tab, "Invert")
        tab.get_by_role("radio").first.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_timeout(200)
        assert tab.locator(".dd-note").inner_text() == "inverted"


def test_without_javascript_a_digit_and_its_probabilities_are_shown(chromium, page):
    with test_browser.Watch(
        chromium, java_script_enabled=False, viewport={"width": 360, "height": 740}
    ) as watch:
        tab = watch.tab
        tab.goto(page())
        picture = tab.get_by_role("img")
        assert picture.count() == 1 and picture.is_visible()
        assert picture.get_attribute("aria-label").startswith("A digit and the probabilities")
        assert tab.locator("input, button").count() == 0


def test_it_runs_in_the_book_by_http_and_as_a_file(chromium, start, networks):
    with test_browser.Watch(chromium, reduced_motion="reduce") as watch:
        watch.open(f"{start}/chapters/draw-a-digit.html")
        tab = watch.tab
        press(tab, "Clear")
        stroke(tab, (0.5, 0.2), (0.5, 0.8))
        shares = expected_of(networks["default"], seen(tab))
        np.testing.assert_allclose(probabilities(tab), shares, atol=2e-3)
        running = tab.evaluate("document.getAnimations().length")
        assert running == 0 and watch.complaints == []
