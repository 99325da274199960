"""From runs to a verdict: paired differences, intervals, margins.

The statistics come from scipy and statsmodels; this module chooses which of them applies, and turns
an interval and a margin into a verdict.
"""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats
from statsmodels.stats import proportion as proportions
from statsmodels.stats.multitest import multipletests

from utils.checked import checked
from utils.evidence.table import last_epoch

EXPECTATIONS = ("increase", "decrease", "no difference", "at least as good")


class Verdict(enum.Enum):
    """The outcome of a part of a claim, or of a whole claim; only a claim can hold in part."""

    SUPPORTED = "supported"
    IN_PART = "holds in part"
    SMALLER = "smaller than claimed"
    NO_DIFFERENCE = "no difference"
    REFUTED = "refuted"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, eq=False)
class Estimate:
    """A measured quantity with an interval for every level of confidence.

    Attributes
    ----------
    value : float
        The point estimate.
    runs : int
        Number of runs, or of pairs of runs, that it rests on.
    method : str
        Name of the interval.
    bounds : callable
        ``bounds(confidence) -> (low, high)``.
    scatter : float
        Standard deviation of the seeds after a pilot over that of the pilot, which alone makes the
        interval, if an F test at 0.1 % finds it larger; otherwise 1.
    """

    value: float
    runs: int
    method: str
    bounds: Callable[[float], tuple[float, float]]
    scatter: float = 1.0

    @checked
    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return the interval at a level of confidence.

        Parameters
        ----------
        confidence : float
            Strictly between 0 and 1.

        Returns
        -------
        low, high : float
            Its ends, in the unit of `value`.

        Raises
        ------
        ValueError
            If `confidence` is out of range.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence={confidence!r}; allowed is 0 < confidence < 1")
        low, high = self.bounds(confidence)
        return float(low), float(high)

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.interval()[1]


@checked
def paired_difference(
    frame: pd.DataFrame,
    metric: str,
    treatment: str | tuple[str, ...],
    baseline: str | tuple[str, ...],
) -> Estimate:
    """Estimate the mean difference between two arms, or groups of arms, paired by seed.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, such as `result.best`.
    metric : str
        A column of it; the value of each run's last epoch counts.
    treatment, baseline : str or tuple of str
        The difference is treatment minus baseline. Several arms are averaged, seed by seed, as for
        the main effect of a factor.

    Returns
    -------
    Estimate
        At full scale, where the runs are independent given the data, the ordinary paired t
        interval, or Stein's where the number of seeds was computed from a pilot. At quick scale,
        where each seed draws its own split of the same images, the corrected resampled t interval.

    Raises
    ------
    ValueError
        If an arm or the metric is not in the frame, the arms have different seeds without a pilot,
        there are fewer than two seeds, or a run has no finite value of the metric.

    Notes
    -----
    Re-splits share most of their training images, so their differences vary together and the
    plain interval is too narrow. The correction replaces the variance ``s²/n`` of the mean by
    ``s² (1/n + n_test / n_train)`` [1]_.

    If the frame's column ``pilot`` gives a number n₀ of first seeds, only their standard deviation
    s₀ counts: the interval is the mean of all N seeds ± t(n₀ − 1) s₀/√N. Since N depends on s₀ and
    not on the mean, its coverage is exact for normal differences [2]_.

    References
    ----------
    .. [1] C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52,
       239-281, 2003.
    .. [2] C. Stein, "A two-sample test for a linear hypothesis whose power is independent of the
       variance", Annals of Mathematical Statistics 16, 243-258, 1945.
    """
    values = differences(frame, metric, treatment, baseline)
    arms = [*_group(treatment), *_group(baseline)]
    return _mean(values, frame[frame["arm"].isin(arms)])


@checked
def differences(
    frame: pd.DataFrame,
    metric: str,
    treatment: str | tuple[str, ...],
    baseline: str | tuple[str, ...] | None,
) -> np.ndarray:
    """Return the difference between two arms, or groups of arms, for each seed that all have.

    Parameters
    ----------
    frame, metric, treatment, baseline
        As for `paired_difference`; without a baseline, the treatment's own values are returned.

    Returns
    -------
    ndarray of float, shape (seeds,)
        In the order of the seeds.

    Raises
    ------
    ValueError
        If an arm or the metric is not in the frame, the arms have different seeds without a pilot,
        or a run has no finite value of the metric.
    """
    sides = [_group(side) for side in (treatment, baseline) if side is not None]
    groups = [[_values(frame, metric, arm) for arm in side] for side in sides]
    every = [values.index for group in groups for values in group]
    shared = functools.reduce(pd.Index.intersection, every).sort_values()
    # With a pilot in common, one arm may have needed more seeds than another.
    if _pilot(frame) == 0 and any(set(index) != set(every[0]) for index in every):
        raise ValueError(
            f"treatment={treatment!r} and baseline={baseline!r} have the seeds "
            f"{' and '.join(str(list(index)) for index in every)}; pairs need the same ones"
        )
    means = [
        np.mean([values[shared].to_numpy(float) for values in group], axis=0) for group in groups
    ]
    return means[0] if baseline is None else means[0] - means[1]


