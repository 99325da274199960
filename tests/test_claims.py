"""The ledger: checked when it is read, judged as written, and tied to the chapters both ways."""

import ast
import builtins
import copy
import html
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import test_browser
import yaml
from helpers import WAITING, refused, runs_of
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from utils.commands import book
from utils.commands.claim import MARK
from utils.evidence import claims, evaluate, seal
from utils.evidence import ledger as evidence
from utils.evidence.claims import Comparison, Exact, LedgerError, load_ledger, settle
from utils.evidence.records import RecordFile
from utils.evidence.statistics import Estimate, Verdict
from utils.evidence.stored import Page, stored_metadata
from utils.evidence.table import columns_of, table
from utils.paths import CHAPTERS, RESULTS

chromium = test_browser.chromium

THEME = CHAPTERS / "_static" / "theme.css"
SUPPORTED, REFUTED, SMALLER = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.SMALLER

COMPARISON = {
    "says": "first <against> second", "place": "S0, Head, 1st item", "experiment": "an-experiment",
    "metric": "test_accuracy", "treatment": "first", "baseline": "second", "expect": "increase",
    "margin": 0.01, "unit": "points",
}  # fmt: skip
COLLAPSES = {
    **COMPARISON, "says": "how often", "experiment": "another", "metric": "test_accuracy < 0.5",
    "expect": "no difference", "margin": 0.3, "unit": "share",
}  # fmt: skip
EXACT = {
    "says": "its <size>", "place": ["S0, Head", "S1, Tail"], "exact": "supported",
    "note": "As said & done.", "tests": ["tests/test_claims.py::test_a_metric_by_hand"],
}  # fmt: skip
ENTRY = {
    "id": "a-claim",
    "section": "A section",
    "source": ["S1", "S0"],
    "chapter": "a-chapter",
    "statement": "More is <better> & faster.",
    "settled_by": "Both are trained.",
    "parts": [COMPARISON, COLLAPSES, EXACT],
}
SOURCE = dict.fromkeys(("title", "author", "kind", "note", "cite"), "x")


class Plain(yaml.SafeDumper):
    """Writes what is there twice twice: the ledger has no aliases."""

    def ignore_aliases(self, data):
        return True


@pytest.fixture
def write(tmp_path):
    """Write a ledger of these entries, and return its path."""

    def write(*entries):
        path = tmp_path / "claims.yml"
        document = {"sources": {"S0": SOURCE, "S1": SOURCE}, "claims": list(entries)}
        path.write_text(yaml.dump(document, Dumper=Plain), encoding="utf-8")
        load_ledger.cache_clear()
        return path

    yield write
    load_ledger.cache_clear()


def made(**fields):
    """Make a comparison without a ledger."""
    fields = {**COMPARISON, "place": (), **fields}
    return Comparison(**{key: value for key, value in fields.items() if value is not None})


@pytest.fixture
def ledger(write, monkeypatch):
    """Let `settle` read a ledger of one claim: two comparisons and what is exact, or others."""

    def use(*parts):
        found = load_ledger(write({**ENTRY, "parts": list(parts)}))
        monkeypatch.setattr(claims, "load_ledger", lambda: found)

    use(COMPARISON, COLLAPSES, EXACT)
    return use


def frame_of(scale="full", experiment="an-experiment", **arms):
    """Make a tidy table; earlier epochs hold what would turn every verdict."""
    turned = {arm: [[1 - value, value] for value in values] for arm, values in arms.items()}
    return runs_of("test_accuracy", scale, **turned).assign(experiment=experiment)


# Reading


def test_a_good_entry_is_read_with_its_parts(write):
    (claim,) = load_ledger(write(ENTRY)).values()
    assert (claim.id, claim.source, claim.kind) == ("a-claim", ("S1", "S0"), "exact and measured")
    first, second, exact = claim.parts
    assert first == Comparison(**{**COMPARISON, "place": ("S0, Head, 1st item",)})
    assert claim.comparisons == (first, second) and (second.unit, second.size) == ("share", None)
    assert (exact.place, exact.exact) == (("S0, Head", "S1, Tail"), SUPPORTED)
    assert exact.tests == ("tests/test_claims.py::test_a_metric_by_hand",)


