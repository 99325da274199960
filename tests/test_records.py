"""Recorded runs: written whole, at once, once, by several writers, on disks that fail."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import filelock
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utils.evidence import artifacts, records
from utils.evidence.records import RecordError, RecordFile, Requirements, key


def run_of(seed, arm="an arm", **other):
    return {"arm": arm, "seed": seed, "fingerprint": {"model": "a", "fit": "b"}, **other}


@pytest.fixture
def file(tmp_path):
    return RecordFile(tmp_path / "results" / "an-experiment.jsonl")


def start(code, *arguments, **pipes):
    """Start a process that sees `utils.evidence.records` and no TensorFlow."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        **pipes,
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
    code = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text('utf-8'), end='')"
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


CHANGES = {
    "it is gone": None,
    "it is empty": lambda content: b"",
    "lines were taken out": lambda content: content.partition(b"\n")[2],
    "it grew in the meantime": lambda content: content + LINE,
    "its last line was torn": lambda content: content[:-9],
    "a line is still being written": lambda content: content + LINE[:9],
    "a line has no end yet": lambda content: content + LINE[:-1],
}
LINE = json.dumps(run_of(7)).encode() + b"\n"


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_another_writer_changed_is_taken_as_it_is(change, file):
    for seed in range(3):
        file.append(run_of(seed))
    if CHANGES[change] is None:
        file.path.unlink()
    else:
        file.path.write_bytes(CHANGES[change](file.path.read_bytes()))
    for record in (run_of(7), run_of(8)):
        there = key(record) in map(key, RecordFile(file.path).read()[0])
        assert file.append(record) is not there
        assert not file.append(record)


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
    writers = [start(WRITER, file.path, arm, 100, tmp_path / "ready") for arm in ("one", "two")]
    for writer in writers:
        _, error = writer.communicate(timeout=120)
        assert writer.returncode == 0, error
    found, damaged = file.read()
    assert damaged == []
    assert len(found) == 200
    assert {(r["arm"], r["seed"]) for r in found} == {
        (arm, seed) for arm in ("one", "two") for seed in range(100)
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
    (tmp_path / "results").write_text("a file, where a folder should be", encoding="utf-8")
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


# Which records count


WANTED = Requirements(
    "an-experiment", (0, 2), {"a": {"model": "1", "fit": "1"}, "b": {"model": "2"}}
)


def of_arm(arm, seed, **fingerprint):
    return {"arm": arm, "seed": seed, "fingerprint": fingerprint, "line": next(LINES)}


LINES = iter(range(100))


def test_records_count_by_arm_seed_and_every_part_in_the_order_of_the_runs():
    good = [
        of_arm("b", 2, model="2"),
        of_arm("a", 2, fit="1", model="1"),
        of_arm("a", 0, model="1", fit="1"),
    ]
    others = [
        of_arm("a", 1, model="1", fit="1"),  # a seed that is not asked for
        of_arm("b", 0, model="1"),  # another arm's model
        of_arm("c", 0, model="2"),  # an arm that is gone
        of_arm("b", 0, model="2", more="x"),  # a part that is no longer told
    ]
    counting = WANTED.counting([*others, *good])
    assert list(counting) == [("a", 0), ("a", 2), ("b", 2)]
    assert list(counting.values()) == [good[2], good[1], good[0]]
    assert list(WANTED.runs.values()) == [("a", 0), ("b", 0), ("a", 2), ("b", 2)]


def test_what_changed_is_said_of_an_arm_of_which_no_record_counts():
    stale = [
        of_arm("a", 0, model="0", fit="1"),
        of_arm("b", 0, model="1"),
        of_arm("c", 0, model="1"),
    ]
    assert WANTED.changed(stale) == {"a": ("model",), "b": ("model",)}
    current = of_arm("b", 2, model="2")
    assert WANTED.changed([current, *stale]) == {"a": ("model",)}
    # The last record says what changed since.
    assert WANTED.changed([*stale, of_arm("a", 0, model="1", fit="0")])["a"] == ("fit",)
    assert WANTED.changed([of_arm("a", 9, model="1", fit="1")]) == {}


def test_requirements_survive_a_notebooks_metadata():
    stored = json.loads(json.dumps(WANTED.to_metadata()))
    assert Requirements.from_metadata(stored) == WANTED
    assert stored["experiment"] == "an-experiment" and stored["seeds"] == [0, 2]
    assert WANTED.file.path.name == "an-experiment.jsonl"


# Arrays in a record


@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f8", "<i2", "u1", "<i8"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=5),
        elements=st.integers(0, 100),
    )
)
@settings(max_examples=40, deadline=None)
def test_an_array_comes_back_as_it_was(array):
    packed = json.loads(json.dumps(artifacts.pack("weights", array)))
    back = artifacts.unpack("weights", packed)
    np.testing.assert_array_equal(back, array, strict=array.dtype.isnative)
    assert back.shape == array.shape and not back.flags.writeable


