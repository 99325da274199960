"""What the tests of several rooms use: a process of its own, refusals, tables of runs."""

import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from utils.paths import ROOT

# Claims whose measured part was written down for an experiment that no chapter has yet, and that no
# earlier comparison stands in for. They are open until it is there, and then a test says so.
WAITING = {"not-just-stacking"}


def python(code, *arguments, cwd=ROOT, **environment):
    """Run code in a process of its own, which has to succeed, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-3_000:]
    return done.stdout


def refused(message, error=ValueError):
    """Expect an error whose message has these parts, between which an … stands, in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, message.split("…"))))


def runs_of(metric="test_accuracy", scale="full", /, **arms):
    """Make a tidy table from lists of seeds, each a list of epochs, or a last value."""
    sizes = {"train_size": 4_000, "test_size": 1_000}
    return pd.DataFrame(
        {"experiment": "x", "arm": arm, "seed": seed, "epoch": epoch, "scale": scale}
        | sizes
        | {metric: value}
        for arm, seeds in arms.items()
        for seed, values in enumerate(seeds)
        for epoch, value in enumerate(np.atleast_1d(values), start=1)
    )


def record_of(experiment, arm, seed, accuracy, fingerprint, seconds=1.0):
    """Make the line of one run with one epoch, as a file of records has it."""
    return {
        "experiment": experiment,
        "arm": arm,
        "seed": seed,
        "train_size": 60_000,
        "test_size": 10_000,
        "parameters": 1,
        "epochs": [{"test_accuracy": accuracy, "seconds": 1.0}],
        "measures": {},
        "seconds": seconds,
        "fingerprint": fingerprint,
    }


def numbers_of(record):
    """Return the metrics of each epoch of a record and all else of it, but for what are times."""
    found = {
        f"{metric}, epoch {epoch}": value
        for epoch, metrics in enumerate(record["epochs"], start=1)
        for metric, value in metrics.items()
    }
    found |= {part: record[part] for part in ("parameters", "train_size", "test_size")}
    found |= record["measures"]
    return {name: value for name, value in found.items() if "seconds" not in name}


def take(path, name):
    """Run a notebook's cells up to where it hands an experiment to `run`, and return that one.

    Nothing before it is trained: the recorded runs stand in.
    """
    from IPython.core.interactiveshell import InteractiveShell

    from utils.experiments.run import Experiment, Result

    reached = []

    def stand_in(self, scale=None):
        if self.title == name:
            reached.append(self)
            raise RuntimeError("reached")
        recorded = self.recorded()
        return Result(self, recorded.frame, recorded)

    usual, Experiment.run = Experiment.run, stand_in
    shell, before = InteractiveShell.instance(), os.getcwd()
    shell.showtraceback = lambda *settings, **more: None
    os.chdir(path.parent)
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            ran = shell.run_cell("".join(cell["source"]))
            if reached:
                break
            ran.raise_error()
    Experiment.run = usual
    os.chdir(before)
    return reached[0]
