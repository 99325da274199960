"""Measures the speed of the parts that take time; ``make bench`` runs it.

It prints seconds, and as far as there is one what they are to be compared with. It asserts nothing:
seconds differ from machine to machine, and from hour to hour.
"""

import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from unittest import mock

import joblib
import nbformat
import numpy as np
import pandas as pd
from helpers import python, take
from playwright.sync_api import sync_playwright

os.environ.pop("MNIST_CLAIM", None)

from utils import data
from utils.commands import book, check
from utils.data import source
from utils.evidence import claims, records
from utils.evidence.stored import Page
from utils.evidence.table import columns_of, table
from utils.experiments import Experiment, fitting, models
from utils.experiments.backends import local
from utils.experiments.quiet_keras import keras, tf
from utils.paths import CHAPTERS, ROOT
from utils.theory import arithmetic, reference

layers = keras.layers

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
    """Build and compile a network that trains in a moment."""
    return models.classifier(layers.Conv2D(8, 3, strides=2, activation="relu"), layers.Flatten())


def write_records(path, runs, epochs, metrics):
    """Write records like those of runs, each an arm, a seed and a fingerprint."""
    sizes = {"train_size": 60_000, "test_size": 10_000, "parameters": 13_610}
    more = {"measures": {}, "seconds": 1.0, "epochs": [metrics] * epochs, "experiment": path.stem}
    made = ({"arm": arm, "seed": seed, "fingerprint": told} for arm, seed, told in runs)
    lines = (json.dumps(run | sizes | more) + "\n" for run in made)
    path.write_text("".join(lines), encoding="utf-8")


def measure_imports():
    """Measure the start of each room in a process of its own; `run` brings TensorFlow along."""
    code = "import sys, time; start = time.perf_counter(); __import__(sys.argv[1]); "
    code += "print(time.perf_counter() - start)"

    def start(name):
        return median(float(python(code, name)) for _ in range(REPEATS))

    whole = start("utils.experiments.run")
    for path in sorted((ROOT / "utils").glob("*/__init__.py")):
        name = f"utils.{path.parent.name}"
        yield f"import {name}", start(name), whole, "utils.experiments.run"
    yield "import utils.experiments.run", whole, None, ""


ONEDNN = """
import time
from utils.experiments.quiet_keras import keras
import numpy as np

layers = keras.layers
keras.utils.set_random_seed(0)
net = keras.Sequential([keras.Input((28, 28, 1))])
for filters in (32, 64):
    net.add(layers.Conv2D(filters, 3, activation="relu"))
    net.add(layers.MaxPooling2D(2))
for layer in (layers.Flatten(), layers.Dropout(0.5), layers.Dense(10, activation="softmax")):
    net.add(layer)
net.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
rng = np.random.default_rng(0)
x, y = rng.random((40 * 128, 28, 28, 1), dtype="float32"), rng.integers(0, 10, 40 * 128)
net.fit(x[:512], y[:512], batch_size=128, verbose=0)
start = time.perf_counter()
net.fit(x, y, batch_size=128, verbose=0)
print(time.perf_counter() - start)
"""


def measure_onednn():
    """Compare training with oneDNN and without, also as if the processor had AVX2 at most."""
    for processor, limit in (("", {}), (", AVX2 at most", {"ONEDNN_MAX_CPU_ISA": "AVX2"})):
        taken = {"1": [], "0": []}
        for _ in range(REPEATS):
            for chosen, turns in taken.items():  # In turns: other work slows both.
                turns.append(float(python(ONEDNN, TF_ENABLE_ONEDNN_OPTS=chosen, **limit)))
        on, off = map(median, taken.values())
        yield f"keras.io's convnet, 40 batches{processor}", on, off, "without oneDNN"