@pytest.mark.parametrize(
    "array", [np.array([1, np.nan]), np.array([np.inf]), np.array(["a"]), np.array([1j]), [None]]
)
def test_what_is_not_finite_numbers_is_not_packed(array):
    with pytest.raises(ValueError, match="artifact 'w' has the dtype .*finite real numbers"):
        artifacts.pack("w", array)


def test_what_is_too_large_is_not_packed():
    too_large = np.broadcast_to(np.float32(0), (2**24 + 1,))
    with pytest.raises(ValueError, match="artifact 'w' has 67,108,868 bytes; allowed are 67,108"):
        artifacts.pack("w", too_large)


GOOD = artifacts.pack("w", np.arange(6, dtype="<f4").reshape(2, 3))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "O"},
        {"dtype": None},
        {"dtype": "no type"},
        {"shape": [2, 4]},
        {"shape": [2, 2]},
        {"shape": [-2, -3]},
        {"shape": [0, 10**30]},
        {"shape": [float("inf")]},
        {"shape": 6},
        {"zlib": GOOD["zlib"][:-5]},
        {"zlib": "no base 85 \x00"},
        {"zlib": base64.b85encode(b"not zlib").decode()},
        {"zlib": None},
    ],
    ids=repr,
)
def test_what_is_no_packed_array_is_an_error_that_names_it(change):
    assert artifacts.unpack("w", GOOD).shape == (2, 3)
    with pytest.raises(ValueError, match="artifact 'w' cannot be read from its record"):
        artifacts.unpack("w", {**GOOD, **change})
    for part in change:
        with pytest.raises(ValueError, match="artifact 'w' cannot be read from its record"):
            artifacts.unpack("w", {key: value for key, value in GOOD.items() if key != part})


BOMB = """
import json, resource, sys
from utils.evidence import artifacts
packed = json.loads(sys.stdin.read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    artifacts.unpack("a bomb", packed)
except ValueError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no resource module")
@pytest.mark.parametrize("shape", [[2**31], [2**20]], ids=["said", "hidden"])
def test_a_line_that_unpacks_to_two_gigabytes_takes_no_memory(shape):
    # Blocks of zeros that refer to nothing before them: one is packed, and repeated.
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    content = head + 2047 * block + packer.flush()
    assert len(zlib.decompressobj().decompress(content, 2**26)) == 2**26
    bomb = {"dtype": "|u1", "shape": shape, "zlib": base64.b85encode(content).decode()}
    process = start(BOMB, stdin=subprocess.PIPE)
    output, error = process.communicate(json.dumps(bomb), timeout=60)
    said, kilobytes = output.splitlines()
    assert "artifact 'a bomb' cannot be read" in said, error
    # On macOS the system counts bytes.
    assert int(kilobytes) * (1 if sys.platform == "darwin" else 1024) < 2**25
