"""Builds the book, checks that every page of the table of contents is there, and guards the pages.

``python -m utils.commands.book`` is what ``make book`` runs.

Version 2 of jupyter-book builds nothing from this book's settings and still reports success, so the
builder's exit status alone proves nothing: every page is looked for.
"""

import argparse
import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

import yaml

from utils.checked import checked
from utils.paths import ROOT

# Warnings are errors, all of them are shown, and a reference to nothing is a warning.
BUILDER_OPTIONS = ["--all", "-W", "--keep-going", "-n"]


@checked
def pages(source: Path = ROOT) -> list[str]:
    """List the pages that the table of contents names, in reading order.

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
    ValueError
        If that is not a table of contents.
    """
    # Kept out of the module's top: what only needs ROOT should not import Sphinx.
    import yaml
    from sphinx_external_toc.parsing import MalformedError, parse_toc_yaml

    toc = Path(source) / "_toc.yml"
    if not toc.is_file():
        raise FileNotFoundError(f"source={str(source)!r} holds no _toc.yml")
    try:
        site_map = parse_toc_yaml(toc)
    except (MalformedError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"source={str(source)!r}: its _toc.yml is none ({error})") from error
    reading_order, waiting = [], [site_map.root.docname]
    while waiting:
        page = waiting.pop(0)
        reading_order.append(page)
        waiting = [str(child) for child in site_map[page].child_files()] + waiting
    return reading_order


@checked
def notebooks(source: Path = ROOT) -> list[Path]:
    """List the notebooks among the pages of the table of contents, in reading order.

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


@checked
def missing_pages(source: Path, html: Path) -> list[str]:
    """List the pages of the table of contents for which no HTML file was written.

    Parameters
    ----------
    source : path
        As for `pages`.
    html : path
        Folder that the builder wrote to.

    Returns
    -------
    list of str
        Names as from `pages`; ``"index"``, the entry page, counts as one. Empty if all are there.
    """
    return [
        page for page in ["index", *pages(source)] if not (Path(html) / f"{page}.html").is_file()
    ]


def build(source=ROOT, output=None, *, plain=False):
    """Build the book anew and check that it is complete.

    Parameters
    ----------
    source : path
        Folder that holds ``_config.yml`` and ``_toc.yml``.
    output : path, optional
        Folder in which the builder makes ``_build/html``; `source` by default.
    plain : bool
        Whether Sphinx alone builds it, in ``_build/sphinx``, from settings that jupyter-book
        exports: the fallback, should jupyter-book be discontinued.

    Returns
    -------
    int
        Exit status: 0 if there was no warning, every page exists, and `policy` knows each script.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `pages`; nothing is built then.

    Notes
    -----
    Nothing is kept from an earlier build. A number that one page glues into another goes stale
    in an incremental build, and the page of a removed chapter would stay.
    """
    source = Path(source)
    pages(source)  # What is no book is said before anything is taken away.
    html = Path(output or source) / "_build" / ("sphinx" if plain else "html")
    shutil.rmtree(html, ignore_errors=True)
    # The builder starts from this Python, whether or not its environment is active.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    commands = [[*jupyter_book, "build", ".", *BUILDER_OPTIONS]]
    if output is not None:
        commands[0] += ["--path-output", str(Path(output).resolve())]
    settings = source / "conf.py"
    if plain:
        if settings.exists():
            raise FileExistsError(f"{settings} is in the way: it would be written over")
        options = ["-q", "-E", *BUILDER_OPTIONS[1:], "-d", str(html.resolve() / ".doctrees")]
        sphinx = [sys.executable, "-m", "sphinx", *options, ".", str(html.resolve())]
        commands = [[*jupyter_book, "config", "sphinx", "."], sphinx]
    try:
        # Of several commands none is run after one that failed.
        status = next(filter(None, (subprocess.run(c, cwd=source).returncode for c in commands)), 0)
    finally:
        if plain:
            settings.unlink(missing_ok=True)
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
    (html / "index.html").write_text(_way_in(source), encoding="utf-8")
    # What only needs the names of pages should import neither the ledger nor the widgets.
    from utils.commands import policy

    unknown = policy.write(html)
    for complaint in unknown:
        print(complaint, file=sys.stderr)
    return int(bool(unknown))


def _way_in(source):
    """Write the page that leads to the first one; the builder's has no title, language or link."""
    first = pages(source)[0]
    settings = yaml.safe_load((Path(source) / "_config.yml").read_text(encoding="utf-8"))
    title = escape(settings["title"])
    return f"""<!DOCTYPE html>
<html lang="{settings["sphinx"]["config"]["language"]}">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta http-equiv="refresh" content="0; url={first}.html" />
<title>{title}</title>
</head>
<body><main><h1>{title}</h1><p><a href="{first}.html">To the first page</a></p></main></body>
</html>
"""


def main(arguments=None):
    """Build the book of this repository and print where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.book", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="folder that holds _config.yml")
    parser.add_argument("--output", type=Path, help="folder to make _build/html in")
    parser.add_argument("--plain", action="store_true", help="with Sphinx alone, in _build/sphinx")
    options = parser.parse_args(arguments)
    try:
        status = build(options.source, options.output, plain=options.plain)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if status == 0:
        html = Path(options.output or options.source) / "_build"
        index = html / ("sphinx" if options.plain else "html") / "index.html"
        print(f"The book is whole. Open {index.resolve().as_uri()}\nor run `make serve`.")
    return status


if __name__ == "__main__":
    sys.exit(main())
