"""Measures the speed of the parts that take time; ``make bench`` runs it.

It prints seconds, and as far as there is one what they are to be compared with. It asserts nothing:
seconds differ from machine to machine, and from hour to hour.
"""

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import joblib
import nbformat
import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.pop("MNIST_CLAIM", None)

from utils.experiments.quiet_keras import quiet_native_stderr

with quiet_native_stderr():
    import keras
    import tensorflow as tf
from keras import layers
from playwright.sync_api import sync_playwright

from utils import data
from utils.commands import book
from utils.commands import check
from utils.commands import definitions
from utils.evidence import claims
from utils.experiments import run as experiment
from utils.theory import arithmetic
from utils.theory import reference
from utils.experiments.run import Experiment, Fit, recorded, run

REPEATS = 3


def seconds(function, repeats=REPEATS):
    """Return the median seconds of several calls, and what the last one returned."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        taken.append(time.perf_counter() - start)
    return median(taken), result


def tiny_net():
    net = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile("adam", loss, metrics=["accuracy"])
    return net


def measure_loading():
    """Measure the first call, at full scale only where there is a file; a second costs nothing."""
    scales = ["quick"]
    if os.environ.get("MNIST_PATH") or data._keras_cache().is_file():
        scales.append("full")
    else:
        print("Full MNIST is not on this machine; it is left out.", file=sys.stderr)
    quick = None
    for scale in scales:
        first, _ = seconds(lambda scale=scale: data.load_mnist(scale), 1)
        yield f"load_mnist({scale!r})", first, quick, "quick scale" if quick else ""
        quick = quick or first


def measure_run():
    """Compare run() with a plain loop over Keras's fit: the same nets, images and epochs."""
    fit = Fit(epochs=1, batch_size=64, train_size=1_000)
    arms, seeds = {"one": tiny_net, "two": tiny_net}, 2
    tiny = Experiment("bench", claims="none", arms=arms, seeds=seeds, fit=fit)
    splits = [data.load_mnist("quick").split(seed, fit.train_size) for seed in range(seeds)]

    def plain():
        for seed, split in enumerate(splits):
            for build in arms.values():
                keras.utils.clear_session()
                keras.utils.set_random_seed(seed)
                net = build()
                net.jit_compile = False
                net.fit(
                    split.x_train,
                    split.y_train,
                    epochs=fit.epochs,
                    batch_size=fit.batch_size,
                    validation_data=(split.x_test, split.y_test),
                    validation_batch_size=1_000,
                    verbose=0,
                )

    tf.config.experimental.enable_op_determinism()
    plain()  # The first fit of a process pays for what TensorFlow sets up.
    # In turns, so that other work on the machine slows both; and both in this process.
    with joblib.parallel_config(n_jobs=1):
        pairs = [
            (seconds(plain, 1)[0], seconds(lambda: run(tiny, "quick"), 1)[0])
            for _ in range(REPEATS)
        ]
    by_keras, by_run = (median(taken) for taken in zip(*pairs, strict=True))
    added = median(second - first for first, second in pairs) / (len(arms) * seeds)
    yield "run(), 4 runs of 1 epoch on 1,000 images", by_run, by_keras, "Keras's fit alone"
    yield "    what run() adds to one run", added, None, ""


def train_in_time(arm, fit, seed):
    """Train an arm; return the seconds of training, tracing included, and the test accuracy."""
    split = data.load_mnist("full").split(seed, fit.train_size)
    targets = arm.targets(split.y_train)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    net = arm.build()
    net.jit_compile = False
    net.fit(split.x_train, targets, epochs=fit.epochs, batch_size=fit.batch_size, verbose=0)
    taken = time.perf_counter() - start
    answers = net.predict(split.x_test, batch_size=1_000, verbose=0).argmax(axis=-1)
    done = 6 * arithmetic.multiply_adds(net) * len(split.x_train) * fit.epochs
    return taken, np.mean(answers == split.y_test), done / taken


