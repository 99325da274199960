"""The law: outcomes of parts, verdicts on claims, what the ledger's file may hold."""

import copy

import numpy as np
import pandas as pd
import pytest
import yaml

from utils.evidence import claims
from utils.evidence.claims import Exact, LedgerError, Row, Settlement, join, load_ledger
from utils.evidence.statistics import Estimate, Verdict, judge, known, p_value

S, P, L, N, R, U = (
    Verdict.SUPPORTED,
    Verdict.IN_PART,
    Verdict.SMALLER,
    Verdict.NO_DIFFERENCE,
    Verdict.REFUTED,
    Verdict.UNDECIDED,
)


def between(low, high):
    """Make an estimate whose interval is the same at each level."""
    return Estimate((low + high) / 2, 10, "given", lambda confidence: (low, high))


# Parts


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(-0.9, 3, S), (2, 3, S), (-1.1, 3, U), (-1.1, -0.9, U), (-3, -1.1, R), (-1, 3, U)],
)
def test_at_least_as_good_hangs_on_the_worse_end(low, high, outcome):
    assert judge(between(low, high), 1, "at least as good") is outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (11, 12, S),
        (2, 9, L),
        (0.5, 9, L),
        (2, 12, U),
        (0, 9, U),
        (0.5, 0.9, N),
        (-0.9, 0.9, N),
        (-9, -2, R),
    ],
)
def test_a_certain_effect_short_of_the_size_is_smaller_than_claimed(low, high, outcome):
    assert judge(between(low, high), 1, "increase", 10) is outcome
    assert judge(between(-high, -low), 1, "decrease", 10) is outcome


@pytest.mark.parametrize("size", [1, 0.5, -2])
def test_a_size_is_above_the_margin_and_has_a_direction(size):
    for expect, given in (("increase", size), ("no difference", 2), ("at least as good", 2)):
        with pytest.raises(ValueError, match=f"size={given}; allowed is a number above the margin"):
            judge(between(0, 1), 1, expect, given)


@pytest.mark.parametrize(
    ("low", "high", "expect", "words"),
    [
        (0.2, 3, "increase", "in the claimed direction, size undecided"),
        (-3, -0.2, "decrease", "in the claimed direction, size undecided"),
        (-3, -0.2, "increase", "against the claim, size undecided"),
        (-3, 0.5, "increase", "not as claimed: none, or the opposite"),
        (-0.5, 3, "increase", "not the opposite"),
        (-3, 3, "increase", ""),
        (2, 3, "increase", ""),
        (0.2, 3, "no difference", "not the same, size undecided"),
        (-3, -0.2, "at least as good", "worse, by how much is undecided"),
    ],
)
def test_beside_undecided_stands_what_is_known(low, high, expect, words):
    assert known(between(low, high), 1, expect) == words


def test_beside_a_certain_effect_stands_that_its_size_is_open():
    assert known(between(2, 12), 1, "increase", 10).startswith("beyond the margin")


def test_p_of_every_rule_falls_below_five_per_cent_where_it_decides():
    rng = np.random.default_rng(0)
    rules = ("increase", None), ("at least as good", None), ("increase", 3.0)
    for expect, size in rules:
        for centre, spread in zip(rng.normal(0, 3, 40), rng.uniform(0.1, 2, 40), strict=True):

            def bounds(confidence, centre=centre, spread=spread):
                reach = spread / (1 - confidence) ** 0.25
                return centre - reach, centre + reach

            estimate = Estimate(centre, 10, "given", bounds)
            decided = judge(estimate, 1, expect, size) is not U
            assert (p_value(estimate, 1, expect, size) < 0.05) == decided


# Claims


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((S,), S),
        ((S, S), S),
        ((S, R), P),
        ((S, N, U), P),
        ((S, U), U),
        ((N, U), U),
        ((R, U), U),
        ((N, N), N),
        ((R, R), R),
        ((R, N), R),
        ((L, L), L),
        ((L, N), L),
        ((L, R), R),
        ((L, S), P),
    ],
)
def test_verdicts_of_claims_from_the_outcomes_of_their_parts(outcomes, verdict):
    assert join(outcomes) is verdict
    assert join(reversed(outcomes)) is verdict


def exact_part(number, outcome):
    return Exact(f"part {number}", outcome, "why", ("tests",), ("S2, here",))


