"""What the missing runs will cost, estimated from recorded seconds; and how far they have come."""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from joblib import cpu_count
from tqdm import tqdm

from utils.checked import checked
from utils.commands.plan import Notebook, Planned, name_of
from utils.evidence import records, stages
from utils.evidence.records import RecordFile

# Seconds between two looks at the files of records, and between two lines without a terminal.
_LOOK_SECONDS, _LINE_SECONDS = 1.0, 60.0


class Costs:
    """The seconds that a run will take, estimated from those recorded."""

    def __init__(self):
        seconds = defaultdict(list)
        folders = filter(None, (records.RESULTS, records.SHIPPED))
        for name in sorted({path.stem for folder in folders for path in folder.glob("*.jsonl")}):
            for record in RecordFile.of(name).read()[0]:
                if isinstance(record.get("seconds"), (int, float)):
                    for level in _levels(name, record["arm"], record["fingerprint"]):
                        seconds[level].append(record["seconds"])
        self._medians = {level: median(found) for level, found in seconds.items()}

    @property
    def known(self) -> bool:
        """False if nothing is recorded at all."""
        return bool(self._medians)

    def knows(self, experiment: str) -> bool:
        """Tell whether a run of an experiment is recorded; if not, `of` only guesses.

        Parameters
        ----------
        experiment : str
            Its name.

        Returns
        -------
        bool
        """
        return (experiment,) in self._medians

    def of(self, planned: Planned, arm: str) -> float | None:
        """Estimate the seconds of one run.

        Parameters
        ----------
        planned : Planned
            Its experiment.
        arm : str
            Name of its arm.

        Returns
        -------
        float or None
            The median of the runs of its arm that still count; or else of all recorded runs of its
            arm; of its experiment; of any experiment. None if nothing is recorded at all.
        """
        levels = _levels(planned.name, arm, planned.requirements.fingerprints[arm])
        return next((self._medians[each] for each in levels if each in self._medians), None)

    def shared(self, planned: Planned, arm: str, jobs: int) -> float | None:
        """Estimate what one run adds to the total time if several are trained at a time.

        Parameters
        ----------
        planned : Planned
            Its experiment.
        arm : str
            Name of its arm.
        jobs : int
            How many are trained at a time.

        Returns
        -------
        float or None
            As for `of`, divided by the number of runs that the cores can train at a time.
        """
        seconds = self.of(planned, arm)
        together = 1 if planned.exclusive else min(jobs, cpu_count())
        return None if seconds is None else seconds / together


def _levels(experiment: str, arm: str, fingerprint: dict) -> list[tuple]:
    """Name the groups of runs that a run belongs to, from the closest to all of them."""
    exact = tuple(sorted(fingerprint.items()))
    return [(experiment, arm, exact), (experiment, arm), (experiment,), ()]


def describe(notebook: Notebook, costs: Costs) -> str:
    """Describe what is missing in a notebook and what it will cost.

    Parameters
    ----------
    notebook : Notebook
        From `utils.commands.plan.notebook`.
    costs : Costs
        From the recorded runs.

    Returns
    -------
    str
        A line for the notebook and one for each experiment; more where something is amiss.
    """
    lines = [name_of(notebook.path)]
    if notebook.problem:
        lines.append(f"  {notebook.problem}: it is run")
        if notebook.experiments:
            lines.append("  its outputs, which may be older than its code, tell:")
    for planned in notebook.experiments:
        lines.append(f"  {planned.name}: {_cost_of(planned, costs)}")
        lines += [f"    {stages.describe(stage)}" for stage in planned.stages]
        if planned.changed:
            parts = "; ".join(f"{arm} ({', '.join(why)})" for arm, why in planned.changed.items())
            lines.append(f"    older records no longer count, because these changed: {parts}")
        damaged = planned.file.read()[1]
        if damaged:
            numbers = ", ".join(map(str, damaged))
            lines.append(f"    {planned.file.path.name} has lines that are no records: {numbers}")
    return "\n".join(lines)


def _cost_of(planned: Planned, costs: Costs) -> str:
    missing, total = planned.missing(), len(planned.requirements.runs)
    pilot = planned.requirements.pilot
    beyond = "; how many more, its pilot will tell" if pilot and not planned.stages else ""
    if not missing:
        return f"all {total} runs are recorded{beyond}"
    text = f"{len(missing)} of {total} runs are missing{beyond}"
    seconds = [costs.of(planned, arm) for arm, _ in missing]
    if None in seconds:
        return text
    guess = "" if costs.knows(planned.name) else ", guessed from other experiments"
    return f"{text}, {duration(sum(seconds))}{guess}"


@checked
def duration(seconds: float) -> str:
    """Describe roughly how long something takes.

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
    """How many of the missing runs are recorded by now; shown while it is used in a ``with``.

    Parameters
    ----------
    experiments : iterable of Planned
        Those to be run.
    costs : Costs
        From the recorded runs.
    jobs : int
        How many of their runs are trained at a time.
    """

    def __init__(self, experiments: Iterable[Planned], costs: Costs, jobs: int = 1):
        self._experiments = list(experiments)
        # Before the files are read: what is written in the meantime is seen at the next look.
        self._stamps = [_stamp(planned.file.path) for planned in self._experiments]
        self._open = {
            (number, run): costs.shared(planned, run[0], jobs) or 1.0
            for number, planned in enumerate(self._experiments)
            for run in planned.missing()
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
        """Look into the files of records; True if runs were added."""
        before = len(self._open)
        for number, planned in enumerate(self._experiments):
            stamp = _stamp(planned.file.path)
            if stamp != self._stamps[number]:
                still = {(number, run) for run in planned.missing()}
                for run in [run for run in self._open if run[0] == number and run not in still]:
                    del self._open[run]
                self._stamps[number] = stamp
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


def _stamp(path: Path) -> tuple | None:
    """Tell one state of a file from another without reading it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
