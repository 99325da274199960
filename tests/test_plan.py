"""`make results` says what is missing and what it costs, runs that, and can be stopped."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from test_experiment import SHORT, eager, other, use_stand_in

from utils.commands import costs
from utils.commands import notebooks as results
from utils.commands import plan
from utils.experiments import run as experiment
from utils.commands.costs import Costs, Progress, describe, duration
from utils.commands.definitions import recorded_in
from utils.experiments.run import Experiment, run
from utils.commands.plan import Planned
from utils.evidence.records import RecordFile, key

ROOT = Path(__file__).parent.parent


def write(path, *cells, recorded=()):
    """Write a notebook, with what its last cell stored of `recorded`."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made[-1].outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata={"recorded": each})
        for each in recorded
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return path


def record(arm, seed, seconds, **fingerprint):
    return {"arm": arm, "seed": seed, "seconds": seconds, "fingerprint": fingerprint}


def lines(folder, name, *records):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))


def planned(folder, name="one", claims=("a-claim",), seeds=3, **more):
    """Plan an experiment with one arm."""
    runs = {key(record("a", seed, 0, model="m")): ("a", seed) for seed in range(seeds)}
    return Planned(name, claims, RecordFile(folder / f"{name}.jsonl"), runs, **more)


# What it will cost


def test_a_run_costs_what_runs_like_it_took(tmp_path):
    lines(tmp_path, "one", record("a", 0, 1.0, model="m"), record("a", 1, 2.0, model="m"))
    lines(tmp_path, "two", record("a", 0, 10.0, model="old"), record("b", 0, 30.0, model="m"))
    with (tmp_path / "two.jsonl").open("a") as file:
        file.write('torn\n{"arm": "a", "seed": 9, "fingerprint": {}}\n')
    known = Costs(tmp_path)

    def of(name, arm, model):
        return known.of(name, key(record(arm, 5, 0, model=model)))

    assert of("one", "a", "m") == 1.5  # The same run, with other seeds.
    assert of("two", "a", "m") == 10.0  # Of its arm there are only records that count no more.
    assert of("two", "c", "m") == 20.0  # An arm that is new in its experiment.
    assert of("three", "a", "m") == 6.0  # An experiment that is new.
    assert [known.knows(each) for each in ("one", "two", "three")] == [True, True, False]
    lines(tmp_path, "two", record("a", 0, 10.0, model="old"), record("a", 1, 50.0, model="m"))
    assert Costs(tmp_path).of("two", key(record("a", 5, 0, model="m"))) == 50.0
    assert known.known


def test_where_nothing_is_recorded_the_cost_is_not_known(tmp_path):
    nothing = Costs(tmp_path)
    assert not nothing.known and nothing.of("one", key(record("a", 0, 0))) is None
    text = describe(plan.Notebook(tmp_path / "a.ipynb", (planned(tmp_path),)), nothing)
    assert text.endswith("\n  one: 3 of 3 runs are missing")


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "about 1 second"),
        (42.4, "about 42 seconds"),
        (89.9, "about 90 seconds"),
        (95, "about 2 minutes"),
        (3_600, "about 60 minutes"),
        (5_400, "about 1.5 hours"),
        (90_000, "about 25.0 hours"),
    ],
)
def test_a_duration_is_said_roughly(seconds, text):
    assert duration(seconds) == text


# What is missing

SWEEP = """
from utils.experiments.run import Experiment, recorded, run
from test_experiment import SHORT, eager, other
one = Experiment("one", ["a-claim", "b-claim"], {"a": eager, "b": other}, seeds=2, fit=SHORT)
two = Experiment("two", "c-claim", {"a": eager}, seeds=[5], fit=SHORT)
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Make a notebook with two experiments, whose records go into a folder of the test."""
    (tmp_path / "results").mkdir()
    use_stand_in(monkeypatch.setattr, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "a.ipynb", SWEEP, "run(one)", "recorded(one)")


def said(path, folder):
    return describe(plan.notebook(path), Costs(folder / "results"))


