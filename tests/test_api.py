"""The reference: every public name of `utils` is on a page of the book."""

import importlib
import inspect
import posixpath

import pytest
from sphinx.util.inventory import InventoryFile

from utils.commands import docstrings

ROOMS = ["data", "evidence", "experiments", "figures", "widgets"]


def public(room):
    """Name what a room gives."""
    return {f"utils.{room}.{name}" for name in importlib.import_module(f"utils.{room}").__all__}


def defined_in(module):
    """Name the functions and classes that a module defines and does not hide."""
    there = vars(importlib.import_module(module))
    kinds = inspect.isfunction, inspect.isclass
    return {
        f"{module}.{name}"
        for name, each in there.items()
        if any(kind(each) for kind in kinds) and each.__module__ == module and name[0] != "_"
    }


@pytest.fixture(scope="module")
def listed(html):
    with (html / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    return {
        name: entry[2].partition("#")[0].removesuffix(".html")
        for kind, entries in inventory.items()
        if kind.startswith("py:")
        for name, entry in entries.items()
    }


@pytest.mark.browser
@pytest.mark.parametrize("room", ROOMS)
def test_every_name_that_a_room_gives_is_on_its_page(listed, room):
    names = public(room)
    assert len(names) >= 4
    assert {name: listed.get(name) for name in names} == dict.fromkeys(
        names, f"chapters/api-{room}"
    )


@pytest.mark.browser
@pytest.mark.parametrize("module", ["utils.theory.arithmetic", "utils.theory.reference"])
def test_every_function_of_the_theory_is_on_its_page(listed, module):
    names = defined_in(module)
    assert len(names) > 10
    assert {name: listed.get(name) for name in names} == dict.fromkeys(names, "chapters/api-theory")


@pytest.mark.parametrize("room", ["evidence", "experiments"])
def test_a_room_that_imports_when_asked_lists_what_it_gives(room):
    module = importlib.import_module(f"utils.{room}")
    assert {*module.__all__, "__all__", "__name__"} <= {*dir(module)}


def test_references_become_a_list_and_what_points_to_them_its_numbers():
    text = "A layer [2]_, [12]_.\n\nReferences\n----------\n.. [2] A. B.,\n   2016.\n.. [12] C."
    said = docstrings.plain_references(text)
    assert said == "A layer [2], [12].\n\n**References**\n\n2. A. B.,\n   2016.\n12. C."