@checked
def mean(frame: pd.DataFrame, metric: str, arm: str) -> Estimate:
    """Estimate the mean of one arm over its seeds.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, such as `result.best`.
    metric : str
        A column of it; the value of each run's last epoch counts.
    arm : str
        The arm.

    Returns
    -------
    Estimate
        With the same kind of t interval as `paired_difference`.

    Raises
    ------
    ValueError
        If the arm or the metric is not in the frame, there are fewer than two seeds, or a run has
        no finite value of the metric.
    """
    return _mean(_values(frame, metric, arm).to_numpy(float), frame[frame["arm"] == arm])


@checked
def proportion(frame: pd.DataFrame, metric: str, arm: str) -> Estimate:
    """Estimate the share of an arm's runs in which something happened.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, such as `result.best`.
    metric : str
        A column that is 1 in the last epoch of each run in which it happened, and otherwise 0.
    arm : str
        The arm.

    Returns
    -------
    Estimate
        With Wilson's score interval.

    Raises
    ------
    ValueError
        If the arm or the metric is not in the frame, or the metric is anything but 0 or 1.
    """
    count, runs = _count(frame, metric, arm)

    def bounds(confidence):
        return proportions.proportion_confint(count, runs, 1 - confidence, method="wilson")

    return Estimate(count / runs, runs, "Wilson", bounds)


@checked
def proportion_difference(
    frame: pd.DataFrame, metric: str, treatment: str, baseline: str
) -> Estimate:
    """Estimate the difference of two arms in the share of runs in which something happened.

    Parameters
    ----------
    frame : pandas.DataFrame
        A table of runs, such as `result.best`.
    metric : str
        A column of 0 and 1, as for `proportion`.
    treatment, baseline : str
        The difference is treatment minus baseline, from -1 to 1.

    Returns
    -------
    Estimate
        With Newcombe's interval, which combines two Wilson intervals.

    Raises
    ------
    ValueError
        As for `proportion`.
    """
    first, first_runs = _count(frame, metric, treatment)
    second, second_runs = _count(frame, metric, baseline)

    def bounds(confidence):
        return proportions.confint_proportions_2indep(
            first, first_runs, second, second_runs, method="newcomb", alpha=1 - confidence
        )

    difference = first / first_runs - second / second_runs
    return Estimate(difference, min(first_runs, second_runs), "Newcombe", bounds)


@checked
def judge(
    estimate: Estimate,
    margin: float,
    expect: str,
    size: float | None = None,
    confidence: float = 0.95,
) -> Verdict:
    """Turn an interval and a margin into the verdict on one part of a claim.

    Parameters
    ----------
    estimate : Estimate
        A difference, treatment minus baseline.
    margin : float
        The smallest difference that counts, in the estimate's unit, written down before the run;
        above 0.
    expect : {"increase", "decrease", "no difference", "at least as good"}
        What the claim says of the difference; more is better.
    size : float, optional
        The least increase or decrease that the claim states; above the margin.
    confidence : float
        Level of the interval.

    Returns
    -------
    Verdict
        By where the whole interval lies: beyond the margin (and the size, if there is one) on the
        claimed side, supported; between the margins, no difference (which supports a claim of no
        difference); between zero and the size, smaller than claimed; beyond the margin on the other
        side, refuted; otherwise undecided. A claim of no difference is refuted by an interval
        beyond the margin on either side. At least as good is supported by an interval above minus
        the margin, and refuted by one below it.

    Raises
    ------
    ValueError
        If `margin`, `expect` or `size` is not as above.

    Notes
    -----
    This is the rule of an equivalence test with two one-sided tests, used in both directions, and
    of a test of non-inferiority.
    """
    if not margin > 0:
        raise ValueError(f"margin={margin!r}; allowed is a number above 0")
    if expect not in EXPECTATIONS:
        raise ValueError(f"expect={expect!r}; allowed are {', '.join(map(repr, EXPECTATIONS))}")
    if size is not None and not (size > margin and expect in ("increase", "decrease")):
        raise ValueError(
            f"size={size!r}; allowed is a number above the margin {margin!r}, for an increase or a "
            "decrease"
        )
    low, high = estimate.interval(confidence)
    if expect == "at least as good":
        if low > -margin:
            return Verdict.SUPPORTED
        return Verdict.REFUTED if high < -margin else Verdict.UNDECIDED
    if -margin < low and high < margin:
        return Verdict.SUPPORTED if expect == "no difference" else Verdict.NO_DIFFERENCE
    if expect == "no difference":
        return Verdict.REFUTED if low > margin or high < -margin else Verdict.UNDECIDED
    if expect == "decrease":
        low, high = -high, -low
    if high < -margin:
        return Verdict.REFUTED
    if low > (margin if size is None else size):
        return Verdict.SUPPORTED
    # Certain, and short of what is claimed; whether it exceeds the margin, too, does not matter.
    return Verdict.SMALLER if size is not None and 0 < low and high < size else Verdict.UNDECIDED


