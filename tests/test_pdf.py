"""The book on paper: numbers and links that are right, and nothing that needs a hand."""

import re
import shutil

import nbformat
import pytest
import yaml
from nbformat import v4
from pypdf import PdfReader
from test_browser import Watch, chromium  # noqa: F401  (a fixture)

from utils.commands import book, notebooks, pdf
from utils.paths import ROOT
from utils.widgets import page as widget

WIDE = " | ".join(f"column{number}" for number in range(40))
ONE = f"""# One

*What it is about.*

See [the far end](two.ipynb#the-far-end), [](two.ipynb), and <a href="two.html#raw">a claim</a>.

:::{{dropdown}} More on it
A fold with **more**.
:::

| {WIDE} |
|{" - |" * 40}
| {WIDE.replace("column", "cell")} |
"""
SLIDER = (
    '<div class="slider-controls"><span>kernel size</span><output>three</output></div>'
    '<div class="slider-states"><div class="slider-state" data-name="three"><p>State A</p></div>'
    '<div class="slider-state" data-name="five" hidden><p>State B</p></div></div>'
)
FILL = "\n\n".join(f"Line {number} of a long text." for number in range(60))


def code(source, text="", *tags, html=None):
    data = {"text/html": html, "text/plain": "[drawn]"} if html else {"text/plain": text}
    output = v4.new_output("execute_result", data, execution_count=1)
    metadata = {"tags": list(tags)} if tags else {}
    outputs = [output] if text or html else []
    return v4.new_code_cell(source, execution_count=1, outputs=outputs, metadata=metadata)