# Runs in the course as it is, and as it was at the commit `BEFORE`, whose modules lay flat.
BEFORE = "45876bb"
THROUGHPUT = """
import json, sys, tempfile, time
from pathlib import Path
from unittest import mock

from utils import data

try:
    from utils.evidence import records as holder
    from utils.experiments import Experiment
    from utils.experiments.quiet_keras import keras

    def run(name, build, seeds, **fit):
        Experiment(name, arms={"one": build}, seeds=seeds, **fit).run("full")
except ImportError:
    import keras
    from utils import experiment as holder

    def run(name, build, seeds, **fit):
        fit = holder.Fit(**fit)
        holder.run(holder.Experiment(name, (), {"one": build}, seeds=seeds, fit=fit), "full")

layers = keras.layers

def net(*hidden):
    made = keras.Sequential([keras.Input((28, 28, 1)), *hidden, layers.Dense(10, "softmax")])
    made.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made

def block(filters, count=1, *more):
    convolutions = [
        layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(count)
    ]
    return *convolutions, *more, layers.MaxPooling2D(2)

norm, flatten = layers.BatchNormalization, layers.Flatten
nets = {
    "dense": lambda: net(flatten(), layers.Dense(128, "relu")),
    "two convolutions": lambda: net(*block(16), *block(32), flatten()),
    "batch-norm": lambda: net(*block(16, 1, norm()), *block(32, 1, norm()), flatten()),
    "two pairs": lambda: net(*block(32, 2), *block(64, 2), flatten()),
}
quick, rates = data.load_mnist("quick"), {}
images = len(quick.split(0).x_train)
with (
    tempfile.TemporaryDirectory() as folder,
    mock.patch.object(data, "load_mnist", lambda scale=None: quick),
    mock.patch.object(holder, "RESULTS", Path(folder)),
):
    run("warm-up", nets["dense"], 1, train_size=100)
    for number, (name, build) in enumerate(nets.items()):
        for batch in (32, 128):
            epochs = 2 if name == "two pairs" else 8
            start = time.perf_counter()
            run(f"net-{number}-{batch}", build, 2, epochs=epochs, batch_size=batch)
            taken = time.perf_counter() - start
            rates[f"{name}, batches of {batch}"] = 2 * epochs * images / taken
print(json.dumps(rates))
"""


def measure_throughput():
    """Compare images a second at full scale with what an earlier course did, in turns."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", BEFORE], cwd=ROOT, capture_output=True
    )
    if archive.returncode:
        print(f"No commit {BEFORE} here: its images a second are left out.", file=sys.stderr)
        return
    one = dict.fromkeys(
        ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
    )
    one |= {"TF_ENABLE_ONEDNN_OPTS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        turns = {folder: [], str(ROOT): []}
        for _ in range(2):
            for place, rates in turns.items():
                said = python(THROUGHPUT, cwd=place, PYTHONPATH=place, **one)
                rates.append(json.loads(said.splitlines()[-1]))
    before, now = (pd.DataFrame(rates).mean() for rates in turns.values())
    for name, rate in now.items():
        yield f"images a second, {name}", rate, before[name], f"at {BEFORE}"
    mean = np.exp(np.log(now).mean()), np.exp(np.log(before).mean())
    yield "    geometric mean of these", *mean, f"at {BEFORE}"


def measure_chapters(updates=48, side=2_000):
    """Measure which share of a matrix product's rate the costliest network of a chapter reaches."""
    matrix = np.random.default_rng(0).random((side, side), dtype="float32")
    np.matmul(matrix, matrix)
    quick = data.load_mnist("quick")
    for path in book.notebooks():
        cost = {}
        for name, wanted in Page.read(path).requirements.items():
            for record in wanted.file.read()[0]:
                arm = name, record.get("arm")
                cost[arm] = cost.get(arm, 0) + record.get("seconds", 0)
        if not cost:
            continue
        name, arm_name = max(cost, key=cost.get)
        with contextlib.redirect_stdout(io.StringIO()):
            experiment = take(path, name)
        arm, fit = experiment.arms_at("full")[arm_name], experiment.fit_at("full", arm_name)
        split = quick.split(0)
        if arm.prepare is not None:
            split = arm.prepare(split, np.random.default_rng(0))
        targets = (arm.targets or (lambda labels: labels))(split.y_train)
        wanted = min(updates * fit.batch_size, len(split.x_train))
        keras.utils.clear_session()
        net = arm.build()
        net.jit_compile, net.steps_per_execution = False, 16

        def train(net=net, split=split, targets=targets, wanted=wanted, fit=fit):
            images = split.x_train[:wanted], targets[:wanted]
            net.fit(*images, batch_size=fit.batch_size, verbose=0)

        train()
        taken, _ = seconds(train)
        product, _ = seconds(lambda: np.matmul(matrix, matrix))
        rate = 6 * arithmetic.multiply_adds(net) * wanted / taken
        peak = 2 * side**3 / product
        yield f"{path.stem}, {arm_name}, GFLOP/s", rate / 1e9, peak / 1e9, "a large matrix product"


