"""What can go wrong around a sweep at full scale: nothing that was finished is lost."""

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_experiment import Counting, eager, full, one

from utils.evidence import (
    RecordError,
    RecordFile,
    last_epoch,
    records,
)
from utils.experiments import Arm

resource = pytest.importorskip("resource", reason="limits and signals of Unix are under test")

pytestmark = pytest.mark.training

TESTS = Path(__file__).parent
# In the weekly job many more.
KILLS = int(os.environ.get("KILLS", 25))


def noting(split, rng):
    """Write down which run begins, before anything of it is trained."""
    with open(os.environ["STARTED"], "a", encoding="utf-8") as file:
        file.write(f"{rng.bit_generator.seed_seq.entropy}\n")
    return split


def sweep(seeds):
    return one(Arm(eager, prepare=noting), "sweep", seeds=seeds)


FORKER = """
import gc, os, sys
import rich.progress, sklearn.model_selection  # As the first run would.
from test_faults import *
from utils import data
data.load_mnist("full")
gc.freeze()  # Or each process would look through all that was imported.
print("ready", flush=True)
for line in sys.stdin:
    command, *given = line.split()
    if command == "wait":
        pid, status, usage = os.wait4(-1, 0)
        print(pid, status, usage.ru_utime + usage.ru_stime, flush=True)
        continue
    pid = os.fork()
    if not pid:
        records.RESULTS = Path(given[0])
        full(sweep(int(given[1])))
        os._exit(0)
    print(pid, flush=True)
"""


class Forker:
    """Starts sweeps in processes of their own, and waits for them."""

    def __init__(self, started):
        self.started = started
        environment = {
            "STARTED": str(started),
            "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], str(TESTS)]),
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def _ask(self, *command):
        self.process.stdin.write(" ".join(map(str, command)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def start(self, folder, seeds):
        """Start a sweep; its process id."""
        return int(self._ask("start", folder, seeds)[0])

    def wait(self):
        """Wait for a sweep to end: its process id, its status, the seconds it computed."""
        pid, status, seconds = self._ask("wait")
        return int(pid), int(status), float(seconds)


@pytest.fixture(scope="module")
def forker(tmp_path_factory, full_mnist):
    if sys.platform == "darwin":
        pytest.skip("a process that has imported TensorFlow may not be forked on macOS")
    forker = Forker(tmp_path_factory.mktemp("forker") / "started")
    yield forker
    os.killpg(forker.process.pid, signal.SIGKILL)  # With the sweeps of a test that failed.
    forker.process.communicate()


def wait_for_seconds(pid, seconds):
    """Wait until a process has computed for so long: a busy machine changes nothing about it."""
    process = psutil.Process(pid)
    while sum(process.cpu_times()[:2]) < seconds:
        assert process.status() != psutil.STATUS_ZOMBIE, "it ended by itself"
        time.sleep(0.002)


def seeds_of(file):
    found, damaged = file.read()
    assert damaged == []
    return [record["seed"] for record in found]


def without_times(record):
    epochs = [{**epoch, "seconds": 0} for epoch in record["epochs"]]
    return {**record, "epochs": epochs, "seconds": 0, "date": ""}


def test_killed_at_any_moment_a_sweep_loses_the_run_in_progress_and_nothing_else(forker, tmp_path):
    whole = RecordFile(tmp_path / "whole" / "sweep.jsonl")
    forker.start(whole.path.parent, 2)
    _, status, seconds = forker.wait()
    assert status == 0 and seeds_of(whole) == [0, 1]
    forker.started.unlink()  # What was begun so far does not count.

    moments = random.Random(20)
    file = RecordFile(tmp_path / "killed" / "sweep.jsonl")
    content, begun, done, kills = b"", [], [], 0
    # How far a sweep gets before it is killed depends on the machine, so the kills go on until
    # some runs stand there; that this ends is asserted, too.
    while kills < KILLS or len(done) <= KILLS // 5:
        kills += 1
        assert kills <= 10 * KILLS, "no run is ever recorded between two kills"
        pid = forker.start(file.path.parent, 1_000)
        wait_for_seconds(pid, moments.uniform(0, seconds))
        time.sleep(moments.uniform(0, 0.01))
        os.kill(pid, signal.SIGKILL)
        assert forker.wait()[:2] == (pid, signal.SIGKILL)
        if file.path.exists():
            before, content = content, file.path.read_bytes()
            assert content.startswith(before)
        # Each run stands there once and in its turn; of those begun, the last one may be missing.
        done = seeds_of(file)
        assert done == list(range(len(done)))
        if forker.started.exists():
            begun = [int(seed) for seed in forker.started.read_text().split()]
            assert set(begun) - set(done) <= {begun[-1]}
    again = len(begun) - len(set(begun))
    # Some were killed in a run, and only that run was begun again.
    assert 0 < again <= kills

    enough = len(done) + 1
    forker.start(file.path.parent, enough)
    assert forker.wait()[1] == 0
    assert seeds_of(file) == list(range(enough))
    for first, second in zip(whole.read()[0], file.read()[0], strict=False):
        assert without_times(first) == without_times(second)


def test_of_two_sweeps_at_once_one_is_killed_and_the_other_ends_complete(forker, tmp_path):
    file = RecordFile(tmp_path / "both" / "sweep.jsonl")
    first, second = (forker.start(file.path.parent, 7) for _ in range(2))
    while not file.path.exists() or len(seeds_of(file)) < 2:
        time.sleep(0.01)
    os.kill(first, signal.SIGKILL)
    ended = {pid: status for pid, status, _ in (forker.wait(), forker.wait())}
    assert ended == {first: signal.SIGKILL, second: 0}
    assert sorted(seeds_of(file)) == list(range(7))


# In this process


@pytest.fixture
def results(tmp_path, monkeypatch, full_mnist):
    """Let full scale train on few images, and record where the test says."""
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))

    def record_in(folder):
        monkeypatch.setattr(records, "RESULTS", Path(folder))
        return RecordFile.of("sweep")

    return record_in


def mount(*arguments):
    """Mount a file system for a test; skip the test where that may not be done."""
    try:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True)
    except OSError:
        pytest.skip("has no mount")
    if done.returncode:
        pytest.skip("only root may mount a small disk")


