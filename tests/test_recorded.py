"""The records in this repository: complete, up to date, and what training gives again."""

import datetime
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from utils import data
from utils.commands import book
from utils.commands import plan
from utils.evidence.claims import load_ledger
from utils.evidence.records import RESULTS, RecordFile, key
from utils.commands.notebooks import holds_experiment

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [path for path in book.notebooks() if holds_experiment(path)]

# Only a run that took fewer seconds is trained once more.
CHEAP = 30


# Nothing is missing and nothing is stale


@pytest.fixture(scope="module")
def found():
    """Read the experiments of every notebook from its source.

    In a process of its own, as `make results` does: in this one, after a thousand other tests, it
    takes minutes.
    """
    return {each.path: each for each in plan.notebooks(NOTEBOOKS, RESULTS)}


def faults(notebook):
    """Say what stands between a notebook and its records, and the command that mends it."""
    path = os.path.relpath(notebook.path, ROOT)
    for each in notebook.experiments:
        missing, (_, damaged) = each.missing(), each.file.read()
        if missing:
            changed = "; ".join(f"{arm}: {', '.join(why)}" for arm, why in each.changed.items())
            claim = f" CLAIM={each.claims[0]}" if each.claims else ""
            yield (
                f"{each.name}: {len(missing)} of {len(each.runs)} runs are missing"
                f"{f', since these changed: {changed}' if changed else ''}; "
                f"run them: make results{claim}"
            )
        if damaged:
            yield f"{each.name}: lines {damaged} of its file are no records; take them out"
        if each.outdated:
            yield f"{each.name}: its page is older; store it: make notebooks NOTEBOOK={path}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_run_of_a_chapter_is_recorded_and_its_page_knows(path, found):
    assert not found[path].problem
    assert found[path].experiments, "none of its experiments is found"
    wrong = list(faults(found[path]))
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_experiment_names_claims_unless_its_page_settles_none(path, found):
    settles = any(claim.chapter == path.stem for claim in load_ledger().values())
    for each in found[path].experiments:
        assert bool(each.claims) == settles, each.name


