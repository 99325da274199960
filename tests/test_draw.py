"""The page to draw a digit on: its networks against Keras, and its sheet in a browser."""

import base64
import json
import re
from functools import cache, partial

import keras
import nbformat
import numpy as np
import pytest
import test_browser
import test_widgets
from helpers import refused
from keras import layers

from utils import data, widgets
from utils.evidence import artifacts
from utils.theory import arithmetic, reference
from utils.widgets import draw

chromium, address, start = test_browser.chromium, test_browser.address, test_browser.start
keys, number = test_widgets.keys, test_widgets.number

ROOT = test_widgets.ROOT
PRELUDE = 'window.floats = (base64) => module.decoded({ dtype: "<f4", base64 })'


def encoded(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def unpacked(packed):
    return np.frombuffer(base64.b64decode(packed["base64"]), packed["dtype"])


def blocks(filters):
    """Return what each network of the chapter repeats."""
    convolution = partial(layers.Conv2D, filters, 3, padding="same")
    norm = [convolution(), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(2)]
    return {
        "default": [convolution(activation="relu"), layers.MaxPooling2D(2)],
        "no pooling": [convolution(strides=2, activation="relu")],
        "average pooling": [convolution(activation="relu"), layers.AveragePooling2D(2)],
        "dropout": [convolution(activation="relu"), layers.MaxPooling2D(2)],
        "batch norm": norm,
    }


NAMES = list(blocks(1))


@cache
def recorded():
    """Return what the recorded run of each network has left: weights, and digits to show."""
    path = ROOT / "chapters" / "results" / "draw-a-digit.jsonl"
    runs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        run["arm"]: {name: artifacts.unpack(name, each) for name, each in run["kept"].items()}
        for run in runs
        if run["seed"] == 0 and run["train_size"] == 60_000
    }


@cache
def network(name):
    """Build a network of the chapter in Keras, with its recorded weights."""
    dropout = [layers.Dropout(0.5)] * (name == "dropout")
    body = [*blocks(8)[name], *blocks(16)[name], layers.Flatten(), *dropout, layers.Dense(10)]
    net = keras.Sequential([keras.Input((28, 28, 1)), *body])
    arrays, flat = net.get_weights(), recorded()[name]["weights"].astype("float32")
    ends = np.cumsum([array.size for array in arrays])
    assert ends[-1] == len(flat)
    parts = np.split(flat, ends[:-1])
    net.set_weights([part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)])
    return net


def examples():
    """Return the chapter's two groups of examples."""
    default = recorded()["default"]
    return {
        "Test digits": (np.repeat(np.arange(10), 2), default["digits"]),
        "Mistaken": (default["mistaken"], default["mistakes"]),
    }


@cache
def chapter():
    """Return the chapter's widget, as it would be stored now: HTML, and words."""
    nets = {name: network(name) for name in NAMES}
    return test_widgets.shown(widgets.draw_a_digit, nets, examples(), first=7)


@pytest.fixture(scope="module")
def digits():
    """Return 1,000 images as Keras takes them, and their labels."""
    split = data.load_mnist("quick").split(0)
    return split.x_test, split.y_test


@pytest.fixture(scope="module")
def call(chromium):
    with test_widgets.evaluator(chromium, "draw", PRELUDE) as evaluate:
        yield evaluate


LOGITS = """(() => {
  const network = module.loaded(given.network), all = floats(given.images), found = [];
  for (let start = 0; start < all.length; start += 784) {
    found.push(module.forward(network, all.subarray(start, start + 784)).at(-1).data);
  }
  return found;
})()"""


def answers(net, images):
    """Return what Keras says; to trace a network for it, as `predict` does, would take longer."""
    return np.array(net(images.astype("float32"), training=False))


def logits(call, net, images):
    network_ = {"name": "x", **draw.described(net)}
    given = {"network": network_, "images": encoded(images.astype("<f4"))}
    return np.array(call(LOGITS, given))


# What the networks compute


@pytest.mark.parametrize("name", NAMES)
def test_a_network_of_the_page_computes_what_keras_computes(name, digits, call, capsys):
    images, labels = digits
    ours = logits(call, network(name), images)
    theirs = answers(network(name), images)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    # A page in which every network gave the same would pass with wrong weights in all places.
    assert np.mean(ours.argmax(axis=1) == labels) > 0.8
    with capsys.disabled():
        print(f"\n{name}: differs from Keras by at most {np.abs(ours - theirs).max():.1e}")


