"""The ledger as a page: every claim with its evidence, from the stored chapters and the records.

A chapter's stored outputs say what a recorded run has to match to count, and how its quick run came
out. So this page trains nothing, and it cannot count a record that its chapter would not.
"""

import base64
import gzip
import html
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from utils.evidence import claims
from utils.evidence import statistics as evidence
from utils.evidence.claims import Claim, Comparison, Settlement, load_ledger, settle, verdict_html
from utils.evidence.records import RecordFile, key
from utils.evidence.statistics import Estimate, Verdict
from utils.evidence.stored import stored_metadata
from utils.evidence.table import table
from utils.paths import CHAPTERS, RESULTS

# Under its sign, in the head of a narrow column.
_SHORT = {
    Verdict.SUPPORTED: "supported",
    Verdict.REFUTED: "refuted",
    Verdict.NO_DIFFERENCE: "no difference",
    Verdict.UNDECIDED: "undecided",
}

_ORDERS = {
    "book": "order of the book",
    "chapter": "chapter",
    "source": "source",
    "verdict": "verdict",
    "effect": "difference, in margins",
    "runs": "number of runs",
    "seconds": "training time",
}

# Rows come below the script, so they are looked up when a reader first chooses something. Sorted
# rows move to a table of their own, and come home to their sections in the order of the book.
_SCRIPT = """<script>
document.querySelectorAll(".ledger-controls").forEach((bar) => {
  const sorted = bar.parentElement.querySelector(".ledger-sorted");
  const filters = [...bar.querySelectorAll("select[data-filter]")];
  const order = bar.querySelector("select[data-order]"), count = bar.querySelector("output");
  let rows;
  const home = () => {
    rows ??= [...document.querySelectorAll(".ledger-box:not(.ledger-sorted) tbody tr")].map(
      (row) => ({ row, home: row.parentElement }));
  };
  const fits = ({ dataset }) => filters.every(
    ({ value, dataset: { filter } }) => !value || dataset[filter].split("|").includes(value));
  const show = () => {
    home();
    const by = order.value, numbers = ["effect", "runs", "seconds"].includes(by);
    const compare = ({ row: a }, { row: b }) => numbers
      ? b.dataset[by] - a.dataset[by] : a.dataset[by].localeCompare(b.dataset[by]);
    rows.forEach(({ row }) => { row.hidden = !fits(row); });
    if (by === "book") rows.forEach(({ row, home }) => home.append(row));
    else sorted.querySelector("tbody").append(...[...rows].sort(compare).map(({ row }) => row));
    sorted.hidden = by === "book";
    document.querySelectorAll(".ledger-box:not(.ledger-sorted)").forEach((box) => {
      (box.closest("section") ?? box).hidden = !box.querySelector("tbody tr:not([hidden])");
    });
    const shown = rows.filter(({ row }) => !row.hidden).length;
    count.textContent = `${shown} of ${rows.length} claims`;
  };
  bar.querySelectorAll("select").forEach((each) => {
    each.disabled = false;
    each.onchange = show;
  });
  // A link to a claim leads nowhere as long as a filter hides it.
  window.addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target?.closest("[hidden]")) return;
    filters.forEach((each) => { each.value = ""; });
    order.value = "book";
    show();
    location.replace(location.hash);
  });
});
</script>"""


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
        for metadata in stored_metadata(path):
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
    tables = {name: table(runs, name, "full") for name, runs in records.items() if runs}
    found = []
    for claim in load_ledger().values():
        names = {comparison.experiment for comparison in claim.comparisons}
        own = [record for name in names for record in records.get(name, ())]
        full = pd.concat([tables[name] for name in names & set(tables)]) if own else None
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
    rows = [row for entry in found for row in _full(entry)]
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


