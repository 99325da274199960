"""Train one run: an arm on a seed, in whatever process was chosen."""

import datetime
import functools
import gc
import math
import os
import platform
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from joblib.externals.loky import process_executor

from utils import data
from utils.checked import checked
from utils.evidence import artifacts
from utils.experiments import fitting, traced
from utils.experiments.quiet_keras import keras, tf
from utils.experiments.spec import Arm, Fit, RunError

# How a run is trained, here and by `MNIST.split` or `Dataset.split`, is in no fingerprint. Whoever
# changes it so that the same experiment gives other numbers raises this, and no older record
# counts; then `python tests/test_protocol.py` renews the small run that the tests train again.
PROTOCOL = 1

_TEST_BATCH = 1_000
# Updates from one return to Python to the next.
_STEPS = 16


@dataclass(frozen=True)
class Job:
    """One run to be trained.

    Parameters
    ----------
    arm : Arm
        What is trained.
    name : str
        Name of the arm.
    seed : int
        From 0 to 2³² - 1.
    fit : Fit
        Settings at one scale.
    scale : {"quick", "full"}
        The scale whose images it trains on.
    metrics, history_metrics, trace_metrics, artifacts : mapping of str to callable
        As for an experiment.
    build_hash : str, optional
        From `traced.hash_of`; if given, the run may train a model that an earlier one traced.
    data : utils.data.Dataset, optional
        Images to use instead of MNIST.
    """

    arm: Arm
    name: str
    seed: int
    fit: Fit
    scale: str
    metrics: Mapping[str, Callable] = field(default_factory=dict)
    history_metrics: Mapping[str, Callable] = field(default_factory=dict)
    trace_metrics: Mapping[str, Callable] = field(default_factory=dict)
    artifacts: Mapping[str, Callable] = field(default_factory=dict)
    build_hash: str | None = None
    data: "data.Dataset | None" = None

    def __str__(self) -> str:
        return f"arm {self.name!r}, seed {self.seed}"


def train(job: Job) -> dict:
    """Train one run.

    Parameters
    ----------
    job : Job
        The run.

    Returns
    -------
    dict
        Its record, without the experiment and the fingerprint.

    Raises
    ------
    RunError
        If anything in it raises, or a metric becomes NaN or infinite; the message names the arm and
        the seed.
    """
    try:
        return _train(job)
    except Exception as error:
        raise RunError(f"{job}: {type(error).__name__}: {error}") from error


def train_all(jobs: list[Job]) -> list[dict]:
    """Train several runs one after the other, and keep none of their models."""
    records = [train(job) for job in jobs]
    traced.forget()
    return records


def _train(job: Job) -> dict:
    _prepare_process()
    if job.data is None:
        split = data.load_mnist(job.scale).split(job.seed, job.fit.train_size)
    else:
        split = job.data.split(job.seed, job.fit.train_size, job.scale)
    if job.arm.prepare is not None:
        split = job.arm.prepare(split, np.random.default_rng(job.seed))
    split, held = fitting.hold_out(split, job.fit, job.seed)
    clear_session()
    keras.utils.set_random_seed(job.seed)
    with traced.watch_draws() as draws:
        built = build(job.arm)
    if job.data is not None:
        _check_input(built, split, job.data.name)
    built.jit_compile = False  # Compiling for XLA makes training on a CPU many times slower.
    fitting.set_schedule(built, job.fit, len(split.x_train))
    if job.scale == "full" and job.fit.trace_every is None and not job.history_metrics:
        # The same numbers in less time; where the seconds count, all runs must pay alike.
        built.steps_per_execution = _STEPS
    targets = job.arm.targets or (lambda labels: labels)
    train = split.x_train, targets(split.y_train)
    test = split.x_test, targets(split.y_test)
    kinds = [(array.shape, str(array.dtype)) for array in map(np.asarray, (*train, *test))]
    alike = job.build_hash, job.fit.batch_size, *kinds
    lease = traced.Lease(built, None if draws.own or job.build_hash is None else alike)
    model = lease.model
    trace = held and fitting.Trace(held, targets, job.fit.trace_every)
    start = time.perf_counter()
    epochs = _fit(model, train, test, job, trace)
    seconds = time.perf_counter() - start
    lease.trained()
    metrics = _metrics(model, split, epochs, trace, job)
    packed = {
        name: artifacts.pack(name, artifact(model, split))
        for name, artifact in job.artifacts.items()
    }
    classes = job.data.classes if job.data else 10
    correct = _correct(model, split, classes) if job.scale == "full" else None
    lease.give_back()
    return {
        "arm": job.name,
        "seed": job.seed,
        "train_size": len(split.x_train),
        "test_size": len(split.x_test),
        "parameters": model.count_params(),
        "epochs": epochs,
        # The files of records keep the names that they began with.
        "measures": metrics,
        "seconds": round(seconds, 3),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": _machine(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        **({"kept": packed} if packed else {}),
        **({"trace": trace.rows} if trace else {}),
        **({"correct": correct} if correct else {}),
        **({"data": {"name": job.data.name, "hash": job.data.hash}} if job.data else {}),
    }


