"""Evidence: recorded runs, tidy tables, intervals, and the verdicts on claims."""

from utils.lazy import giving

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
    "read_claim": "claims",
    "serves": "claims",
    "settle": "claims",
}
__all__ = [*_HOMES]
# Imported when asked for: a process that only writes records needs no statistics.
__getattr__ = giving(__name__, _HOMES)


def __dir__():
    return sorted({*globals(), *__all__})
