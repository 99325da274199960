"""Where the course's own files are, in a checkout and in an installed wheel."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = (_PACKAGE.parent / "chapters" / "claims.yml").is_file()

ROOT = _PACKAGE.parent
# A wheel carries the ledger and the recorded runs inside the package.
CHAPTERS = (ROOT if _IN_CHECKOUT else _PACKAGE) / "chapters"
LEDGER = CHAPTERS / "claims.yml"

_OWN = CHAPTERS / "results"
_named = os.environ.get("MNIST_RESULTS") or ("" if _IN_CHECKOUT else "results")
# Runs are recorded here: never where packages are installed, but in the folder `results` of the
# current directory, or the one that MNIST_RESULTS names.
RESULTS = Path(_named).expanduser().absolute() if _named else _OWN
# What is recorded already counts as well, where it is somewhere else.
SHIPPED = _OWN if RESULTS != _OWN else None
