"""Recorded runs: written whole, at once, once, by several writers, on disks that fail."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.evidence import records
from utils.evidence.records import RecordError, RecordFile, key


def run_of(seed, arm="an arm", **other):
    return {"arm": arm, "seed": seed, "fingerprint": {"model": "a", "fit": "b"}, **other}


@pytest.fixture
def file(tmp_path):
    return RecordFile(tmp_path / "results" / "an-experiment.jsonl")


def start(code, *arguments):
    """Start a process that sees `utils.records` and no TensorFlow."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )


def test_a_file_that_is_not_there_holds_nothing(file):
    assert file.read() == ([], [])


def test_what_is_appended_is_read_in_order_and_exactly(file):
    written = [run_of(seed, arm="Größe | ≥ 2\n", loss=0.1 + 0.2 * seed) for seed in range(5)]
    assert all([file.append(record) for record in written])
    assert file.read() == (written, [])
    lines = file.path.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == written
    assert lines[-1] == b""


def test_a_record_is_on_the_disk_when_append_returns(file):
    file.append(run_of(0))
    code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text(), end='')"
    output, _ = start(code, file.path).communicate(timeout=30)
    assert json.loads(output) == run_of(0)


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.text(max_size=20),
    st.integers(0, 2**32 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
@settings(max_examples=40, deadline=None)
def test_any_record_comes_back_as_it_was(tmp_path_factory, fingerprint, arm, seed, value):
    file = RecordFile(tmp_path_factory.mktemp("any") / "x.jsonl")
    record = {"arm": arm, "seed": seed, "fingerprint": fingerprint, "loss": value}
    assert file.append(record)
    assert file.read() == ([record], [])


def test_the_same_run_is_recorded_once(file):
    assert file.append(run_of(0, loss=1.0))
    before = file.path.read_bytes()
    assert not file.append(run_of(0, loss=2.0))
    assert file.path.read_bytes() == before
    for other in (
        run_of(1),
        run_of(0, arm="another"),
        {**run_of(0), "fingerprint": {"model": "a", "fit": "c"}},
    ):
        assert file.append(other)
    assert len(file.read()[0]) == 4


def test_the_key_follows_arm_seed_and_fingerprint_and_nothing_else():
    turned = {**run_of(3), "fingerprint": {"fit": "b", "model": "a"}, "loss": 1.0}
    assert key(turned) == key(run_of(3))
    assert key(run_of(3)) != key(run_of(4))
    with pytest.raises(KeyError):
        key({"arm": "an arm", "seed": 0})


def test_a_torn_last_line_is_skipped_reported_and_closed_by_the_next_record(file):
    for seed in range(2):
        file.append(run_of(seed))
    whole = file.path.read_bytes()
    for cut in range(1, len(whole) // 2 - 1):
        torn = whole[:-cut]
        file.path.write_bytes(torn)
        # Without its end-of-line a record is still whole.
        kept = [run_of(0), run_of(1)] if cut == 1 else [run_of(0)]
        assert file.read() == (kept, [] if cut == 1 else [2])
        assert file.append(run_of(2))
        assert file.read() == ([*kept, run_of(2)], [] if cut == 1 else [2])
        assert file.path.read_bytes().startswith(torn + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"null",
        b"3",
        b"[]",
        b'"text"',
        b"{}",
        b'{"arm": "an arm", "seed": 0}',
        b'{"arm": "an arm", "seed": 0, "fingerprint": "abc"}',
        b'{"arm": "an arm", "seed": 0, "fingerprint": null}',
        b'{"arm": ["an arm"], "seed": 0, "fingerprint": {}}',
        b'{"arm": "an arm", "seed": 0, "fingerprint": {"model": ["a"]}}',
        b"<<<<<<< HEAD",
        b"\xff\xfe\x00",
    ],
)
def test_a_damaged_line_in_the_middle_is_skipped_reported_and_left_alone(file, line):
    file.append(run_of(0))
    first = file.path.read_bytes()
    file.path.write_bytes(first + line + b"\n" + first.replace(b'"seed": 0', b'"seed": 1'))
    before = file.path.read_bytes()
    assert file.read() == ([run_of(0), run_of(1)], [2])
    assert file.append(run_of(2))
    assert file.read() == ([run_of(0), run_of(1), run_of(2)], [2])
    assert file.path.read_bytes().startswith(before)


def test_blank_lines_and_windows_line_ends_are_not_damage(file):
    file.path.parent.mkdir()
    lines = [json.dumps(run_of(seed)).encode() for seed in range(3)]
    file.path.write_bytes(b"\n" + b"\r\n\r\n".join(lines) + b"\n   \n\n")
    assert file.read() == ([run_of(seed) for seed in range(3)], [])


def test_a_file_that_grows_is_read_on_and_not_anew(file, monkeypatch):
    for seed in range(50):
        file.append(run_of(seed))
    parsed = []
    parse = records._parse
    monkeypatch.setattr(records, "_parse", lambda line: parsed.append(line) or parse(line))
    RecordFile(file.path).append(run_of(50))  # Another writer, who has read nothing yet.
    assert len(parsed) == 50
    assert not file.append(run_of(50)) and file.append(run_of(51))
    assert len(parsed) == 52
    assert file.keys() == {key(run_of(seed)) for seed in range(52)}


def grown(content):
    return content + json.dumps(run_of(7)).encode() + b"\n"


CHANGES = {
    "it is gone": None,
    "it is empty": lambda content: b"",
    "lines were taken out": lambda content: content.partition(b"\n")[2],
    "lines were taken out and others added": lambda content: grown(content.partition(b"\n")[2]),
    "it grew in the meantime": grown,
    "its last line was torn": lambda content: content[:-9],
    "a line is still being written": lambda content: content + b'{"arm": "an',
    "a line has no end yet": lambda content: grown(content)[:-1],
}


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by another file"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_changed_is_known_as_it_is(change, in_place, file):
    for seed in range(3):
        file.append(run_of(seed))
    assert len(file.keys()) == 3
    content = file.path.read_bytes()
    if not in_place:
        file.path.rename(file.path.with_suffix(".old"))
    if CHANGES[change] is None:
        file.path.unlink(missing_ok=True)
    else:
        file.path.write_bytes(CHANGES[change](content))
    for record in (None, run_of(7), run_of(8)):
        if record is not None:
            there = key(record) in RecordFile(file.path).keys()
            assert file.append(record) is not there
        assert file.keys() == RecordFile(file.path).keys()
        assert file.keys() == {key(each) for each in file.read()[0]}


def test_a_place_that_can_be_written_is_not_refused(file):
    file.require_writable()  # Neither the file nor its folder is there.
    assert not file.path.parent.exists()
    file.append(run_of(0))
    file.require_writable()


def test_a_value_that_is_no_number_is_refused_before_anything_is_written(file):
    file.append(run_of(0))
    before = file.path.read_bytes()
    with pytest.raises(ValueError):
        file.append(run_of(1, loss=float("nan")))
    assert file.path.read_bytes() == before


WRITER = """
import os, sys, time
from pathlib import Path
from utils.evidence.records import RecordFile
file = RecordFile(Path(sys.argv[1]))
if len(sys.argv) > 4:  # Starts when as many are ready as there shall be.
    ready = Path(sys.argv[4])
    (ready / str(os.getpid())).touch()
    while len(list(ready.iterdir())) < 2:
        time.sleep(0.001)
for seed in range(int(sys.argv[3])):
    file.append({"arm": sys.argv[2], "seed": seed, "fingerprint": {}, "epochs": [0.1] * 40})
    time.sleep(0.005)  # Runs take time: one writer must not be done before the other looks again.
"""


def test_two_writers_at_once_lose_and_tear_nothing(file, tmp_path):
    (tmp_path / "ready").mkdir()
    writers = [start(WRITER, file.path, arm, 200, tmp_path / "ready") for arm in ("one", "two")]
    for writer in writers:
        _, error = writer.communicate(timeout=120)
        assert writer.returncode == 0, error
    found, damaged = file.read()
    assert damaged == []
    assert len(found) == 400
    assert {(r["arm"], r["seed"]) for r in found} == {
        (arm, seed) for arm in ("one", "two") for seed in range(200)
    }
    # They did write at the same time.
    arms = [record["arm"] for record in found]
    assert arms != sorted(arms) and arms != sorted(arms, reverse=True)


def test_two_writers_of_the_same_runs_record_each_once(file, tmp_path):
    (tmp_path / "ready").mkdir()
    writers = [start(WRITER, file.path, "one", 60, tmp_path / "ready") for _ in range(2)]
    for writer in writers:
        _, error = writer.communicate(timeout=120)
        assert writer.returncode == 0, error
    assert [record["seed"] for record in file.read()[0]] == list(range(60))


def test_a_writer_that_is_killed_at_any_moment_leaves_whole_lines_and_a_free_lock(file):
    for round_ in range(4):
        writer = start(WRITER, file.path, f"round {round_}", 10**6)
        before = file.path.stat().st_size if file.path.exists() else 0
        for _ in range(2_000):  # At most 20 s until it writes.
            if file.path.exists() and file.path.stat().st_size > before + 2_000 * (round_ + 1):
                break
            writer.poll() is None or pytest.fail(writer.stderr.read())
            threading.Event().wait(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.communicate(timeout=30)
        found, damaged = file.read()
        assert damaged == []
        seeds = [record["seed"] for record in found if record["arm"] == f"round {round_}"]
        assert seeds == list(range(len(seeds))) and seeds
    assert file.append(run_of(0, arm="after"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from utils.evidence.records import RecordError, RecordFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
file = RecordFile(Path(sys.argv[1]))
try:
    file.append({"arm": "an arm", "seed": 7, "fingerprint": {}, "long": "x" * 500})
except RecordError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(file.append({"arm": "an arm", "seed": 8, "fingerprint": {}}))
"""


@pytest.mark.parametrize("room", [0, 1, 100, 400])
def test_a_full_disk_is_an_error_that_names_the_run_and_leaves_no_half_line(file, room):
    file.append(run_of(0))
    before = file.path.read_bytes()
    output, error = start(FULL_DISK, file.path, len(before) + room).communicate(timeout=60)
    lines = output.splitlines()
    assert len(lines) == 2, error
    assert "arm 'an arm', seed 7" in lines[0] and "not recorded" in lines[0]
    # With room for a part of the line, that part had been written: it is given back.
    assert lines[1] == "True"
    assert file.path.read_bytes().startswith(before + b'{"arm": "an arm", "seed": 8')
    assert file.read()[1] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_device_that_takes_nothing_is_an_error_that_names_the_run(tmp_path):
    path = tmp_path / "full.jsonl"
    path.symlink_to("/dev/full")
    # It is endless when read: nothing may be read beyond its size, which is none.
    with pytest.raises(RecordError, match=r"full.jsonl: the run of arm 'an arm', seed 3 was"):
        RecordFile(path).append(run_of(3))


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_run(tmp_path):
    (tmp_path / "results").write_text("a file, where a folder should be")
    file = RecordFile(tmp_path / "results" / "x.jsonl")
    assert file.read() == ([], [])
    with pytest.raises(RecordError, match="arm 'an arm', seed 3 was trained but not recorded"):
        file.append(run_of(3))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_error_that_names_the_run(file):
    file.append(run_of(0))
    before = file.path.read_bytes()
    file.path.chmod(0o444)
    try:
        with pytest.raises(RecordError, match="arm 'an arm', seed 1"):
            file.append(run_of(1))
        assert file.path.read_bytes() == before
    finally:
        file.path.chmod(0o644)


def test_a_lock_that_stays_taken_is_an_error_that_says_what_to_do(file, monkeypatch):
    file.append(run_of(0))
    monkeypatch.setattr(records, "_LOCK_SECONDS", 0.2)
    with filelock.FileLock(f"{file.path}.lock"):
        with pytest.raises(RecordError, match=r"held the lock .* remove an-experiment.jsonl.lock"):
            file.append(run_of(1))
    assert file.append(run_of(1))
