"""Says whether this machine has what the course needs.

``python -m utils.commands.check`` is what ``make check`` runs. One line per check: ``OK`` and
``FAIL`` for what is needed, ``--`` for what is absent and not needed. What it prints belongs in a
bug report. To be able to report what is missing, it imports nothing else before it looks.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import utils
from utils.paths import CHAPTERS, ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

OK, FAIL, ABSENT = "OK  ", "FAIL", "--  "

INSTALL = "python -m pip install -r requirements.txt -c constraints.txt"


def requirements(path: Path | None) -> list:
    """List the direct requirements of the course: those of `utils`, and those of a file.

    Parameters
    ----------
    path : path or None
        A requirements file; comments, blank lines and options such as ``-e .`` are ignored. None if
        the course is installed without its checkout: those of `utils` alone.

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

    # An old build may have left an egg-info in the checkout; what pip installs has METADATA.
    found = metadata.distributions(name="convolution-tested")
    installed = next((each for each in found if each.read_text("METADATA")), None)
    lines = list(installed.requires or ()) if installed else []
    if path is not None:
        text = Path(path).read_text(encoding="utf-8")
        lines += [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()]
    direct = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return [each for each in direct if each.marker is None or each.marker.evaluate()]


def check_python():
    """Check the version of this Python against what pyproject.toml allows."""
    version = platform.python_version()
    if (platform.system(), platform.machine()) == ("Darwin", "x86_64"):
        return FAIL, "TensorFlow has no wheel for Macs with Intel processors: use another machine"
    if (3, 10) <= sys.version_info[:2] <= (3, 13):
        return OK, f"Python {version} on {platform.system()} {platform.machine()}"
    return FAIL, f"Python {version}; the course is for 3.10 to 3.13"


def check_course():
    """Check that a notebook's ``from utils import data`` finds this course, not another `utils`."""
    folder = CHAPTERS if CHAPTERS.parent == ROOT else Path.cwd()
    find = "from importlib.util import find_spec; spec = find_spec('utils'); "
    where = "print(spec and (spec.origin or [*spec.submodule_search_locations][0]))"
    done = subprocess.run(
        [sys.executable, "-c", find + where],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    origin = done.stdout.strip()
    if origin == "None":
        return FAIL, f"the notebooks do not find the course: {INSTALL}"
    if not Path(origin).samefile(utils.__file__):
        return FAIL, f"another `utils` is in the way of the course: rename or move {origin}"
    return OK, f"the course, {Path(origin).parent}"


def check_onednn():
    """Say whether TensorFlow computes with oneDNN; speed and bits depend on it."""
    value = os.environ["TF_ENABLE_ONEDNN_OPTS"]
    return OK, f"oneDNN {'off' if value == '0' else 'on'} (TF_ENABLE_ONEDNN_OPTS={value})"


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
    from utils.data.source import keras_cache

    if not os.environ.get("MNIST_PATH") and not keras_cache().is_file():
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
    """Return the path of an installed Chromium, Chrome or Edge, or None.

    Returns
    -------
    str or None
    """
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    # Where they are installed without being on the path.
    places = [Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")]
    for name in ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA"):  # Of Windows.
        if folder := os.environ.get(name):
            places.append(Path(folder, "Google", "Chrome", "Application", "chrome.exe"))
            places.append(Path(folder, "Microsoft", "Edge", "Application", "msedge.exe"))
    found += [str(path) for path in places if path.is_file()]
    return found[0] if found else None


def check_training():
    """Train a small network for a few updates and see its loss fall."""
    import numpy as np

    from utils.experiments.quiet_keras import keras

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
    """Run one check; any error in it becomes a ``FAIL`` with its reason.

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
        prog="python -m utils.commands.check", description=__doc__.split("\n")[0]
    )
    own = ROOT / "requirements.txt"
    parser.add_argument(
        "--requirements",
        type=Path,
        default=own if own.is_file() else None,
        help="file to compare the installed packages with, beside what the course itself needs",
    )
    options = parser.parse_args(arguments)
    checks = [(check_python,), (check_course,)]
    try:
        checks += [(check_requirement, each) for each in requirements(options.requirements)]
    except (OSError, ValueError) as error:
        parser.error(f"cannot read {options.requirements}: {error}")
    checks += [(check_onednn,)]
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