@pytest.fixture
def disk(tmp_path):
    """Make a disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def filled(folder):
    """Leave one block of a disk free."""
    filler = folder / "filler"
    filler.write_bytes(bytes(60 * 1024))
    yield
    filler.unlink()


@contextlib.contextmanager
def limited(_):
    """Let no file of this process grow beyond some 3 KB."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.parametrize("kind", ["disk", "limit"])
def test_a_full_disk_is_a_clear_error_and_the_sweep_goes_on_when_there_is_room(
    kind, results, request, tmp_path
):
    folder = request.getfixturevalue("disk") if kind == "disk" else tmp_path
    file = results(folder)
    with (filled if kind == "disk" else limited)(folder):
        with pytest.raises(RecordError) as error:
            full(sweep(6))
        kept, content = seeds_of(file), file.path.read_bytes()
    assert 1 <= len(kept) < 6 and kept == list(range(len(kept)))
    reason = os.strerror(errno.ENOSPC if kind == "disk" else errno.EFBIG)
    assert f"arm 'a', seed {len(kept)} was trained but not recorded" in str(error.value)
    assert content.endswith(b"\n") and (reason in str(error.value) or "space" in str(error.value))
    frame = full(sweep(6))
    assert file.path.read_bytes().startswith(content)
    assert seeds_of(file) == list(range(6)) and len(last_epoch(frame)) == 6


def check_read_only(file, results, writable):
    build = Counting()
    more = one(build, "sweep", seeds=4)
    content = file.path.read_bytes()
    with pytest.raises(RecordError, match=r"^sweep.jsonl: .* is read-only, .* nothing was trained"):
        full(more)
    assert build.built == 1 and file.path.read_bytes() == content  # Built for its fingerprint.
    # What is recorded can be read all the same.
    assert len(more.recorded().frame) == 2
    writable()
    full(more)
    assert seeds_of(file) == [0, 1, 2, 3] and file.path.read_bytes().startswith(content)


def test_results_on_a_read_only_disk_are_refused_before_anything_is_trained(results, disk):
    file = results(disk)
    full(one(Counting(), "sweep", seeds=2))
    mount("-o", "remount,ro", disk)
    check_read_only(file, results, lambda: mount("-o", "remount,rw", disk))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_results_that_may_not_be_written_are_refused_before_anything_is_trained(
    which, results, tmp_path
):
    folder = tmp_path / "results"
    file = results(folder)
    full(one(Counting(), "sweep", seeds=2))
    place = file.path if which == "file" else folder
    usual = place.stat().st_mode
    place.chmod(usual & ~0o222)
    try:
        check_read_only(file, results, lambda: place.chmod(usual))
    finally:
        place.chmod(usual)


DAMAGE = {
    "cut off": lambda line: line[: len(line) // 2] + b"\n",
    "emptied": lambda line: b"\n",
    "overwritten": lambda line: bytes(len(line) - 1) + b"\n",
    "from a merge": lambda line: b"<<<<<<< HEAD\n" + line + b"=======\n" + line + b">>>>>>> x\n",
}


def test_a_corrupt_line_in_the_middle_costs_its_run_and_is_reported(results, tmp_path):
    file, started = results(tmp_path / "results"), Path(os.environ["STARTED"])
    full(sweep(3))
    lines = file.path.read_bytes().splitlines(keepends=True)
    for kind, damage in DAMAGE.items():
        damaged = b"".join([lines[0], damage(lines[1]), lines[2]])
        file.path.write_bytes(damaged)
        kept = kind == "from a merge"
        found = sweep(3).recorded()
        assert found.missing == (() if kept else (("a", 1),)), kind
        assert found.damaged == {"emptied": (), "from a merge": (2, 4, 6)}.get(kind, (2,)), kind
        assert ("Damaged lines, skipped" in repr(found)) is bool(found.damaged)
        started.unlink()
        frame = full(sweep(3))
        assert started.exists() is not kept and (kept or started.read_text() == "1\n")
        assert file.path.read_bytes().startswith(damaged)
        assert sweep(3).recorded().complete
        assert list(last_epoch(frame)["seed"]) == [0, 1, 2]
        started.touch()