def measure_seconds(seeds=3, side=2_000, target=0.99):
    """Run the recipe of the chapter "99 % in seconds" beside the example of Keras, in turns."""
    if not (os.environ.get("MNIST_PATH") or data._keras_cache().is_file()):
        print("99 % in seconds needs full MNIST; it is left out.", file=sys.stderr)
        return
    found = definitions.recorded_in(book.ROOT / "chapters" / "seconds.ipynb")
    example, recipe = found["seconds-reference"], found["seconds"]
    by_epoch = example.frame.groupby("epoch")["test_accuracy"].mean()
    epochs = int(by_epoch.index[by_epoch >= target][0])
    (slow,) = example.experiment.arms_at("full").values()
    *_, fast = recipe.experiment.arms_at("full").values()
    slow_fit = replace(example.experiment.fit.at("full"), epochs=epochs)
    fast_fit = fast.fit.at("full")
    matrix = np.random.default_rng(0).random((side, side), dtype="float32")
    np.matmul(matrix, matrix)
    turns = []
    for seed in range(seeds):
        product, _ = seconds(lambda: np.matmul(matrix, matrix))
        turns.append(
            (
                *train_in_time(slow, slow_fit, seed),
                *train_in_time(fast, fast_fit, seed),
                2 * side**3 / product,
            )
        )
    slow_s, slow_hits, slow_rate, fast_s, fast_hits, fast_rate, peak = np.mean(turns, axis=0)
    yield f"keras.io's convnet, {epochs} epochs", slow_s, fast_s, "99 % in seconds"
    yield "    mean test accuracy, %", 100 * slow_hits, 100 * fast_hits, "99 % in seconds"
    yield "    GFLOP/s", slow_rate / 1e9, peak / 1e9, "a large matrix product"
    yield "99 % in seconds, GFLOP/s", fast_rate / 1e9, peak / 1e9, "a large matrix product"


def measure_reference():
    """Compare the convolution that is written to be read with Keras's."""
    rng = np.random.default_rng(0)
    images = rng.random((32, 28, 28, 16), dtype="float32")
    kernel = rng.random((3, 3, 16, 32), dtype="float32")

    def by_keras():
        return keras.ops.convert_to_numpy(keras.ops.conv(images, kernel, padding="same"))

    by_keras()
    in_keras, expected = seconds(by_keras, 10)
    by_hand, got = seconds(lambda: reference.conv2d(images, kernel, padding="same"))
    if not np.allclose(got, expected, rtol=1e-3):
        raise SystemExit("reference.conv2d and Keras differ: what they take cannot be compared")
    yield "reference.conv2d, 32×28×28×16, 32 3×3", by_hand, in_keras, "Keras"


def measure_arithmetic():
    """Measure the shapes, counts and receptive fields of a deep network."""
    building, vgg16 = seconds(
        lambda: keras.applications.VGG16(
            weights=None, include_top=False, input_shape=(224, 224, 3)
        ),
        1,
    )
    table, _ = seconds(lambda: arithmetic.layer_table(vgg16))
    fields, _ = seconds(lambda: arithmetic.receptive_fields(vgg16))
    yield "arithmetic.layer_table, VGG-16 (conv. part)", table, building, "building it"
    yield "arithmetic.receptive_fields, the same", fields, building, "building it"


@contextlib.contextmanager
def results_elsewhere():
    """Keep the records of the book out of what is measured."""
    known = experiment.RESULTS
    with tempfile.TemporaryDirectory() as folder:
        experiment.RESULTS = Path(folder)
        try:
            yield experiment.RESULTS
        finally:
            experiment.RESULTS = known


def measure_recording():
    """Measure what a sweep takes beyond training, records included."""
    fit = Fit(epochs=1, batch_size=64, train_size=1_000)
    sweep = Experiment("bench", claims="none", arms={"one": tiny_net}, seeds=6, fit=fit)
    quick = data.load_mnist("quick")
    load = data.load_mnist
    try:
        # What is measured does not depend on which images these are.
        data.load_mnist = lambda scale=None: quick
        with results_elsewhere():
            whole, frame = seconds(lambda: run(sweep, "full"), 1)
            again, _ = seconds(lambda: run(sweep, "full"))
            records = sweep.record_file.read()[0]
    finally:
        data.load_mnist = load
    training = sum(record["seconds"] for record in records)
    yield "run(), 6 recorded runs", whole, training, "training alone"
    yield "    beyond training, a run", (whole - training) / len(records), None, ""
    yield "    the same when all are recorded", again, None, ""


