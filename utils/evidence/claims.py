"""The ledger of claims, and the tie between a claim and the verdict on it.

``chapters/claims.yml`` says what each claim compares, what it expects and by which margin. Recorded
runs at full scale give a verdict; the few quick runs in a chapter only say which way they point.
"""

import functools
import html
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from utils import data
from utils.evidence import statistics
from utils.evidence.statistics import Estimate, Verdict
from utils.evidence.table import columns_of, describe_runs, evaluate
from utils.paths import LEDGER

KINDS = ("exact", "measured", "exact and measured")

# How a quantity is written: factor, decimals, what follows the number.
_UNITS = {"points": (100, 2, " points"), "share": (1, 2, ""), "": (1, 3, "")}

_KINDS_OF_RUNS = {"quick": "quick", "full": "recorded"}

# A sign beside the word, so that the verdict does not hang on colour alone.
SIGNS = {
    Verdict.SUPPORTED: "✓",
    Verdict.REFUTED: "✗",
    Verdict.NO_DIFFERENCE: "≈",
    Verdict.UNDECIDED: "?",
}


class LedgerError(ValueError):
    """An entry of the ledger is not as it must be; the message names claim, field and value."""


@dataclass(frozen=True)
class Tally:
    """How many of a few runs are as a claim says; too few for an interval and a verdict.

    Attributes
    ----------
    agreeing : int
        Pairs of runs, by seed, whose difference has the claimed direction, or lies within the
        margin where no difference is claimed.
    runs : int
        All pairs of runs.
    where : str
        What counts: ``in the claimed direction`` or ``within the margin``.
    """

    agreeing: int
    runs: int
    where: str

    def __str__(self) -> str:
        return f"{self.agreeing} of {self.runs} runs {self.where}"


