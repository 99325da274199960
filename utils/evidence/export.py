"""The whole ledger as a table and as JSON, for a download."""

import json

import pandas as pd

from utils.checked import checked
from utils.evidence.claims import OWN, Comparison, Exact
from utils.evidence.ledger import Entry, Line


@checked
def to_frame(listed: list[Entry]) -> pd.DataFrame:
    """Turn the ledger into a table.

    Parameters
    ----------
    listed : list of Entry
        From `utils.evidence.ledger.entries`.

    Returns
    -------
    pandas.DataFrame
        One row for each part, old comparison and further comparison, with what is known about its
        claim. Differences and margins are in the metric's own unit.
    """
    rows = ({**_claim(entry), **_part(line)} for entry in listed for line in entry.lines)
    joined = [
        {
            name: "; ".join(value) if isinstance(value, list) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    # Several sentences, which would be repeated in each row of a claim.
    return pd.DataFrame(joined).drop(columns="settled_by", errors="ignore")


@checked
def to_json(listed: list[Entry]) -> str:
    """Write the ledger as JSON.

    Parameters
    ----------
    listed : list of Entry
        From `utils.evidence.ledger.entries`.

    Returns
    -------
    str
        A list of claims, each with a list of its parts, with the same fields as in `to_frame`.
    """
    told = [{**_claim(entry), "parts": [_part(line) for line in entry.lines]} for entry in listed]
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _claim(entry: Entry) -> dict:
    claim = entry.claim
    return {
        "claim": claim.id,
        "section": claim.section,
        "source": [] if claim.source == (OWN,) else list(claim.source),
        "ours": claim.source == (OWN,),
        "chapter": claim.chapter,
        "statement": claim.statement,
        "settled_by": claim.settled_by,
        "verdict": entry.outcome,
        "parts_supported": sum(str(row.outcome) == "supported" for row in entry.settled.parts),
        "parts_judged": len(claim.judged),
        "old_design": bool(claim.old),
        "p_value": entry.p_value,
        "stands": entry.stands,
        "quick": entry.quick,
        "claim_runs": entry.runs,
        "claim_seconds": round(entry.seconds),
    }


def _part(line: Line) -> dict:
    part, row = line.part, line.row
    measured = isinstance(part, Comparison)
    estimate = row.estimate if row else None
    return {
        "role": line.role,
        "says": part.says,
        "place": list(part.place),
        "kind": "measured" if measured else "exact",
        "experiment": part.experiment if measured else None,
        "metric": part.metric if measured else None,
        "treatment": _arms(part.treatment) if measured else None,
        "baseline": _arms(part.baseline) if measured and part.baseline else None,
        "expect": part.expect if measured else None,
        "margin": part.margin if measured else None,
        "size": part.size if measured else None,
        "unit": part.unit if measured else None,
        "difference": estimate and estimate.value,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "interval": estimate and estimate.method,
        "ran": line.ran or None,
        "outcome": line.outcome,
        "known": (row.known if row else "") or None,
        "caveat": (row.caveat if row else "") or None,
        "note": part.note if isinstance(part, Exact) else None,
        "tests": list(part.tests) if isinstance(part, Exact) else None,
    }


def _arms(side: str | tuple[str, ...]) -> list[str]:
    return [side] if isinstance(side, str) else list(side)