def claim_of(*parts):
    return claims.Claim("some", "Section", ("S2",), "padding", "Says.", "So.", parts)


def part_of(number, **changed):
    settings = {"says": f"part {number}", "experiment": "e", "metric": "m", "treatment": "a"}
    settings |= {"expect": "increase", "margin": 1.0, "place": ("S2, here",)}
    return claims.Comparison(**{**settings, **changed})


def settled(*intervals, further=()):
    parts = [part_of(number) for number in range(len(intervals))]
    rows = [
        Row(part, "full", between(*ends), part.judge(between(*ends)))
        for part, ends in zip(parts, intervals, strict=True)
    ]
    return Settlement(claim_of(*parts), tuple(rows))


def test_a_verdict_counts_its_parts():
    assert settled((2, 3)).summary("full") == "supported"
    assert settled((2, 3), (-3, -2)).summary("full") == "holds in part, 1 of 2 parts supported"
    text = settled((2, 3), (-3, -2), (0, 2)).summary("full")
    assert text == "holds in part, 1 of 3 parts supported, 1 undecided"
    assert settled((2, 3), (0, 2)).summary("full") == "undecided, 1 of 2 parts supported"


def test_without_the_runs_of_a_part_there_is_no_verdict():
    two = settled((2, 3), (2, 3))
    one = Settlement(two.claim, two.rows[:1])
    assert one.verdict("full") is None and one.p_value is None
    assert one.summary("full") == "not yet run at this scale"


def test_exact_parts_count_beside_measured_ones():
    part = part_of(1)
    row = Row(part, "full", between(2, 3), S)
    for outcome, verdict in ((S, S), (R, P)):
        mixed = Settlement(claim_of(exact_part(0, outcome), part), (row,))
        assert mixed.verdict("full") is verdict
    alone = Settlement(claim_of(exact_part(0, R)), ())
    assert alone.verdict("full") is R and alone.p_value is None


def test_further_comparisons_are_shown_and_do_not_judge():
    part, ours = part_of(0), part_of(1, place=())
    claim = claims.Claim("some", "S", ("S2",), "padding", "Says.", "So.", (part,), (ours,))
    rows = (Row(part, "full", between(2, 3), S), Row(ours, "full", between(-3, -2), R))
    found = Settlement(claim, rows)
    assert found.verdict("full") is S
    assert list(found.table()["what is compared"].str.contains("<em>further:</em>")) == [
        False,
        True,
    ]


def test_old_comparisons_stand_in_for_measured_parts():
    old, new = part_of(0, place=()), part_of(1)
    claim = claims.Claim(
        "some", "S", ("S2",), "padding", "Says.", "So.", (exact_part(2, S), new), (), (old,)
    )
    assert claim.judged == (claim.parts[0], old) and claim.comparisons == (old,)
    found = Settlement(claim, (Row(old, "full", between(-3, -2), R),))
    assert found.verdict("full") is P
    assert "old design" in found._joint_html("full")


def estimate_with(p, low=2.0):
    """Make an estimate that supports an increase until the level passes 1 - p."""
    return Estimate(3, 10, "given", lambda c: (low, 4) if 1 - c >= p else (-4, 4))


def test_p_of_a_claim_is_its_weakest_parts_and_bonferronis_where_one_is_enough():
    parts = [part_of(0), part_of(1)]
    rows = [
        Row(part, "full", estimate_with(p), S) for part, p in zip(parts, (0.01, 0.03), strict=True)
    ]
    assert Settlement(claim_of(*parts), tuple(rows)).p_value == pytest.approx(0.03, abs=1e-6)
    against = [part_of(0, expect="decrease"), part_of(1, expect="decrease")]
    rows = [
        Row(part, "full", estimate_with(p), R)
        for part, p in zip(against, (0.01, 0.03), strict=True)
    ]
    assert Settlement(claim_of(*against), tuple(rows)).p_value == pytest.approx(0.02, abs=1e-6)


# The file


@pytest.fixture(scope="module")
def whole():
    from utils.paths import LEDGER

    return yaml.safe_load(LEDGER.read_text(encoding="utf-8"))


def of(document, name):
    return next(claim for claim in document["claims"] if claim["id"] == name)


