"""Run an experiment: arms times seeds, paired by seed, into one tidy table.

An experiment is defined in the notebook cell that a reader sees. Its quick runs are trained on the
spot; each finished full-scale run is recorded at once, and only what is missing is trained.
"""

import contextlib
import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import joblib
import numpy as np
import pandas as pd
from joblib.parallel import get_active_backend

from utils import data
from utils.checked import checked, shown
from utils.evidence import artifacts, claims, stages
from utils.evidence.records import RecordFile, Requirements
from utils.evidence.statistics import Verdict
from utils.evidence.table import describe_runs, evaluate, last_epoch, table
from utils.experiments import fingerprint, traced
from utils.experiments.backends import dask, local
from utils.experiments.progress import progress_bar
from utils.experiments.quiet_keras import keras
from utils.experiments.spec import ByScale, RunError, Spec, Stein
from utils.experiments.training import PROTOCOL, Job, build, clear_session, train, train_all

# A process for training takes seconds to start; fewer runs do not repay it.
_WORTH_PROCESSES = 8


@dataclass(frozen=True)
class Experiment(Spec):  # noqa: D101 (as its base)
    __doc__ = Spec.__doc__

    def run(self, scale: str | None = None) -> "Result":
        """Train what is missing at one scale, and read what is recorded.

        At full scale, runs that are recorded already and still count are read instead of trained,
        and each newly finished run is recorded at once: interrupt it at any time and call it again.

        ``with joblib.parallel_config(n_jobs=4):`` around the call trains four runs at a time, and
        ``with joblib.parallel_config(backend="dask"):`` on the workers of a Dask cluster, as does
        the address of its scheduler in ``MNIST_SCHEDULER``. By default, ``MNIST_JOBS`` sets how
        many full-scale runs are trained at a time; without it they are trained one after the other
        in this process, so that each has all cores. Quick runs, which spend most of their time in
        Python, are trained two at a time if there are two cores and at least eight runs. Except on
        a cluster, the runs of an `exclusive` experiment are always trained one after the other, and
        so are full-scale runs on other data than MNIST, which a cluster does not take.

        Parameters
        ----------
        scale : {"quick", "full"}, optional
            By default what ``MNIST_SCALE`` says, but quick if ``MNIST_CLAIM`` names a claim of
            another experiment.

        Returns
        -------
        Result

        Raises
        ------
        ValueError
            If the scale is neither of the two, ``MNIST_JOBS`` is not a whole number from 1, or
            ``MNIST_SEED``, which is added to every seed of quick runs, is not one from 0.
        RunError
            If an arm raises, or its loss or another metric becomes NaN or infinite. At full scale,
            the runs that finished before are recorded.
        utils.experiments.backends.local.ProcessError
            If several runs are trained at a time and one of their processes dies, or finds the
            course changed. The runs that finished before are recorded.
        utils.evidence.records.RecordError
            If runs could not be recorded (raised before any is trained), or a finished run cannot
            be.
        utils.experiments.backends.worker.ClusterError
            If there is a cluster and it cannot train. At full scale, the runs that finished before
            are recorded.
        """
        scale = scale or _scale_for(self.title)
        if scale not in data.SCALES:
            raise ValueError(f"scale={scale!r}; allowed are {', '.join(map(repr, data.SCALES))}")
        required = self.requirements()
        if scale == "full":
            self._record_missing(required)
            for stage in stages.due(required):
                required.file.append_stage(stage)
            self._record_missing(required)
            quick = None
        else:
            shift = _seed_shift()
            seeds = [(seed + shift) % 2**32 for seed in self.seeds_at(scale)]
            wanted = [(arm, seed) for seed in seeds for arm in self.arms_at(scale)]
            done = {(run["arm"], run["seed"]): run for run in self._train(scale, wanted)}
            quick = table([done[run] for run in wanted], self.title, scale)
        return Result(self, quick, Recorded(required))

    def _record_missing(self, required: Requirements) -> None:
        done = required.counting(required.file.read()[0])
        missing = [run for run in required.runs.values() if run not in done]
        for record in self._train("full", missing):
            parts = required.fingerprints[record["arm"]]
            required.file.append({"experiment": self.title, **record, "fingerprint": parts})

    def recorded(self) -> "Recorded":
        """Read the full-scale runs that match the experiment as it is defined now."""
        return Recorded(self.requirements())

    def requirements(self) -> Requirements:
        """Return what a full-scale record must match to count."""
        seeds = self.seeds.at("full") if isinstance(self.seeds, ByScale) else self.seeds
        staged = (seeds.pilot, seeds.cap) if isinstance(seeds, Stein) else ()
        return Requirements(self.title, self.seeds_at("full"), self.fingerprints("full"), *staged)

    @checked
    def fingerprints(self, scale: str) -> dict[str, dict[str, str]]:
        """Take the fingerprint of every arm at one scale.

        Parameters
        ----------
        scale : {"quick", "full"}
            The scale whose settings and data count.

        Returns
        -------
        dict of str to dict
            For each arm, hashes of its model, compile settings, fit settings, data and metrics, and
            of the training protocol if that is not the first.

        Raises
        ------
        RunError
            If an arm's model cannot be built or described.
        ValueError
            If Python cannot find the source of a function whose code counts.
        """
        if self.data is not None:
            known = self.data.fingerprint(scale)
        elif scale == "full":
            known = data.full_fingerprint()
        else:
            known = data.load_mnist(scale).fingerprint
        prints = {}
        for name, arm in self.arms_at(scale).items():
            clear_session()
            # Some layers draw a seed of their own when they are built, and show it as a setting.
            keras.utils.set_random_seed(0)
            try:
                model = build(arm)
                of_model = fingerprint.describe_model(model)
                of_compile = fingerprint.describe_compile(model)
            except Exception as error:
                raise RunError(f"arm {name!r}: {type(error).__name__}: {error}") from error
            parts = {
                "model": of_model,
                "compile": of_compile,
                "fit": self.fit_at(scale, name).described()
                | ({"threads": self.threads} if self.threads and scale == "full" else {}),
                "data": [
                    known,
                    fingerprint.describe_code(arm.prepare),
                    fingerprint.describe_code(arm.targets),
                ],
                "measures": [
                    [column, fingerprint.describe_code(taken)]
                    for functions in (
                        self.metrics,
                        self.history_metrics,
                        self.trace_metrics,
                        self.artifacts,
                    )
                    for column, taken in sorted(functions.items())
                ],
            }
            if PROTOCOL != 1:
                parts["protocol"] = PROTOCOL
            prints[name] = {part: fingerprint.digest(what) for part, what in parts.items()}
        return prints

    def _train(self, scale: str, runs: list[tuple[str, int]]) -> Iterator[dict]:
        """Train some runs, and yield the record of each as it finishes."""
        if not runs:
            return
        if self.data is None:
            data.load_mnist(scale)  # A missing file is one clear error here, before any job starts.
        if scale == "full":
            RecordFile.of(self.title).require_writable()
        arms = self.arms_at(scale)
        hashes = {}
        # Where the seconds of an epoch count, each run pays for its own tracing.
        if not (self.exclusive or self.history_metrics or self.trace_metrics):
            hashes = {name: traced.hash_of(arm.build) for name, arm in arms.items()}
        jobs = [
            Job(
                arm=arms[arm],
                name=arm,
                seed=seed,
                fit=self.fit_at(scale, arm),
                scale=scale,
                metrics=dict(self.metrics),
                history_metrics=dict(self.history_metrics),
                trace_metrics=dict(self.trace_metrics),
                artifacts=dict(self.artifacts) if scale == "full" else {},
                build_hash=hashes.get(arm),
                data=self.data,
            )
            for arm, seed in runs
        ]
        with (
            progress_bar(len(jobs), f"{self.title} ({scale})") as bar,
            contextlib.closing(_finished(jobs, scale, self.exclusive, self.threads)) as finished,
        ):
            for record in finished:
                yield record
                bar.update()


