"""How often the rule of two stages covers the truth, and how often its verdicts are wrong.

``python tests/simulations.py`` prints the tables of method.md, to which a test holds the page.
"""

import numpy as np
import pandas as pd
from scipy import stats

from utils.evidence.statistics import stein_seeds

PILOT, CAP, REPEATS = 10, 40, 20_000
EFFECTS = (0, 1, 2, 5)  # in margins
SPREADS = (0.5, 1.0)  # standard deviation of a difference, in margins

# Differences with mean 0 and standard deviation 1.
KINDS = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
    "heavy-tailed": lambda rng, shape: rng.standard_t(4, size=shape) / 2**0.5,
}


def intervals(rng, kind: str, effect: float, spread: float, repeats=REPEATS) -> np.ndarray:
    """Repeat pilot, number of seeds and interval of a difference, all in units of the margin."""
    differences = effect + spread * KINDS[kind](rng, (repeats, CAP))
    pilot = differences[:, :PILOT].std(axis=1, ddof=1)
    seeds = np.array([stein_seeds(each, 0.5, PILOT, CAP) for each in pilot])
    means = differences.cumsum(axis=1)[np.arange(repeats), seeds - 1] / seeds
    reach = stats.t.ppf(0.975, PILOT - 1) * pilot / np.sqrt(seeds)
    return np.column_stack([means - reach, means + reach, seeds])


def frame_of(values) -> pd.DataFrame:
    """Make the table of an arm with these values, as the records give it."""
    frame = pd.DataFrame({"metric": values, "seed": range(len(values))})
    return frame.assign(
        experiment="simulated", scale="full", arm="new", epoch=1, pilot=PILOT, test_size=1
    )


def table() -> pd.DataFrame:
    """Say for each kind of difference, spread and effect how often what happens, in percent."""
    rng, rows = np.random.default_rng(2026), []
    for kind in KINDS:
        for spread in SPREADS:
            for effect in EFFECTS:
                low, high, seeds = intervals(rng, kind, effect, spread).T
                above, below = low > 1, high < -1
                inside = (low > -1) & (high < 1)
                rows.append(
                    {
                        "differences": kind,
                        "SD": f"{spread:g}",
                        "effect": f"{effect}",
                        "seeds": f"{seeds.mean():.0f}",
                        "covered": f"{100 * np.mean((low <= effect) & (effect <= high)):.1f}",
                        "supported": f"{100 * above.mean():.1f}",
                        "no difference": f"{100 * inside.mean():.1f}",
                        "refuted": f"{100 * below.mean():.1f}",
                        "undecided": f"{100 * np.mean(~(above | inside | below)):.1f}",
                    }
                )
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    """Write the table as method.md has it: the kind on the left, its numbers on the right."""
    under = ["---", *["---:"] * (len(frame.columns) - 1)]
    lines = [list(frame.columns), under, *frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown(table()))
