"""Builds the book, and checks that every page of the table of contents is there.

``python -m utils.commands.book`` is what ``make book`` runs.

Version 2 of jupyter-book builds nothing from this book's settings and still reports success,
so the exit status of the builder alone proves nothing: the pages are looked for one by one.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from utils.paths import ROOT

# Warnings are errors, all of them are shown, and a reference to nothing is a warning.
BUILDER_OPTIONS = ["--all", "-W", "--keep-going", "-n"]


def pages(source=ROOT):
    """Pages that the table of contents names, in reading order.

    Parameters
    ----------
    source : path
        Folder that holds ``_toc.yml``.

    Returns
    -------
    list of str
        Paths relative to `source`, with ``/`` and without a suffix: ``"chapters/intro"``.

    Raises
    ------
    FileNotFoundError
        If `source` holds no ``_toc.yml``.
    """
    # Kept out of the module's top: what only needs ROOT should not import Sphinx.
    from sphinx_external_toc.parsing import parse_toc_yaml

    toc = Path(source) / "_toc.yml"
    if not toc.is_file():
        raise FileNotFoundError(f"source={str(source)!r} holds no _toc.yml")
    site_map = parse_toc_yaml(toc)
    reading_order, waiting = [], [site_map.root.docname]
    while waiting:
        page = waiting.pop(0)
        reading_order.append(page)
        waiting = [str(child) for child in site_map[page].child_files()] + waiting
    return reading_order


def notebooks(source=ROOT):
    """Notebooks among the pages of the table of contents, in reading order.

    Parameters
    ----------
    source : path
        As for `pages`.

    Returns
    -------
    list of pathlib.Path
        Only those that exist.
    """
    candidates = [Path(source) / f"{page}.ipynb" for page in pages(source)]
    return [path for path in candidates if path.is_file()]


def missing_pages(source, html):
    """Pages of the table of contents for which no HTML file was written.

    Parameters
    ----------
    source : path
        As for `pages`.
    html : path
        Folder that the builder wrote to.

    Returns
    -------
    list of str
        Names as `pages` gives them; ``"index"``, the way in, counts as one. Empty if all are there.
    """
    return [
        page for page in ["index", *pages(source)] if not (Path(html) / f"{page}.html").is_file()
    ]


def build(source=ROOT, output=None):
    """Build the book anew and say whether it is whole.

    Parameters
    ----------
    source : path
        Folder that holds ``_config.yml`` and ``_toc.yml``.
    output : path, optional
        Folder in which the builder makes ``_build/html``; `source` by default.

    Returns
    -------
    int
        Exit status: 0 if there was no warning and every page exists.

    Notes
    -----
    Nothing is kept from an earlier build. A number that one page glues into another goes stale
    in an incremental build, and the page of a removed chapter would stay.
    """
    source = Path(source)
    html = Path(output or source) / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)
    # The builder starts from this Python, whether or not its environment is active.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", ".", *BUILDER_OPTIONS]
    if output is not None:
        command += ["--path-output", str(Path(output).resolve())]
    status = subprocess.run(command, cwd=source).returncode
    if status:
        print("\nThe book is not built: see the warnings above.", file=sys.stderr)
        return status
    missing = missing_pages(source, html)
    if missing:
        print(
            f"\nThe builder reported success, but wrote no page for {', '.join(missing)}. "
            "Is this jupyter-book 1.x, and does each file of _toc.yml exist?",
            file=sys.stderr,
        )
        return 1
    return 0


def main(arguments=None):
    """Build the book of this repository and print where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.book", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="folder that holds _config.yml")
    parser.add_argument("--output", type=Path, help="folder to make _build/html in")
    options = parser.parse_args(arguments)
    status = build(options.source, options.output)
    if status == 0:
        index = Path(options.output or options.source) / "_build" / "html" / "index.html"
        print(f"The book is whole. Open {index.resolve().as_uri()}\nor run `make serve`.")
    return status


if __name__ == "__main__":
    sys.exit(main())
