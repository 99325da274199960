"""The first cell of an exported notebook: it installs the course where it is missing, once."""

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from test_package import call

from utils.commands.export import install_cell
from utils.paths import ROOT

pytestmark = [
    pytest.mark.training,
    pytest.mark.skipif(shutil.which("git") is None, reason="no git here"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Hold what is installed in a repository, and give its address."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("utils", "chapters"):
        ignore = shutil.ignore_patterns("__pycache__", "_static", "*.ipynb")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    call("git", "init", "--quiet", cwd=folder)
    call("git", "add", ".", cwd=folder)
    someone = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    call("git", *someone, "commit", "--quiet", "-m", "All of it", cwd=folder)
    return folder.as_uri()


@pytest.fixture
def run(tmp_path):
    """Run code in an environment that has what the course needs, and not the course."""
    venv.create(tmp_path / "environment", symlinks=os.name != "nt", with_pip=True)
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = tmp_path / "environment" / scripts / "python"
    here = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(call(python, "-c", here, cwd=tmp_path).strip())
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    (tmp_path / "empty").mkdir()

    def run(code):
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        # Nothing is fetched: what builds the package is in this environment.
        environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        return subprocess.run(
            [python, "-c", code],
            cwd=tmp_path / "empty",
            env=environment,
            capture_output=True,
            encoding="utf-8",
        )

    run.folder, run.site = tmp_path / "empty", site
    return run


WHERE = "\nimport utils.evidence; print(utils.__file__)"


def test_the_cell_installs_the_course_once_and_from_then_on_does_nothing(address, run):
    assert "No module named 'utils'" in run(WHERE).stderr
    first = run(install_cell(address) + WHERE)
    assert first.returncode == 0, first.stderr
    assert first.stdout.split() == [str(run.site / "utils" / "__init__.py")]
    # No repository is asked again.
    again = run(install_cell("file:///nowhere") + WHERE)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr


@pytest.mark.parametrize("name", ["utils.py", "utils/__init__.py", "utils/other.py"])
def test_another_utils_in_the_way_is_named_and_nothing_is_installed(run, name):
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = run(install_cell("file:///nowhere"))
    assert done.returncode and "another `utils` is in the way of the course" in done.stderr
    assert "rename or move" in done.stderr.splitlines()[-1]
    assert not (run.site / "utils").exists()


def test_an_address_that_leads_nowhere_is_an_error(run):
    done = run(install_cell((run.folder / "nothing").as_uri()))
    assert done.returncode and "pip" in done.stderr