def any_network(rng):
    """Build a network with settings that the page knows and those of the chapter lack."""
    two = {"padding": ("valid", "same"), "pool": (layers.MaxPooling2D, layers.AveragePooling2D)}
    padding, pool = (values[rng.integers(2)] for values in two.values())
    taps = [tuple(map(int, rng.integers(1, 5, 2))) for _ in range(3)]
    strides = [int(stride) for stride in rng.integers(1, 4, 3)]
    hidden = [
        layers.Conv2D(3, taps[0], strides=strides[0], padding=padding, use_bias=False),
        *[layers.BatchNormalization(epsilon=0.01), layers.ReLU()] * int(rng.integers(2)),
        pool(taps[1], strides=strides[1], padding="same"),
        layers.Conv2D(2, taps[2], strides=strides[2], padding="same", activation="relu"),
        layers.Flatten(),
        *[layers.Dense(7, activation="relu"), layers.Dropout(0.2)] * int(rng.integers(2)),
    ]
    net = keras.Sequential([keras.Input((28, 28, 1)), *hidden, layers.Dense(10)])
    # At full precision; variances are positive.
    net.set_weights([np.abs(rng.normal(0, 0.4, part.shape)) for part in net.get_weights()])
    return net


def test_networks_with_any_settings_compute_what_keras_computes(digits, call):
    rng = np.random.default_rng(1)
    images = rng.normal(size=(8, 28, 28, 1)).astype("float32")
    for _ in range(16):
        net = any_network(rng)
        assert draw.described(net)["weights"]["dtype"] == "<f4"
        theirs = answers(net, images)
        settings = str(net.get_config()["layers"][1:])
        np.testing.assert_allclose(
            logits(call, net, images), theirs, rtol=1e-4, atol=1e-4, err_msg=settings
        )
    scores = rng.normal(0, 300, size=(20, 10))
    shares = call("given.map((row) => module.softmax(row))", scores.tolist())
    np.testing.assert_allclose(shares, reference.softmax(scores), atol=1e-12)


def test_half_floats_lose_nothing_on_their_way(call):
    bits = np.concatenate([np.arange(0x7C00), np.arange(0x8000, 0xFC00)]).astype("<u2")
    packed = {"dtype": "<f2", "base64": encoded(bits)}
    np.testing.assert_array_equal(call("module.decoded(given)", packed), bits.view("<f2"))
    told = test_widgets.state_of(chapter()[0])
    assert told["first"] == 7 and [each["name"] for each in told["networks"]] == NAMES
    assert {each["weights"]["dtype"] for each in told["networks"]} == {"<f2"}
    assert [each["title"] for each in told["examples"]] == list(examples())


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
    found = call(f"given.map((each) => module.prepared(module.decoded(each), {width}))", given)
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
    pixels = np.round(255 * digits[0][:100, :, :, 0]).astype("uint8")
    rng = np.random.default_rng(4)
    inks = np.zeros((100, 280, 280), np.uint8)
    for image, ink in zip(pixels, inks, strict=True):
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        large = np.kron(box, np.ones((7, 7), np.uint8))
        top, left = (rng.integers(0, 281 - side) for side in large.shape)
        ink[top : top + large.shape[0], left : left + large.shape[1]] = large
    images = prepared(call, inks)
    off = np.abs(images - pixels / 255).max(axis=(1, 2))
    # Of very few the mass lies between two pixels.
    assert np.mean(off < 1e-6) > 0.95
    # In another size they are no longer the same, and still recognised.
    smaller = prepared(call, inks[:, ::3, ::3].copy())
    for name in NAMES:
        told = answers(network(name), smaller[..., None]).argmax(axis=1)
        assert np.mean(told == digits[1][:100]) > 0.9, name


def test_changes_are_those_that_the_experiments_make(digits, call):
    images = digits[0][:6]
    for degrees, down, right in [(15, 0, 0), (-30, 0, 0), (90, 0, 0), (0, 3, -5), (0, -28, 28)]:
        expected = data.shift(data.rotate(images, degrees), down, right)
        change = {"degrees": degrees, "down": down, "right": right}
        for inverted in (False, True):
            given = {"images": [encoded(each) for each in images], "change": change}
            given["change"]["inverted"] = inverted
            found = call(
                "given.images.map((each) => module.changed(floats(each), given.change))", given
            )
            theirs = 1 - expected if inverted else expected
            np.testing.assert_allclose(found, theirs.reshape(6, -1), atol=1e-4, err_msg=str(change))