def test_half_of_the_margin_is_wanted_unless_the_ledger_names_a_wider_interval():
    assert made().wanted_half_width == 0.005
    assert made(half_width=0.02).wanted_half_width == 0.02


ARMS = "allowed is an arm, or a list of two or more and a baseline"
NUMBER = "allowed is a number above 0"
TEXTS = "allowed is a text, or a list of them"
WRONG = [
    ("margin", -0.1, f"margin: -0.1; {NUMBER}"),
    ("margin", float("nan"), f"margin…nan; {NUMBER}"),
    ("half_width", 0, f"half_width: 0; {NUMBER}"),
    ("half_width", float("nan"), f"half_width…nan; {NUMBER}"),
    ("unit", "%", "unit: '%'; allowed is ['points', 'share', 'times', '']"),
    ("metric", "a.b", "metric: expression='a.b'; allowed are names of columns, numbers, + - * /"),
    ("treatment", [], f"treatment…[]; {ARMS}"),
    ("treatment", ["first"], f"treatment…['first']; {ARMS}"),
    ("treatment", ["first", 2], f"treatment…['first', 2]; {ARMS}"),
    ("baseline", 3, f"baseline…3; {ARMS}"),
    ("baseline", "first", "baseline='first'; allowed is another arm than the treatment"),
    ("margin", 1, "margin=1; allowed is less than 1, which is 100 percentage points"),
    ("place", [], f"place…[]; {TEXTS}"),
]


@pytest.mark.parametrize(("field", "value", "message"), WRONG)
def test_a_bad_value_is_refused_by_claim_part_value_and_what_is_allowed(
    write, field, value, message
):
    entry = {**ENTRY, "parts": [EXACT, {**COMPARISON, field: value}]}
    with refused(f"claim a-claim, parts 'first <against> second'…{message}", LedgerError):
        load_ledger(write(entry))


def test_a_missing_or_an_unknown_field_is_named_wherever_it_is(write):
    fields = {
        None: ["id", "section", "source", "chapter", "statement", "settled_by", "parts"],
        0: ["says", "experiment", "metric", "treatment", "expect", "margin"],
        2: ["says", "note", "tests"],
    }
    for part, required in fields.items():
        for field in [*required, "treatmnt"]:
            entry = copy.deepcopy(ENTRY)
            inner = entry if part is None else entry["parts"][part]
            where = "claim 0" if field == "id" else "claim a-claim"
            if part is not None:
                where += f", parts {part if field == 'says' else repr(inner['says'])}"
            if inner.pop(field, None) is None:
                inner[field] = "x"
                message = f"{where}: unknown fields ['treatmnt']; allowed are ["
            else:
                message = f"{where}: missing fields ['{field}']"
            with refused(message, LedgerError):
                load_ledger(write(entry))


def test_an_id_that_is_there_twice_is_refused(write):
    with pytest.raises(LedgerError, match="claim a-claim: the id is in the ledger twice"):
        load_ledger(write(ENTRY, {**ENTRY, "id": "another"}, ENTRY))


# Metrics


REFUSED = [
    "a + @data.os.system('touch it')", "__import__('os')", "a.b", "a[0]", "f(a)", "a ** 2", "a % 2",
    "a <= b", "a == b", "a < b < c", "a and b", "not a", "a if b else c", "lambda: a", "[a]", "'a'",
    "a := b", "a; b", "1j * a", "True", "1", "", "a\x00", "(" * 5_000 + "a" + ")" * 5_000,
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
    with pytest.raises(LedgerError, match="claim a-claim, parts 'first <against> second'"):
        load_ledger(write({**ENTRY, "parts": [{**COMPARISON, "metric": metric}]}))
    assert not there.exists()


def test_a_metric_by_hand():
    frame = pd.DataFrame({"a": [1.0, -2.0], "b": [4, 5]})
    assert evaluate(frame, "-(a + 2.5) * b / 2").tolist() == [-7.0, -1.25]
    assert evaluate(frame, "a - 2 > -b").tolist() == [True, True]
    assert evaluate(frame, "b < 4.5").tolist() == [True, False]
    assert columns_of("b - a * b") == ("b", "a")
    with pytest.raises(ValueError, match=r"expression='a - c'; the frame has \['a', 'b'\]"):
        evaluate(frame, "a - c")


# Estimates and outcomes


FIRST, SECOND = [0.97, 0.98, 0.99, 0.975], [0.95, 0.955, 0.96, 0.962]


def test_a_comparison_of_a_column_is_a_difference_of_means():
    frame = frame_of(first=FIRST, second=SECOND, third=[0.1, 0.2]).assign(one=1.0)
    estimate = made().estimate(frame)
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.95)
    assert estimate.value == pytest.approx(np.mean(FIRST) - np.mean(SECOND))
    assert estimate.interval() == pytest.approx(tuple(expected))
    assert (estimate.method, estimate.runs) == ("paired t", 4)
    turned = made(metric="one - test_accuracy").estimate(frame)
    assert turned.value == pytest.approx(-estimate.value)


