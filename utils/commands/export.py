"""Writes each page of the book as a notebook in plain Markdown, for readers and for students.

``python -m utils.commands.export`` is what ``make notebooks-export`` runs. The book's builder knows
this module as a Sphinx extension (``_config.yml``), so that ``make book`` writes the notebooks too:
the builder has resolved every number, term, citation and link of a page already. Beside
``_build/html`` they are in ``_build/notebooks/solutions`` and ``_build/notebooks/student``; those
with solutions are also what the download button of a page leads to.

Links lead to the published book if ``html.baseurl`` gives its address, and otherwise to the
notebook of the other page, in the same folder.

If the theme's ``repository_url`` is set, a notebook with code begins with a cell that installs the
course from there if it is missing, and its page has buttons that open it in Colab and on Binder,
from the branch ``notebooks``. A page with ``notebook: false`` is not exported.

In the section *Exercises* a task begins with its number, ``**1.**``. What follows is classified by
tags of code cells: ``stub``, ``solution``, ``check``. Prose after a solution, and every dropdown
except a hint, is the answer.
"""

import argparse
import posixpath
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from docutils import nodes
from nbformat import v4
from sphinx.util import logging

from utils.commands import book
from utils.commands.plain import Writer, title_of
from utils.paths import ROOT

logger = logging.getLogger(__name__)

# What `glue` stores: no program but the book's builder shows it.
_GLUE = "application/papermill.record/"


# The branch that holds the repository with the exported notebooks in the place of the sources.
BRANCH = "notebooks"
_LAUNCH = {
    "binderhub_url": "https://mybinder.org",
    "colab_url": "https://colab.research.google.com",
    "notebook_interface": "jupyterlab",
}

# What is installed is called otherwise than what is imported, and `utils` is a common name.
_INSTALL = """\
# Installs the course where it is not there yet, as in Colab. Elsewhere it does nothing.
def install(address):
    import importlib.util
    import subprocess
    import sys
    from pathlib import Path

    def find():
        importlib.invalidate_caches()
        spec = importlib.util.find_spec("utils")
        return spec and [*(spec.submodule_search_locations or [spec.origin])]

    if find() is None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, f"git+{address}"], check=True)
    found = find()
    if found is None:
        raise ImportError("the course was installed, but `utils` is not found: restart the kernel")
    if not any((Path(place) / "evidence").is_dir() for place in found):
        raise ImportError(f"another `utils` is in the way of the course: rename or move {found[0]}")


install(%r)"""


@dataclass
class Piece:
    """A code cell, or a block of a Markdown cell.

    Attributes
    ----------
    cell : nbformat.NotebookNode
        The cell of the source that it comes from; a figure's caption has a new one.
    kind : {"text", "answer", "code", "stub", "solution", "check"}
        What it is for.
    exercise : str
        Number of the exercise that it belongs to, or empty.
    text : str
        Plain Markdown of a block.
    """

    cell: nbformat.NotebookNode
    kind: str
    exercise: str
    text: str = ""


def setup(app):
    """Have Sphinx pass on its pages; what an extension of Sphinx has to provide."""
    pages = {}

    def keep(app, doctree, page):
        if app.builder.name == "html" and _is_exported(app, page):
            pages[page] = list(_pieces(app, doctree, page))

    def finish(app, error):
        if error is None and pages:
            _write(app, pages)

    app.connect("config-inited", _offer_to_launch)
    # Last, when the transforms of other extensions are through.
    app.connect("doctree-resolved", keep, priority=999)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": False}


