"""Several runs at a time on one machine, as `make results` trains them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sweeps import SHORT, is_alive, net, notes, noting, recorded_runs, wait_for
from test_plan import lines, planned, record, write

from utils import data
from utils.commands import notebooks as results
from utils.commands import plan
from utils.experiments import run as experiment
from utils.experiments.backends import worker
from utils.experiments.run import Arm, Experiment, RunError, last_epoch, run
from utils.experiments.backends.local import ProcessError, train

TESTS = Path(__file__).parent
EACH = max(1, joblib.cpu_count() // 2)  # The threads of each of two processes.


def process(model, split):
    return os.getpid()


def threads(model, split):
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))


@pytest.fixture
def records(monkeypatch, tmp_path):
    monkeypatch.setattr(experiment, "RESULTS", tmp_path / "results")
    return tmp_path


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
from test_processes import process, threads
from utils.experiments import run as experiment
from utils.experiments.run import Arm, Experiment, run

experiment.RESULTS = Path("results")
SCALE = 2


def noisy(split, rng):  # A function of the notebook, which no other process could import.
    noise = rng.random(split.x_train.shape, dtype="float32")
    return split.replace(x_train=(split.x_train + noise) / SCALE)


measures = {{"process": process, "threads": threads}}
arms = {{"plain": net, "noisy": Arm(net, noisy)}}
two = Experiment("two", "a-claim", arms, 3, SHORT, measures)
"""


def test_two_at_a_time_give_the_bits_of_one_after_the_other(full_mnist, tmp_path, monkeypatch):
    path = write(tmp_path / "a.ipynb", NOTEBOOK, "run(two, 'full').to_pickle('runs')")
    results.execute(path, "full", jobs=2)
    at_once = pd.read_pickle(tmp_path / "runs")
    (tmp_path / "results" / "two.jsonl").unlink()
    for variable in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.setenv(variable, str(EACH))
    results.execute(path, "full", jobs=1)
    in_turns = pd.read_pickle(tmp_path / "runs")
    assert at_once["process"].nunique() == 2 and in_turns["process"].nunique() == 1
    assert set(at_once["threads"]) == {EACH}
    pd.testing.assert_frame_equal(
        at_once.drop(columns=["seconds", "process"]),
        in_turns.drop(columns=["seconds", "process"]),
        check_exact=True,
    )


def test_an_experiment_about_seconds_has_its_process_to_itself(full_mnist, records, two_jobs):
    for scale, alone, processes in (("full", False, 2), ("full", True, 1), ("quick", True, 1)):
        name = f"{scale}-{alone}".lower()
        measures = {"process": process}
        each = Experiment(name, "c", {"a": net}, 6, SHORT, measures, alone=alone)
        trained_by = set(last_epoch(run(each, scale))["process"])
        assert len(trained_by) == processes
        assert (os.getpid() in trained_by) == alone


def test_joblib_says_how_many_at_full_scale_as_well(full_mnist, records):
    each = Experiment("x", "c", {"a": net}, 6, SHORT, {"process": process})
    with joblib.parallel_config(n_jobs=2):
        assert last_epoch(run(each, "full"))["process"].nunique() == 2


# What the command hands over, and what it says beforehand


@pytest.mark.parametrize(
    ("arguments", "jobs", "price"),
    [
        (["--jobs=1"], 1, "about 8.0 hours of training (as recorded, one run after the other"),
        (["--jobs=2"], 2, "about 6.0 hours of training (as recorded, up to 2 runs at a time"),
        (["--jobs=9"], 9, "about 6.0 hours of training (as recorded, up to 9 runs at a time"),
        ([], 2, "about 6.0 hours of training (as recorded, up to 2 runs at a time"),
        (["MNIST_JOBS=3"], 3, "about 6.0 hours of training (as recorded, up to 3 runs at a time"),
    ],
)
def test_the_command_hands_the_number_over_and_counts_with_it(
    arguments, jobs, price, tmp_path, monkeypatch, capsys
):
    lines(tmp_path, "one", record("a", 99, 3_600.0, model="m"))
    one, two = planned(tmp_path, seeds=4), planned(tmp_path, "two", seeds=4, alone=True)
    found = plan.Notebook(write(tmp_path / "a.ipynb", "1"), (one, two))
    given = []
    monkeypatch.setattr(plan, "notebooks", lambda paths, folder: iter([found]))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    for module in ("utils.results", "utils.costs"):
        monkeypatch.setattr(f"{module}.cpu_count", lambda: 2)
    monkeypatch.setattr(results, "execute", lambda *handed: given.append(handed) or (None, {}))
    for argument in arguments:
        if argument.startswith("MNIST_"):
            monkeypatch.setenv(*argument.split("="))
    results.main([each for each in arguments if each.startswith("-")] + [str(found.path)])
    assert given == [(found.path, "full", None, None, jobs)]
    said = capsys.readouterr().out
    assert f"Missing: 8 runs in 1 of 1 notebooks, {price}; for 4 of them guessed from" in said