def measure_loading():
    """Measure the first call, at full scale only where there is a file; a second costs nothing."""
    scales = ["quick"]
    if os.environ.get("MNIST_PATH") or source.keras_cache().is_file():
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
    arms, seeds = {"one": tiny_net, "two": tiny_net}, 2
    tiny = Experiment("bench", arms=arms, seeds=seeds, batch_size=64, train_size=1_000)
    splits = [data.load_mnist("quick").split(seed, 1_000) for seed in range(seeds)]

    def plain():
        for seed, split in enumerate(splits):
            for build in arms.values():
                keras.utils.clear_session()
                keras.utils.set_random_seed(seed)
                net = build()
                net.jit_compile = False
                tested = {"validation_data": (split.x_test, split.y_test)}
                tested["validation_batch_size"] = 1_000
                net.fit(split.x_train, split.y_train, batch_size=64, verbose=0, **tested)

    tf.config.experimental.enable_op_determinism()
    plain()  # The first fit of a process pays for what TensorFlow sets up.
    # In turns, so that other work on the machine slows both; and both in this process.
    with joblib.parallel_config(n_jobs=1):
        pairs = [
            (seconds(plain, 1)[0], seconds(lambda: tiny.run("quick"), 1)[0]) for _ in range(REPEATS)
        ]
    by_keras, by_run = (median(taken) for taken in zip(*pairs, strict=True))
    added = median(second - first for first, second in pairs) / (len(arms) * seeds)
    yield "run(), 4 runs of 1 epoch on 1,000 images", by_run, by_keras, "Keras's fit alone"
    yield "    what run() adds to one run", added, None, ""


def train_in_time(arm, fit, seed, metric=None):
    """Train an arm; return its seconds with tracing and without, accuracy, and operations.

    The clock runs from images in memory as uint8, by way of building, to the last update.
    """
    split = data.load_mnist("full").split(seed, fit.train_size)
    pixels = np.uint8(np.round(255 * split.x_train))
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    net = arm.build()
    net.jit_compile, net.steps_per_execution = False, 16
    images = np.float32(pixels) / 255
    batches = fitting.Deal((images, arm.targets(split.y_train)), fit).batches
    for epoch in range(fit.epochs):
        net.fit(batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0)
    taken = time.perf_counter() - start
    answers = net.predict(split.x_test, batch_size=1_000, verbose=0).argmax(axis=-1)
    right = metric(net, split) if metric else np.mean(answers == split.y_test)
    start = time.perf_counter()
    net.fit(batches, shuffle=False, verbose=0)
    again = fit.epochs * (time.perf_counter() - start)
    return taken, again, right, 6 * arithmetic.multiply_adds(net) * len(images) * fit.epochs


