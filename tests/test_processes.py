"""Several runs at a time on one machine, as `make results` trains them."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import joblib
import pytest
import sweeps
from sweeps import SHORT, is_alive, net, notes, noting, recorded_runs, wait_for
from test_plan import asked, lines, record, write

from utils import data
from utils.commands import costs, notebooks
from utils.experiments import Arm, Experiment, RunError
from utils.experiments.backends import worker
from utils.experiments.backends.local import ProcessError, train

# Spares the processes that train what is imported here for other purposes.
for module in (sweeps, sys.modules[__name__]):
    cloudpickle.register_pickle_by_value(module)

TESTS = Path(__file__).parent
EACH = max(1, joblib.cpu_count() // 2)  # The threads of each of two processes.

BESIDE = """
import os


def process(model, split):
    return os.getpid()


def threads(model, split):
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))


def side_by_side(model, split):
    return int(os.environ.get("TF_NUM_INTEROP_THREADS", 0))
"""


@pytest.fixture
def two_jobs(monkeypatch):
    monkeypatch.setenv("MNIST_JOBS", "2")
    with joblib.parallel_config(n_jobs=None):  # The tests' own would come first.
        yield


def trainers(folder):
    return {pid for _, pid, _ in notes(folder, "begin")}


# The same runs

NOTEBOOK = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(TESTS)!r})
from sweeps import *
from utils.evidence import records
from utils.experiments import Arm, Experiment

records.RESULTS = Path("results").absolute()
SCALE = 2


def noisy(split, rng):  # A function of the notebook, which no other process could import.
    noise = rng.random(split.x_train.shape, dtype="float32")
    return split.replace(x_train=(split.x_train + noise) / SCALE)
"""

# As many threads as each of two processes that train, from before TensorFlow starts; the variables
# are gone when those are started.
FEWER_THREADS = f"""
import os
threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "{EACH}")
os.environ.update(threads)
import keras
keras.ops.zeros(1) + 1
for name in threads:
    del os.environ[name]
"""

TWO = f"""
import json
import joblib
import pandas as pd
from beside import process, side_by_side, threads  # A module that lies beside the notebook.
from utils.evidence import last_epoch

metrics = {{"process": process, "threads": threads}}
arms = {{"plain": net, "noisy": Arm(net, noisy)}}
two = Experiment("two", arms, seeds=2, metrics=metrics, **SHORT)
alone = Experiment("alone", {{"a": net}}, seeds=4, metrics=metrics, exclusive=True, **SHORT)
for scale in ("full", "quick"):
    assert set(last_epoch(alone.run(scale).best)["process"]) == {{os.getpid()}}

# A single process with as many threads as there are cores, of which an operation has one.
more = {{**metrics, "side_by_side": side_by_side}}
narrow = Experiment(
    "narrow", {{"a": net}}, seeds=2, metrics=more, exclusive=True, threads=1, **SHORT
)
runs = last_epoch(narrow.run("full").best)
assert len(set(runs["process"])) == 1 and os.getpid() not in set(runs["process"])
assert set(runs["threads"]) == {{1}} and set(runs["side_by_side"]) == {{joblib.cpu_count()}}
with open(narrow.recorded().required.file.path) as file:
    assert {{json.loads(line)["machine"]["threads"] for line in file}} == {{1}}
os.environ["MNIST_JOBS"] = "1"
with joblib.parallel_config(n_jobs=2):  # Joblib goes first.
    there = two.run().best
processes = set(last_epoch(there)["process"])
assert len(processes) == 2 and os.getpid() not in processes
assert set(last_epoch(there)["threads"]) == {{{EACH}}}
two.recorded().required.file.path.unlink()
here = two.run().best
assert set(last_epoch(here)["process"]) == {{os.getpid()}}
same = [frame.drop(columns=["seconds", "process", "threads"]) for frame in (there, here)]
pd.testing.assert_frame_equal(*same, check_exact=True)
# It is imported for a cluster alone.
assert not {{"dask", "distributed"}} & set(sys.modules)
"""


@pytest.mark.cluster
def test_two_at_a_time_give_the_bits_of_one_after_the_other_but_for_what_runs_alone(
    full_mnist, tmp_path
):
    (tmp_path / "beside.py").write_text(BESIDE, encoding="utf-8")
    path = write(tmp_path / "a.ipynb", FEWER_THREADS, NOTEBOOK, TWO)
    notebooks.execute(path, "full", jobs=2)


# What the command hands over, and what it says beforehand