def test_numbers_are_written_short(call):
    numbers = {
        0: "0", 1e-5: "0", -0.0004: "0", 0.12345: "0.123", -2.5: "−2.5", 12.345: "12.3",
        1234.5: "1235", -98765.4: "−98765", 1: "1",
    }  # fmt: skip
    shares = {
        0: "< 0.1 %", 0.00049: "< 0.1 %", 0.001: "0.1 %", 0.5: "50.0 %", 0.12345: "12.3 %",
        0.9994: "99.9 %", 0.9999: "> 99.9 %", 1: "> 99.9 %",
    }  # fmt: skip
    for name, texts in (("written", numbers), ("percent", shares)):
        assert call(f"given.map((x) => module.{name}(x))", list(texts)) == list(texts.values())


FIELDS = """given.asked.map(([number, place]) => {
  const network = module.loaded(given.network);
  const values = module.forward(network, new Float32Array(784));
  return module.fieldOf(network, values, number, { row: place, column: place });
})"""


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_depends_on_the_pixels_that_arithmetic_says(name, call):
    told = draw.described(network(name))
    fields = arithmetic.receptive_fields(network(name))
    asked, expected = [], []
    for number, layer in enumerate(network(name).layers, start=1):
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


def test_the_stored_page_is_small_and_of_today():
    notebook = nbformat.read(ROOT / "chapters" / "draw-a-digit.ipynb", as_version=4)
    stored = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data-state" in output.get("data", {}).get("text/html", "")
    ]
    assert len(stored) == 1 and len(stored[0].encode()) < 300_000
    again = "store it again: make notebooks NOTEBOOK=chapters/draw-a-digit.ipynb"
    assert test_widgets.script_of("draw") in stored[0], again
    then, now = (test_widgets.state_of(markup)["networks"] for markup in (stored[0], chapter()[0]))
    assert then == now


def with_layers(*hidden, last=None):
    ends = layers.Flatten(), last or layers.Dense(10)
    return keras.Sequential([keras.Input((28, 28, 1)), *hidden, *ends])


