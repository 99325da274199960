"""`make results` says what is missing and what it costs, runs that, and can be stopped."""

import json
import signal
import sys
import threading
import time

import nbformat
import pytest

from utils.commands import costs, plan
from utils.commands import notebooks as results
from utils.commands.costs import Costs, Progress, describe, duration
from utils.commands.plan import Planned
from utils.evidence import records
from utils.evidence.claims import load_ledger
from utils.evidence.records import RecordFile, Requirements
from utils.evidence.stored import CODE_KEY, Page, code_hash, stored_metadata


@pytest.fixture
def folder(records, monkeypatch):
    """Work in a folder of the test, which has the recorded runs as well."""
    monkeypatch.chdir(records)
    return records


def write(path, *cells, stored=True, outputs=()):
    """Write a notebook, whose last cell has outputs with the given metadata."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    made[-1].outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata=metadata)
        for metadata in outputs
    ]
    notebook = nbformat.v4.new_notebook(cells=made)
    if stored:
        notebook.metadata[CODE_KEY] = code_hash(notebook)
    nbformat.write(notebook, path)
    return path


def edit(path, cell, **changes):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[cell].update(changes)
    nbformat.write(notebook, path)


def record(arm, seed, seconds, **fingerprint):
    return {"arm": arm, "seed": seed, "seconds": seconds, "fingerprint": fingerprint}


def lines(name, *runs):
    text = "".join(json.dumps(run) + "\n" for run in runs)
    (records.RESULTS / f"{name}.jsonl").write_text(text, encoding="utf-8")


def asked(name="one", seeds=3, exclusive=False, **arms):
    """Return the metadata of a result: by default of one arm, whose model has the hash "m"."""
    fingerprints = {arm: {"model": model} for arm, model in (arms or {"a": "m"}).items()}
    recorded = Requirements(name, tuple(range(seeds)), fingerprints).to_metadata()
    return {"recorded": recorded, "exclusive": exclusive}


def planned(*arguments, **settings):
    metadata = asked(*arguments, **settings)
    return Planned(Requirements.from_metadata(metadata["recorded"]), metadata["exclusive"])


# What it will cost


def test_a_run_costs_what_runs_like_it_took(folder, monkeypatch):
    lines("one", record("a", 0, 1.0, model="m"), record("a", 1, 2.0, model="m"))
    lines("two", record("a", 0, 10.0, model="old"), record("b", 0, 30.0, model="m"))
    with RecordFile.of("two").path.open("a", encoding="utf-8") as file:
        file.write('torn\n{"arm": "a", "seed": 9, "fingerprint": {}}\n')

    def cost(name, arm):
        return Costs().of(planned(name, **{arm: "m"}), arm)

    assert cost("one", "a") == 1.5  # The same run, with other seeds.
    assert cost("two", "a") == 10.0  # Of its arm there are only records that count no more.
    assert cost("two", "c") == 20.0  # An arm that is new in its experiment.
    assert cost("three", "a") == 6.0  # An experiment that is new.
    known = Costs()
    assert [known.knows(name) for name in ("one", "two", "three")] == [True, True, False]
    lines("two", record("a", 0, 10.0, model="old"), record("a", 1, 50.0, model="m"))
    assert cost("two", "a") == 50.0
    # Runs that came with an installed course count as well.
    monkeypatch.setattr(records, "SHIPPED", records.RESULTS)
    monkeypatch.setattr(records, "RESULTS", folder / "elsewhere")
    assert cost("two", "a") == 50.0


def test_where_nothing_is_recorded_the_cost_is_not_known(folder):
    nothing = Costs()
    assert not nothing.known and nothing.of(planned(), "a") is None
    text = describe(plan.Notebook(folder / "a.ipynb", (planned(),)), nothing)
    assert text == "a.ipynb\n  one: 3 of 3 runs are missing"


def test_a_duration_is_said_roughly():
    for seconds, text in (
        *[(0, "1 second"), (42.4, "42 seconds"), (89.9, "90 seconds"), (95, "2 minutes")],
        *[(3_600, "60 minutes"), (5_400, "1.5 hours"), (90_000, "25.0 hours")],
    ):
        assert duration(seconds) == f"about {text}"


# What is missing


def said(path):
    return describe(plan.notebook(path), Costs())


def test_what_is_missing_is_said_with_its_cost_and_what_is_amiss(folder):
    outputs = [asked(seeds=2, a="m", b="m"), asked("two", seeds=1)]
    path = write(folder / "a.ipynb", "1", "2", outputs=outputs)
    lines("one", *(record(arm, 1, 100.0, model="m") for arm in "ab"))
    with RecordFile.of("one").path.open("a", encoding="utf-8") as file:
        file.write("<<<<<<< HEAD\n")
    assert said(path) == (
        "a.ipynb\n"
        "  one: 2 of 4 runs are missing, about 3 minutes\n"
        "    one.jsonl has lines that are no records: 3\n"
        "  two: 1 of 1 runs are missing, about 2 minutes, guessed from other experiments"
    )
    assert plan.notebook(path).experiments[0].missing() == [("a", 0), ("b", 0)]
    lines("one", *(record(arm, seed, 100.0, model="m") for arm in "ab" for seed in range(2)))
    assert "  one: all 4 runs are recorded" in said(path) and plan.notebook(path).open
    # The arm changes, and its page is stored again: its records count no more.
    write(path, "1", "3", outputs=[asked(seeds=2, a="m", b="new")])
    assert said(path).splitlines()[1:] == [
        "  one: 2 of 4 runs are missing, about 3 minutes",
        "    older records no longer count, because these changed: b (model)",
    ]
    # Back again, they count again.
    write(path, "1", "2", outputs=outputs[:1])
    assert said(path) == "a.ipynb\n  one: all 4 runs are recorded"
    assert not plan.notebook(path).open


def test_what_a_pilot_will_ask_for_is_planned_as_soon_as_it_is_complete(folder):
    claim = "wide-or-large"
    (part, *_) = load_ledger()[claim].parts
    arms = {arm: {"model": "m"} for arm in part.arms}
    required = Requirements(part.experiment, tuple(range(100, 105)), arms, pilot=5, cap=40)
    outputs = [{"recorded": required.to_metadata()}]
    path = write(folder / "a.ipynb", "1", outputs=outputs)

    def run(arm, seed):
        # The differences between the arms are 0 and 4 margins, so their spread is wide.
        accuracy = 0.9 + 4 * part.margin * (arm == part.treatment) * (seed % 2)
        sizes = {"train_size": 60_000, "test_size": 10_000, "parameters": 1, "measures": {}}
        return record(arm, seed, 60.0, model="m") | sizes | {"epochs": [{part.metric: accuracy}]}

    runs = [run(arm, seed) for seed in required.seeds for arm in arms]
    lines(part.experiment, *runs[:-1])
    (line,) = said(path).splitlines()[1:]
    assert line == (
        f"  {part.experiment}: 1 of 10 runs are missing; how many more, its pilot will tell, "
        "about 60 seconds"
    )
    lines(part.experiment, *runs)
    # Its runs are all there, and yet it has to be run: what it asks for is not written down.
    assert plan.notebook(path).open and plan.notebook(path).experiments[0].missing() == []
    assert f"  {part.experiment}: all 10 runs are recorded" in said(path)
    assert "N = 40 (capped)" in said(path)
    (stage,) = plan.notebook(path).experiments[0].stages
    required.file.append_stage(stage)
    assert plan.notebook(path).experiments[0].stages == required.stages != []
    assert f"  {part.experiment}: 70 of 80 runs are missing, about 70 minutes" in said(path)
    for seed in range(105, 140):
        for arm in arms:
            required.file.append(run(arm, seed))
    assert not plan.notebook(path).open and "all 80 runs are recorded" in said(path)


CHANGES = {
    "code": (0, {"source": "2"}),
    "prose": (1, {"source": "Other words"}),
    "tags": (0, {"metadata": {"tags": ["hide-input"]}}),
    "execution": (0, {"execution_count": 7}),
    "outputs": (0, {"outputs": [nbformat.v4.new_output("stream", text="2")]}),
    "a cell more": (1, {"cell_type": "code", "outputs": [], "execution_count": None}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_notebook_whose_code_has_changed_is_run_and_no_other(change, folder):
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_markdown_cell("Words")]
    notebook = results.tidy(nbformat.v4.new_notebook(cells=cells))
    nbformat.write(notebook, folder / "a.ipynb")
    assert not plan.notebook(folder / "a.ipynb").open
    cell, changes = CHANGES[change]
    edit(folder / "a.ipynb", cell, **changes)
    changed = change in ("code", "a cell more")
    assert plan.notebook(folder / "a.ipynb").open == changed
    assert ("its code has changed since it was stored: it is run" in said("a.ipynb")) == changed


def test_where_the_code_ends_in_one_cell_and_begins_in_the_next_counts(folder):
    hashes = [
        Page.read(write(folder / "a.ipynb", *cells)).current
        and code_hash(nbformat.read(folder / "a.ipynb", as_version=4))
        for cells in (["a\n", "b"], ["a", "\nb"], ["a\nb"], ["b", "a\n"])
    ]
    assert False not in hashes and len(set(hashes)) == 4


def test_a_notebook_that_was_never_stored_is_run(folder):
    path = write(folder / "a.ipynb", "1", stored=False, outputs=[asked()])
    assert said(path) == (
        "a.ipynb\n"
        "  it has never been stored by `make notebooks`: it is run\n"
        "  its outputs, which may be older than its code, tell:\n"
        "  one: 3 of 3 runs are missing"
    )


def test_what_outputs_tell_is_read_in_their_order(folder):
    settled = {"settled": {"claim": "a-claim", "quick": "2 of 2 runs"}}
    outputs = [asked("two", exclusive=True), settled, {}, asked("one")]
    path = write(folder / "a.ipynb", "1", outputs=outputs)
    assert stored_metadata(path) == [each for each in outputs if each]
    assert Page.read(path).quick == {"a-claim": "2 of 2 runs"}
    assert plan.notebook(path).experiments == (planned("two", exclusive=True), planned("one"))


def test_the_experiments_of_one_claim_are_those_that_the_ledger_names_and_what_tunes_them(folder):
    outputs = [asked("pooling"), asked("padding"), asked("a-search-for-rates")]
    path = write(folder / "a.ipynb", "1", outputs=outputs)
    chosen = plan.notebook(path).of_claim("max-or-mean").experiments
    assert [each.name for each in chosen] == ["pooling", "a-search-for-rates"]
    with pytest.raises(KeyError, match="no-such-claim"):
        plan.notebook(path).of_claim("no-such-claim")


# How far it has come


def test_progress_follows_the_files_whoever_writes_them(folder):
    lines("one", *(record("a", seed, 30.0, model="m") for seed in (0, 7)))
    one, two = planned(), planned("two", seeds=2)
    shown = Progress([one, two], Costs())
    with shown:
        assert str(shown) == "0 of 4 runs, about 2 minutes left"
        one.file.append(record("a", 2, 1.0, model="m"))
        two.file.append(record("a", 9, 1.0, model="m"))  # Not asked for.
        wait_until(lambda: str(shown).startswith("1 of 4 runs"))
        assert " left" in str(shown)
        for each in (one, two):
            for seed in (0, 1):
                each.file.append(record("a", seed, 1.0, model="m"))
        wait_until(lambda: str(shown).startswith("4 of 4 runs"))
    assert one.missing() == two.missing() == []


def test_a_file_is_read_again_only_after_it_changed(folder, monkeypatch):
    shown, reads, read = Progress([planned(), planned("two")], Costs()), [], RecordFile.read
    monkeypatch.setattr(RecordFile, "read", lambda file: reads.append(file.path.stem) or read(file))
    assert not shown.look() and reads == []
    lines("two", record("a", 0, 1.0, model="m"))
    assert shown.look() and not shown.look() and reads == ["two"]


def test_runs_at_a_time_shorten_what_is_left_but_not_of_exclusive_ones(folder, monkeypatch):
    monkeypatch.setattr(costs, "cpu_count", lambda: 2)
    lines("one", record("a", 99, 3_600.0, model="m"))
    one, two = planned(seeds=10), planned("two", seeds=10, exclusive=True)
    for experiments, jobs, text in (
        ([one], 2, "0 of 10 runs, about 5.0 hours left"),
        ([two], 2, "0 of 10 runs, about 10.0 hours left"),
        ([one, two], 2, "0 of 20 runs, about 15.0 hours left"),
        ([one], 9, "0 of 10 runs, about 5.0 hours left"),  # There are two cores.
    ):
        assert str(Progress(experiments, Costs(), jobs)) == text


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
from utils.evidence import records
records.RESULTS = Path(sys.argv[1])
one = Planned(records.Requirements("one", (0, 1), {"a": {}}))
with Progress([one], Costs()) as progress:
    for seed in range(2):
        one.file.append({"arm": "a", "seed": seed, "fingerprint": {}})
        while not str(progress).startswith(f"{seed + 1} of 2"):
            time.sleep(0.05)
    tqdm.write("a line above it")
    time.sleep(0.3)
"""


