"""The ledger of claims, and what leads from a claim to its verdict.

``chapters/claims.yml`` lists what is tested: the parts of each claim, with their place in the
source, their expectation and their margin. Recorded runs at full scale give a verdict; the few
quick runs in a chapter only indicate a direction.
"""

import functools
import html
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import yaml

from utils import data
from utils.checked import checked
from utils.evidence import statistics
from utils.evidence.statistics import Estimate, Verdict
from utils.evidence.table import columns_of, describe_runs, evaluate
from utils.paths import LEDGER

# The source of a claim that nobody but this course makes.
OWN = "own"

# How a quantity is written: factor, decimals, what follows the number. For binary logarithms see
# `Comparison.write`.
_UNITS = {"points": (100, 2, " points"), "share": (1, 2, ""), "": (1, 3, "")}

_KINDS_OF_RUNS = {"quick": "quick", "full": "recorded"}

# A sign beside the word, so that the verdict does not hang on colour alone.
SIGNS = {
    Verdict.SUPPORTED: "✓",
    Verdict.IN_PART: "◐",
    Verdict.SMALLER: "<",
    Verdict.NO_DIFFERENCE: "≈",
    Verdict.REFUTED: "✗",
    Verdict.UNDECIDED: "?",
}


class LedgerError(ValueError):
    """The ledger is invalid; the message names claim, part, value and what is allowed."""


@dataclass(frozen=True)
class Tally:
    """How many of a few runs agree with a claim; too few for an interval and a verdict.

    Attributes
    ----------
    agreeing : int
        Pairs of runs, by seed, whose difference has the claimed direction; for a claim of no
        difference, lies within the margin; for *at least as good*, is not worse by more than the
        margin.
    runs : int
        All pairs of runs.
    where : str
        What counts, such as ``in the claimed direction`` or ``within the margin``.
    """

    agreeing: int
    runs: int
    where: str

    def __str__(self) -> str:
        return f"{self.agreeing} of {self.runs} runs {self.where}"


