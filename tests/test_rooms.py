"""The rooms of `utils`: who may import whom, and what starts without TensorFlow."""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from utils.paths import ROOT

# From the ground up. `paths`, `lazy` and `checked` are where everything may look.
MAY_IMPORT = {
    "paths": set(),
    "lazy": set(),
    "checked": set(),
    "data": set(),
    "theory": set(),
    "evidence": {"data", "theory"},
    "experiments": {"data", "theory", "evidence"},
    "figures": {"data", "theory", "evidence"},
    "widgets": {"data", "theory", "evidence", "figures"},
    "commands": {"data", "theory", "evidence", "experiments", "figures", "widgets"},
}
FILES = {
    path.relative_to(ROOT)
    .with_suffix("")
    .as_posix()
    .replace("/", ".")
    .removesuffix(".__init__"): path
    for path in (ROOT / "utils").rglob("*.py")
}
WITHOUT_TENSORFLOW = ["data", "theory", "evidence", "figures", "widgets", "experiments"]


def imported_by(module):
    """Name the modules of `utils` that a module imports, wherever in its file."""
    names = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides where it leads"
            for alias in node.names:
                part = f"{node.module}.{alias.name}"
                names.add(part if part in FILES else node.module)
    return {name for name in names if name in FILES and name != "utils"}


def room(module):
    return module.split(".")[1]


def test_every_room_is_known():
    assert {room(module) for module in FILES if module != "utils"} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(set(FILES) - {"utils"}))
def test_a_module_imports_only_its_own_room_and_those_below(module):
    allowed = MAY_IMPORT[room(module)] | {room(module), "paths", "lazy", "checked"}
    assert {name for name in imported_by(module) if room(name) not in allowed} == set()


def test_what_the_course_imports_is_declared():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES.values()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    used = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"utils"}
    files = ("pyproject.toml", "requirements.txt", "requirements-cluster.txt")
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in files)
    declared = set(re.findall(r'^(?:    ")?([a-z][\w-]*)>=', text, re.M))
    # Parts of jupyter-book.
    declared |= {"beautifulsoup4", "docutils", "myst-nb", "sphinx", "sphinx-external-toc"}
    homes = packages_distributions()
    homes = {name: {home.lower().replace("_", "-") for home in homes[name]} for name in used}
    assert {name for name in used if not declared & homes[name]} == set()


def test_every_dependency_has_a_range_and_a_pin():
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", pins, re.M)}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.M | re.S)
    lines = {"pyproject.toml": re.findall(r'^\s*"(.*?)"', listed, re.M)}
    for path in ROOT.glob("requirements*.txt"):
        lines[path.name] = re.findall(r"^\w[^#\n]*", path.read_text(encoding="utf-8"), re.M)
    wrong = []
    for name, given in lines.items():
        assert given, name
        for one in map(Requirement, given):
            if not any(part.operator == ">=" for part in one.specifier):
                wrong.append(f"{name}: {one} has no range")
            if canonicalize_name(one.name) not in pinned:
                wrong.append(f"constraints.txt does not pin {one.name}, of {name}")
    assert not wrong


def test_no_module_imports_itself_by_way_of_others():
    graphlib.TopologicalSorter({module: imported_by(module) for module in FILES}).prepare()


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_a_room_that_trains_nothing_starts_without_tensorflow(name):
    # What it gives by name, and every module of a room in which none needs it.
    whole = [module for module in FILES if room(f"{module}.") == name and name != "experiments"]
    code = f"""
import importlib, json, sys
for name in {["utils." + name, *sorted(whole)]}:
    importlib.import_module(name)
print(json.dumps(sorted({{"tensorflow", "keras", "torch", "jax", "sklearn"}} & set(sys.modules))))
"""
    command = [sys.executable, "-c", code]
    assert json.loads(subprocess.check_output(command, cwd=ROOT, encoding="utf-8")) == []


def test_settings_are_made_before_tensorflow_starts_and_the_users_win():
    names = "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS"
    others = {name: value for name, value in os.environ.items() if name not in names}
    code = f"import utils, os; print(*(os.environ[name] for name in {names}))"
    for given, expected in (({}, "3 1"), (dict.fromkeys(names, "0"), "0 0")):
        command = [sys.executable, "-c", code]
        said = subprocess.check_output(command, cwd=ROOT, env={**others, **given}, encoding="utf-8")
        assert said.strip() == expected
