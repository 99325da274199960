"""The records in this repository: complete, up to date, and what training gives again."""

import datetime
import json
import os
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers import WAITING, numbers_of, python
from scipy import stats

from utils.commands import book, plan
from utils.data import source
from utils.evidence import stages
from utils.evidence.claims import load_ledger
from utils.evidence.records import RecordFile, Requirements, key
from utils.evidence.stored import Page
from utils.paths import RESULTS

ROOT = Path(__file__).parent.parent
NOTEBOOKS = [path for path in book.notebooks() if Page.read(path).requirements]

# Only a run that took fewer seconds is trained once more.
CHEAP = 30


# Nothing is missing and nothing is stale


def faults(notebook):
    """Say what stands between a notebook and its records, and the command that mends it."""
    store = f"store it: make notebooks NOTEBOOK={os.path.relpath(notebook.path, ROOT)}"
    if notebook.problem:
        yield f"{notebook.problem}; {store}"
    for each in notebook.experiments:
        missing, (_, damaged) = each.missing(), each.file.read()
        due = list(map(stages.describe, stages.due(each.requirements)))
        if missing:
            changed = "; ".join(f"{arm}: {', '.join(why)}" for arm, why in each.changed.items())
            yield (
                f"{each.name}: {len(missing)} of {len(each.requirements.runs)} runs are missing"
                f"{f', since these changed: {changed}' if changed else ''}; run them: make results"
            )
        if due:
            yield f"{each.name}: what its pilot asks for is not recorded: {due}; make results"
        if damaged:
            yield f"{each.name}: lines {damaged} of its file are no records; take them out"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_run_of_a_chapter_is_recorded_and_its_page_knows(path):
    wrong = list(faults(plan.notebook(path)))
    assert not wrong, "\n".join(["", *wrong])


@cache
def experiments():
    return {each.name: each for path in NOTEBOOKS for each in plan.notebook(path).experiments}


# What old comparisons stand in for waits until its own experiment has run, and so does what waits
# without any.
SETTLED = [name for name, claim in load_ledger().items() if not claim.old and name not in WAITING]


@pytest.mark.parametrize("claim_id", SETTLED)
def test_a_claim_has_all_the_runs_that_its_verdict_rests_on(claim_id):
    claim, found = load_ledger()[claim_id], experiments()
    wrong = []
    for part in claim.comparisons:
        if part.experiment not in found:
            wrong.append(f"{part.says}: no stored page has the experiment {part.experiment}")
            continue
        each = found[part.experiment]
        missing = [run for run in each.missing() if run[0] in part.arms]
        strange = set(part.arms) - set(each.requirements.fingerprints)
        # A complete pilot may ask for more than has been written down by now.
        if missing or strange or stages.due(each.requirements):
            wrong.append(f"{part.says}: {len(missing)} runs of {each.name} are missing")
    assert not wrong, "\n".join(["", *wrong])


def test_every_record_counts(capsys):
    records = {path.stem: RecordFile(path).read()[0] for path in sorted(RESULTS.glob("*.jsonl"))}
    counting = {
        name: len(experiments()[name].requirements.counting(found)) if name in experiments() else 0
        for name, found in records.items()
    }
    total = sum(map(len, records.values()))
    with capsys.disabled():
        print(f"\nrecords that count: {sum(counting.values()):,} of {total:,}")
    assert counting == {name: len(found) for name, found in records.items()}


STAGED = [path.stem for path in sorted(RESULTS.glob("*.jsonl")) if RecordFile(path).stages()]


@pytest.mark.parametrize("name", STAGED)
def test_a_number_of_seeds_is_what_follows_from_its_pilot(name, monkeypatch):
    assert name in experiments(), "no stored page has this experiment"
    required = experiments()[name].requirements
    recorded = required.file.stages()
    assert recorded == required.stages, "a stage that no longer counts: take it out"
    monkeypatch.setattr(Requirements, "stages", [])
    computed = {stage_of(stage): stage for stage in stages.due(required)}
    for stage in recorded:
        now = computed[stage_of(stage)]
        assert now["spread"] == pytest.approx(stage["spread"], rel=1e-9)
        same = ("half_width", "pilot", "wanted", "seeds", "fingerprints")
        assert {key: now[key] for key in same} == {key: stage[key] for key in same}
    assert len(computed) == len(recorded)


def stage_of(stage):
    """Tell stages apart as JSON does."""
    return json.dumps([stage[name] for name in ("metric", "treatment", "baseline", "half_width")])


# What is recorded is what training gives

TAKE = """
import dataclasses, json, sys
from pathlib import Path
from helpers import take
from utils.evidence import records

path, name, *rest = sys.argv[1:]
taken = take(Path(path), name)
"""

RETRAIN = """
arm, seed, folder = rest
records.RESULTS = Path(folder)
arms = {arm: taken.arms_at("full")[arm]}
dataclasses.replace(taken, arms=arms, seeds=[int(seed)], quick_arms=None).run("full")
"""


def with_experiment(notebook, name, code, *arguments, **environment):
    """Do something with an experiment, as its notebook defines it, in a process of its own."""
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    return python(TAKE + code, notebook, name, *arguments, MPLBACKEND="agg", **environment)


