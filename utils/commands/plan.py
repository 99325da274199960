"""What the notebooks ask for at full scale, and what of it is missing.

The experiments of a notebook are read from its source, without training and in a process of their
own; where that cannot be done, from its stored outputs. What is missing follows from the files of
records.
"""

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from utils.commands import definitions
from utils.evidence.records import RecordFile, key

# Long enough to start TensorFlow on a busy machine and to build the networks of one notebook.
_READING_SECONDS = 120


@dataclass(frozen=True, eq=False)
class Planned:
    """One experiment at full scale.

    Attributes
    ----------
    name : str
        Of the experiment.
    claims : tuple of str or None
        The claims that it is run for; None when they are not known.
    file : RecordFile
        Its recorded runs.
    runs : dict of tuple to (str, int)
        Arm and seed of each run that it asks for, by the key that its record must have.
    changed : dict of str to tuple of str
        Arms whose older records no longer count, with the parts that changed.
    alone : bool
        True when its runs are trained one after the other.
    outdated : bool
        True when the stored page waits for other records than its source asks for.
    """

    name: str
    claims: tuple[str, ...] | None
    file: RecordFile
    runs: dict
    changed: dict = field(default_factory=dict)
    alone: bool = False
    outdated: bool = False

    def missing(self) -> list[tuple]:
        """Return the keys of the runs that are not recorded by now."""
        recorded = self.file.keys()
        return [run for run in self.runs if run not in recorded]


@dataclass(frozen=True, eq=False)
class Notebook:
    """The experiments of one notebook.

    Attributes
    ----------
    path : pathlib.Path
        The notebook.
    experiments : tuple of Planned
        In its order.
    problem : str
        Why its source could not be read, if so; the experiments are then those of its stored
        outputs, and there may be others.
    """

    path: Path
    experiments: tuple[Planned, ...]
    problem: str = ""

    def of_claim(self, claim: str) -> "Notebook":
        """Keep the experiments that are run for one claim, or may be."""
        kept = [each for each in self.experiments if each.claims is None or claim in each.claims]
        return replace(self, experiments=tuple(kept))

    @property
    def open(self) -> bool:
        """True when it has to be run: something is missing, or it is not known what."""
        return bool(self.problem) or any(each.missing() for each in self.experiments)


def notebook(path) -> Notebook:
    """Read the experiments of one notebook from its source, in this process.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    Notebook

    Raises
    ------
    utils.definitions.DefinitionError
        When they cannot be read without running it.
    """
    stored = {each["experiment"]: each for each in _stored(path)}
    return Notebook(
        Path(path),
        tuple(
            Planned(
                name=name,
                claims=found.experiment.claims,
                file=found.experiment.record_file,
                runs=_runs(found.requirements),
                changed=found.changed,
                alone=found.experiment.alone,
                outdated=stored.get(name) != found.requirements,
            )
            for name, found in definitions.recorded_in(path).items()
        ),
    )


def notebooks(paths: Iterable, results: Path) -> Iterator[Notebook]:
    """Read the experiments of several notebooks, in a process of their own.

    Parameters
    ----------
    paths : iterable of path
        The notebooks.
    results : pathlib.Path
        Folder of the recorded runs of a notebook whose source cannot be read.

    Yields
    ------
    Notebook
        One a path, as soon as it is known.
    """
    reader = _Reader()
    try:
        for path in paths:
            answer = reader.ask(path)
            if isinstance(answer, Notebook):
                yield answer
            else:
                experiments = (
                    Planned(
                        name=each["experiment"],
                        claims=None,
                        file=RecordFile(Path(results) / f"{each['experiment']}.jsonl"),
                        runs=_runs(each),
                    )
                    for each in _stored(path)
                )
                yield Notebook(Path(path), tuple(experiments), problem=answer)
    finally:
        reader.stop()


class _Reader:
    """A process that reads notebooks: their code, and TensorFlow, stay out of this one."""

    def __init__(self):
        self._process = None

    def ask(self, path) -> Notebook | str:
        """Return what is in a notebook, or why that cannot be said."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        try:
            self._pipe.send(Path(path))
            if self._pipe.poll(_READING_SECONDS):
                return self._pipe.recv()
            reason = f"after {_READING_SECONDS} s it was still running"
        except (EOFError, OSError):
            reason = "its process died"
        self.stop()
        return reason

    def stop(self) -> None:
        if self._process is not None:
            self._pipe.close()
            self._process.kill()
            self._process.join()
            self._process = None


def _serve(pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks.
    while True:
        path = pipe.recv()
        try:
            pipe.send(notebook(path))
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")


def _stored(path) -> list[dict]:
    return [each["recorded"] for each in definitions.stored_metadata(path) if "recorded" in each]


def _runs(requirements: dict) -> dict:
    """Give the key of each run that counts its arm and its seed."""
    return {
        key({"arm": arm, "seed": seed, "fingerprint": fingerprint}): (arm, seed)
        for seed in requirements["seeds"]
        for arm, fingerprint in requirements["fingerprints"].items()
    }
