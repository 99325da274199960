"""`make check`: what it finds, what is in the way, and that it asks as the course itself does."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import python

from utils.commands import check
from utils.data import source
from utils.paths import ROOT


@pytest.mark.training
def test_check_passes_here_and_says_nothing_else():
    command = [sys.executable, "-m", "utils.commands.check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert all(re.match(r"(OK  |FAIL|--  ) \S", line) for line in lines[:-1])
    files = ((ROOT / name).read_text("utf-8") for name in ("requirements.txt", "pyproject.toml"))
    direct = re.findall(r'^(?:    ")?([a-z][\w-]*)[<>=]', "\n".join(files), re.M)
    assert {"pytest", "jinja2", "psutil"} <= set(direct)
    for name in direct:
        assert sum(line.split()[1] == name for line in lines) == 1, name


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("numpy>=99", "FAIL numpy"),
        ("pytest<3", "FAIL pytest"),
        ("no-such-package>=1", "FAIL no-such-package is missing"),
    ],
)
def test_check_fails_when_a_requirement_is_not_met(tmp_path, monkeypatch, capsys, line, said):
    path = tmp_path / "requirements.txt"
    path.write_text(f"# a comment\n-e .\n\n{line}  # what for\n", encoding="utf-8")
    monkeypatch.setattr(check, "check_training", lambda: (check.OK, "not under test"))
    assert check.main(["--requirements", str(path)]) == 1
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"), [({}, "on (TF"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "off")]
)
def test_onednn_is_on_unless_the_user_says_otherwise(given, told, monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")  # As this process has set it.
    said = python("import utils.commands.check as check; print(*check.check_onednn())", **given)
    assert said.startswith(f"OK   oneDNN {told}")


def test_check_reports_a_fault_in_one_line():
    def check_that():
        raise RuntimeError("two\nlines")

    assert check.run_check(check_that) == (check.FAIL, "that: RuntimeError: two lines")


def test_check_names_a_missing_requirements_file(capsys):
    with pytest.raises(SystemExit):
        check.main(["--requirements", "nowhere.txt"])
    assert "nowhere.txt" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["utils.py", "utils/__init__.py", "utils/"])
def test_another_utils_beside_the_notebooks_is_named(tmp_path, monkeypatch, name):
    assert check.check_course()[0] == check.OK
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name.endswith("/") else path.touch()
    monkeypatch.setattr(check, "CHAPTERS", tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path.parent)
    status, text = check.check_course()
    assert status == check.FAIL and f"rename or move {path}" in text


def test_a_course_that_is_not_installed_is_named(tmp_path, monkeypatch):
    python = Path(shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(check, "CHAPTERS", tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path.parent)
    monkeypatch.setenv("PYTHONNOUSERSITE", "1")
    assert check.check_course() == (
        check.FAIL,
        f"the notebooks do not find the course: {check.INSTALL}",
    )


def test_full_mnist_is_looked_for_where_it_will_be_read(tmp_path, monkeypatch):
    monkeypatch.delenv("MNIST_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/x")
    assert check.check_full_data()[0] == check.ABSENT
    cache = tmp_path / "x" / "datasets" / "mnist.npz"
    assert source.keras_cache() == cache
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"not what Keras keeps")
    status, text = check.run_check(check.check_full_data)
    assert status == check.FAIL and str(cache) in text


def intel_mac(folder):
    """Write a stand-in for a Python on a Mac with an Intel processor."""
    python = folder / "python"
    say = "import platform; platform.system = lambda: 'Darwin'; platform.machine = lambda: 'x86_64'"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{say}\n$2"\ntouch called\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    return python


def test_an_intel_mac_is_refused_in_one_line_before_anything_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(check.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(check.platform, "machine", lambda: "x86_64")
    status, text = check.check_python()
    assert status == check.FAIL and "no wheel for Macs with Intel processors" in text
    if shutil.which("make") is None:
        pytest.skip("no make here")
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    # An outer `make test` hands its own flags down; they are not under test.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "install", f"PYTHON={intel_mac(tmp_path)}"]
    settings = {"capture_output": True, "encoding": "utf-8"}
    done = subprocess.run(command, cwd=tmp_path, env=clean, **settings)
    assert done.returncode != 0 and "no wheel for Macs with Intel processors" in done.stderr
    assert not (tmp_path / "called").exists() and not (tmp_path / ".venv").exists()


def test_a_browser_that_is_not_on_the_path_is_found_where_windows_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(check.shutil, "which", lambda name: None)
    monkeypatch.setenv("PROGRAMFILES(X86)", str(tmp_path))
    edge = tmp_path / "Microsoft" / "Edge" / "Application" / "msedge.exe"
    edge.mkdir(parents=True)
    assert check.browser() != str(edge)  # A folder is none.
    edge.rmdir()
    edge.touch()
    monkeypatch.setattr(check.Path, "is_file", lambda path: path.name == edge.name)
    assert check.browser() == str(edge)