@dataclass(frozen=True)
class Comparison:
    """One quantity that a measured claim rests on, as written before the run.

    With a baseline it is the difference between two arms. Without one it is the mean of one arm,
    judged against zero: its metric is then a difference itself, such as
    ``accuracy_at_4 - test_accuracy``.

    Attributes
    ----------
    says : str
        What the claim says of this difference, in a few words.
    experiment : str
        Name of the experiment that holds both arms.
    metric : str
        A column of its table, or an expression of columns such as ``test_accuracy < 0.5``.
    treatment : str or tuple of str
        An arm, or several whose mean counts, seed by seed.
    baseline : str, tuple of str or None
        The arm or arms whose metric is subtracted, if any.
    expect : {"increase", "decrease", "no difference"}
        What the claim says of the quantity.
    margin : float
        The smallest amount that counts, in the metric's own unit.
    unit : {"points", "share", ""}
        How it is written: an accuracy in percentage points, a share, or as it is.
    """

    says: str
    experiment: str
    metric: str
    treatment: str | tuple[str, ...]
    expect: str
    margin: float
    baseline: str | tuple[str, ...] | None = None
    unit: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        sides = (self.treatment, self.baseline or ())
        return tuple(arm for side in sides for arm in ((side,) if isinstance(side, str) else side))

    def estimate(self, frame: pd.DataFrame) -> Estimate:
        """Estimate the quantity from the runs of its experiment.

        Parameters
        ----------
        frame : pandas.DataFrame
            The table of a result of its experiment, at one scale.

        Returns
        -------
        utils.evidence.Estimate
            A proportion, or a difference of two, where the metric is a condition; a mean, or a
            difference of two, otherwise.

        Raises
        ------
        ValueError
            When the frame lacks an arm or a column, or as `utils.evidence.paired_difference` says.
        """
        measured, happened = self._measured(frame)
        if self.baseline is None:
            average = statistics.proportion if happened else statistics.mean
            return average(measured, self.metric, self.treatment)
        compare = statistics.proportion_difference if happened else statistics.paired_difference
        return compare(measured, self.metric, self.treatment, self.baseline)

    def tally(self, frame: pd.DataFrame) -> Tally:
        """Count the runs that are as this comparison expects, seed by seed.

        Parameters
        ----------
        frame : pandas.DataFrame
            As for `estimate`.

        Returns
        -------
        Tally
            An increase or a decrease counts however small it is.

        Raises
        ------
        ValueError
            As for `estimate`.
        """
        values = statistics.differences(
            self._measured(frame)[0], self.metric, self.treatment, self.baseline
        )
        agreeing = {
            "increase": values > 0,
            "decrease": values < 0,
            "no difference": abs(values) < self.margin,
        }[self.expect]
        where = (
            "within the margin" if self.expect == "no difference" else "in the claimed direction"
        )
        return Tally(int(agreeing.sum()), len(values), where)

    def judge(self, estimate: Estimate) -> Verdict:
        """Judge an estimate by the margin and the expectation of this comparison."""
        return statistics.judge(estimate, self.margin, self.expect)

    def _measured(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
        """Add the metric as a column of numbers, and tell whether it is a condition."""
        values = evaluate(frame, self.metric)
        return frame.assign(**{self.metric: values.astype(float)}), values.dtype == bool

    def write(self, value: float, sign: bool = False) -> str:
        """Write a value of the metric in its unit, with a sign if asked for."""
        factor, decimals, suffix = _UNITS[self.unit]
        text = f"{value * factor:{'+' if sign else ''}.{decimals}f}"
        return text.replace("-", "−") + suffix

    def write_interval(self, estimate: Estimate) -> str:
        """Write an estimate with its 95 % interval, such as ``+0.30 [+0.10, +0.50] points``."""
        factor, decimals, suffix = _UNITS[self.unit]
        value, low, high = (
            f"{number * factor:+.{decimals}f}".replace("-", "−")
            for number in (estimate.value, *estimate.interval())
        )
        return f"{value} [{low}, {high}]{suffix}"


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger.

    Attributes
    ----------
    id, section, chapter, kind, statement, settled_by : str
        As the header of ``claims.yml`` explains.
    source : tuple of str
        The sources that make the claim.
    comparisons : tuple of Comparison
        What its measured part rests on; empty as long as no experiment is written.
    exact : dict or None
        ``verdict``, ``note`` and ``tests`` of its exact part, once that is settled.
    """

    id: str
    section: str
    source: tuple[str, ...]
    chapter: str
    kind: str
    statement: str
    settled_by: str
    comparisons: tuple[Comparison, ...] = ()
    exact: dict | None = None

    @property
    def tested(self) -> bool:
        """True when each part that its kind names has an experiment or a property test."""
        measured = bool(self.comparisons) or "measured" not in self.kind
        return measured and (self.exact is not None or "exact" not in self.kind)


@dataclass(frozen=True)
class Settlement:
    """What the runs say about one claim.

    Attributes
    ----------
    claim : Claim
        The claim.
    rows : tuple of (Comparison, str, Estimate, Verdict or Tally)
        Each comparison at each scale for which there are runs: a verdict at full scale, a tally at
        quick scale.
    ran : dict of str to str
        What ran at each scale, in words.
    """

    claim: Claim
    rows: tuple
    ran: dict[str, str] = field(default_factory=dict)

    def verdict(self, scale: str) -> Verdict | None:
        """Join the verdicts of all comparisons at one scale.

        Parameters
        ----------
        scale : {"quick", "full"}
            Which runs count.

        Returns
        -------
        utils.evidence.Verdict or None
            None at quick scale, and when a comparison has no runs at full scale; see `join`.
        """
        outcomes = self._outcomes(scale)
        return join(outcomes) if outcomes and scale == "full" else None

    def summary(self, scale: str) -> str:
        """Return what the runs of one scale say, in words.

        Parameters
        ----------
        scale : {"quick", "full"}
            Which runs count.

        Returns
        -------
        str
            The joint verdict at full scale, how many runs are as claimed at quick scale, or that
            not all comparisons have run.
        """
        outcomes = self._outcomes(scale)
        if not outcomes:
            return "not yet run at this scale"
        if scale == "full" or len(outcomes) == 1:
            return str(self.verdict(scale) or outcomes[0])
        worst = min(outcomes, key=lambda tally: tally.agreeing / tally.runs)
        if worst.agreeing == worst.runs:
            return f"every run as claimed in all {len(outcomes)} comparisons"
        return (
            f"{worst.agreeing} of {worst.runs} runs as claimed in the worst of {len(outcomes)} "
            "comparisons"
        )

    def table(self) -> pd.DataFrame:
        """Return one row for each comparison and scale, written for a reader."""
        return pd.DataFrame(
            [
                {
                    "what is compared": f"{html.escape(comparison.says)} "
                    f'<span class="about">(claimed: {comparison.expect}; '
                    f"margin {comparison.write(comparison.margin)})</span>",
                    "runs": f"{_KINDS_OF_RUNS[scale]}, {estimate.runs} seeds",
                    "difference, 95 % interval": comparison.write_interval(estimate)
                    if scale == "full"
                    else comparison.write(estimate.value, sign=True),
                    "verdict": _outcome_html(outcome),
                }
                for comparison, scale, estimate, outcome in self.rows
            ]
        )

    def __repr__(self) -> str:
        return f"{self.claim.id}: quick {self.summary('quick')}; full {self.summary('full')}"

    def _outcomes(self, scale: str) -> list:
        """Return what each comparison came to at one scale; nothing where one has not run."""
        outcomes = [outcome for _, known, _, outcome in self.rows if known == scale]
        return outcomes if len(outcomes) == len(self.claim.comparisons) else []

    def _repr_mimebundle_(self, include=None, exclude=None):
        head = (
            f'<p class="claim"><a href="claims.html#{self.claim.id}"><code>{self.claim.id}</code>'
            f"</a> {html.escape(self.claim.statement)}</p>"
        )
        body = self.table().to_html(index=False, escape=False, border=0, classes="verdicts")
        joint = "".join(f"<li>{self._joint_html(scale)}</li>" for scale in _KINDS_OF_RUNS)
        bundle = {"text/plain": repr(self), "text/html": f"{head}{body}<ul>{joint}</ul>"}
        # The ledger page reads what the quick runs say from the stored notebook.
        return bundle, {"settled": {"claim": self.claim.id, "quick": self.summary("quick")}}

    def _joint_html(self, scale: str) -> str:
        ran = f" ({self.ran[scale]})" if scale in self.ran else ""
        done = scale == "quick" and self._outcomes(scale)
        outcome = self.summary(scale) if done else _outcome_html(self.verdict(scale))
        return f"{_KINDS_OF_RUNS[scale].capitalize()} runs{ran}: {outcome}"


def join(verdicts) -> Verdict:
    """Join the verdicts of the comparisons that one claim rests on.

    Parameters
    ----------
    verdicts : sequence of utils.evidence.Verdict
        At least one.

    Returns
    -------
    utils.evidence.Verdict
        A claim holds when all of its parts do, so the worst part decides: refuted when one is
        refuted, else no difference when one shows none, else undecided when one is undecided;
        supported only when all are.
    """
    verdicts = set(verdicts)
    for decisive in (Verdict.REFUTED, Verdict.NO_DIFFERENCE, Verdict.UNDECIDED):
        if decisive in verdicts:
            return decisive
    return Verdict.SUPPORTED


def _outcome_html(outcome: Verdict | Tally | None) -> str:
    return str(outcome) if isinstance(outcome, Tally) else verdict_html(outcome)


def verdict_html(verdict: Verdict | None) -> str:
    """Write a verdict with its sign and a style class, or that there is none yet."""
    if verdict is None:
        return '<span class="verdict verdict-open">not yet run</span>'
    name = verdict.name.lower().replace("_", "-")
    return f'<span class="verdict verdict-{name}">{SIGNS[verdict]} {verdict}</span>'


@functools.cache
def load_ledger(path: Path = LEDGER) -> dict[str, Claim]:
    """Read and check the ledger.

    Parameters
    ----------
    path : pathlib.Path
        The YAML file.

    Returns
    -------
    dict of str to Claim
        The claims by id, in the order of the file.

    Raises
    ------
    LedgerError
        When an entry lacks a field, has an unknown one, or one with a value that is not allowed.
    """
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    claims: dict[str, Claim] = {}
    for entry in document["claims"]:
        claim = _claim(entry, set(document["sources"]))
        if claim.id in claims:
            raise LedgerError(f"claim {claim.id}: the id stands in the ledger twice")
        claims[claim.id] = claim
    return claims


def serves(experiment: str, claim_id: str) -> bool:
    """Say whether an experiment has to be run for a claim.

    Parameters
    ----------
    experiment : str
        Its name.
    claim_id : str
        The claim's id in the ledger.

    Returns
    -------
    bool
        True when a comparison of the claim names it, or no comparison of the ledger does: what
        tunes the others serves all claims of its chapter.

    Raises
    ------
    KeyError
        When the ledger has no such claim.
    """
    ledger = load_ledger()
    if claim_id not in ledger:
        raise KeyError(f"claim_id={claim_id!r} is not in {LEDGER.name}")
    named = {
        claim.id: {comparison.experiment for comparison in claim.comparisons}
        for claim in ledger.values()
    }
    return experiment in named[claim_id] or not any(experiment in all_ for all_ in named.values())


def settle(
    claim_id: str, quick: pd.DataFrame | None = None, full: pd.DataFrame | None = None
) -> Settlement:
    """Settle a claim by recorded full-scale runs, and say which way quick runs point.

    Parameters
    ----------
    claim_id : str
        Its id in the ledger.
    quick, full : pandas.DataFrame, optional
        Tables of the experiments that it rests on. A comparison whose arms have not run on all
        seeds of their experiment, two at least, is left open there.

    Returns
    -------
    Settlement
        At the end of a cell it shows itself as a table.

    Raises
    ------
    KeyError
        When the ledger has no such claim.
    LedgerError
        When the claim has no comparisons.
    """
    ledger = load_ledger()
    if claim_id not in ledger:
        raise KeyError(f"claim_id={claim_id!r} is not in {LEDGER.name}")
    claim = ledger[claim_id]
    if not claim.comparisons:
        raise LedgerError(f"claim {claim_id}: it has no comparisons in {LEDGER.name}")
    frames = [frame for frame in (quick, full) if frame is not None and not frame.empty]
    if not frames:
        return Settlement(claim, ())
    # A notebook that is run at full scale has the same runs in both.
    runs = pd.concat(frames).drop_duplicates(["experiment", "scale", "arm", "seed", "epoch"])
    rows, used = [], {}
    for comparison in claim.comparisons:
        for scale in data.SCALES:
            part = runs[(runs["experiment"] == comparison.experiment) & (runs["scale"] == scale)]
            if _comparable(part, comparison):
                estimate = comparison.estimate(part)
                full = scale == "full"
                outcome = comparison.judge(estimate) if full else comparison.tally(part)
                rows.append((comparison, scale, estimate, outcome))
                used.setdefault(scale, []).append(part[part["arm"].isin(comparison.arms)])
    ran = {scale: describe_runs(pd.concat(parts)) for scale, parts in used.items()}
    return Settlement(claim, tuple(rows), ran)


def _comparable(runs: pd.DataFrame, comparison: Comparison) -> bool:
    """Tell whether its arms have run on all seeds of the experiment, and on at least two."""
    every = set(runs["seed"])
    seeds = [set(runs.loc[runs["arm"] == arm, "seed"]) for arm in comparison.arms]
    return len(every) > 1 and all(found == every for found in seeds)


def _claim(entry: dict, sources: set[str]) -> Claim:
    name = entry.get("id", entry)
    fields = {"id", "section", "source", "chapter", "kind", "statement", "settled_by"}
    _check_fields(f"claim {name}", entry, fields, {"comparisons", "exact"})
    source = entry["source"]
    source = (source,) if isinstance(source, str) else tuple(source)
    _check(name, "source", source, set(source) <= sources, f"names out of {sorted(sources)}")
    _check(name, "kind", entry["kind"], entry["kind"] in KINDS, f"one of {KINDS}")
    exact = entry.get("exact")
    if exact is not None:
        _check_fields(f"claim {name}, exact", exact, {"verdict", "note", "tests"}, set())
        verdict, words = exact["verdict"], [str(verdict) for verdict in Verdict]
        _check(name, "exact verdict", verdict, verdict in words, f"one of {words}")
    return Claim(
        **{
            **entry,
            "source": source,
            "comparisons": tuple(
                _comparison(name, comparison) for comparison in entry.get("comparisons", ())
            ),
        }
    )


def _comparison(name: str, entry: dict) -> Comparison:
    required = {"says", "experiment", "metric", "treatment", "expect", "margin"}
    _check_fields(f"claim {name}, comparison", entry, required, {"baseline", "unit"})
    try:
        columns_of(entry["metric"])
    except ValueError as error:
        raise LedgerError(f"claim {name}, comparison {entry['says']!r}: metric: {error}") from None
    expect, margin, unit = entry["expect"], entry["margin"], entry.get("unit", "")
    allowed = statistics.EXPECTATIONS
    _check(name, "expect", expect, expect in allowed, f"one of {allowed}")
    positive = isinstance(margin, (int, float)) and margin is not True and margin > 0
    _check(name, "margin", margin, positive, "a number above 0")
    _check(name, "unit", unit, unit in _UNITS, f"one of {tuple(_UNITS)}")
    sides = {side: entry[side] for side in ("treatment", "baseline") if side in entry}
    for side, arms in sides.items():
        several = isinstance(arms, list) and len(arms) > 1 and len(sides) == 2
        named = all(isinstance(arm, str) for arm in arms) if several else isinstance(arms, str)
        _check(name, side, arms, named, "an arm, or a list of two or more and a baseline")
        sides[side] = tuple(arms) if several else arms
    return Comparison(**{**entry, **sides})


def _check_fields(where: str, entry: dict, required: set[str], optional: set[str]) -> None:
    missing, unknown = required - set(entry), set(entry) - required - optional
    if missing or unknown:
        raise LedgerError(
            f"{where}: missing fields {sorted(missing)}, unknown fields {sorted(unknown)}"
        )


def _check(name: str, field: str, value, good: bool, allowed: str) -> None:
    if not good:
        raise LedgerError(f"claim {name}: {field}={value!r}; allowed is {allowed}")
