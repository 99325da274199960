"""Seals what is recorded: ``python -m utils.commands.seal`` is what ``make seal`` runs.

``make results`` seals as well; this is for records that came by a merge.
"""

import sys

from utils.evidence import seal


def main():
    """Seal, and say what; the exit status."""
    try:
        sealed = seal.renew()
    except seal.SealError as error:
        print(f"Nothing is sealed:\n{error}", file=sys.stderr)
        return 1
    print(f"Sealed: {len(sealed)} runs and rules that were not." if sealed else "All is sealed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