def _check_input(model: keras.Model, split: data.Split, name: str) -> None:
    """Say in one line what Keras says in ten: a chapter's own networks take MNIST's images."""
    taken, given = model.input_shape[1:], split.x_train.shape[1:]
    if len(taken) != 3 or any(a not in (None, b) for a, b in zip(taken, given, strict=True)):
        raise ValueError(
            f"its model takes images of shape {taken}, and those of {name!r} have {given}; allowed "
            f"is keras.Input({given})"
        )
    classes, outputs = int(split.y_train.max()) + 1, model.output_shape
    if len(outputs) == 2 and 1 < outputs[1] < classes:
        raise ValueError(
            f"its model has {outputs[1]} outputs, and {name!r} has {classes} classes; allowed is "
            "an output for each class"
        )


def _fit(
    model: keras.Model, train: tuple, test: tuple, job: Job, trace: fitting.Trace | None
) -> list[dict]:
    """Train for all epochs, and return the metrics of each with its seconds of training."""
    watch = _Watch(trace)
    deal, tests = fitting.Deal(train, job.fit), fitting.batches(test, _TEST_BATCH)
    orders = np.random.default_rng((job.seed, 1))
    epochs = []
    for epoch in range(job.fit.epochs):
        if epoch:
            deal.again(orders.permutation(len(deal.order)))
        last = epoch + 1 == job.fit.epochs
        recalibrated = last and job.fit.precise_batch_norm
        tested = (epoch + 1) % job.fit.test_every == 0 or last
        history = model.fit(
            deal.batches,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=tests if tested and not recalibrated else None,
            shuffle=False,
            callbacks=[*([trace] if trace else []), watch],
            verbose=0,
        ).history
        metrics = {_column(metric): float(values[0]) for metric, values in history.items()}
        if recalibrated:
            drawn = deal.order[orders.permutation(len(deal.order))[: fitting.MOST_FOR_STATISTICS]]
            fitting.recalibrate(model, np.asarray(train[0])[drawn])
            found = model.evaluate(tests, verbose=0, return_dict=True)
            metrics |= {f"test_{metric}": value for metric, value in found.items()}
        epochs.append({**metrics, "seconds": round(watch.seconds[epoch], 3)})
    return epochs


def _metrics(
    model: keras.Model,
    split: data.Split,
    epochs: list[dict],
    trace: fitting.Trace | None,
    job: Job,
) -> dict:
    """Take the metrics of the trained model, of its history and of its trace."""
    history = pd.DataFrame(epochs, index=pd.RangeIndex(1, len(epochs) + 1, name="epoch"))
    takes = {name: functools.partial(take, model, split) for name, take in job.metrics.items()}
    takes |= {name: functools.partial(take, history) for name, take in job.history_metrics.items()}
    if trace:
        rows = trace_table(trace.rows)
        takes |= {name: functools.partial(take, rows) for name, take in job.trace_metrics.items()}
    taken = {}
    for column, take in takes.items():
        if column in epochs[-1]:
            raise ValueError(f"its metric {column!r} has the name of one of Keras's; rename it")
        value = float(take())
        if not np.isfinite(value):
            raise FloatingPointError(f"its metric {column!r} is {value}")
        taken[column] = value
    return taken


def trace_table(rows: list) -> pd.DataFrame:
    """Turn the trace of a record into the table that `trace_metrics` are given."""
    columns = ["update", "seconds", "loss", "accuracy"]
    return pd.DataFrame(rows, columns=columns).set_index("update")


