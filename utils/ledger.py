"""The ledger as a page: every claim with its evidence, from the stored chapters and the records.

A chapter's stored outputs say what a recorded run has to match to count, and how its quick run came
out. So this page trains nothing, and it cannot count a record that its chapter would not.
"""

import html
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import pandas as pd

from utils import claims, evidence
from utils.claims import Claim, Comparison, Settlement, load_ledger, settle, verdict_html
from utils.evidence import Estimate, Verdict
from utils.experiment import RESULTS, table
from utils.records import RecordFile, key

CHAPTERS = claims.LEDGER.parent


@dataclass(frozen=True)
class Stored:
    """What the stored outputs of all chapters say.

    Attributes
    ----------
    experiments : dict of str to dict
        For each experiment its ``seeds`` and, arm by arm, the ``fingerprints`` that count.
    quick : dict of str to str
        For each claim that a chapter settles, how its quick run came out, in words.
    """

    experiments: dict
    quick: dict


@dataclass(frozen=True)
class Entry:
    """One claim with all that is known about it.

    Attributes
    ----------
    claim : Claim
        The claim.
    quick : str or None
        Verdict of the stored quick run, in words.
    full : Settlement or None
        Its comparisons at full scale, as far as they are recorded.
    controlled : Verdict or None
        The verdict at full scale with false discoveries controlled over the whole ledger.
    runs : int
        Recorded runs of its experiments.
    seconds : float
        Time that these took.
    """

    claim: Claim
    quick: str | None
    full: Settlement | None
    controlled: Verdict | None
    runs: int
    seconds: float

    @property
    def outcome(self) -> str:
        """The verdict in words, of the full-scale runs or of the exact part, or that it is open."""
        if self.full is not None and self.full.verdict("full"):
            return str(self.full.verdict("full"))
        if self.claim.exact is not None and self.claim.kind == "exact":
            return self.claim.exact["verdict"]
        return "not yet run at full scale" if self.claim.comparisons else "not yet tested"


