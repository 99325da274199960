"""Runs the notebooks: at full scale for their records, or at quick scale for their pages.

``python -m utils.results`` is what ``make results`` runs: every notebook that holds an
experiment with runs that are not recorded yet, on full MNIST. It says first what is missing and
what it will cost. Only what the experiments record counts; outputs are discarded. What is
recorded already is not run again, so a run that was stopped goes on where it stood.

``python -m utils.results --store`` is what ``make notebooks`` runs: every notebook at quick
scale, with its outputs stored in place.
"""

import argparse
import asyncio
import difflib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import yaml
from joblib import cpu_count
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

from utils.commands import book, plan
from utils.commands.costs import Costs, Progress, describe, duration
from utils.evidence.records import RESULTS
from utils.experiments.backends import dask as cluster
from utils.experiments.backends import local as processes

LEDGER = Path("chapters") / "claims.yml"

# All that a notebook keeps about its kernel: versions and paths of one machine stay out.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


class NotebookError(RuntimeError):
    """A notebook cannot be run, or must not be stored."""


class _Client(NotebookClient):
    """Shows what a cell writes to its standard error while it runs, and stops on Ctrl-C."""

    def __init__(self, notebook, **settings):
        super().__init__(notebook, **settings)
        self.stderr_of_cell = {}
        self.stopped = False

    async def async_start_new_kernel(self, **settings):
        task = asyncio.current_task()

        def stop():
            # To nbclient a cancelled cell and a dead kernel are one and the same error.
            self.stopped = True
            task.cancel()

        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
        except RuntimeError:  # Windows has no such handlers
            pass
        await super().async_start_new_kernel(**settings)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            text = msg["content"]["text"]
            self.stderr_of_cell[cell_index] = self.stderr_of_cell.get(cell_index, "") + text
            with tqdm.external_write_mode(file=sys.stderr):  # Above a bar, not into it.
                sys.stderr.write(text)
                sys.stderr.flush()
        return super().process_message(msg, cell, cell_index)


