"""Small sweeps that leave notes of what they do, for tests that look on."""

import os
import threading
import time
from pathlib import Path

import keras
import psutil
from keras import layers

from utils.evidence import RecordFile

# How an experiment trains that is over in a moment.
SHORT = {"epochs": 1, "batch_size": 50, "train_size": 100}


def net():
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.MaxPooling2D(4), layers.Flatten()])
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    return model


def noting(folder, seconds):
    """Make a `prepare` that leaves a note when it begins, takes its time, and then another."""

    def prepare(split, rng):
        run_ = f"{rng.integers(10**9)} {os.getpid()} {os.getppid()}"  # The seed, in other words.
        Path(folder, f"begin {run_}").touch()
        time.sleep(seconds)
        Path(folder, f"end {run_}").touch()
        return split

    return prepare


def notes(folder, kind):
    found = sorted(folder.glob(f"{kind} *"), key=lambda path: path.stat().st_mtime_ns)
    return [tuple(map(int, path.name.split()[1:])) for path in found]


def recorded_runs(experiment_):
    records, damaged = RecordFile.of(experiment_.name).read()
    assert damaged == []
    return records


def is_alive(process):
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition):
    end = time.monotonic() + 200
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def when(condition, action, *arguments):
    """Do something as soon as a condition holds, in a thread."""
    thread = threading.Thread(target=lambda: wait_for(condition) and action(*arguments))
    thread.start()
    return thread
