"""The course as others install it: sdist and wheel have all of it, and work far from a checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from utils.paths import ROOT

pytestmark = pytest.mark.training


def call(*command, cwd, **environment):
    """Run a command that has to succeed, and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def build(kind, source, target):
    """Build an sdist or a wheel as pip does, in an environment that has setuptools already."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    call(sys.executable, "-c", code, target, cwd=source)
    (path,) = target.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the wheel, built from the sdist, beside nothing but what it needs.

    Returns the Python, the folder of the installed package, and an empty folder.
    """
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", ".*", "_*", "*.ipynb", "*.egg-info", "tests")
    shutil.copytree(ROOT, source, ignore=ignore)
    # The pattern above is for what tools leave behind; a package begins with an underscore, too.
    shutil.copytree(ROOT / "utils", source / "utils", dirs_exist_ok=True)
    sdist = build("sdist", source, folder / "sdist")
    shutil.unpack_archive(sdist, folder / "unpacked")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = build("wheel", unpacked, folder / "wheel")

    venv.create(folder / "environment", symlinks=os.name != "nt")
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = folder / "environment" / scripts / "python"
    here = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(call(python, "-c", here, cwd=folder).strip())
    # The packages of this environment, without the .pth by which it finds the checkout.
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"], encoding="utf-8")
    call(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (folder / "empty").mkdir()
    return python, site / "utils", folder / "empty"


def files(folder):
    """Return the files of a folder, without what Python compiled."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.suffix != ".pyc"}


def test_the_wheel_has_every_file_of_the_rooms_and_all_records(installed):
    _, package, _ = installed
    records = {path.name for path in (ROOT / "chapters" / "results").glob("*.jsonl")}
    beside = {"chapters/claims.yml", "chapters/claims.schema.json"}
    beside |= {f"chapters/results/{name}" for name in records}
    assert len(records) > 40 and files(package) == files(ROOT / "utils") | beside


ROOMS = """
import importlib, pathlib, pkgutil, sys
import utils
package = pathlib.Path(sys.argv[1])
assert pathlib.Path(utils.__file__).parent.samefile(package), utils.__file__
for module in pkgutil.walk_packages(utils.__path__, "utils."):
    importlib.import_module(module.name)

from utils import data, evidence
from utils.evidence import ledger
from utils.widgets.explorer import explorer_html
claims = evidence.load_ledger()
assert len(claims) > 40 and len(data.load_mnist("quick").images) == 5_000
settings = dict(size=5, kernel=3, stride=1, padding=0, dilation=1, channels=1, filters=1)
html, _ = explorer_html({**settings, "transposed": False})
assert "<style>" in html and "<script" in html
assert "<select data-order" in ledger.controls_html([])
try:
    ledger.entries()
except FileNotFoundError as error:
    print(error)
assert not list(pathlib.Path().iterdir())
"""

TINY = """
import keras
from utils import evidence
from utils.experiments import Experiment

def net():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(10, "softmax"))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

tiny = Experiment("tiny", arms={"net": net}, seeds=2, train_size=100)
assert not tiny.recorded().complete
result = tiny.run("full")
assert len(result.best) == 2 and tiny.recorded().complete
print(tiny.run("quick"))
print(len(evidence.RecordFile.of("sharing").read()[0]))
"""


def test_every_room_imports_and_runs_are_recorded_in_the_users_folder(
    installed, full_mnist, tmp_path
):
    python, package, empty = installed
    before = files(package)
    script = tmp_path / "script.py"
    script.write_text(ROOMS + TINY, encoding="utf-8")
    site = str(full_mnist.parent / "site")
    said = call(python, script, package, cwd=empty, PYTHONPATH=site)
    assert "holds no notebook; allowed is the folder `chapters` of a checkout" in said
    # The courses' own are read.
    assert "2 of 2 runs recorded" in said and int(said.split()[-1]) > 20
    assert len((empty / "results" / "tiny.jsonl").read_bytes().splitlines()) == 2
    assert files(package) == before


@pytest.mark.parametrize("named", ["", "my records", "~/records"])
def test_the_folder_of_records_can_be_named_and_those_of_the_course_count_as_well(
    installed, tmp_path, named
):
    python, package, _ = installed
    code = "from utils import paths; print(paths.RESULTS, paths.SHIPPED, sep='|')"
    environment = {"MNIST_RESULTS": named, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    places = {python: package / "chapters" / "results", sys.executable: ROOT / "chapters/results"}
    for command, own in places.items():
        said = call(command, "-c", code, cwd=tmp_path, **environment)
        named_folder = tmp_path / (named.removeprefix("~/") or "results")
        in_checkout = command == sys.executable
        expected = (own, None) if in_checkout and not named else (named_folder, own)
        assert said.strip() == "|".join(map(str, expected))


def test_check_knows_what_the_wheel_needs_and_which_course_it_is(installed):
    python, package, empty = installed
    code = """if True:
        from utils.commands import check
        print(*(each.name for each in check.requirements(None)))
        print(*check.check_course())
    """
    needed, course = call(python, "-c", code, cwd=empty).splitlines()
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert needed.split() == re.findall(r'^    "([a-z][\w-]*)[<>=]', declared, re.M)
    assert course == f"OK   the course, {package}"
