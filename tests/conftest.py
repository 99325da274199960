"""What holds for every test and every notebook under pytest."""

import contextlib
import dataclasses
import gc
import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import filelock
import joblib
import numpy as np
import outputs
import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests are about quick scale, whatever the shell that starts them is set to.
os.environ["MNIST_SCALE"] = "quick"
for name in ("MNIST_CLAIM", "MNIST_JOBS", "MNIST_PROGRESS", "MNIST_RESULTS", "MNIST_SCHEDULER"):
    os.environ.pop(name, None)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    """Give the kernels of this process a profile of their own, whose start-up file is ours.

    Where MNIST_SEED moves the seeds, what a result says of that is not held against the page.
    """
    if os.environ.get("MNIST_SEED"):
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("moved-seeds.cfg"))
    config.pluginmanager.register(Outputs())  # A hook of this file's would see no notebook.
    # A suite that is started in the background inherits that Ctrl-C is ignored, and so would all
    # that it starts; some tests press it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    config.add_cleanup(profile.cleanup)
    startup = Path(profile.name) / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("kernel_startup.py"), startup)
    os.environ["IPYTHONDIR"] = profile.name


def pytest_xdist_make_scheduler(config, log):
    """Give each test file and each notebook, whole, to one of the workers."""

    class Files(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return nodeid.partition("::")[0]

    return Files(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes longest, which at the end would leave the other core idle.

    First come the notebooks, then the files with tests that are left out of `make test-fast`. While
    the first that needs the book builds it, the other worker does what needs none.
    """
    slow, with_book = set(), {}
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"html", "chromium"} & fixtures:
            item.add_marker("browser")
        if "html" in fixtures:
            with_book.setdefault(item.path, len(with_book))
        if any(map(item.get_closest_marker, ("browser", "cluster", "kernel", "training"))):
            slow.add(item.path)

    def rank(item):
        return not is_cell(item.nodeid), item.path not in slow, with_book.get(item.path, 0) > 0

    items.sort(key=rank)


class Outputs:
    """Compares what nbval does not: of every cell the kinds of its outputs, and its pictures."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        result = yield
        # Where MNIST_SEED moves the seeds, the pictures are others.
        if is_cell(item.nodeid) and not os.environ.get("MNIST_SEED"):
            told = outputs.differences(item.cell.outputs, item.test_outputs)
            if told:
                item.raise_cell_error(f"Other outputs than are stored: {'; '.join(told)}")
        return result


def is_cell(nodeid):
    """Tell a notebook's cell from a test."""
    return nodeid.partition("::")[0].endswith(".ipynb")


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Train in the test's own process, where it can look on, unless the test says otherwise."""
    with joblib.parallel_config(n_jobs=1):
        yield


@pytest.fixture(scope="module")
def imports_are_no_garbage():
    """Spare `clear_session`, which collects garbage, a look at all that TensorFlow imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def full_mnist(tmp_path_factory):
    """Let "full MNIST" be a small file, for this process and for those that it starts."""
    from utils import data
    from utils.data import source

    folder = tmp_path_factory.mktemp("full")
    quick = data.load_mnist("quick")
    mixed = np.arange(5_000).reshape(10, 500).T.ravel()  # Every digit in both parts.
    x = (quick.images[mixed, :, :, 0] * 255).round().astype(np.uint8)
    y = quick.labels[mixed].astype(np.uint8)
    parts = {"x_train": x[:4_000], "y_train": y[:4_000], "x_test": x[4_000:], "y_test": y[4_000:]}
    np.savez_compressed(folder / "mine.npz", **parts)
    published = dataclasses.replace(
        source.FULL,
        origin="no host",
        shapes={name: part.shape for name, part in parts.items()},
        md5={name: source.idx_md5(part) for name, part in parts.items()},
    )
    # Python imports this file when it starts, in those that train as well.
    patch = f"from utils.data import source\nsource.FULL = source.{published!r}\n"
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(patch, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "FULL", published)
        patch.setenv("MNIST_PATH", str(folder / "mine.npz"))
        patch.setenv("PYTHONPATH", f"{folder / 'site'}{os.pathsep}{ROOT}")
        patch.syspath_prepend(folder / "site")
        yield folder / "mine.npz"


@pytest.fixture
def records(monkeypatch, tmp_path):
    """Record in a folder of the test, and return the one around it."""
    from utils.evidence import records

    (tmp_path / "results").mkdir()
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path


@pytest.fixture(scope="session")
def html(tmp_path_factory):
    """Folder of the book's HTML pages, built once for all tests from the committed outputs."""
    output = tmp_path_factory.getbasetemp() / "book"
    if "PYTEST_XDIST_WORKER" in os.environ:  # The workers share it.
        output = output.parent.parent / "book"
    pages = output / "_build" / "html"
    with filelock.FileLock(f"{output}.lock"):
        if not (output / "built").exists():
            done = subprocess.run(
                [sys.executable, "-m", "utils.commands.book", "--output", str(output)],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            warned = [line for line in done.stderr.splitlines() if "WARNING" in line]
            assert done.returncode == 0, "\n".join(
                ["", *warned, done.stdout[-3000:], done.stderr[-3000:]]
            )
            (output / "built").touch()
    return pages


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
    """Print the seconds of each notebook, its kernel's start included, and of each test file."""
    seconds = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            path, _, test = getattr(report, "nodeid", "").partition("::")
            if test and hasattr(report, "duration"):
                seconds[path] += report.duration
    faults = [
        dict(report.user_properties)
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        if report.when == "call" and dict(report.user_properties).get("fault")
    ]
    if len(faults) > 1:
        terminalreporter.section("faults, what sees them, and seconds")
        for each in faults:
            seen = each["caught by"].removeprefix("tests/").partition("[")[0]
            terminalreporter.write_line(f"{each['took']:6.1f}  {each['fault']:48} {seen}")
    if len(seconds) > 1:
        terminalreporter.section("seconds")
        for path, total in sorted(seconds.items(), key=lambda item: -item[1]):
            terminalreporter.write_line(f"{total:7.1f}  {path}")
        terminalreporter.write_line(f"{sum(seconds.values()):7.1f}  all")
