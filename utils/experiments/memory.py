"""Peak memory of training, measured in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from utils.checked import checked
from utils.experiments.quiet_keras import keras
from utils.paths import ROOT

_STATUS = Path("/proc/self/status")
_MEBIBYTE = 2**20


@checked
def peak_memory(model: keras.Model, batch_sizes: Sequence[int]) -> dict[int, float]:
    """Measure how much memory training takes at its peak, for several batch sizes.

    A fresh interpreter builds the model anew and trains it on two batches of noise, one size after
    the other. Its peak before the first batch, with TensorFlow, the weights and the noise in it, is
    subtracted.

    Parameters
    ----------
    model : keras.Model
        Compiled, made of Keras's own layers, with integer labels from 0.
    batch_sizes : sequence of int
        At least one; each at least 1 and larger than the one before, since a peak cannot fall.

    Returns
    -------
    dict of int to float
        Mebibytes for each batch size.

    Raises
    ------
    ValueError
        If `batch_sizes` is not as above or the model is not compiled.
    RuntimeError
        If the interpreter fails; the message has the last line that it wrote.
    """
    sizes = [*map(int, batch_sizes)]
    if not sizes or min(sizes) < 1 or any(b <= a for a, b in zip(sizes, sizes[1:], strict=False)):
        raise ValueError(f"batch_sizes={batch_sizes!r}; allowed are rising whole numbers ≥ 1")
    if not model.compiled:
        raise ValueError(f"model={model.name!r} is not compiled; allowed is a compiled model")
    job = {"model": keras.saving.serialize_keras_object(model), "batch_sizes": sizes}
    found = subprocess.run(
        [sys.executable, "-m", "utils.experiments.memory"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        cwd=ROOT,
        # The same arithmetic everywhere: how many threads there are decides about buffers, too.
        env={**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
        check=False,
    )
    if found.returncode:
        said = found.stderr.strip().splitlines() or [f"exit status {found.returncode}"]
        raise RuntimeError(f"the process that measures memory failed: {said[-1]}")
    return dict(zip(sizes, json.loads(found.stdout), strict=True))


def _peak() -> float:
    """Return the peak of this process so far, in mebibytes."""
    if _STATUS.exists():
        # What getrusage says on Linux begins with the peak of the process that started this one.
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        (line,) = (text for text in lines if text.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / _MEBIBYTE
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / _MEBIBYTE
    import resource  # Windows has no such module.

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE


def _measure(job: dict) -> list[float]:
    model = keras.saving.deserialize_keras_object(job["model"])
    model.jit_compile = False
    rng = np.random.default_rng(0)
    most = 2 * max(job["batch_sizes"])
    images = rng.random((most, *model.input_shape[1:]), dtype=np.float32)
    labels = np.zeros(most, dtype=np.int64)
    before = _peak()
    peaks = []
    for size in job["batch_sizes"]:
        model.fit(images[: 2 * size], labels[: 2 * size], batch_size=size, verbose=0)
        peaks.append(_peak() - before)
    return peaks


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