def execute(path, scale, claim=None, scheduler=None, jobs=1):
    """Run one notebook from its first cell to its last in a kernel of its own.

    Parameters
    ----------
    path : path
        The notebook; the kernel works in its folder.
    scale : {"quick", "full"}
        What the kernel's ``MNIST_SCALE`` says.
    claim : str, optional
        What the kernel's ``MNIST_CLAIM`` says: its experiment is the only one that is run.
    scheduler : str, optional
        What the kernel's ``MNIST_SCHEDULER`` says: the Dask cluster that trains.
    jobs : int
        What the kernel's ``MNIST_JOBS`` says: how many runs at full scale are trained at a time.

    Returns
    -------
    notebook : nbformat.NotebookNode
        The executed notebook; the file is untouched.
    stderr : dict of int to str
        What cells wrote to their standard error, by the cell's position.

    Raises
    ------
    ValueError
        If `scale` is neither of the two.
    NotebookError
        If a cell fails or the kernel dies; the message names the cell.
    KeyboardInterrupt
        On Ctrl-C, after the kernel is gone.
    """
    if scale not in ("quick", "full"):
        raise ValueError(f"scale={scale!r} must be 'quick' or 'full'")
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    environment = {
        **os.environ,
        "MNIST_SCALE": scale,
        # At full scale the progress of all notebooks is shown, and not that of one experiment.
        "MNIST_PROGRESS": "terminal" if scale == "quick" else "none",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "MNIST_JOBS": str(jobs),
    }
    for name, value in (("MNIST_CLAIM", claim), ("MNIST_SCHEDULER", scheduler)):
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    client = _Client(
        notebook,
        kernel_name=KERNEL["name"],
        timeout=None,
        record_timing=False,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    try:
        # What a cell writes comes as a message; left open, the kernel's stderr would show it twice.
        asyncio.run(client.async_execute(env=environment, stderr=subprocess.DEVNULL))
    except CellExecutionError as error:
        raise NotebookError(
            f"cell {_failed_cell(notebook)}: {error.ename}: {error.evalue}\n{error.traceback}"
        ) from None
    except (DeadKernelError, asyncio.CancelledError) as error:
        if client.stopped:
            raise KeyboardInterrupt from None
        raise NotebookError(f"the kernel died (out of memory?): {error}") from None
    return notebook, client.stderr_of_cell


def _failed_cell(notebook):
    for position, cell in enumerate(notebook.cells):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return position
    return "?"


def tidy(notebook, stderr=None):
    """Take out of an executed notebook what would differ at its next run.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Executed; it is not changed.
    stderr : dict of int to str, optional
        What cells wrote to their standard error, by the cell's position, as `execute` gives it.

    Returns
    -------
    nbformat.NotebookNode
        Without progress bars, machine and versions; with names of cells and widgets that depend
        on their place alone.

    Raises
    ------
    NotebookError
        If a cell wrote anything but a progress bar to its standard error: a page shows none.
    """
    for position, text in (stderr or {}).items():
        # A progress bar rewrites its line: each of its lines starts with a carriage return.
        loose = [line for line in text.split("\n") if line.strip() and not line.startswith("\r")]
        if loose:
            raise NotebookError(f"cell {position} wrote to its standard error: {loose[0].strip()}")
    text = nbformat.writes(notebook)
    widgets = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for number, model in enumerate(widgets):
        text = text.replace(model, f"widget-{number:05d}")
    result = nbformat.reads(text, as_version=4)
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    if widgets:
        metadata["widgets"] = result.metadata["widgets"]
    result.metadata = nbformat.from_dict(metadata)
    result.nbformat, result.nbformat_minor = 4, 5
    seen = set()
    for position, cell in enumerate(result.cells):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{position:03d}"
        seen.add(cell["id"])
        for name in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    nbformat.validate(result)
    return result


def store(notebook, path):
    """Write a notebook so that its file is either the old one or the whole new one.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        What to write.
    path : path
        Where to.
    """
    path = Path(path)
    half = path.with_name(f".{path.name}.half")
    try:
        nbformat.write(notebook, half)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def holds_experiment(path):
    """Say whether a code cell of a notebook defines an experiment.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    bool
    """
    notebook = nbformat.read(path, as_version=4)
    return any(
        cell.cell_type == "code" and re.search(r"\bExperiment\s*\(", cell.source)
        for cell in notebook.cells
    )


def notebook_of_claim(claim, root=book.ROOT):
    """Notebook of the chapter that settles a claim.

    Parameters
    ----------
    claim : str
        Its id in the ledger, ``chapters/claims.yml``.
    root : path
        The repository.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If the ledger has no such claim, or the book does not have its chapter yet.
    """
    root = Path(root)
    ledger = yaml.safe_load((root / LEDGER).read_text(encoding="utf-8"))
    chapters = {entry["id"]: entry["chapter"] for entry in ledger["claims"]}
    if claim not in chapters:
        near = ", ".join(difflib.get_close_matches(str(claim), chapters, n=3))
        hint = f"; did you mean {near}?" if near else ", which lists the ids that are allowed"
        raise ValueError(f"claim={claim!r} is not in {LEDGER}{hint}")
    for path in book.notebooks(root):
        if path.stem == chapters[claim]:
            return path
    raise ValueError(
        f"claim={claim!r} belongs to the chapter {chapters[claim]!r}, which is not in _toc.yml yet"
    )


def main(arguments=None):
    """Run the notebooks and report; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.results",
        description="Run the experiments on full MNIST and record them; resumes where it stood.",
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="these alone (all by default)")
    parser.add_argument("--claim", help="only the experiment of this claim (an id of the ledger)")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="train on the Dask cluster of this scheduler, such as tcp://host:8786 "
        "(by default what MNIST_SCHEDULER says; without either, in this machine's notebooks)",
    )
    parser.add_argument(
        "--jobs",
        type=_at_least_one,
        metavar="N",
        help="how many runs to train at a time on this machine, sharing its cores: each takes some "
        "2 GB of memory (by default what MNIST_JOBS says; without either, two where it has two)",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="run at quick scale instead, and store the outputs in the notebooks",
    )
    options = parser.parse_args(arguments)
    if options.claim and (options.store or options.notebooks):
        parser.error("--claim goes with neither --store nor a notebook")
    if options.scheduler and options.store:
        parser.error("--scheduler does not go with --store: a page is run on one machine")
    if options.jobs and options.store:
        parser.error("--jobs does not go with --store: that trains at quick scale")
    for path in options.notebooks:
        if path.suffix != ".ipynb" or not path.is_file():
            parser.error(f"no notebook {str(path)!r} here")
    scheduler = None if options.store else options.scheduler or os.environ.get("MNIST_SCHEDULER")
    if options.jobs and scheduler:
        parser.error(
            f"--jobs does not go with a scheduler, and {scheduler} is given (by --scheduler or "
            "MNIST_SCHEDULER): on a cluster as many runs are trained at a time as it has workers"
        )
    try:
        # How many workers a cluster has, and will have, is not known here.
        jobs = 1 if scheduler or options.store else options.jobs or _usual_jobs()
        if scheduler:
            cluster.connect(scheduler).close()
        paths = _chosen(options)
    except (ValueError, cluster.ClusterError) as error:
        parser.error(str(error))
    if not paths:
        print("No notebook of the book holds an experiment yet.")
        return 0
    try:
        if options.store:
            return _report(_run_all(paths, "quick"))
        return _complete(paths, options.claim, scheduler, jobs)
    except KeyboardInterrupt:
        print("\nStopped.", "" if options.store else "The finished runs are recorded.")
        return 130


def _at_least_one(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: allowed is a whole number from 1")
    return int(text)


def _usual_jobs():
    return processes.wanted_jobs() if "MNIST_JOBS" in os.environ else min(2, cpu_count())


def _chosen(options):
    if options.claim:
        return [notebook_of_claim(options.claim)]
    if options.notebooks:
        return options.notebooks
    paths = book.notebooks()
    return paths if options.store else [path for path in paths if holds_experiment(path)]


def _complete(paths, claim=None, scheduler=None, jobs=1):
    """Run what is missing at full scale, after having said what that is; the exit status."""
    print("Looking for what is missing at full scale, without training ...", flush=True)
    costs, found = Costs(RESULTS), []
    for notebook in plan.notebooks(paths, RESULTS):
        found.append(notebook.of_claim(claim) if claim else notebook)
        print(describe(found[-1], costs), flush=True)
    to_run = [notebook for notebook in found if notebook.open]
    experiments = [each for notebook in to_run for each in notebook.experiments]
    missing = [(each, run) for each in experiments for run in each.missing()]
    if not to_run:
        print(f"Nothing is missing{f' for {claim}' * bool(claim)}: there is nothing to run.")
        return 0
    seconds = sum(costs.shared(each, run, jobs) or 0 for each, run in missing)
    price = f"{duration(seconds)} of training" if costs.known else "nothing recorded says how long"
    how = "one run after the other" if jobs == 1 else f"up to {jobs} runs at a time"
    guessed = sum(not costs.knows(each.name) for each, _ in missing)
    if costs.known and guessed:
        how += f"; for {guessed} of them guessed from other experiments"
    print(
        f"Missing: {len(missing)} runs in {len(to_run)} of {len(found)} notebooks, {price} "
        f"(as recorded, {how}). Stop it at any time: it goes on from there.\n"
    )
    with Progress(experiments, costs, jobs):
        failures = _run_all([notebook.path for notebook in to_run], "full", claim, scheduler, jobs)
    for notebook in to_run:
        name = os.path.relpath(notebook.path)
        left = sum(len(each.missing()) for each in notebook.experiments)
        if left and name not in failures:
            failures[name] = (
                f"{left} runs are missing still: does it hand each experiment to run(), and was "
                "it changed in the meantime?"
            )
        elif not left:
            print(f"`make notebooks NOTEBOOK={name}` shows the new runs on its page.")
    return _report(failures)


def _run_all(paths, scale, claim=None, scheduler=None, jobs=1):
    """Run notebooks one after the other, and return the names and the faults of those that fail."""
    failures = {}
    for number, path in enumerate(paths, start=1):
        name = os.path.relpath(path)
        _say(f"[{number}/{len(paths)}] {name}, {scale} scale")
        start = time.monotonic()
        try:
            notebook, stderr = execute(path, scale, claim, scheduler, jobs)
            if scale == "quick":
                store(tidy(notebook, stderr), path)
        except NotebookError as error:
            failures[name] = str(error)
            _say(f"      failed: {error}", sys.stderr)
        except KeyboardInterrupt:
            _say(f"      stopped in {name}")
            raise
        else:
            _say(f"      {time.monotonic() - start:.0f} s")
    return failures


def _say(text, file=None):
    tqdm.write(text, file=file or sys.stdout)  # Above a bar, not into it.
    (file or sys.stdout).flush()


def _report(failures):
    for name, reason in failures.items():
        print(f"FAIL {name}: {reason.splitlines()[0]}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
