"""What charts and reports read from a result: its runs, estimates, and how a metric is written."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from utils.checked import checked, shown
from utils.evidence import table
from utils.evidence.claims import Comparison
from utils.evidence.statistics import Estimate

Arms = str | tuple[str, ...]

# An interval from two runs spans most of its axis and says nothing.
FEWEST_FOR_INTERVAL = 3

_LABELS = {
    "test_accuracy": "test accuracy, %",
    "train_accuracy": "training accuracy, %",
    "accuracy": "accuracy while training, %",
    "train_accuracy - test_accuracy": "training − test accuracy, points",
    "test_loss": "test loss",
    "loss": "training loss",
    "seconds": "seconds of an epoch",
    "parameters": "parameters",
    "train_size": "training images",
}


@dataclass(frozen=True)
class Axis:
    """A metric and how it is drawn.

    Attributes
    ----------
    metric : str
        A column, or an expression of columns such as ``train_accuracy - test_accuracy``. One whose
        name starts with ``log2_`` is drawn as the number whose logarithm it is, on a logarithmic
        axis; a difference of two of them as a factor.
    label : str
        Label of the axis. If it ends in ``, %`` or ``, points``, values are multiplied by 100.
    """

    metric: str
    label: str

    @property
    def logarithmic(self) -> bool:
        """Whether the metric is the binary logarithm of what is drawn."""
        return self.metric.startswith("log2_")

    def label_of_difference(self, baseline: str) -> str:
        """Label an axis of differences, against an arm or, where `baseline` is empty, several."""
        if self.logarithmic:
            return f"{self.label}, as a multiple of {baseline}".removesuffix(" of ")
        text = re.sub(", %$", ", points", self.label)
        if not baseline:
            return f"difference in {text}"
        head, comma, unit = text.rpartition(", points")
        return f"{head or text} minus that of {baseline}{comma}"

    def drawn(self, values):
        """Turn values of the metric into those on the axis."""
        if self.logarithmic:
            return np.exp2(values)
        return np.multiply(values, 100 if re.search(r", (%|points)$", self.label) else 1)

    def drawn_estimate(self, estimate: Estimate) -> Estimate:
        """Turn an estimate of the metric, and its interval, into those on the axis."""

        def bounds(confidence):
            return tuple(self.drawn(np.array(estimate.interval(confidence))))

        return Estimate(float(self.drawn(estimate.value)), estimate.runs, estimate.method, bounds)

    def said(self, value: float, difference: bool = False) -> str:
        """Write a drawn value for the alternative text."""
        text = f"{value:+.2f}" if difference and not self.logarithmic else f"{value:.4g}"
        return minus(text)


def axes_of(metrics: str | Iterable[str] | Mapping[str, str]) -> list[Axis]:
    """List the metrics to draw; those without a label get the usual one, or their name."""
    if isinstance(metrics, str):
        metrics = [metrics]
    if not len(metrics := metrics if isinstance(metrics, Mapping) else list(metrics)):
        raise ValueError(f"metrics={metrics!r}; allowed is at least one")
    if not isinstance(metrics, Mapping):
        metrics = {metric: _LABELS.get(metric, metric.removeprefix("log2_")) for metric in metrics}
    return [Axis(metric, label) for metric, label in metrics.items()]


def runs_of(result, label: str | None = None) -> tuple[pd.DataFrame, str]:
    """Return the runs that count of a result or table, and words for what ran."""
    if not isinstance(result, pd.DataFrame) and not hasattr(result, "best"):
        raise TypeError(
            f"result={shown(result)}; allowed is what `Experiment.run` returns, or a table of runs"
        )
    frame = result if isinstance(result, pd.DataFrame) else result.best
    if label is None and frame is result:
        kind = "recorded" if (frame["scale"] == "full").all() else "quick"
        label = f"{kind} runs: {table.describe_runs(frame)}"
    return frame, result.label if label is None else label


def chosen_arms(
    result,
    frame: pd.DataFrame,
    arms: Iterable[str] | Mapping[str, str] | None,
    groups: Mapping[str, Iterable[str]] | None,
) -> tuple[dict[str, str], list[str]]:
    """Return which arms are drawn, under which names and in which groups.

    Returns
    -------
    labels : dict of str to str
        The arms that have runs, and their names.
    kinds : list of str
        The group of each; its own name where there are no groups.

    Raises
    ------
    ValueError
        If a name is that of no arm.
    """
    ran = list(dict.fromkeys(frame["arm"]))
    groups = {name: list(members) for name, members in (groups or {}).items()}
    if arms is None:
        # Whoever is in no group is drawn all the same, behind them.
        arms = dict.fromkeys([*(arm for members in groups.values() for arm in members), *ran])
        arms = list(arms)
    labels = dict(arms) if isinstance(arms, Mapping) else {arm: arm for arm in arms}
    group_of = {arm: name for name, members in groups.items() for arm in members}
    check_arms(result, frame, [*labels, *group_of])
    labels = {arm: label for arm, label in labels.items() if arm in ran}
    return labels, [group_of.get(arm, "" if groups else arm) for arm in labels]


def check_arms(result, frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Refuse names of arms that the experiment does not have; quick runs may leave arms out."""
    known = set(frame["arm"])
    if not isinstance(result, pd.DataFrame) and hasattr(result, "experiment"):
        known |= set(result.experiment.arms_at("full"))
    if unknown := [name for name in dict.fromkeys(names) if name not in known]:
        raise ValueError(f"arms {unknown} are not there; allowed are {sorted(known)}")


@checked
def estimate(
    frame: pd.DataFrame, metric: str, treatment: Arms, baseline: Arms | None = None
) -> Estimate:
    """Estimate a mean, or a difference paired by seed; of a condition, the proportion of runs."""
    comparison = Comparison(
        says="",
        experiment="",
        metric=metric,
        treatment=treatment,
        baseline=baseline,
        expect="no difference",
        margin=1,
    )
    return comparison.estimate(frame)


def by_seed(
    frame: pd.DataFrame, metric: str, treatment: Arms, baseline: Arms | None = None
) -> pd.Series:
    """List the values behind an estimate, one per seed: for several arms the mean."""
    last = table.last_epoch(frame)
    last = last.assign(value=table.evaluate(last, metric).astype(float))

    def side(arms):
        arms = [arms] if isinstance(arms, str) else list(arms)
        return last[last["arm"].isin(arms)].groupby("seed")["value"].mean()

    return side(treatment) if baseline is None else side(treatment) - side(baseline)


@checked
def minus(text: str) -> str:
    """Write the sign of a number as a minus and not as a hyphen."""
    return text.replace("-", "−", 1) if text.startswith("-") else text
