"""The ledger: checked when it is read, judged as written, and tied to the chapters both ways."""

import copy
import html
import itertools
import json
import re
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import test_browser
import yaml
from helpers import runs_of
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from utils.commands import book
from utils.evidence import claims, evaluate
from utils.evidence.claims import Comparison, LedgerError, join, load_ledger, settle
from utils.evidence.records import RecordFile
from utils.evidence.statistics import EXPECTATIONS, Estimate, Verdict
from utils.evidence.table import columns_of, table

chromium = test_browser.chromium

ROOT = Path(__file__).resolve().parent.parent
THEME = ROOT / "chapters" / "_static" / "theme.css"
SUPPORTED, REFUTED = Verdict.SUPPORTED, Verdict.REFUTED
NO_DIFFERENCE, UNDECIDED = Verdict.NO_DIFFERENCE, Verdict.UNDECIDED

COMPARISON = {
    "says": "first <against> second", "experiment": "an-experiment", "metric": "test_accuracy",
    "treatment": "first", "baseline": "second", "expect": "increase", "margin": 0.01,
    "unit": "points",
}  # fmt: skip
ENTRY = {
    "id": "a-claim",
    "section": "A section",
    "source": "S0",
    "chapter": "a-chapter",
    "kind": "exact and measured",
    "statement": "More is <better> & faster.",
    "settled_by": "Both are trained.",
    "comparisons": [
        COMPARISON,
        {**COMPARISON, "experiment": "another", "metric": "test_accuracy < 0.5",
         "expect": "no difference", "margin": 0.3, "unit": "share"},
    ],
    "exact": {"verdict": "supported", "note": "As said.", "tests": ["tests/test_claims.py"]},
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Write a ledger of these entries, and return its path."""

    def write(*entries):
        path = tmp_path / "claims.yml"
        document = {"sources": {"S0": {}, "S1": {}}, "claims": list(entries)}
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        claims.load_ledger.cache_clear()
        return path

    yield write
    claims.load_ledger.cache_clear()


def compare(write, **fields):
    """Read the one comparison of a ledger; a field given as None is left out."""
    fields = {**COMPARISON, **fields}
    entry = {key: value for key, value in fields.items() if value is not None}
    (comparison,) = load_ledger(write({**ENTRY, "comparisons": [entry]}))["a-claim"].comparisons
    return comparison


@pytest.fixture
def ledger(write, monkeypatch):
    """Let `settle` read a ledger of one claim with two comparisons, and one without any."""
    bare = {key: value for key, value in ENTRY.items() if key != "comparisons"}
    found = load_ledger(write(ENTRY, {**bare, "id": "bare"}))
    monkeypatch.setattr(claims, "load_ledger", lambda: found)
    return found


def frame_of(scale="full", experiment="an-experiment", **arms):
    """Make a tidy table; earlier epochs hold what would turn every verdict."""
    turned = {arm: [[1 - value, value] for value in values] for arm, values in arms.items()}
    return runs_of("test_accuracy", scale, **turned).assign(experiment=experiment)


# Reading


def test_a_good_entry_is_read_with_its_comparisons(write):
    for source, kept in (("S0", ("S0",)), (["S1", "S0"], ("S1", "S0"))):
        (claim,) = load_ledger(write({**ENTRY, "source": source})).values()
        assert (claim.id, claim.source, claim.kind) == ("a-claim", kept, "exact and measured")
    assert claim.comparisons[0] == Comparison(**COMPARISON)
    assert claim.comparisons[1].unit == "share"
    assert claim.exact["tests"] == ["tests/test_claims.py"]
    assert claim.tested


@pytest.mark.parametrize("parts", [[], ["exact"], ["comparisons"], ["exact", "comparisons"]])
@pytest.mark.parametrize("kind", ["exact", "measured", "exact and measured"])
def test_a_claim_is_tested_when_each_part_of_its_kind_is(write, kind, parts):
    others = {"exact", "comparisons"} - set(parts)
    entry = {key: value for key, value in ENTRY.items() if key not in others}
    (claim,) = load_ledger(write(entry | {"kind": kind})).values()
    names = {"exact": "exact", "measured": "comparisons"}
    assert claim.tested is all(names[each] in parts for each in kind.split(" and "))


def change(place, value=None, add=None):
    """Return the entry with one field changed, taken out or added."""
    entry = copy.deepcopy(ENTRY)
    inner = entry
    for step in place[:-1]:
        inner = inner[step]
    if add is not None:
        inner[place[-1]][add] = "x"
    elif value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return entry


FIRST_PART = ("comparisons", 0)
VERDICTS = "'no difference beyond the margin'"
PART = "comparison 'first <against> second': metric: expression="


@pytest.mark.parametrize(
    "place, value, named, allowed",
    [
        (("source",), "S9", "source=('S9',)", "['S0', 'S1']"),
        (("source",), ["S0", "S9"], "source=('S0', 'S9')", "['S0', 'S1']"),
        (("kind",), "guessed", "kind='guessed'", "'exact', 'measured'"),
        (("exact", "verdict"), "true", "exact verdict='true'", VERDICTS),
        ((*FIRST_PART, "expect"), "more", "expect='more'", "'increase', 'decrease', 'no diff"),
        ((*FIRST_PART, "margin"), 0, "margin=0", "a number above 0"),
        (("comparisons", 1, "margin"), -0.1, "margin=-0.1", "a number above 0"),
        ((*FIRST_PART, "margin"), "1 %", "margin='1 %'", "a number above 0"),
        ((*FIRST_PART, "margin"), float("nan"), "margin=nan", "a number above 0"),
        ((*FIRST_PART, "unit"), "%", "unit='%'", "'points', 'share', ''"),
        ((*FIRST_PART, "metric"), "a.b", f"{PART}'a.b'", "names of columns, numbers, + - * / < >"),
        ((*FIRST_PART, "treatment"), [], "treatment=[]", "a list of two or more and a baseline"),
        ((*FIRST_PART, "treatment"), ["first"], "treatment=['first']", "a list of two or more"),
        ((*FIRST_PART, "treatment"), ["first", 2], "treatment=['first', 2]", "a list of two or"),
        ((*FIRST_PART, "treatment"), 3, "treatment=3", "an arm, or a list"),
        (("comparisons", 1, "baseline"), None, "treatment=['a', 'b']", "and a baseline"),
    ],
)
def test_a_bad_value_is_refused_by_claim_field_value_and_what_is_allowed(
    write, place, value, named, allowed
):
    entry = change(place, value)
    if value is None:  # A list of arms needs a baseline.
        entry["comparisons"][1]["treatment"] = ["a", "b"]
    with pytest.raises(LedgerError) as error:
        load_ledger(write(entry))
    for part in ("claim a-claim", named, allowed):
        assert part in str(error.value)


REQUIRED = {
    (): ["id", "section", "source", "chapter", "kind", "statement", "settled_by"],
    FIRST_PART: ["says", "experiment", "metric", "treatment", "expect", "margin"],
    ("exact",): ["verdict", "note", "tests"],
}


@pytest.mark.parametrize(
    "place, field", [(place, field) for place, fields in REQUIRED.items() for field in fields]
)
def test_a_missing_field_is_named(write, place, field):
    named = "More is <better>" if field == "id" else "claim a-claim"
    with pytest.raises(LedgerError, match=rf"{named}.*missing fields \['{field}'\]"):
        load_ledger(write(change((*place, field))))


@pytest.mark.parametrize("place", REQUIRED)
def test_an_unknown_field_is_named(write, place):
    entry = change(place, add="treatmnt") if place else {**ENTRY, "treatmnt": "x"}
    with pytest.raises(LedgerError, match=r"claim a-claim.*unknown fields \['treatmnt'\]"):
        load_ledger(write(entry))


def test_an_id_that_stands_there_twice_is_refused(write):
    with pytest.raises(LedgerError, match="claim a-claim: the id stands in the ledger twice"):
        load_ledger(write(ENTRY, {**ENTRY, "id": "another"}, ENTRY))


# Metrics


REFUSED = [
    "a + @data.os.system('touch it')", "__import__('os')", "a.b", "a[0]", "f(a)", "a ** 2", "a % 2",
    "a <= b", "a == b", "a < b < c", "a and b", "not a", "a if b else c", "lambda: a", "[a]", "'a'",
    "a := b", "a; b", "1j * a", "True", "1", "", None, 3, "a\x00", "(" * 5_000 + "a" + ")" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED, ids=lambda it: repr(it)[:20])
def test_a_metric_is_names_numbers_and_operators_alone(expression):
    frame = pd.DataFrame({name: [1.0] for name in "abcf"})
    for call in (lambda: evaluate(frame, expression), lambda: columns_of(expression)):
        with pytest.raises(ValueError, match=r"expression=.*; allowed are names of columns, numb"):
            call()


def test_a_command_in_the_ledger_is_refused_on_reading_and_not_run(write, tmp_path):
    there = tmp_path / "it ran"
    metric = f"test_accuracy + @data.os.system('touch \"{there}\"')"
    with pytest.raises(LedgerError, match="claim a-claim, comparison 'first <against> second'"):
        load_ledger(write(change((*FIRST_PART, "metric"), metric)))
    assert not there.exists()


def test_a_metric_by_hand():
    frame = pd.DataFrame({"a": [1.0, -2.0], "b": [4, 5]})
    assert evaluate(frame, "-(a + 2.5) * b / 2").tolist() == [-7.0, -1.25]
    assert evaluate(frame, "a - 2 > -b").tolist() == [True, True]
    assert evaluate(frame, "b < 4.5").tolist() == [True, False]
    assert columns_of("b - a * b") == ("b", "a")
    with pytest.raises(ValueError, match=r"expression='a - c'; the frame has \['a', 'b'\]"):
        evaluate(frame, "a - c")


# Estimates and verdicts


FIRST, SECOND = [0.97, 0.98, 0.99, 0.975], [0.95, 0.955, 0.96, 0.962]


def test_a_comparison_of_a_column_is_a_difference_of_means():
    frame = frame_of(first=FIRST, second=SECOND, third=[0.1, 0.2])
    estimate = Comparison(**COMPARISON).estimate(frame)
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert estimate.value == pytest.approx(np.mean(FIRST) - np.mean(SECOND))
    assert estimate.interval() == pytest.approx(tuple(expected))
    assert (estimate.method, estimate.runs) == ("paired t", 4)


@pytest.mark.parametrize(
    "metric", ["test_accuracy < 0.5", "0.5 > test_accuracy", "test_accuracy - 0.5 < 0"]
)
def test_a_comparison_of_a_condition_is_a_difference_of_proportions(metric):
    # 3 of 4 and 1 of 5 runs end below one half; all others were below it before their last epoch.
    frame = frame_of(first=[0.1, 0.2, 0.49, 0.5], second=[0.9, 0.9, 0.1, 0.9, 0.5])
    estimate = Comparison(**{**COMPARISON, "metric": metric}).estimate(frame)
    assert estimate.value == pytest.approx(3 / 4 - 1 / 5)
    expected = confint_proportions_2indep(3, 4, 1, 5, method="newcomb")
    assert estimate.interval() == pytest.approx(expected)
    assert estimate.method == "Newcombe"


def test_a_comparison_of_an_expression_is_a_difference_of_its_means():
    frame = frame_of(first=FIRST, second=SECOND).assign(accuracy=1.0)
    estimate = Comparison(**{**COMPARISON, "metric": "accuracy - test_accuracy"}).estimate(frame)
    assert estimate.value == pytest.approx(np.mean(SECOND) - np.mean(FIRST))


@pytest.mark.parametrize(
    "interval, expect, verdict",
    [
        ((0.02, 0.03), "increase", SUPPORTED),
        ((0.02, 0.03), "decrease", REFUTED),
        ((0.02, 0.03), "no difference", REFUTED),
        ((-0.005, 0.005), "increase", NO_DIFFERENCE),
        ((-0.005, 0.005), "no difference", SUPPORTED),
        ((0.005, 0.03), "increase", UNDECIDED),
    ],
)
def test_a_comparison_judges_by_its_own_margin_and_expectation(interval, expect, verdict):
    estimate = Estimate(np.mean(interval), 5, "by hand", lambda confidence: interval)
    assert Comparison(**{**COMPARISON, "expect": expect}).judge(estimate) is verdict


@pytest.mark.parametrize(
    "unit, value, written, signed",
    [
        ("points", 0.005, "0.50 points", "+0.50 points"),
        ("points", -0.0123, "−1.23 points", "−1.23 points"),
        ("share", 0.3, "0.30", "+0.30"),
        ("", -1.5, "−1.500", "−1.500"),
    ],
)
def test_values_are_written_in_their_unit(unit, value, written, signed):
    comparison = Comparison(**{**COMPARISON, "unit": unit})
    assert comparison.write(value) == written
    assert comparison.write(value, sign=True) == signed
    estimate = Estimate(0.003, 5, "by hand", lambda confidence: (-0.001, 0.0071))
    assert Comparison(**COMPARISON).write_interval(estimate) == "+0.30 [−0.10, +0.71] points"


def test_of_several_verdicts_the_worst_decides():
    for number in (1, 2, 3):
        for verdicts in itertools.product(Verdict, repeat=number):
            if REFUTED in verdicts:
                expected = REFUTED
            elif NO_DIFFERENCE in verdicts:
                expected = NO_DIFFERENCE
            elif all(verdict is SUPPORTED for verdict in verdicts):
                expected = SUPPORTED
            else:
                expected = UNDECIDED
            assert join(verdicts) is expected, verdicts


# Settling


GOOD = {"first": [0.97, 0.971, 0.969], "second": [0.91, 0.911, 0.912]}
BAD_RUNS = {"first": GOOD["second"], "second": GOOD["first"]}


def both(scale, **arms):
    """Make runs of both experiments: a clear increase, and no run below one half."""
    return pd.concat(
        [frame_of(scale, **(arms or GOOD)), frame_of(scale, "another", first=[0.9] * 30,
                                                     second=[0.9] * 30)]
    )  # fmt: skip


def told(settlement):
    return settlement.summary("quick"), settlement.summary("full")


OPEN = "not yet run at this scale"
AGREES = "every run as claimed in all 2 comparisons"


def test_each_scale_is_told_by_its_own_runs(ledger):
    settled = settle("a-claim", both("quick"))
    assert told(settled) == (AGREES, OPEN)
    assert settled.verdict("full") is settled.verdict("quick") is None
    assert [scale for _, scale, _, _ in settled.rows] == ["quick", "quick"]
    assert repr(settled) == f"a-claim: quick {AGREES}; full {OPEN}"
    assert told(settle("a-claim", full=both("full"))) == (OPEN, "supported")
    settled = settle("a-claim", both("quick", **BAD_RUNS), both("full"))
    assert told(settled) == ("0 of 3 runs as claimed in the worst of 2 comparisons", "supported")
    methods = {scale: estimate.method for _, scale, estimate, _ in settled.rows[:2]}
    assert methods == {"quick": "corrected resampled t", "full": "paired t"}
    assert len(settled.rows) == 4
    # A notebook that is run at full scale has the same runs twice, and they count once.
    settled = settle("a-claim", both("full"), both("full"))
    assert told(settled) == (OPEN, "supported") and len(settled.rows) == 2


@pytest.mark.parametrize(
    "first, second, fields, tally",
    [
        ([0.9, 0.8], [0.8, 0.7], {}, "2 of 2 runs in the claimed direction"),
        # As small as it may be, and never a difference of nothing.
        ([0.9, 0.8, 0.7], [0.8999, 0.8, 0.71], {}, "1 of 3 runs in the claimed direction"),
        ([0.9, 0.8], [0.8, 0.9], {"expect": "decrease"}, "1 of 2 runs in the claimed direction"),
        ([0.9, 0.9], [0.895, 0.912], {"expect": "no difference"}, "1 of 2 runs within the margin"),
        ([0.1, 0.9], [0.9, 0.9], {"metric": "test_accuracy < 0.5"}, "1 of 2 runs in the claimed"),
        ([0.9, 0.1], None, {"metric": "test_accuracy - 0.5"}, "1 of 2 runs in the claimed direct"),
    ],
)
def test_a_quick_run_counts_the_runs_that_are_as_claimed(write, first, second, fields, tally):
    comparison = compare(write, baseline=None if second is None else "second", **fields)
    arms = {"first": first} if second is None else {"first": first, "second": second}
    assert str(comparison.tally(frame_of("quick", **arms))).startswith(tally)


def test_of_several_arms_the_mean_is_counted(write):
    comparison = compare(write, treatment=["first", "third"], baseline=["second", "fourth"])
    arms = {"first": [0.5, 0.5], "third": [0.9, 0.9], "second": [0.6, 0.9], "fourth": [0.7, 0.6]}
    assert str(comparison.tally(frame_of("quick", **arms))).startswith("1 of 2 runs")


def test_of_one_comparison_the_summary_is_its_tally(write, monkeypatch):
    found = load_ledger(write({**ENTRY, "comparisons": [COMPARISON]}))
    monkeypatch.setattr(claims, "load_ledger", lambda: found)
    settled = settle("a-claim", frame_of("quick", first=[0.9, 0.8], second=[0.8, 0.9]))
    assert settled.summary("quick") == "1 of 2 runs in the claimed direction"


def test_no_runs_at_all_leave_everything_open(ledger):
    for frames in ((), (None, None), (pd.DataFrame(columns=["scale"]), frame_of())):
        settled = settle("a-claim", *frames)
        assert settled.rows == () and told(settled) == (OPEN, OPEN)
        assert "Recorded runs: " in settled._repr_mimebundle_()[0]["text/html"]
        assert settled._repr_mimebundle_()[0]["text/html"].count("not yet run") == 2


def test_an_arm_that_is_missing_leaves_its_comparison_and_the_claim_open(ledger):
    without = both("quick")
    without = without[~((without["experiment"] == "another") & (without["arm"] == "first"))]
    settled = settle("a-claim", without, both("full"))
    assert told(settled) == (OPEN, "supported")
    assert [(row[0].experiment, row[1]) for row in settled.rows] == [
        ("an-experiment", "quick"),
        ("an-experiment", "full"),
        ("another", "full"),
    ]


@pytest.mark.parametrize("kept", [[0], [0, 1]], ids=["one seed", "two of three"])
def test_a_half_recorded_arm_leaves_its_comparison_open(ledger, kept):
    frame = both("full", first=[0.9, 0.91, 0.92], second=[0.8, 0.82, 0.81])
    half = frame[(frame["arm"] != "first") | frame["seed"].isin(kept)]
    assert settle("a-claim", full=half).rows == ()
    assert len(settle("a-claim", full=frame).rows) == 2


def test_without_a_baseline_the_arm_itself_is_judged_against_zero(write):
    comparison = compare(write, baseline=None, metric="test_accuracy - 0.9")
    assert comparison.baseline is None and comparison.arms == ("first",)
    frame = frame_of(first=[0.95, 0.96, 0.97], second=[0.1, 0.2, 0.3])
    estimate = comparison.estimate(frame)
    assert estimate.value == pytest.approx(0.06) and estimate.runs == 3
    assert comparison.judge(estimate) is SUPPORTED
    assert comparison.judge(comparison.estimate(frame_of(first=[0.85, 0.84, 0.83]))) is REFUTED
    condition = {"metric": "test_accuracy < 0.5", "unit": "share", "margin": 0.3}
    comparison = compare(write, baseline=None, **condition)
    estimate = comparison.estimate(frame_of(first=[0.1] * 9 + [0.9]))
    assert estimate.value == pytest.approx(0.9) and estimate.method == "Wilson"
    assert comparison.judge(estimate) is SUPPORTED


def test_without_a_baseline_a_half_recorded_arm_leaves_the_claim_open(write, monkeypatch):
    alone = {key: value for key, value in COMPARISON.items() if key != "baseline"}
    found = load_ledger(write({**ENTRY, "comparisons": [alone]}))
    monkeypatch.setattr(claims, "load_ledger", lambda: found)
    half = frame_of(first=[0.95, 0.96, 0.97], second=[0.1, 0.2, 0.3])
    assert told(settle("a-claim", full=half))[1] == "supported"
    half = half[(half["arm"] != "first") | (half["seed"] < 2)]
    assert settle("a-claim", full=half).rows == ()


def test_of_several_arms_the_mean_counts_seed_by_seed(write):
    comparison = compare(write, treatment=["first", "third"], baseline=["second", "fourth"])
    assert comparison.arms == ("first", "third", "second", "fourth")
    values = {
        "first": [0.90, 0.94, 0.92],
        "second": [0.80, 0.82, 0.85],
        "third": [0.70, 0.71, 0.75],
        "fourth": [0.60, 0.58, 0.61],
    }
    estimate = comparison.estimate(frame_of(**values))
    first, second, third, fourth = map(np.array, values.values())
    expected = ((first - second) + (third - fourth)) / 2
    low, high = stats.t.interval(0.95, 2, expected.mean(), stats.sem(expected))
    assert estimate.value == pytest.approx(expected.mean())
    assert estimate.interval() == pytest.approx((low, high))
    unpaired = frame_of(**values)
    unpaired = unpaired[(unpaired["arm"] != "fourth") | (unpaired["seed"] < 2)]
    with pytest.raises(ValueError, match="pairs need the same ones"):
        comparison.estimate(unpaired)


def test_experiments_at_different_scales_are_told_apart_in_one_frame(ledger):
    quick = both("quick", first=[0.9, 0.91], second=[0.8, 0.82])
    full = both("full", first=[0.9, 0.91], second=[0.8, 0.82])
    mixed = pd.concat(
        [full[full["experiment"] == "an-experiment"], quick[quick["experiment"] == "another"]]
    )
    rows = settle("a-claim", mixed).rows
    assert [(comparison.experiment, scale) for comparison, scale, *_ in rows] == [
        ("an-experiment", "full"),
        ("another", "quick"),
    ]


def test_an_experiment_that_is_missing_leaves_the_claim_open(ledger):
    settled = settle("a-claim", frame_of("quick", **GOOD))
    assert told(settled) == (OPEN, OPEN) and len(settled.rows) == 1


def test_arms_of_the_same_name_in_another_experiment_do_not_count(ledger):
    turned = frame_of("quick", "something-else", **BAD_RUNS)
    assert told(settle("a-claim", pd.concat([turned, both("quick")]))) == (AGREES, OPEN)


def test_a_claim_that_is_not_there_or_compares_nothing_is_refused(ledger):
    with pytest.raises(KeyError, match="claim_id='a-clam' is not in claims.yml"):
        settle("a-clam", both("quick"))
    with pytest.raises(LedgerError, match="claim bare: it has no comparisons"):
        settle("bare", both("quick"))


def test_what_a_notebook_stores_is_the_claim_and_what_its_quick_runs_say(ledger):
    settled = settle("a-claim", both("quick", **BAD_RUNS), both("full"))
    bundle, metadata = settled._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"] == repr(settled)
    assert metadata == {"settled": {"claim": "a-claim", "quick": settled.summary("quick")}}


def test_a_settlement_is_shown_with_its_words_escaped_and_its_numbers(ledger):
    settled = settle("a-claim", both("quick"), both("full"))
    page = settled._repr_mimebundle_()[0]["text/html"]
    assert 'href="claims.html#a-claim"' in page
    assert "More is &lt;better&gt; &amp; faster." in page and "<better>" not in page
    assert "first &lt;against&gt; second" in page and "<against>" not in page
    assert page.count("<tr>") == 4 and page.count('<tr style') == 1  # fmt: skip
    assert page.count("margin 1.00 points") == page.count("margin 0.30") == 2
    assert page.count("claimed: increase") == page.count("claimed: no difference") == 2
    assert "quick, 3 seeds" in page and "recorded, 30 seeds" in page


def test_only_recorded_runs_have_an_interval_and_a_verdict(ledger):
    settled = settle("a-claim", both("quick"), both("full"))
    shown = settled.table().set_index("runs")
    for comparison, scale, estimate, outcome in settled.rows:
        kind = "recorded" if scale == "full" else scale
        row = shown.loc[f"{kind}, {estimate.runs} seeds"]
        value = comparison.write(estimate.value, sign=True)
        if scale == "full":
            assert row["difference, 95 % interval"] == comparison.write_interval(estimate)
            assert outcome is SUPPORTED and "✓ supported" in row["verdict"]
        else:
            assert row["difference, 95 % interval"] == value and "[" not in value
            assert row["verdict"] == str(outcome)
    assert "[+0.000, +0.000]" not in repr(shown.loc["quick, 30 seeds"])


def test_a_settlement_says_what_ran(ledger):
    page = settle("a-claim", both("quick"), both("full"))._repr_mimebundle_()[0]["text/html"]
    ran = "4,000 images, 2 epochs, 3 to 30 seeds"
    assert f"<li>Quick runs ({ran}): {AGREES}</li>" in page
    assert f"<li>Recorded runs ({ran}): {claims.verdict_html(SUPPORTED)}</li>" in page
    assert "MNIST" not in page


def test_verdicts_differ_in_words_and_signs_and_not_in_colour_alone():
    written = [re.sub("<[^>]*>", "", claims.verdict_html(verdict)) for verdict in [*Verdict, None]]
    assert written == [
        "✓ supported",
        "✗ refuted",
        "≈ no difference beyond the margin",
        "? undecided at this scale",
        "not yet run",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_can_be_read_in_both_themes_and_a_table_scrolls_in_its_own_box(
    ledger, chromium, tmp_path, theme
):
    pills = " ".join(claims.verdict_html(verdict) for verdict in [*Verdict, None])
    shown = settle("a-claim", both("quick"), both("full"))._repr_mimebundle_()[0]["text/html"]
    page = tmp_path / "page.html"
    page.write_text(
        f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
        f'<link rel="stylesheet" href="{THEME.as_uri()}"><title>x</title>'
        # As the style sheet of sphinx-book-theme has it.
        "<style>a { color: var(--pst-color-link) }</style>"
        '<body style="background: var(--pst-color-background); color: var(--pst-color-text-base)">'
        f'<main class="bd-article"><p>{pills}</p><div class="cell_output">{shown}</div></main>',
        encoding="utf-8",
    )
    with test_browser.Watch(chromium, viewport={"width": 320, "height": 800}) as watch:
        watch.tab.goto(page.as_uri())
        assert watch.tab.evaluate(test_browser.CONTRAST) == []
        look = "each => [each.scrollWidth > each.clientWidth, getComputedStyle(each).overflowX]"
        assert watch.tab.locator("table.verdicts").evaluate(look) == [True, "auto"]
        assert watch.tab.evaluate("document.scrollingElement.scrollWidth") <= 320
        looks = watch.tab.locator("p .verdict").evaluate_all(
            "all => all.map(each => getComputedStyle(each).backgroundColor + "
            "getComputedStyle(each).color + getComputedStyle(each).borderStyle)"
        )
        assert len(set(looks)) == 5


# The ledger and the chapters


LEDGER = load_ledger()
NOTEBOOKS = [path.stem for path in book.notebooks()]


@cache
def stored(chapter, kind):
    """Return the stored outputs of a notebook that say something of a kind."""
    notebook = nbformat.read(ROOT / "chapters" / f"{chapter}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if kind in output.get("metadata", {})]


def stored_metadata(chapter, kind):
    return [output.metadata[kind] for output in stored(chapter, kind)]


def experiments_of(chapter):
    """Return the arms of each experiment whose records a stored notebook reads."""
    return {
        each["experiment"]: set(each["fingerprints"])
        for each in stored_metadata(chapter, "recorded")
    }


def measured_in(chapter):
    return [claim for claim in LEDGER.values() if claim.chapter == chapter and claim.comparisons]


@pytest.mark.parametrize("claim_id", LEDGER)
def test_an_entry_of_the_ledger_is_whole(claim_id):
    claim = LEDGER[claim_id]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim_id)
    for text in (claim.section, claim.statement, claim.settled_by):
        assert text == text.strip() and text
    assert claim.statement.endswith(".") and claim.settled_by.endswith(".")
    assert not (claim.comparisons and claim.kind == "exact"), "an exact claim compares no runs"
    assert not (claim.exact and claim.kind == "measured"), "a measured claim has no exact part"
    for comparison in claim.comparisons:
        assert comparison.treatment != comparison.baseline
        assert comparison.expect in EXPECTATIONS


@pytest.mark.parametrize(
    "claim_id", [name for name, claim in LEDGER.items() if claim.exact is not None]
)
def test_the_tests_of_an_exact_claim_exist(claim_id):
    tests = LEDGER[claim_id].exact["tests"]
    assert tests
    for test in tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file(), path
        assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")


def test_the_book_has_notebooks_and_the_ledger_has_comparisons():
    assert NOTEBOOKS and any(claim.comparisons for claim in LEDGER.values())
    written = {claim.chapter for claim in LEDGER.values() if claim.comparisons}
    assert written <= set(NOTEBOOKS), "a claim is compared in a chapter that the book lacks"


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_a_chapter_settles_exactly_its_measured_claims(chapter):
    settled = [each["claim"] for each in stored_metadata(chapter, "settled")]
    assert sorted(settled) == sorted(claim.id for claim in measured_in(chapter))
    # Where an arm is run at full scale alone, a claim stays open at quick scale.
    words = rf"{OPEN}|\d+ of \d+ runs .*|every run as claimed in all \d comparisons"
    for each in stored_metadata(chapter, "settled"):
        assert re.fullmatch(words, each["quick"]), each


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_what_a_chapter_shows_of_a_claim_is_what_the_ledger_says(chapter):
    for output in stored(chapter, "settled"):
        claim = LEDGER[output.metadata["settled"]["claim"]]
        page = re.sub(r"\s+", " ", "".join(output.data["text/html"]))
        assert f"</a> {html.escape(claim.statement)}</p>" in page
        for comparison in claim.comparisons:
            margin = comparison.write(comparison.margin)
            about = f"(claimed: {comparison.expect}; margin {margin})"
            assert f'{html.escape(comparison.says)} <span class="about">{about}</span>' in page


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_an_experiment_of_a_chapter_belongs_to_its_claims(chapter):
    compared = {each.experiment for claim in measured_in(chapter) for each in claim.comparisons}
    others = set(experiments_of(chapter)) - compared
    assert compared <= set(experiments_of(chapter))
    if all(claim.chapter != chapter for claim in LEDGER.values()):
        return  # A page that settles no claim; its experiments say so themselves.
    # A sweep that chooses the learning rate of an experiment bears its name, and so does the
    # reference that an experiment is set beside.
    strangers = [
        name for name in others if not {name.removesuffix("-rate"), f"{name}-reference"} & compared
    ]
    assert not strangers


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_arms_that_a_claim_compares_are_among_those_that_are_recorded(chapter):
    experiments = experiments_of(chapter)
    for claim in measured_in(chapter):
        for comparison in claim.comparisons:
            arms = experiments[comparison.experiment]
            assert set(comparison.arms) <= arms, claim.id


def test_every_file_of_results_belongs_to_an_experiment_of_a_chapter():
    named = [f"{name}.jsonl" for chapter in NOTEBOOKS for name in experiments_of(chapter)]
    assert len(named) == len(set(named)), "two chapters have an experiment of the same name"
    there = {path.name for path in (ROOT / "chapters" / "results").iterdir()}
    # A lock lies beside a file while it is written, and git ignores it.
    assert {name for name in there if not name.endswith(".lock")} <= set(named)


def test_every_claim_that_a_page_links_to_is_in_the_ledger():
    linked = {}
    for path in sorted((ROOT / "chapters").glob("*.md")):
        linked[path.name] = path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        linked[path.name] = "".join(
            "".join(cell["source"]) + json.dumps(cell.get("outputs", []))
            for cell in notebook["cells"]
        )
    found = {
        name: set(re.findall(r"claims\.(?:html|ipynb|md)#([A-Za-z0-9_-]+)", text))
        for name, text in linked.items()
    }
    assert any(found.values())
    assert {name: ids - set(LEDGER) for name, ids in found.items() if ids - set(LEDGER)} == {}


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_every_metric_of_the_ledger_is_computed_as_pandas_does(chapter):
    for claim in measured_in(chapter):
        for comparison in claim.comparisons:
            name = comparison.experiment
            frame = table(RecordFile.of(name).read()[0], name, "full")
            expected = frame.eval(comparison.metric)
            pd.testing.assert_series_equal(
                evaluate(frame, comparison.metric), expected, check_names=False, check_exact=True
            )