@pytest.mark.parametrize("jobs", ["0", "two", "-1", "1.5", ""])
def test_a_number_of_jobs_that_is_none_is_refused(
    jobs, full_mnist, records, two_jobs, monkeypatch, capsys
):
    with pytest.raises(SystemExit):
        results.main([f"--jobs={jobs}"])
    assert f"argument --jobs: {jobs!r}: allowed is a whole number from 1" in capsys.readouterr().err
    monkeypatch.setenv("MNIST_JOBS", jobs)
    message = f"MNIST_JOBS='{jobs}'; allowed is a whole number from 1"
    with pytest.raises(ValueError, match=message):
        run(Experiment("x", "c", {"a": net}, 2, SHORT), "full")
    with pytest.raises(SystemExit):
        results.main([])
    assert message in capsys.readouterr().err


def test_jobs_go_with_nothing_that_decides_it_itself(monkeypatch, capsys):
    for other in (["--store"], ["--scheduler", "tcp://host:8786"], []):
        if not other:
            monkeypatch.setenv("MNIST_SCHEDULER", "tcp://left-over:8786")
        with pytest.raises(SystemExit):
            results.main(["--jobs", "2", *other])
        said = capsys.readouterr().err
        assert "--jobs does not go with" in said
        assert other == ["--store"] or f"{'left-over' if not other else 'host'}:8786" in said


# What goes wrong


def recorded_by(folder, name):
    file = folder / "results" / f"{name}.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def last_seed(records, name, action):
    """Make a `prepare` that acts under seed 7, after the runs of the seeds before are recorded."""

    def prepare(split, rng):
        if rng.bit_generator.seed_seq.entropy == 7:
            wait_for(lambda: recorded_by(records, name) == 7)
            action()
        return noting(records, 0)(split, rng)

    return prepare


def raising():
    raise OSError("it is broken")


@pytest.mark.parametrize(
    ("name", "action", "error", "message"),
    [
        ("raising", raising, RunError, "arm 'a', seed 7: OSError: it is broken"),
        (
            "dying",
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            ProcessError,
            r"arm 'a', seed 7: the process that trained it ended with status -9\. .*JOBS=1",
        ),
    ],
)
def test_what_fails_is_one_error_and_the_finished_runs_are_kept(
    name, action, error, message, full_mnist, records, two_jobs
):
    each = Experiment(name, "c", {"a": Arm(net, last_seed(records, name, action))}, 8, SHORT)
    with pytest.raises(error, match=message) as caught:
        run(each, "full")
    assert {record["seed"] for record in recorded_runs(each)} == set(range(7))
    if action is raising:
        assert "in raising" in str(caught.value.__cause__)  # Where in the other process it was.
    assert len(trainers(records)) == 2
    wait_for(lambda: not any(map(is_alive, trainers(records))))


def test_what_cannot_be_sent_is_named_before_a_process_is_started(monkeypatch):
    monkeypatch.setattr(worker, "Trainer", None)
    calls = [("arm 'good', seed 0", ()), ("arm 'bad', seed 0", (threading.Lock(),))]
    with pytest.raises(ProcessError, match="^arm 'bad', seed 0 cannot be sent .*must be values"):
        next(train(2, print, calls, data.load_mnist("quick")))


def test_after_a_change_of_the_course_nothing_is_trained_with_the_new_one(
    full_mnist, records, two_jobs, monkeypatch
):
    monkeypatch.setitem(worker._COURSE, "utils.data", "before")  # Other than the file has now.
    each = Experiment("x", "c", {"a": net}, 4, SHORT)
    message = r"seed \d: this machine cannot train: it differs .* utils\.data \(\w+ there, before"
    with pytest.raises(ProcessError, match=message):
        run(each, "full")
    assert recorded_runs(each) == []


def slow(folder):
    begun = folder / "begun"
    begun.mkdir()
    made = f"Experiment('slow', 'c', {{'a': Arm(net, noting({str(begun)!r}, 600))}}, 4, SHORT)"
    return begun, f"run({made}, 'full')"


def test_ctrl_c_ends_the_processes_that_train(full_mnist, tmp_path, monkeypatch):
    begun, command = slow(tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    path = write(tmp_path / "a.ipynb", NOTEBOOK, command)

    def stop():
        wait_for(lambda: len(trainers(begun)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert results.main(["--jobs=2", str(path)]) == 130
    stopper.join()
    wait_for(lambda: not any(map(is_alive, trainers(begun))))
    assert len(trainers(begun)) == 2 and not notes(begun, "end")


def test_they_end_with_a_kernel_that_is_killed(full_mnist, tmp_path):
    begun, command = slow(tmp_path)
    kernel = subprocess.Popen(
        [sys.executable, "-c", f"{NOTEBOOK}\n{command}"],
        env={**os.environ, "MNIST_JOBS": "2"},
        cwd=tmp_path,
    )
    wait_for(lambda: len(trainers(begun)) == 2)
    kernel.kill()
    kernel.wait()
    wait_for(lambda: not any(map(is_alive, trainers(begun))))
    assert not notes(begun, "end")
