"""Recorded runs: written whole, at once, once, by several writers, on disks that fail."""

import base64
import json
import subprocess
import sys
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


@given(
    st.lists(
        st.builds(
            run_of,
            st.integers(0, 2**32 - 1),
            st.text(max_size=20),
            loss=st.floats(allow_nan=False, allow_infinity=False),
            fingerprint=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        ),
        max_size=4,
        unique_by=key,
    )
)
@settings(max_examples=40, deadline=None)
def test_what_is_appended_is_read_in_order_and_exactly(tmp_path_factory, written):
    file = RecordFile(tmp_path_factory.mktemp("any") / "x.jsonl")
    for record in [run_of(3, arm="Größe | ≥ 2\n", loss=0.1 + 0.2), *written]:
        file.append(record)
    found, damaged = file.read()
    assert found[1:] == [each for each in written if key(each) != key(found[0])] and damaged == []
    *lines, end = file.path.read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines] == found and end == b""


def test_the_same_run_is_recorded_once(file):
    assert file.append(run_of(0, loss=1.0))
    before = file.path.read_bytes()
    assert not file.append(run_of(0, loss=2.0))
    assert not file.append(run_of(0, fingerprint={"fit": "b", "model": "a"}))
    assert file.path.read_bytes() == before
    for other in (
        run_of(1),
        run_of(0, arm="another"),
        {**run_of(0), "fingerprint": {"model": "a", "fit": "c"}},
    ):
        assert file.append(other)
    assert len(file.read()[0]) == 4


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


NO_RECORDS = [
    *[b"{", b"null", b"3", b"[]", b'"text"', b"{}", b"<<<<<<< HEAD", b"\xff\xfe\x00"],
    b'{"arm": "an arm", "seed": 0}',
    b'{"arm": "an arm", "seed": 0, "fingerprint": "abc"}',
    b'{"arm": "an arm", "seed": 0, "fingerprint": null}',
    b'{"arm": ["an arm"], "seed": 0, "fingerprint": {}}',
    b'{"arm": "an arm", "seed": 0, "fingerprint": {"model": ["a"]}}',
]


@pytest.mark.parametrize("line", NO_RECORDS)
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


@pytest.mark.parametrize("arms", [("one", "two"), ("one", "one")])
def test_two_writers_at_once_lose_and_tear_nothing_and_record_a_run_once(file, tmp_path, arms):
    (tmp_path / "ready").mkdir()
    writers = [start(WRITER, file.path, arm, 100, tmp_path / "ready") for arm in arms]
    for writer in writers:
        _, error = writer.communicate(timeout=120)
        assert writer.returncode == 0, error
    found, damaged = file.read()
    runs = [(record["arm"], record["seed"]) for record in found]
    assert damaged == [] and sorted(runs) == [
        (arm, n) for arm in sorted({*arms}) for n in range(100)
    ]
    # They did write at the same time.
    assert arms == ("one", "one") or runs not in (sorted(runs), sorted(runs, reverse=True))


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
    third, second = of_arm("b", 2, model="2"), of_arm("a", 2, fit="1", model="1")
    first = of_arm("a", 0, model="1", fit="1")
    others = [
        of_arm("a", 1, model="1", fit="1"),  # a seed that is not asked for
        of_arm("b", 0, model="1"),  # another arm's model
        of_arm("c", 0, model="2"),  # an arm that is gone
        of_arm("b", 0, model="2", more="x"),  # a part that is no longer told
    ]
    counting = WANTED.counting([*others, third, second, first])
    assert counting == {("a", 0): first, ("a", 2): second, ("b", 2): third}
    assert list(counting) == [("a", 0), ("a", 2), ("b", 2)]
    assert list(WANTED.runs.values()) == [("a", 0), ("b", 0), ("a", 2), ("b", 2)]


def test_what_changed_is_said_of_an_arm_of_which_no_record_counts():
    stale = [of_arm("a", 0, model="0", fit="1"), of_arm("b", 0, model="1")]
    stale.append(of_arm("c", 0, model="1"))
    assert WANTED.changed(stale) == {"a": ("model",), "b": ("model",)}
    assert WANTED.changed([of_arm("b", 2, model="2"), *stale]) == {"a": ("model",)}
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


GOOD = artifacts.pack("w", np.arange(6, dtype="<f4").reshape(2, 3))


NO_ARRAYS = {
    "dtype": ["O", None, "no type"],
    "shape": [[2, 4], [2, 2], [-2, -3], [0, 10**30], [float("inf")], 6],
    "zlib": [*[GOOD["zlib"][:-5], "no base 85 \x00", base64.b85encode(b"not zlib").decode(), None]],
}


@pytest.mark.parametrize("part", NO_ARRAYS)
def test_what_is_no_packed_array_is_an_error_that_names_it(part):
    assert artifacts.unpack("w", GOOD).shape == (2, 3)
    without = {key: value for key, value in GOOD.items() if key != part}
    for packed in (without, *(without | {part: value} for value in NO_ARRAYS[part])):
        with pytest.raises(ValueError, match="artifact 'w' cannot be read from its record"):
            artifacts.unpack("w", packed)


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
