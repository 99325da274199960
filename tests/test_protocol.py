"""How a run is trained, which no fingerprint holds: a small run of quick scale is trained again.

``python tests/test_protocol.py`` records it anew, after `PROTOCOL` in utils/experiments/training.py
was raised. The numbers that it writes are those of the machine and the versions that it names.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import numbers_of

from utils.experiments import models, run, training
from utils.experiments.quiet_keras import keras
from utils.experiments.spec import Arm, Fit

layers = keras.layers
FILE = Path(__file__).with_name("quick-run.jsonl")

# Other threads, versions and kernels of oneDNN move no number by more than a share of 2e-6. Another
# order of the images, split or scale of pixels moves some by more than 2e-3.
ELSEWHERE = 1e-3


def build():
    hidden = [
        *[layers.Conv2D(4, 3, strides=2, activation="relu"), layers.BatchNormalization()],
        *[layers.MaxPooling2D(2), layers.Dropout(0.25), layers.Flatten()],
    ]
    return models.classifier(*hidden, learning_rate=0.01)


def brightened(split, rng):
    factors = rng.uniform(0.5, 1, (len(split.x_train), 1, 1, 1)).astype(np.float32)
    return split.replace(x_train=split.x_train * factors)


def mean_probability(model, split):
    """Return the mean probability of the right digit."""
    p = keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(split.x_test, verbose=0)))
    return p[np.arange(len(p)), split.y_test].mean()


def trained():
    """Train the small run, and return its record."""
    job = training.Job(
        arm=Arm(build, prepare=brightened),
        name="small",
        seed=3,
        fit=Fit(epochs=2, batch_size=32, train_size=320),
        scale="quick",
        metrics={"mean_probability": mean_probability},
        history_metrics={"last_loss": lambda history: history["test_loss"].iloc[-1]},
    )
    return training.train(job)


def differences(old, new):
    """Name the numbers that differ: by any bit where all is the same, elsewhere by more."""
    before, now = numbers_of(old), numbers_of(new)
    assert before.keys() == now.keys()
    if all(old[part] == new[part] for part in ("machine", "versions")):
        reach = dict.fromkeys(before, 0)
    else:
        reach = {name: ELSEWHERE * abs(value) for name, value in before.items()}
        # Two images that are decided otherwise.
        reach |= {name: 0.01 for name in before if "accuracy" in name}
    return {
        name: (value, now[name])
        for name, value in before.items()
        if abs(value - now[name]) > reach[name]
    }


def test_a_small_run_that_is_trained_again_gives_its_record():
    old = json.loads(FILE.read_text(encoding="utf-8"))
    assert old["protocol"] == training.PROTOCOL, "renew it: python tests/test_protocol.py"
    assert not differences(old, trained()), (
        "training gives other numbers than it did. If that is meant, raise PROTOCOL in "
        "utils/experiments/training.py, and renew this run: python tests/test_protocol.py"
    )


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="asks Linux")
def test_a_record_names_the_widest_vectors_of_the_processor():
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    told = {"AVX512F": "avx512f", "AVX2": "avx2", "SVE": "sve", "ASIMD": "asimd"}
    widest = next((name for name, flag in told.items() if flag in flags), "other")
    assert training._machine()["vectors"] == widest


def test_a_raised_protocol_makes_every_record_stale(monkeypatch):
    small = run.Experiment("small", arms={"small": build}, epochs=1, batch_size=32, seeds=1)
    first = small.fingerprints("quick")["small"]
    monkeypatch.setattr(run, "PROTOCOL", 2)
    second = small.fingerprints("quick")["small"]
    assert "protocol" not in first and second == {**first, "protocol": second["protocol"]}
    monkeypatch.setattr(run, "PROTOCOL", 3)
    assert small.fingerprints("quick")["small"]["protocol"] != second["protocol"]


if __name__ == "__main__":
    record = json.dumps({"protocol": training.PROTOCOL, **trained()})
    FILE.write_text(record + "\n", encoding="utf-8")
