"""What was recorded, and by which rule it was to be judged: neither changes afterwards.

``chapters/results/sealed.json`` holds a hash of each recorded run, and for each comparison whose
runs are recorded its margin, what it expects, and its size. ``make results`` seals what it has
recorded, and ``make seal`` what came by a merge. Neither changes a seal while an arm's fingerprint
stays the same; a new design, and runs that were removed and trained again, are sealed as they are
by then.
"""

import hashlib
import json
from pathlib import Path

from utils.evidence import records
from utils.evidence.claims import Comparison, load_ledger
from utils.evidence.records import RecordFile

NAME = "sealed.json"


class SealError(RuntimeError):
    """What was recorded, or a rule by which it is judged, is no longer what was sealed."""


def check(results: Path | None = None) -> tuple[list[str], list[str]]:
    """Compare the recorded runs and the ledger with what was sealed.

    Parameters
    ----------
    results : pathlib.Path, optional
        The folder of the records; the course's by default.

    Returns
    -------
    broken, open : list of str
        What differs from what was sealed, and what is not sealed yet, one sentence for each.
    """
    results = Path(results or records.RESULTS)
    return _compare(_read(results), *_current(results))


def renew(results: Path | None = None) -> list[str]:
    """Seal what is recorded and not sealed yet, and forget the seals of what is gone.

    Parameters
    ----------
    results : pathlib.Path, optional
        As for `check`.

    Returns
    -------
    list of str
        What was sealed, one sentence for each.

    Raises
    ------
    SealError
        If something is no longer what was sealed; nothing is written then.
    """
    results = Path(results or records.RESULTS)
    current = _current(results)
    broken, opened = _compare(_read(results), *current)
    if broken:
        raise SealError("\n".join(broken))
    runs, rules = current
    content = {
        "rules": {claim: _plain(of_claim) for claim, of_claim in rules.items()},
        "runs": runs,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    path = results / NAME
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return opened


def _read(results: Path) -> dict:
    path = results / NAME
    if not path.exists():
        return {"rules": {}, "runs": {}}
    return json.loads(path.read_text(encoding="utf-8"))


def _current(results: Path) -> tuple[dict, dict]:
    """Give the hashes of all runs, and the rules of all comparisons that have runs."""
    runs, prints = {}, {}
    for path in sorted(results.glob("*.jsonl")):
        of_experiment = runs.setdefault(path.stem, {})
        for record in RecordFile(path).read()[0]:
            print_ = _digest(record["fingerprint"], 6)
            seeds = of_experiment.setdefault(record["arm"], {})
            seeds.setdefault(str(record["seed"]), {})[print_] = _digest(record)
            prints[path.stem, record["arm"]] = print_
    rules = {}
    for claim in load_ledger().values():
        for part in (*claim.parts, *claim.further, *claim.old):
            if not isinstance(part, Comparison):
                continue
            arms = [(part.experiment, arm) for arm in part.arms]
            if all(arm in prints for arm in arms):
                of_claim = rules.setdefault(claim.id, {})
                asked = of_claim.setdefault(_question(part), {"arms": "", "rules": {}})
                asked["arms"] = " ".join(prints[arm] for arm in arms)
                asked["rules"][_rule(part)] = part.says
    return runs, rules


def _compare(sealed: dict, runs: dict, rules: dict) -> tuple[list[str], list[str]]:
    broken, opened = [], []
    for experiment, arms in runs.items():
        for arm, seeds in arms.items():
            for seed, found in seeds.items():
                before = sealed["runs"].get(experiment, {}).get(arm, {}).get(seed, {})
                where = f"{experiment}, arm {arm!r}, seed {seed}"
                for print_, value in found.items():
                    if print_ not in before:
                        opened.append(f"{where} is not sealed")
                    elif before[print_] != value:
                        broken.append(f"{where} is no longer as it was recorded")
    for claim, questions in rules.items():
        for question, asked in questions.items():
            before = sealed["rules"].get(claim, {}).get(question)
            for rule, says in asked["rules"].items():
                where = f"claim {claim}, {says}"
                if before is None or before["arms"] != asked["arms"]:
                    opened.append(f"{where}: {rule} is not sealed")
                elif rule not in before["rules"]:
                    then = " and ".join(before["rules"])
                    broken.append(f"{where}: {rule}; it was recorded to be judged by {then}")
    return broken, opened


def _plain(of_claim: dict) -> dict:
    return {
        question: {**asked, "rules": sorted(asked["rules"])} for question, asked in of_claim.items()
    }


def _question(part: Comparison) -> str:
    return f"{part.experiment}: {part.metric} of {part.treatment!r} against {part.baseline!r}"


def _rule(part: Comparison) -> str:
    size = f", size {part.size}" if part.size else ""
    return f"expect {part.expect}, margin {part.margin}{size}"


def _digest(content: object, digits: int = 12) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:digits]
