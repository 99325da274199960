"""Experiments: what is compared, trained and measured."""

from utils.lazy import giving

_HOMES = {
    "Arm": "spec",
    "Experiment": "run",
    "Fit": "spec",
    "Recorded": "run",
    "Result": "run",
    "RunError": "spec",
    "Stein": "spec",
    "by_scale": "spec",
}
__all__ = [*_HOMES]
# Imported when asked for: a Dask worker, which only passes runs on, has no TensorFlow.
__getattr__ = giving(__name__, _HOMES)


def __dir__():
    return sorted({*globals(), *__all__})
