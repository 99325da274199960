"""Evidence: recorded runs, tidy tables, intervals, and the verdicts on claims."""

from utils.evidence.claims import (
    Claim,
    Comparison,
    LedgerError,
    Settlement,
    load_ledger,
    serves,
    settle,
)
from utils.evidence.records import RecordError, RecordFile, Requirements
from utils.evidence.statistics import (
    Estimate,
    Verdict,
    differences,
    judge,
    mean,
    p_value,
    paired_difference,
    proportion,
    proportion_difference,
)
from utils.evidence.table import describe_runs, evaluate, last_epoch

__all__ = [
    "Claim",
    "Comparison",
    "Estimate",
    "LedgerError",
    "RecordError",
    "RecordFile",
    "Requirements",
    "Settlement",
    "Verdict",
    "describe_runs",
    "differences",
    "evaluate",
    "judge",
    "last_epoch",
    "load_ledger",
    "mean",
    "p_value",
    "paired_difference",
    "proportion",
    "proportion_difference",
    "serves",
    "settle",
]