def read_stored(chapters: Path = CHAPTERS) -> Stored:
    """Read what the stored outputs of the chapters say.

    Parameters
    ----------
    chapters : pathlib.Path
        Folder of the notebooks.

    Returns
    -------
    Stored
        Experiments and quick verdicts of all of them.
    """
    experiments, quick = {}, {}
    for path in sorted(chapters.glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", ()):
                metadata = output.get("metadata", {})
                if "recorded" in metadata:
                    experiments[metadata["recorded"]["experiment"]] = metadata["recorded"]
                if "settled" in metadata:
                    quick[metadata["settled"]["claim"]] = metadata["settled"]["quick"]
    return Stored(experiments, quick)


def entries(chapters: Path = CHAPTERS, results: Path = RESULTS) -> list[Entry]:
    """Put together what is known about every claim.

    Parameters
    ----------
    chapters, results : pathlib.Path
        Folders of the notebooks and of the recorded runs.

    Returns
    -------
    list of Entry
        One a claim, in the order of the ledger.
    """
    stored = read_stored(chapters)
    records = {
        name: _counting(RecordFile(results / f"{name}.jsonl"), wanted)
        for name, wanted in stored.experiments.items()
    }
    frames = [table(runs, name, "full") for name, runs in records.items() if runs]
    full = pd.concat(frames) if frames else pd.DataFrame()
    found = []
    for claim in load_ledger().values():
        names = {comparison.experiment for comparison in claim.comparisons}
        own = [record for name in names for record in records.get(name, ())]
        found.append(
            Entry(
                claim=claim,
                quick=stored.quick.get(claim.id),
                full=settle(claim.id, full=full) if claim.comparisons else None,
                controlled=None,
                runs=len(own),
                seconds=sum(record["seconds"] for record in own),
            )
        )
    return _control(found)


def _counting(file: RecordFile, wanted: dict) -> list[dict]:
    valid = {
        (arm, seed, tuple(sorted(parts.items())))
        for arm, parts in wanted["fingerprints"].items()
        for seed in wanted["seeds"]
    }
    return list({key(record): record for record in file.read()[0] if key(record) in valid}.values())


def _control(found: list[Entry]) -> list[Entry]:
    """Judge all comparisons of the ledger together, by Benjamini and Hochberg's procedure."""
    rows = [row for entry in found if entry.full for row in entry.full.rows]
    stands = dict(
        zip(
            map(id, rows),
            evidence.control_false_discoveries(
                [
                    evidence.p_value(estimate, comparison.margin, comparison.expect)
                    for comparison, _, estimate, _ in rows
                ]
            ),
            strict=True,
        )
    )
    return [
        replace(
            entry,
            controlled=claims.join(
                verdict if stands[id(row)] else Verdict.UNDECIDED
                for row in entry.full.rows
                for verdict in row[3:]
            ),
        )
        if entry.full and entry.full.verdict("full")
        else entry
        for entry in found
    ]


def to_frame(found: list[Entry]) -> pd.DataFrame:
    """Turn the ledger into a table, for a download.

    Parameters
    ----------
    found : list of Entry
        From `entries`.

    Returns
    -------
    pandas.DataFrame
        One row a claim.
    """
    return pd.DataFrame(
        [
            {
                "claim": entry.claim.id,
                "section": entry.claim.section,
                "source": " ".join(entry.claim.source),
                "chapter": entry.claim.chapter,
                "kind": entry.claim.kind,
                "statement": entry.claim.statement,
                "verdict": entry.outcome,
                "controlled": str(entry.controlled or ""),
                "quick": entry.quick or "",
                "runs": entry.runs,
                "seconds": round(entry.seconds),
            }
            for entry in found
        ]
    )


def summary(found: list[Entry]) -> pd.DataFrame:
    """Count the claims by section and outcome.

    Parameters
    ----------
    found : list of Entry
        From `entries`.

    Returns
    -------
    pandas.DataFrame
        A row a section and one for all, a column an outcome that occurs, and the total.
    """
    outcomes = [str(verdict) for verdict in Verdict]
    outcomes += ["not yet run at full scale", "not yet tested"]
    counts = Counter((entry.claim.section, entry.outcome) for entry in found)
    sections = list(dict.fromkeys(entry.claim.section for entry in found))
    rows = [[counts[section, outcome] for outcome in outcomes] for section in sections]
    counted = pd.DataFrame(rows, index=sections, columns=outcomes)
    counted = counted.loc[:, counted.any()]
    counted.loc["all"] = counted.sum()
    counted["claims"] = counted.sum(axis=1)
    return counted


def section_html(found: list[Entry], section: str, pages: set[str]) -> str:
    """Write one section of the ledger.

    Parameters
    ----------
    found : list of Entry
        From `entries`.
    section : str
        Its heading.
    pages : set of str
        Chapters that exist; only these are linked.

    Returns
    -------
    str
        A table with one row a claim. Each row has the claim's id as its anchor.
    """
    rows = "".join(
        _row_html(entry, entry.claim.chapter in pages)
        for entry in found
        if entry.claim.section == section
    )
    head = "<th>claim</th><th>evidence on full MNIST</th><th>verdict</th>"
    return (
        f'<div class="ledger-box"><table class="ledger"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row_html(entry: Entry, linked: bool) -> str:
    claim = entry.claim
    chapter = f'<a href="{claim.chapter}.html">{claim.chapter}</a>' if linked else claim.chapter
    about = f"{claim.kind} · said by {', '.join(claim.source)} · {chapter}"
    return (
        f'<tr id="{claim.id}"><td><code>{claim.id}</code><p>{html.escape(claim.statement)}</p>'
        f'<p class="about">{about}</p></td><td>{_evidence_html(entry)}</td>'
        f"<td>{_verdict_cell(entry)}</td></tr>"
    )


def _evidence_html(entry: Entry) -> str:
    claim, parts = entry.claim, []
    if claim.exact is not None:
        parts.append(f"<p>{html.escape(claim.exact['note'])}</p>")
    for comparison, _, estimate, _ in entry.full.rows if entry.full else ():
        parts.append(
            f"<p>{html.escape(comparison.says)}: {comparison.write_interval(estimate)}; margin "
            f"{comparison.write(comparison.margin)}</p>{interval_svg(comparison, estimate)}"
        )
    if entry.runs:
        parts.append(f'<p class="about">{entry.runs} runs, {_duration(entry.seconds)}</p>')
    return "".join(parts) or f"<p>{html.escape(claim.settled_by)}</p>"


def _verdict_cell(entry: Entry) -> str:
    parts = []
    if entry.claim.exact is not None:
        verdict = Verdict(entry.claim.exact["verdict"])
        parts.append(f"{verdict_html(verdict)}<p class='about'>by arithmetic</p>")
    if entry.claim.comparisons:
        joint = entry.full.verdict("full")
        parts.append(verdict_html(joint))
        if joint is not None and entry.controlled is not joint:
            parts.append("<p class='about'>undecided with false discoveries controlled</p>")
        if entry.quick:
            parts.append(f"<p class='about'>quick run: {html.escape(entry.quick)}</p>")
    return "".join(parts) or '<span class="verdict verdict-open">not yet tested</span>'


def interval_svg(comparison: Comparison, estimate: Estimate) -> str:
    """Draw an interval against its margin, small enough to stand in a table.

    Parameters
    ----------
    comparison : Comparison
        Says the margin and the unit.
    estimate : Estimate
        The difference.

    Returns
    -------
    str
        An SVG element in the colour of the text around it: a band from -margin to +margin, a line
        at zero, the interval, and a point at the estimate.
    """
    low, high = estimate.interval()
    reach = 1.1 * max(abs(low), abs(high), 2 * comparison.margin)

    def x(value: float) -> str:
        return f"{100 + 95 * value / reach:.1f}"

    wide = 190 * comparison.margin / reach
    return (
        f'<svg class="interval" role="img" viewBox="0 0 200 18" aria-label="'
        f'{html.escape(comparison.says)}: {comparison.write_interval(estimate)}">'
        f'<rect x="{x(-comparison.margin)}" y="0" width="{wide:.1f}" height="18" class="margin"/>'
        f'<line x1="100" x2="100" y1="0" y2="18" class="zero"/>'
        f'<line x1="{x(low)}" x2="{x(high)}" y1="9" y2="9" class="reach"/>'
        f'<circle cx="{x(estimate.value)}" cy="9" r="4"/></svg>'
    )


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{max(1, round(seconds / 60))} minutes"