def _correct(model: keras.Model, split: data.Split, classes: int) -> dict | None:
    """Say of each test image whether its answer is right; None where it has no such classes."""
    if math.prod(model.output_shape[1:]) != classes:
        return None
    outputs = model.predict(split.x_test, batch_size=_TEST_BATCH, verbose=0)
    right = fitting.classes_of(outputs) == split.y_test
    return artifacts.pack("correct", np.packbits(right))


@functools.cache
def _prepare_process() -> None:
    """Set what training needs of this process, once."""
    tf.config.experimental.enable_op_determinism()
    # Many small networks in one process make TensorFlow warn about what is meant to happen.
    tf.get_logger().setLevel("ERROR")
    # TensorFlow's memory grows with each network. joblib replaces a process that has grown by
    # 300 MB; nothing is lost, but to import TensorFlow again takes as long as several runs.
    process_executor._MAX_MEMORY_LEAK_SIZE = max(3e8, psutil.virtual_memory().total / 8)
    warnings.filterwarnings(
        "ignore", message="A worker stopped while some jobs", category=UserWarning
    )
    # Keras collects garbage before each network. Most of that time goes into looking at what
    # TensorFlow imported, which is none: a look at it is spared.
    gc.collect()
    gc.freeze()


class _Watch(keras.callbacks.Callback):
    """Times each epoch's training, and stops a run in which a metric is no longer a number."""

    def __init__(self, trace: fitting.Trace | None = None):
        super().__init__()
        self.seconds: list[float] = []
        self._start = self._end = None
        self._trace = trace

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._end = time.perf_counter() - self._looked(), None

    def on_test_begin(self, logs=None):
        if self._end is None:  # The evaluation at the end of an epoch is not training.
            self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append((self._end or time.perf_counter()) - self._start - self._looked())
        for metric, value in logs.items():
            if not np.isfinite(value):
                name = _column(metric)
                raise FloatingPointError(f"its {name} is {value} after epoch {epoch + 1}")

    def _looked(self) -> float:
        return self._trace.spent if self._trace else 0.0


def _column(metric: str) -> str:
    """Rename a metric of Keras's: what it calls validation is the test here."""
    return f"test_{metric[4:]}" if metric.startswith("val_") else metric


def clear_session() -> None:
    """Forget what Keras kept of earlier models; Ctrl-C in the meantime takes effect afterwards.

    It collects garbage, and Python drops an interrupt that comes while it cleans up after one.
    """
    if threading.current_thread() is not threading.main_thread():
        keras.utils.clear_session()
        return
    held = []
    usual = signal.signal(signal.SIGINT, lambda *interrupt: held.append(interrupt))
    try:
        keras.utils.clear_session()
    finally:
        signal.signal(signal.SIGINT, usual)
    if held:
        raise KeyboardInterrupt


@checked
def build(arm: Arm) -> keras.Model:
    """Build the model of an arm.

    Parameters
    ----------
    arm : Arm
        The arm.

    Returns
    -------
    keras.Model
        Compiled.

    Raises
    ------
    TypeError
        If the arm's function returns anything else.
    """
    model = arm.build()
    if not isinstance(model, keras.Model) or not model.compiled:
        raise TypeError(f"its build returned {model!r}; allowed is a compiled keras.Model")
    return model


def _machine() -> dict:
    """Describe what decides about rounding and speed: processor, threads, and oneDNN's kernels."""
    threads = tf.config.threading.get_intra_op_parallelism_threads() or int(
        os.environ.get("TF_NUM_INTRAOP_THREADS", 0)
    )
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads or os.cpu_count(),
        # As TensorFlow reads it; `utils` sets it where the user does not.
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("1", "true"),
        "vectors": _vectors(),
    }


def _vectors() -> str:
    """Name the widest vectors that the processor adds up, and so the order in which it does.

    Processors of one name differ in them, above all those that a cloud lends. NumPy has looked.
    """
    features = getattr(np._core._multiarray_umath, "__cpu_features__", {})
    widest = ("AVX512F", "AVX2", "SVE", "ASIMD")
    return next((name for name in widest if features.get(name)), "other")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