def _offer_to_launch(app, config):
    """Have the theme show its buttons where there is a repository; without one it would fail."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options |= {"launch_buttons": _LAUNCH, "repository_branch": BRANCH}


def _is_exported(app, page):
    """Say whether a page becomes a notebook: it has no ``notebook: false`` at its head."""
    return "notebook" not in app.env.metadata[page]


def _pieces(app, doctree, page):
    """Take a page apart, in its order."""
    source = Path(app.env.doc2path(page))
    if source.suffix == ".ipynb":
        cells = nbformat.read(source, as_version=4).cells
    else:
        cells = [v4.new_markdown_cell(id="page")]
    writer = Writer(lambda *link: _address(app, page, *link), app.srcdir)
    blocks, captions = _blocks_of_cells(doctree)
    exercise, answered, depth = "", False, 0  # depth: of the section with the exercises.
    for index, cell in enumerate(cells):
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            kind = next((tag for tag in ("stub", "solution", "check") if tag in tags), "code")
            if kind == "code" and exercise and "hide-cell" in tags:
                kind = "solution"
            answered |= kind == "solution"
            for output in cell.outputs:
                if "text/html" in output.get("data", ()):
                    output.data["text/html"] = writer.html(output.data["text/html"])
            if kind != "code" or "remove-cell" not in tags:
                yield Piece(cell, kind, exercise)
            for caption in captions[index]:
                below = v4.new_markdown_cell(id=f"{cell.id}-caption")
                yield Piece(below, "text", exercise, writer.write(caption))
            continue
        for block in blocks[index]:
            try:
                text = writer.write(block)
            except NotImplementedError as reason:
                logger.warning("%s", reason, location=block)
                continue
            kind = "text"
            if isinstance(block, nodes.title):
                level = len(text) - len(text.lstrip("#"))
                if block.astext() == "Exercises":
                    depth = level
                elif depth and level <= depth:
                    exercise, depth = "", 0
            elif depth and (number := re.match(r"\*\*(\d+)\.\*\*", text)):
                exercise, answered = number[1], False
            elif exercise:
                hint = text.startswith("<details>") and title_of(block[0]).startswith("Hint")
                if answered or (text.startswith("<details>") and not hint):
                    kind = "answer"
            if text:
                yield Piece(cell, kind, exercise, text)


def _blocks_of_cells(doctree):
    """Sort the blocks of a page's text, and what stands below its figures, by their cells."""
    blocks, captions, index = defaultdict(list), defaultdict(list), 0

    def collect(node):
        nonlocal index
        for child in node.children:
            if isinstance(child, nodes.section):
                collect(child)
            elif "cell_index" not in child and type(child).__name__ != "HideCodeCellNode":
                # MyST-NB counts lines from 10,000 on in the first cell, from 20,000 in the next.
                lines = (part.line for part in child.findall() if part.line is not None)
                index = max(next(lines, 0) // 10_000 - 1, index)
                blocks[index].append(child)

    collect(doctree)
    for cell in doctree.findall(lambda node: "cell_index" in getattr(node, "attributes", ())):
        captions[cell["cell_index"]] += cell.findall(nodes.caption)
    return blocks, captions


def _address(app, page, address, same_page):
    """Where a link of the exported page leads."""
    if same_page:
        address = f"{posixpath.basename(page)}.html#{address}"
    if urlsplit(address).scheme:
        return address
    path, _, anchor = address.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
    if app.config.html_baseurl:
        published = app.config.html_baseurl.rstrip("/")
        return f"{published}/{path}" + ("#" + anchor) * bool(anchor)
    target = path.removesuffix(".html")
    if target != page and target in app.env.found_docs and _is_exported(app, target):
        return f"{posixpath.basename(target)}.ipynb"
    return None


def _write(app, pages):
    """Write the notebooks of all pages, and say in which exercises nothing can be checked."""
    from utils.commands.notebooks import KERNEL, LANGUAGE  # Brings what runs notebooks with it.

    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    address = app.config.html_theme_options.get("repository_url")
    html = Path(app.outdir)
    folder = html.with_name("notebooks")
    for kind in ("solutions", "student"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for old in (folder / kind).glob("*.ipynb"):
            if not any(posixpath.basename(page) == old.stem for page in app.env.found_docs):
                old.unlink()
    unchecked = {}
    for page, pieces in pages.items():
        name = posixpath.basename(page)
        for kind, cells in (("solutions", solution(pieces)), ("student", student(pieces))):
            if address and any(cell.cell_type == "code" for cell in cells):
                cells.insert(0, v4.new_code_cell(install_cell(address), id="install"))
            notebook = v4.new_notebook(cells=cells, metadata=metadata)
            nbformat.validate(notebook)
            nbformat.write(notebook, folder / kind / f"{name}.ipynb")
        sources = html / "_sources"
        if (sources / page).parent.is_dir():
            text = (folder / "solutions" / f"{name}.ipynb").read_bytes()
            (sources / f"{page}.ipynb").write_bytes(text)
            if (sources / f"{page}.md").is_file():
                plain = "\n\n".join(piece.text for piece in pieces) + "\n"
                (sources / f"{page}.md").write_text(plain, encoding="utf-8")
        if missing := _without(pieces, "check"):
            unchecked[name] = missing
    logger.info("[export] %d notebooks each for readers and students: %s", len(pages), folder)
    for name, numbers in unchecked.items():
        logger.info("[export] without a check: %s, exercise %s", name, ", ".join(numbers))


def install_cell(address):
    """Write the first cell of a notebook with code.

    Parameters
    ----------
    address : str
        Address of the repository, as git reads it.

    Returns
    -------
    str
        Python. It raises ImportError if another ``utils`` is in the way.
    """
    return _INSTALL % address


def _without(pieces, kind):
    """Numbers of the exercises that have no cell of this kind."""
    having = {piece.exercise for piece in pieces if piece.kind == kind}
    return [
        number
        for number in dict.fromkeys(p.exercise for p in pieces)
        if number not in having | {""}
    ]


def solution(pieces):
    """Cells of the notebook for readers.

    Parameters
    ----------
    pieces : list of Piece

    Returns
    -------
    list of nbformat.NotebookNode
    """
    return _cells(piece for piece in pieces if piece.kind != "stub")


def student(pieces):
    """Cells of the notebook for students: without solutions, with space for their own.

    Parameters
    ----------
    pieces : list of Piece

    Returns
    -------
    list of nbformat.NotebookNode
        An exercise without a stub gets one that names it.
    """
    left = [piece for piece in pieces if piece.kind not in ("solution", "answer")]
    for number in _without(pieces, "stub"):
        last = max(i for i, piece in enumerate(left) if piece.exercise == number)
        stub = v4.new_code_cell(f"# Exercise {number}: your answer", id=f"exercise-{number}")
        left.insert(last + 1, Piece(stub, "stub", number))
    return _cells(left, not_run=("stub", "check"))


def _cells(pieces, not_run=()):
    """Put cells together again."""
    cells, last = [], None
    for piece in pieces:
        if piece.cell.cell_type == "markdown":
            if last and last.cell is piece.cell:
                cells[-1].source += f"\n\n{piece.text}"
            else:
                cells.append(v4.new_markdown_cell(piece.text, id=piece.cell.id))
        else:
            cells.append(_code(piece.cell))
            if piece.kind in not_run:
                cells[-1].update(outputs=[], execution_count=None)
        last = piece
    for position, cell in enumerate(cells):  # A cell that was cut in two.
        if cell.id in {other.id for other in cells[:position]}:
            cell.id = f"{cell.id[:50]}-{position}"
    return cells


def _code(cell):
    """Take from a code cell what is for the book alone."""
    hidden = {"hide-input", "remove-input"} & set(cell.metadata.get("tags", []))
    outputs = [
        output
        for output in cell.outputs
        if not any(mime.startswith(_GLUE) for mime in output.get("data", ()))
    ]
    return v4.new_code_cell(
        cell.source,
        id=cell.id,
        metadata={"jupyter": {"source_hidden": True}} if hidden else {},
        execution_count=cell.execution_count,
        outputs=outputs,
    )


def main(arguments=None):
    """Build the book, and with it the notebooks."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.export", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="folder that holds _config.yml")
    parser.add_argument("--output", type=Path, help="folder to make _build/notebooks in")
    options = parser.parse_args(arguments)
    try:
        return book.build(options.source, options.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