CHANGES = {
    "arm": ("keras.optimizers.Adam(0.002)", "keras.optimizers.Adam(0.003)", "compile"),
    "setting": ("train_size=by_scale(quick=1600, full=None)", "train_size=50_000", "fit"),
    "preparation": ("rng.integers(4, size", "rng.integers(3, size", "data"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_chapter_is_reported_with_the_command_that_mends_it(change, tmp_path):
    old, new, part = CHANGES[change]
    text = (ROOT / "chapters" / "padding.ipynb").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "padding.ipynb").write_text(text.replace(old, new), encoding="utf-8")
    wrong = list(faults(plan.notebook(tmp_path / "padding.ipynb")))
    assert "padding: its page is older; store it: make notebooks NOTEBOOK=" in wrong[1]
    assert wrong[0].startswith("padding: ") and "runs are missing, since these changed" in wrong[0]
    assert f"corner: {part}; run them: make results CLAIM=padding-keeps-border" in wrong[0]


def test_other_data_make_every_record_stale(monkeypatch):
    monkeypatch.setattr(data, "full_fingerprint", lambda: "other images")
    for each in plan.notebook(ROOT / "chapters" / "padding.ipynb").experiments:
        assert len(each.missing()) == len(each.runs)
        assert set(each.changed.values()) == {("data",)}


# What is recorded is what training gives

RETRAIN = """
import dataclasses, sys
from pathlib import Path
from utils.experiments import run as experiment
from utils.commands.definitions import recorded_in
notebook, name, arm, seed, folder = sys.argv[1:]
whole = recorded_in(notebook)[name].experiment
arms = {arm: whole.arms_at("full")[arm]}
experiment.RESULTS = Path(folder)
experiment.run(dataclasses.replace(whole, arms=arms, seeds=[int(seed)]), "full")
"""


def retrained(notebook, record, folder):
    """Train a recorded run once more, on as many threads, and return its new record."""
    threads = {"TF_NUM_INTRAOP_THREADS": str(record["machine"]["threads"])}
    run = (notebook, record["experiment"], record["arm"], str(record["seed"]))
    done = subprocess.run(
        [sys.executable, "-c", RETRAIN, *map(str, run), str(folder)],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    ((new,), damaged) = RecordFile(folder / f"{record['experiment']}.jsonl").read()
    assert not damaged and key(new) == key(record)
    return new


def numbers(record):
    """Return the metrics of each epoch and the measures, without those that are times."""
    found = {
        f"{metric}, epoch {epoch}": value
        for epoch, metrics in enumerate(record["epochs"], start=1)
        for metric, value in metrics.items()
    }
    found |= record["measures"] | {"parameters": record["parameters"]}
    found |= {part: record[part] for part in ("train_size", "test_size")}
    return {name: value for name, value in found.items() if "seconds" not in name}


def differences(old, new, others):
    """Name the numbers in which a run that was trained again differs from its record.

    Where processor, threads and versions are the same, every bit counts. Elsewhere rounding makes
    the run as different as one with another seed: it has to lie where 999 in 1,000 further seeds
    would.
    """
    before, now = numbers(old), numbers(new)
    assert set(before) == set(now)
    if all(old[part] == new[part] for part in ("machine", "versions")):
        return {name: (before[name], now[name]) for name in now if before[name] != now[name]}
    wrong = {}
    for name, value in now.items():
        values = np.array([numbers(other)[name] for other in others], dtype=float)
        runs, resolution = len(values), 1 / new["test_size"]
        reach = stats.t.ppf(0.9995, runs - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / runs)
        if abs(value - values.mean()) > reach + resolution:
            wrong[name] = (before[name], value)
    return wrong


def a_record(seed, accuracy, **where):
    where = {"machine": {"processor": "one"}, "versions": {"keras": "3"}, **where}
    epoch = {"test_accuracy": accuracy, "seconds": 3.0 * seed}
    measures = {"log2_milliseconds": float(seed)}
    sizes = {"parameters": 5, "train_size": 100, "test_size": 1_000}
    return {"seed": seed, "epochs": [epoch], "measures": measures, **sizes, **where}


def test_in_the_same_place_every_bit_counts_and_times_do_not():
    others = [a_record(seed, 0.9 + 0.01 * seed) for seed in range(5)]
    again = {**others[3], "seconds": 1.0, "measures": {"log2_milliseconds": 8.0}}
    assert differences(others[3], again, others) == {}
    nearly = a_record(3, np.nextafter(0.93, 1))
    assert list(differences(others[3], nearly, others)) == ["test_accuracy, epoch 1"]
    larger = {**others[3], "parameters": 6}
    assert differences(others[3], larger, others) == {"parameters": (5, 6)}


@pytest.mark.parametrize("where", [{"machine": {"processor": "two"}}, {"versions": {"keras": "4"}}])
def test_elsewhere_a_run_lies_where_other_seeds_do(where):
    others = [a_record(seed, 0.9 + 0.01 * seed) for seed in range(5)]
    for accuracy in (0.93, 0.935, 0.9, 0.85):
        assert differences(others[3], a_record(3, accuracy, **where), others) == {}
    assert list(differences(others[3], a_record(3, 0.5, **where), others))
    # Where every seed gave the same number, one image more or less is no difference.
    alike = [a_record(seed, 0.1) for seed in range(5)]
    assert differences(alike[3], a_record(3, 0.1009, **where), alike) == {}
    assert list(differences(alike[3], a_record(3, 0.12, **where), alike))


def candidates(found):
    """List the recorded runs that count and are cheap: their notebook, record, and other seeds."""
    for notebook in found.values():
        for each in notebook.experiments:
            records = [record for record in each.file.read()[0] if key(record) in each.runs]
            for record in records:
                others = [other for other in records if other["arm"] == record["arm"]]
                if record["seconds"] < CHEAP and len(others) > 2:
                    yield notebook.path, record, others


@pytest.mark.skipif(
    not os.environ.get("MNIST_PATH") and not data._keras_cache().is_file(),
    reason="full MNIST is not here: MNIST_PATH names no file, and Keras has none in its cache",
)
def test_a_recorded_run_that_is_trained_again_gives_its_record(found, tmp_path, capsys):
    # Another one each day, and the same one all day.
    today = random.Random(datetime.date.today().toordinal())
    notebook, record, others = today.choice(list(candidates(found)))
    which = f"{record['experiment']}, arm {record['arm']!r}, seed {record['seed']}"
    new = retrained(notebook, record, tmp_path)
    same = record["machine"] == new["machine"] and record["versions"] == new["versions"]
    with capsys.disabled():
        print(f"\ntrained again: {which} ({'as it was' if same else 'elsewhere'})")
    wrong = differences(record, new, others)
    assert not wrong, (
        f"{which} is recorded with other numbers than it gives now (recorded, now): {wrong}. "
        f"Take it out of {record['experiment']}.jsonl if the record is wrong, and "
        "`make results` trains it again."
    )
