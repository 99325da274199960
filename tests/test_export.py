"""The exported notebooks: plain Markdown, no link to nothing, and exercises that can be checked."""

import builtins
import contextlib
import os
import re
import subprocess
import symtable
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup, SoupStrainer
from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import v4

from utils.commands import book, notebooks

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted(path.stem for path in (ROOT / "chapters").glob("*.ipynb"))
# `make test` runs these, which take the least time, and the weekly run all of them.
CHEAPEST = {"claims", "convolution", "recipe"}
KINDS = ("solutions", "student")
# Those that say what is in `utils` have nothing to run.
PAGES = [page for page in book.pages(ROOT) if not page.startswith("chapters/api-")]

# As JupyterLab, VS Code, Colab and GitHub read it: none of them knows more than this.
PLAIN = MarkdownIt("commonmark").enable(["table", "strikethrough"]).use(dollarmath_plugin)
RAW = re.compile(r"\{[\w:-]+\}`|^\s*(:{3,}|`{3,}\{)|^\(.+\)=$|^\+\+\+|\{\{|\{(?:ref|eval)-", re.M)


@pytest.fixture(scope="module")
def exported(html):
    """Give the folder of the exported notebooks, by kind, and every notebook in it by name."""
    return {
        kind: {
            path.stem: nbformat.read(path, as_version=4)
            for path in (html.parent / "notebooks" / kind).glob("*.ipynb")
        }
        for kind in KINDS
    }


def prose(notebook):
    """Everything that a notebook's reader reads, as HTML."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return BeautifulSoup("\n".join(map(PLAIN.render, cells)), "html.parser")


def raw_marks(notebook):
    """What of MyST is left in the text outside code and mathematics."""
    text = prose(notebook)
    for code in text(["code", "pre", "eq"]) + text.select(".math"):
        code.replace_with("`")
    return [match.group() for match in RAW.finditer(text.get_text())]


def words(soup):
    """Split a text into words and marks; of a formula, without what encloses it."""
    for formula in soup.select(".math, eq"):
        formula.string = re.sub(r"\\[()\[\]]|\\(?:begin|end)\{split\}", " ", formula.get_text())
    return re.findall(r"\w+|[^\w\s]", soup.get_text(" "))


# ---- what is written --------------------------------------------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_exported_and_is_a_notebook(exported, kind):
    assert set(exported[kind]) == {page.partition("/")[2] for page in PAGES}
    for notebook in exported[kind].values():
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "python3"
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                assert "papermill" not in str(output.get("data", {}).keys())


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_no_cell_has_a_raw_role_or_directive(exported, kind):
    assert {
        name: raw_marks(notebook) for name, notebook in exported[kind].items()
    } == dict.fromkeys(exported[kind], [])


@pytest.mark.parametrize(
    "text",
    [
        "It is {glue:text}`a.ipynb::key:.1f` points.",
        "A {term}`batch <mini-batch>`.",
        "{cite:t}`somebody2020`",
        ":::{note}\nText\n:::",
        "(a-label)=\n\n# Title",
        "{{ substitution }}",
    ],
)
def test_a_raw_mark_would_be_seen(text):
    assert raw_marks(v4.new_notebook(cells=[v4.new_markdown_cell(text)])) != []


@pytest.mark.browser
@pytest.mark.parametrize("kind", KINDS)
def test_no_link_leads_to_nothing(exported, kind):
    for name, notebook in exported[kind].items():
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        shown = [output.get("data", {}).get("text/html", "") for output in outputs]
        shown = BeautifulSoup("\n".join(shown), "html.parser")
        parts = prose(notebook), shown
        ids = {element["id"] for part in parts for element in part.select("[id]")}
        for link in (link for part in parts for link in part.select("a[href]")):
            address = urlsplit(link["href"])
            if address.path and not address.scheme:
                path = Path(address.path)
                assert path.suffix == ".ipynb" and path.stem in exported[kind], (name, link)
            elif not address.scheme:
                assert address.fragment in ids, (name, link)


@pytest.mark.browser
def test_an_exported_page_says_word_for_word_what_the_page_says(exported, html):
    for name, notebook in exported["solutions"].items():
        page = BeautifulSoup((html / "chapters" / f"{name}.html").read_text("utf-8"), "html.parser")
        article = page.article
        for cell in article.select("div.cell, details.hide"):
            for caption in cell.select("figcaption"):  # What is read of a cell, beside its output.
                caption.select_one(".caption-number").decompose()
                cell.insert_before(caption.extract())
        beside = "div.cell, details.hide, a.headerlink, script, svg, .section-number, span.label"
        for element in article.select(f"{beside}, .toctree-wrapper"):
            element.decompose()
        assert words(prose(notebook)) == words(article), name


@pytest.mark.browser
def test_the_download_button_leads_to_the_exported_notebook(html):
    for page in PAGES:
        text = (html / f"{page}.html").read_text("utf-8")
        soup = BeautifulSoup(text, "html.parser", parse_only=SoupStrainer("a"))
        links = [link["href"] for link in soup.select("a.btn-download-source-button")]
        assert links, page
        for link in links:
            target = (html / page).parent / link
            name = page.partition("/")[2]
            if target.suffix == ".ipynb":
                there = html.parent / "notebooks" / "solutions" / f"{name}.ipynb"
                assert target.read_bytes() == there.read_bytes()
            else:
                text = target.read_text("utf-8")
                assert raw_marks(v4.new_notebook(cells=[v4.new_markdown_cell(text)])) == []


# ---- a small book -----------------------------------------------------------------------------

REPOSITORY = "https://github.com/someone/course"
TEXT = """# One