WORKERS = """
import os, sys, time
import joblib
from tests.bench import Experiment, Fit, run, tiny_net
fit = Fit(epochs=4, batch_size=16, train_size=4_000)
work = Experiment("bench", claims="none", arms={"one": tiny_net}, seeds=6, fit=fit)
workers = int(sys.argv[1])
with joblib.parallel_config(n_jobs=workers):
    # The first runs pay for the start of the workers.
    run(Experiment("bench", "none", {"one": tiny_net}, 2 * workers, Fit(train_size=100)), "quick")
    start = time.perf_counter()
    run(work, "quick")
    print(time.perf_counter() - start)
"""


def measure_workers():
    """Compare two worker processes with one, each with one thread."""
    environment = {
        "PYTHONPATH": str(book.ROOT),
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }

    def sweep(workers):
        done = subprocess.run(
            [sys.executable, "-c", WORKERS, str(workers)],
            env={**os.environ, **environment},
            cwd=book.ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    one, two = sweep(1), sweep(2)
    yield "6 runs in two workers, a thread each", two, one, "one worker"


def synthetic_record(name, arm, seed, fingerprint, epochs, metrics):
    """Make a record that `recorded` takes for a run's."""
    return {
        "experiment": name,
        "arm": arm,
        "seed": seed,
        "fingerprint": fingerprint,
        "epochs": [metrics] * epochs,
        "train_size": 60_000,
        "test_size": 10_000,
        "parameters": 13_610,
        "measures": {},
        "seconds": 1.0,
    }


def write_records(path, records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")


def measure_resuming(records=10_000, arms=4, epochs=10):
    """Measure what it takes to find out which of many recorded runs count."""
    many = Experiment(
        "bench",
        claims="none",
        arms={f"arm {number}": tiny_net for number in range(arms)},
        seeds=records // arms,
        fit=Fit(epochs=epochs),
    )
    prints = many.fingerprints("full")
    metrics = {"accuracy": 0.9, "loss": 0.1, "test_accuracy": 0.9, "test_loss": 0.1, "seconds": 1.0}
    with results_elsewhere():
        without, _ = seconds(lambda: recorded(many))
        made = (
            synthetic_record(many.name, arm, seed, prints[arm], epochs, metrics)
            for seed in many.seeds_at("full")
            for arm in prints
        )
        write_records(many.record_file.path, made)
        reading, found = seconds(lambda: recorded(many))
        if not found.complete:
            raise SystemExit(f"{len(found.missing)} of {records} synthetic records do not count")
        resuming, _ = seconds(lambda: run(many, "full"))
        file, new = many.record_file, iter(range(10 * REPEATS))

        def append():
            # An arm that is not in the experiment: nothing here is recorded already.
            file.append({"arm": "new", "seed": next(new), "fingerprint": prints["arm 0"]})

        first, _ = seconds(append, 1)
        further, _ = seconds(append, 5 * REPEATS)
    yield f"recorded(), {records:,} records, {arms} arms", reading, without, "no records"
    yield f"run(), all of {records:,} recorded", resuming, without, "recorded(), no records"
    yield f"    one more record after {records:,}", first, None, ""
    yield "    each further one", further, first, "the first one"


def write_ledger(folder, records=10_000, epochs=8):
    """Write records for every comparison of the ledger, and a notebook that waits for them."""
    metrics, arms = {}, {}
    for claim in claims.load_ledger().values():
        for each in claim.comparisons:
            arms.setdefault(each.experiment, {}).update(dict.fromkeys(each.arms))
            names = set(re.findall(r"[A-Za-z_]\w*", each.metric)) - {"not", "and", "or"}
            metrics.setdefault(each.experiment, {"test_accuracy", "seconds"}).update(names)
    seeds = range(records // sum(map(len, arms.values())))
    wanted, rng = [], np.random.default_rng(0)
    for name, its_arms in arms.items():
        prints = {arm: {"model": arm} for arm in its_arms}
        wanted.append({"experiment": name, "seeds": list(seeds), "fingerprints": prints})
        made = (
            synthetic_record(
                name, arm, seed, prints[arm], epochs, dict.fromkeys(metrics[name], rng.random())
            )
            for seed in seeds
            for arm in its_arms
        )
        write_records(folder / f"{name}.jsonl", made)
    outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata={"recorded": each})
        for each in wanted
    ]
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "all.ipynb")


