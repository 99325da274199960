"""The ledger as a page: every claim with its evidence, from the stored chapters and the records.

A chapter's stored outputs say what a recorded run has to match to count, and how its quick run came
out. So this page trains nothing, and it cannot count a record that its chapter would not. How it
looks stands in ``ledger.html``; what moves in it, in ``ledger.js``.
"""

import base64
import functools
import gzip
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import pandas as pd

from utils.evidence import claims, statistics
from utils.evidence.claims import Claim, Comparison, Settlement, load_ledger, settle, verdict_html
from utils.evidence.records import RecordFile
from utils.evidence.statistics import Estimate, Verdict
from utils.evidence.stored import Page
from utils.evidence.table import table
from utils.paths import CHAPTERS, RESULTS

_HERE = Path(__file__).parent

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
        if self.joint:
            return str(self.joint)
        if self.claim.exact is not None and self.claim.kind == "exact":
            return self.claim.exact["verdict"]
        return "not yet run at full scale" if self.claim.comparisons else "not yet tested"

    @property
    def rows(self) -> tuple:
        """The comparisons that are recorded at full scale, as in `Settlement`."""
        return self.full.rows if self.full else ()

    @property
    def joint(self) -> Verdict | None:
        """The verdict at full scale, None where a comparison is not recorded."""
        return self.full.verdict("full") if self.full else None

    @property
    def effect(self) -> float:
        """The largest difference in margins; -1 where none is recorded."""
        return max((abs(found.value) / by.margin for by, _, found, _ in self.rows), default=-1)


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

    Raises
    ------
    FileNotFoundError
        When `chapters` holds no notebook.
    """
    pages = _pages(chapters)
    quick = {claim: words for page in pages for claim, words in page.quick.items()}
    records = _counting(pages, results)
    tables = {name: table(runs, name, "full") for name, runs in records.items() if runs}
    listed = []
    for claim in load_ledger().values():
        names = {comparison.experiment for comparison in claim.comparisons}
        own = [record for name in names for record in records.get(name, ())]
        full = pd.concat([tables[name] for name in names & set(tables)]) if own else None
        listed.append(
            Entry(
                claim=claim,
                quick=quick.get(claim.id),
                full=settle(claim.id, full=full) if claim.comparisons else None,
                controlled=None,
                runs=len(own),
                seconds=sum(record["seconds"] for record in own),
            )
        )
    return _control(listed)


def _pages(chapters: Path) -> list[Page]:
    """Read the stored notebooks; without one, no record would count, and that is no answer."""
    paths = sorted(Path(chapters).glob("*.ipynb"))
    if not paths:
        raise FileNotFoundError(
            f"chapters={str(chapters)!r} holds no notebook; allowed is the folder `chapters` of a "
            "checkout of the course"
        )
    return [Page.read(path) for path in paths]


def _counting(pages: list[Page], results: Path) -> dict[str, list[dict]]:
    """Read the records that count, by the name of their experiment."""
    return {
        name: list(required.counting(RecordFile(results / f"{name}.jsonl").read()[0]).values())
        for page in pages
        for name, required in page.requirements.items()
    }


def _control(listed: list[Entry]) -> list[Entry]:
    """Judge all comparisons of the ledger together, by Benjamini and Hochberg's procedure."""
    stands = iter(
        statistics.control_false_discoveries(
            [
                statistics.p_value(estimate, comparison.margin, comparison.expect)
                for entry in listed
                for comparison, _, estimate, _ in entry.rows
            ]
        )
    )
    controlled = []
    for entry in listed:
        verdicts = [row[3] if next(stands) else Verdict.UNDECIDED for row in entry.rows]
        joint = claims.join(verdicts) if entry.joint else None
        controlled.append(replace(entry, controlled=joint))
    return controlled