@dataclass(frozen=True)
class Comparison:
    """One quantity that a claim rests on, as written down before the run.

    With a baseline it is the difference between two arms. Without one it is the mean of one arm,
    judged against zero: its metric is then a difference itself, such as
    ``accuracy_at_4 - test_accuracy``.

    Attributes
    ----------
    says : str
        What the claim says of this difference, in a few words.
    place : tuple of str
        Where its source says so; empty for what is ours.
    experiment : str
        Name of the experiment that holds both arms.
    metric : str
        A column of its table, or an expression of columns such as ``test_accuracy < 0.5``.
    treatment : str or tuple of str
        An arm, or several that are averaged, seed by seed.
    baseline : str, tuple of str or None
        The arm or arms whose metric is subtracted, if any.
    expect : {"increase", "decrease", "no difference", "at least as good"}
        What the claim says of the quantity.
    margin : float
        The smallest amount that counts, in the metric's own unit.
    unit : {"points", "share", "times", ""}
        How it is written: an accuracy in percentage points, a share, a binary logarithm as the
        factor that it stands for, or as it is.
    size : float, optional
        The least difference that the claim states; above the margin.
    half_width : float, optional
        Half-width that its interval needs, if not half the margin: for effects known before the run
        to be large.
    """

    says: str
    experiment: str
    metric: str
    treatment: str | tuple[str, ...]
    expect: str
    margin: float
    baseline: str | tuple[str, ...] | None = None
    unit: str = ""
    size: float | None = None
    half_width: float | None = None
    place: tuple[str, ...] = ()

    @property
    def wanted_half_width(self) -> float:
        """Half-width of the interval for which the number of seeds is computed."""
        return self.half_width or self.margin / 2

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs."""
        sides = (self.treatment, self.baseline or ())
        return tuple(arm for side in sides for arm in ((side,) if isinstance(side, str) else side))

    @checked
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
            If the frame lacks an arm or a column, or as for `utils.evidence.paired_difference`.
        """
        measured, happened = self._measured(frame)
        if self.baseline is None:
            average = statistics.proportion if happened else statistics.mean
            return average(measured, self.metric, self.treatment)
        compare = statistics.proportion_difference if happened else statistics.paired_difference
        return compare(measured, self.metric, self.treatment, self.baseline)

    @checked
    def tally(self, frame: pd.DataFrame) -> Tally:
        """Count, seed by seed, the runs that agree with what is expected.

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
        agreeing, where = {
            "increase": (values > 0, "in the claimed direction"),
            "decrease": (values < 0, "in the claimed direction"),
            "no difference": (abs(values) < self.margin, "within the margin"),
            "at least as good": (values > -self.margin, "within the margin or better"),
        }[self.expect]
        return Tally(int(agreeing.sum()), len(values), where)

    @checked
    def judge(self, estimate: Estimate) -> Verdict:
        """Judge an estimate by the margin and the expectation of this comparison."""
        return statistics.judge(estimate, *self.rule)

    @checked
    def known(self, estimate: Estimate) -> str:
        """Describe in words what an undecided estimate shows nevertheless."""
        return statistics.known(estimate, *self.rule)

    @checked
    def p_value(self, estimate: Estimate) -> float:
        """Find the smallest significance level at which an estimate is decided."""
        return statistics.p_value(estimate, *self.rule)

    @property
    def rule(self) -> tuple[float, str, float | None]:
        """Margin, expectation and size, as `utils.evidence.judge` takes them."""
        return self.margin, self.expect, self.size

    @property
    def claimed(self) -> str:
        """What is claimed and by which margin it is judged, in words."""
        size = f", {self.write(self.size)} or more" if self.size else ""
        return f"claimed: {self.expect}{size}; margin {self.write(self.margin)}"

    def _measured(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
        """Add the metric as a column of numbers, and tell whether it is a condition."""
        values = evaluate(frame, self.metric)
        return frame.assign(**{self.metric: values.astype(float)}), values.dtype == bool

    @checked
    def write(self, value: float, sign: bool = False) -> str:
        """Write a value of the metric in its unit, with a sign if asked for."""
        if self.unit == "times":
            return f"{_factor(value)} times"
        factor, decimals, suffix = _UNITS[self.unit]
        text = f"{value * factor:{'+' if sign else ''}.{decimals}f}"
        return text.replace("-", "−") + suffix

    @checked
    def write_interval(self, estimate: Estimate) -> str:
        """Write an estimate with its 95 % interval, such as ``+0.30 [+0.10, +0.50] points``."""
        if self.unit == "times":
            value, low, high = map(_factor, (estimate.value, *estimate.interval()))
            return f"{value} [{low}, {high}] times"
        factor, decimals, suffix = _UNITS[self.unit]
        value, low, high = (
            f"{number * factor:+.{decimals}f}".replace("-", "−")
            for number in (estimate.value, *estimate.interval())
        )
        return f"{value} [{low}, {high}]{suffix}"


@dataclass(frozen=True)
class Exact:
    """A part of a claim that is settled without training anything.

    Attributes
    ----------
    says : str
        What the claim says, in a few words.
    exact : Verdict
        Its outcome.
    note : str
        Why.
    tests : tuple of str
        The property tests that settle it.
    place : tuple of str
        Where its source says so; empty for what is ours.
    """

    says: str
    exact: Verdict
    note: str
    tests: tuple[str, ...]
    place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger.

    Attributes
    ----------
    id, section, chapter, statement, settled_by : str
        As the header of ``claims.yml`` explains.
    source : tuple of str
        The sources that make the claim; ``("own",)`` where nobody else does.
    parts : tuple of Comparison or Exact
        What the source says. They alone decide the verdict.
    further : tuple of Comparison or Exact
        What we add: judged and shown, but not part of the verdict.
    old : tuple of Comparison
        Earlier comparisons, which replace the measured parts until these have been run.
    """

    id: str
    section: str
    source: tuple[str, ...]
    chapter: str
    statement: str
    settled_by: str
    parts: tuple[Comparison | Exact, ...]
    further: tuple[Comparison | Exact, ...] = ()
    old: tuple[Comparison, ...] = ()

    @property
    def kind(self) -> str:
        """How its parts are settled: ``exact``, ``measured`` or ``exact and measured``."""
        kinds = {isinstance(part, Exact): None for part in self.parts}
        return " and ".join(
            name for name, exact in (("exact", True), ("measured", False)) if exact in kinds
        )

    @property
    def judged(self) -> tuple[Comparison | Exact, ...]:
        """What decides the verdict now."""
        if not self.old:
            return self.parts
        return (*(part for part in self.parts if isinstance(part, Exact)), *self.old)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All that is measured for it now, its parts first."""
        shown = (*self.judged, *(() if self.old else self.further))
        return tuple(part for part in shown if isinstance(part, Comparison))


class Row(NamedTuple):
    """What runs or arithmetic show about one part of a claim or one further comparison."""

    part: Comparison | Exact
    scale: str
    estimate: Estimate | None
    outcome: "Verdict | Tally"

    @property
    def known(self) -> str:
        """What an *undecided* row shows nevertheless, in words."""
        undecided = self.outcome is Verdict.UNDECIDED
        return self.part.known(self.estimate) if undecided else ""

    @property
    def caveat(self) -> str:
        """Why its interval may be too narrow, in words."""
        scatter = self.estimate.scatter if self.estimate else 1
        if scatter == 1:
            return ""
        times = f"{scatter:.1f} times as much" if math.isfinite(scatter) else "far more"
        return f"too narrow: the seeds after the pilot scatter {times}"


@dataclass(frozen=True)
class Settlement:
    """What the runs show about one claim.

    Attributes
    ----------
    claim : Claim
        The claim.
    rows : tuple of Row
        Each comparison at each scale for which there are runs: a verdict at full scale, a tally at
        quick scale.
    ran : dict of str to str
        What ran at each scale, in words.
    data : str
        Name of the data, if the claim names none and the runs are on other data than MNIST; else
        empty.
    """

    claim: Claim
    rows: tuple[Row, ...]
    ran: dict[str, str] = field(default_factory=dict)
    data: str = ""

    @property
    def parts(self) -> tuple[Row, ...]:
        """The outcomes that decide the verdict, as far as they are known."""
        measured = {row.part: row for row in self.rows if row.scale == "full"}
        rows = (
            Row(part, "full", None, part.exact) if isinstance(part, Exact) else measured.get(part)
            for part in self.claim.judged
        )
        return tuple(row for row in rows if row is not None)

    @checked
    def verdict(self, scale: str) -> Verdict | None:
        """Combine the outcomes of the parts.

        Parameters
        ----------
        scale : {"quick", "full"}
            Which runs count.

        Returns
        -------
        utils.evidence.Verdict or None
            None at quick scale, and when a part has no runs at full scale; see `join`.
        """
        if scale != "full" or len(self.parts) < len(self.claim.judged):
            return None
        return join(row.outcome for row in self.parts)

    @property
    def p_value(self) -> float | None:
        """The p-value of the verdict; None without a verdict or a measured part.

        It is the largest p-value of the decided parts, since all of them must hold. For a refuted
        claim one part is enough: it is the smallest of the refuted parts, times the number of all
        parts.
        """
        verdict = self.verdict("full")
        measured = [row for row in self.parts if isinstance(row.part, Comparison)]
        if verdict is None or not measured:
            return None
        decided = [row for row in measured if row.outcome is not Verdict.UNDECIDED]
        values = [row.part.p_value(row.estimate) for row in decided]
        if verdict is Verdict.UNDECIDED:
            return 1.0
        if verdict is Verdict.REFUTED:
            exact = any(
                row.outcome is Verdict.REFUTED for row in self.parts if isinstance(row.part, Exact)
            )
            against = [
                row.part.p_value(row.estimate) for row in decided if row.outcome is Verdict.REFUTED
            ]
            return 0.0 if exact else min(1.0, len(self.parts) * min(against))
        return max(values, default=0.0)

    @checked
    def summary(self, scale: str) -> str:
        """Describe in words what the runs of one scale show.

        Parameters
        ----------
        scale : {"quick", "full"}
            Which runs count.

        Returns
        -------
        str
            At full scale the verdict, with the number of parts where these differ; at quick scale
            how many runs are as claimed; or that not all parts have run.
        """
        if scale == "full":
            return self._verdict_in_words()
        judged = [part for part in self.claim.judged if isinstance(part, Comparison)]
        tallies = [row.outcome for row in self.rows if row.scale == scale and row.part in judged]
        if not judged:
            return "no part is measured"
        if len(tallies) < len(judged):
            return "not yet run at this scale"
        if len(tallies) == 1:
            return str(tallies[0])
        worst = min(tallies, key=lambda tally: tally.agreeing / tally.runs)
        if worst.agreeing == worst.runs:
            return f"every run as claimed in all {len(tallies)} parts"
        return (
            f"{worst.agreeing} of {worst.runs} runs as claimed in the worst of {len(tallies)} parts"
        )

    def _verdict_in_words(self) -> str:
        verdict = self.verdict("full")
        if verdict is None:
            return "not yet run at this scale"
        outcomes = [row.outcome for row in self.parts]
        supported, all_ = outcomes.count(Verdict.SUPPORTED), len(outcomes)
        text = str(verdict)
        if verdict is Verdict.IN_PART or (verdict is Verdict.UNDECIDED and all_ > 1):
            text += f", {supported} of {all_} parts supported"
        if verdict is Verdict.IN_PART and Verdict.UNDECIDED in outcomes:
            text += f", {outcomes.count(Verdict.UNDECIDED)} undecided"
        return text

    def table(self) -> pd.DataFrame:
        """Return one row for each part and further comparison with an outcome, for display."""
        exact = [row.part for row in self.parts if isinstance(row.part, Exact)]
        compared = dict.fromkeys((*exact, *(row.part for row in self.rows)))
        return pd.DataFrame([self._written(part) for part in compared])

    def _written(self, part: Comparison | Exact) -> dict[str, str]:
        says = html.escape(part.says)
        if part not in self.claim.judged:
            says = f"<em>further:</em> {says}"
        if isinstance(part, Exact):
            about, verdict = part.note, verdict_html(part.exact)
            difference, quick = "by arithmetic", ""
        else:
            rows = {row.scale: row for row in self.rows if row.part == part}
            about = part.claimed
            difference, verdict = _recorded_html(rows.get("full"))
            quick = _quick_html(rows.get("quick"))
        return {
            "what is compared": f'{says} <span class="about">({html.escape(about)})</span>',
            "difference, 95 % interval": difference,
            "verdict": verdict,
            "quick runs": quick,
        }

    @property
    def of_ledger(self) -> bool:
        """Whether it is about a claim exactly as the ledger has it."""
        return not self.data and load_ledger().get(self.claim.id) == self.claim

    def __repr__(self) -> str:
        name = f"{self.claim.id} on {self.data}" if self.data else self.claim.id
        return f"{name}: quick {self.summary('quick')}; full {self.summary('full')}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        name = f"<code>{self.claim.id}</code>"
        if self.claim.id in load_ledger():
            name = f'<a href="claims.html#{self.claim.id}">{name}</a>'
        if self.data:
            name += f" on <code>{self.data}</code>:"
        head = f'<p class="claim">{name} {html.escape(self.claim.statement)}</p>'
        body = self.table().to_html(index=False, escape=False, border=0, classes="verdicts")
        joint = "".join(f"<li>{self._joint_html(scale)}</li>" for scale in _KINDS_OF_RUNS)
        bundle = {"text/plain": repr(self), "text/html": f"{head}{body}<ul>{joint}</ul>"}
        if not self.of_ledger:
            return bundle, {}
        # The ledger page reads what the quick runs say from the stored notebook.
        return bundle, {"settled": {"claim": self.claim.id, "quick": self.summary("quick")}}

    def _joint_html(self, scale: str) -> str:
        ran = f" ({self.ran[scale]})" if scale in self.ran else ""
        text = self.summary(scale)
        if scale == "full":
            text = verdict_html(self.verdict(scale), self.summary(scale))
            if self.claim.old:
                text += ' <span class="about">old design</span>'
        return f"{_KINDS_OF_RUNS[scale].capitalize()} runs{ran}: {text}"


@checked
def join(outcomes: Iterable[Verdict]) -> Verdict:
    """Combine the outcomes of the parts of one claim.

    Parameters
    ----------
    outcomes : iterable of utils.evidence.Verdict
        At least one.

    Returns
    -------
    utils.evidence.Verdict
        Supported when all parts are. Holds in part when some are and some are decided otherwise.
        When all are decided and none is supported: no difference where each shows none, smaller
        than claimed where each is that or shows none, else refuted. Otherwise undecided.
    """
    kinds = set(outcomes)
    if len(kinds) == 1:
        return kinds.pop()
    if Verdict.SUPPORTED in kinds and kinds - {Verdict.SUPPORTED, Verdict.UNDECIDED}:
        return Verdict.IN_PART
    if Verdict.UNDECIDED in kinds:
        return Verdict.UNDECIDED
    # Neither word fits both, and no part is as large as claimed, or there at all.
    if kinds == {Verdict.SMALLER, Verdict.NO_DIFFERENCE}:
        return Verdict.SMALLER
    return Verdict.REFUTED


def _recorded_html(row: Row | None) -> tuple[str, str]:
    """Write what the recorded runs say of a comparison: the difference, and what it comes to."""
    if row is None:
        return "", verdict_html(None)
    interval = row.part.write_interval(row.estimate)
    about = "; ".join(filter(None, (f"{row.estimate.runs} seeds", row.caveat)))
    seeds = f'<span class="about">{about}</span>'
    known = f' <span class="about">{row.known}</span>' if row.known else ""
    return f"{interval} {seeds}", verdict_html(row.outcome) + known


def _quick_html(row: Row | None) -> str:
    """Write what the quick runs say of a comparison, if they hold its arms."""
    if row is None:
        return ""
    value = row.part.write(row.estimate.value, sign=True)
    return f'{value} <span class="about">{row.outcome}</span>'


def _factor(power: float) -> str:
    """Write two to a power with three digits, or whole where there are more."""
    factor = 2.0**power
    return f"{factor:,.0f}" if factor >= 1000 else f"{factor:.3g}"


@checked
def verdict_class(verdict: Verdict | None) -> str:
    """Name a verdict, or the lack of one, as the style sheet does."""
    return verdict.name.lower().replace("_", "-") if verdict else "open"


@checked
def verdict_html(verdict: Verdict | None, words: str | None = None) -> str:
    """Write a verdict with its sign and a style class, or that there is none yet."""
    if verdict is None:
        return '<span class="verdict verdict-open">not yet run</span>'
    sign = html.escape(SIGNS[verdict])
    return (
        f'<span class="verdict verdict-{verdict_class(verdict)}">{sign} {words or verdict}</span>'
    )


_DEEPEST = 20


class _Loader(yaml.SafeLoader):
    """Makes plain values, and each of them once: of copies of copies no memory would hold all."""

    def fetch_flow_collection_start(self, token):
        # The time that PyYAML takes grows with the square of the depth.
        if self.flow_level == _DEEPEST:
            raise yaml.YAMLError(f"brackets in brackets; allowed are {_DEEPEST} levels")
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"alias {self.peek_event().anchor!r}; allowed is none")
        return super().compose_node(parent, index)


@functools.cache
@checked
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
        If it violates its schema, or an entry has a value that is not allowed.
    """
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LedgerError(f"path={str(path)!r} is no ledger ({error})") from error
    _check_schema(document)
    claims: dict[str, Claim] = {}
    for entry in document["claims"]:
        claim = _claim(entry, set(document["sources"]))
        if claim.id in claims:
            raise LedgerError(f"claim {claim.id}: the id is in the ledger twice")
        claims[claim.id] = claim
    return claims


