"""Run an experiment: arms times seeds, paired by seed, into one tidy table.

An experiment is defined in the notebook cell that a reader sees. ``run`` trains it at the scale
that is asked for; at full scale it records each finished run at once and trains only what is
missing. ``recorded`` reads the full-scale runs that still count.
"""

import base64
import contextlib
import datetime
import functools
import gc
import html
import operator
import os
import platform
import re
import signal
import threading
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from joblib.parallel import get_active_backend

from utils.quiet import quiet_native_stderr

with quiet_native_stderr():
    import keras
    import tensorflow as tf

from utils import cluster, data, fingerprint, processes
from utils.progress import progress_bar
from utils.records import RESULTS, RecordFile, key

# Keras collects garbage before each network. Most of that time goes into looking at what TensorFlow
# imported, which is none: a look at it is spared.
gc.collect()
gc.freeze()

# Many small networks in one process make TensorFlow warn about what is meant to happen.
tf.get_logger().setLevel("ERROR")
# TensorFlow's memory grows with each network. joblib then replaces the process; nothing is lost.
warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)

_TEST_BATCH = 1_000
# A process for training takes seconds to start; fewer runs do not repay it.
_WORTH_PROCESSES = 4

# What `table` puts in front of a run's metrics and measures.
_LEADING = ("experiment", "arm", "seed", "epoch", "scale", "train_size", "test_size")
_TAKEN = (*_LEADING, "parameters", "seconds")


class RunError(RuntimeError):
    """A run failed; the message names the arm and the seed."""


class ByScale(NamedTuple):
    """A setting that differs between the two scales."""

    quick: Any
    full: Any

    def at(self, scale: str):
        """Return the setting at one scale, ``"quick"`` or ``"full"``."""
        return getattr(self, scale)


def by_scale(quick, full) -> ByScale:
    """Give a setting of an experiment two values.

    Parameters
    ----------
    quick, full : object
        The value at quick scale and at full scale.

    Returns
    -------
    ByScale
        Accepted for `seeds` of an `Experiment` and for every field of `Fit`.
    """
    return ByScale(quick, full)


