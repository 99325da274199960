"""Runs the notebooks: at full scale for their records, or at quick scale for their pages.

``python -m utils.commands.notebooks`` is what ``make results`` runs: on full MNIST every notebook
that has an experiment with missing runs, or whose code has changed since it was stored. It first
reports what is missing and what it will cost. Only what the experiments record counts; outputs are
discarded. What is recorded already is not run again, so a run that was stopped resumes where it
was.

``python -m utils.commands.notebooks --store`` is what ``make notebooks`` runs: every notebook at
quick scale, with its outputs and a hash of its code stored in place.
"""

import argparse
import asyncio
import contextlib
import copy
import difflib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
from joblib import cpu_count
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

from utils.checked import checked
from utils.commands import book, plan
from utils.commands.costs import Costs, Progress, describe, duration
from utils.evidence import seal
from utils.evidence.claims import load_ledger
from utils.evidence.stored import CODE_KEY, OUTPUTS_KEY, Page, code_hash, outputs_hash
from utils.experiments.backends import dask as cluster
from utils.experiments.backends import local as processes
from utils.paths import LEDGER, ROOT

# All that a notebook keeps about its kernel: versions and paths of one machine stay out. By the
# extension of its files `jupyter nbconvert --to script` names what it writes.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "name": "python"}


class NotebookError(RuntimeError):
    """A notebook cannot be run, or must not be stored."""


class _Client(NotebookClient):
    """Shows what a cell writes to its standard error while it runs, and stops on Ctrl-C."""

    def __init__(self, notebook, **settings):
        super().__init__(notebook, **settings)
        self.stderr_of_cell = {}
        self._on_interrupt = signal.getsignal(signal.SIGINT)

    async def async_start_new_kernel(self, **settings):
        # Handlers of nbclient, or on Windows of asyncio, would have Ctrl-C look like a dead kernel.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._on_interrupt)
        await super().async_start_new_kernel(**settings)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            text = msg["content"]["text"]
            self.stderr_of_cell[cell_index] = self.stderr_of_cell.get(cell_index, "") + text
            with tqdm.external_write_mode(file=sys.stderr):  # Above a bar, not into it.
                sys.stderr.write(text)
                sys.stderr.flush()
        return super().process_message(msg, cell, cell_index)


