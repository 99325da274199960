"""The ledger as a page: every claim with its evidence, from the stored chapters and the records.

A chapter's stored outputs tell what a recorded run has to match to count, and how its quick run
came out. This page therefore trains nothing, and cannot count a record that its chapter would not.
Its layout is in ``ledger.html``, its behaviour in ``ledger.js``.
"""

import base64
import functools
import gzip
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import jinja2
import pandas as pd

from utils.checked import checked
from utils.evidence import claims, forest, stages, statistics
from utils.evidence.claims import (
    Claim,
    Comparison,
    Exact,
    Row,
    Settlement,
    load_ledger,
    settle,
    verdict_html,
)
from utils.evidence.records import RecordFile
from utils.evidence.statistics import Verdict
from utils.evidence.stored import Page
from utils.evidence.table import LEADING, describe_runs
from utils.paths import CHAPTERS, RESULTS

_HERE = Path(__file__).parent

OPEN = "not yet run"

# Under its sign, in the head of a narrow column.
_SHORT = {Verdict.IN_PART: "in part", Verdict.SMALLER: "smaller"}

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
class Line:
    """One part of a claim, or one further comparison, with what is known about it.

    Attributes
    ----------
    role : {"part", "old", "further"}
        Which list of the claim it is from.
    part : Comparison or Exact
        What is compared, or settled without training.
    row : Row or None
        How it came out; None where it has not run.
    ran : str
        The runs behind it, in words.
    """

    role: str
    part: Comparison | Exact
    row: Row | None
    ran: str

    @property
    def outcome(self) -> str:
        """How it came out, or that it is open, in words."""
        return str(self.row.outcome) if self.row else OPEN