@checked
def read_claim(text: str) -> Claim:
    """Read a claim that is not in the ledger but has the same form, with the same checks.

    Parameters
    ----------
    text : str
        The entry in YAML, as the header of ``chapters/claims.yml`` explains.

    Returns
    -------
    Claim
        To be passed to ``result.verdict``.

    Raises
    ------
    LedgerError
        If it is not such an entry, has a value that is not allowed, or has the id of a claim in the
        ledger.
    """
    try:
        entry = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise LedgerError(f"text is no YAML: {error}") from None
    if isinstance(entry, list) and len(entry) == 1:  # With the hyphen that it has in the ledger.
        (entry,) = entry
    _check_schema({"sources": {}, "claims": [entry]})
    if entry["id"] in load_ledger():
        raise LedgerError(f"claim {entry['id']}: the id is in {LEDGER.name}; allowed is another")
    return _claim(entry, set() if entry["source"] == OWN else _sources())


@functools.cache
def _sources() -> set[str]:
    return set(yaml.safe_load(LEDGER.read_text(encoding="utf-8"))["sources"])


@checked
def serves(experiment: str, claim_id: str) -> bool:
    """Tell whether an experiment has to be run for a claim.

    Parameters
    ----------
    experiment : str
        Its name.
    claim_id : str
        The claim's id in the ledger.

    Returns
    -------
    bool
        True if a comparison of the claim names it, or none in the ledger does: an experiment that
        tunes others serves all claims of its chapter.

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


@checked
def settle(
    claim_id: str | Claim, quick: pd.DataFrame | None = None, full: pd.DataFrame | None = None
) -> Settlement:
    """Settle a claim by recorded full-scale runs, and tally its quick runs.

    Parameters
    ----------
    claim_id : str or Claim
        Its id in the ledger; or a claim, which need not be there.
    quick, full : pandas.DataFrame, optional
        Tables of the experiments that it rests on. A comparison stays open at a scale at which one
        of its arms lacks seeds that it needs, or has fewer than two. If the tables are of other
        data than MNIST and the claim names none, it is settled for those data.

    Returns
    -------
    Settlement
        Displayed as a table at the end of a cell.

    Raises
    ------
    KeyError
        When the ledger has no such claim.
    ValueError
        If the tables are of different data and the claim does not name one.
    """
    claim = _known(claim_id)
    frames = [frame for frame in (quick, full) if frame is not None and not frame.empty]
    if not frames:
        return Settlement(claim, ())
    # A notebook that is run at full scale has the same runs in both.
    runs = pd.concat(frames).drop_duplicates(["experiment", "scale", "arm", "seed", "epoch"])
    claim, other = _on_data_of(claim, runs)
    rows, used = [], {}
    for comparison in claim.comparisons:
        for scale in data.SCALES:
            part = runs[(runs["experiment"] == comparison.experiment) & (runs["scale"] == scale)]
            if _comparable(part, comparison):
                estimate = comparison.estimate(part)
                full = scale == "full"
                outcome = comparison.judge(estimate) if full else comparison.tally(part)
                rows.append(Row(comparison, scale, estimate, outcome))
                used.setdefault(scale, []).append(part[part["arm"].isin(comparison.arms)])
    ran = {scale: describe_runs(pd.concat(parts)) for scale, parts in used.items()}
    return Settlement(claim, tuple(rows), ran, other)


def _known(claim_id: str | Claim) -> Claim:
    if isinstance(claim_id, Claim):
        return claim_id
    ledger = load_ledger()
    if claim_id not in ledger:
        raise KeyError(f"claim_id={claim_id!r} is not in {LEDGER.name}")
    return ledger[claim_id]


@checked
def require_arms(claim_id: str | Claim, arms: Mapping[str, Collection[str]]) -> None:
    """Require that a claim uses some experiments, and only arms that they have.

    Parameters
    ----------
    claim_id : str or Claim
        As for `settle`.
    arms : mapping of str to collection of str
        Name of each experiment, with ``@`` and that of its data if not MNIST, and of its arms.

    Raises
    ------
    KeyError
        When the ledger has no such claim.
    LedgerError
        If no comparison of the claim uses these experiments, or one names an arm that its
        experiment does not have.
    """
    claim = _known(claim_id)
    of_any_data = {title.partition("@")[0]: names for title, names in arms.items()} | dict(arms)
    named = {part.experiment for part in claim.comparisons}
    if named.isdisjoint(of_any_data) and named:
        _check(claim.id, "experiment", sorted(named), False, f"one of {sorted(arms)}, or more")
    for part in claim.comparisons:
        has = of_any_data.get(part.experiment, part.arms)
        allowed = f"an arm of the experiment {part.experiment!r}: {sorted(has)}"
        for side, value in (("treatment", part.treatment), ("baseline", part.baseline)):
            asked = _several(value or ())
            _check(f"{claim.id}, {part.says!r}", side, value, set(asked) <= set(has), allowed)


def _on_data_of(claim: Claim, runs: pd.DataFrame) -> tuple[Claim, str]:
    """Ask a claim that names no data of the data of some runs; return it, and their name."""
    every = (*claim.parts, *claim.further, *claim.old)
    compared = [part for part in every if isinstance(part, Comparison)]
    found = {name.partition("@")[2] for name in runs.get("experiment", ())}
    if any("@" in part.experiment for part in compared) or found <= {""}:
        return claim, ""
    if len(found) > 1:
        names = sorted(name or "MNIST" for name in found)
        raise ValueError(
            f"claim {claim.id}: the runs are of {', '.join(names)}; allowed are runs on one of them"
        )
    (other,) = found

    def asked(parts):
        return tuple(
            replace(part, experiment=f"{part.experiment}@{other}")
            if isinstance(part, Comparison)
            else part
            for part in parts
        )

    roles = {role: asked(getattr(claim, role)) for role in ("parts", "further", "old")}
    return replace(claim, **roles), other


def _comparable(runs: pd.DataFrame, comparison: Comparison) -> bool:
    """Tell whether its arms have run on all seeds that they need, and on at least two."""
    every = set(runs["seed"])
    staged = "pilot" in runs and runs["pilot"].gt(0).any()
    for arm in comparison.arms:
        own = runs[runs["arm"] == arm]
        seeds = set(own["seed"])
        wanted = own["wanted"].max() if staged and not own.empty else len(every)
        if len(seeds) < 2 or len(seeds) < wanted:
            return False
    return True


@functools.cache
def _schema() -> dict:
    path = LEDGER.with_name("claims.schema.json")
    return json.loads(path.read_text(encoding="utf-8"))


def _check_schema(document) -> None:
    """Check fields and their types; what only the rest of the ledger tells comes later."""
    from jsonschema import Draft202012Validator  # Its import takes long, and few need it.

    error = min(
        Draft202012Validator(_schema()).iter_errors(document),
        key=lambda error: list(map(str, error.absolute_path)),
        default=None,
    )
    if error is None:
        return
    where, *path = [*error.absolute_path] or [""]
    names = [str(where)]
    if where == "claims" and path:
        entry, *path = path
        claim = document["claims"][entry]
        names = [f"claim {claim.get('id', entry) if isinstance(claim, dict) else entry}"]
        if len(path) > 1 and path[0] in ("parts", "further", "old"):
            role, number, *path = path
            says = claim[role][number]
            says = says.get("says", number) if isinstance(says, dict) else says
            names.append(f"{role} {says!r}")
    names.extend(map(str, path))
    raise LedgerError(f"{', '.join(names)}: {_in_words(error)}")


def _in_words(error) -> str:
    """Say what a value is and what is allowed, as the other errors do."""
    value, allowed = error.instance, error.validator_value
    match error.validator:
        case "enum" | "const":
            return f"{value!r}; allowed is {allowed!r}"
        case "exclusiveMinimum":
            return f"{value!r}; allowed is a number above {allowed}"
        case "type":
            return f"{value!r}; allowed is {allowed}"
        case "oneOf":
            return f"{value!r}; allowed is {error.schema['description']}"
        case "required":
            return f"missing fields {sorted(set(allowed) - set(value))}"
        case "additionalProperties" | "unevaluatedProperties":
            known = error.schema.get("properties", {})
            return f"unknown fields {sorted(set(value) - set(known))}; allowed are {sorted(known)}"
    return error.message


def _claim(entry: dict, sources: set[str]) -> Claim:
    name = entry["id"]
    source = _several(entry["source"])
    allowed = f"{OWN!r}, or names out of {sorted(sources)}"
    _check(name, "source", source, source == (OWN,) or set(source) <= sources, allowed)
    roles = {
        role: tuple(_part(f"{name}, {role}", part, source, role) for part in entry.get(role, ()))
        for role in ("parts", "further", "old")
    }
    says = [part.says for role in ("parts", "further") for part in roles[role]]
    twice = next((each for each in says if says.count(each) > 1), None)
    _check(name, "says", twice, twice is None, "a text of its own for each part")
    return Claim(**{**entry, "source": source, **roles})


def _part(where: str, entry: dict, sources: tuple[str, ...], role: str) -> Comparison | Exact:
    where = f"{where} {entry['says']!r}"
    place = _several(entry.get("place", ()))
    if role == "parts" and sources != (OWN,):
        known = all(each.split(",")[0] in sources and "," in each for each in place)
        allowed = f"where it is said, as 'S2, Padding, 1st item', in one of {list(sources)}"
        _check(where, "place", place, bool(place) and known, allowed)
    else:
        _check(where, "place", place, not place, "none, since no source says this")
    if "exact" in entry:
        exact = {"exact": Verdict(entry["exact"]), "tests": tuple(entry["tests"])}
        return Exact(**{**entry, **exact, "place": place})
    try:
        columns_of(entry["metric"])
    except ValueError as error:
        raise LedgerError(f"claim {where}: metric: {error}") from None
    size, margin, expect = entry.get("size"), entry["margin"], entry["expect"]
    fits = size is None or (size > margin and expect in ("increase", "decrease"))
    _check(where, "size", size, fits, f"a number above the margin {margin}, with a direction")
    for name in ("margin", "half_width"):  # No schema keeps out what is not a number.
        _check(where, name, entry.get(name), entry.get(name, 1) > 0, "a number above 0")
    sides = {side: entry[side] for side in ("treatment", "baseline") if side in entry}
    for side, arms in sides.items():
        several = isinstance(arms, list)
        allowed = "an arm, or a list of two or more and a baseline"
        _check(where, side, arms, not several or len(sides) == 2, allowed)
        sides[side] = tuple(arms) if several else arms
    differ = len(sides) < 2 or sides["treatment"] != sides["baseline"]
    _check(where, "baseline", entry.get("baseline"), differ, "another arm than the treatment")
    points = entry.get("unit") != "points" or margin < 1
    _check(where, "margin", margin, points, "less than 1, which is 100 percentage points")
    return Comparison(**{**entry, **sides, "place": place})


def _several(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check(name: str, field: str, value, good: bool, allowed: str) -> None:
    if not good:
        raise LedgerError(f"claim {name}: {field}={value!r}; allowed is {allowed}")
