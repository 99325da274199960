"""Experiments: what is compared, trained and measured."""

import importlib

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


def __getattr__(name: str):
    """Import what is asked for: a Dask worker, which only passes runs on, has no TensorFlow."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