LEDGER = """
import resource, sys, time
from pathlib import Path
from utils.evidence import ledger

def peak():
    # Linux counts in the usage of a process that of its parent, from before it was started.
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [each for each in status.read_text().splitlines() if each.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

folder, before = Path(sys.argv[1]), peak()
start = time.perf_counter()
found = ledger.entries(folder, folder)
sections = dict.fromkeys(entry.claim.section for entry in found)
page = "".join(ledger.section_html(found, section, set()) for section in sections)
page += ledger.controls_html(found)
shown = time.perf_counter()
ledger.download_html(ledger.runs_frame(folder, folder), "runs.csv.gz", "all")
saved = time.perf_counter()
print(shown - start, saved - shown, before, peak())
"""


def measure_ledger(records=10_000):
    """Measure the time and the memory of the ledger's page, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_ledger(Path(folder), records)
        done = subprocess.run(
            [sys.executable, "-c", LEDGER, folder],
            cwd=book.ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    shown, saved, before, after = map(float, done.stdout.split())
    yield f"the ledger's page, {records:,} records", shown, None, ""
    yield "    all its records as a download", saved, shown, "the page"
    yield "    peak memory of both, MiB", after, before, "the imports alone"


def milliseconds_to_draw(path):
    """Return the median milliseconds that the built page takes to follow a stroke, in Chromium."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=check.browser(), args=["--no-sandbox"] if root else []
        )
        tab = browser.new_page()
        tab.goto(path.as_uri())
        paper = tab.locator(".dd-paper")
        paper.scroll_into_view_if_needed()
        box = paper.bounding_box()
        taken = []
        for step in range(60):
            tab.mouse.move(box["x"] + 20 + 2 * step, box["y"] + 40)
            tab.mouse.down()
            tab.mouse.move(box["x"] + 25 + 2 * step, box["y"] + 60 + step, steps=8)
            tab.mouse.up()
            tab.wait_for_timeout(50)  # What is drawn is computed once in a frame.
            taken.append(tab.evaluate("document.querySelector('.draw').milliseconds"))
        browser.close()
    return median(taken[20:])  # The first ones are slow: nothing is compiled yet.


def measure_book():
    """Measure a whole build from the committed outputs, and what a stroke costs in its page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "utils.book", "--output", folder]
        taken, done = seconds(
            lambda: subprocess.run(command, cwd=book.ROOT, capture_output=True, text=True), 1
        )
        if done.returncode:
            print(f"The book is not built:\n{done.stderr[-2_000:]}", file=sys.stderr)
            yield "make book: failed", taken, None, ""
            return
        pages = len(book.pages())
        yield f"make book, {pages} pages", taken, taken / pages, "a page"
        if check.browser() is None:
            print("No Chromium or Chrome here: strokes are left out.", file=sys.stderr)
            return
        page = Path(folder) / "_build" / "html" / "chapters" / "draw-a-digit.html"
        drawn, smooth = milliseconds_to_draw(page) / 1_000, 1 / 60
        yield "draw a digit: all networks after a stroke", drawn, smooth, "a frame of 60 a second"


def main():
    """Print one table."""
    rows = []
    for measure in (
        measure_loading,
        measure_run,
        measure_recording,
        measure_workers,
        measure_seconds,
        measure_reference,
        measure_arithmetic,
        measure_resuming,
        measure_ledger,
        measure_book,
    ):
        print(f"{measure.__name__.replace('_', ' ')} ...", file=sys.stderr, flush=True)
        rows += measure()
    table = pd.DataFrame(rows, columns=["what", "value", "against", "against what"])
    table["ratio"] = table["value"] / table["against"]
    table = table[["what", "value", "against what", "against", "ratio"]]
    width = table["what"].str.len().max()
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Keras {keras.__version__} on TensorFlow {tf.__version__}; in seconds, or as it says"
    )
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > os.cpu_count() + 1:
        print("The machine is busy with other work as well: these seconds are too many.")
    print(
        "\n"
        + table.to_string(
            index=False,
            na_rep="",
            formatters={
                "what": f"{{:<{width}}}".format,
                "value": "{:.4g}".format,
                "against": lambda value: "" if np.isnan(value) else f"{value:.4g}",
                "ratio": lambda value: "" if np.isnan(value) else f"{value:.3g}",
            },
        )
    )


if __name__ == "__main__":
    main()
