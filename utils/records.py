"""Recorded runs: one JSON Lines file an experiment, appended to and never rewritten.

Each line is one finished run, written at once and forced to the disk, so a crash costs at most
the run in progress. A line that a crash tore is skipped and reported, never repaired in silence.
"""

import dataclasses
import errno
import json
import os
from pathlib import Path

import filelock

RESULTS = Path(__file__).resolve().parent.parent / "chapters" / "results"

# Long enough for another writer to append a line and sync it, even on a network disk.
_LOCK_SECONDS = 60

# Bytes at the end of what was read that must still stand there. The end of a record differs from
# that of any other.
_COMPARED = 1_000


class RecordError(RuntimeError):
    """A run could not be recorded."""


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """One experiment's recorded runs.

    Parameters
    ----------
    path : pathlib.Path
        The JSON Lines file; it need not exist yet.
    """

    path: Path
    _seen: "_Seen" = dataclasses.field(
        default_factory=lambda: _Seen(), init=False, repr=False, compare=False
    )

    def read(self) -> tuple[list[dict], list[int]]:
        """Read every whole line.

        Returns
        -------
        records : list of dict
            The recorded runs in the order in which they were written.
        damaged : list of int
            Line numbers, counted from 1, that are not whole records.
        """
        if not self.path.exists():
            return [], []
        records, damaged = [], []
        for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            if not line.strip():
                continue
            record = _parse(line)
            if record is None:
                damaged.append(number)
            else:
                records.append(record)
        return records, damaged

    def keys(self) -> set[tuple]:
        """Tell which runs are recorded.

        Returns
        -------
        set of tuple
            The `key` of every whole line. Called again on the same object, it reads only what
            was appended since; a file that was replaced or cut off is read anew.
        """
        return self._seen.refresh(self.path)

    def require_writable(self) -> None:
        """Refuse a place that cannot take records, before anything is trained for it.

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
            When the file cannot be written (permission, full disk, a lock that stays taken). What
            stood in the file before stays as it was.
        """
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self.path}.lock", timeout=_LOCK_SECONDS):
                if key(record) in self.keys():
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
                f"{self.path.name}: the run of arm {record['arm']!r}, seed {record['seed']} "
                f"was trained but not recorded ({error.strerror or error}); "
                "the runs recorded before it are untouched"
            ) from error

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


class _Seen:
    """The keys in a file as far as it has been read: a sweep looks into it after every run."""

    def __init__(self):
        self._forget()

    def _forget(self, file: tuple | None = None) -> None:
        self._file, self._end, self._last, self._keys = file, 0, b"", set()

    def refresh(self, path: Path) -> set[tuple]:
        if not path.exists():
            self._forget()
            return set()
        with open(path, "rb") as file:
            return self._read_on(file)

    def _read_on(self, file) -> set[tuple]:
        status = os.fstat(file.fileno())
        # Records are only ever appended. A file that does not go on where this one ended is
        # another one: a checkout, an editor.
        which = status.st_dev, status.st_ino
        file.seek(self._end - len(self._last))
        if which != self._file or file.read(len(self._last)) != self._last:
            self._forget(which)
            file.seek(0)
        added = file.read(max(0, status.st_size - self._end))
        whole, newline, torn = added.rpartition(b"\n")
        if newline:
            self._keys |= _keys(whole)
            self._end += len(whole) + 1
            self._last = (self._last + whole + newline)[-_COMPARED:]
        # Without its end-of-line a record is whole, and may yet get one.
        return self._keys | _keys(torn)


def _keys(lines: bytes) -> set[tuple]:
    records = map(_parse, filter(bytes.strip, lines.splitlines()))
    return {key(record) for record in records if record is not None}


def _parse(line: bytes) -> dict | None:
    try:
        record = json.loads(line)
        hash(key(record))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return record


def key(record: dict) -> tuple:
    """Tell which run a record is of.

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
        When one of them is missing.
    """
    return record["arm"], record["seed"], tuple(sorted(record["fingerprint"].items()))