@pytest.mark.parametrize(
    "metric", ["test_accuracy < 0.5", "0.5 > test_accuracy", "test_accuracy - 0.5 < 0"]
)
def test_a_comparison_of_a_condition_is_a_difference_of_proportions(metric):
    # 3 of 4 and 1 of 5 runs end below one half; all others were below it before their last epoch.
    frame = frame_of(first=[0.1, 0.2, 0.49, 0.5], second=[0.9, 0.9, 0.1, 0.9, 0.5])
    estimate = made(metric=metric).estimate(frame)
    assert estimate.value == pytest.approx(3 / 4 - 1 / 5)
    expected = confint_proportions_2indep(3, 4, 1, 5, method="newcomb")
    assert estimate.interval() == pytest.approx(expected)
    assert estimate.method == "Newcombe"


def test_of_several_arms_the_mean_counts_seed_by_seed():
    comparison = made(treatment=("first", "third"), baseline=("second", "fourth"))
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


def test_without_a_baseline_the_arm_itself_is_judged_against_zero():
    comparison = made(baseline=None, metric="test_accuracy - 0.9")
    assert comparison.baseline is None and comparison.arms == ("first",)
    estimate = comparison.estimate(frame_of(first=[0.95, 0.96, 0.97], second=[0.1, 0.2, 0.3]))
    assert estimate.value == pytest.approx(0.06) and estimate.runs == 3
    assert comparison.judge(estimate) is SUPPORTED
    assert comparison.judge(comparison.estimate(frame_of(first=[0.85, 0.84, 0.83]))) is REFUTED
    comparison = made(baseline=None, metric="test_accuracy < 0.5", unit="share", margin=0.3)
    estimate = comparison.estimate(frame_of(first=[0.1] * 9 + [0.9]))
    assert estimate.value == pytest.approx(0.9) and estimate.method == "Wilson"
    assert comparison.judge(estimate) is SUPPORTED


def test_a_comparison_judges_by_its_own_margin_expectation_and_size():
    estimate = Estimate(0.025, 5, "by hand", lambda confidence: (0.02, 0.03))
    for fields, outcome in (
        ({}, SUPPORTED),
        ({"expect": "decrease"}, REFUTED),
        ({"expect": "at least as good"}, SUPPORTED),
        ({"margin": 0.025}, Verdict.UNDECIDED),
        ({"size": 0.05}, SMALLER),
    ):
        comparison = made(**fields)
        assert comparison.judge(estimate) is outcome
        assert bool(comparison.known(estimate)) == (outcome is Verdict.UNDECIDED)
        assert (comparison.p_value(estimate) < 0.05) == (outcome is not Verdict.UNDECIDED)
    assert made(size=0.05).claimed == "claimed: increase, 5.00 points or more; margin 1.00 points"


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
    comparison = made(unit=unit)
    assert comparison.write(value) == written
    assert comparison.write(value, sign=True) == signed
    estimate = Estimate(0.003, 5, "by hand", lambda confidence: (-0.001, 0.0071))
    assert made().write_interval(estimate) == "+0.30 [−0.10, +0.71] points"


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
        ([0.5, 0.5], [0.6, 0.9], {"treatment": ("first", "second"), "baseline": "third"}, "1 of 2"),
    ],
)
def test_a_quick_run_counts_the_runs_that_are_as_claimed(first, second, fields, tally):
    comparison = made(**{"baseline": None if second is None else "second", **fields})
    arms = {"first": first, "second": second or first, "third": [0.5, 0.8]}
    assert str(comparison.tally(frame_of("quick", **arms))).startswith(tally)


