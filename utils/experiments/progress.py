"""A progress bar that a reader sees during a run, and that no page keeps."""

import os
import sys

from tqdm import tqdm


class _CellLine:
    """One line below a notebook cell that is rewritten in place and emptied at the end."""

    def __init__(self):
        from IPython.display import display

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        line = text.strip("\r\n ")
        if line:
            self._handle.update({"text/plain": line}, raw=True)

    def flush(self) -> None:
        """Do nothing: an update is shown at once."""

    def clear(self) -> None:
        """Take the line away: what is stored of the cell holds an output without content."""
        self._handle.update({}, raw=True)


def progress_bar(total: int, description: str) -> tqdm:
    """Make a progress bar with the time left.

    In a notebook it is one line of plain text below the cell; in a terminal the usual bar; without
    either (a log file, a test) nothing is printed. The environment variable
    ``MNIST_PROGRESS=terminal`` makes a notebook's kernel write to the terminal that started it, and
    ``MNIST_PROGRESS=none`` keeps it silent.

    Parameters
    ----------
    total : int
        Number of steps, 0 or more.
    description : str
        Text in front of the bar.

    Returns
    -------
    tqdm.tqdm
        Call ``update`` after each step and ``close`` at the end, or use it in a ``with``.
    """
    settings = {"total": total, "desc": description, "leave": False, "dynamic_ncols": True}
    asked = os.environ.get("MNIST_PROGRESS")
    if asked == "none":
        return tqdm(disable=True, **settings)
    if asked == "terminal":
        return tqdm(file=sys.__stderr__, **settings)
    if _in_notebook():
        line = _CellLine()
        bar = tqdm(file=line, ascii=" ━", ncols=80, **{**settings, "dynamic_ncols": False})
        return _closing(bar, line)
    return tqdm(disable=None, **settings)


def _closing(bar: tqdm, line: _CellLine) -> tqdm:
    close = bar.close

    def close_and_clear():
        if not bar.disable:
            close()
            line.clear()

    bar.close = close_and_clear
    return bar


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