@dataclass(frozen=True)
class Entry:
    """One claim with all that is known about it.

    Attributes
    ----------
    claim : Claim
        The claim.
    settled : Settlement
        Its comparisons at full scale, as far as they are recorded.
    quick : str or None
        Verdict of the stored quick run, in words.
    ran : dict of Comparison to str
        What ran for each comparison, in words.
    runs : int
        Recorded runs of the arms that it compares.
    seconds : float
        Time that these took.
    p_value : float or None
        P-value of its verdict; None if it has none or is not a test.
    stands : bool or None
        Whether the verdict survives the control of false discoveries over all claims; None if there
        is no decision that could fail to.
    """

    claim: Claim
    settled: Settlement
    quick: str | None = None
    ran: dict[Comparison, str] = field(default_factory=dict)
    runs: int = 0
    seconds: float = 0.0
    p_value: float | None = None
    stands: bool | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The verdict at full scale; None where a part has not run."""
        return self.settled.verdict("full")

    @property
    def outcome(self) -> str:
        """The verdict in words, or that it is open."""
        return str(self.verdict or OPEN)

    @property
    def count(self) -> str:
        """How many parts are supported, where the verdict leaves that open."""
        if self.verdict not in (Verdict.IN_PART, Verdict.UNDECIDED) or len(self.judged) == 1:
            return ""
        supported = [row for row in self.settled.parts if row.outcome is Verdict.SUPPORTED]
        return f"{len(supported)} of {len(self.judged)} parts"

    @property
    def lines(self) -> list[Line]:
        """Its parts, then what stands in for them, then the further comparisons."""
        known = {row.part: row for row in self.settled.rows}
        listed = []
        for role, parts in (
            ("part", self.claim.parts),
            ("old", self.claim.old),
            ("further", self.claim.further),
        ):
            for part in parts:
                exact = isinstance(part, Exact)
                row = Row(part, "full", None, part.exact) if exact else known.get(part)
                listed.append(Line(role, part, row, self.ran.get(part, "")))
        return listed

    @property
    def judged(self) -> list[Line]:
        """The lines that decide the verdict."""
        lines = {line.part: line for line in self.lines if line.role != "further"}
        return [lines[part] for part in self.claim.judged]

    @property
    def effect(self) -> float:
        """The largest difference of its parts, in margins; -1 where none is recorded."""
        measured = (row for row in self.settled.parts if row.estimate)
        return max((abs(row.estimate.value) / row.part.margin for row in measured), default=-1)


@checked
def entries(chapters: Path = CHAPTERS, results: Path = RESULTS) -> list[Entry]:
    """Collect what is known about every claim.

    Parameters
    ----------
    chapters, results : pathlib.Path
        Folders of the notebooks and of the recorded runs.

    Returns
    -------
    list of Entry
        One for each claim, in the order of the ledger.

    Raises
    ------
    FileNotFoundError
        When `chapters` holds no notebook.
    """
    pages = _pages(chapters)
    quick = {claim: words for page in pages for claim, words in page.quick.items()}
    recorded = _recorded(pages, results)
    listed = [_entry(claim, quick.get(claim.id), recorded) for claim in load_ledger().values()]
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


def _recorded(pages: list[Page], results: Path) -> dict[str, tuple[list[dict], pd.DataFrame]]:
    """Read the records that count, and their table, for each experiment that has any."""
    found = {}
    for page in pages:
        for name, required in page.requirements.items():
            written = RecordFile(Path(results) / f"{name}.jsonl").read()[0]
            records = list(required.counting(written).values())
            if records:
                found[name] = records, stages.frame(required, records)
    return found


def _entry(claim: Claim, quick: str | None, recorded: dict) -> Entry:
    arms = {(part.experiment, arm) for part in claim.comparisons for arm in part.arms}
    names = [name for name in dict.fromkeys(name for name, _ in arms) if name in recorded]
    own = [
        record for name in names for record in recorded[name][0] if (name, record["arm"]) in arms
    ]
    frames = [recorded[name][1] for name in names]
    full = pd.concat(frames) if frames else None
    settled = settle(claim.id, full=full)
    return Entry(
        claim=claim,
        settled=settled,
        quick=quick,
        ran={row.part: _ran(row, full) for row in settled.rows},
        runs=len(own),
        seconds=sum(record["seconds"] for record in own),
        p_value=settled.p_value,
    )


def _ran(row: Row, full: pd.DataFrame) -> str:
    """Describe the runs that one comparison rests on."""
    arms = set(row.part.arms)
    runs = full[(full["experiment"] == row.part.experiment) & full["arm"].isin(arms)]
    # An arm may have run on more seeds for the sake of another comparison; pairs need both.
    arms_of_seed = runs.groupby("seed")["arm"].nunique()
    shared = arms_of_seed.index[arms_of_seed == len(arms)]
    paired = len(shared) == row.estimate.runs
    return describe_runs(runs[runs["seed"].isin(shared)] if paired else runs)


def _control(listed: list[Entry]) -> list[Entry]:
    """Control false discoveries over all claims that are tests and have a verdict."""
    tests = [entry for entry in listed if entry.p_value is not None]
    outcomes = statistics.control_false_discoveries([entry.p_value for entry in tests])
    stands = {
        entry.claim.id: bool(outcome)
        for entry, outcome in zip(tests, outcomes, strict=True)
        if entry.verdict is not Verdict.UNDECIDED
    }
    return [replace(entry, stands=stands.get(entry.claim.id)) for entry in listed]


@checked
def summary(listed: list[Entry]) -> pd.DataFrame:
    """Count the claims by section and outcome.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    pandas.DataFrame
        A row for each section and one for all, a column for each outcome that occurs, and the
        total.
    """
    outcomes = [*map(str, Verdict), OPEN]
    counts = Counter((entry.claim.section, entry.outcome) for entry in listed)
    sections = list(dict.fromkeys(entry.claim.section for entry in listed))
    rows = [[counts[section, outcome] for outcome in outcomes] for section in sections]
    counted = pd.DataFrame(rows, index=sections, columns=outcomes)
    counted = counted.loc[:, counted.any()]
    counted.loc["all"] = counted.sum()
    counted["claims"] = counted.sum(axis=1)
    return counted


@checked
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
    heads = {str(each): (claims.SIGNS[each], _SHORT.get(each, each)) for each in Verdict}
    outcomes = counted.columns.drop("claims")
    return _html(
        "summary",
        total=len(listed),
        counts=dict(counted.loc["all", outcomes]),
        heads=[heads.get(outcome, ("○", outcome)) for outcome in outcomes],
        rows=dict(zip(counted.index, counted.to_numpy().tolist(), strict=True)),
    )


@checked
def control_html(listed: list[Entry]) -> str:
    """Name the verdicts that do not survive the control of false discoveries.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    str
        A paragraph.
    """
    return _html(
        "control",
        tests=sum(entry.p_value is not None for entry in listed),
        fallen=[entry.claim.id for entry in listed if entry.stands is False],
    )


@checked
def runs_frame(chapters: Path = CHAPTERS, results: Path = RESULTS) -> pd.DataFrame:
    """Put all recorded runs that count into one tidy table.

    Parameters
    ----------
    chapters, results : pathlib.Path
        Folders of the notebooks and of the recorded runs.

    Returns
    -------
    pandas.DataFrame
        One row for each experiment, arm, seed and epoch, as in `Recorded.frame`.

    Raises
    ------
    FileNotFoundError
        When `chapters` holds no notebook.
    """
    frames = [frame for _, frame in _recorded(_pages(chapters), results).values()]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=LEADING)


@checked
def download_html(content: pd.DataFrame | str, name: str, text: str) -> str:
    """Write a link that saves a table, or a text, as a file, with no server and no network.

    Parameters
    ----------
    content : pandas.DataFrame or str
        What to save; a table is written as CSV, with seven significant digits.
    name : str
        Name of the file, ending in ``.csv`` or ``.json``, and also in ``.gz`` to have it
        compressed.
    text : str
        Text of the link.

    Returns
    -------
    str
        An ``<a>`` element that holds the whole file.
    """
    kind = "application/json" if isinstance(content, str) else "text/csv;charset=utf-8"
    # As many digits as a float32 holds, which is what Keras measures in; more only swell the page.
    written = (
        content if isinstance(content, str) else content.to_csv(index=False, float_format="%.7g")
    )
    packed = written.encode("utf-8")
    if name.endswith(".gz"):
        # Without the time of day in it, the same table gives the same page.
        packed, kind = gzip.compress(packed, mtime=0), "application/gzip"
    coded = base64.b64encode(packed).decode("ascii")
    return _html("download", name=name, text=text, kind=kind, packed=coded)


@checked
def controls_html(listed: list[Entry]) -> str:
    """Write the controls that filter and sort the sections below them.

    Parameters
    ----------
    listed : list of Entry
        From `entries`.

    Returns
    -------
    str
        A bar of choices, an empty list for sorted rows, and the script that moves them: it needs
        no kernel and no network. Without JavaScript the choices stay disabled, and every claim is
        shown in its section.
    """
    outcomes = {entry.outcome for entry in listed}
    filters = {
        "chapter": dict.fromkeys(entry.claim.chapter for entry in listed),
        "source": sorted({source for entry in listed for source in entry.claim.source}),
        "verdict": [outcome for outcome in (*map(str, Verdict), OPEN) if outcome in outcomes],
    }
    return _html("controls", total=len(listed), filters=filters, orders=_ORDERS, script=script())


def script() -> str:
    """Return the text between the script tags of `controls_html`."""
    return "\n" + (_HERE / "ledger.js").read_text(encoding="utf-8")


def key_html() -> str:
    """Write the key to the drawings of the ledger."""
    return _html("key", signs={str(each): claims.SIGNS[each] for each in Verdict})


@checked
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
        A list with one row for each claim. Each row has the claim's id as its anchor.
    """
    entries = [entry for entry in listed if entry.claim.section == section]
    return _html("section", entries=entries, pages=pages)


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "at": "{:.1f}".format,
        "badge": verdict_html,
        "duration": _duration,
        "forest": forest.draw,
        "maker": lambda source: "ours" if source == claims.OWN else source,
        "p_value": lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.3f}",
    }
    environment.globals |= {"CLAIMED": forest.CLAIMED, "OPEN": OPEN}
    return environment.get_template(name)


def fill(template: str, part: str, **values) -> str:
    """Fill in one macro of a template of this folder.

    Parameters
    ----------
    template : str
        Name of its file.
    part : str
        Name of the macro.
    **values
        Its arguments.

    Returns
    -------
    str
        HTML. Everything is escaped except what the template marks as HTML.
    """
    return str(getattr(_template(template).module, part)(**values))


_html = functools.partial(fill, "ledger.html")


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} hours"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' * (minutes > 1)}"