# Settling


GOOD = {"first": [0.97, 0.971, 0.969], "second": [0.91, 0.911, 0.912]}
BAD_RUNS = {"first": GOOD["second"], "second": GOOD["first"]}


def both(scale, **arms):
    """Make runs of both experiments: a clear increase, and no run below one half."""
    never = {"first": [0.9] * 30, "second": [0.9] * 30}
    return pd.concat([frame_of(scale, **(arms or GOOD)), frame_of(scale, "another", **never)])


def told(settlement):
    return settlement.summary("quick"), settlement.summary("full")


def rows_of(settlement):
    return [(row.part.experiment, row.scale) for row in settlement.rows]


OPEN = "not yet run at this scale"
AGREES = "every run as claimed in all 2 parts"


def test_each_scale_is_told_by_its_own_runs(ledger):
    settled = settle("a-claim", both("quick"))
    assert told(settled) == (AGREES, OPEN)
    assert settled.verdict("full") is settled.verdict("quick") is None
    assert {row.scale for row in settled.rows} == {"quick"}
    assert repr(settled) == f"a-claim: quick {AGREES}; full {OPEN}"
    assert told(settle("a-claim", full=both("full"))) == (OPEN, "supported")
    settled = settle("a-claim", both("quick", **BAD_RUNS), both("full"))
    assert told(settled) == ("0 of 3 runs as claimed in the worst of 2 parts", "supported")
    methods = {row.scale: row.estimate.method for row in settled.rows[:2]}
    assert methods == {"quick": "corrected resampled t", "full": "paired t"}
    assert len(settled.rows) == 4
    # A notebook that is run at full scale has the same runs twice, and they count once.
    settled = settle("a-claim", both("full"), both("full"))
    assert told(settled) == (OPEN, "supported") and len(settled.rows) == 2


def test_of_one_comparison_the_summary_is_its_tally_whatever_is_exact(ledger):
    ledger(COMPARISON, EXACT)
    settled = settle("a-claim", frame_of("quick", first=[0.9, 0.8], second=[0.8, 0.9]))
    assert settled.summary("quick") == "1 of 2 runs in the claimed direction"


def test_what_is_exact_is_settled_without_any_run(ledger):
    ledger({**EXACT, "exact": "refuted"})
    assert told(settle("a-claim")) == ("no part is measured", "refuted")


def test_no_runs_at_all_leave_everything_else_open(ledger):
    for frames in ((), (None, None), (pd.DataFrame(columns=["scale"]), frame_of())):
        settled = settle("a-claim", *frames)
        assert settled.rows == () and told(settled) == (OPEN, OPEN)
        page = settled._repr_mimebundle_()[0]["text/html"]
        assert "Recorded runs: " in page and page.count("not yet run") == 2
        assert page.count("by arithmetic") == 1


def test_an_arm_that_is_missing_leaves_its_comparison_and_the_claim_open(ledger):
    without = both("quick")
    without = without[~((without["experiment"] == "another") & (without["arm"] == "first"))]
    settled = settle("a-claim", without, both("full"))
    assert told(settled) == (OPEN, "supported")
    assert rows_of(settled) == [
        *[("an-experiment", "quick"), ("an-experiment", "full")],
        ("another", "full"),
    ]


@pytest.mark.parametrize("baseline", ["second", None])
@pytest.mark.parametrize("kept", [1, 2])
def test_a_half_recorded_arm_leaves_its_comparison_open(ledger, kept, baseline):
    ledger({key: value for key, value in COMPARISON.items() if key != "baseline" or baseline})
    frame = frame_of(first=[0.9, 0.91, 0.92], second=[0.8, 0.82, 0.81])
    assert told(settle("a-claim", full=frame))[1] == "supported"
    half = frame[(frame["arm"] != "first") | (frame["seed"] < kept)]
    assert settle("a-claim", full=half).rows == ()


