"""The kernels in which notebooks are tested: their cores, and whose warnings turn a cell red."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from test_outputs import curve, noise

pytestmark = pytest.mark.kernel

HERE = Path(__file__).resolve().parent
LIBRARY = """import warnings
def changes(stacklevel):
    warnings.warn("This will change.", FutureWarning, stacklevel=stacklevel)
"""
# Our own code, which only its name tells from a library.
OURS = """import types
ours = types.ModuleType("utils.something")
exec("import warnings\\ndef careful(): warnings.warn('Careful.')", vars(ours))
"""
CELLS = {
    "a library warns": "import a_library; a_library.changes(1)",
    "a library blames its caller": "import a_library; a_library.changes(2)",
    "the cell warns": "import warnings; warnings.warn('Careful.', FutureWarning)",
    "a module of utils warns": f"{OURS}ours.careful()",
    "the cell's code is doubtful": "[] is 1",
    "NumPy warns of the cell's numbers": "import numpy as np; np.array([1.0]) / 0; None",
    "two workers share the cores": "import os; assert int(os.environ['LOKY_MAX_CPU_COUNT']) >= 1",
    "a name of the start-up file is left": "show_ours, _install, sys, warnings",
}
GREEN = {"a library warns", "a library blames its caller", "two workers share the cores"}


def under_test(folder, **environment):
    """Test the notebooks of a folder as those of the course, and return what pytest prints."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-n0"]
        + ["-c", str(HERE.parent / "pyproject.toml"), "-rA", str(folder)],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}", **environment},
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run the cells in a notebook as the tests do, and return what nbval says of each."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "a_library.py").write_text(LIBRARY, encoding="utf-8")
    tags = {"tags": ["nbval-check-output"]}
    cells = [
        nbformat.v4.new_code_cell(source, metadata=tags, execution_count=number)
        for number, source in enumerate(CELLS.values(), 1)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "warnings.ipynb")
    done = under_test(folder, PYTEST_XDIST_WORKER_COUNT="2")
    said = re.findall(r"^(PASSED|FAILED) .*?::Cell (\d+)", done, re.M)
    by_number = {int(number): outcome for outcome, number in said}
    return {name: by_number[number] for number, name in enumerate(CELLS)}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_red_when_we_fail_or_warn_and_green_when_a_library_warns(outcomes, name):
    assert outcomes[name] == ("PASSED" if name in GREEN else "FAILED")


def test_a_picture_that_its_cell_does_not_draw_turns_it_red(tmp_path):
    shown, other = (curve(), noise())
    display = "from IPython.display import Image, display; import base64\n"
    display += f"display(Image(base64.b64decode({shown!r})))"
    cells = [
        nbformat.v4.new_code_cell(
            display,
            execution_count=number,
            outputs=[nbformat.v4.new_output("display_data", {"image/png": png, "text/plain": "x"})],
        )
        for number, png in enumerate((shown, other), 1)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    said = under_test(tmp_path)
    assert "1 failed, 1 passed" in said
    assert re.search(r"Cell 1: Other outputs than are stored: picture 1 looks different", said)


@pytest.mark.parametrize("seed, outcome", [("7", "passed"), ("", "failed")])
def test_only_where_seeds_are_moved_may_a_result_say_so(tmp_path, seed, outcome):
    cell = nbformat.v4.new_code_cell(
        "print('quick runs: 960 images, 2 seeds from 7.')",
        metadata={"tags": ["nbval-check-output"]},
        execution_count=1,
        outputs=[nbformat.v4.new_output("stream", text="quick runs: 960 images, 2 seeds.\n")],
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert f"1 {outcome}" in under_test(tmp_path, MNIST_SEED=seed)
