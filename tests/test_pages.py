"""What the pages take from the ledger and the map of the course: all of it, and nothing stale."""

import dataclasses
import re
from collections import Counter
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from docutils import nodes
from sphinx import addnodes

from utils.commands import book, course, pages
from utils.evidence import overview
from utils.evidence.claims import load_ledger
from utils.paths import CHAPTERS, ROOT

LEDGER = load_ledger()


@pytest.fixture(scope="module")
def entries():
    return pages._entries()


# ---- all verdicts -----------------------------------------------------------------------------


def test_every_claim_has_one_square_with_its_verdict_its_words_and_a_link(entries):
    drawn = pages.squares()
    squares = re.findall(
        r'<a class="square verdict-([\w-]+)" href="claims\.html#([\w-]+)">'
        r'<span aria-hidden="true">(&\w+;|.)</span>.*?<strong>(.*?):</strong>',
        drawn,
    )
    assert sorted(name for _, name, _, _ in squares) == sorted(LEDGER)
    for style, name, sign, words in squares:
        assert words == entries[name].outcome
        # The sign and the colour of the badge that the ledger's page shows.
        badge = overview.ledger.verdict_html(entries[name].verdict)
        assert f"verdict-{style}" in badge and (sign in badge or sign == "○")
    assert len({(style, sign) for style, _, sign, _ in squares}) == len(
        {sign for _, _, sign, _ in squares}
    )


def test_the_drawing_says_how_many_verdicts_there_are_of_each_kind(entries):
    counted = Counter(entry.outcome for entry in entries.values())
    (label,) = re.findall(r'<nav class="squares" aria-label="(.*?)">', pages.squares())
    assert label.startswith(f"All {len(LEDGER)} verdicts: ")
    told = {words: int(number) for number, words in re.findall(r"(\d+) ([a-z ]+)", label)}
    del told["verdicts"]
    assert told == counted == overview.counts(list(entries.values()))
    key = re.findall(r"<strong>(\d+)</strong> ([a-z ]+)</li>", pages.squares())
    assert {words: int(number) for number, words in key} == counted


def test_a_claim_of_a_chapter_that_is_not_in_the_book_is_told(entries):
    with pytest.raises(ValueError, match="loss"):
        overview.squares_html(list(entries.values()), {"All": set(book_chapters()) - {"loss"}})


def test_every_claim_has_one_line_under_its_chapter(entries):
    sections = re.split(r'<h2><a href="([\w-]+)\.html">', pages.lines())[1:]
    told = {
        name: re.findall(r"claims\.html#([\w-]+)", text)
        for name, text in zip(sections[::2], sections[1::2], strict=True)
    }
    names = [page.rpartition("/")[2] for page in book.pages()]
    assert list(told) == [name for name in names if name in told]
    assert {name: claims for name, claims in told.items()} == {
        name: [claim.id for claim in LEDGER.values() if claim.chapter == name] for name in told
    }
    assert sum(map(len, told.values())) == len(LEDGER)


# ---- the figure of a chapter ------------------------------------------------------------------


def chapter_picture(name):
    """Run the directive as a page does, and return its HTML."""
    directive = pages._Picture(
        "chapter-picture", [name], {}, [], 1, 0, "", None, SimpleNamespace(reporter=None)
    )
    directive.error = ValueError
    (drawn,) = directive.run()
    assert drawn["classes"] == ["figure"]
    return drawn.astext()


def test_the_picture_of_a_chapter_is_the_one_that_its_notebook_stores():
    pooling = next(chapter for chapter in course.chapters() if chapter.name == "pooling")
    drawing, alt = course.picture(ROOT, pooling)
    assert chapter_picture("pooling") == drawing
    assert alt in drawing and len(alt.split()) > 8