@dataclass(frozen=True)
class Fit:
    """How long and on what an arm trains.

    Parameters
    ----------
    epochs : int or ByScale
        Passes over the training images, at least 1.
    batch_size : int or ByScale
        Training images in one update, at least 1.
    train_size : int, None or ByScale
        Train on so many images, drawn by the seed, equally many of each digit; None for all.
    shuffle : bool or ByScale
        False deals the images of the first epoch in the order in which `Arm.prepare` left them;
        every later epoch is dealt anew in any case.
    test_every : int or ByScale
        Evaluate on the test images after every so many epochs, at least 1, and after the last;
        ``test_`` metrics are missing from the table's other rows. Where few images are trained on,
        testing takes most of the time.
    """

    epochs: int | ByScale = 1
    batch_size: int | ByScale = 128
    train_size: int | None | ByScale = None
    shuffle: bool | ByScale = True
    test_every: int | ByScale = 1

    def at(self, scale: str) -> "Fit":
        """Return the settings at one scale, checked."""
        chosen = Fit(*(_at(value, scale) for value in vars(self).values()))
        for name in ("epochs", "batch_size", "test_every"):
            value = getattr(chosen, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(
                    f"{name}={value!r} at {scale} scale; allowed are whole numbers ≥ 1"
                )
        size = chosen.train_size
        if size is not None and (not _is_whole(size) or size < 10):
            raise ValueError(
                f"train_size={size!r} at {scale} scale; allowed are None and whole numbers ≥ 10"
            )
        if not isinstance(chosen.shuffle, bool):
            raise ValueError(
                f"shuffle={chosen.shuffle!r} at {scale} scale; allowed are True and False"
            )
        return chosen

    def described(self) -> dict:
        """Return what a fingerprint says of settings that stand for one scale.

        What a later version of the course added is left out where it has its default, so that
        older records still count.
        """
        settings = dict(vars(self))
        for name in ("shuffle", "test_every"):
            if settings[name] == getattr(Fit, name):
                del settings[name]
        return settings


@dataclass(frozen=True)
class Arm:
    """One of the things that an experiment compares.

    Parameters
    ----------
    build : callable
        ``build() -> keras.Model``, compiled. Called once a seed, with the seed already set.
    prepare : callable, optional
        ``prepare(split, rng) -> Split``: changes the images or labels before training. ``rng`` is
        a NumPy generator made from the seed.
    targets : callable, optional
        ``targets(labels) -> ndarray``: what the loss compares the output with; the labels
        themselves by default.
    fit : Fit, optional
        Instead of the experiment's own.
    """

    build: Callable[[], keras.Model]
    prepare: Callable | None = None
    targets: Callable | None = None
    fit: Fit | None = None


@dataclass(frozen=True)
class Experiment:
    """What is compared, on how many seeds, and what is measured.

    Parameters
    ----------
    name : str
        Names the file of recorded runs: lower-case letters, digits and hyphens.
    claims : str or sequence of str
        The claims of the ledger that it helps to settle; none for one that only makes something.
    arms : mapping of str to Arm or callable, or ByScale of them
        Name of each arm; a bare callable is an `Arm` with only a `build`.
    seeds : int, sequence of int, or ByScale of them
        Either how many seeds (then 0, 1, 2, …), or the seeds themselves, from 0 to 2³² - 1.
    fit : Fit
        How every arm trains that does not say otherwise.
    measures : mapping of str to callable
        Name of each extra column and ``measure(model, split) -> float``, taken after the last
        epoch.
    summaries : mapping of str to callable
        Name of each extra column and ``summary(epochs) -> float``, taken from the course of the
        run: ``epochs`` is a DataFrame with a row for each epoch, numbered from 1, and columns as
        in the table of `run`, from the metrics on.
    keeps : mapping of str to callable
        Name of each array that a full-scale run leaves behind in its record, for `kept`, and
        ``keep(model, split) -> ndarray`` of numbers, taken after the last epoch.
    alone : bool
        True when the seconds of its runs are what it is about: on one machine they are trained one
        after the other, also where those of other experiments are trained several at a time.

    Raises
    ------
    ValueError
        When the name, the arms, the seeds, the fit settings, the measures, the summaries or what
        is kept are not as above; a seed used twice is refused, and so is a measure or summary with
        the name of a column of `run` or of each other.
    """

    name: str
    claims: str | Iterable[str]
    arms: Mapping[str, Arm | Callable] | ByScale
    seeds: int | Sequence[int] | ByScale = 5
    fit: Fit = field(default_factory=Fit)
    measures: Mapping[str, Callable] = field(default_factory=dict)
    summaries: Mapping[str, Callable] = field(default_factory=dict)
    keeps: Mapping[str, Callable] = field(default_factory=dict)
    alone: bool = False

    def __post_init__(self):
        if not self.name or set(self.name) - set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            raise ValueError(
                f"name={self.name!r}; allowed are lower-case letters, digits and hyphens"
            )
        claims = (self.claims,) if isinstance(self.claims, str) else tuple(self.claims)
        object.__setattr__(self, "claims", claims)
        for scale in data.SCALES:
            self.seeds_at(scale)
            for arm in self.arms_at(scale).values():
                (arm.fit or self.fit).at(scale)
        for setting in ("measures", "summaries", "keeps"):
            for column, function in getattr(self, setting).items():
                if column in _TAKEN or not callable(function):
                    raise ValueError(
                        f"{setting}: {column!r}={function!r}; allowed are functions, under any "
                        f"name but {', '.join(_TAKEN)}"
                    )
        for column in self.measures.keys() & self.summaries.keys():
            raise ValueError(f"summaries: {column!r} is the name of a measure already")

    def arms_at(self, scale: str) -> dict[str, Arm]:
        """Return the arms at one scale, checked."""
        arms = _at(self.arms, scale)
        if not isinstance(arms, Mapping) or not arms:
            raise ValueError(
                f"arms={arms!r} at {scale} scale; allowed is a mapping of names to arms with at "
                "least one of them"
            )
        found = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in arms.items()}
        for name, arm in found.items():
            if not isinstance(name, str) or not callable(arm.build):
                raise ValueError(
                    f"arms: {name!r}={arm.build!r} at {scale} scale; allowed is a text as the name "
                    "and an Arm, or a function that builds its model"
                )
        return found

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """Return the seeds at one scale, checked."""
        given = _at(self.seeds, scale)
        try:
            seeds = tuple(range(given) if _is_whole(given) else map(operator.index, given))
        except TypeError:
            seeds = ()
        if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
            raise ValueError(
                f"seeds={given!r} at {scale} scale; allowed are how many, at least 1, or a "
                "sequence of whole numbers from 0 to 2³² - 1"
            )
        twice = sorted(seed for seed, times in Counter(seeds).items() if times > 1)
        if twice:
            raise ValueError(
                f"seeds={seeds!r}: seed {twice[0]} stands there twice; "
                "the same run would count as two"
            )
        return seeds

    def fingerprints(self, scale: str) -> dict[str, dict[str, str]]:
        """Take the fingerprint of every arm at one scale.

        Parameters
        ----------
        scale : {"quick", "full"}
            The scale whose settings and data count.

        Returns
        -------
        dict of str to dict
            For each arm a hash of its model, compile settings, fit settings, data and measures.

        Raises
        ------
        RunError
            When an arm's model cannot be built or described.
        ValueError
            When Python cannot find the source of a function whose code counts.
        """
        known = data.full_fingerprint() if scale == "full" else data.load_mnist(scale).fingerprint
        prints = {}
        for name, arm in self.arms_at(scale).items():
            _clear_session()
            # Some layers draw a seed of their own when they are built, and show it as a setting.
            keras.utils.set_random_seed(0)
            try:
                model = _build(arm)
                of_model = fingerprint.describe_model(model)
                of_compile = fingerprint.describe_compile(model)
            except Exception as error:
                raise RunError(f"arm {name!r}: {type(error).__name__}: {error}") from error
            fit = (arm.fit or self.fit).at(scale)
            parts = {
                "model": of_model,
                "compile": of_compile,
                "fit": fit.described(),
                "data": [
                    known,
                    fingerprint.describe_code(arm.prepare),
                    fingerprint.describe_code(arm.targets),
                ],
                "measures": [
                    [column, fingerprint.describe_code(taken)]
                    for functions in (self.measures, self.summaries, self.keeps)
                    for column, taken in sorted(functions.items())
                ],
            }
            prints[name] = {part: fingerprint.digest(what) for part, what in parts.items()}
        return prints

    @property
    def record_file(self) -> RecordFile:
        """The file that holds this experiment's full-scale runs."""
        return RecordFile(RESULTS / f"{self.name}.jsonl")