def layers_in_time(arm, fit, repeats=200):
    """Return the milliseconds of an update that each layer adds, forward and backward."""
    images = tf.constant(data.load_mnist("full").split(0, fit.batch_size).x_train)
    net, added, before = arm.build(), {}, 0.0
    for last, layer in enumerate(net.layers, 1):
        part = type(net)([keras.Input(net.input_shape[1:]), *net.layers[:last]])

        def update(left, _, part=part):
            with tf.GradientTape() as tape:
                # Each update waits for the one before it.
                loss = tf.nn.l2_loss(part.outputs(images + 0 * left))
            weights = part.trainable_variables
            slopes = tape.gradient(loss, weights) if weights else []
            return tf.add_n([loss, *(tf.reduce_sum(slope) for slope in slopes)])

        def updates(update=update):
            return tf.data.Dataset.range(repeats).reduce(0.0, update)

        run = tf.function(updates, autograph=False)
        taken = []
        for _ in range(4):  # The first traces.
            start = time.perf_counter()
            run()
            taken.append(1_000 * (time.perf_counter() - start) / repeats)
        added[layer.name] = min(taken) - before
        before = min(taken)
    return added


def train_in_torch(seed):
    """Train the published recipe in PyTorch; return its seconds and test accuracy, None without."""
    try:
        import torch
    except ImportError:
        return None
    nn = torch.nn
    split = data.load_mnist("full").split(seed)
    pixels, labels = np.uint8(np.round(255 * split.x_train)), torch.tensor(split.y_train).long()
    torch.manual_seed(seed)
    start = time.perf_counter()
    net = nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
    ).to(memory_format=torch.channels_last)

    def read(images):
        return torch.tensor(images).permute(0, 3, 1, 2).to(memory_format=torch.channels_last)

    images = read(np.float32(pixels) / 255)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.7, 0.9))
    order = torch.randperm(len(images)).split(256)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.01, total_steps=len(order), cycle_momentum=False
    )
    for batch in order:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()
        cycle.step()
    taken = time.perf_counter() - start
    with torch.no_grad():
        answers = net(read(split.x_test)).argmax(1).numpy()
    return taken, np.mean(answers == split.y_test)


def measure_seconds(seeds=3, side=2_000, target=0.99):
    """Run the shortest training of the chapter "99 % in seconds" and its rivals, in turns."""
    if not (os.environ.get("MNIST_PATH") or source.keras_cache().is_file()):
        print("99 % in seconds needs full MNIST; it is left out.", file=sys.stderr)
        return
    path = CHAPTERS / "seconds.ipynb"
    names = "seconds-fastest", "seconds-recipe", "seconds-reference"
    with contextlib.redirect_stdout(io.StringIO()):
        fastest, recipe, example = (take(path, name) for name in names)
    wanted = Page.read(path).requirements[example.name]
    recorded = table(list(wanted.counting(wanted.file.read()[0]).values()), example.name, "full")
    by_epoch = recorded.groupby("epoch")["test_accuracy"].mean()
    epochs = int(by_epoch.index[by_epoch >= target][0])
    entrants = {
        name: (arm, each.fit_at("full", name), each.threads)
        for each in (fastest, recipe, example)
        for name, arm in each.arms_at("full").items()
    }
    (slow,) = example.arms_at("full")
    arm, fit, threads = entrants.pop(slow)
    entrants[f"{slow}, {epochs} epochs"] = arm, replace(fit, epochs=epochs), threads
    mnist, matrix = data.load_mnist("full"), np.random.default_rng(0).random((side, side), "f4")

    def elsewhere(function, *arguments, threads):
        """Call it in a process of its own, with the threads that its arm is recorded with."""
        (found,) = local.train(1, function, [("a run", arguments)], mnist, threads)
        return found

    turns = []
    for seed in range(seeds):
        for name, (arm, fit, threads) in entrants.items():
            product, _ = seconds(lambda: np.matmul(matrix, matrix))
            metric = fastest.metrics["shifted_accuracy"] if name == "ours" else None
            taken, again, right, done = elsewhere(
                train_in_time, arm, fit, seed, metric, threads=threads
            )
            turns.append((name, taken, right, done / taken, done / again, 2 * side**3 / product))
        if by_torch := train_in_torch(seed):
            turns.append(("published recipe, PyTorch", *by_torch, *[np.nan] * 3))
    columns = ["name", "seconds", "accuracy", "rate", "untraced", "peak"]
    means = pd.DataFrame(turns, columns=columns).groupby("name", sort=False).mean()
    for name, mean in means.iterrows():
        yield f"99 % in seconds: {name}", mean["seconds"], means.loc["ours", "seconds"], "ours"
        yield "    mean test accuracy, %", 100 * mean["accuracy"], 100 * target, "the goal"
        if name in entrants:
            peak = mean["peak"] / 1e9, "a large matrix product"
            yield "    GFLOP/s", mean["rate"] / 1e9, *peak
            yield "    the same without tracing", mean["untraced"] / 1e9, *peak
    arm, fit, threads = entrants["ours"]
    parts = elsewhere(layers_in_time, arm, fit, threads=threads)
    for layer, taken in parts.items():
        yield f"    ours, ms of an update: {layer}", taken, sum(parts.values()), "all layers"


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
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(records, "RESULTS", Path(folder)),
    ):
        yield