REFUSED = {
    "LayerNormalization": lambda: [layers.LayerNormalization()],
    "dilation_rate": lambda: [layers.Conv2D(2, 3, dilation_rate=2)],
    "groups": lambda: [layers.Conv2D(2, 3), layers.Conv2D(2, 3, groups=2)],
    "the activation 'tanh'; allowed are relu": lambda: [layers.Conv2D(2, 3, activation="tanh")],
    "'negative_slope': 0.1": lambda: [layers.ReLU(negative_slope=0.1)],
    "'scale': False": lambda: [layers.BatchNormalization(scale=False)],
    "strides": lambda: [layers.MaxPooling2D(2, strides=(1, 2))],
    "that gives logits": lambda: layers.Dense(10, activation="relu"),
    "allowed are relu and linear": lambda: layers.Dense(10, activation="softmax"),
    "allowed is from (None, 28, 28, 1) to (None, 10)": lambda: layers.Dense(9),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_does_not_know_is_refused_and_named(message):
    made = REFUSED[message]()
    net = with_layers(*made) if isinstance(made, list) else with_layers(last=made)
    with refused(message):
        draw.described(net)


# In a browser


@pytest.fixture
def open_page(chromium, tmp_path):
    """Open the chapter's widget, or another one."""
    return lambda markup=None, **settings: test_widgets.opened(
        chromium, tmp_path, markup or chapter()[0], **settings
    )


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
    widths = "all => all.map((each) => parseFloat(each.style.width))"
    return np.array(tab.locator(".dd-track i").evaluate_all(widths)) / 100


def expected_of(net, image):
    return reference.softmax(answers(net, image[None, :, :, None]).astype(float))[0]


def stroke(tab, *points):
    """Draw with the mouse, along points given in shares of the sheet."""
    box = tab.locator(".dd-paper").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    for place in places[1:]:
        tab.mouse.move(*place, steps=8)
    tab.mouse.up()


def press(tab, *names):
    for name in names:
        tab.get_by_role("button", name=name, exact=True).click()


def test_a_digit_that_is_drawn_with_the_mouse_is_centred_and_named(open_page):
    with open_page(viewport={"width": 900, "height": 900}) as tab:
        example = seen(tab)
        press(tab, "Clear")
        assert not seen(tab).any()
        # A one, small and in a corner.
        stroke(tab, (0.8, 0.55), (0.8, 0.95))
        image = seen(tab)
        assert not np.array_equal(image, example)
        centre = [np.average(np.arange(28), weights=image.sum(axis=axis)) for axis in (1, 0)]
        np.testing.assert_allclose(centre, 14, atol=0.51)
        rows = np.flatnonzero(image.any(axis=1))
        assert len(rows) == 20
        shares = expected_of(network("default"), image)
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


def test_a_digit_is_drawn_with_the_keyboard(open_page):
    with open_page() as tab:
        keys(tab, "Tab")
        pen = tab.locator(".dd-pen")
        assert pen.is_visible()
        keys(tab, "Delete")
        assert not seen(tab).any()
        keys(tab, "ArrowUp", "ArrowUp")
        assert not seen(tab).any(), "the pen is up"
        keys(tab, "Space")
        assert "dd-down" in pen.get_attribute("class")
        keys(tab, *["ArrowDown"] * 10)
        image = seen(tab)
        rows = np.flatnonzero(image.any(axis=1))
        assert len(rows) == 20 and rows[0] in (4, 5)
        assert image[rows[1:-1], 13:15].min() > 0.3
        keys(tab, "Space", *["ArrowRight"] * 5)
        assert np.array_equal(seen(tab), image), "the pen is up again"
        scroll = tab.evaluate("scrollY")
        keys(tab, "Backspace")
        assert not seen(tab).any() and tab.evaluate("scrollY") == scroll
        keys(tab, "Tab")
        assert not pen.is_visible()


def test_a_finger_draws_and_the_page_does_not_scroll(open_page):
    with open_page(has_touch=True, is_mobile=True, viewport={"width": 360, "height": 740}) as tab:
        press(tab, "Clear")
        box = tab.locator(".dd-paper").bounding_box()
        session = tab.context.new_cdp_session(tab)
        for kind, share in (
            ("Start", 0.8),
            ("Move", 0.6),
            ("Move", 0.4),
            ("Move", 0.2),
            ("End", 0),
        ):
            at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + share * box["height"]}
            touch = {"type": f"touch{kind}", "touchPoints": [at] * (kind != "End")}
            session.send("Input.dispatchTouchEvent", touch)
        assert np.ptp(np.flatnonzero(seen(tab).any(axis=1))) == 19
        assert tab.evaluate("scrollY") == 0
        # A unit is chosen by a tap.
        tab.locator('[data-stage="1"] [data-map="6"]').tap()
        assert tab.locator(".dd-unit b").first.inner_text().startswith("Convolution 1, map 7, row")


def test_examples_are_laid_on_the_sheet_as_they_are(open_page):
    given = test_widgets.state_of(chapter()[0])["examples"]
    with open_page() as tab:
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
        keys(tab, "ArrowRight", "Enter")
        label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label != before and f"MNIST calls it a {label[-1]}" in said(tab)
        # A stroke makes another image of it, of which MNIST says nothing.
        stroke(tab, (0.3, 0.3), (0.7, 0.7))
        assert "MNIST" not in said(tab)


def test_the_image_is_shifted_rotated_and_inverted(open_page):
    with open_page() as tab:
        image, first, note = seen(tab)[None], probabilities(tab), tab.locator(".dd-note")
        press(tab, "Shift right", "Shift right", "Shift up")
        np.testing.assert_allclose(seen(tab), data.shift(image, -2, 4)[0], atol=1e-6)
        assert note.inner_text() == "shifted 4 px right, shifted 2 px up"
        assert not np.array_equal(probabilities(tab), first)
        press(tab, "Rotate left", "Invert")
        turned = 1 - data.shift(data.rotate(image, 15), -2, 4)[0]
        np.testing.assert_allclose(seen(tab), turned, atol=3e-3)
        assert tab.get_by_role("button", name="Invert").get_attribute("aria-pressed") == "true"
        press(tab, "Invert", "Rotate right", "Rotate right")
        assert note.inner_text().startswith("rotated 15° to the right, ")
        press(tab, "As drawn")
        assert np.array_equal(seen(tab), image[0]) and np.array_equal(probabilities(tab), first)
        # However often a button is pressed: what is left of the image is none, and a full turn.
        press(tab, *["Shift left"] * 20)
        assert note.inner_text() == "shifted 28 px left"
        press(tab, "As drawn", *["Rotate left"] * 24)
        assert note.inner_text() == "as drawn, centred"
        # Enter on a network does not send a form, and the page with it.
        press(tab, "Invert")
        tab.get_by_role("radio").first.press("Enter")
        settled(tab)
        assert note.inner_text() == "inverted"


