"""The commands that a reader types: make and the modules behind it, and what CI runs."""

import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
import yaml
from helpers import python

from utils.commands import notebooks

ROOT = Path(__file__).resolve().parent.parent
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

needs_make = pytest.mark.skipif(
    shutil.which("make") is None and not os.environ.get("CI"), reason="no make here"
)


# ---- make -------------------------------------------------------------------------------------

# Stands for python3: makes an environment of itself, and writes down what it is asked to do.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) [ -n "$VERSION" ] || exec "{python}" "$@"
          exec "{python}" -c "import platform, sys
sys.version_info = tuple(map(int, '$VERSION'.split('.')))
platform.python_version = lambda: '$VERSION'
exec(sys.argv[1])" "$2" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *) echo "$@" >>calls; echo "$MNIST_SEED" >seed ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """Copy what make reads into a folder with a space in its name, with a stand-in for Python."""
    folder = tmp_path / "a course"
    folder.mkdir()
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for path in ROOT.glob("requirements*.txt"):
        shutil.copy(path, folder)
    python = folder / "fake-python"
    python.write_text(FAKE_PYTHON.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o755)
    return folder


def make(folder, *arguments, **environment):
    # An outer `make test` hands its own flags and variables down; they are not under test.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**inherited, "PYTHON": "./fake-python", **environment},
        capture_output=True,
        text=True,
    )


def calls(folder):
    path = folder / "calls"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def names_in(requirements):
    text = (ROOT / requirements).read_text(encoding="utf-8")
    return re.findall(r"^([\w.-]+)", text, re.M)


@needs_make
def test_make_alone_lists_every_target(project):
    done = make(project)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^  make ([\w-]+) ", done.stdout, re.M)) == set(TARGETS)
    assert calls(project) == []


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_what_exists(project, target):
    done = make(project, "-n", target)
    assert done.returncode == 0, done.stderr
    for module in re.findall(r"-m (utils[\w.]+)", done.stdout):
        assert find_spec(module), module
    for script in re.findall(r"\btests/\w+\.py", done.stdout):
        assert (ROOT / script).is_file(), script


@needs_make
def test_the_environment_is_made_once_and_arguments_reach_the_commands(project):
    assert make(project, "book").returncode == 0
    first = calls(project)
    assert [call for call in first if "pip install" in call] == [
        "-m pip install --quiet -r requirements.txt -c constraints.txt"
    ]
    for arguments, command in (
        (["book"], "book"),
        (["notebooks"], "notebooks --store"),
        (["results", "CLAIM=a-claim"], "notebooks --claim a-claim"),
        (["claim", "NAME=my-claim"], "claim -- my-claim"),
        (["notebooks", "NOTEBOOK=chapters/a.ipynb"], "notebooks --store chapters/a.ipynb"),
        (
            ["results", "CLAIM=a-claim", "SCHEDULER=tcp://host:1"],
            "notebooks --claim a-claim --scheduler tcp://host:1",
        ),
    ):
        assert make(project, *arguments).returncode == 0
        assert calls(project)[-1] == f"-m utils.commands.{command}"
    others = [call for call in calls(project)[len(first) :] if "utils.commands" not in call]
    assert len(others) == 1 and "requirements-cluster.txt" in others[0]
    (project / "calls").unlink()
    shutil.rmtree(project / ".venv")
    assert make(project, "install", "CONSTRAINTS=").returncode == 0  # The newest versions.
    assert calls(project) == ["-m pip install --quiet -r requirements.txt"]


@needs_make
@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt", "pyproject.toml"])
def test_the_environment_is_renewed_when_what_it_is_made_from_changes(project, name):
    assert make(project, "install").returncode == 0
    assert make(project, "-q", "install").returncode == 0
    later = time.time() + 5
    os.utime(project / name, (later, later))
    assert make(project, "-q", "install").returncode == 1
    # An installation that fails is not taken for an environment.
    os.utime(project / name)
    python = project / "fake-python"
    failing = python.read_text(encoding="utf-8").replace('echo "$@" >>calls', "exit 7")
    python.write_text(failing, encoding="utf-8")
    assert make(project, "install").returncode != 0
    assert make(project, "-q", "install").returncode == 1


@needs_make
def test_dask_is_installed_once_and_only_for_what_needs_it(project):
    dask = "-m pip install --quiet -r requirements-cluster.txt -c constraints.txt"
    for arguments in (["book"], ["results"], ["results", "CLAIM=max-or-mean"]):
        assert make(project, *arguments).returncode == 0
    assert dask not in calls(project)
    assert make(project, "results", "SCHEDULER=tcp://host:8786").returncode == 0
    assert calls(project)[-2:] == [dask, "-m utils.commands.notebooks --scheduler tcp://host:8786"]
    assert make(project, "test").returncode == 0
    assert calls(project).count(dask) == 1
    later = time.time() + 5
    os.utime(project / "requirements-cluster.txt", (later, later))
    assert make(project, "test").returncode == 0
    assert calls(project)[-2] == dask and calls(project)[-1].startswith("-m pytest ")


@needs_make
@pytest.mark.parametrize("target", ["test", "test-fast", "coverage"])
def test_seeds_are_moved_for_tests_and_for_nothing_else(project, target):
    clean = {"MNIST_SEED": ""}
    for arguments, seed in (([target], ""), ([target, "SEED=7"], "7"), (["book", "SEED=7"], "")):
        assert make(project, *arguments, **clean).returncode == 0
        assert (project / "seed").read_text(encoding="utf-8") == f"{seed}\n"


@needs_make
def test_what_checks_the_style_is_installed_only_where_it_does(project):
    tools = "-m pip install --quiet -r requirements-lint.txt -c constraints.txt"
    for target in ("book", "test", "check"):
        assert make(project, target).returncode == 0
    assert tools not in calls(project)
    for _ in range(2):
        assert make(project, "lint").returncode == 0
        assert calls(project)[-1].startswith("-m pre_commit run --all-files")
    assert calls(project).count(tools) == 1


def test_what_checks_the_style_is_pinned_and_each_hook_is_one_of_its_programs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert {repo["repo"] for repo in hooks} == {"local", "meta"}  # Nothing is fetched.
    wanted = set(names_in("requirements-lint.txt"))
    assert wanted <= set(names_in("constraints.txt"))
    programs = {
        hook["entry"].split()[0] for repo in hooks for hook in repo["hooks"] if "entry" in hook
    }
    assert programs == {f".venv/bin/{name}" for name in wanted - {"pre-commit"}}


@needs_make
def test_an_audit_that_reaches_nothing_fails_and_leaves_the_environment_alone(project):
    assert make(project, "audit").returncode == 0
    assert not (project / ".venv").exists()
    # Without --strict pip-audit passes over what PyPI does not answer for.
    assert re.match(r"-m pip_audit --strict .*-r constraints\.txt$", calls(project)[-1])


@needs_make
def test_coverage_ends_as_the_tests_do(project):
    assert make(project, "coverage", "TESTS=tests/a.py").returncode == 0
    assert [call.split()[2] for call in calls(project)[-4:]] == [
        "erase",
        "run",
        "combine",
        "report",
    ]
    assert calls(project)[-3].endswith(" tests/a.py")
    python = project / ".venv" / "bin" / "python"
    script = python.read_text(encoding="utf-8")
    python.write_text(script.replace("esac", "esac\n[ $3 != run ]"), encoding="utf-8")
    assert make(project, "coverage").returncode != 0
    assert [call.split()[2] for call in calls(project)[-2:]] == ["combine", "report"]


@needs_make
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"VERSION": "3.9.18"}, "3.9.18"),
        ({"VERSION": "3.14.0"}, "3.14.0"),
        ({"PYTHON": "./nowhere"}, "not there"),
    ],
)
def test_another_python_is_refused_in_one_message(project, environment, said):
    done = make(project, "book", **environment)
    assert done.returncode != 0
    assert "needs Python 3.10 to 3.13" in done.stderr and said in done.stderr
    assert "Traceback" not in done.stderr
    assert calls(project) == [] and not (project / ".venv").exists()


@needs_make
def test_serve_without_a_book_says_what_to_do(project):
    done = make(project, "serve")
    assert done.returncode != 0 and "make book" in done.stderr


@needs_make
def test_clean_keeps_the_environment(project):
    for name in ("_build/html", ".venv/lib/__pycache__", "utils/__pycache__", ".pytest_cache"):
        (project / name).mkdir(parents=True)
    assert make(project, "clean").returncode == 0
    assert not (project / "_build").exists() and not (project / "utils/__pycache__").exists()
    assert (project / ".venv/lib/__pycache__").exists()


# ---- what CI runs, and what the texts promise ------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_that_exist(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(workflow) >= {"name", "jobs"} and True in workflow  # YAML reads `on` as true
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = [
        target for step in steps for target in re.findall(r"make ([\w-]+)", step.get("run", ""))
    ]
    assert called and set(called) <= set(TARGETS)
    actions = [step["uses"] for step in steps if "uses" in step]
    assert [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
    for step in steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_ci_run_is_a_program():
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "chapters/running.md", "chapters/cluster.md"]
)
def test_a_text_names_targets_that_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^)make ([\w-]+)", text, re.M)
    assert named and set(named) <= set(TARGETS)


# ---- utils.commands.notebooks -----------------------------------------------------------------


def write(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.kernel
def test_a_stored_notebook_is_the_same_after_the_next_run_and_converts_to_a_script(tmp_path):
    path = write(
        tmp_path / "a.ipynb",
        "import os, sys\nprint(os.environ['MNIST_SCALE'], 'MNIST_CLAIM' in os.environ)\n"
        "for i in range(3): print(f'\\r{i}/3', end='', file=sys.stderr)",
        "object",
    )
    assert notebooks.main(["--store", str(path)]) == 0
    first = path.read_bytes()
    assert notebooks.main(["--store", str(path)]) == 0
    assert path.read_bytes() == first
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert [output.text for output in notebook.cells[0].outputs] == ["quick False\n"]
    assert not notebook.metadata.keys() - {
        "code_hash",
        "outputs_hash",
        "kernelspec",
        "language_info",
    }
    assert list(tmp_path.iterdir()) == [path]
    command = [sys.executable, "-m", "nbconvert", "--to", "script", "--log-level=ERROR", str(path)]
    assert subprocess.run(command).returncode == 0
    script = (tmp_path / "a.py").read_text(encoding="utf-8")
    assert "import os, sys\n" in script and "\nobject\n" in script


@pytest.mark.kernel
def test_a_failing_notebook_does_not_stop_the_next(tmp_path, capfd):
    bad = write(tmp_path / "bad.ipynb", "1 + 1", "raise ValueError('too bad')")
    before = bad.read_bytes()
    good = write(tmp_path / "good.ipynb", "2 + 2")
    loud = write(tmp_path / "loud.ipynb", "import warnings; warnings.warn('mind the gap')")
    dead = write(tmp_path / "dead.ipynb", "import os; os._exit(3)")
    assert notebooks.main(["--store", *map(str, (bad, good, loud, dead))]) == 1
    err = capfd.readouterr().err
    assert "cell 1: ValueError: too bad" in err and "mind the gap" in err
    failed = re.findall(r"^FAIL .*?(\w+)\.ipynb: (.*)", err, re.M)
    assert [name for name, _ in failed] == ["bad", "loud", "dead"]
    assert "the kernel died" in failed[2][1]
    assert bad.read_bytes() == before
    assert nbformat.read(good, as_version=4).cells[0].outputs[0].data["text/plain"] == "4"


@pytest.mark.kernel
def test_what_was_asked_for_reaches_the_kernel_and_no_output_is_stored(tmp_path, monkeypatch):
    names = "SCALE", "CLAIM", "SCHEDULER", "JOBS", "PROGRESS", "SEED"
    path = write(
        tmp_path / "a.ipynb", f"import os\n[os.environ.get(f'MNIST_{{n}}') for n in {names}]"
    )
    before = path.read_bytes()
    monkeypatch.setenv("MNIST_SCHEDULER", "tcp://other:1")
    monkeypatch.setenv("MNIST_SEED", "7")
    for given, expected in (
        (("max-or-mean", "tcp://host:8786", 3, "terminal"),) * 2,
        ((), (None, None, "1", "none")),
    ):
        notebook, _ = notebooks.execute(path, "full", *given)
        said = notebook.cells[0].outputs[0].data["text/plain"]
        assert said == repr(["full", *(each and str(each) for each in expected), None])
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="scale='medium'"):
        notebooks.execute(path, "medium")


def test_a_claim_is_looked_up_in_the_ledger(tmp_path):
    path = notebooks.notebook_of_claim("max-or-mean")
    assert path == ROOT / "chapters" / "pooling.ipynb"
    with pytest.raises(ValueError, match="claim='max-or-men' .* did you mean max-or-mean"):
        notebooks.notebook_of_claim("max-or-men")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: index\n", encoding="utf-8")
    with pytest.raises(ValueError, match="'pooling', which is not in _toc.yml"):
        notebooks.notebook_of_claim("max-or-mean", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--claim", "no-such-claim"], "no-such-claim"),
        (["--claim", "max-or-mean", "--store"], "--claim goes with neither --store nor a notebook"),
        (["--store", "--scheduler", "tcp://host:8786"], "--scheduler does not go with --store"),
        (["nowhere.ipynb"], "no notebook 'nowhere.ipynb' here"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_runs(arguments, said, capsys):
    with pytest.raises(SystemExit):
        notebooks.main(arguments)
    assert said in capsys.readouterr().err


def test_a_half_written_notebook_leaves_the_old_one(tmp_path, monkeypatch):
    path = write(tmp_path / "a.ipynb", "1")
    before = path.read_bytes()

    def fail(notebook, target):
        target.write_text("{", encoding="utf-8")
        raise OSError("no space left")

    monkeypatch.setattr(notebooks.nbformat, "write", fail)
    with pytest.raises(OSError, match="no space"):
        notebooks.store(nbformat.v4.new_notebook(), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("module", ["book", "check", "notebooks"])
def test_a_command_calls_itself_by_its_name_and_starts_without_tensorflow(module):
    code = f"""
        import sys, utils.commands.{module} as command
        assert "tensorflow" not in sys.modules
        command.main(["--help"])
    """
    assert python(code).startswith(f"usage: python -m utils.commands.{module} ")
