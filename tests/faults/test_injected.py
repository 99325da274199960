"""Each fault that is put into a copy of the course turns those tests red that have to see it."""

import re
import time

import pytest
from catalogue import FAULTS
from tree import Runner, Tree

# The cheap ones start a process with TensorFlow as well.
CASES = [
    pytest.param(
        fault, id=fault.name, marks=getattr(pytest.mark, "training" if fault.cheap else "fault")
    )
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
    """Run all tests that are to see one of the faults while there is none: which are red."""
    here = [item for item in request.session.items if item.path == request.path]
    asked = [item.callspec.params["fault"] for item in here if hasattr(item, "callspec")]
    tests = list(dict.fromkeys(test for fault in asked for test in fault.tests))
    status, output = runner.run(tests, keep_bytecode=True)
    assert status in (0, 1), f"the tests do not even start:\n{output[-6_000:]}"
    return re.findall(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", output, re.M)


@pytest.fixture(scope="module")
def broken(tree, runner):
    """Put a fault in, and run what has to see it: what is to be said, and what is."""
    done = {}

    def run(fault):
        if fault.name not in done:
            with tree.restored():
                says = {each.name: each.edit(tree) for each in fault.together}
                result = runner.run(fault.tests)
            done.update({name: (said, *result) for name, said in says.items()})
        return done[fault.name]

    return run


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_seen_and_its_place_is_named(fault, unbroken, broken, record_property):
    red = [test for test in unbroken if test.startswith(fault.tests)]
    assert not red, "red without any fault"
    start = time.perf_counter()
    says, status, output = broken(fault)
    for name, value in (
        ("fault", fault.name),
        ("caught by", " ".join(fault.tests)),
        ("took", time.perf_counter() - start),
    ):
        record_property(name, value)
    assert status, f"{fault.tests} do not see it:\n{output[-3_000:]}"
    assert re.search(says, output), f"{says!r} is not in:\n{output[-6_000:]}"


def test_every_fault_has_a_name_of_its_own():
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) >= 40