def _finished(jobs: list[Job], scale: str, exclusive: bool, threads: int | None) -> Iterator[dict]:
    """Train where joblib or the cluster says, and yield each record as it is there."""
    calls, other = [(str(job), (job,)) for job in jobs], jobs[0].data
    with dask.client() as client:
        if client is not None and other is not None:
            raise dask.ClusterError(
                f"data={other!r}: a cluster's workers have MNIST alone; allowed is to train on "
                "other data on this machine, without MNIST_SCHEDULER and joblib's backend 'dask'"
            )
        if client is not None:
            yield from dask.train(client, train, calls, data.load_mnist(scale))
            return
        # Where several train, each of their runs would carry all the images to its process.
        alone = exclusive or (scale == "full" and other is not None)
        processes = 1 if alone else _processes(scale, len(jobs))
        if scale == "full" and (processes > 1 or threads):
            # TensorFlow asks for the threads once, as it starts.
            yield from local.train(processes, train, calls, data.load_mnist(scale), threads)
        elif scale == "full":
            yield from map(train, jobs)  # A finished run is recorded before the next begins.
        else:
            parallel = joblib.Parallel(processes, return_as="generator_unordered", batch_size=1)
            batches = _batches(jobs, processes)
            for records in parallel(joblib.delayed(train_all)(batch) for batch in batches):
                yield from records


