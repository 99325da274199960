"""The progress bar: seen while a run is under way, kept by no page."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from utils.experiments.progress import progress_bar

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parent.parent
LOOP = """
import time
from utils.experiments.progress import progress_bar
with progress_bar(3, "three steps") as bar:
    for _ in range(3):
        time.sleep(0.15)  # The bar is drawn ten times a second at most.
        bar.update()
print("done")
"""


def run_notebook(*cells, **settings):
    """Run cells in a kernel and note what a reader sees of them in the meantime."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    shown = []

    class Watching(NotebookClient):
        def process_message(self, message, cell, index):
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"].get("text/plain"))
            return super().process_message(message, cell, index)

    client = Watching(notebook, resources={"metadata": {"path": str(ROOT)}}, timeout=60)
    client.allow_errors = settings.pop("allow_errors", False)
    client.execute(**settings)
    return notebook, shown


def test_the_bar_counts_also_to_nothing():
    with progress_bar(3, "three steps") as bar:
        bar.update()
        bar.update(2)
    assert bar.total == 3
    with progress_bar(0, "nothing to do"):
        pass


@pytest.mark.parametrize("asked", [{}, {"MNIST_PROGRESS": "terminal"}])
def test_where_neither_notebook_nor_terminal_is_there_it_writes_if_it_is_asked_to(asked):
    command, environment = [sys.executable, "-c", LOOP], {**os.environ, **asked}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (done.returncode, done.stdout) == (0, "done\n")
    if asked:
        assert "three steps" in done.stderr and "3/3" in done.stderr
    else:
        assert done.stderr == ""


def test_in_a_terminal_the_usual_bar_is_shown_and_taken_away(in_terminal):
    output, text = in_terminal(sys.executable, "-c", LOOP)
    assert output == "done\n"
    assert "three steps" in text and "3/3" in text
    after = text.rpartition("3/3")[2].partition("\r")[2]
    assert after and after.strip() == ""  # What follows writes blanks over the line.


@pytest.mark.parametrize("fails", [False, True])
def test_a_notebook_shows_the_bar_and_stores_nothing_of_it(fails, monkeypatch):
    monkeypatch.setenv("MNIST_PROGRESS", "")  # A kernel under test shows none unless it is told.
    failing = LOOP.replace("bar.update()", "bar.update(); raise OSError('it failed')")
    notebook, shown = run_notebook(failing if fails else LOOP, allow_errors=fails)
    assert any(text and "three steps" in text and (fails or "3/3" in text) for text in shown)
    outputs = notebook.cells[0].outputs
    if fails:
        last = outputs.pop()
        assert last.output_type == "error" and "it failed" in last.evalue
    said = [output.text for output in outputs if output.output_type == "stream"]
    assert said == [] if fails else said == ["done\n"]
    for output in outputs:
        assert output.output_type == "stream" or output.data == {}
    assert "three steps" not in json.dumps(outputs)


def test_a_notebook_asked_for_the_terminal_stores_nothing_and_writes_there(tmp_path):
    log = tmp_path / "terminal"
    with log.open("wb") as terminal:
        notebook, shown = run_notebook(
            LOOP, env={**os.environ, "MNIST_PROGRESS": "terminal"}, stderr=terminal
        )
    assert shown == []
    assert "three steps" in log.read_text(encoding="utf-8")
    assert [output.get("name") for output in notebook.cells[0].outputs] == ["stdout"]