def test_in_a_terminal_one_bar_counts_all_runs(tmp_path, in_terminal):
    _, text = in_terminal(sys.executable, "-c", BAR, tmp_path)
    assert "0 of 2 runs" in text and "1 of 2 runs" in text and "2 of 2 runs" in text
    assert " 50 %|" in text


# All of it: a notebook in its kernel

SETUP = """
from pathlib import Path
from utils.evidence import records
from utils.experiments import Experiment, by_scale
import keras
records.RESULTS = Path("results").resolve()

def net():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    return model
"""
ONE = """
one = Experiment("one", {"a": net, "b": lambda: net()}, train_size=100, seeds=by_scale(1, 6))
result = one.run()
result
"""
TWO = """
two = Experiment("two", {"a": net}, train_size=100, seeds=by_scale(1, 2), exclusive=True)
two.run()
"""


@pytest.mark.kernel
def test_results_are_planned_run_stopped_and_resumed(folder, full_mnist, monkeypatch, capfd):
    monkeypatch.setattr(costs, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(costs, "_LINE_SECONDS", 0.0)
    path = write(folder / "a.ipynb", SETUP, ONE, TWO, stored=False)
    before = path.read_bytes()

    def count():
        return sum(file.read_bytes().count(b"\n") for file in records.RESULTS.glob("*.jsonl"))

    def stop():
        wait_until(lambda: count() >= 3, seconds=300)
        signal.raise_signal(signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert results.main(["--jobs=1", str(path)]) == 130
    stopper.join()
    out = capfd.readouterr().out
    assert "it has never been stored" in out and "The finished runs are recorded." in out
    assert "left" not in out  # How many runs its code asks for was not known.
    done, finished = count(), RecordFile.of("one").path.read_bytes()
    assert 3 <= done < 14 and path.read_bytes() == before

    assert results.main(["--store", str(path)]) == 0
    assert [each.exclusive for each in plan.notebook(path).experiments] == [False, True]
    before = path.read_bytes()
    assert results.main(["--jobs=1", str(path)]) == 0
    out = capfd.readouterr().out
    assert f"  one: {12 - done} of 12 runs are missing, about" in out and "two: 2 of 2" in out
    assert f"To run: 1 of 1 notebooks, {14 - done} runs are missing, about" in out
    assert f"1 of {14 - done} runs, about" in out
    assert f"`make notebooks NOTEBOOK={path.name}` shows the new runs" in out
    assert RecordFile.of("one").path.read_bytes().startswith(finished)
    assert count() == 14 and path.read_bytes() == before

    monkeypatch.setattr(results, "execute", None)  # Nothing may be run any more.
    assert results.main([str(path)]) == 0
    out = capfd.readouterr().out
    assert out.count("runs are recorded\n") == 2 and "Nothing is missing: there is nothing" in out


SHOWS = """
from IPython.display import display
display({{"text/plain": ""}}, raw=True, metadata={})
"""


@pytest.mark.kernel
def test_what_a_run_leaves_missing_is_reported_by_what_its_code_asks_for_then(folder, capfd):
    lines("one", *(record("a", seed, 1.0, model="new") for seed in range(3)))
    changed = write(folder / "a.ipynb", SHOWS.format(asked(a="new")), outputs=[asked(a="old")])
    edit(changed, 0, source=SHOWS.format(asked(a="new")) + "# changed")
    assert results.main([str(changed)]) == 0
    assert "make notebooks NOTEBOOK=a.ipynb" in capfd.readouterr().out
    edit(changed, 0, source=SHOWS.format(asked(a="newer")))
    silent = write(folder / "b.ipynb", "1", outputs=[asked("two")])
    assert results.main([str(changed), str(silent)]) == 1
    out, err = capfd.readouterr()
    assert "FAIL a.ipynb: runs are missing still: 3 of one;" in err
    assert "FAIL b.ipynb: runs are missing still: 3 of two;" in err
    assert out.index("[1/2] b.ipynb") < out.index("[2/2] a.ipynb")
    assert "make notebooks NOTEBOOK" not in out


@pytest.mark.kernel
def test_a_claim_runs_its_notebook_for_what_serves_it(folder, monkeypatch, capfd):
    path = write(folder / "a.ipynb", "1", outputs=[asked("pooling", 1), asked("padding", 1)])
    monkeypatch.setattr(results, "notebook_of_claim", lambda claim: path)
    lines("pooling", record("a", 0, 1.0, model="m"))
    assert results.main(["--claim", "max-or-mean"]) == 0
    out = capfd.readouterr().out
    assert "padding" not in out and "Nothing is missing for max-or-mean: there is" in out
    edit(path, 0, source=SHOWS.format(asked("padding", 1)))
    assert results.main(["--claim", "max-or-mean"]) == 0  # Another claim's runs may be missing.
    edit(path, 0, source=SHOWS.format(asked("pooling", 2)))
    assert results.main(["--claim", "max-or-mean"]) == 1
    assert "1 of pooling" in capfd.readouterr().err
