"""Measures the speed of the parts that take time; ``make bench`` runs it.

It prints seconds, and as far as there is one what they are to be compared with. It asserts nothing:
seconds differ from machine to machine, and from hour to hour.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.pop("MNIST_CLAIM", None)

from utils.quiet import quiet_native_stderr

with quiet_native_stderr():
    import keras
    import tensorflow as tf
from keras import layers

from utils import arithmetic, book, data, experiment, reference
from utils.experiment import Experiment, Fit, recorded, run

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
    # In turns, so that other work on the machine slows both.
    pairs = [
        (seconds(plain, 1)[0], seconds(lambda: run(tiny, "quick"), 1)[0]) for _ in range(REPEATS)
    ]
    by_keras, by_run = (median(taken) for taken in zip(*pairs, strict=True))
    added = median(second - first for first, second in pairs) / (len(arms) * seeds)
    yield "run(), 4 runs of 1 epoch on 1,000 images", by_run, by_keras, "Keras's fit alone"
    yield "    what run() adds to one run", added, None, ""


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
    given = {"train_size": 60_000, "test_size": 10_000, "parameters": 13_610, "measures": {}}
    known = experiment.RESULTS
    with tempfile.TemporaryDirectory() as folder:
        try:
            experiment.RESULTS = Path(folder)
            lines = (
                {
                    "experiment": many.name,
                    "arm": arm,
                    "seed": seed,
                    "fingerprint": prints[arm],
                    "epochs": [metrics] * epochs,
                    **given,
                }
                for seed in many.seeds_at("full")
                for arm in prints
            )
            without, _ = seconds(lambda: recorded(many))
            path = many.record_file.path
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            reading, found = seconds(lambda: recorded(many))
            if not found.complete:
                raise SystemExit(
                    f"{len(found.missing)} of {records} synthetic records do not count"
                )
            # An arm that is not in the experiment: nothing here is recorded already.
            new = iter(range(REPEATS))
            appending, _ = seconds(
                lambda: many.record_file.append(
                    {"arm": "new", "seed": next(new), "fingerprint": prints["arm 0"]}
                )
            )
        finally:
            experiment.RESULTS = known
    yield f"recorded(), {records:,} records, {arms} arms", reading, without, "no records"
    yield f"    one more record after {records:,}", appending, None, ""


def measure_book():
    """Measure a whole build from the committed outputs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "utils.book", "--output", folder]
        taken, done = seconds(
            lambda: subprocess.run(command, cwd=book.ROOT, capture_output=True, text=True), 1
        )
    if done.returncode:
        print(f"The book is not built:\n{done.stderr[-2_000:]}", file=sys.stderr)
        yield "make book: failed", taken, None, ""
    else:
        pages = len(book.pages())
        yield f"make book, {pages} pages", taken, taken / pages, "a page"


def main():
    """Print one table."""
    rows = []
    for measure in (
        measure_loading,
        measure_run,
        measure_reference,
        measure_arithmetic,
        measure_resuming,
        measure_book,
    ):
        print(f"{measure.__name__.replace('_', ' ')} ...", file=sys.stderr, flush=True)
        rows += measure()
    table = pd.DataFrame(rows, columns=["what", "seconds", "against, s", "against what"])
    table["ratio"] = table["seconds"] / table["against, s"]
    table = table[["what", "seconds", "against what", "against, s", "ratio"]]
    width = table["what"].str.len().max()
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Keras {keras.__version__} on TensorFlow {tf.__version__}"
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
                "seconds": "{:.4g}".format,
                "against, s": lambda value: "" if np.isnan(value) else f"{value:.4g}",
                "ratio": lambda value: "" if np.isnan(value) else f"{value:.3g}",
            },
        )
    )


if __name__ == "__main__":
    main()
