"""The chapters of the course: their parts, titles and questions, and which needs which.

The order and the parts come from ``_toc.yml``, the titles from the notebooks, and all else from
``chapters/course.yml``.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml

from utils.paths import ROOT

FIELDS = {"question", "needs", "objectives", "picture"}

# Of the map, in units of its drawing: distances between rows, and where the titles begin.
_ROW, _HEADING, _TITLES = 27, 30, 104


@dataclass(frozen=True)
class Chapter:
    """One numbered chapter.

    Attributes
    ----------
    name : str
        Name of its file, without folder and suffix.
    number : int
        Its number in the book, from 1.
    part : str
        Caption of its part of the book.
    title, question : str
        Its heading, and the question that it answers.
    needs : tuple of str
        Names of the chapters to read before it.
    objectives : tuple of str
        What a reader can do afterwards.
    picture : str
        Id of the cell whose figure represents it elsewhere.
    """

    name: str
    number: int
    part: str
    title: str
    question: str
    needs: tuple[str, ...]
    objectives: tuple[str, ...]
    picture: str


def chapters(source=ROOT):
    """Read the numbered chapters in the order of the book.

    Parameters
    ----------
    source : path
        Folder that holds ``_toc.yml`` and ``chapters``.

    Returns
    -------
    list of Chapter

    Raises
    ------
    ValueError
        If ``course.yml`` and ``_toc.yml`` name different chapters, an entry has other fields than
        it should have, or a chapter needs one that does not come before it.
    """
    source = Path(source)
    parts = {name: caption for caption, names in _parts(source, True) for name in names}
    told = yaml.safe_load((source / "chapters" / "course.yml").read_text(encoding="utf-8"))
    if set(told) != set(parts):
        different = sorted(set(told) ^ set(parts))
        raise ValueError(f"{different} are not in both; course.yml needs what _toc.yml numbers")
    read = []
    for name, part in parts.items():
        entry = told[name]
        if set(entry) != FIELDS:
            raise ValueError(f"{name}: fields {sorted(entry)}; allowed are {sorted(FIELDS)}")
        earlier = [chapter.name for chapter in read]
        for needed in entry["needs"]:
            if needed not in earlier:
                raise ValueError(f"{name}: needs={needed!r}; allowed are {earlier}, before it")
        lists = {field: tuple(entry[field]) for field in ("needs", "objectives")}
        title = _title(source, name)
        told_once = {field: entry[field] for field in ("question", "picture")}
        read.append(Chapter(name, len(read) + 1, part, title, **told_once, **lists))
    return read


def _parts(source, numbered):
    """Read the caption and the pages' names of each part of the book, or of each numbered one."""
    toc = yaml.safe_load((Path(source) / "_toc.yml").read_text(encoding="utf-8"))
    return [
        (part["caption"], [Path(page["file"]).name for page in part["chapters"]])
        for part in toc["parts"]
        if part.get("numbered") or not numbered
    ]


def settling(names, source=ROOT):
    """Find the pages that settle claims: the chapters, and what an author has added elsewhere.

    Parameters
    ----------
    names : collection of str
        Names of the pages, all of them notebooks of the book.
    source : path
        Folder that holds ``_toc.yml`` and ``chapters``.

    Returns
    -------
    dict of str to dict of str to str
        Caption of each part of the book that has one of them; for each of these pages its name and
        title, in the order of the book.
    """
    found = {}
    for caption, pages in _parts(source, False):
        if titles := {name: _title(source, name) for name in pages if name in names}:
            found[caption] = titles
    return found


def _title(source, name):
    """Read the heading of a notebook."""
    path = Path(source) / "chapters" / f"{name}.ipynb"
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    return "".join(first["source"]).splitlines()[0].removeprefix("# ")


def picture(source, chapter):
    """Read the figure that represents a chapter.

    Parameters
    ----------
    source : path
        Folder that holds ``chapters``.
    chapter : Chapter
        From `chapters`.

    Returns
    -------
    drawing : str
        One ``<svg>`` element.
    alt : str
        What it shows, in words.

    Raises
    ------
    ValueError
        If the cell that the chapter names is not in its notebook, or shows no figure.
    """
    path = Path(source) / "chapters" / f"{chapter.name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["id"] == chapter.picture:
            for output in cell.get("outputs", []):
                markup = "".join(output.get("data", {}).get("text/html", ""))
                found = re.search(r"<svg\b.*</svg>", markup, re.S)
                if found:
                    svg = found[0]
                    named = re.search(
                        r"<title[^>]*>(.*?)</title>|aria-label=\"([^\"]*)\"", svg, re.S
                    )
                    return svg, (named[1] or named[2]) if named else chapter.title
            raise ValueError(f"{chapter.name}: picture={chapter.picture!r} shows no figure")
    shown = [cell["id"] for cell in cells if cell["cell_type"] == "code"]
    raise ValueError(f"{chapter.name}: picture={chapter.picture!r}; allowed are {shown}")


def map_html(listed):
    """Draw which chapter needs which, as a list of titles with an arc for each need.

    Parameters
    ----------
    listed : list of Chapter
        From `chapters`.

    Returns
    -------
    str
        An SVG in the colour of the text around it, in which each title is a link.
    """
    headings, places, y, part = [], {}, 0, None
    for chapter in listed:
        if chapter.part != part:
            part, y = chapter.part, y + _HEADING
            headings.append((part, y - 8))
        y += _ROW
        places[chapter.name] = y - _ROW / 2
    arcs = {
        chapter.name: [_arc(places[needed], places[chapter.name]) for needed in chapter.needs]
        for chapter in listed
    }
    return _template().module.map(listed, headings, places, arcs, y + 6, _TITLES)


def _arc(start, end):
    """Write the path from one row down to another: the farther they are apart, the wider."""
    x, reach = _TITLES - 12, 10 + 0.25 * (end - start)
    left = x - min(reach, 118)
    return f"M{x} {start}C{left:.1f} {start} {left:.1f} {end} {x - 6} {end}"


def objectives_html(listed):
    """Write what each chapter asks, needs and teaches.

    Parameters
    ----------
    listed : list of Chapter
        From `chapters`.

    Returns
    -------
    str
        A definition list, the text alternative of the map.
    """
    return _template().module.objectives(listed, {chapter.name: chapter for chapter in listed})


def _template():
    loader = jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8")
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("course.html")