@checked
def known(estimate: Estimate, margin: float, expect: str, size: float | None = None) -> str:
    """Describe what an interval shows although it leaves the verdict undecided.

    Parameters
    ----------
    estimate, margin, expect, size
        As for `judge`.

    Returns
    -------
    str
        A few words, such as ``in the claimed direction, size undecided``; empty if the verdict is
        decided or the interval shows nothing.
    """
    if judge(estimate, margin, expect, size) is not Verdict.UNDECIDED:
        return ""
    low, high = estimate.interval()
    if expect == "at least as good":
        return "worse, by how much is undecided" if high < 0 else ""
    if expect == "no difference":
        return "not the same, size undecided" if low > 0 or high < 0 else ""
    if expect == "decrease":
        low, high = -high, -low
    if low > margin:
        return "beyond the margin, the claimed size undecided"
    if low > 0:
        return "in the claimed direction, size undecided"
    if high < 0:
        return "against the claim, size undecided"
    if high < margin:
        return "not as claimed: none, or the opposite"
    return "not the opposite" if low > -margin else ""


@checked
def p_value(estimate: Estimate, margin: float, expect: str, size: float | None = None) -> float:
    """Find the smallest significance level at which the verdict is decided.

    Parameters
    ----------
    estimate, margin, expect, size
        As for `judge`.

    Returns
    -------
    float
        The smallest α for which the 1 - α interval decides, from 0 to 1: below 0.05 exactly when
        `judge` decides at 95 %.
    """

    def decides(alpha: float) -> bool:
        return judge(estimate, margin, expect, size, 1 - alpha) is not Verdict.UNDECIDED

    smallest, usual, largest = 1e-12, 0.05, 1 - 1e-9
    if decides(smallest):
        return smallest
    if not decides(largest):
        return 1.0
    # Looked for on one side of the usual level, rounding cannot carry it over to the other.
    ends = (smallest, usual) if decides(usual) else (usual, largest)
    return optimize.bisect(lambda alpha: 1 if decides(alpha) else -1, *ends, xtol=1e-9)


@checked
def stein_seeds(spread: float, half_width: float, pilot: int, cap: int) -> int:
    """Compute how many seeds make a 95 % interval as narrow as wanted, from a pilot's spread.

    Parameters
    ----------
    spread : float
        Standard deviation of the differences of the pilot, 0 or more.
    half_width : float
        Half-width of the wanted interval, above 0, in the same unit.
    pilot : int
        Seeds of the pilot, at least 2.
    cap : int
        The most seeds that may be spent, at least `pilot`.

    Returns
    -------
    int
        N = max(n₀, ⌈(t(n₀ − 1) s₀ / h)²⌉), but at most `cap` [1]_.

    Raises
    ------
    ValueError
        If one of them is not as above.

    References
    ----------
    .. [1] C. Stein, "A two-sample test for a linear hypothesis whose power is independent of the
       variance", Annals of Mathematical Statistics 16, 243-258, 1945.
    """
    for name, value, good, allowed in (
        ("spread", spread, 0 <= spread < np.inf, "a number from 0"),
        ("half_width", half_width, half_width > 0, "a number above 0"),
        ("pilot", pilot, pilot >= 2, "a whole number from 2"),
        ("cap", cap, cap >= pilot, f"a whole number from the pilot's {pilot}"),
    ):
        if not good:
            raise ValueError(f"{name}={value!r}; allowed is {allowed}")
    wanted = (_quantile(pilot - 1) * spread / half_width) ** 2
    return int(min(cap, max(pilot, np.ceil(wanted))))