def test_a_picture_of_no_chapter_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="'no-such-chapter'; allowed are .*'pooling'"):
        chapter_picture("no-such-chapter")
    listed = [dataclasses.replace(chapter, picture="no-such-cell") for chapter in course.chapters()]
    monkeypatch.setattr(course, "chapters", lambda: listed)
    with pytest.raises(ValueError, match="chapter-picture: pooling: picture='no-such-cell'"):
        chapter_picture("pooling")


# ---- one result in large ----------------------------------------------------------------------


def finding(claim, content="Words.", **options):
    """Run the directive as a page does, and return its card."""
    state = SimpleNamespace(nested_parse=parse)
    directive = pages.Finding(
        "finding", [claim], options, [content], 1, 0, "", state, SimpleNamespace(reporter=None)
    )
    directive.error = ValueError
    (card,) = directive.run()
    return card


def parse(content, _, node):
    node += nodes.paragraph("", content[0])


def test_a_finding_has_the_number_of_the_ledger_and_leads_to_it(entries):
    entry = entries["presence-not-location"]
    card = finding(entry.claim.id, expect=entry.outcome, number=2)
    text = card.rawsource or "".join(node.astext() for node in card.children)
    estimate = entry.judged[1].row.estimate
    assert entry.judged[1].part.write(estimate.value, sign=True) in text
    assert "Words." in text and f"claims.html#{entry.claim.id}" in text


def test_words_do_not_outlive_their_verdict(entries):
    entry = entries["presence-not-location"]
    parts = [line.outcome for line in entry.judged]
    finding(entry.claim.id, expect=f"no such verdict or {entry.outcome}", parts=", ".join(parts),
            number=2)  # fmt: skip
    with pytest.raises(ValueError, match=f"text is for 'refuted'.*says '{entry.outcome}'"):
        finding(entry.claim.id, expect="refuted", number=2)
    with pytest.raises(ValueError, match="the text is for"):
        finding(entry.claim.id, number=2)
    other = ", ".join([*parts[:-1], "not " + parts[-1]])
    with pytest.raises(ValueError, match="the text is for"):
        finding(entry.claim.id, expect=entry.outcome, parts=other, number=2)
    with pytest.raises(ValueError, match="the text is for"):
        finding(entry.claim.id, expect=entry.outcome, parts=", ".join(parts[1:]), number=2)


def test_a_finding_of_nothing_is_refused(entries):
    entry = entries["presence-not-location"]
    with pytest.raises(ValueError, match="'no-such-claim' is not in the ledger"):
        finding("no-such-claim", expect="supported")
    with pytest.raises(ValueError, match="part=9; presence-not-location has 1 to 4"):
        finding(entry.claim.id, expect=entry.outcome, number=9)
    with pytest.raises(ValueError, match="part=1 of presence-not-location has no number"):
        finding(entry.claim.id, expect=entry.outcome, number=1)


def test_the_first_page_names_the_verdicts_that_its_words_are_for():
    text = (CHAPTERS / "intro.md").read_text(encoding="utf-8")
    found = re.findall(r":::\{finding\} (.*?)\n(.*?)\n:::", text, re.S)
    assert len(found) == 3
    for claim, body in found:
        assert claim in LEDGER and ":expect:" in body
        # A number that was typed would stay when the runs change.
        words = re.sub(r"^:.*$", "", body, flags=re.M)
        assert not re.search(r"\d", words), words


# ---- the map ----------------------------------------------------------------------------------


def book_chapters():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    numbered = [part for part in toc["parts"] if part.get("numbered")]
    return [entry["file"].split("/")[1] for part in numbered for entry in part["chapters"]]


