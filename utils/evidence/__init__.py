"""Evidence: recorded runs, tidy tables, intervals, and the verdicts on claims."""

import importlib

_HOMES = {
    "Claim": "claims",
    "Comparison": "claims",
    "Estimate": "statistics",
    "LedgerError": "claims",
    "RecordError": "records",
    "RecordFile": "records",
    "Requirements": "records",
    "Settlement": "claims",
    "Verdict": "statistics",
    "describe_runs": "table",
    "differences": "statistics",
    "evaluate": "table",
    "judge": "statistics",
    "last_epoch": "table",
    "load_ledger": "claims",
    "mean": "statistics",
    "p_value": "statistics",
    "paired_difference": "statistics",
    "proportion": "statistics",
    "proportion_difference": "statistics",
    "serves": "claims",
    "settle": "claims",
}
__all__ = [*_HOMES]


def __getattr__(name: str):
    """Import what is asked for: a process that only writes records needs no statistics."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