def run(experiment: Experiment, scale: str | None = None) -> pd.DataFrame:
    """Train every arm on every seed and return one tidy table.

    At full scale, runs that are recorded already and still count are read instead of trained,
    and each newly finished run is recorded at once: interrupt it when you like and call it
    again.

    ``with joblib.parallel_config(n_jobs=4):`` around the call trains four runs at a time, and
    ``with joblib.parallel_config(backend="dask"):`` on the workers of a Dask cluster, as does the
    address of its scheduler in ``MNIST_SCHEDULER``. By default those at full scale are trained as
    many at a time as ``MNIST_JOBS`` says, or else one after the other in this process, so that each
    has all cores; those at quick scale, which spend most of their time in Python, two at a time
    where there are two cores. Those of an experiment that is `alone` are trained one after the
    other in any case but on a cluster.

    Parameters
    ----------
    experiment : Experiment
        What to run.
    scale : {"quick", "full"}, optional
        By default what ``MNIST_SCALE`` says.

    Returns
    -------
    pandas.DataFrame
        One row an arm, seed and epoch: ``experiment, arm, seed, epoch, scale, train_size,
        test_size, parameters``, Keras's metrics (those on the test images with the prefix
        ``test_``), ``seconds`` of training in that epoch, and in the row of the last epoch the
        measures.

    Raises
    ------
    ValueError
        When the scale is neither of the two, or ``MNIST_JOBS`` is no whole number from 1.
    RunError
        When an arm raises, or its loss, another metric or a measure becomes NaN or infinite. At
        full scale, the runs that finished before it are recorded.
    utils.processes.ProcessError
        When several runs are trained at a time and one of their processes dies, or has another
        course by now. The runs that finished before are recorded.
    utils.records.RecordError
        When runs could not be recorded, before any is trained; when a finished run cannot be.
    utils.cluster.ClusterError
        When there is a cluster and it cannot train. At full scale, the runs that finished before
        are recorded.
    """
    scale = scale or _scale_for(experiment)
    if scale not in data.SCALES:
        raise ValueError(f"scale={scale!r}; allowed are {', '.join(map(repr, data.SCALES))}")
    arms = experiment.arms_at(scale)
    wanted = [(arm, seed) for seed in experiment.seeds_at(scale) for arm in arms]
    records: dict[tuple, dict] = {}
    prints: dict[str, dict] = {}
    if scale == "full":
        prints = experiment.fingerprints("full")
        records = {(r["arm"], r["seed"]): r for r in _counting(experiment, prints)[0]}
    missing = [job for job in wanted if job not in records]
    file = experiment.record_file
    if missing:
        data.load_mnist(scale)  # A missing file is one clear error here, before any job starts.
        if scale == "full":
            file.require_writable()
    calls = [
        (
            f"arm {arm!r}, seed {seed}",
            (
                arms[arm],
                arm,
                seed,
                (arms[arm].fit or experiment.fit).at(scale),
                dict(experiment.measures),
                dict(experiment.summaries),
                dict(experiment.keeps) if scale == "full" else {},
                scale,
            ),
        )
        for arm, seed in missing
    ]
    with (
        progress_bar(len(missing), f"{experiment.name} ({scale})") as bar,
        contextlib.closing(_finished(calls, scale, experiment.alone)) as finished,
    ):
        for result in finished:
            if scale == "full":
                result["fingerprint"] = prints[result["arm"]]
                file.append({"experiment": experiment.name, **result})
            records[result["arm"], result["seed"]] = result
            bar.update()
    return _table(experiment, scale, [records[job] for job in wanted])