def measure_recording():
    """Measure what a sweep takes beyond training, records included."""
    sweep = Experiment("bench", arms={"one": tiny_net}, seeds=6, batch_size=64, train_size=1_000)
    quick = data.load_mnist("quick")
    # What is measured does not depend on which images these are.
    with mock.patch.object(data, "load_mnist", lambda scale=None: quick), results_elsewhere():
        whole, _ = seconds(lambda: sweep.run("full"), 1)
        again, _ = seconds(lambda: sweep.run("full"))
        recorded = sweep.requirements().file.read()[0]
    training = sum(record["seconds"] for record in recorded)
    yield "run(), 6 recorded runs", whole, training, "training alone"
    yield "    beyond training, a run", (whole - training) / len(recorded), None, ""
    yield "    the same when all are recorded", again, None, ""


WORKERS = """
import sys, time
import joblib
from bench import Experiment, tiny_net

def sweep(seeds, **settings):
    return Experiment("bench", arms={"one": tiny_net}, seeds=seeds, **settings)

workers = int(sys.argv[1])
with joblib.parallel_config(n_jobs=workers):
    # The first runs pay for the start of the workers.
    sweep(2 * workers, train_size=100).run("quick")
    start = time.perf_counter()
    sweep(6, epochs=4, batch_size=16, train_size=4_000).run("quick")
    print(time.perf_counter() - start)
"""


def measure_workers():
    """Compare two worker processes with one, each with one thread."""
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    environment = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    environment |= dict.fromkeys(threads, "1")
    one, two = (float(python(WORKERS, workers, **environment)) for workers in (1, 2))
    yield "6 runs in two workers, a thread each", two, one, "one worker"