A 2 * 3 * 4, an a_b and an _c_d, 5 \\$ and 6 \\$, <b>bold</b>, a \\`tick, \\[1](2),
`a | b` and x < y.
See [](two.ipynb#a-section), {term}`word`, {doc}`two`, {ref}`here`, [out](https://example.org).

1\\. is no list

- one

  two $x^2$
- three
  1. four
     5

(here)=
## Section

| a | b |
|---|---|
| $x$ | `p\\|q` **r** |

```python
print("`$x$`")
```

:::{dropdown} A *title*
Inside, $y$.
:::

:::{warning}
Mind *this*.

$$
z = \\frac{1}{2}
$$
:::

:::{admonition} Own title
Text.
:::

> quoted

![a dot](_static/logo.svg)

:::{glossary}
word
  What it means.
:::
"""


def small(folder, *cells, baseurl=None, repository=None):
    """Build a book of two pages with this book's settings; its notebooks, and what is said."""
    (folder / "chapters" / "_static").mkdir(parents=True, exist_ok=True)
    for name in ("logo.svg", "theme.css", "theme.js"):
        (folder / "chapters" / "_static" / name).touch()
    (folder / "chapters" / "references.bib").touch()
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    if baseurl:
        config["html"]["baseurl"] = baseurl
    if repository:
        config["sphinx"]["config"]["html_theme_options"]["repository_url"] = repository
    (folder / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    toc = {"format": "jb-book", "root": "chapters/one", "chapters": [{"file": "chapters/two"}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    (folder / "chapters" / "one.md").write_text(TEXT, "utf-8")
    first = v4.new_markdown_cell("# Two\n\n## A section\n\nText.")
    notebook = notebooks.tidy(v4.new_notebook(cells=[first, *cells]))
    notebooks.store(notebook, folder / "chapters" / "two.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "utils.commands.export", "--source", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    written = {
        (kind, name): nbformat.read(
            folder / "_build" / "notebooks" / kind / f"{name}.ipynb", as_version=4
        )
        for kind in KINDS
        for name in ("one", "two")
    }
    return folder, written, done.stdout


@pytest.fixture(scope="module")
def unpublished(tmp_path_factory):
    """Build a small book that has no address."""
    return small(tmp_path_factory.mktemp("unpublished"), *EXERCISES)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Build a small book that has its addresses."""
    addresses = {"baseurl": "https://example.org/course", "repository": REPOSITORY}
    return small(tmp_path_factory.mktemp("published"), code("from utils import data"), **addresses)


@pytest.mark.browser
def test_what_is_markup_stays_markup_and_what_is_none_becomes_none(unpublished):
    _, written, _ = unpublished
    (cell,) = written["solutions", "one"].cells
    text = " ".join(prose(written["solutions", "one"]).get_text(" ").split())
    for part in (
        "A 2 * 3 * 4, an a_b and an _c_d, 5 $ and 6 $",
        "a `tick",
        "x < y",
        "1. is no list",
        "word What it means.",
    ):
        assert part in text, text
    soup = prose(written["solutions", "one"])
    assert len(soup.select("ul > li")) == 3 and len(soup.select("ol > li")) == 1
    assert [cell.get_text() for cell in soup.select("td")] == ["x", "p|q r"]
    assert soup.pre.get_text() == 'print("`$x$`")\n'
    assert soup.details.summary.get_text() == "A title"
    assert {link["href"] for link in soup("a")} == {"two.ipynb", "https://example.org"}
    assert soup.img["alt"] == "a dot" and soup.img["src"].startswith("data:image/svg+xml;base64,")
    assert [strong.get_text() for strong in soup.select("blockquote strong")][1] == "Own title"
    assert len(soup.select("blockquote")) == 3 and "Warning" in soup.blockquote.get_text()
    assert "\n> $$\n> z = \\frac{1}{2}\n> $$" in cell.source


