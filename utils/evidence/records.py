"""Recorded runs: one JSON Lines file per experiment, appended to and never rewritten.

Each line is one finished run, written at once and forced to the disk, so a crash costs at most the
run in progress. A line that a crash cut short is skipped and reported, never silently repaired.
"""

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import filelock

from utils.checked import checked, shown
from utils.paths import RESULTS, SHIPPED

# Long enough for another writer to append a line and sync it, even on a network disk.
_LOCK_SECONDS = 60

# What a line that tells a stage must have.
_STAGE = {
    *("metric", "treatment", "baseline", "half_width", "pilot", "spread", "wanted", "seeds"),
    "fingerprints",
}


# Of an experiment, whose file it names: it leads to no other folder.
_NAME = re.compile(r"[a-z0-9-]+")


class RecordError(RuntimeError):
    """A run could not be recorded."""


def check_name(name: str, argument: str = "experiment", *, on_data: bool = False) -> None:
    """Refuse what cannot be the name of an experiment.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and hyphens.
    argument : str
        What the message calls it.
    on_data : bool
        Whether ``@`` and the name of other data than MNIST may follow.

    Raises
    ------
    ValueError
        When it is anything else.
    """
    parts = name.split("@", on_data) if isinstance(name, str) else [""]
    if not all(map(_NAME.fullmatch, parts)):
        raise ValueError(
            f"{argument}={shown(name)}; allowed are lower-case letters, digits and hyphens"
        )


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What the records of an experiment must match to count.

    Parameters
    ----------
    experiment : str
        Name of the experiment.
    seeds : tuple of int
        The seeds that it asks for; those of its pilot, where there is one.
    fingerprints : dict of str to dict of str to str
        For each arm a hash of each part of a run.
    pilot : int
        Number of seeds of a pilot, whose spread determines the number of seeds of each arm; 0 if
        that was set beforehand.
    cap : int
        The most seeds that may be asked for.
    """

    experiment: str
    seeds: tuple[int, ...]
    fingerprints: dict[str, dict[str, str]]
    pilot: int = 0
    cap: int = 0

    @classmethod
    @checked
    def from_metadata(cls, stored: dict) -> "Requirements":
        """Read what `to_metadata` wrote into the output of a notebook cell.

        Raises
        ------
        ValueError
            When it is anything else: a notebook is a file that anybody may have changed.
        """
        wanted = {"experiment": str, "seeds": list, "fingerprints": dict}
        known = wanted | {"pilot": int, "cap": int}
        fits = wanted.keys() <= stored.keys() <= known.keys()
        if not fits or not all(isinstance(stored[name], known[name]) for name in stored):
            raise ValueError(f"stored={shown(stored)}; allowed is what `to_metadata` returns")
        check_name(stored["experiment"], on_data=True)
        return cls(**{**stored, "seeds": tuple(stored["seeds"])})

    def to_metadata(self) -> dict:
        """Return plain values that JSON can hold."""
        plain = {**vars(self), "seeds": list(self.seeds)}
        return {name: value for name, value in plain.items() if value != 0}

    @property
    def file(self) -> "RecordFile":
        """The file of its records."""
        return RecordFile.of(self.experiment)

    @property
    def runs(self) -> dict[tuple, tuple[str, int]]:
        """Arm and seed of each run that is asked for, keyed by the `key` of its record."""
        wanted = self.seeds_of_arms()
        most = max(wanted.values(), default=0)
        # Those beyond a pilot follow it.
        seeds = self.seeds if not self.pilot else range(self.seeds[0], self.seeds[0] + most)
        return {
            key({"arm": arm, "seed": seed, "fingerprint": parts}): (arm, seed)
            for number, seed in enumerate(seeds)
            for arm, parts in self.fingerprints.items()
            if number < wanted[arm]
        }

    @property
    def stages(self) -> list[dict]:
        """What was computed from its pilot, as far as that still counts."""
        if not self.pilot:
            return []
        return [
            stage
            for stage in self.file.stages()
            if stage["pilot"] == self.pilot
            and all(
                self.fingerprints.get(arm) == parts for arm, parts in stage["fingerprints"].items()
            )
        ]

    def seeds_of_arms(self) -> dict[str, int]:
        """Return how many seeds each arm needs so far: the most that any of its stages asks for."""
        wanted = dict.fromkeys(self.fingerprints, len(self.seeds))
        for stage in self.stages:
            for arm in stage["fingerprints"]:
                wanted[arm] = max(wanted[arm], stage["seeds"])
        return wanted

    @checked
    def counting(self, records: list[dict]) -> dict[tuple[str, int], dict]:
        """Choose the records that count.

        Parameters
        ----------
        records : list of dict
            As `RecordFile.read` gives them.

        Returns
        -------
        dict of (str, int) to dict
            The record of each arm and seed that is recorded, in the order of `runs`.
        """
        recorded = {key(record): record for record in records}
        return {run: recorded[which] for which, run in self.runs.items() if which in recorded}

    @checked
    def changed(self, records: list[dict]) -> dict[str, tuple[str, ...]]:
        """Tell why the records of an arm do not count, for arms of which none does.

        Parameters
        ----------
        records : list of dict
            As `RecordFile.read` gives them.

        Returns
        -------
        dict of str to tuple of str
            For each such arm, the parts of a run that have changed since its last record.
        """
        current = {arm for arm, _ in self.counting(records)}
        changed = {}
        for record in records:
            arm = record["arm"]
            if arm in self.fingerprints and arm not in current:
                before, now = record["fingerprint"], self.fingerprints[arm]
                changed[arm] = tuple(part for part in now if before.get(part) != now[part])
        return {arm: parts for arm, parts in changed.items() if parts}


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """One experiment's recorded runs.

    Parameters
    ----------
    path : pathlib.Path
        The JSON Lines file; it need not exist yet.
    shipped : pathlib.Path, optional
        A second file, whose runs are read as well; it comes with an installed course.
    """

    path: Path
    shipped: Path | None = None

    @classmethod
    def of(cls, experiment: str) -> "RecordFile":
        """Return the file of an experiment, by its name."""
        check_name(experiment, on_data=True)
        name = f"{experiment}.jsonl"
        return cls(RESULTS / name, SHIPPED and SHIPPED / name)

    def read(self) -> tuple[list[dict], list[int]]:
        """Read every intact line.

        Returns
        -------
        records : list of dict
            The recorded runs in the order in which they were written.
        damaged : list of int
            Numbers of the lines of `path`, from 1, that are not intact records.
        """
        records, damaged = RecordFile(self.shipped).read()[0] if self.shipped else [], []
        for number, line in enumerate(self._content().splitlines(), start=1):
            if not line.strip():
                continue
            record = _parse(line)
            if record is None:
                damaged.append(number)
            elif "stage" not in record:
                records.append(record)
        return records, damaged

    def stages(self) -> list[dict]:
        """Read what was computed from pilots, in the order of writing."""
        stages = RecordFile(self.shipped).stages() if self.shipped else []
        parsed = map(_parse, self._content().splitlines())
        return [*stages, *(record["stage"] for record in parsed if record and "stage" in record)]

    def require_writable(self) -> None:
        """Refuse a file that cannot take records, before anything is trained for it.

        Raises
        ------
        RecordError
            When the file, or the folder that it would be made in, is read-only.
        """
        folder = self.path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        for place in (folder, self.path):
            if place.exists() and not os.access(place, os.W_OK):
                raise RecordError(
                    f"{self.path.name}: {place} is read-only, so no run could be recorded; "
                    "nothing was trained"
                )

    @checked
    def append(self, record: dict) -> bool:
        """Append one run, unless the same run is recorded already.

        Parameters
        ----------
        record : dict
            A finished run with its ``arm``, ``seed`` and ``fingerprint``.

        Returns
        -------
        bool
            True when the run was written, False when another writer had recorded it before.

        Raises
        ------
        RecordError
            If the file cannot be written (permission, full disk, a lock that is not released). What
            the file held before is untouched.
        ValueError
            If `record` is not such a run, or JSON cannot hold it.
        """
        line = _line("record", record)
        what = (
            f"the run of arm {record['arm']!r}, seed {record['seed']} was trained but not recorded"
        )
        return self._append(line, what, lambda: key(record) in map(key, self.read()[0]))

    @checked
    def append_stage(self, stage: dict) -> bool:
        """Append what was computed from a pilot, unless it is there already.

        Parameters
        ----------
        stage : dict
            As `utils.evidence.stages.due` gives it.

        Returns
        -------
        bool
            True when it was written, False when it was recorded before, on whatever day.

        Raises
        ------
        RecordError, ValueError
            As for `append`.
        """
        line = _line("stage", {"stage": stage})

        def asked(one):
            return {**json.loads(json.dumps(one)), "date": None}

        return self._append(
            line,
            "what its pilot asks for was computed but not recorded",
            lambda: asked(stage) in map(asked, self.stages()),
        )

    def _append(self, line: bytes, what: str, is_there) -> bool:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self.path}.lock", timeout=_LOCK_SECONDS):
                if is_there():
                    return False
                self._write(line)
                return True
        except filelock.Timeout as error:
            raise RecordError(
                f"{self.path.name}: another process has held the lock for {_LOCK_SECONDS} s; "
                f"if none is running, remove {self.path.name}.lock"
            ) from error
        except OSError as error:
            raise RecordError(
                f"{self.path.name}: {what} ({error.strerror or error}); the runs recorded before "
                "it are untouched"
            ) from error

    def _content(self) -> bytes:
        if not self.path.exists():
            return b""
        with open(self.path, "rb") as file:
            # A device may be endless where it has no size.
            return file.read(os.fstat(file.fileno()).st_size)

    def _write(self, line: bytes) -> None:
        with open(self.path, "ab", buffering=0) as file:
            start = file.tell()
            if start and not self._ends_with_newline():
                # A crash tore the last line. Ending it keeps the damage to that one line.
                line = b"\n" + line
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                # A full disk may have taken half a line: give it back.
                os.truncate(self.path, start)
                raise

    def _ends_with_newline(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _line(name: str, content: dict) -> bytes:
    """Write a line that `_parse` reads."""
    try:
        line = json.dumps(content, allow_nan=False).encode("utf-8") + b"\n"
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{name}={shown(content)} does not fit into JSON ({error})") from error
    if _parse(line) is None:
        raise ValueError(
            f"{name}={shown(content)}; allowed is a dict with arm, seed and fingerprint, or all "
            f"of {sorted(_STAGE)}"
        )
    return line


def _parse(line: bytes) -> dict | None:
    try:
        record = json.loads(line)
        if isinstance(record.get("stage"), dict):
            stage = record["stage"]
            whole = all(isinstance(stage[name], int) for name in ("pilot", "seeds"))
            hashes = all(isinstance(parts, dict) for parts in stage["fingerprints"].values())
            return record if _STAGE <= set(stage) and whole and hashes else None
        hash(key(record))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record


@checked
def key(record: dict) -> tuple:
    """Identify the run of a record.

    Parameters
    ----------
    record : dict
        One recorded run.

    Returns
    -------
    tuple
        Its arm, its seed and its fingerprint. Two records with the same key are the same run.

    Raises
    ------
    KeyError
        If one of them is missing.
    """
    return record["arm"], record["seed"], tuple(sorted(record["fingerprint"].items()))