def test_experiments_at_different_scales_are_told_apart_in_one_frame(ledger):
    quick, full = both("quick"), both("full")
    mixed = pd.concat(
        [full[full["experiment"] == "an-experiment"], quick[quick["experiment"] == "another"]]
    )
    assert rows_of(settle("a-claim", mixed)) == [("an-experiment", "full"), ("another", "quick")]


def test_an_experiment_that_is_missing_leaves_the_claim_open(ledger):
    settled = settle("a-claim", frame_of("quick", **GOOD))
    assert told(settled) == (OPEN, OPEN) and len(settled.rows) == 1


def test_arms_of_the_same_name_in_another_experiment_do_not_count(ledger):
    turned = frame_of("quick", "something-else", **BAD_RUNS)
    assert told(settle("a-claim", pd.concat([turned, both("quick")]))) == (AGREES, OPEN)


def test_a_claim_that_is_not_there_is_refused(ledger):
    with pytest.raises(KeyError, match="claim_id='a-clam' is not in claims.yml"):
        settle("a-clam", both("quick"))


# What a notebook shows and stores


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
    for words, count in (
        *[("More is &lt;better&gt; &amp; faster.", 1), ("first &lt;against&gt; second", 1)],
        *[("its &lt;size&gt;", 1), ("(As said &amp; done.)", 1), ("by arithmetic", 1)],
        *[("margin 1.00 points", 1), ("margin 0.30", 1)],
        *[("claimed: increase", 1), ("claimed: no difference", 1)],
        *[("30 seeds<", 1), ("<tr", 4)],
    ):
        assert page.count(words) == count, words
    assert not re.search("<(better|against|size)>", page)


def test_only_recorded_runs_have_an_interval_and_a_verdict(ledger):
    settled = settle("a-claim", both("quick"), both("full"))
    shown = settled.table()
    by_arithmetic = shown[shown["difference, 95 % interval"] == "by arithmetic"]
    assert len(by_arithmetic) == 1 and by_arithmetic["quick runs"].item() == ""
    measured = shown.drop(by_arithmetic.index)
    assert len(measured) == len(settled.claim.comparisons) == 2
    for (_, row), comparison in zip(measured.iterrows(), settled.claim.comparisons, strict=True):
        found = {each.scale: each for each in settled.rows if each.part == comparison}
        interval = comparison.write_interval(found["full"].estimate)
        assert row["difference, 95 % interval"].startswith(f"{interval} <span")
        assert found["full"].outcome is SUPPORTED and "✓ supported" in row["verdict"]
        value = comparison.write(found["quick"].estimate.value, sign=True)
        assert row["quick runs"] == f'{value} <span class="about">{found["quick"].outcome}</span>'
        assert "[" not in row["quick runs"]


def test_without_recorded_runs_or_without_quick_ones_a_table_says_so(ledger):
    quick_alone = settle("a-claim", both("quick")).table().iloc[-1]
    assert "not yet run" in quick_alone["verdict"] and quick_alone["quick runs"]
    full_alone = settle("a-claim", full=both("full")).table().iloc[-1]
    assert "supported" in full_alone["verdict"] and full_alone["quick runs"] == ""


@pytest.mark.parametrize(
    "power, written", [(0, "1"), (0.3, "1.23"), (-1.259, "0.418"), (3.32, "9.99"), (12, "4,096")]
)
def test_a_binary_logarithm_is_written_as_a_factor(power, written):
    part = made(unit="times", margin=0.3)
    assert part.write(power, sign=True) == f"{written} times"
    assert part.claimed.endswith("margin 1.23 times")


def test_beside_an_undecided_part_is_what_is_known(ledger):
    ledger(COMPARISON)
    settled = settle("a-claim", full=frame_of(first=[0.92, 0.93, 0.94], second=[0.9, 0.92, 0.92]))
    (row,) = settled.rows
    assert row.outcome is Verdict.UNDECIDED and row.known == row.part.known(row.estimate) != ""
    assert f'<span class="about">{row.known}</span>' in settled.table()["verdict"].item()


