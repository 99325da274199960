"""All verdicts at a glance: one square for each claim, and one line for each claim.

The layout is in ``overview.html``; the details of a claim are on the ledger's page.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence

from utils.evidence import ledger
from utils.evidence.claims import SIGNS, verdict_class
from utils.evidence.ledger import OPEN, Entry
from utils.evidence.statistics import Verdict

_fill = functools.partial(ledger.fill, "overview.html")

# Of what has not been run yet.
_OPEN_SIGN = "○"


def counts(listed: Sequence[Entry]) -> dict[str, int]:
    """Count the claims by outcome.

    Parameters
    ----------
    listed : sequence of Entry
        From `utils.evidence.ledger.entries`.

    Returns
    -------
    dict of str to int
        Each outcome that occurs, in words, in the order of `Verdict`.
    """
    counted = Counter(entry.outcome for entry in listed)
    return {each: counted[each] for each in (*map(str, Verdict), OPEN) if counted[each]}


def squares_html(listed: Sequence[Entry], parts: Mapping[str, Sequence[str]]) -> str:
    """Draw one square for each claim, a link to it, in one row for each part of the book.

    Parameters
    ----------
    listed : sequence of Entry
        From `utils.evidence.ledger.entries`.
    parts : mapping of str to sequence of str
        Caption of each part of the book and the names of its chapters.

    Returns
    -------
    str
        A ``<nav>`` element. A square has the colour and the sign of its verdict, and names the
        verdict and the claim.

    Raises
    ------
    ValueError
        If a claim belongs to a chapter that is in no part.
    """
    known = {chapter for chapters in parts.values() for chapter in chapters}
    if strangers := {entry.claim.chapter for entry in listed} - known:
        raise ValueError(f"parts has no chapter {sorted(strangers)}; claims belong to them")
    rows = {
        caption: [entry for entry in listed if entry.claim.chapter in chapters]
        for caption, chapters in parts.items()
    }
    kinds = {
        str(verdict): (SIGNS.get(verdict, _OPEN_SIGN), verdict_class(verdict))
        for verdict in (*Verdict, None)
    }
    kinds[OPEN] = kinds.pop("None")
    return _fill("squares", total=len(listed), counts=counts(listed), rows=rows, kinds=kinds)


def lines_html(listed: Sequence[Entry], chapters: Mapping[str, str]) -> str:
    """Write one line for each claim, under the title of its chapter.

    Parameters
    ----------
    listed : sequence of Entry
        From `utils.evidence.ledger.entries`.
    chapters : mapping of str to str
        Name and title of each chapter, in the order of the book.

    Returns
    -------
    str
        A heading and a list for each chapter that settles a claim.
    """
    sections = [
        (name, title, [entry for entry in listed if entry.claim.chapter == name])
        for name, title in chapters.items()
    ]
    return _fill("lines", sections=[section for section in sections if section[2]])


def finding_html(entry: Entry, part: int) -> tuple[str, str]:
    """Write one number of the ledger in large type, and where it comes from.

    Parameters
    ----------
    entry : Entry
        A claim from `utils.evidence.ledger.entries`.
    part : int
        Which of its judged parts, from 1.

    Returns
    -------
    head, foot : str
        The number with its interval, and the verdict with links to the claim and its chapter.

    Raises
    ------
    ValueError
        When the claim has no such part, or the part has no number.
    """
    lines = entry.judged
    if not 1 <= part <= len(lines):
        raise ValueError(f"part={part}; {entry.claim.id} has 1 to {len(lines)}")
    line = lines[part - 1]
    if line.row is None or line.row.estimate is None:
        raise ValueError(f"part={part} of {entry.claim.id} has no number: {line.outcome}")
    number = line.part.write(line.row.estimate.value, sign=True)
    interval = line.part.write_interval(line.row.estimate)
    interval = interval[interval.index("[") + 1 : interval.index("]")].replace(", ", " to ")
    head = _fill("number", number=number, interval=interval, says=line.part.says)
    return head, _fill("source", entry=entry)