MEASURED, EXACT, OURS = "padding-keeps-border", "conv-is-linear", "padding-tells-location"
BROKEN = {
    "no margin": (MEASURED, lambda c: c["parts"][0].pop("margin"), "missing fields ['margin']"),
    "margin 0": (
        MEASURED,
        lambda c: c["parts"][0].update(margin=0),
        "margin: 0; allowed is a number above 0",
    ),
    "text as margin": (
        MEASURED,
        lambda c: c["parts"][0].update(margin="1"),
        "margin: '1'; allowed is number",
    ),
    "unknown field": (
        MEASURED,
        lambda c: c["parts"][0].update(colour="red"),
        "unknown fields ['colour']; allowed are",
    ),
    "expectation": (
        MEASURED,
        lambda c: c["parts"][0].update(expect="up"),
        "expect: 'up'; allowed is ['increase', 'decrease', 'no difference', 'at least as good']",
    ),
    "outcome": (EXACT, lambda c: c["parts"][0].update(exact="true"), "exact: 'true'; allowed is"),
    "no place": (MEASURED, lambda c: c["parts"][0].pop("place"), "place=(); allowed is where"),
    "place elsewhere": (
        MEASURED,
        lambda c: c["parts"][0].update(place="S3, here"),
        "place=('S3, here',); allowed is where it is said",
    ),
    "place of ours": (
        OURS,
        lambda c: c["parts"][0].update(place="S2, here"),
        "place=('S2, here',); allowed is none, since no source says this",
    ),
    "source": (MEASURED, lambda c: c.update(source="S9"), "source=('S9',); allowed is 'own'"),
    "own and another": (OURS, lambda c: c.update(source=["own", "S2"]), "allowed is 'own', or"),
    "size": (
        MEASURED,
        lambda c: c["parts"][0].update(size=0.001),
        "size=0.001; allowed is a number above the margin 0.005",
    ),
    "code as metric": (
        MEASURED,
        lambda c: c["parts"][0].update(metric="open('x')"),
        "metric: expression=\"open('x')\"; allowed are names of columns",
    ),
    "a list alone": (
        MEASURED,
        lambda c: (c["parts"][0].update(treatment=["a", "b"]), c["parts"][0].pop("baseline")),
        "allowed is an arm, or a list of two or more and a baseline",
    ),
    "the same words twice": (
        "bn-definition",
        lambda c: c["parts"].append(copy.deepcopy(c["parts"][0])),
        "allowed is a text of its own for each part",
    ),
    "no parts": (MEASURED, lambda c: c.update(parts=[]), "parts"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_in_the_ledger_names_claim_part_value_and_what_is_allowed(tmp_path, whole, fault):
    name, spoil, message = BROKEN[fault]
    document = copy.deepcopy(whole)
    spoil(of(document, name))
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    with pytest.raises(LedgerError) as error:
        load_ledger(path)
    assert message in str(error.value) and f"claim {name}" in str(error.value)


def test_what_runs_code_on_loading_is_not_loaded(tmp_path):
    path = tmp_path / "claims.yml"
    path.write_text("claims: !!python/object/apply:os.system ['true']", encoding="utf-8")
    with pytest.raises(LedgerError, match="is no ledger.*os.system"):
        load_ledger(path)


def test_every_claim_says_where_and_ours_say_so():
    for claim in load_ledger().values():
        ours = claim.source == ("own",)
        assert all(bool(part.place) != ours for part in claim.parts)
        assert not any(part.place for part in claim.further)


def test_every_test_that_settles_an_exact_part_exists():
    from utils.paths import ROOT

    for claim in load_ledger().values():
        for part in (*claim.parts, *claim.further):
            for test in getattr(part, "tests", ()):
                name, _, function = test.partition("::")
                text = (ROOT / name).read_text(encoding="utf-8")
                assert f"def {function}" in text, (claim.id, test)


def test_quick_runs_of_at_least_as_good_are_counted_within_the_margin():
    part = part_of(0, baseline="b", expect="at least as good", margin=0.1)
    rows = [
        {"experiment": "e", "scale": "quick", "arm": arm, "seed": seed, "epoch": 1, "m": value}
        for arm, values in (("a", (0.0, 0.95, 0.8)), ("b", (0.0, 1.0, 1.0)))
        for seed, value in enumerate(values)
    ]
    tally = part.tally(pd.DataFrame(rows))
    assert str(tally) == "2 of 3 runs within the margin or better"