@pytest.mark.parametrize(
    "later, caveat",
    [
        ([], ""),
        ([0.9, 0.901] * 3, ""),
        ([0.9, 0.901, 0.95], "too narrow: the seeds after the pilot scatter 54.2 times as much"),
    ],
)
def test_where_later_seeds_scatter_more_than_the_pilot_the_interval_says_so(ledger, later, caveat):
    ledger(COMPARISON)
    first = [0.9, 0.901] * 5 + later
    runs = frame_of(first=first, second=[0.8] * len(first)).assign(pilot=10, wanted=len(first))
    settled = settle("a-claim", full=runs)
    (row,) = settled.rows
    assert row.caveat == caveat
    seeds = f"{len(first)} seeds; {caveat}" if caveat else f"{len(first)} seeds"
    (difference,) = settled.table()["difference, 95 % interval"]
    assert f'<span class="about">{seeds}</span>' in difference


def test_a_pilot_without_any_scatter_is_far_from_later_seeds_with_some(ledger):
    ledger(COMPARISON)
    runs = frame_of(first=[0.9] * 10 + [0.9, 0.95], second=[0.8] * 12).assign(pilot=10, wanted=12)
    (row,) = settle("a-claim", full=runs).rows
    assert row.caveat == "too narrow: the seeds after the pilot scatter far more"


def test_a_settlement_says_what_ran(ledger):
    page = settle("a-claim", both("quick"), both("full"))._repr_mimebundle_()[0]["text/html"]
    ran = "4,000 images, 2 epochs, 3 to 30 seeds"
    assert f"<li>Quick runs ({ran}): {AGREES}</li>" in page
    assert f"<li>Recorded runs ({ran}): {claims.verdict_html(SUPPORTED)}</li>" in page
    assert "MNIST" not in page