# Without ink


BLANK = {
    "Clear": lambda tab: press(tab, "Clear"),
    "Delete": lambda tab: tab.locator(".dd-paper").press("Delete"),
    "an empty example": lambda tab: tab.get_by_role("button", name="One, number 1: a 0").click(),
    "inverted": lambda tab: press(tab, "Clear", "Invert"),
    "shifted away": lambda tab: press(tab, *["Shift up"] * 14),
    "from the start": lambda tab: None,
}


@cache
def two_networks(first):
    """Return a widget of two networks, whose first example is empty, and the others are not."""
    nets = {"default": network("default"), "no pooling": network("no pooling")}
    groups = test_widgets.example_digits()
    return test_widgets.shown(widgets.draw_a_digit, nets, groups, first=first)


@pytest.mark.parametrize("means", BLANK)
def test_of_an_empty_image_no_network_says_anything(means, open_page):
    first = 0 if means == "from the start" else 1
    markup, words = two_networks(first)
    assert ("An empty image" in words) == (first == 0)
    with open_page(markup, clock=True) as tab:
        tab.clock.run_for(1_000)
        assert ("%" in said_everywhere(tab)) == (first == 1)
        BLANK[means](tab)
        tab.clock.run_for(1_000)
        status, outputs = tab.locator(".dd-status"), tab.locator(".dd-networks output")
        assert status.inner_text() == "The image is empty"
        tab.locator(".dd-bars").press("ArrowDown")
        tab.clock.run_for(1_000)
        everywhere = said_everywhere(tab)
        assert "%" not in everywhere and "The network says" not in everywhere
        assert "The image is empty" in everywhere
        assert ("the digit was shifted out of it" in everywhere) == (means == "shifted away")
        assert tab.locator(".dd-best").count() == 0
        heights = "all => all.map((e) => e.getBoundingClientRect())"
        bars = tab.locator(".dd-track i, .dd-mini i").evaluate_all(heights)
        assert max(min(bar["width"], bar["height"]) for bar in bars) <= 1
        assert outputs.all_inner_texts() == ["", ""]
        # With ink the answers are there again.
        press(tab, "Clear")
        assert tab.locator(".dd-note").inner_text() == "as drawn, centred"
        stroke(tab, (0.5, 0.2), (0.5, 0.8))
        tab.clock.run_for(300)
        assert "The network says" not in status.inner_text(), "not before the hand rests"
        tab.clock.run_for(700)
        assert re.match(r"The network says \d, .*%$", status.inner_text())
        assert all(re.match(r"\d, .*%$", text) for text in outputs.all_inner_texts())
        assert tab.locator(".dd-best").count() == 1


def said_everywhere(tab):
    """Return all that is written and read out."""
    labels = tab.locator(".draw [aria-label]").evaluate_all("all => all.map((e) => e.ariaLabel)")
    return "\n".join(
        [tab.locator(".draw").inner_text(), tab.locator(".dd-status").inner_text(), *labels]
    )


# Layers and units


def choose(tab, stage, map_, row=None, column=None, size=1):
    box = tab.locator(f'[data-stage="{stage}"] [data-map="{map_}"]')
    at = (0.5, 0.5) if row is None else ((column + 0.5) / size, (row + 0.5) / size)
    box.scroll_into_view_if_needed()
    drawn = box.bounding_box()
    tab.mouse.click(drawn["x"] + at[0] * drawn["width"], drawn["y"] + at[1] * drawn["height"])
    return tab.locator(".dd-unit .dd-caption").inner_text(), tab.locator(".dd-sum").inner_text()


def inner(net, image):
    """Return what each layer of a network gives for an image."""
    model = keras.Model(net.inputs, [layer.output for layer in net.layers])
    return [np.array(y)[0] for y in model(np.float32(image[None, :, :, None]), training=False)]


