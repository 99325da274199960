"""Where the course's own files are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ROOT / "chapters"
LEDGER = CHAPTERS / "claims.yml"
RESULTS = CHAPTERS / "results"
