"""One tidy table for each experiment: a row for each run and epoch."""

import pandas as pd

# What `table` puts in front of a run's metrics.
LEADING = ("experiment", "arm", "seed", "epoch", "scale", "train_size", "test_size")


def table(records: list[dict], name: str, scale: str) -> pd.DataFrame:
    """Turn records into the tidy table that `run` describes.

    Parameters
    ----------
    records : list of dict
        Finished runs.
    name, scale : str
        What stands in the columns ``experiment`` and ``scale``.

    Returns
    -------
    pandas.DataFrame
        One row a run and epoch; empty, but with its leading columns, when there are no records.
    """
    rows = []
    for record in records:
        for epoch, metrics in enumerate(record["epochs"], start=1):
            row = {
                "experiment": name,
                "arm": record["arm"],
                "seed": record["seed"],
                "epoch": epoch,
                "scale": scale,
                "train_size": record["train_size"],
                "test_size": record["test_size"],
                "parameters": record["parameters"],
                **metrics,
            }
            if epoch == len(record["epochs"]):
                row.update(record["measures"])
            rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=LEADING)


def last_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep one row a run: that of its last epoch, never of its best.

    Parameters
    ----------
    frame : pandas.DataFrame
        What `run` returns.

    Returns
    -------
    pandas.DataFrame
        One row an experiment, scale, arm and seed.
    """
    frame = frame.reset_index(drop=True)  # Tables that were joined repeat their row numbers.
    last = frame.groupby(["experiment", "scale", "arm", "seed"], sort=False)["epoch"].idxmax()
    return frame.loc[last].reset_index(drop=True)


def describe_runs(frame: pd.DataFrame) -> str:
    """Say what ran, in a few words.

    Parameters
    ----------
    frame : pandas.DataFrame
        A tidy table of one experiment at one scale.

    Returns
    -------
    str
        Such as ``60,000 images, 5 epochs, 20 seeds``; ranges where arms differ, and ``no runs``
        where there are none.
    """
    if frame.empty:
        return "no runs"
    last = last_epoch(frame)
    counts = {
        "image": last["train_size"],
        "epoch": last["epoch"],
        "seed": last.groupby("arm", sort=False)["seed"].nunique(),
    }
    parts = []
    for noun, values in counts.items():
        low, high = int(values.min()), int(values.max())
        number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        parts.append(f"{number} {noun}{'s' * (high != 1)}")
    return ", ".join(parts)