@dataclass(frozen=True, eq=False)
class Recorded:
    """The full-scale runs of an experiment that still count.

    Attributes
    ----------
    experiment : Experiment
        The experiment as it is defined now.
    frame : pandas.DataFrame
        Its recorded runs, as `run` returns them; empty when there are none.
    fingerprints : dict
        What a record must match to count, for each arm.
    missing : tuple of (str, int)
        Arm and seed of the runs that are not recorded.
    changed : dict of str to tuple of str
        Arms whose older records no longer count, with the parts that changed.
    damaged : tuple of int
        Lines of the file that are not whole records.
    """

    experiment: Experiment
    frame: pd.DataFrame
    fingerprints: dict
    missing: tuple
    changed: dict
    damaged: tuple

    @property
    def complete(self) -> bool:
        """True when every arm has every seed."""
        return not self.missing

    def __repr__(self) -> str:
        arms, seeds = self.experiment.arms_at("full"), self.experiment.seeds_at("full")
        total = len(arms) * len(seeds)
        text = (
            f"Full MNIST, {self.experiment.name}: {total - len(self.missing)} of {total} runs "
            f"recorded (arms: {len(arms)}, seeds: {len(seeds)})."
        )
        if self.changed:
            parts = "; ".join(f"{arm}: {', '.join(why)}" for arm, why in self.changed.items())
            text += f" Older records no longer count, because these changed: {parts}."
        if self.missing:
            claim = f" CLAIM={self.experiment.claims[0]}" if self.experiment.claims else ""
            text += f" Not yet run at full scale; `make results{claim}` runs what is missing."
        if self.damaged:
            text += f" Damaged lines, skipped: {', '.join(map(str, self.damaged))}."
        return text

    @property
    def requirements(self) -> dict:
        """What a record has to match to count; the ledger page reads it from the stored output."""
        return {
            "experiment": self.experiment.name,
            "seeds": list(self.experiment.seeds_at("full")),
            "fingerprints": self.fingerprints,
        }

    def _repr_mimebundle_(self, include=None, exclude=None):
        line = re.sub(r"`(.*?)`", r"<code>\1</code>", html.escape(repr(self)))
        bundle = {"text/plain": repr(self), "text/html": f'<p class="recorded">{line}</p>'}
        return bundle, {"recorded": self.requirements}


