"""What the pages of the book take from the ledger and the map of the course as they are built.

The book's builder knows this module as a Sphinx extension (``_config.yml``). A page writes
``{verdict-squares}`` for a drawing of all verdicts, ``{verdict-lines}`` for one line per verdict,
``{ledger-downloads}`` for links that save the ledger and all runs, ``{course-map}`` and
``{course-objectives}`` for what `utils.commands.course` reads, ``{chapter-picture} name`` for the
figure that represents a chapter, as its notebook stores it, and

.. code-block:: text

    :::{finding} claim-id
    :expect: refuted
    :parts: supported, refuted
    :number: 2
    Text that is true as long as the verdicts are these.
    :::

for one result in large type. ``expect`` names the verdicts under which the text is true, separated
by `` or ``; ``parts``, if given, those of the judged parts; ``number`` which part is the number. If
the ledger says anything else, the build fails: words do not outlive their verdict.

The general index also lists, under each term of the glossary, the pages that link to it.
"""

import functools
import re
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from utils.commands import course
from utils.evidence import export, ledger, overview
from utils.paths import ROOT


@functools.cache
def _entries():
    """Read the ledger once for all pages."""
    return {entry.claim.id: entry for entry in ledger.entries()}


def _raw(html):
    return nodes.raw("", html, format="html")


def _settling():
    return course.settling({entry.claim.chapter for entry in _entries().values()})


def squares():
    """Draw all verdicts, in one row for each part of the book."""
    parts = {caption: list(titles) for caption, titles in _settling().items()}
    return overview.squares_html(list(_entries().values()), parts)


def lines():
    """Write all verdicts, one line each, by chapter."""
    titles = {name: title for part in _settling().values() for name, title in part.items()}
    return overview.lines_html(list(_entries().values()), titles)


def downloads():
    """Write links that save the ledger and all runs; stored, they would swell the repository."""
    listed = list(_entries().values())
    as_csv, as_json, runs = (
        ledger.download_html(content, name, text)
        for content, name, text in (
            (export.to_frame(listed), "ledger.csv", "CSV"),
            (export.to_json(listed), "ledger.json", "JSON"),
            (ledger.runs_frame(), "runs.csv.gz", "compressed CSV"),
        )
    )
    return (
        f"<p>Downloads: the ledger, one row per part ({as_csv}, {as_json}); every recorded run, "
        f"one row per run and epoch ({runs}).</p>"
    )


# Those without content, each replaced by HTML.
DRAWN = {
    "verdict-squares": squares,
    "verdict-lines": lines,
    "ledger-downloads": downloads,
    "course-map": lambda: course.map_html(course.chapters()),
    "course-objectives": lambda: course.objectives_html(course.chapters()),
}


class _Drawn(Directive):
    def run(self):
        return [_raw(DRAWN[self.name]())]


class _Picture(Directive):
    required_arguments = 1

    def run(self):
        named = {chapter.name: chapter for chapter in course.chapters()}
        name = self.arguments[0]
        if name not in named:
            raise self.error(f"chapter-picture: {name!r}; allowed are {[*named]}")
        try:
            drawing, _ = course.picture(ROOT, named[name])
        except ValueError as error:
            raise self.error(f"chapter-picture: {error}") from None
        return [nodes.container("", _raw(drawing), classes=["figure"])]


class Finding(Directive):
    """One result in large type, with words that hold only under the named verdicts."""

    required_arguments = 1
    has_content = True
    option_spec = {
        "expect": directives.unchanged_required,
        "parts": directives.unchanged_required,
        "number": directives.positive_int,
    }

    def run(self):
        """Check the verdicts, and write the number, the text and the links."""
        entry = _entries().get(self.arguments[0])
        if entry is None:
            raise self.error(f"finding: {self.arguments[0]!r} is not in the ledger")
        found = [entry.outcome, *(line.outcome for line in entry.judged)]
        wanted = [self.options.get("expect", ""), *self.options.get("parts", "").split(",")]
        if wanted[1:] == [""]:
            wanted[1:] = found[1:]
        fits = len(wanted) == len(found) and all(
            outcome in map(str.strip, allowed.split(" or "))
            for outcome, allowed in zip(found, wanted, strict=True)
        )
        if not fits:
            raise self.error(
                f"finding {entry.claim.id}: the text is for {wanted[0]!r} with parts "
                f"{', '.join(wanted[1:])}; the ledger says {found[0]!r} with {', '.join(found[1:])}"
            )
        try:
            head, foot = overview.finding_html(entry, self.options.get("number", 1))
        except ValueError as error:
            raise self.error(f"finding: {error}") from None
        card = nodes.container(classes=["finding"])
        card += _raw(head)
        self.state.nested_parse(self.content, self.content_offset, card)
        card += _raw(foot)
        return [card]


@functools.cache
def _spellings(glossary):
    """Read the terms of the glossary, by their lower case; a link may capitalise one."""
    text = glossary.read_text(encoding="utf-8") if glossary.is_file() else ""
    blocks = re.findall(r"```{glossary}\n(.*?)```", text, re.S)
    return {term.lower(): term for block in blocks for term in re.findall(r"^\S.*", block, re.M)}


def index_terms(source, doctree):
    """Add to the general index, for each term, the page that links to it.

    Parameters
    ----------
    source : path
        Folder that holds ``chapters/glossary.md``.
    doctree : docutils.nodes.document
        Of one page, its references not yet resolved.
    """
    if next(doctree.findall(addnodes.glossary), None) is not None:
        return  # Each term leads there already.
    spellings = _spellings(Path(source) / "chapters" / "glossary.md")
    title = next((node.astext() for node in doctree.findall(nodes.title)), "")
    seen = set()
    for link in list(doctree.findall(addnodes.pending_xref)):
        term = spellings.get(link.get("reftarget", "").lower())
        if link.get("reftype") != "term" or term is None or term in seen:
            continue
        seen.add(term)
        # The search takes its excerpt from what is marked, so that is not a place without text.
        ids = link.parent["ids"]
        if not ids:
            ids.append(f"index-{nodes.make_id(term)}")
        entry = ("single", f"{term}; {title}", ids[0], "", None)
        link.parent.insert(link.parent.index(link), addnodes.index(entries=[entry]))


class _IndexTerms(SphinxTransform):
    # Before Sphinx collects the entries of a page, and after all of its text has been read.
    default_priority = 800

    def apply(self):
        index_terms(self.app.srcdir, self.document)


def setup(app):
    """Make the directives known; what an extension of Sphinx has to provide."""
    for name in DRAWN:
        app.add_directive(name, _Drawn)
    app.add_directive("chapter-picture", _Picture)
    app.add_directive("finding", Finding)
    app.add_transform(_IndexTerms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