def test_the_map_has_the_chapters_of_the_book_in_its_order_and_an_arc_for_each_need():
    listed = course.chapters()
    assert [chapter.name for chapter in listed] == book_chapters()
    assert [chapter.number for chapter in listed] == list(range(1, len(listed) + 1))
    drawn = course.map_html(listed)
    links = re.findall(
        r'<a href="([\w-]+)\.html"><rect.*?\n<text[^>]*>(\d+)&#160; (.*?)</text>', drawn
    )
    assert [name for name, _, _ in links] == book_chapters()
    assert drawn.count('class="arc"') == sum(len(chapter.needs) for chapter in listed)
    place = {
        name: float(y)
        for y, name in re.findall(r'cy="([\d.]+)" r="4"/>\n<a href="([\w-]+)\.html"', drawn)
    }
    for group, chapter in zip(drawn.split("<g>")[1:], listed, strict=True):
        arcs = re.findall(r'class="arc"[^>]* d="M[\d.]+ ([\d.]+)C.* ([\d.]+)"', group)
        ends = [(float(start), float(end)) for start, end in arcs]
        assert ends == [(place[needed], place[chapter.name]) for needed in chapter.needs]


def test_the_list_below_the_map_says_the_same():
    listed = course.chapters()
    items = course.objectives_html(listed).split("<dt ")[1:]
    for chapter, item in zip(listed, items, strict=True):
        assert f'id="{chapter.name}"' in item and chapter.question in item
        assert re.findall(r'href="#([\w-]+)"', item) == list(chapter.needs)
        assert item.count("<li>") == len(chapter.objectives) >= 2


@pytest.mark.parametrize("chapter", course.chapters(), ids=lambda chapter: chapter.name)
def test_a_chapter_says_that_it_needs_what_the_map_says(chapter):
    first = nbformat.read(CHAPTERS / f"{chapter.name}.ipynb", as_version=4).cells[0].source
    said = re.search(r"You need(.*?)\.(?:\s|\*)", first, re.S)
    if said:  # A chapter of the first form leaves it to the map.
        linked = re.findall(r"{doc}`([\w-]+)`", said[1])
        assert [name for name in linked if name != "method"] == list(chapter.needs)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda told: told.pop("loss"), r"\['loss'\] are not in both"),
        (lambda told: told.update(new={}), r"\['new'\] are not in both"),
        (lambda told: told["padding"].pop("question"), "padding: fields"),
        (lambda told: told["padding"].update(needs=["loss"]), "padding: needs='loss'; allowed are"),
    ],
)
def test_a_map_that_does_not_fit_the_book_is_refused(tmp_path, change, message):
    told = yaml.safe_load((CHAPTERS / "course.yml").read_text(encoding="utf-8"))
    change(told)
    (tmp_path / "chapters").mkdir()
    for path in CHAPTERS.glob("*.ipynb"):
        (tmp_path / "chapters" / path.name).symlink_to(path)
    (tmp_path / "_toc.yml").symlink_to(ROOT / "_toc.yml")
    (tmp_path / "chapters" / "course.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        course.chapters(tmp_path)


# ---- the general index ------------------------------------------------------------------------


def test_the_index_lists_each_page_once_under_a_term_in_the_spelling_of_the_glossary():
    def link(target):
        return addnodes.pending_xref("", nodes.inline("", target), reftype="term", reftarget=target)

    paragraph = nodes.paragraph("", "", *map(link, ["Pooling", "pooling", "relu", "no such term"]))
    page = nodes.section("", nodes.title("", "A page"), paragraph, ids=["a-page"])
    pages.index_terms(ROOT, page)
    entries = [entry for node in page.findall(addnodes.index) for entry in node["entries"]]
    assert [entry[:2] for entry in entries] == [
        ("single", "pooling; A page"),
        ("single", "ReLU; A page"),
    ]
    # Where there are words to show: the search takes its excerpt from the place.
    assert [entry[2] for entry in entries] == 2 * paragraph["ids"] and len(paragraph["ids"]) == 1
    glossary = nodes.section("", addnodes.glossary(), nodes.paragraph("", "", link("pooling")))
    pages.index_terms(ROOT, glossary)
    assert list(glossary.findall(addnodes.index)) == []


# ---- in the built book ------------------------------------------------------------------------


@pytest.mark.browser
def test_what_is_drawn_leads_to_places_that_exist(html):
    """Sphinx checks its own links; those that a template writes are checked here."""
    for name in ("intro", "verdicts", "map"):
        text = (html / "chapters" / f"{name}.html").read_text(encoding="utf-8")
        article = text[text.index("<article") : text.index("</article")]
        links = re.findall(r'href="([\w-]*)(?:\.html)?(?:#([\w-]+))?"', article)
        assert len(links) > len(book_chapters())
        for page, anchor in set(links):
            target = html / "chapters" / f"{page or name}.html"
            assert target.is_file(), target
            if anchor:
                assert f'id="{anchor}"' in target.read_text(encoding="utf-8"), (page, anchor)


@pytest.mark.browser
def test_the_general_index_leads_from_a_term_to_the_pages_that_use_it(html):
    index = (html / "genindex.html").read_text(encoding="utf-8")
    assert 'href="chapters/glossary.html#term-pooling"' in index
    assert re.search(r'href="chapters/pooling\.html#index-[\w-]+"', index)
    assert set(re.findall(r'href="(chapters/[\w-]+)\.html', index)) <= set(book.pages())


# ---- notation ---------------------------------------------------------------------------------

_SYMBOL = re.compile(
    r"\\(?:alpha|beta|gamma|delta|varepsilon|epsilon|eta|theta|lambda|mu|nu|rho|sigma|tau|phi|pi)\b"
    r"|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])"
)


def symbols(text):
    """Name the letters of the mathematics in a text."""
    formulas = re.findall(r"\$\$(.+?)\$\$|\$([^$]+?)\$", re.sub(r"`[^`]*`", "", text), re.S)
    plain = [re.sub(r"\\(?:text|mathrm|operatorname|begin|end)\{.*?\}", "", "".join(each))
             for each in formulas]  # fmt: skip
    return {symbol for formula in plain for symbol in _SYMBOL.findall(formula)}


def test_letters_of_formulas_are_found_and_words_are_not():
    assert symbols(r"$x_{old} + \sigma$ and $\text{rate of } B$, `$HOME` $$\ln p$$") == {
        "x", r"\sigma", "B", "p",
    }  # fmt: skip


@pytest.mark.parametrize("chapter", book_chapters())
def test_every_symbol_of_a_chapter_is_on_the_page_of_notation(chapter):
    cells = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4).cells
    used = symbols("\n\n".join(c.source for c in cells if c.cell_type == "markdown"))
    rows = re.findall(r"^\| ([^|]*\$[^|]*)\|", notation(), re.M)
    assert used - symbols("\n".join(rows)) == set()


