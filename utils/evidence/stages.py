"""How many seeds an experiment needs: Stein's two stages.

A pilot of a few seeds estimates the spread of each difference that a claim rests on. The spread
alone, never the mean, determines how many seeds make its interval narrow enough to be judged. The
result is a line of its own in the file of records, so that nobody can choose it later.
"""

import datetime

import pandas as pd

from utils.checked import checked
from utils.evidence import statistics
from utils.evidence.claims import Comparison, load_ledger
from utils.evidence.records import Requirements
from utils.evidence.table import evaluate, table


@checked
def frame(required: Requirements, records: list[dict] | None = None) -> pd.DataFrame:
    """Turn the records of an experiment that count into its table.

    Parameters
    ----------
    required : Requirements
        What a record must match to count.
    records : list of dict, optional
        Those that count; by default they are read.

    Returns
    -------
    pandas.DataFrame
        As from `utils.evidence.table.table`. If the number of seeds follows from a pilot, also with
        the columns ``pilot``, its number of seeds, and ``wanted``, that of the row's arm.
    """
    if records is None:
        records = list(required.counting(required.file.read()[0]).values())
    made = table(records, required.experiment, "full")
    if required.pilot and not made.empty:
        wanted = required.seeds_of_arms()
        made = made.assign(pilot=required.pilot, wanted=made["arm"].map(wanted))
    return made


@checked
def due(required: Requirements) -> list[dict]:
    """Compute the stages that an experiment's finished pilot allows and that are not yet recorded.

    Parameters
    ----------
    required : Requirements
        What its records must match to count.

    Returns
    -------
    list of dict
        One for each part of a claim that this experiment measures (except a proportion), for
        `utils.evidence.records.RecordFile.append_stage`; empty without a complete pilot.
    """
    if not required.pilot:
        return []
    counting = required.counting(required.file.read()[0])
    pilot = {(arm, seed) for arm in required.fingerprints for seed in required.seeds}
    if not pilot <= set(counting):
        return []
    runs = table([counting[run] for run in sorted(pilot)], required.experiment, "full")
    known = [_question(stage) for stage in required.stages]
    stages = (_stage(required, part, runs) for part in _parts(required))
    return [stage for stage in stages if stage and _question(stage) not in known]


@checked
def describe(stage: dict) -> str:
    """Describe in words what a stage asks for and why.

    Parameters
    ----------
    stage : dict
        As `due` gives it.

    Returns
    -------
    str

    Raises
    ------
    KeyError
        If one of its fields is missing.
    """
    capped = " (capped)" if stage["wanted"] > stage["seeds"] else ""
    return (
        f"{stage['metric']} of {stage['treatment']!r} against {stage['baseline']!r}: "
        f"s₀ = {stage['spread']:.4g} over {stage['pilot']} seeds, h = {stage['half_width']:.4g}, "
        f"N = {stage['seeds']}{capped}"
    )


def _parts(required: Requirements) -> list[Comparison]:
    """Find the parts of claims that rest on an experiment's arms."""
    parts = (part for claim in load_ledger().values() for part in claim.parts)
    # On other data, what a claim says of the same experiment on MNIST is asked with its margin.
    names = {required.experiment, required.experiment.partition("@")[0]}
    return [
        part
        for part in parts
        if isinstance(part, Comparison)
        and part.experiment in names
        and set(part.arms) <= set(required.fingerprints)
    ]


def _stage(required: Requirements, part: Comparison, runs: pd.DataFrame) -> dict | None:
    values = evaluate(runs, part.metric)
    if values.dtype == bool:  # How often something happens has another interval.
        return None
    runs = runs.assign(**{part.metric: values})
    differences = statistics.differences(runs, part.metric, part.treatment, part.baseline)
    spread, half_width = float(differences.std(ddof=1)), part.wanted_half_width
    seeds, wanted = (
        statistics.stein_seeds(spread, half_width, required.pilot, cap)
        for cap in (required.cap, 10**9)
    )
    return {
        "metric": part.metric,
        "treatment": part.treatment,
        "baseline": part.baseline,
        "half_width": half_width,
        "pilot": required.pilot,
        "spread": spread,
        "wanted": wanted,
        "seeds": seeds,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "fingerprints": {arm: required.fingerprints[arm] for arm in part.arms},
    }


def _question(stage: dict) -> tuple:
    """Tell which stage asks the same; JSON turns tuples into lists."""
    sides = (stage["treatment"], stage["baseline"])
    arms = (tuple(side) if isinstance(side, (list, tuple)) else side for side in sides)
    return (stage["metric"], *arms, stage["half_width"])
