"""Says whether this machine has what the course needs.

``python -m utils.check`` is what ``make check`` runs. One line a point: ``OK`` and ``FAIL`` for
what is needed, ``--`` for what is absent and not needed. What it prints belongs in a bug report.
"""

import argparse
import os
import platform
import re
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

from utils.experiments.quiet_keras import quiet_native_stderr
from utils.paths import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

OK, FAIL, ABSENT = "OK  ", "FAIL", "--  "


def requirements(path=ROOT / "requirements.txt"):
    """Direct requirements of the course.

    Parameters
    ----------
    path : path
        A requirements file; comments, blank lines and options such as ``-e .`` are passed over.

    Returns
    -------
    list of packaging.requirements.Requirement
        Those that apply to this Python and platform.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    packaging.requirements.InvalidRequirement
        If a line cannot be read.
    """
    from packaging.requirements import Requirement

    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in Path(path).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return [each for each in found if each.marker is None or each.marker.evaluate()]


def check_python():
    """Check the version of this Python against what pyproject.toml allows."""
    version = platform.python_version()
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return OK, f"Python {version} on {platform.system()} {platform.machine()}"
    return FAIL, f"Python {version}; the course is for 3.10 to 3.13"


def check_requirement(requirement):
    """Check that a package is installed in a version that its requirement allows.

    Parameters
    ----------
    requirement : packaging.requirements.Requirement
        As `requirements` gives it.

    Returns
    -------
    tuple of str
        Status and text.
    """
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return FAIL, f"{requirement.name} is missing; the course needs {requirement.specifier}"
    if requirement.specifier.contains(version, prereleases=True):
        return OK, f"{requirement.name} {version}"
    return FAIL, f"{requirement.name} {version}; the course needs {requirement.specifier}"


def check_quick_data():
    """Load the 5,000 MNIST images that come with the installation."""
    from utils.data import load_mnist

    return OK, str(load_mnist("quick"))


def check_full_data():
    """Say where full MNIST would come from, without downloading it."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    if not os.environ.get("MNIST_PATH") and not (home / "datasets" / "mnist.npz").is_file():
        return ABSENT, "full MNIST: `make results` would download it (11 MB) into the Keras cache"
    from utils.data import load_mnist

    return OK, str(load_mnist("full"))


def check_browser():
    """Look for the browser that the browser tests drive."""
    path = browser()
    if path is None:
        return ABSENT, "Chromium or Chrome: the browser tests will be skipped"
    return OK, f"browser {Path(path).name}"


def browser():
    """Path of an installed Chromium or Chrome, None if there is none.

    Returns
    -------
    str or None
    """
    found = (shutil.which(name) for name in BROWSERS)
    mac = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
    return next((path for path in found if path), str(mac) if mac.is_file() else None)


def check_training():
    """Train a small network for a few updates and see its loss fall."""
    with quiet_native_stderr():
        import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).random((64, 28, 28, 1), dtype="float32")
    y = np.arange(64) % 10
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    start = time.perf_counter()
    losses = model.fit(x, y, batch_size=64, epochs=20, verbose=0).history["loss"]
    seconds = time.perf_counter() - start
    text = f"20 updates of a small network in {seconds:.1f} s"
    if losses[-1] < losses[0]:
        return OK, text
    return FAIL, f"{text}, but its loss went from {losses[0]:.2f} to {losses[-1]:.2f}"


def run_check(check, *arguments):
    """Run one check; whatever goes wrong in it is a ``FAIL`` with its reason.

    Parameters
    ----------
    check : callable
        Returns status and text.
    *arguments
        Passed to it.

    Returns
    -------
    tuple of str
        Status and text.
    """
    try:
        return check(*arguments)
    except Exception as error:
        name = check.__name__.removeprefix("check_").replace("_", " ")
        return FAIL, f"{name}: {type(error).__name__}: {' '.join(str(error).split())}"


def main(arguments=None):
    """Print one line for each check; the exit status is 1 if one of them fails."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.check", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--requirements",
        type=Path,
        default=ROOT / "requirements.txt",
        help="file to compare the installed packages with",
    )
    options = parser.parse_args(arguments)
    checks = [(check_python,)]
    try:
        checks += [(check_requirement, each) for each in requirements(options.requirements)]
    except (OSError, ValueError) as error:
        parser.error(f"cannot read {options.requirements}: {error}")
    checks += [(check_quick_data,), (check_full_data,), (check_browser,), (check_training,)]
    failed = 0
    for check in checks:
        status, text = run_check(*check)
        failed += status == FAIL
        print(status, text, flush=True)
    print(f"{failed} of {len(checks)} checks failed." if failed else "All is there.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