def test_verdicts_differ_in_words_and_signs_and_not_in_colour_alone():
    written = [re.sub("<[^>]*>", "", claims.verdict_html(verdict)) for verdict in [*Verdict, None]]
    assert list(map(html.unescape, written)) == [
        "✓ supported",
        "◐ holds in part",
        "< smaller than claimed",
        "≈ no difference",
        "✗ refuted",
        "? undecided",
        "not yet run",
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_verdicts_can_be_read_in_both_themes_and_on_a_phone_without_scrolling(
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
        # Each comparison is a block, with the heads of its columns in front of the numbers.
        assert watch.tab.locator("table.verdicts").evaluate("each => each.scrollWidth") <= 320
        heads = "all => all.map(each => getComputedStyle(each, '::before').content)"
        heads = watch.tab.locator("table.verdicts tr:last-child td").evaluate_all(heads)
        told = watch.tab.locator("table.verdicts th").all_text_contents()
        assert heads == ["none", f'"{told[1]}: "', "none", f'"{told[3]}: "']
        assert watch.tab.evaluate("document.scrollingElement.scrollWidth") <= 320
        looks = watch.tab.locator("p .verdict").evaluate_all(
            "all => all.map(each => getComputedStyle(each).backgroundColor + "
            "getComputedStyle(each).color + getComputedStyle(each).borderStyle)"
        )
        # Holds in part and smaller than claimed look the same.
        assert len(looks) == 7 and len(set(looks)) == 6


# The ledger and the chapters


LEDGER = load_ledger()
NOTEBOOKS = [path.stem for path in book.notebooks()]


@cache
def settlements(chapter):
    """Return the stored outputs of a notebook that settle a claim, by the claim."""
    notebook = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        output.metadata["settled"]["claim"]: output
        for output in outputs
        if "settled" in output.get("metadata", {})
    }


@cache
def page_of(chapter):
    return Page.read(CHAPTERS / f"{chapter}.ipynb")


def claims_of(chapter):
    return [claim for claim in LEDGER.values() if claim.chapter == chapter]


def every_part(claim):
    return (*claim.parts, *claim.further, *claim.old)


def compared(claim):
    return [part for part in every_part(claim) if isinstance(part, Comparison)]


@pytest.mark.parametrize("claim_id", LEDGER)
def test_an_entry_of_the_ledger_is_whole(claim_id):
    claim = LEDGER[claim_id]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", claim_id)
    assert claim.chapter in NOTEBOOKS
    texts = [part.says for part in every_part(claim)]
    texts += [part.note for part in every_part(claim) if isinstance(part, Exact)]
    for text in (claim.section, claim.statement, claim.settled_by, *texts):
        assert text == text.strip() and text
    assert claim.statement.rstrip(")").endswith(".") and claim.settled_by.endswith(".")
    for part in compared(claim):
        assert len(set(part.arms)) == len(part.arms), "an arm is compared with itself"
    assert not claim.old or any(isinstance(part, Comparison) for part in claim.parts)


def test_a_place_is_a_pointer_into_a_source_and_quotes_none_of_it():
    places = {place for claim in LEDGER.values() for part in claim.parts for place in part.place}
    # Source, heading, item: a locator of a few words.
    pointer = re.compile(r"S\d(, [^\s,\"“”„«»][^,\"“”„«»]*){1,3}")
    assert [place for place in sorted(places) if not pointer.fullmatch(place)] == []
    assert [place for place in sorted(places) if len(place.split()) > 12] == []


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_a_chapter_links_to_each_of_its_claims_and_settles_those_that_are_measured(chapter):
    text = (CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8")
    for claim in claims_of(chapter):
        assert re.search(rf"claims\.html#{claim.id}\b(?!-)", text), claim.id
    settled = [each["settled"] for each in stored_metadata(CHAPTERS / f"{chapter}.ipynb")
               if "settled" in each]  # fmt: skip
    named = [each["claim"] for each in settled]
    assert len(named) == len(set(named)) and set(named) <= {each.id for each in claims_of(chapter)}
    open_ = {claim.id for claim in claims_of(chapter) if claim.comparisons} - set(named)
    assert not open_, f"no verdict is stored: make notebooks NOTEBOOK=chapters/{chapter}.ipynb"
    # Where an arm is run at full scale alone, a claim stays open at quick scale.
    words = rf"{OPEN}|no part is measured|\d+ of \d+ runs .*|every run as claimed in all \d+ parts"
    assert [each for each in settled if not re.fullmatch(words, each["quick"])] == []


def marks():
    """List what `make claim` left for the author to fill in."""
    paths = [CHAPTERS / "claims.yml", *CHAPTERS.glob("*.ipynb")]
    # In a test it is a comment; this file and others name the mark as well.
    paths += Path(__file__).parent.glob("test_*.py")
    for path in sorted(paths):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if MARK in line and (path.suffix != ".py" or line.startswith("#")):
                yield f"{path.name}, line {number}: {line.strip()}"


def test_nothing_is_left_to_fill_in():
    left = list(marks())
    assert not left, "\n".join(["replace these, which `make claim` left to its author:", *left])


@cache
def listed():
    return {entry.claim.id: entry for entry in evidence.entries()}


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_what_a_chapter_shows_of_a_claim_is_what_the_ledger_says(chapter):
    for claim_id, output in settlements(chapter).items():
        claim, entry = LEDGER[claim_id], listed()[claim_id]
        page = re.sub(r"\s+", " ", "".join(output.data["text/html"]))
        assert f"</a> {html.escape(claim.statement)}</p>" in page
        run = () if claim_id in WAITING else claim.comparisons
        shown = {part.says: part.claimed for part in run}
        shown |= {part.says: part.note for part in claim.judged if isinstance(part, Exact)}
        for says, about in shown.items():
            written = f'{html.escape(says)} <span class="about">({html.escape(about)})</span>'
            assert written in page, f"{claim_id}: {says}"
        # The verdict that was stored is the one that the recorded runs give by now.
        text = "".join(output.data["text/plain"])
        verdict = f"; full {entry.settled.summary('full')}"
        assert text.endswith(verdict), f"{text}; by now{verdict}"
        assert ("old design" in page) == bool(claim.old)


def insisted_on(chapter):
    """List the verdicts that the text of a chapter leans on: claim, and verdict in words."""
    told = []

    class Names(dict):
        """Let whatever a cell takes for a result only note what is expected of it."""

        def __missing__(self, name):
            if hasattr(builtins, name):
                raise KeyError(name)
            return SimpleNamespace(
                expect=lambda claim, verdict, *others: told.append((claim, verdict))
            )

    for cell in nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4).cells:
        if cell.cell_type == "code" and ".expect(" in cell.source:
            for statement in ast.parse(cell.source).body:
                if ".expect(" in (code := ast.unparse(statement)):
                    exec(code, {}, Names())
    return told


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_what_a_chapter_insists_on_is_the_verdict_by_now(chapter):
    wrong = []
    for claim_id, verdict in insisted_on(chapter):
        settled = listed()[claim_id].settled
        decided, words = settled.verdict("full"), settled.summary("full")
        if decided is not None and verdict not in (str(decided), words):
            wrong.append(f"claim {claim_id}: the text says {verdict}, the runs {words}")
    assert not wrong, "\n".join(["", *wrong])
    measured = {claim.id for claim in claims_of(chapter) if claim.comparisons}
    decided = {claim_id for claim_id in measured if listed()[claim_id].verdict is not None}
    assert decided <= {claim_id for claim_id, _ in insisted_on(chapter)}


# Experiments that a chapter shows beside its claims, and by which it judges nothing: a curve, and
# the seconds of a race.
BESIDE = {"padding-dose", "seconds", "seconds-reference", "seconds-fastest", "seconds-recipe"}


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_an_experiment_of_a_chapter_belongs_to_its_claims(chapter):
    of_chapter = set(page_of(chapter).requirements)
    claims = {claim.id: claim.comparisons for claim in claims_of(chapter)}
    needed = {name: {part.experiment for part in parts} for name, parts in claims.items()}
    without = {name for name in claims if needed[name] - of_chapter}
    assert without == WAITING & set(claims), (
        "the stored page shows no result of an experiment that a claim needs: "
        f"make notebooks NOTEBOOK=chapters/{chapter}.ipynb"
    )
    assert {listed()[name].settled.summary("full") for name in WAITING & set(claims)} <= {OPEN}
    if not claims_of(chapter):
        return  # A page that settles no claim; its experiments say so themselves.
    named = {part.experiment for claim in claims_of(chapter) for part in compared(claim)}
    # A sweep that chooses the learning rate of an experiment bears its name.
    strangers = [
        name for name in of_chapter - named - BESIDE if name.removesuffix("-rate") not in named
    ]
    assert not strangers


@pytest.mark.parametrize("chapter", NOTEBOOKS)
def test_the_arms_that_a_claim_compares_are_among_those_that_are_recorded(chapter):
    required = page_of(chapter).requirements
    for claim in claims_of(chapter):
        for part in compared(claim):
            if part.experiment in required:  # That those it needs are there is asked above.
                assert set(part.arms) <= set(required[part.experiment].fingerprints), part.says


def test_every_file_of_results_belongs_to_an_experiment_of_a_chapter():
    named = [f"{name}.jsonl" for chapter in NOTEBOOKS for name in page_of(chapter).requirements]
    assert len(named) == len(set(named)), "two chapters have an experiment of the same name"
    # A lock lies beside a file while it is written, and git ignores it.
    there = {path.name for path in RESULTS.iterdir() if path.suffix != ".lock"} - {seal.NAME}
    assert there - set(named) == set()


def test_every_claim_that_a_page_links_to_is_in_the_ledger():
    linked = {}
    for path in sorted(CHAPTERS.glob("*.md")):
        linked[path.name] = path.read_text(encoding="utf-8")
    for path in sorted(CHAPTERS.glob("*.ipynb")):
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
    for name in page_of(chapter).requirements:
        frame = table(RecordFile.of(name).read()[0], name, "full")
        parts = [part for claim in claims_of(chapter) for part in compared(claim)]
        for metric in {part.metric for part in parts if part.experiment == name}:
            if not frame.empty:  # What has not run is a matter of test_recorded.
                pd.testing.assert_series_equal(
                    evaluate(frame, metric), frame.eval(metric), check_names=False, check_exact=True
                )