def _batches(jobs: list[Job], processes: int) -> list[list[Job]]:
    """Keep the seeds of an arm in one process, which traces it once; split what is left over."""
    arms = {}
    for job in jobs:
        arms.setdefault(job.name, []).append(job)
    groups = list(arms.values())
    whole = len(groups) - len(groups) % processes
    parts = [group[first::processes] for group in groups[whole:] for first in range(processes)]
    return [*groups[:whole], *filter(None, parts)]


def _processes(scale: str, runs: int) -> int:
    """Say how many runs to train at a time."""
    _, chosen = get_active_backend()
    if chosen is not None:
        return joblib.effective_n_jobs(chosen)
    if scale == "full":
        return local.wanted_jobs()
    return min(2, joblib.cpu_count()) if runs >= _WORTH_PROCESSES else 1


def _seed_shift() -> int:
    """Say what is added to every seed of quick runs; those of recorded runs are what they are."""
    said = os.environ.get("MNIST_SEED") or "0"
    if not said.isascii() or not said.isdigit() or len(said) > 20:
        raise ValueError(f"MNIST_SEED={shown(said)}; allowed is a whole number from 0")
    return int(said)


def _scale_for(experiment: str) -> str:
    """Return the scale that was asked for; one claim's full-scale run leaves the others quick."""
    scale, claim = data.current_scale(), os.environ.get("MNIST_CLAIM")
    if scale == "full" and claim and not claims.serves(experiment, claim):
        return "quick"
    return scale