@checked
def execute(
    path: Path,
    scale: str,
    claim: str | None = None,
    scheduler: str | None = None,
    jobs: int = 1,
    progress: str = "none",
):
    """Run one notebook from its first cell to its last in a kernel of its own.

    Parameters
    ----------
    path : path
        The notebook; the kernel works in its folder.
    scale : {"quick", "full"}
        What the kernel's ``MNIST_SCALE`` says.
    claim : str, optional
        What the kernel's ``MNIST_CLAIM`` says: only its experiments run at full scale.
    scheduler : str, optional
        What the kernel's ``MNIST_SCHEDULER`` says: the Dask cluster that trains.
    jobs : int
        What the kernel's ``MNIST_JOBS`` says: how many runs at full scale are trained at a time.
    progress : {"none", "terminal"}
        What the kernel's ``MNIST_PROGRESS`` says: whether it shows how far each experiment is.

    Returns
    -------
    notebook : nbformat.NotebookNode
        The executed notebook; the file is untouched.
    stderr : dict of int to str
        What cells wrote to standard error, by the cell's position.

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
        "MNIST_PROGRESS": progress,
        "MNIST_LIVE": "0",  # What it shows is stored.
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
        "MNIST_JOBS": str(jobs),
    }
    # Pages show the seeds that the chapter names: MNIST_SEED is for tests alone.
    given = {"MNIST_CLAIM": claim, "MNIST_SCHEDULER": scheduler, "MNIST_SEED": None}
    for name, value in given.items():
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
    except DeadKernelError as error:
        raise NotebookError(f"the kernel died (out of memory?): {error}") from None
    return notebook, client.stderr_of_cell


def _failed_cell(notebook):
    for position, cell in enumerate(notebook.cells):
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            return position
    return "?"


@checked
def tidy(notebook: nbformat.NotebookNode, stderr: dict[int, str] | None = None):
    """Remove from an executed notebook what would differ at its next run.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        Executed; it is not changed.
    stderr : dict of int to str, optional
        What cells wrote to standard error, by the cell's position, as from `execute`.

    Returns
    -------
    nbformat.NotebookNode
        Without progress bars, machine and versions; with hashes of its code and of its outputs, and
        names of cells that depend on their place alone.

    Raises
    ------
    NotebookError
        If a cell wrote anything but a progress bar to standard error: a page shows none.
    """
    for position, text in (stderr or {}).items():
        # A progress bar rewrites its line: each of its lines starts with a carriage return.
        loose = [line for line in text.split("\n") if line.strip() and not line.startswith("\r")]
        if loose:
            raise NotebookError(f"cell {position} wrote to its standard error: {loose[0].strip()}")
    result = copy.deepcopy(notebook)
    result.metadata = nbformat.from_dict(
        {CODE_KEY: code_hash(result), "kernelspec": KERNEL, "language_info": LANGUAGE}
    )
    result.nbformat, result.nbformat_minor = 4, 5
    seen = set()
    for position, cell in enumerate(result.cells):
        if not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{position:03d}"
        seen.add(cell["id"])
        for name in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(name, None)
        if cell.cell_type == "code":
            cell.outputs = _joined(out for out in cell.outputs if out.get("name") != "stderr")
    result.metadata[OUTPUTS_KEY] = outputs_hash(result)
    nbformat.validate(result)
    return result


def _joined(outputs):
    """Join what a cell printed in one go; into how many messages it is cut depends on timing."""
    joined = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def store(notebook: nbformat.NotebookNode, path: Path) -> None:
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


@checked
def notebook_of_claim(claim: str, source: Path = ROOT) -> Path:
    """Find the notebook of the chapter that settles a claim.

    Parameters
    ----------
    claim : str
        Its id in the ledger, ``chapters/claims.yml``.
    source : path
        Folder that holds ``_toc.yml``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If the ledger has no such claim, or the book does not have its chapter yet.
    """
    ledger = load_ledger()
    if claim not in ledger:
        near = ", ".join(difflib.get_close_matches(str(claim), ledger, n=3))
        hint = f"; did you mean {near}?" if near else ", which lists the ids that are allowed"
        raise ValueError(f"claim={claim!r} is not in {LEDGER.name}{hint}")
    chapter = ledger[claim].chapter
    for path in book.notebooks(source):
        if path.stem == chapter:
            return path
    raise ValueError(
        f"claim={claim!r} belongs to the chapter {chapter!r}, which is not in _toc.yml"
    )


def main(arguments=None):
    """Run the notebooks and report; see the module's text."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.notebooks",
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
        "--plan",
        action="store_true",
        help="only say what would be run, for how long, and how many seeds each pilot asks for",
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
    if options.plan and options.store:
        parser.error("--plan does not go with --store: it is about runs at full scale")
    if options.jobs and options.store:
        parser.error("--jobs does not go with --store: that trains at quick scale")
    for path in options.notebooks:
        try:
            if path.suffix != ".ipynb" or not path.is_file():
                parser.error(f"no notebook {str(path)!r} here")
            Page.read(path)
        except (OSError, ValueError) as error:
            parser.error(f"no notebook: {error}")
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
    try:
        if options.store:
            return _store_all(paths)
        return _complete(paths, options.claim, scheduler, jobs, options.plan)
    except KeyboardInterrupt:
        print("\nStopped.", "" if options.store else "The finished runs are recorded.")
        return 130