@functools.cache
def _quantile(freedom: int) -> float:
    return float(stats.t.ppf(0.975, freedom))


@checked
def control_false_discoveries(p_values: np.ndarray, rate: float = 0.05) -> np.ndarray:
    """Tell which of many verdicts survive the control of false discoveries.

    Parameters
    ----------
    p_values : sequence of float
        One for each claim that is a test.
    rate : float
        The share of false ones tolerated among those that survive.

    Returns
    -------
    numpy.ndarray of bool
        True where the verdict survives the procedure of Benjamini and Yekutieli [1]_, which holds
        for any dependence between the claims: they share arms.

    Raises
    ------
    ValueError
        If a p-value is not in 0..1, or the rate is not strictly between 0 and 1.

    References
    ----------
    .. [1] Y. Benjamini and D. Yekutieli, "The control of the false discovery rate in multiple
       testing under dependency", Annals of Statistics 29, 1165-1188, 2001.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate={rate!r}; allowed is 0 < rate < 1")
    p_values = np.asarray(p_values, dtype=float)
    if p_values.ndim != 1 or not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(f"p_values={p_values!r}; allowed are numbers from 0 to 1")
    if not p_values.size:
        return np.zeros(0, dtype=bool)
    return multipletests(p_values, alpha=rate, method="fdr_by")[0]


def _mean(values: np.ndarray, frame: pd.DataFrame) -> Estimate:
    runs = len(values)
    if runs < 2:
        raise ValueError(f"frame has {runs} seed(s) here; an interval needs at least two")
    pilot = _pilot(frame)
    resampled = (frame["scale"] == "quick").any()
    shared = (frame["test_size"] / frame["train_size"]).max() if resampled else 0.0
    staged = 0 < pilot <= runs
    spread = values[:pilot] if staged else values  # The seeds of the pilot come first.
    error = np.sqrt(spread.var(ddof=1) * (1 / runs + shared))
    center = values.mean()

    def bounds(confidence):
        if error == 0:  # Every seed gave the same value; scipy would answer NaN.
            return center, center
        return stats.t.interval(confidence, len(spread) - 1, loc=center, scale=error)

    method = "Stein" if staged else "corrected resampled t" if resampled else "paired t"
    scatter = _scatter(values[:pilot], values[pilot:]) if staged else 1.0
    return Estimate(float(center), runs, method, bounds, scatter)


def _scatter(pilot: np.ndarray, later: np.ndarray) -> float:
    """Compare the standard deviations of the two, later over pilot; 1 where chance explains it."""
    if len(later) < 2:
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = later.var(ddof=1) / pilot.var(ddof=1)
    chance = stats.f.sf(ratio, len(later) - 1, len(pilot) - 1)
    return float(np.sqrt(ratio)) if chance < 0.001 else 1.0


def _pilot(frame: pd.DataFrame) -> int:
    """Return how many seeds a pilot had; 0 where the number of seeds was set beforehand."""
    pilot = frame["pilot"].max() if "pilot" in frame else 0
    return 0 if pd.isna(pilot) else int(pilot)


def _values(frame: pd.DataFrame, metric: str, arm: str) -> pd.Series:
    for argument, value, allowed in (
        ("metric", metric, list(frame.columns)),
        ("arm", arm, list(frame["arm"].unique())),
    ):
        if value not in allowed:
            raise ValueError(f"{argument}={value!r}; the frame has {allowed}")
    rows = last_epoch(frame[frame["arm"] == arm])
    if rows["seed"].duplicated().any():
        raise ValueError(
            f"frame holds arm {arm!r} of several experiments or scales; an estimate needs one"
        )
    values = rows.set_index("seed")[metric].sort_index()
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(f"metric={metric!r} holds {values.dtype} values; allowed are numbers")
    lacking = list(values.index[~np.isfinite(values.to_numpy(float))])
    if lacking:
        raise ValueError(
            f"metric={metric!r} has no finite value for arm {arm!r}, seed(s) {lacking}; a run "
            "that does not count may not be left out in silence"
        )
    return values


def _group(arms: str | tuple[str, ...]) -> tuple[str, ...]:
    return (arms,) if isinstance(arms, str) else tuple(arms)


def _count(frame, metric, arm) -> tuple[int, int]:
    values = _values(frame, metric, arm)
    if not values.isin([0, 1]).all():
        held = sorted(values.unique().tolist())
        raise ValueError(
            f"metric={metric!r} holds {held} for arm {arm!r}; a proportion needs 0 or 1 for each "
            "run"
        )
    return int(values.sum()), len(values)