@pytest.mark.browser
def test_links_lead_to_the_published_book_where_it_has_an_address(published):
    _, written, _ = published
    links = {link["href"] for link in prose(written["solutions", "one"])("a")}
    pages = "https://example.org/course/chapters/"
    assert links == {
        f"{pages}two.html#a-section",
        f"{pages}two.html",
        f"{pages}one.html#term-word",
        f"{pages}one.html#here",
        "https://example.org",
    }


def code(source, *tags):
    return v4.new_code_cell(source, execution_count=1, metadata={"tags": list(tags)})


EXERCISES = [
    v4.new_markdown_cell("## Exercises\n\nFor all.\n\n**1.** A task.\n\nMore of it."),
    code("from utils import data"),
    code("def a(): ...", "stub", "remove-cell"),
    code("def a(): return 1", "solution", "hide-cell"),
    code("assert a() == 1, 'no'", "check", "remove-cell"),
    v4.new_markdown_cell(":::{dropdown} Answer\nSecret.\n:::\n\n**2.** Another."),
    code("secret = 2", "hide-cell"),
    v4.new_markdown_cell(
        "Secret, too.\n\n**3.** Words.\n\n:::{dropdown} Hint\nThink.\n:::\n\n"
        ":::{dropdown} The answer\nSecret.\n:::\n\n## Further reading\n\nMore."
    ),
    code("glue = 1", "remove-cell"),
]


@pytest.mark.browser
def test_a_students_notebook_has_tasks_stubs_and_checks_and_no_solution(unpublished):
    _, written, said = unpublished
    sources = [cell.source for cell in written["student", "two"].cells]
    assert sources[1:] == [
        "## Exercises\n\nFor all.\n\n**1.** A task.\n\nMore of it.",
        "from utils import data",
        "def a(): ...",
        "assert a() == 1, 'no'",
        "**2.** Another.",
        "# Exercise 2: your answer",
        "**3.** Words.\n\n<details>\n<summary>Hint</summary>\n\nThink.\n\n</details>",
        "# Exercise 3: your answer",
        "## Further reading\n\nMore.",
    ]
    solved = [cell.source for cell in written["solutions", "two"].cells]
    code = [cell.source for cell in written["solutions", "two"].cells if cell.cell_type == "code"]
    assert code[0] == "from utils import data"
    assert code[1:] == ["def a(): return 1", "assert a() == 1, 'no'", "secret = 2"]
    assert "Secret." in solved[5] and "Secret, too." in solved[7]
    assert "without a check: two, exercise 2, 3" in said


# ---- they run, and can be checked -------------------------------------------------------------


@pytest.mark.browser
def test_no_name_is_missing_in_an_exported_notebook(exported):
    missing = {}
    for kind in KINDS:
        for name, notebook in exported[kind].items():
            bound = {*dir(builtins), "get_ipython", "display"}
            for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
                binds, reads = binds_and_reads(TransformerManager().transform_cell(cell.source))
                bound |= binds  # A function may be called later than it is written.
                missing[kind, name, cell.id] = reads - bound
    assert {cell: names for cell, names in missing.items() if names} == {}


@pytest.mark.browser
@pytest.mark.kernel
@pytest.mark.parametrize("name", CHAPTERS)
def test_an_exported_notebook_runs_from_top_to_bottom(html, name):
    if name not in CHEAPEST and os.environ.get("EXPORTED_NOTEBOOKS") != "all":
        pytest.skip("runs once a week")
    notebooks.execute(html.parent / "notebooks" / "solutions" / f"{name}.ipynb", "quick")


def binds_and_reads(source):
    """Names that a cell binds, and those that it takes from cells before."""
    cell = symtable.symtable(source, "cell", "exec")
    binds = {s.get_name() for s in cell.get_symbols() if s.is_assigned() or s.is_imported()}
    reads, scopes = {s.get_name() for s in cell.get_symbols() if s.is_referenced()}, [cell]
    while scopes:
        scopes += (children := scopes.pop().get_children())
        reads |= {s.get_name() for scope in children for s in scope.get_symbols() if s.is_global()}
    return binds, reads - binds


def needed(sources, last):
    """Positions of a cell and of those before it that its names come from, in their order."""
    chosen, wanted = [last], binds_and_reads(sources[last])[1]
    for position in reversed(range(last)):
        binds, reads = binds_and_reads(sources[position])
        if binds & wanted:
            chosen.insert(0, position)
            wanted = wanted - binds | reads
    return chosen