def to_frame(listed: list[Entry]) -> pd.DataFrame:
    """Turn the ledger into a table, for a download.

    Parameters
    ----------
    listed : list of Entry
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
            for entry in listed
        ]
    )


def summary(listed: list[Entry]) -> pd.DataFrame:
    """Count the claims by section and outcome.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    pandas.DataFrame
        A row a section and one for all, a column an outcome that occurs, and the total.
    """
    outcomes = [str(verdict) for verdict in Verdict]
    outcomes += ["not yet run at full scale", "not yet tested"]
    counts = Counter((entry.claim.section, entry.outcome) for entry in listed)
    sections = list(dict.fromkeys(entry.claim.section for entry in listed))
    rows = [[counts[section, outcome] for outcome in outcomes] for section in sections]
    counted = pd.DataFrame(rows, index=sections, columns=outcomes)
    counted = counted.loc[:, counted.any()]
    counted.loc["all"] = counted.sum()
    counted["claims"] = counted.sum(axis=1)
    return counted


def summary_html(listed: list[Entry]) -> str:
    """Write the counts of `summary` as a sentence and a table that fits a phone.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    str
        A paragraph and a table.
    """
    counted = summary(listed)
    heads = {str(verdict): (claims.SIGNS[verdict], _SHORT[verdict]) for verdict in Verdict}
    outcomes = counted.columns.drop("claims")
    return _html(
        "summary",
        total=len(listed),
        counts=dict(counted.loc["all", outcomes]),
        heads=[heads.get(outcome, ("○", outcome)) for outcome in outcomes],
        rows=dict(zip(counted.index, counted.to_numpy().tolist(), strict=True)),
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
        One row for each experiment, arm, seed and epoch, as in a result's `recorded`.

    Raises
    ------
    FileNotFoundError
        When `chapters` holds no notebook.
    """
    records = _counting(_pages(chapters), results)
    frames = [table(runs, name, "full") for name, runs in records.items()]
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
    content = frame.to_csv(index=False).encode("utf-8")
    kind = "text/csv;charset=utf-8"
    if name.endswith(".gz"):
        # Without the time of day in it, the same table gives the same page.
        content, kind = gzip.compress(content, mtime=0), "application/gzip"
    packed = base64.b64encode(content).decode("ascii")
    return _html("download", name=name, text=text, kind=kind, packed=packed)


def controls_html(listed: list[Entry]) -> str:
    """Write the controls that filter and sort the sections below them.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    str
        A bar of choices, an empty table for sorted rows, and the script that moves them: it needs
        no kernel and no network. Without JavaScript the choices stay disabled, and every claim is
        shown in its section.
    """
    outcomes = {entry.outcome for entry in listed}
    verdicts = [outcome for outcome in map(str, Verdict) if outcome in outcomes]
    filters = {
        "chapter": dict.fromkeys(entry.claim.chapter for entry in listed),
        "source": sorted({source for entry in listed for source in entry.claim.source}),
        "verdict": dict.fromkeys([*verdicts, *(entry.outcome for entry in listed)]),
    }
    script = (_HERE / "ledger.js").read_text(encoding="utf-8")
    return _html("controls", total=len(listed), filters=filters, orders=_ORDERS, script=script)


def section_html(listed: list[Entry], section: str, pages: set[str]) -> str:
    """Write one section of the ledger.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.
    section : str
        Its heading.
    pages : set of str
        Chapters that exist; only these are linked.

    Returns
    -------
    str
        A table with one row for each claim. Each row has the claim's id as its anchor.
    """
    entries = [entry for entry in listed if entry.claim.section == section]
    return _html("section", entries=entries, pages=pages)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "badge": lambda verdict: verdict_html(verdict and Verdict(verdict)),
        "duration": _duration,
        "interval": _interval,
    }
    return environment.get_template("ledger.html")


def _html(part: str, **values) -> str:
    """Fill in one macro of the template; everything is escaped but what is marked as HTML."""
    return str(getattr(_template().module, part)(**values))


def _interval(estimate: Estimate, comparison: Comparison) -> dict[str, float]:
    """Say where an interval and its margin are in a drawing that is 200 wide, with zero at 100."""
    low, high = estimate.interval()
    reach = 1.1 * max(abs(low), abs(high), 2 * comparison.margin)
    values = {"low": low, "high": high, "value": estimate.value, "margin": -comparison.margin}
    return {name: 100 + 95 * value / reach for name, value in values.items()}


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}"
