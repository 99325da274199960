"""The geometry of a small forest plot: the parts of one claim, in units of their margins."""

from dataclasses import dataclass

from utils.checked import checked
from utils.evidence.claims import SIGNS, Exact
from utils.evidence.statistics import Verdict

# What a part expects, as a sign before its interval.
CLAIMED = {"increase": "↑", "decrease": "↓", "no difference": "=", "at least as good": "≥"}

# The plot shows this many margins on either side of zero; what lies beyond gets an arrow.
REACH = 4

# Where zero is, how long a margin is, and how high a line.
_ZERO, _MARGIN, _PITCH = 104.0, 22.0, 14

# An interval that lies wholly beyond the plot is drawn as long as this many margins.
_STUB = 0.4


@dataclass(frozen=True)
class Mark:
    """One line of the plot; lengths are in the units of its view box.

    Attributes
    ----------
    y : float
        Its vertical centre.
    claimed, sign : str
        What is claimed, and the outcome, each as a sign; empty where there is none.
    kind : {"measured", "exact", "open"}
        What is drawn: an interval, a label, or that it has not run.
    low, high : float
        Ends of the interval.
    value : float or None
        Position of the point; None if it lies beyond the plot.
    decided : bool
        Whether the part is decided.
    clipped_low, clipped_high : bool
        Whether the interval goes on beyond the plot.
    beyond : str
        The estimate in margins, if it lies beyond the plot and the interval leaves room.
    """

    y: float
    claimed: str
    sign: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    value: float | None = None
    decided: bool = False
    clipped_low: bool = False
    clipped_high: bool = False
    beyond: str = ""


@dataclass(frozen=True)
class Forest:
    """A forest plot: its marks, its height, and what it shows in words."""

    marks: tuple[Mark, ...]
    height: int
    label: str


@checked
def draw(lines: list) -> Forest | None:
    """Lay out the forest plot of one claim.

    Parameters
    ----------
    lines : list of utils.evidence.ledger.Line
        Those that decide about its verdict.

    Returns
    -------
    Forest or None
        None where none of them has run.
    """
    if not any(line.row for line in lines):
        return None
    marks = tuple(_mark(line, _PITCH * (number + 0.5)) for number, line in enumerate(lines))
    return Forest(marks, _PITCH * len(lines), "; ".join(map(_in_words, lines)))


def _mark(line, y: float) -> Mark:
    if isinstance(line.part, Exact):
        return Mark(y, "", SIGNS[line.part.exact], "exact")
    claimed = CLAIMED[line.part.expect]
    if line.row is None:
        return Mark(y, claimed, "", "open")
    estimate, outcome = line.row.estimate, line.row.outcome
    low, high, value = (
        number / line.part.margin for number in (*estimate.interval(), estimate.value)
    )
    inside = abs(value) <= REACH
    room = REACH + low if value > 0 else REACH - high
    return Mark(
        y,
        claimed,
        SIGNS[outcome],
        "measured",
        low=_ZERO + _MARGIN * (REACH - _STUB if low > REACH else max(low, -REACH)),
        high=_ZERO + _MARGIN * (_STUB - REACH if high < -REACH else min(high, REACH)),
        value=_ZERO + _MARGIN * value if inside else None,
        decided=outcome is not Verdict.UNDECIDED,
        clipped_low=low < -REACH,
        clipped_high=high > REACH,
        beyond="" if inside or room < 1 else f"{value:+.0f}".replace("-", "−"),
    )


def _in_words(line) -> str:
    part, row = line.part, line.row
    if isinstance(part, Exact):
        return f"{part.says}: exact, {part.exact}"
    if row is None:
        return f"{part.says}: not yet run"
    known = f" ({row.known})" if row.known else ""
    return f"{part.says}: {part.write_interval(row.estimate)}, {part.claimed}, {row.outcome}{known}"