@pytest.mark.parametrize(
    ("argument", "jobs", "hours", "turns"),
    [
        ("--jobs=1", 1, "8.0", "one run after the other"),
        ("--jobs=2", 2, "6.0", "up to 2 runs at a time"),
        ("--jobs=9", 9, "6.0", "up to 9 runs at a time"),
        ("", 2, "6.0", "up to 2 runs at a time"),
        ("MNIST_JOBS=3", 3, "6.0", "up to 3 runs at a time"),
    ],
)
def test_the_command_hands_the_number_over_and_counts_with_it(
    argument, jobs, hours, turns, records, monkeypatch, capsys
):
    lines("one", record("a", 99, 3_600.0, model="m"))
    stored = [asked(seeds=4), asked("two", seeds=4, exclusive=True)]
    path = write(records / "a.ipynb", "1", outputs=stored)
    given = []

    def execute(path, scale, claim, scheduler, jobs, progress):
        given.append((path, scale, claim, scheduler, jobs))
        raise notebooks.NotebookError("not run")

    monkeypatch.setattr(notebooks, "execute", execute)
    for module in (notebooks, costs):
        monkeypatch.setattr(module, "cpu_count", lambda: 2)
    if argument.startswith("MNIST_"):
        monkeypatch.setenv(*argument.split("="))
    assert notebooks.main([*[argument] * argument.startswith("-"), str(path)]) == 1
    assert given == [(path, "full", None, None, jobs)]
    price = f"about {hours} hours of training (as recorded, {turns}"
    said = capsys.readouterr().out
    assert f"8 runs are missing, {price}; for 4 of them guessed from" in said


@pytest.mark.parametrize("jobs", ["0", "two", "-1", "1.5", ""])
def test_a_number_of_jobs_that_is_none_is_refused(
    jobs, full_mnist, records, two_jobs, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        notebooks.main([f"--jobs={jobs}"])
    assert f"argument --jobs: {jobs!r}: allowed is a whole number from 1" in capsys.readouterr().err
    monkeypatch.setenv("MNIST_JOBS", jobs)
    message = f"MNIST_JOBS='{jobs}'; allowed is a whole number from 1"
    with pytest.raises(ValueError, match=message):
        Experiment("x", {"a": net}, seeds=2, **SHORT).run("full")
    with pytest.raises(SystemExit):
        notebooks.main([])
    assert message in capsys.readouterr().err


def test_jobs_go_with_nothing_that_decides_it_itself(monkeypatch, capsys):
    for other in (["--store"], ["--scheduler", "tcp://host:8786"], []):
        if not other:
            monkeypatch.setenv("MNIST_SCHEDULER", "tcp://left-over:8786")
        with pytest.raises(SystemExit):
            notebooks.main(["--jobs", "2", *other])
        said = capsys.readouterr().err
        assert "--jobs does not go with" in said
        assert other == ["--store"] or f"{'left-over' if not other else 'host'}:8786" in said


# What goes wrong


@pytest.mark.cluster
def test_what_fails_is_one_error_and_the_finished_runs_are_kept(full_mnist, records, two_jobs):
    file = records / "results" / "x.jsonl"

    def failing(split, rng):
        if rng.bit_generator.seed_seq.entropy == 7:
            wait_for(lambda: file.exists() and file.read_bytes().count(b"\n") == 7)
            broken()
        return noting(records, 0)(split, rng)

    def broken():
        raise OSError("it is broken")

    experiment = Experiment("x", {"a": Arm(net, failing)}, seeds=8, **SHORT)
    with pytest.raises(RunError, match="arm 'a', seed 7: OSError: it is broken") as caught:
        experiment.run("full")
    assert {run["seed"] for run in recorded_runs(experiment)} == set(range(7))
    assert "in broken" in str(caught.value.__cause__)  # Where in the other process it was.
    assert len(trainers(records)) == 2
    wait_for(lambda: not any(map(is_alive, trainers(records))))


def dying(folder, number):
    """Kill the process that number 7 is given to, after the others have come back."""
    while number == 7 and len(list(folder.iterdir())) < 7:
        time.sleep(0.01)
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.cluster
def test_a_process_that_dies_is_one_error_and_what_was_finished_is_there(full_mnist, tmp_path):
    calls = [(f"it {number}", (tmp_path, number)) for number in range(8)]
    message = r"^it 7: the process that trained it ended with status -9\b.*JOBS=1"
    with pytest.raises(ProcessError, match=message):
        for number in train(2, dying, calls, data.load_mnist("full")):
            (tmp_path / f"{number}").touch()
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(7))