def test_what_is_missing_is_said_with_its_cost_and_what_is_amiss(sweep, tmp_path):
    assert said(sweep, tmp_path) == (
        "a.ipynb\n"
        "  one: 4 of 4 runs are missing\n"
        "    its page is older; `make notebooks NOTEBOOK=a.ipynb` renews it\n"
        "  two: 1 of 1 runs are missing\n"
        "    its page is older; `make notebooks NOTEBOOK=a.ipynb` renews it"
    )
    stored = [each.requirements for each in recorded_in(sweep).values()]
    write(sweep, SWEEP, "run(one)", "recorded(one)", recorded=stored)
    run(Experiment("one", "c", {"a": eager, "b": other}, [1], SHORT), "full")
    file = tmp_path / "results" / "one.jsonl"
    slow = [{**json.loads(line), "seconds": 100.0} for line in file.read_text().splitlines()]
    lines(tmp_path / "results", "one", *slow)
    with file.open("a") as opened:
        opened.write("<<<<<<< HEAD\n")
    assert said(sweep, tmp_path) == (
        "a.ipynb\n"
        "  one: 2 of 4 runs are missing, about 3 minutes\n"
        "    one.jsonl has lines that are no records: 3\n"
        "  two: 1 of 1 runs are missing, about 2 minutes, guessed from other experiments"
    )
    run(Experiment("one", "c", {"a": eager, "b": other}, 2, SHORT), "full")
    assert "one: all 4 runs are recorded" in said(sweep, tmp_path)
    # The arm changes: its records count no more, and the stored page is older than its source.
    changed = SWEEP.replace('"b": other}', '"b": eager}')
    write(sweep, changed, "run(one)", "recorded(one)", recorded=stored)
    assert said(sweep, tmp_path).splitlines()[1:4] == [
        "  one: 2 of 4 runs are missing, about 2 minutes",
        "    older records no longer count, because these changed: b (model)",
        "    one.jsonl has lines that are no records: 3",
    ]
    assert [each.outdated for each in plan.notebook(sweep).experiments] == [True, False]
    # Back again, they count again.
    write(sweep, SWEEP, "run(one)", "recorded(one)", recorded=stored)
    assert "one: all 4 runs are recorded" in said(sweep, tmp_path)


def test_the_experiments_of_one_claim_are_chosen_by_it(sweep):
    found = plan.notebook(sweep)
    for claim, names in {"b-claim": ["one"], "c-claim": ["two"], "d-claim": []}.items():
        chosen = found.of_claim(claim)
        assert [each.name for each in chosen.experiments] == names
        assert chosen.open is bool(names)


def test_an_experiment_for_no_claim_is_run_with_all_and_with_no_single_claim(tmp_path, sweep):
    write(sweep, SWEEP.replace('"c-claim"', "()"), "run(one)", "recorded(one)")
    found = plan.notebook(sweep)
    assert [each.claims for each in found.experiments] == [("a-claim", "b-claim"), ()]
    assert [len(each.missing()) for each in found.experiments] == [4, 1]
    assert "two: 1 of 1 runs are missing" in said(sweep, tmp_path)
    for claim in ("a-claim", "c-claim"):
        assert "two" not in [each.name for each in found.of_claim(claim).experiments]


def test_what_cannot_be_read_is_taken_from_the_stored_outputs_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = {"experiment": "one", "seeds": [0, 1], "fingerprints": {"a": {"model": "m"}}}
    dying = "import os\narms = os._exit(3)\nExperiment('one', 'c', arms)"
    paths = [
        write(tmp_path / "a.ipynb", dying, "recorded(one)", recorded=[wanted]),
        write(tmp_path / "b.ipynb", "arms = no_such\nExperiment('one', 'c', arms)"),
        write(tmp_path / "c.ipynb", "print(1)"),
    ]
    lines(tmp_path, "one", record("a", 1, 70.0, model="m"), record("a", 0, 5.0, model="x"))
    dead, wrong, empty = plan.notebooks(paths, tmp_path)
    assert describe(dead, Costs(tmp_path)) == (
        "a.ipynb\n"
        "  not to be read without running it, so it will be run (its process died)\n"
        "  its stored outputs, which may be older than its source, say:\n"
        "  one: 1 of 2 runs are missing, about 70 seconds"
    )
    assert "cell 0, line 1: NameError: name 'no_such' is not defined" in wrong.problem
    assert wrong.open and not empty.open and not empty.problem
    assert dead.of_claim("c").experiments == dead.experiments


def test_a_notebook_that_takes_too_long_to_read_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "_READING_SECONDS", 0.5)
    path = write(tmp_path / "a.ipynb", "import time\nx = time.sleep(900)\nExperiment('o', 'c', x)")
    (found,) = plan.notebooks([path], tmp_path)
    assert found.problem == "after 0.5 s it was still running"


# How far it has come


def test_progress_follows_the_files_whoever_writes_them(tmp_path):
    lines(tmp_path, "one", *(record("a", seed, 30.0, model="m") for seed in (0, 7)))
    one, two = planned(tmp_path), planned(tmp_path, "two", seeds=2)
    shown = Progress([one, two], Costs(tmp_path))
    with shown:
        assert str(shown) == "0 of 4 runs, about 2 minutes left"
        RecordFile(tmp_path / "one.jsonl").append(record("a", 2, 1.0, model="m"))
        RecordFile(tmp_path / "two.jsonl").append(record("a", 9, 1.0, model="m"))  # Not asked for.
        wait_until(lambda: str(shown).startswith("1 of 4 runs"))
        assert " left" in str(shown)
        for file, seeds in ((one.file, (0, 1)), (two.file, (0, 1))):
            for seed in seeds:
                RecordFile(file.path).append(record("a", seed, 1.0, model="m"))
        wait_until(lambda: str(shown).startswith("4 of 4 runs"))
    assert one.missing() == two.missing() == []