def notation():
    return (CHAPTERS / "notation.md").read_text(encoding="utf-8")


def test_a_letter_with_another_meaning_belongs_to_a_chapter_that_uses_it():
    table = notation().split("## Letters with another meaning")[1]
    rows = re.findall(r"^\| (\$.*?) \| {doc}`([\w-]+)` \|", table, re.M)
    assert len(rows) > 3
    for letters, chapter in rows:
        cells = nbformat.read(CHAPTERS / f"{chapter}.ipynb", as_version=4).cells
        used = symbols("\n\n".join(c.source for c in cells if c.cell_type == "markdown"))
        assert symbols(letters) <= used, chapter


# ---- the version ------------------------------------------------------------------------------


def test_the_citation_is_whole_and_of_the_version_of_the_package_and_of_the_changelog():
    project = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    # What version 1.2.0 of the format asks for, and what a reference list needs.
    asked = {"cff-version", "message", "title", "authors"}
    assert asked | {"abstract", "keywords", "license", "type", "version"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    people = [citation["authors"], *(each["authors"] for each in citation["references"])]
    assert all("name" in each or "family-names" in each for group in people for each in group)
    assert {"type", "title", "authors"} <= set(citation["references"][0])
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+)", changelog, re.M)
    assert str(citation["version"]) == project[1] == newest[1]
