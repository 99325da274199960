"""What the missing runs will cost, by the seconds that are recorded; and how far they have come."""

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from joblib import cpu_count
from tqdm import tqdm

from utils.commands.plan import Notebook, Planned
from utils.evidence.records import RecordFile, key

# Seconds between two looks at the files of records, and between two lines without a terminal.
_LOOK_SECONDS, _LINE_SECONDS = 1.0, 60.0


class Costs:
    """The seconds that a run will take, by those that are recorded.

    Parameters
    ----------
    results : pathlib.Path
        Folder of the recorded runs.
    """

    def __init__(self, results: Path):
        seconds = defaultdict(list)
        for path in sorted(Path(results).glob("*.jsonl")):
            for record in RecordFile(path).read()[0]:
                if isinstance(record.get("seconds"), (int, float)):
                    for level in self._levels(path.stem, key(record)):
                        seconds[level].append(record["seconds"])
        self._medians = {level: median(found) for level, found in seconds.items()}

    @property
    def known(self) -> bool:
        """False when nothing is recorded at all."""
        return bool(self._medians)

    def knows(self, experiment: str) -> bool:
        """Say whether a run of an experiment is recorded; if not, what `of` says is a guess.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        bool
        """
        return (experiment,) in self._medians

    def of(self, experiment: str, run: tuple) -> float | None:
        """Estimate the seconds of one run.

        Parameters
        ----------
        experiment : str
            Its name.
        run : tuple
            The `key` of its record.

        Returns
        -------
        float or None
            The median of the runs of its arm that still count; or else of all recorded runs of
            its arm; of its experiment; of any experiment. None when nothing is recorded at all.
        """
        levels = self._levels(experiment, run)
        return next((self._medians[each] for each in levels if each in self._medians), None)

    def shared(self, planned: Planned, run: tuple, jobs: int) -> float | None:
        """Estimate what one run adds to the whole time where several are trained at a time.

        Parameters
        ----------
        planned : Planned
            Its experiment.
        run : tuple
            The `key` of its record.
        jobs : int
            How many are trained at a time.

        Returns
        -------
        float or None
            As `of`, divided by as many as there are cores for.
        """
        seconds = self.of(planned.name, run)
        together = 1 if planned.alone else min(jobs, cpu_count())
        return None if seconds is None else seconds / together

    @staticmethod
    def _levels(experiment: str, run: tuple) -> list[tuple]:
        arm, _, fingerprint = run
        return [(experiment, arm, fingerprint), (experiment, arm), (experiment,), ()]


def describe(found: Notebook, costs: Costs) -> str:
    """Say what is missing in a notebook and what it will cost.

    Parameters
    ----------
    found : Notebook
        From `notebooks`.
    costs : Costs
        From the same results.

    Returns
    -------
    str
        A line for the notebook and one for each experiment; more where something is amiss.
    """
    name = os.path.relpath(found.path)
    lines = [name]
    if found.problem:
        lines.append(f"  not to be read without running it, so it will be run ({found.problem})")
        if found.experiments:
            lines.append("  its stored outputs, which may be older than its source, say:")
    for each in found.experiments:
        missing = each.missing()
        lines.append(f"  {each.name}: {_cost_of(each, missing, costs)}")
        if each.changed:
            parts = "; ".join(f"{arm} ({', '.join(why)})" for arm, why in each.changed.items())
            lines.append(f"    older records no longer count, because these changed: {parts}")
        damaged = each.file.read()[1]
        if damaged:
            numbers = ", ".join(map(str, damaged))
            lines.append(f"    {each.file.path.name} has lines that are no records: {numbers}")
        if each.outdated:
            lines.append(f"    its page is older; `make notebooks NOTEBOOK={name}` renews it")
    return "\n".join(lines)


def _cost_of(each: Planned, missing: list, costs: Costs) -> str:
    if not missing:
        return f"all {len(each.runs)} runs are recorded"
    text = f"{len(missing)} of {len(each.runs)} runs are missing"
    seconds = [costs.of(each.name, run) for run in missing]
    if None in seconds:
        return text
    guess = "" if costs.knows(each.name) else ", guessed from other experiments"
    return f"{text}, {duration(sum(seconds))}{guess}"


def duration(seconds: float) -> str:
    """Say roughly how long something takes.

    Parameters
    ----------
    seconds : float
        0 or more.

    Returns
    -------
    str
        Such as ``about 3 minutes``.
    """
    for unit, length, upto in (("second", 1, 90), ("minute", 60, 90 * 60)):
        if seconds < upto:
            number = max(1, round(seconds / length))
            return f"about {number} {unit}{'s' * (number > 1)}"
    return f"about {seconds / 3600:.1f} hours"


class Progress:
    """How much of what was missing is recorded by now; shown while it is used in a ``with``.

    Parameters
    ----------
    experiments : iterable of Planned
        What is to be run.
    costs : Costs
        From the same results.
    jobs : int
        How many of their runs are trained at a time.
    """

    def __init__(self, experiments: Iterable[Planned], costs: Costs, jobs: int = 1):
        self._experiments = list(experiments)
        self._open = {
            (number, run): costs.shared(each, run, jobs) or 1.0
            for number, each in enumerate(self._experiments)
            for run in each.missing()
        }
        self._runs, self._cost = len(self._open), sum(self._open.values())
        self._known = costs.known
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._start = self._line = time.monotonic()
        self._bar = tqdm(
            total=self._cost,
            bar_format="{desc} {percentage:3.0f} %|{bar}|",
            leave=False,
            dynamic_ncols=True,
            disable=None,  # Where there is no terminal.
        )
        self._show()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._bar.close()

    def __str__(self) -> str:
        done = self._runs - len(self._open)
        left = sum(self._open.values())
        text = f"{done} of {self._runs} runs"
        if done:
            left *= (time.monotonic() - self._start) / (self._cost - left)
        return f"{text}, {duration(left)} left" if done or self._known else text

    def look(self) -> bool:
        """Look into the files of records; True when runs were added."""
        before = len(self._open)
        for number, each in enumerate(self._experiments):
            still = {(number, run) for run in each.missing()}
            for run in [run for run in self._open if run[0] == number and run not in still]:
                del self._open[run]
        return len(self._open) < before

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            with contextlib.suppress(OSError):  # A file that is being replaced: look again later.
                if self.look():
                    self._show()

    def _show(self) -> None:
        if not self._bar.disable:
            self._bar.n = self._cost - sum(self._open.values())
            self._bar.set_description_str(str(self))
        elif time.monotonic() - self._line > _LINE_SECONDS:
            self._line = time.monotonic()
            print(f"      {self}", flush=True)