def pick_network(tab, name):
    tab.get_by_role("radio", name=re.compile(f"^{name}")).check()
    settled(tab)


UNITS = """given.asked.map(([stage, row, column, map]) => {
  const network = module.loaded(given.network);
  const values = module.forward(network, floats(given.image));
  const unit = module.unit(network, values, stage, { row, column, map });
  const of = (part) => unit.parts.map((rows) => rows.map((row) => row.map((cell) => cell[part])));
  return { words: module.sentence(unit, map), value: unit.value, sums: unit.sums, x: of("x"),
    w: of("w") };
})"""


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_made_of_what_keras_has_there(name, digits, call):
    net, image, rng = network(name), digits[0][0, :, :, 0], np.random.default_rng(6)
    outputs = inner(net, image)
    asked = [
        (stage, *map(int, rng.integers((1, 1, *y.shape)[-3:])))
        for stage, y in enumerate(outputs, start=1)
        for _ in range(6)
        if not isinstance(net.layers[stage - 1], layers.Flatten | layers.Dropout)
    ]
    given = {"network": {"name": name, **draw.described(net)}, "image": encoded(image)}
    units = call(UNITS, given | {"asked": asked})
    for (stage, row, column, map_), unit in zip(asked, units, strict=True):
        layer, words = net.layers[stage - 1], unit["words"]
        source = [y for y in [image[..., None], *outputs[: stage - 1]] if y.ndim == 3][-1]
        x, w = np.array(unit["x"]), np.array(unit["w"])
        value = outputs[stage - 1][(row, column, map_)[-outputs[stage - 1].ndim :]]
        assert unit["value"] == pytest.approx(value, abs=1e-4)
        if isinstance(layer, layers.Dense):
            window = np.moveaxis(source, 2, 0)
        elif hasattr(layer, "strides"):
            stride = layer.strides[0]
            widths = arithmetic.padding_widths(len(source), len(x[0]), stride, layer.padding, 1)
            padded = np.pad(source, (widths, widths, (0, 0)))[row * stride :, column * stride :]
            window = np.moveaxis(padded[: len(x[0]), : len(x[0])], 2, 0)
            window = window if isinstance(layer, layers.Conv2D) else window[[map_]]
        else:
            window = source[row, column, map_]
        np.testing.assert_allclose(x, np.broadcast_to(window, x.shape), atol=1e-5)
        said = [number(each) for each in re.findall(r"−?\d+(?:\.\d+)?(?:e-\d+)?", words)]
        if isinstance(layer, layers.Dense | layers.Conv2D):
            kernel, bias = layer.get_weights()
            kernel = np.moveaxis(kernel[..., map_].reshape(*x.shape[1:], len(x)), 2, 0)
            np.testing.assert_array_equal(w, kernel)
            np.testing.assert_allclose(unit["sums"], (x * w).sum(axis=(1, 2)), atol=1e-5)
            relu = layer.activation.__name__ == "relu"
            assert f"the {x.size} products" in words and ("ReLU" in words) == relu
            total = number(re.search(r" it is (−?[\d.e-]*\d)", words)[1])
            assert total == pytest.approx((x * w).sum() + bias[map_], abs=1e-3, rel=1e-3)
        elif isinstance(layer, layers.ReLU):
            assert ("stays" in words) == (value > 0) == ("becomes 0" not in words)
        else:
            assert said[-1] == pytest.approx(value, abs=1e-3, rel=1e-3)
        if isinstance(layer, layers.BatchNormalization):
            given_, mean, variance, epsilon, gamma, beta, result = said
            ours = (given_ - mean) / np.sqrt(variance + epsilon) * gamma + beta
            assert ours == pytest.approx(result, abs=2e-2, rel=1e-2)