CHANGED = """
arms = taken.arms_at("full")
arm, *_ = arms
for part, change in {
    "fit": {"batch_size": 63},
    "measures": {"metrics": {}, "history_metrics": {"last": json.dumps}},
    "data": {"arms": {**arms, arm: dataclasses.replace(arms[arm], targets=json.dumps)}},
}.items():
    found = dataclasses.replace(taken, **change).recorded()
    print("FOUND", json.dumps([part, found.changed, len(found.missing)]))
found = taken.recorded()
print("FOUND", json.dumps(["nothing", found.changed, len(found.missing)]))
"""


@pytest.mark.training
def test_a_changed_experiment_of_a_chapter_asks_for_its_runs_anew():
    path = ROOT / "chapters" / "padding.ipynb"
    required = Page.read(path).requirements["padding"]
    lines = with_experiment(path, "padding", CHANGED).splitlines()
    found = [json.loads(line[6:]) for line in lines if line.startswith("FOUND ")]
    everywhere = len(required.seeds) * len(required.fingerprints)  # Its pilot, if it has one.
    first = next(iter(found[2][1]))
    assert found == [
        ["fit", dict.fromkeys(required.fingerprints, ["fit"]), everywhere],
        ["measures", dict.fromkeys(required.fingerprints, ["measures"]), everywhere],
        ["data", {first: ["data"]}, len(required.seeds)],
        ["nothing", {}, 0],
    ]


def retrained(notebook, record, folder):
    """Train a recorded run once more, on as many threads, and return its new record."""
    name, threads = record["experiment"], str(record["machine"]["threads"])
    run = record["arm"], record["seed"]
    with_experiment(notebook, name, RETRAIN, *run, folder, TF_NUM_INTRAOP_THREADS=threads)
    ((new,), damaged) = RecordFile(folder / f"{name}.jsonl").read()
    assert not damaged and key(new) == key(record)
    return new


def same_place(old, new):
    """Say whether two runs were trained on the same kind of machine with the same versions."""
    # The oldest records do not say that oneDNN was on, as it was. Those that do not name the
    # processor's vectors may come from any.
    return old["versions"] == new["versions"] and (
        {"onednn": True, **old["machine"]} == {"onednn": True, **new["machine"]}
    )


def differences(old, new, others):
    """Name the numbers in which a run that was trained again differs from its record.

    Where processor, threads and versions are the same, every bit counts. Elsewhere rounding makes
    the run as different as one with another seed: it has to lie where 999 in 1,000 further seeds
    would.
    """
    before, now = numbers_of(old), numbers_of(new)
    assert set(before) == set(now)
    if same_place(old, new):
        return {name: (before[name], now[name]) for name in now if before[name] != now[name]}
    wrong = {}
    for name, value in now.items():
        values = np.array([numbers_of(other)[name] for other in others], dtype=float)
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


ONE = {"processor": "one"}


@pytest.mark.parametrize(
    ("where", "same"),
    [
        ({}, True),
        ({"machine": {**ONE, "onednn": True}}, True),
        ({"machine": {**ONE, "onednn": False}}, False),
        ({"machine": {"processor": "two"}}, False),
        ({"machine": {**ONE, "vectors": "AVX2"}}, False),
        ({"versions": {"keras": "4"}}, False),
    ],
)
def test_in_the_same_place_every_bit_counts_and_elsewhere_what_other_seeds_give(where, same):
    others = [a_record(seed, 0.9 + 0.01 * seed) for seed in range(5)]
    alike = [a_record(seed, 0.1) for seed in range(5)]
    nearly = np.nextafter(0.93, 1)
    for recorded, accuracy, far in (
        *[(others, 0.93, False), (others, nearly, same), (others, 0.85, same), (others, 0.5, True)],
        # Where every seed gave the same number, one image more or less is no difference.
        *[(alike, 0.1009, same), (alike, 0.12, True)],
    ):
        # Times count nowhere.
        new = {**a_record(3, accuracy, **where), "measures": {"log2_milliseconds": 8.0}}
        wrong = differences(recorded[3], new, recorded)
        assert list(wrong) == ["test_accuracy, epoch 1"] * far


def candidates():
    """List the recorded runs that count and are cheap: their notebook, record, and other seeds."""
    for path in NOTEBOOKS:
        for each in plan.notebook(path).experiments:
            counting = each.requirements.counting(each.file.read()[0])
            for (arm, _), record in counting.items():
                others = [other for run, other in counting.items() if run[0] == arm]
                if record["seconds"] < CHEAP and len(others) > 2:
                    yield path, record, others


@pytest.mark.skipif(
    not os.environ.get("MNIST_PATH") and not source.keras_cache().is_file(),
    reason="full MNIST is not here: MNIST_PATH names no file, and Keras has none in its cache",
)
def test_a_recorded_run_that_is_trained_again_gives_its_record(tmp_path, capsys):
    # Another one each day, and the same one all day.
    today = random.Random(datetime.date.today().toordinal())
    notebook, record, others = today.choice(list(candidates()))
    which = f"{record['experiment']}, arm {record['arm']!r}, seed {record['seed']}"
    new = retrained(notebook, record, tmp_path)
    with capsys.disabled():
        where = "as it was" if same_place(record, new) else "elsewhere"
        print(f"\ntrained again: {which} ({where})")
    wrong = differences(record, new, others)
    assert not wrong, (
        f"{which} is recorded with other numbers than it gives now (recorded, now): {wrong}. "
        f"Take it out of {record['experiment']}.jsonl if the record is wrong, and "
        "`make results` trains it again."
    )