def recorded(experiment: Experiment) -> Recorded:
    """Read the full-scale runs that match the experiment as it is defined now.

    Parameters
    ----------
    experiment : Experiment
        What the records must match.

    Returns
    -------
    Recorded
        The runs that count, and what is missing. At the end of a cell it prints itself in a line.
    """
    prints = experiment.fingerprints("full")
    counting, changed, damaged = _counting(experiment, prints)
    done = {(record["arm"], record["seed"]): record for record in counting}
    wanted = [(arm, seed) for seed in experiment.seeds_at("full") for arm in prints]
    return Recorded(
        experiment=experiment,
        frame=_table(experiment, "full", [done[job] for job in wanted if job in done]),
        fingerprints=prints,
        missing=tuple(job for job in wanted if job not in done),
        changed=changed,
        damaged=tuple(damaged),
    )


def kept(experiment: Experiment) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """Read the arrays that the recorded full-scale runs have kept.

    Parameters
    ----------
    experiment : Experiment
        What the records must match, as for `recorded`.

    Returns
    -------
    dict of (str, int) to dict of str to ndarray
        For each arm and seed that is recorded, what the experiment's `keeps` names.
    """
    counting, _, _ = _counting(experiment, experiment.fingerprints("full"))
    return {
        (record["arm"], record["seed"]): {
            name: _unpack(packed) for name, packed in record.get("kept", {}).items()
        }
        for record in counting
    }


def table(records: list[dict], name: str, scale: str) -> pd.DataFrame:
    """Turn records into the tidy table that `run` describes.

    Parameters
    ----------
    records : list of dict
        Finished runs.
    name, scale : str
        What stands in the columns ``experiment`` and ``scale``.

    Returns
    -------
    pandas.DataFrame
        One row a run and epoch; empty, but with its leading columns, when there are no records.
    """
    rows = []
    for record in records:
        for epoch, metrics in enumerate(record["epochs"], start=1):
            row = {
                "experiment": name,
                "arm": record["arm"],
                "seed": record["seed"],
                "epoch": epoch,
                "scale": scale,
                "train_size": record["train_size"],
                "test_size": record["test_size"],
                "parameters": record["parameters"],
                **metrics,
            }
            if epoch == len(record["epochs"]):
                row.update(record["measures"])
            rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=_LEADING)