def test_a_chosen_unit_is_shown_in_pictures_and_in_words(open_page):
    net = network("default")
    with open_page() as tab:
        outputs = inner(net, seen(tab).astype("float32"))
        title, words = choose(tab, 3, 5, 6, 9, 14)
        assert title == "Convolution 2, map 6, row 7, column 10"
        # Frames lie about what it reads, in each map and in the image.
        assert tab.locator('[data-stage="2"] .dd-window').count() == 8
        edges = "({ style }) => [style.top, style.left, style.height].map(parseFloat)"
        frame = tab.locator('[data-stage="2"] .dd-window').first.evaluate(edges)
        np.testing.assert_allclose(frame, [100 * 5 / 14, 100 * 8 / 14, 100 * 3 / 14], atol=1e-3)
        field = tab.locator(".dd-image .dd-window").evaluate(edges)
        np.testing.assert_allclose(field, [100 * 9 / 28, 100 * 15 / 28, 100 * 8 / 28], atol=1e-3)
        pictures = tab.locator(".dd-unit svg")
        labels = pictures.evaluate_all("all => all.map((e) => e.ariaLabel)")
        assert len(labels) == 3 * 8 and labels[3].startswith("Window 2: ")
        window = np.array([[number(each) for each in row.split()]
                           for row in labels[3].split(": ")[1].split("; ")])  # fmt: skip
        np.testing.assert_allclose(window, outputs[1][5:8, 8:11, 1], atol=6e-4, rtol=6e-3)
        texts = pictures.nth(3).locator("text").all_text_contents()
        assert [number(each) for each in texts] == window.ravel().tolist()
        assert words.startswith("The sum of the 72 products is ")
        # The largest value of a pooled window is marked.
        title, words = choose(tab, 4, 2, 3, 3, 7)
        assert title.startswith("Max pooling 2, map 3") and words.startswith("The largest value")
        assert tab.locator(".dd-unit .dd-chosen").count() == 1
        assert tab.locator('[data-stage="3"] .dd-window').count() == 1
        title, _ = choose(tab, 6, 3)
        assert title == "Dense layer, digit 3"
        assert tab.locator('[data-stage="4"] .dd-window').count() == 16
        assert tab.locator(".dd-logit.dd-here").count() == 1
        sums = [number(each) for each in tab.locator(".dd-triple span").all_inner_texts()]
        kernel = net.layers[-1].get_weights()[0][:, 3].reshape(7, 7, 16)
        np.testing.assert_allclose(
            sums, (outputs[3] * kernel).sum(axis=(0, 1)), atol=0.006, rtol=6e-3
        )
        title, words = choose(tab, 7, 3)
        assert title == "Softmax, digit 3"
        assert words.endswith(f"it is {tab.locator('.dd-share').nth(3).inner_text()}.")


def test_every_map_of_every_layer_and_each_answer_is_that_of_keras(open_page):
    with open_page() as tab:
        for name, net in ((name, network(name)) for name in NAMES):
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
            told = tab.locator(".dd-logit span").all_inner_texts()
            np.testing.assert_allclose([*map(number, told)], found[-1], atol=6e-3, rtol=6e-3)
            label = tab.locator("label", has=tab.locator("input:checked")).locator("output")
            digit, percent = re.match(r"(\d), (?:[<>] )?([\d.]+).%", label.inner_text()).groups()
            shares = reference.softmax(found[-1].astype(float))
            assert int(digit) == shares.argmax()
            assert float(percent) == pytest.approx(100 * shares.max(), abs=0.11)


def test_units_are_reached_with_the_keyboard(open_page):
    with open_page() as tab:
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
        keys(tab, "ArrowRight", "ArrowRight")
        assert caption.inner_text() == "Convolution 2, map 4, row 6, column 1"
        keys(tab, *["PageDown"] * 20)
        assert caption.inner_text() == "Convolution 2, map 16, row 6, column 1"
        # Tab goes on to the next layer, and shows a unit of it; the bars are such a row as well.
        keys(tab, "Tab")
        assert caption.inner_text().startswith("Max pooling 2, map 1, row ")
        tab.locator(".dd-bars").focus()
        keys(tab, "Tab", "Shift+Tab", "ArrowDown")
        assert caption.inner_text() == "Softmax, digit 1"


def test_it_runs_in_the_book_by_http_and_as_a_file(chromium, start):
    with test_browser.Watch(chromium, reduced_motion="reduce") as watch:
        watch.open(f"{start}/chapters/draw-a-digit.html")
        tab = watch.tab
        press(tab, "Clear")
        stroke(tab, (0.5, 0.2), (0.5, 0.8))
        shares = expected_of(network("default"), seen(tab))
        np.testing.assert_allclose(probabilities(tab), shares, atol=2e-3)
        running = tab.evaluate("document.getAnimations().length")
        assert running == 0 and watch.complaints == []