def summary_html(found: list[Entry]) -> str:
    """Write the counts of `summary` as a sentence and a table that fits a phone.

    Parameters
    ----------
    found : list of Entry
        From `entries`.

    Returns
    -------
    str
        A paragraph and a table.
    """
    counted = summary(found)
    everything = counted.loc["all"].drop("claims")
    parts = [f"<strong>{count}</strong> {name}" for name, count in everything.items()]
    names = {str(verdict): (claims.SIGNS[verdict], _SHORT[verdict]) for verdict in Verdict}
    head = "".join(
        "<th>{}<span>{}</span></th>".format(*names.get(column, ("○", column)))
        for column in counted.columns.drop("claims")
    )
    rows = "".join(
        f"<tr><th>{html.escape(section)}</th>"
        + "".join(f"<td>{count or '·'}</td>" for count in row)
        + "</tr>"
        for section, row in zip(counted.index, counted.to_numpy(), strict=True)
    )
    return (
        f"<p>Of {len(found)} claims: {', '.join(parts)}.</p>"
        f'<table class="ledger-summary"><thead><tr><th></th>{head}<th>all</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def runs_frame(chapters: Path = CHAPTERS, results: Path = RESULTS) -> pd.DataFrame:
    """Put all recorded runs that count into one tidy table.

    Parameters
    ----------
    chapters, results : pathlib.Path
        Folders of the notebooks and of the recorded runs.

    Returns
    -------
    pandas.DataFrame
        One row an experiment, arm, seed and epoch, as ``utils.experiment.run`` returns them.
    """
    frames = [
        table(_counting(RecordFile(results / f"{name}.jsonl"), wanted), name, "full")
        for name, wanted in read_stored(chapters).experiments.items()
    ]
    return pd.concat(frames, ignore_index=True)


def download_html(frame: pd.DataFrame, name: str, text: str) -> str:
    """Write a link that saves a table as a file, with no server and no network.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    name : str
        Of the file; ``.csv``, or ``.csv.gz`` to have it compressed.
    text : str
        What the link says.

    Returns
    -------
    str
        An ``<a>`` element that holds the whole file.
    """
    content = frame.to_csv(index=False).encode()
    kind = "text/csv;charset=utf-8"
    if name.endswith(".gz"):
        # Without the time of day in it, the same table gives the same page.
        content, kind = gzip.compress(content, mtime=0), "application/gzip"
    held = base64.b64encode(content).decode()
    name, text = html.escape(name), html.escape(text)
    return f'<a download="{name}" href="data:{kind};base64,{held}">{text}</a>'


def controls_html(found: list[Entry]) -> str:
    """Write the controls that filter and sort the sections below them.

    Parameters
    ----------
    found : list of Entry
        From `entries`.

    Returns
    -------
    str
        A bar of choices, an empty table for sorted rows, and the script that moves them: it needs
        no kernel and no network. Without JavaScript the choices stay disabled, and every claim is
        shown in its section.
    """
    values = {
        "chapter": dict.fromkeys(entry.claim.chapter for entry in found),
        "source": sorted({source for entry in found for source in entry.claim.source}),
        "verdict": dict.fromkeys(
            outcome
            for outcome in [*map(str, Verdict), *(entry.outcome for entry in found)]
            if outcome in {entry.outcome for entry in found}
        ),
    }
    filters = "".join(
        f'<label>{name} <select data-filter="{name}" autocomplete="off" disabled>'
        f"{_options({'': 'all', **{each: each for each in choices}})}</select></label>"
        for name, choices in values.items()
    )
    orders = _options(_ORDERS)
    return (
        f'<div><div class="ledger-controls">{filters}<label>sorted by '
        f'<select data-order autocomplete="off" disabled>{orders}</select></label>'
        f'<output aria-live="polite">{len(found)} of {len(found)} claims</output></div>'
        f'<div class="ledger-box ledger-sorted" hidden>{_table("")}</div></div>{_SCRIPT}'
    )


def _options(choices: dict) -> str:
    return "".join(
        f'<option value="{html.escape(value)}">{html.escape(text)}</option>'
        for value, text in choices.items()
    )


def _table(rows: str) -> str:
    head = "<th>claim</th><th>evidence on full MNIST</th><th>verdict</th>"
    return f'<table class="ledger"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


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
    return f'<div class="ledger-box">{_table(rows)}</div>'


def _row_html(entry: Entry, linked: bool) -> str:
    claim = entry.claim
    chapter = f'<a href="{claim.chapter}.html">{claim.chapter}</a>' if linked else claim.chapter
    about = f"{claim.kind} · said by {', '.join(claim.source)} · {chapter}"
    effect = max(
        (abs(estimate.value) / comparison.margin for comparison, _, estimate, _ in _full(entry)),
        default=-1,
    )
    sortable = {
        "chapter": claim.chapter,
        "source": "|".join(claim.source),
        "verdict": entry.outcome,
        "effect": f"{effect:.3f}",
        "runs": entry.runs,
        "seconds": round(entry.seconds),
    }
    data = "".join(f' data-{name}="{html.escape(str(it))}"' for name, it in sortable.items())
    said = html.escape(claim.statement)
    return (
        f'<tr id="{claim.id}"{data}><td><code>{claim.id}</code><p>{said}</p>'
        f'<p class="about">{about}</p></td><td>{_evidence_html(entry)}</td>'
        f"<td>{_verdict_cell(entry)}</td></tr>"
    )


def _full(entry: Entry) -> tuple:
    """Return the comparisons that are recorded at full scale."""
    return entry.full.rows if entry.full else ()


def _evidence_html(entry: Entry) -> str:
    claim, parts = entry.claim, []
    if claim.exact is not None:
        parts.append(f"<p>{html.escape(claim.exact['note'])}</p>")
    for comparison, _, estimate, _ in _full(entry):
        parts.append(
            f"<p>{html.escape(comparison.says)}: {comparison.write_interval(estimate)} "
            f"<span class='about'>(claimed: {comparison.expect}; margin "
            f"{comparison.write(comparison.margin)})</span></p>{interval_svg(comparison, estimate)}"
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
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}"