def last_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep one row a run: that of its last epoch, never of its best.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `run` returns.

    Returns
    -------
    pandas.DataFrame
        One row an experiment, scale, arm and seed.
    """
    frame = frame.reset_index(drop=True)  # Tables that were joined repeat their row numbers.
    last = frame.groupby(["experiment", "scale", "arm", "seed"], sort=False)["epoch"].idxmax()
    return frame.loc[last].reset_index(drop=True)


def _table(experiment: Experiment, scale: str, records: list[dict]) -> pd.DataFrame:
    return table(records, experiment.name, scale)


def _at(value, scale: str):
    return value.at(scale) if isinstance(value, ByScale) else value


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _scale_for(experiment: Experiment) -> str:
    """Return the scale that was asked for; one claim's full-scale run leaves the others quick."""
    scale = data.current_scale()
    claim = os.environ.get("MNIST_CLAIM")
    return "quick" if scale == "full" and claim and claim not in experiment.claims else scale


def _counting(experiment: Experiment, prints: dict) -> tuple[list[dict], dict, list[int]]:
    """Sort the records into those that match and the reasons why others do not."""
    records, damaged = experiment.record_file.read()
    valid = {
        (arm, seed, tuple(sorted(prints[arm].items())))
        for arm in prints
        for seed in experiment.seeds_at("full")
    }
    counting = [record for record in records if key(record) in valid]
    current = {record["arm"] for record in counting}
    changed = {}
    for record in records:
        arm = record["arm"]
        if arm in prints and arm not in current:
            known = record["fingerprint"]
            changed[arm] = tuple(
                part for part, now in prints[arm].items() if known.get(part) != now
            )
    return counting, {arm: parts for arm, parts in changed.items() if parts}, damaged


class _Watch(keras.callbacks.Callback):
    """Times each epoch's training, and stops a run in which a metric is no longer a number."""

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []
        self._start = self._end = None

    def on_epoch_begin(self, epoch, logs=None):
        self._start, self._end = time.perf_counter(), None

    def on_test_begin(self, logs=None):
        if self._end is None:  # The evaluation at the end of an epoch is not training.
            self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append((self._end or time.perf_counter()) - self._start)
        for metric, value in logs.items():
            if not np.isfinite(value):
                name = _column(metric)
                raise FloatingPointError(f"its {name} is {value} after epoch {epoch + 1}")


def _column(metric: str) -> str:
    """Rename a metric of Keras's: what it calls validation is the test here."""
    return f"test_{metric[4:]}" if metric.startswith("val_") else metric