@dataclass(frozen=True, eq=False)
class Recorded:
    """The full-scale runs of an experiment that still count.

    Parameters
    ----------
    required : Requirements
        What a record must match to count.

    Attributes
    ----------
    frame : pandas.DataFrame
        The recorded runs, one row for each run and epoch; empty if there are none.
    missing : tuple of (str, int)
        Arm and seed of the runs that are not recorded.
    changed : dict of str to tuple of str
        Arms whose older records no longer count, with the parts that changed.
    damaged : tuple of int
        Numbers of the lines that are not intact records.
    """

    required: Requirements

    @cached_property
    def _read(self) -> tuple[list[dict], list[int]]:
        return self.required.file.read()

    @cached_property
    def _records(self) -> dict[tuple[str, int], dict]:
        return self.required.counting(self._read[0])

    @cached_property
    def frame(self) -> pd.DataFrame:  # noqa: D102 (see the class)
        return stages.frame(self.required, list(self._records.values()))

    @property
    def missing(self) -> tuple[tuple[str, int], ...]:  # noqa: D102
        return tuple(run for run in self.required.runs.values() if run not in self._records)

    @property
    def changed(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return self.required.changed(self._read[0])

    @property
    def damaged(self) -> tuple[int, ...]:  # noqa: D102
        return tuple(self._read[1])

    @property
    def complete(self) -> bool:
        """True when every arm has every seed that it needs."""
        return not self.missing and not stages.due(self.required)

    def artifacts(self) -> dict[tuple[str, int], dict[str, np.ndarray]]:
        """Read the arrays that the runs left behind.

        Returns
        -------
        dict of (str, int) to dict of str to ndarray
            For each recorded arm and seed, what the experiment's `artifacts` names.
        """
        return {
            run: {
                name: artifacts.unpack(name, packed)
                for name, packed in record.get("kept", {}).items()
            }
            for run, record in self._records.items()
        }

    def __repr__(self) -> str:
        total, missing = len(self.required.runs), len(self.missing)
        text = f"{total - missing} of {total} runs recorded"
        if not self.frame.empty:
            text += f": {describe_runs(self.frame)}"
        text += "."
        if self.changed:
            parts = "; ".join(f"{arm}: {', '.join(why)}" for arm, why in self.changed.items())
            text += f" Older records no longer count, because these changed: {parts}."
        if missing:
            # Data of one's own can be loaded by their owner alone.
            own = "@" in self.required.experiment
            how = '`run("full")`' if own else "`make results`"
            text += f" {how} runs what is missing."
        if self.damaged:
            text += f" Damaged lines, skipped: {', '.join(map(str, self.damaged))}."
        return text


@dataclass(frozen=True, eq=False)
class Result:
    """The outcome of an experiment.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    quick : pandas.DataFrame or None
        Its quick runs, one row for each arm, seed and epoch:
        ``experiment, arm, seed, epoch, scale, train_size, test_size, parameters``, Keras's metrics
        (those on the test images with the prefix ``test_``), ``seconds`` of training in that epoch
        (fewer in the first one if an earlier seed has traced the arm's model), and in the row of
        the last epoch the metrics of the experiment. None if full-scale runs were asked for.
    recorded : Recorded
        Its full-scale runs.
    """

    experiment: Experiment
    quick: pd.DataFrame | None
    recorded: Recorded

    @property
    def best(self) -> pd.DataFrame:
        """The recorded runs if they are complete or the only ones, otherwise the quick ones."""
        recorded = self.recorded.complete or self.quick is None
        return self.recorded.frame if recorded else self.quick

    @property
    def here(self) -> pd.DataFrame:
        """The runs of this notebook: the quick ones, or at full scale the recorded ones."""
        return self.recorded.frame if self.quick is None else self.quick

    @property
    def label(self) -> str:
        """What `best` ran, such as ``recorded runs: 60,000 images, 1 epoch, 5 seeds``."""
        kind = "quick runs" if self.best is self.quick else "recorded runs"
        other = self.experiment.data
        return f"{kind}{f' on {other.name}' if other else ''}: {describe_runs(self.best)}"

    @checked
    def verdict(self, claim: "str | claims.Claim", *others: "Result") -> claims.Settlement:
        """Judge a claim by these runs.

        Parameters
        ----------
        claim : str or utils.evidence.Claim
            Its id in the ledger, or a claim from `utils.evidence.read_claim`.
        *others : Result
            Results of further experiments that the claim rests on.

        Returns
        -------
        utils.evidence.claims.Settlement
            Displayed as a table at the end of a cell.

        Raises
        ------
        KeyError
            When the ledger has no such claim.
        ValueError
            If the results are of different data and the claim does not name one, if none of its
            comparisons uses these experiments, or if one names an arm that its experiment does not
            have.
        """
        results = (self, *others)
        arms = {
            each.experiment.title: {
                arm for scale in data.SCALES for arm in each.experiment.arms_at(scale)
            }
            for each in results
        }
        claims.require_arms(claim, arms)
        quick = [each.quick for each in results if each.quick is not None]
        full = [each.recorded.frame for each in results if not each.recorded.frame.empty]
        return claims.settle(
            claim,
            quick=pd.concat(quick) if quick else None,
            full=pd.concat(full) if full else None,
        )

    @checked
    def expect(self, claim: "str | claims.Claim", verdict: str, *others: "Result") -> None:
        """Require the verdict that a text relies on, so that the words cannot outlive it.

        Parameters
        ----------
        claim : str or utils.evidence.Claim
            As for `verdict`.
        verdict : str
            How the recorded runs decide, such as ``"supported"``, or the same with the number of
            parts, such as ``"holds in part, 2 of 3 parts supported"``. As long as a part lacks
            runs, nothing is required.
        *others : Result
            As for `verdict`.

        Raises
        ------
        ValueError
            If `verdict` does not name one.
        AssertionError
            If the recorded runs decide otherwise.
        """
        if verdict.split(",")[0] not in map(str, Verdict):
            raise ValueError(f"verdict={verdict!r}; allowed are {', '.join(map(str, Verdict))}")
        settled = self.verdict(claim, *others)
        decided, words = settled.verdict("full"), settled.summary("full")
        if decided is not None and verdict not in (str(decided), words):
            name = settled.claim.id
            raise AssertionError(f"claim {name}: the text says {verdict}, the runs {words}")

    @checked
    def expect_best(self, chosen: dict[str, float], metric: str = "test_accuracy") -> None:
        """Require that settings chosen by hand are the best that a sweep found.

        Parameters
        ----------
        chosen : dict of str to float
            The setting chosen for each series of the sweep, such as ``{"plain": 0.03}``, for arms
            named by both: ``"plain, 0.03"``.
        metric : str
            A column, or an expression of columns such as ``-log2_updates``, of which the highest
            mean over the seeds is the best. As long as the recorded runs are not complete, nothing
            is required.

        Raises
        ------
        ValueError
            If the experiment has no such arm, or its runs have no such column.
        AssertionError
            If another setting has a higher mean.
        """
        arms = list(self.experiment.arms_at("full"))
        picked = {name: f"{name}, {setting:g}" for name, setting in chosen.items()}
        unknown = [arm for arm in picked.values() if arm not in arms]
        if unknown:
            raise ValueError(f"chosen={chosen!r}: no arm {unknown[0]!r}; allowed are {arms}")
        if not self.recorded.complete:
            return
        ends = last_epoch(self.recorded.frame)
        means = evaluate(ends, metric).groupby(ends["arm"]).mean()
        for name, arm in picked.items():
            series = means[means.index.str.rsplit(", ", n=1).str[0] == name]
            if series[arm] < series.max():
                title, best = self.experiment.title, series.idxmax()
                raise AssertionError(f"{title}: the text chooses {arm!r}, the runs {best!r}")

    def __repr__(self) -> str:
        lines = [f"{self.experiment.title}, full scale: {self.recorded!r}"]
        if self.quick is not None:
            lines.insert(0, f"{self.experiment.title}, quick runs: {describe_runs(self.quick)}.")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include=None, exclude=None):
        text = re.sub(r"`(.*?)`", r"<code>\1</code>", html.escape(repr(self)))
        bundle = {
            "text/plain": repr(self),
            "text/html": f'<p class="recorded">{text.replace(chr(10), "<br>")}</p>',
        }
        # The ledger and `make results` read from a stored output what a record must match.
        return bundle, {
            "recorded": self.recorded.required.to_metadata(),
            "exclusive": self.experiment.exclusive,
        }