def called(function, *arguments):
    """Call a function in a process for training."""
    return next(train(1, function, [("it", arguments)], data.load_mnist("full")))


@pytest.mark.cluster
def test_a_process_that_ends_says_last_why(full_mnist, capfd):
    why = r"^it: the process .* ended with status 1, its last line was 'for no reason'\. If the"
    with pytest.raises(ProcessError, match=why):
        called(eval, "os.write(2, b'first\\nfor no reason\\n'), os._exit(1)", {"os": os})
    assert "first\nfor no reason\n" in capfd.readouterr().err  # And the log has all of it.


@pytest.mark.cluster
def test_what_lies_in_the_current_folder_is_not_run(full_mnist, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for entry in ("", str(tmp_path)):
        monkeypatch.syspath_prepend(entry)
    for module in ("re", "sitecustomize", "colorsys"):
        Path(f"{module}.py").write_text("import os; os._exit(7)", encoding="utf-8")
    code = "[__import__(name).__file__ for name in ('re', 'colorsys')]"
    assert called(eval, code) == [
        importlib.import_module(name).__file__ for name in ("re", "colorsys")
    ]


@pytest.mark.cluster
def test_a_run_for_which_another_module_is_imported_than_the_sender_has_is_refused(
    full_mnist, monkeypatch
):
    # As after a change of the course. What nothing uses does not matter.
    monkeypatch.setitem(worker._COURSE, "utils.theory.reference", "before")
    assert called(abs, -1) == 1
    message = r"differs .* here: utils\.theory\.reference|utils\.theory\.reference \(\w+ there"
    with pytest.raises(ProcessError, match=message):
        called(eval, "__import__('utils.theory.reference') and 1")
    monkeypatch.setitem(worker._COURSE, "utils.data.mnist", "before")
    message = r"cannot train: it differs .* utils\.data\.mnist \(\w+ there, b"
    with pytest.raises(ProcessError, match=message):
        called(abs, -1)


def test_a_worker_of_a_cluster_needs_no_tensorflow():
    code = f"import sys, {worker.__name__}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_cannot_be_sent_is_named_before_a_process_is_started(monkeypatch):
    monkeypatch.setattr(worker, "Trainer", None)
    calls = [("arm 'good', seed 0", ()), ("arm 'bad', seed 0", (threading.Lock(),))]
    with pytest.raises(ProcessError, match="^arm 'bad', seed 0 cannot be sent .*must be values"):
        next(train(2, print, calls, data.load_mnist("quick")))


@pytest.mark.cluster
def test_ctrl_c_ends_the_kernel_and_the_processes_that_train(full_mnist, records, capsys):
    begun = records / "begun"
    begun.mkdir()
    arms = f"{{'a': Arm(net, noting({str(begun)!r}, 600))}}"
    command = f"Experiment('slow', {arms}, seeds=4, **SHORT).run('full')"
    path = write(records / "a.ipynb", NOTEBOOK, command, stored=False)
    later = write(records / "later.ipynb", "1", stored=False)
    handler = signal.getsignal(signal.SIGINT)

    def stop():
        wait_for(lambda: len(trainers(begun)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert notebooks.main(["--jobs=2", str(path), str(later)]) == 130
    stopper.join()
    assert signal.getsignal(signal.SIGINT) is handler
    processes = {pid for _, *pids in notes(begun, "begin") for pid in pids}
    wait_for(lambda: not any(map(is_alive, processes)))
    assert len(trainers(begun)) == 2 and not notes(begun, "end")
    out = capsys.readouterr().out
    assert "stopped in" in out and "[2/2]" not in out


# What sends the runs here, and what they do, need no TensorFlow.
SENDER = """
import os, time
from pathlib import Path
from utils import data
from utils.experiments.backends.local import train

def slow(number):
    Path(f"begin {number} {os.getpid()} {os.getppid()}").touch()
    time.sleep(600)
    Path(f"end {number} {os.getpid()} {os.getppid()}").touch()

list(train(2, slow, [(f"{n}", (n,)) for n in range(4)], data.load_mnist("full")))
"""


@pytest.mark.cluster
def test_they_end_with_a_process_that_is_killed(full_mnist, tmp_path):
    sender = subprocess.Popen([sys.executable, "-c", SENDER], cwd=tmp_path)
    wait_for(lambda: len(trainers(tmp_path)) == 2)
    sender.kill()
    sender.wait()
    wait_for(lambda: not any(map(is_alive, trainers(tmp_path))))
    assert not notes(tmp_path, "end")