def measure_resuming(number=10_000, arms=4, epochs=10):
    """Measure what it takes to find out which of many recorded runs count."""
    nets = {f"arm {arm}": tiny_net for arm in range(arms)}
    many = Experiment("bench", arms=nets, seeds=number // arms, epochs=epochs)
    wanted = many.requirements()
    metrics = {"accuracy": 0.9, "loss": 0.1, "test_accuracy": 0.9, "test_loss": 0.1, "seconds": 1.0}
    with results_elsewhere():
        without, _ = seconds(lambda: many.recorded().complete)
        runs = ((arm, seed, wanted.fingerprints[arm]) for arm, seed in wanted.runs.values())
        write_records(wanted.file.path, runs, epochs, metrics)
        reading, complete = seconds(lambda: many.recorded().complete)
        if not complete:
            raise SystemExit("not all synthetic records count")
        resuming, _ = seconds(lambda: many.run("full"))
        file, new = wanted.file, iter(range(10 * REPEATS))

        def append():
            # An arm that is not in the experiment: nothing here is recorded already.
            parts = wanted.fingerprints["arm 0"]
            file.append({"arm": "new", "seed": next(new), "fingerprint": parts})

        first, _ = seconds(append, 1)
        further, _ = seconds(append, 5 * REPEATS)
    yield f"recorded(), {number:,} records, {arms} arms", reading, without, "no records"
    yield f"run(), all of {number:,} recorded", resuming, without, "recorded(), no records"
    yield f"    one more record after {number:,}", first, None, ""
    yield "    each further one", further, first, "the first one"


def write_ledger(folder, number=10_000, epochs=8):
    """Write records for every comparison of the ledger, and a notebook that waits for them."""
    metrics, arms = {}, {}
    for claim in claims.load_ledger().values():
        for part in claim.comparisons:
            arms.setdefault(part.experiment, {}).update(dict.fromkeys(part.arms))
            columns = metrics.setdefault(part.experiment, {"test_accuracy", "seconds"})
            columns.update(columns_of(part.metric))
    seeds = range(number // sum(map(len, arms.values())))
    outputs, rng = [], np.random.default_rng(0)
    for name, its_arms in arms.items():
        prints = {arm: {"model": arm} for arm in its_arms}
        told = {"experiment": name, "seeds": list(seeds), "fingerprints": prints}
        shown = {"data": {"text/plain": ""}, "metadata": {"recorded": told}}
        outputs.append(nbformat.v4.new_output("display_data", **shown))
        runs = ((arm, seed, prints[arm]) for seed in seeds for arm in its_arms)
        values = dict.fromkeys(metrics[name], rng.random())
        write_records(folder / f"{name}.jsonl", runs, epochs, values)
    cell = nbformat.v4.new_code_cell("", outputs=outputs)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "all.ipynb")


LEDGER = """
import sys, time
from pathlib import Path
from utils.evidence import ledger

def peak():
    # Linux counts in the usage of a process that of its parent, from before it was started.
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        (line,) = [text for text in lines if text.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

folder, before = Path(sys.argv[1]), peak()
start = time.perf_counter()
listed = ledger.entries(folder, folder)
sections = dict.fromkeys(entry.claim.section for entry in listed)
page = "".join(ledger.section_html(listed, section, set()) for section in sections)
page += ledger.controls_html(listed)
shown = time.perf_counter()
ledger.download_html(ledger.runs_frame(folder, folder), "runs.csv.gz", "all")
saved = time.perf_counter()
print(shown - start, saved - shown, before, peak())
"""


def measure_ledger(number=10_000):
    """Measure the time and the memory of the ledger's page, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_ledger(Path(folder), number)
        shown, saved, before, after = map(float, python(LEDGER, folder).split())
    yield f"the ledger's page, {number:,} records", shown, None, ""
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
        command = [sys.executable, "-m", "utils.commands.book", "--output", folder]
        taken, done = seconds(
            lambda: subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8"), 1
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
    for name, measure in [*globals().items()]:
        if name.startswith("measure_"):
            print(f"{name.replace('_', ' ')} ...", file=sys.stderr, flush=True)
            rows += measure()
    table = pd.DataFrame(rows, columns=["what", "value", "against", "against what"])
    table["ratio"] = table["value"] / table["against"]
    table = table[["what", "value", "against what", "against", "ratio"]]
    table["what"] = table["what"].str.ljust(table["what"].str.len().max())
    print(
        f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Keras {keras.__version__} on TensorFlow {tf.__version__}; in seconds, or as it says"
    )
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > os.cpu_count() + 1:
        print("The machine is busy with other work as well: these seconds are too many.")
    print("\n" + table.to_string(index=False, na_rep="", float_format="{:.4g}".format))


if __name__ == "__main__":
    main()