def test_runs_at_a_time_shorten_what_is_left_but_not_of_those_that_run_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "cpu_count", lambda: 2)
    lines(tmp_path, "one", record("a", 99, 3_600.0, model="m"))
    one, two = planned(tmp_path, seeds=10), planned(tmp_path, "two", seeds=10, alone=True)
    for experiments, jobs, text in (
        ([one], 2, "0 of 10 runs, about 5.0 hours left"),
        ([two], 2, "0 of 10 runs, about 10.0 hours left"),
        ([one, two], 2, "0 of 20 runs, about 15.0 hours left"),
        ([one], 9, "0 of 10 runs, about 5.0 hours left"),  # There are two cores.
    ):
        assert str(Progress(experiments, Costs(tmp_path), jobs)) == text


def wait_until(holds, seconds=60):
    for _ in range(100 * seconds):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to hold")


BAR = """
import sys, time
from pathlib import Path
from tqdm import tqdm
from utils.commands.costs import Costs, Progress
from utils.commands.plan import Planned
from utils.evidence.records import RecordFile, key
file = RecordFile(Path(sys.argv[1]) / "one.jsonl")
made = [{"arm": "a", "seed": seed, "fingerprint": {}} for seed in range(2)]
one = Planned("one", (), file, {key(each): ("a", each["seed"]) for each in made})
with Progress([one], Costs(file.path.parent)) as progress:
    for number, each in enumerate(made):
        RecordFile(file.path).append(each)
        while not str(progress).startswith(f"{number + 1} of 2"):
            time.sleep(0.05)
    tqdm.write("a line above it")
    time.sleep(0.3)
"""


def test_in_a_terminal_one_bar_counts_all_runs(tmp_path, in_terminal):
    _, text = in_terminal(sys.executable, "-c", BAR, tmp_path)
    assert "0 of 2 runs" in text and "1 of 2 runs" in text and "2 of 2 runs" in text
    assert " 50 %|" in text


# All of it: a notebook in its kernel

WHOLE = """
import os
from tests.test_experiment import SHORT, eager, other, use_stand_in
from utils.experiments.run import Experiment, recorded, run
stand_in = use_stand_in(setattr, os.environ["RESULTS"])
"""
SWEEPS = """
one = Experiment("one", "a-claim", {"a": eager, "b": other}, seeds=6, fit=stand_in or SHORT)
two = Experiment("two", "c-claim", {"a": eager}, seeds=2, fit=stand_in or SHORT)
"""


def test_results_are_planned_run_stopped_and_resumed(tmp_path, monkeypatch, capfd):
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RESULTS", str(folder))
    monkeypatch.setattr(results, "RESULTS", folder)
    monkeypatch.setattr(costs, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(costs, "_LINE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.ipynb", WHOLE, SWEEPS, "run(one)", "run(two)", "recorded(one)")
    before = path.read_bytes()

    def count():
        return sum(file.read_bytes().count(b"\n") for file in folder.glob("*.jsonl"))

    def stop():
        wait_until(lambda: count() >= 3, seconds=300)
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert results.main(["--jobs=1", str(path)]) == 130  # The stand-in is in no other process.
    stopper.join()
    said = capfd.readouterr().out
    assert "  one: 12 of 12 runs are missing\n" in said and "two: 2 of 2" in said
    assert "Missing: 14 runs in 1 of 1 notebooks, nothing recorded says how long" in said
    assert "1 of 14 runs, about" in said and "The finished runs are recorded." in said
    done, finished = count(), (folder / "one.jsonl").read_bytes()
    assert 3 <= done < 14

    assert results.main(["--jobs=1", str(path)]) == 0
    said = capfd.readouterr().out
    assert f"  one: {12 - done} of 12 runs are missing, about" in said
    assert f"Missing: {14 - done} runs in 1 of 1 notebooks, about" in said
    assert f"`make notebooks NOTEBOOK={path.name}` shows the new runs" in said
    assert (folder / "one.jsonl").read_bytes().startswith(finished)
    assert count() == 14 and path.read_bytes() == before

    monkeypatch.setattr(results, "execute", None)  # Nothing may be run any more.
    monkeypatch.setattr(results, "notebook_of_claim", lambda claim: path)
    assert results.main(["--claim", "c-claim"]) == 0
    said = capfd.readouterr().out
    assert said.count("runs are recorded") == 1 and "two: all 2 runs are recorded" in said
    assert "Nothing is missing for c-claim: there is nothing to run." in said


def test_an_experiment_that_its_notebook_never_runs_is_reported(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    found = plan.Notebook(write(tmp_path / "a.ipynb", "1 + 1"), (planned(tmp_path),))
    monkeypatch.setattr(plan, "notebooks", lambda paths, folder: iter([found]))
    assert results.main([str(found.path)]) == 1
    assert "3 runs are missing still: does it hand each experiment" in capfd.readouterr().err
