"""A chapter in a running JupyterLab: its cells run to the end, and its slider moves."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from test_browser import chromium  # noqa: F401 - a fixture

pytestmark = [pytest.mark.browser, pytest.mark.kernel]

ROOT = Path(__file__).resolve().parent.parent
# Of those with a slider and an experiment the one that takes least time.
CHAPTER = "seconds"
TOKEN = "for-this-test"


@contextlib.contextmanager
def opened(chromium, notebook, **environment):  # noqa: F811
    """Open a copy of a notebook in a JupyterLab of its own, as soon as its kernel is ready."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        # Without the numbers of its stored run, which would look as if it had run.
        copy = nbformat.read(notebook, as_version=4)
        for cell in copy.cells:
            if cell.cell_type == "code":
                cell.update(execution_count=None, outputs=[])
        nbformat.write(copy, folder / "work" / notebook.name)
        # Cells that are out of sight are in the page as well.
        settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
        settings.mkdir(parents=True)
        (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
        command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
        command += [f"--ServerApp.root_dir={folder / 'work'}"]
        homes = {"HOME": "", "JUPYTER_CONFIG_DIR": "config", "JUPYTERLAB_SETTINGS_DIR": "settings"}
        homes["JUPYTERLAB_WORKSPACES_DIR"] = "workspaces"
        environment |= {name: str(folder / part) for name, part in homes.items()}
        quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        process = subprocess.Popen(command, env=os.environ | environment, **quiet)
        try:
            for _ in range(300):
                assert process.poll() is None, "JupyterLab has ended"
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                    break
                time.sleep(0.2)
            context = chromium.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.set_default_timeout(60_000)
            tab.goto(f"http://127.0.0.1:{port}/lab/tree/{notebook.name}?token={TOKEN}")
            # A run that is asked for while the page still connects to its kernel may get lost.
            tab.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
            yield tab
            context.close()
        finally:
            process.terminate()
            process.wait(30)


def run_all(tab, count):
    """Run all cells, so many, to the last, and see that none fails or complains."""
    notebook = tab.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-CodeCell").nth(count - 1).wait_for(state="attached")
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # In a new kernel the cells are numbered from 1 to their count; one that waits shows a star.
    tab.wait_for_function(
        """(count) => {
          const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
          const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
          const numbers = prompts.map(each => each.textContent.match(/\\d+/)?.[0]);
          return failed || new Set(numbers).size === count && numbers.every(each => +each > 0)
            && Math.max(...numbers) === count;
        }""",
        arg=count,
        timeout=600_000,  # The machine may be busy; alone it takes a tenth of this.
        polling=500,  # With every frame, it would take as long as a cell.
    )
    for kind in ("error", "stderr"):
        assert notebook.locator(f'[data-mime-type="application/vnd.jupyter.{kind}"]').count() == 0


def test_a_chapter_runs_to_its_end_and_its_slider_moves(chromium):  # noqa: F811
    chapter = ROOT / "chapters" / f"{CHAPTER}.ipynb"
    cells = nbformat.read(chapter, as_version=4).cells
    with opened(chromium, chapter) as tab:
        run_all(tab, sum(cell.cell_type == "code" for cell in cells))
        player = tab.locator(".jp-NotebookPanel:visible .slider").first
        player.scroll_into_view_if_needed()
        slider, shown = player.locator("input"), player.locator(".slider-state:not([hidden])")
        first = shown.get_attribute("data-name")
        assert slider.is_enabled() and shown.count() == 1
        slider.focus()
        tab.keyboard.press("ArrowRight")
        second = shown.get_attribute("data-name")
        assert second != first and slider.get_attribute("aria-valuetext") == second
        box = slider.bounding_box()
        tab.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        assert shown.get_attribute("data-name") not in (first, second)