CELLS = [
    v4.new_markdown_cell('# Two\n\n$x^2$\n\n<p id="raw">A place.</p>'),
    code("shown = 1"),
    code("drawn = 'a long hidden cell'", "", "hide-input", html="<p>A figure</p>"),
    code("move()", html=widget.whole("slider", "A slider", {"label": "kernel size"}, SLIDER)),
    v4.new_markdown_cell("## Exercises\n\n**1.** Why?"),
    code("solved = 1", "'the output of it'", "hide-cell"),
    v4.new_markdown_cell(":::{dropdown} Answer\nBecause *so*.\n:::\n\n**2.** And why not?"),
    v4.new_markdown_cell(f":::{{dropdown}} Answer\nThus.\n:::\n\n{FILL}"),
    v4.new_markdown_cell("## The far end\n\nBack to [](one.md)."),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Build a book of three pages with this book's settings, and give its folder."""
    folder = tmp_path_factory.mktemp("small")
    chapters = folder / "chapters"
    shutil.copytree(ROOT / "chapters" / "_static", chapters / "_static")
    shutil.copy(ROOT / "_config.yml", folder)
    shutil.copy(ROOT / "chapters" / "references.bib", chapters)
    part = {"caption": "A part", "numbered": True, "chapters": [{"file": "chapters/two"}]}
    last = {"caption": "The end", "chapters": [{"file": "chapters/three"}]}
    toc = {"format": "jb-book", "root": "chapters/one", "parts": [part, last]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    (chapters / "one.md").write_text(ONE, encoding="utf-8")
    (chapters / "three.md").write_text(f"# Three\n\n```python\n{'long ' * 60}\n```\n", "utf-8")
    notebook = notebooks.tidy(v4.new_notebook(cells=CELLS))
    nbformat.validate(notebook)
    notebooks.store(notebook, chapters / "two.ipynb")
    assert book.build(folder) == 0
    return folder


@pytest.fixture(scope="module")
def printed(small, chromium):  # noqa: F811
    """Print it, and give what is on paper, with the numbers of the places that are linked to."""
    target = small / "_build" / "pdf" / pdf.NAME
    pages = pdf.write(small, small / "_build" / "html", target, chromium)
    return PdfReader(target), pages


def words(text):
    return " ".join(text.split())


@pytest.fixture(scope="module")
def texts(printed):
    return [words(page.extract_text()) for page in printed[0].pages]


def number_of(texts, text):
    """Give the number of the one page that has this text, the contents aside."""
    (number,) = (n for n, each in enumerate(texts, start=1) if text in each and n != 2)
    return number


PLACES = {
    "One": "What it is about. See",
    "1. Two": "A place.",
    "Three": "long long",
}


def test_the_contents_give_the_page_of_each_chapter(texts):
    found = dict(re.findall(r"(One|1\. Two|Three) (\d+)", texts[1]))
    assert found == {title: str(number_of(texts, text)) for title, text in PLACES.items()}
    assert "Contents One" in texts[1] and re.search(r"A part 1\. Two \d+ The end Three", texts[1])
    assert len(set(found.values())) == 3


def test_each_page_but_the_title_has_its_number_at_its_foot(texts):
    assert "Convolution, Tested What it is about. The Convolution, Tested authors" in texts[0]
    for number, text in enumerate(texts[1:], start=2):
        assert re.search(rf"^{number}\b|\b{number}$", text), text
    assert not re.search(r"^1\b|\b1$", texts[0])


def test_each_link_leads_to_the_page_where_its_place_is(printed, texts):
    reader, pages = printed
    links, outside = [], []
    for number, page in enumerate(reader.pages, start=1):
        for link in (each.get_object() for each in page.get("/Annots", ())):
            if "/Dest" in link:
                links.append((number, link["/Dest"].removeprefix("/")))
            else:
                outside.append(link["/A"]["/URI"])
    first, two = number_of(texts, PLACES["One"]), number_of(texts, PLACES["1. Two"])
    far = number_of(texts, "Back to")
    assert far > two > first
    places = {name: pages[name] for number, name in links if number == first}
    assert places == {
        "chapters-two--the-far-end": far,
        "chapters-two": two,
        "chapters-two--raw": two,
    }
    assert {name for number, name in links if number == 2} == {
        f"chapters-{name}" for name in ("one", "two", "three")
    }
    assert {name for _, name in links} <= pages.keys()
    assert outside and not [url for url in outside if not url.startswith("https://")]


def test_the_bookmarks_are_the_headings_and_lead_to_them(printed, texts):
    reader, _ = printed
    titles = {}

    def collect(entries):
        for entry in entries:
            if isinstance(entry, list):
                collect(entry)
            else:
                titles[words(entry.title)] = reader.get_destination_page_number(entry) + 1

    collect(reader.outline)
    assert list(titles) == [
        "One",
        "1. Two",
        "1.1. Exercises",
        "1.2. The far end",
        "Answers",
        "Three",
    ]
    assert titles["1.2. The far end"] == number_of(texts, "Back to")
    assert {title: titles[title] for title in PLACES} == {
        title: number_of(texts, text) for title, text in PLACES.items()
    }


def test_answers_stand_at_the_end_of_their_chapter_and_say_so_where_they_are_asked_for(texts):
    asked = number_of(texts, "1. Why?")
    for number in (1, 2):
        there = number_of(texts, f"Exercise {number}, page {asked}")
        assert there > asked and f"? Answer, page {there}" in texts[asked - 1]
    given = "".join(texts[asked:])
    order = [
        "Exercise 1,",
        "solved = 1",
        "'the output of it'",
        "Because so.",
        "Exercise 2,",
        "Thus.",
    ]
    places = [given.index(each) for each in order]
    assert places == sorted(places)


def test_nothing_is_left_that_needs_a_hand_and_no_hidden_code(texts):
    whole = " ".join(texts)
    drawn = "A figure", "kernel size: three", "State A"
    for there in ("shown = 1", *drawn, "More on it", "A fold with more."):
        assert there in whole
    assert "Interactive in a browser, on the page 1. Two." in whole
    for leftover in ("a long hidden cell", "State B", "Show code", "Hide code", "Details", "Copy"):
        assert leftover not in whole
    assert not re.search(r"Click to|Skip to|Back to top|On this page|#", whole)


def test_what_is_wide_is_drawn_smaller_and_long_lines_wrap(printed):
    right = {}
    for page in printed[0].pages:

        def look(text, matrix, text_matrix, *_):
            if text.strip():
                for each in text.split():
                    right[each] = text_matrix[4] * matrix[0] + matrix[4]

        page.extract_text(visitor_text=look)
    paper = float(printed[0].pages[0].mediabox.width)
    assert right["cell39"] > right["cell0"] and max(right.values()) < paper - 40, right


def test_a_page_that_a_reader_prints_is_open_and_without_its_frame(small, chromium, tmp_path):  # noqa: F811
    with Watch(chromium) as watch:
        watch.open((small / "_build" / "html" / "chapters" / "two.html").as_uri())
        watch.tab.pdf(path=tmp_path / "two.pdf")
        opened = watch.tab.locator("details.sd-dropdown[open]").count()
    text = words(" ".join(page.extract_text() for page in PdfReader(tmp_path / "two.pdf").pages))
    for there in ("Because so.", "Thus.", "shown = 1", "State A"):
        assert there in text
    # What the reader left folded is folded again, and code was not unfolded.
    assert opened == 0
    for leftover in ("hidden cell", "Show code", "State B", "Search", "A part", "Previous", "Next"):
        assert leftover not in text


def test_a_link_to_nothing_is_refused(small, tmp_path):
    html = tmp_path / "html"
    shutil.copytree(small / "_build" / "html", html)
    path = html / "chapters" / "two.html"
    text = path.read_text(encoding="utf-8").replace('id="raw"', 'id="gone"')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="lead to nothing: chapters/one: .*two--raw"):
        pdf.assemble(small, html, tmp_path)


def test_without_a_browser_it_says_so_and_builds_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.commands.chromium.find_browser", lambda: None)
    assert pdf.main(["--source", str(tmp_path)]) == 1
    assert "Chromium or Chrome" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