def with_checks():
    cases = []
    for name in CHAPTERS:
        notebook = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for position, cell in enumerate(cells):
            if "check" in cell.metadata.get("tags", []):
                cases.append(pytest.param(cells, position, id=f"{name}-{position}"))
    return cases


def run(sources, names):
    for source in sources:
        exec(source, names)


@pytest.mark.training
@pytest.mark.parametrize(("cells", "check"), with_checks())
def test_a_check_passes_with_the_solution_and_says_what_is_wrong_with_the_stub(cells, check):
    sources, chosen = {}, {}
    for kind, other in (("solution", "stub"), ("stub", "solution")):
        tags = [cell.metadata.get("tags", []) for cell in cells]
        sources[kind] = [
            "" if other in each else cell.source for each, cell in zip(tags, cells, strict=True)
        ]
        chosen[kind] = needed(sources[kind], check)
        answer = next(position for position in chosen[kind] if kind in tags[position])
    # What both need before the answer takes nearly all the time, and runs once.
    shared = [at for at in chosen["solution"] if at < answer and at in chosen["stub"]]
    names = {}
    run((sources["stub"][at] for at in shared), names)
    given = names.copy()
    for kind in chosen:
        expected = contextlib.nullcontext()
        if kind == "stub":
            expected = pytest.raises(AssertionError, match=r"\w \w")
        with expected:
            run((sources[kind][at] for at in chosen[kind] if at not in shared), names)
        # Not a copy for each: the functions of what is shared look into these names.
        names.clear()
        names.update(given)


def test_there_is_something_to_check():
    assert len(with_checks()) >= 2


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_cell_of_an_exercise_stands_behind_its_task(name):
    notebook = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)
    section, number, parts, answered = "", None, {}, set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for begin in re.findall(
                r"^(?:## .*|\*\*\d+\.\*\*|:+\{dropdown\} Answer)", cell.source, re.M
            ):
                if begin.startswith("## "):
                    section, number = begin, None
                elif section == "## Exercises" and begin.startswith(":"):
                    answered.add(number)
                elif section == "## Exercises":
                    number = begin
                    parts[number] = []
        elif {"stub", "hide-cell", "check"} & set(tags := cell.metadata.get("tags", [])):
            assert section == "## Exercises" and number, cell.source
            parts[number] += [kind for kind in ("stub", "solution", "check") if kind in tags]
    # A chapter without any check is one for which nobody has written them.
    if any(parts.values()):
        # What asks for a thought alone has its answer in prose.
        asked = {each: found for each, found in parts.items() if found or each not in answered}
        assert asked == dict.fromkeys(asked, ["stub", "solution", "check"])


@pytest.mark.browser
@pytest.mark.parametrize("name", sorted({case.id.rpartition("-")[0] for case in with_checks()}))
def test_on_the_page_the_whole_answer_is_folded(html, exported, name):
    page = BeautifulSoup((html / "chapters" / f"{name}.html").read_text("utf-8"), "html.parser")
    section = page.find(id="exercises")
    for element in section.select("details, a.headerlink, .section-number"):
        element.decompose()
    notebook = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if "solution" in cell.metadata.get("tags", []):
            assert cell.source not in section.get_text()
    for element in section.select("div.cell"):
        element.decompose()
    # What is left open is what a student is given.
    title = next(h2 for h2 in prose(exported["student"][name])("h2") if h2.text == "Exercises")
    given = words(title)
    for element in title.find_next_siblings():
        if element.name == "h2":
            break
        given += words(element) if element.name != "details" else []
    assert words(section) == given


# ---- the repository ---------------------------------------------------------------------------


def launched(folder, page):
    """Addresses that the buttons of a page open a notebook at."""
    text = (folder / "_build" / "html" / "chapters" / f"{page}.html").read_text("utf-8")
    links = BeautifulSoup(text, "html.parser").select(".dropdown-launch-buttons a[href]")
    return [link["href"] for link in links]


@pytest.mark.browser
def test_one_setting_gives_the_buttons_and_the_cell_that_installs_and_without_it_is_neither(
    unpublished, published
):
    folder, written, _ = unpublished
    assert "pip" not in str(written) and launched(folder, "two") == []
    folder, written, _ = published
    for kind in KINDS:
        first = written[kind, "two"].cells[0]
        assert first.source.endswith(f"install({REPOSITORY!r})") and not first.outputs
        assert "pip" not in str(written[kind, "one"])  # No code, no need.
    assert launched(folder, "two") == [
        "https://mybinder.org/v2/gh/someone/course/notebooks?urlpath=lab/tree/chapters/two.ipynb",
        "https://colab.research.google.com/github/someone/course/blob/notebooks/chapters/two.ipynb",
    ]
    assert launched(folder, "one") == []