def _clear_session() -> None:
    """Forget what Keras kept of earlier models; Ctrl-C in the meantime counts afterwards.

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


def _build(arm: Arm) -> keras.Model:
    model = arm.build()
    if not isinstance(model, keras.Model) or not model.compiled:
        raise TypeError(f"its build returned {model!r}; allowed is a compiled keras.Model")
    return model


def _finished(calls: list[tuple], scale: str, alone: bool) -> Iterator[dict]:
    """Train where joblib or the cluster says, and yield each run as it finishes."""
    if not calls:
        return
    with cluster.client() as client:
        if client is None:
            jobs = 1 if alone else _jobs(scale, len(calls))
            if scale == "full" and jobs > 1:
                yield from processes.train(jobs, _train, calls, data.load_mnist(scale))
            else:
                parallel = joblib.Parallel(jobs, return_as="generator_unordered", batch_size=1)
                yield from parallel(joblib.delayed(_train)(*arguments) for _, arguments in calls)
        else:
            yield from cluster.train(client, _train, calls, data.load_mnist(scale))


def _jobs(scale: str, runs: int) -> int:
    """Say how many runs to train at a time."""
    _, chosen = get_active_backend()
    if chosen is not None:
        return joblib.effective_n_jobs(chosen)
    if scale == "full":
        return processes.wanted_jobs()
    return min(2, joblib.cpu_count()) if runs >= _WORTH_PROCESSES else 1


def _train(
    arm: Arm,
    name: str,
    seed: int,
    fit: Fit,
    measures: dict,
    summaries: dict,
    keeps: dict,
    scale: str,
) -> dict:
    """Train one arm on one seed; runs in whatever process was chosen."""
    try:
        return _train_unguarded(arm, name, seed, fit, measures, summaries, keeps, scale)
    except Exception as error:
        raise RunError(f"arm {name!r}, seed {seed}: {type(error).__name__}: {error}") from error


def _train_unguarded(arm, name, seed, fit, measures, summaries, keeps, scale) -> dict:
    tf.config.experimental.enable_op_determinism()
    mnist = data.load_mnist(scale)
    split = mnist.split(seed, fit.train_size)
    if arm.prepare is not None:
        split = arm.prepare(split, np.random.default_rng(seed))
    targets = arm.targets or (lambda labels: labels)
    _clear_session()
    keras.utils.set_random_seed(seed)
    model = _build(arm)
    model.jit_compile = False  # Compiling for XLA makes training on a CPU many times slower.
    watch = _Watch()
    x, y = split.x_train, targets(split.y_train)
    test = split.x_test, targets(split.y_test)
    orders = np.random.default_rng((seed, 1))
    epochs = []
    start = time.perf_counter()
    for epoch in range(fit.epochs):
        if epoch:
            # Once it is seeded, Keras shuffles in every epoch alike. So the images are dealt anew.
            order = orders.permutation(len(x))
            x, y = x[order], y[order]
        tested = (epoch + 1) % fit.test_every == 0 or epoch + 1 == fit.epochs
        history = model.fit(
            x,
            y,
            initial_epoch=epoch,
            epochs=epoch + 1,
            batch_size=fit.batch_size,
            validation_data=test if tested else None,
            validation_batch_size=_TEST_BATCH,
            shuffle=fit.shuffle,
            callbacks=[watch],
            verbose=0,
        ).history
        metrics = {_column(metric): float(values[0]) for metric, values in history.items()}
        epochs.append({**metrics, "seconds": round(watch.seconds[epoch], 3)})
    seconds = time.perf_counter() - start
    course = pd.DataFrame(epochs, index=pd.RangeIndex(1, fit.epochs + 1, name="epoch"))
    taken = {}
    takes = {name: functools.partial(measure, model, split) for name, measure in measures.items()}
    takes |= {name: functools.partial(summary, course) for name, summary in summaries.items()}
    for column, take in takes.items():
        if column in metrics:
            raise ValueError(f"its measure {column!r} has the name of a metric; rename it")
        value = float(take())
        if not np.isfinite(value):
            raise FloatingPointError(f"its measure {column!r} is {value}")
        taken[column] = value
    arrays = {column: _pack(column, keep(model, split)) for column, keep in keeps.items()}
    return {
        "arm": name,
        "seed": seed,
        "train_size": len(split.x_train),
        "test_size": len(split.x_test),
        "parameters": model.count_params(),
        "epochs": epochs,
        "measures": taken,
        "seconds": round(seconds, 3),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "machine": _machine(),
        "versions": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
        **({"kept": arrays} if arrays else {}),
    }


def _pack(name: str, array) -> dict:
    """Write an array as text, for a line of JSON."""
    array = np.asarray(array)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"what it keeps as {name!r} has the dtype {array.dtype} or values that are not "
            "finite; allowed are arrays of finite real numbers"
        )
    array = array.astype(array.dtype.newbyteorder("<"))
    packed = zlib.compress(array.tobytes(), 9)
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "zlib": base64.b85encode(packed).decode(),
    }


def _unpack(packed: dict) -> np.ndarray:
    values = np.frombuffer(zlib.decompress(base64.b85decode(packed["zlib"])), packed["dtype"])
    return values.reshape(packed["shape"])


def _machine() -> dict:
    """Describe what decides about rounding and speed: the processor and the threads used."""
    threads = tf.config.threading.get_intra_op_parallelism_threads() or int(
        os.environ.get("TF_NUM_INTRAOP_THREADS", 0)
    )
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads or os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