def _at_least_one(text):
    try:
        return processes.whole_from_1(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _usual_jobs():
    return processes.wanted_jobs() if "MNIST_JOBS" in os.environ else min(2, cpu_count())


def _chosen(options):
    if options.claim:
        return [notebook_of_claim(options.claim)]
    return options.notebooks or book.notebooks()


def _store_all(paths):
    """Run notebooks at quick scale and store their outputs; the exit status."""
    failures = {}
    for number, path in enumerate(paths, start=1):
        with _reported(f"[{number}/{len(paths)}]", path, "quick", failures):
            notebook, stderr = execute(path, "quick", progress="terminal")
            store(tidy(notebook, stderr), path)
    return _report(failures)


def _complete(paths, claim=None, scheduler=None, jobs=1, only_say=False):
    """Run what is missing at full scale, after having said what that is; the exit status."""
    broken, _ = seal.check()
    if broken:
        print("\n".join(["Nothing is run:", *broken]), file=sys.stderr)
        return 1
    costs, notebooks = Costs(), []
    for path in paths:
        notebook = plan.notebook(path)
        notebooks.append(notebook.of_claim(claim) if claim else notebook)
        if notebooks[-1].experiments or notebooks[-1].problem:
            print(describe(notebooks[-1], costs), flush=True)
    # What those ask for whose code has changed is not known, so no progress can be told of them.
    to_run = sorted((each for each in notebooks if each.open), key=lambda each: bool(each.problem))
    if not to_run:
        if not only_say:
            seal.renew()
        print(
            f"Nothing is missing{f' for {claim}' * bool(claim)}: there is nothing to run. (After a "
            "change of what is imported from utils, run `make notebooks` first.)"
        )
        return 0
    known = [each for notebook in to_run if not notebook.problem for each in notebook.experiments]
    print(_price(known, len(to_run), len(notebooks), costs, jobs))
    if only_say:
        return 0
    failures = {}
    with contextlib.ExitStack() as sealed, contextlib.ExitStack() as shown:
        sealed.callback(seal.renew)  # After Ctrl-C as well.
        if known:
            shown.enter_context(Progress(known, costs, jobs))
        for number, notebook in enumerate(to_run, start=1):
            if notebook.problem:
                shown.close()
            progress = "terminal" if notebook.problem else "none"
            with _reported(f"[{number}/{len(to_run)}]", notebook.path, "full", failures):
                executed, _ = execute(notebook.path, "full", claim, scheduler, jobs, progress)
                _require_complete(notebook, executed, claim)
    for notebook in to_run:
        name = plan.name_of(notebook.path)
        if name not in failures:
            print(f"`make notebooks NOTEBOOK={name}` shows the new runs on its page.")
    return _report(failures)


def _price(known, count, total, costs, jobs):
    """Say what is missing in all, and what it will cost."""
    missing = [(planned, arm) for planned in known for arm, _ in planned.missing()]
    text = f"To run: {count} of {total} notebooks"
    if missing:
        seconds = sum(costs.shared(planned, arm, jobs) or 0 for planned, arm in missing)
        price = f"{duration(seconds)} of training" if costs.known else "how long is not known"
        how = "one run after the other" if jobs == 1 else f"up to {jobs} runs at a time"
        guessed = sum(not costs.knows(planned.name) for planned, _ in missing)
        if costs.known and guessed:
            how += f"; for {guessed} of them guessed from other experiments"
        text += f", {len(missing)} runs are missing, {price} (as recorded, {how})"
    return f"{text}. Stop it at any time: it goes on from there.\n"


def _require_complete(before, executed, claim):
    """Refuse a notebook of which runs are missing after it ran at full scale."""
    after = plan.Notebook(before.path, plan.experiments(Page.of(executed)))
    after = after.of_claim(claim) if claim else after
    expected = () if before.problem else before.experiments
    named = {planned.name: planned for planned in (*expected, *after.experiments)}
    left = {name: len(planned.missing()) for name, planned in named.items() if planned.missing()}
    if left:
        counts = ", ".join(f"{count} of {name}" for name, count in left.items())
        raise NotebookError(f"runs are missing still: {counts}; does it run and show each of them?")


@contextlib.contextmanager
def _reported(number, path, scale, failures):
    """Say which notebook is run and how that ends, and note what fails under its name."""
    name = plan.name_of(path)
    _say(f"{number} {name}, {scale} scale")
    start = time.monotonic()
    try:
        yield
    except NotebookError as error:
        failures[name] = str(error)
        _say(f"      failed: {error}", sys.stderr)
    except KeyboardInterrupt:
        _say(f"      stopped in {name}")
        raise
    else:
        _say(f"      {time.monotonic() - start:.0f} s")


def _say(text, file=None):
    tqdm.write(text, file=file or sys.stdout)  # Above a bar, not into it.
    (file or sys.stdout).flush()


def _report(failures):
    for name, reason in failures.items():
        print(f"FAIL {name}: {reason.splitlines()[0]}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
