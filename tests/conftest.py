"""What holds for every test and every notebook under pytest."""

import contextlib
import dataclasses
import io
import os
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import joblib
import numpy as np
import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests are about quick scale, whatever the shell that starts them is set to.
os.environ["MNIST_SCALE"] = "quick"
for name in ("MNIST_CLAIM", "MNIST_JOBS", "MNIST_PROGRESS", "MNIST_SCHEDULER"):
    os.environ.pop(name, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent


def pytest_xdist_make_scheduler(config, log):
    """Share test files among the workers, and give all notebooks to one: each trains in two."""

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return "notebooks" if path.endswith(".ipynb") else path

    return Files(config, log)


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Train in the test's own process, where it can look on, unless the test says otherwise."""
    with joblib.parallel_config(n_jobs=1):
        yield


@pytest.fixture(scope="module")
def full_mnist(tmp_path_factory):
    """Let "full MNIST" be a small file, for this process and for those that it starts."""
    from utils import data

    folder = tmp_path_factory.mktemp("full")
    quick = data.load_mnist("quick")
    mixed = np.arange(5_000).reshape(10, 500).T.ravel()  # Every digit in both parts.
    x = (quick.images[mixed, :, :, 0] * 255).round().astype(np.uint8)
    y = quick.labels[mixed].astype(np.uint8)
    parts = {"x_train": x[:4_000], "y_train": y[:4_000], "x_test": x[4_000:], "y_test": y[4_000:]}
    np.savez_compressed(folder / "mine.npz", **parts)
    published = dataclasses.replace(
        data.FULL,
        origin="no host",
        shapes={name: part.shape for name, part in parts.items()},
        md5={name: data._idx_md5(part) for name, part in parts.items()},
    )
    # Python imports this file when it starts, in those that train as well.
    patch = f"from utils import data\ndata.FULL = data.{published!r}\n"
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(patch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "FULL", published)
        patch.setenv("MNIST_PATH", str(folder / "mine.npz"))
        patch.setenv("PYTHONPATH", f"{folder / 'site'}{os.pathsep}{ROOT}")
        patch.syspath_prepend(folder / "site")
        yield folder / "mine.npz"


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """Folder of the book's HTML pages, built once for all tests from the committed outputs."""
    output = tmp_path_factory.mktemp("book")
    done = subprocess.run(
        [sys.executable, "-m", "utils.book", "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return output / "_build" / "html"


@pytest.fixture
def in_terminal():
    """Run a command whose standard error is a terminal; return its output and what that shows."""
    if sys.platform == "win32":
        pytest.skip("has no pseudo-terminals")
    import fcntl
    import pty
    import termios

    def start(*command):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=ROOT)
        os.close(theirs)
        shown = io.BytesIO()
        with contextlib.suppress(OSError):  # Linux: the other side is closed.
            while part := os.read(ours, 1024):
                shown.write(part)
        os.close(ours)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 0
        return output.decode(), shown.getvalue().decode()

    return start


def pytest_terminal_summary(terminalreporter):
    """Print the seconds that each notebook took, its kernel's start included."""
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            path, _, cell = getattr(report, "nodeid", "").partition("::")
            if cell and path.endswith(".ipynb"):
                seconds[path] += getattr(report, "duration", 0.0)
    if seconds:
        terminalreporter.section("seconds a notebook")
        for path, total in seconds.items():
            terminalreporter.write_line(f"{total:7.1f}  {path}")
        terminalreporter.write_line(f"{sum(seconds.values()):7.1f}  all {len(seconds)}")
