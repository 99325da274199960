"""A copy of the course in which something is broken, and its own tests run there."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"_build", "__pycache__"}


def course():
    """List the files of the course, as git knows them or, without it, as they lie there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists() and shutil.which("git"):
        names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        return [name for name in names.split("\0") if name and (ROOT / name).is_file()]
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    # Environments and caches begin with a dot; what the builder reads does not.
    return [
        path.as_posix()
        for path in paths
        if not LEFT_OUT & {*path.parts} and not re.match(r"\.(venv|git/|\w+_cache)", str(path))
    ]


class Tree:
    """A copy of the course; every change is taken back by `restored`.

    Parameters
    ----------
    folder : pathlib.Path
        Where it is made.
    """

    def __init__(self, folder):
        self.folder, self._changed = Path(folder), set()
        for name in course():
            self._take(name)

    def _take(self, name):
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.unlink(missing_ok=True)
        try:
            os.link(ROOT / name, there)
        except OSError:  # On another disk.
            shutil.copy2(ROOT / name, there)

    @contextlib.contextmanager
    def restored(self):
        """Take back every change at the end."""
        try:
            yield self
        finally:
            for name in self._changed:
                (self.folder / name).unlink(missing_ok=True)
                if (ROOT / name).is_file():
                    self._take(name)
            self._changed.clear()

    def path(self, name):
        """Give the place of a file of the copy, to be read."""
        return self.folder / name

    def read(self, name):
        return self.path(name).read_text(encoding="utf-8")

    def write(self, name, text):
        """Write a file anew; the original, of which the copy was a link, stays as it is."""
        self.remove(name)
        self.path(name).write_text(text, encoding="utf-8")

    def remove(self, name):
        self._changed.add(name)
        self.path(name).unlink(missing_ok=True)

    def replace(self, name, old, new):
        """Replace a text that stands exactly once in a file."""
        text = self.read(name)
        assert text.count(old) == 1, f"{name}: {old!r} is there {text.count(old)} times"
        self.write(name, text.replace(old, new))

    def notebook(self, name):
        return json.loads(self.read(name))

    def write_notebook(self, name, notebook):
        """Write a notebook as `make notebooks` would, whatever is in it."""
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
        self.write(name, f"{text}\n")


class Runner:
    """Runs pytest in a copy of the course, in forks of one process that has imported much.

    TensorFlow is imported once and not for every fault. Where a process may not be forked, each
    run is one of its own.
    """

    def __init__(self, folder):
        self.folder = folder
        self.forks = hasattr(os, "fork") and sys.platform != "darwin"
        self.process = None

    def start(self):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "COV_", "COVERAGE_", "MNIST_SEED"))
        }
        environment["PYTHONPATH"] = str(self.folder)
        forker = [sys.executable, str(Path(__file__).with_name("forker.py"))]
        self.process = subprocess.Popen(
            forker,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, tests, keep_bytecode=False):
        """Run some tests; their exit status and what they print."""
        if self.process is None or not self.forks:
            self.start()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            output = Path(scratch) / "output"
            arguments = [
                "-q",
                "--tb=short",
                "-p",
                "no:cacheprovider",
                "--color=no",
                "--disable-warnings",
            ]
            arguments += [f"--basetemp={scratch}/base", *tests]
            asked = {"arguments": arguments, "output": str(output), "keep": keep_bytecode}
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            status = int(self.process.stdout.readline())
            if not self.forks:
                self.stop()
            return status, output.read_text(encoding="utf-8", errors="replace")

    def stop(self):
        if self.process is not None:
            self.process.communicate()
