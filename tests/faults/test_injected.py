"""Each fault that is put into a copy of the course turns those tests red that have to see it."""

import re
import time

import pytest
from catalogue import FAULTS
from tree import Runner, Tree

pytestmark = pytest.mark.faults
CASES = [
    pytest.param(fault, id=fault.name, marks=[] if fault.cheap else pytest.mark.slow_fault)
    for fault in FAULTS
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return Tree(tmp_path_factory.mktemp("course"))


@pytest.fixture(scope="module")
def runner(tree):
    runner = Runner(tree.folder)
    yield runner
    runner.stop()


@pytest.fixture(scope="module")
def unbroken(request, runner):
    """Run all tests that are to see one of the faults while there is none."""
    asked = [
        item.callspec.params["fault"] for item in request.session.items if item.fspath == __file__
    ]
    tests = list(dict.fromkeys(test for fault in asked for test in fault.tests))
    status, output = runner.run(tests, keep_bytecode=True)
    assert status == 0, f"red without any fault:\n{output[-6_000:]}"


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_seen_and_its_place_is_named(fault, tree, runner, unbroken, record_property):
    with tree.restored():
        says = fault.edit(tree)
        start = time.perf_counter()
        status, output = runner.run(fault.tests)
    record_property("fault", fault.name)
    record_property("caught by", ", ".join(fault.tests))
    record_property("took", time.perf_counter() - start)
    # 1: a test failed; 2: its file could not even be imported.
    assert status in (1, 2), f"{fault.tests} do not see it (exit status {status}):\n{output[-3_000:]}"
    assert re.search(says, output), f"{says!r} is not in:\n{output[-6_000:]}"


def test_every_fault_has_a_name_of_its_own():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 40
