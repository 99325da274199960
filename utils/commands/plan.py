"""What of a notebook's experiments is missing at full scale, without running it.

Its stored outputs tell what a record must match to count, as long as its code has not changed
since; what is missing then follows from the files of records. After a change of code, only a run
can tell.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from utils.checked import checked
from utils.evidence import claims, stages
from utils.evidence.records import RecordFile, Requirements
from utils.evidence.stored import Page


@dataclass(frozen=True)
class Planned:
    """One experiment at full scale.

    Attributes
    ----------
    requirements : Requirements
        What its records must match to count.
    exclusive : bool
        True if its runs are trained one after the other.
    """

    requirements: Requirements
    exclusive: bool = False

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.requirements.experiment

    @property
    def file(self) -> RecordFile:
        """Its recorded runs."""
        return self.requirements.file

    @property
    def changed(self) -> dict[str, tuple[str, ...]]:
        """Arms whose older records no longer count, with the parts that changed."""
        return self.requirements.changed(self.file.read()[0])

    def missing(self) -> list[tuple[str, int]]:
        """Return arm and seed of the runs that are not yet recorded.

        Until a pilot is complete, the runs that it will ask for are not known.
        """
        recorded = self.requirements.counting(self.file.read()[0])
        return [run for run in self.requirements.runs.values() if run not in recorded]

    @property
    def stages(self) -> list[dict]:
        """What its pilot asks for, recorded or due."""
        return [*self.requirements.stages, *stages.due(self.requirements)]


@dataclass(frozen=True)
class Notebook:
    """The experiments of one notebook.

    Attributes
    ----------
    path : pathlib.Path
        The notebook.
    experiments : tuple of Planned
        Those whose results its outputs show, in that order.
    problem : str
        Why its outputs may not tell what its code asks for; empty when they do.
    """

    path: Path
    experiments: tuple[Planned, ...]
    problem: str = ""

    @property
    def open(self) -> bool:
        """True if it has to be run: something is missing, or it is not known what."""
        return bool(self.problem) or any(
            planned.missing() or stages.due(planned.requirements) for planned in self.experiments
        )

    @checked
    def of_claim(self, claim_id: str) -> "Notebook":
        """Keep the experiments that have to be run for one claim."""
        serving = [each for each in self.experiments if claims.serves(each.name, claim_id)]
        return replace(self, experiments=tuple(serving))


@checked
def notebook(path: Path) -> Notebook:
    """Read what a notebook asks for from its stored outputs.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    Notebook
    """
    page = Page.read(path)
    if not page.stored:
        problem = "it has never been stored by `make notebooks`"
    else:
        problem = "" if page.current else "its code has changed since it was stored"
    return Notebook(Path(path), experiments(page), problem)


def experiments(page: Page) -> tuple[Planned, ...]:
    """Plan the experiments whose results a notebook's outputs show.

    Parameters
    ----------
    page : utils.evidence.stored.Page
        What the outputs tell.

    Returns
    -------
    tuple of Planned
    """
    return tuple(
        Planned(required, name in page.exclusive) for name, required in page.requirements.items()
    )


@checked
def name_of(path: Path) -> str:
    """Write the path of a notebook as a reader would type it here."""
    try:
        return os.path.relpath(path)
    except ValueError:  # Windows: it is on another drive.
        return str(path)
