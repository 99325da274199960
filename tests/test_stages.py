"""Stein's two stages: how many seeds, and that nobody can choose it later."""

import dataclasses
import json

import numpy as np
import pytest
import simulations
from helpers import record_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from utils.evidence import claims, stages, statistics
from utils.evidence.records import RecordFile, Requirements
from utils.paths import CHAPTERS

EXPERIMENT, CLAIM = "small-or-large", "wide-or-large"
ARMS = ("three layers of 3×3", "one layer of 7×7")
PRINT = {"model": "m1"}
FIRST, PILOT, CAP = 100, 10, 40


@pytest.fixture
def file(records):
    return RecordFile.of(EXPERIMENT)


def required(arms=ARMS, pilot=PILOT, **changed):
    seeds = tuple(range(FIRST, FIRST + pilot))
    return Requirements(EXPERIMENT, seeds, {arm: {**PRINT, **changed} for arm in arms}, pilot, CAP)


def record(arm, seed, accuracy):
    return record_of(EXPERIMENT, arm, seed, accuracy, PRINT)


def write(file, differences, first=FIRST, base=0.9):
    for number, difference in enumerate(differences):
        file.append(record(ARMS[0], first + number, base + difference))
        file.append(record(ARMS[1], first + number, base))


DIFFERENCES = 0.002 + 0.001 * np.random.default_rng(3).normal(size=PILOT)


def test_before_the_pilot_is_complete_nothing_is_computed(file):
    write(file, DIFFERENCES[:-1])
    assert stages.due(required()) == []
    assert len(required().runs) == 2 * PILOT


def test_a_pilot_computes_the_number_of_seeds_once(file):
    write(file, DIFFERENCES)
    (stage,) = stages.due(required())
    spread = DIFFERENCES.std(ddof=1)
    half = claims.load_ledger()[CLAIM].parts[0].margin / 2
    wanted = int(np.ceil((stats.t.ppf(0.975, PILOT - 1) * spread / half) ** 2))
    assert stage["spread"] == pytest.approx(spread, rel=1e-9)
    assert (stage["half_width"], stage["wanted"]) == (half, wanted)
    assert stage["seeds"] == min(CAP, max(PILOT, wanted)) > PILOT
    assert f"N = {stage['seeds']}" in stages.describe(stage)
    assert file.append_stage(stage)
    assert stages.due(required()) == []
    assert not file.append_stage({**stage, "date": "2000-01-01"})
    assert len(file.stages()) == 1 and file.read()[1] == []
    missing = set(required().runs.values()) - set(required().counting(file.read()[0]))
    assert missing == {
        (arm, seed) for arm in ARMS for seed in range(FIRST + PILOT, FIRST + stage["seeds"])
    }


def test_an_arm_gets_the_most_that_one_of_its_stages_asks_for(file, monkeypatch):
    write(file, DIFFERENCES)
    (stage,) = stages.due(required())
    file.append_stage({**stage, "seeds": 12})
    file.append_stage(
        {**stage, "metric": "test_loss", "seeds": 15, "fingerprints": {ARMS[0]: PRINT}}
    )
    assert required().seeds_of_arms() == {ARMS[0]: 15, ARMS[1]: 12}
    write(file, [0.002] * 2, FIRST + PILOT)
    frame = stages.frame(required())
    wanted = frame.groupby("arm")["wanted"].first()
    assert dict(wanted) == {ARMS[0]: 15, ARMS[1]: 12} and set(frame["pilot"]) == {PILOT}
    # Whether or not earlier comparisons stand in for its parts.
    alone = {CLAIM: dataclasses.replace(claims.load_ledger()[CLAIM], old=())}
    monkeypatch.setattr(claims, "load_ledger", lambda: alone)
    open_ = claims.settle(CLAIM, full=frame)
    assert open_.rows == ()
    for seed in range(FIRST + 12, FIRST + 15):
        file.append(record(ARMS[0], seed, 0.9))
    (row,) = claims.settle(CLAIM, full=stages.frame(required())).rows
    assert (row.estimate.runs, row.estimate.method) == (12, "Stein")


def test_a_changed_arm_asks_its_pilot_again(file):
    write(file, DIFFERENCES)
    file.append_stage(stages.due(required())[0])
    changed = required(model="m2")
    assert changed.stages == [] and stages.due(changed) == []
    assert changed.seeds_of_arms() == dict.fromkeys(ARMS, PILOT)


def test_a_stage_that_is_not_whole_is_a_damaged_line(file):
    write(file, DIFFERENCES)
    with open(file.path, "a", encoding="utf-8") as lines:
        lines.write(json.dumps({"stage": {"seeds": 40}}) + "\n")
    assert file.stages() == [] and len(file.read()[1]) == 1


def test_metadata_tell_the_pilot_and_older_ones_have_none():
    stored = json.loads(json.dumps(required().to_metadata()))
    assert Requirements.from_metadata(stored) == required()
    plain = Requirements("e", (0, 1), {"a": PRINT})
    assert set(plain.to_metadata()) == {"experiment", "seeds", "fingerprints"}
    assert Requirements.from_metadata(plain.to_metadata()) == plain


@settings(deadline=None, max_examples=30)
@given(st.floats(-0.5, 0.5), st.integers(0, 2**32 - 1))
def test_the_number_depends_on_the_spread_and_not_on_the_mean(shift, seed):
    values = np.random.default_rng(seed).normal(size=PILOT)
    numbers = {
        statistics.stein_seeds((values + by).std(ddof=1), 0.5, PILOT, CAP) for by in (0, shift)
    }
    assert len(numbers) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.5, 10, 40), "spread=-1; allowed is a number from 0"),
        ((float("nan"), 0.5, 10, 40), "spread=nan"),
        ((1, 0, 10, 40), "half_width=0; allowed is a number above 0"),
        ((1, 0.5, 1, 40), "pilot=1; allowed is a whole number from 2"),
        ((1, 0.5, 10, 9), "cap=9; allowed is a whole number from the pilot's 10"),
    ],
)
def test_what_is_not_allowed_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        statistics.stein_seeds(*arguments)


# What the rule is worth


@pytest.fixture(scope="module")
def simulated():
    return simulations.table()


def test_the_interval_covers_normal_differences(simulated):
    covered = simulated[simulated["differences"] == "normal"]["covered"]
    assert (covered.astype(float) >= 94.5).all()


def test_the_page_has_the_table_that_the_simulation_gives(simulated):
    page = (CHAPTERS / "method.md").read_text(encoding="utf-8")
    assert simulations.markdown(simulated) in page


def test_what_is_simulated_is_what_is_judged():
    rng = np.random.default_rng(1)
    low, high, seeds = simulations.intervals(rng, "normal", 1.0, 1.0, repeats=20).T
    rng = np.random.default_rng(1)
    drawn = 1.0 + simulations.KINDS["normal"](rng, (20, CAP))
    for number in range(20):
        count = int(seeds[number])
        values = drawn[number, :count]
        estimate = statistics.mean(simulations.frame_of(values), "metric", "new")
        assert estimate.runs == count and estimate.method == "Stein"
        assert estimate.interval() == pytest.approx((low[number], high[number]))
