"""The book builds without a warning, is whole, asks no other host, and its outputs are clean."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml

from utils.commands import book, notebooks
from utils.evidence.claims import load_ledger
from utils.evidence.records import RecordFile
from utils.evidence.stored import OUTPUTS_KEY, outputs_hash

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))

# Attributes that make a browser fetch something without a reader's click.
FETCHED = {
    **dict.fromkeys(["script", "iframe", "embed", "audio", "track", "input"], ["src"]),
    **dict.fromkeys(["img", "source"], ["src", "srcset"]),
    **dict.fromkeys(["image", "use"], ["href", "xlink:href"]),
    **{"link": ["href"], "object": ["data"], "video": ["src", "poster"]},
}
OTHER_HOST = re.compile(r"^\s*(?:https?:|wss?:|ftp:)?//", re.I)
CSS_OTHER_HOST = re.compile(r"(?:url\(\s*|@import\s+)[\"']?\s*((?:https?:)?//[^\"')\s]+)", re.I)


class Page(HTMLParser):
    """What a page fetches from elsewhere, and the images of its article."""

    def __init__(self, text):
        super().__init__()
        self.elsewhere, self.images, self._article, self._style = [], [], False, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._article |= tag == "article"
        self._style = tag == "style"
        for name in FETCHED.get(tag, []):
            if OTHER_HOST.match(attributes.get(name) or ""):
                self.elsewhere.append(f"<{tag} {name}={attributes[name]!r}>")
        self.elsewhere += CSS_OTHER_HOST.findall(attributes.get("style") or "")
        if tag == "img" and self._article:
            self.images.append(attributes)

    def handle_endtag(self, tag):
        self._article &= tag != "article"
        self._style = False

    def handle_data(self, text):
        if self._style:
            self.elsewhere += CSS_OTHER_HOST.findall(text)


def pages_of(html):
    return sorted(html.glob("*.html")) + sorted((html / "chapters").glob("*.html"))


@pytest.mark.browser
def test_every_page_of_the_table_of_contents_exists(html):
    assert book.missing_pages(ROOT, html) == []


def test_every_page_in_the_folder_is_in_the_table_of_contents():
    there = {f"chapters/{path.stem}" for path in (ROOT / "chapters").glob("*.md")}
    there |= {f"chapters/{path.stem}" for path in NOTEBOOKS}
    assert there == set(book.pages(ROOT))


@pytest.mark.browser
def test_no_page_fetches_from_another_host(html):
    found = {page.name: Page(page.read_text(encoding="utf-8")).elsewhere for page in pages_of(html)}
    assert {name: urls for name, urls in found.items() if urls} == {}
    for css in html.rglob("*.css"):
        assert CSS_OTHER_HOST.findall(css.read_text(encoding="utf-8")) == [], css


def test_a_fetch_from_another_host_would_be_seen():
    text = """<style>@import "https://a.org/x.css"; p {background: url(//b.org/y.png)}</style>
    <script src="https://c.org/z.js"></script><p style="background: url('https://d.org/u.png')">
    <a href="https://fine.org">a link</a><img src="//e.org/v.png"><img src="near.png">"""
    hosts = re.findall(r"\b[a-z]+\.org", " ".join(Page(text).elsewhere))
    assert sorted(hosts) == ["a.org", "b.org", "c.org", "d.org", "e.org"]


@pytest.mark.browser
def test_every_image_has_alt_text(html):
    def says_nothing(alt):
        # What stands in for a missing text is the name of the image's file.
        return len(alt.strip()) < 3 or re.search(r"\.(png|svg|jpe?g|gif)$", alt.strip())

    silent = [
        (page.name, image.get("src", "")[:80])
        for page in pages_of(html)
        for image in Page(page.read_text(encoding="utf-8")).images
        if says_nothing(image.get("alt") or "")
    ]
    assert silent == []


def test_what_a_cell_printed_in_one_go_is_stored_as_one_output_however_it_arrived():
    def printed(text, name="stdout"):
        return nbformat.v4.new_output("stream", name=name, text=text)

    shown = nbformat.v4.new_output("display_data", data={"text/plain": "x"})
    cell = nbformat.v4.new_code_cell("pass", execution_count=1)
    cell.outputs = [printed("a\n"), printed("\rbar", "stderr"), printed("b\n"), shown, printed("c")]
    (stored,) = notebooks.tidy(nbformat.v4.new_notebook(cells=[cell])).cells
    assert [each.get("text") for each in stored.outputs] == ["a\nb\n", None, "c"]
    assert [each.text for each in cell.outputs if "text" in each][0] == "a\n"


# ---- the builder fails when it should ---------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Lay out a book of two pages with this book's settings."""
    shutil.copytree(ROOT / "chapters" / "_static", tmp_path / "chapters" / "_static")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "chapters" / "references.bib", tmp_path / "chapters")
    toc = {
        "format": "jb-book",
        "root": "chapters/one",
        "parts": [{"caption": "A part", "chapters": [{"file": "chapters/two"}]}],
    }
    write(tmp_path / "_toc.yml", yaml.safe_dump(toc))
    write(tmp_path / "chapters" / "one.md", "# One\n\nSee [](two.ipynb).\n")
    cells = [
        nbformat.v4.new_markdown_cell("# Two\n\n$x^2$"),
        nbformat.v4.new_code_cell("1 + 1", execution_count=1),
    ]
    notebook = notebooks.tidy(nbformat.v4.new_notebook(cells=cells))
    notebooks.store(notebook, tmp_path / "chapters" / "two.ipynb")
    return tmp_path


def write(path, text):
    path.write_text(text, encoding="utf-8")


@pytest.mark.browser
def test_the_small_book_is_whole_whatever_lies_around(small, capfd):
    for name in (".pytest_cache", ".venv/lib", "tests", "chapters/.ipynb_checkpoints"):
        (small / name).mkdir(parents=True)
        write(small / name / "NOTES.md", "# Not a page\n\n[](nowhere.md)\n")
    write(small / "README.md", "# Not a page\n\n[](nowhere.md)\n")
    assert book.build(small) == 0, capfd.readouterr()


BROKEN = {
    "See [](three.md).": "three.md",
    "See {numref}`fig-nowhere`.": "fig-nowhere",
    "See {term}`no-such-term`.": "no-such-term",
    "See {cite}`nobody1900`.": "nobody1900",
    "It is {glue:text}`two.ipynb::no_such_key:.2f`.": "no_such_key",
    "![a picture](no-such-picture.png)": "no-such-picture.png",
}


@pytest.mark.browser
def test_sphinx_alone_builds_the_same_pages_and_leaves_no_settings(small, capfd):
    assert book.build(small) == 0 == book.build(small, plain=True), capfd.readouterr()
    assert not (small / "conf.py").exists()
    built, plain = small / "_build" / "html", small / "_build" / "sphinx"
    for name in ("index", "chapters/one", "chapters/two"):
        assert (plain / f"{name}.html").read_bytes() == (built / f"{name}.html").read_bytes()
    with (small / "chapters" / "one.md").open("a", encoding="utf-8") as page:
        page.write("\n[](nowhere.md)\n")
    assert book.build(small, plain=True) != 0
    write(small / "conf.py", "mine = 1")
    with pytest.raises(FileExistsError, match="conf.py"):
        book.build(small, plain=True)
    assert (small / "conf.py").read_text(encoding="utf-8") == "mine = 1"


@pytest.mark.browser
def test_the_way_in_has_a_title_a_language_and_a_link(html):
    text = (html / "index.html").read_text(encoding="utf-8")
    first = f"{book.pages(ROOT)[0]}.html"
    assert '<html lang="en">' in text and "<title>Convolution, Tested</title>" in text
    assert f'<a href="{first}">' in text and f"url={first}" in text


@pytest.mark.browser
def test_whatever_is_broken_on_a_page_is_said_and_fails_the_build(small, capfd):
    write(small / "chapters" / "one.md", "\n\n".join(["# One", "[](two.ipynb)", *BROKEN]) + "\n")
    assert book.build(small) != 0
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARNING" in line]
    for complaint in BROKEN.values():
        assert any(complaint in line for line in warnings), complaint


@pytest.mark.browser
def test_a_script_that_nobody_knows_fails_the_build(small, capfd):
    write(small / "chapters" / "one.md", "# One\n\n<script>steal()</script>\n\n[](two.ipynb)\n")
    assert book.build(small) == 1
    assert re.search(r"chapters/one: a script that .* 'steal\(\)'", capfd.readouterr().err)


@pytest.mark.browser
def test_words_that_have_outlived_their_verdict_fail_the_build(small, capfd):
    finding = ":::{finding} conv-is-linear\n:expect: refuted\nIt is not linear.\n:::"
    write(small / "chapters" / "one.md", f"# One\n\n{finding}\n\n[](two.ipynb)\n")
    assert book.build(small) != 0
    assert "conv-is-linear: the text is for 'refuted'" in capfd.readouterr().err


@pytest.mark.browser
def test_a_page_that_is_not_there_fails_the_build(small, capfd):
    (small / "chapters" / "two.ipynb").unlink()
    write(small / "chapters" / "one.md", "# One\n")
    assert book.build(small) != 0
    assert "chapters/two" in capfd.readouterr().err


def test_a_builder_that_builds_nothing_and_reports_success_is_seen(small, capfd, monkeypatch):
    nothing = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(book.subprocess, "run", lambda *_, **__: nothing)
    assert book.build(small) == 1
    message = capfd.readouterr().err
    assert "chapters/one" in message and "chapters/two" in message


def test_pages_come_in_reading_order(small):
    assert book.pages(small) == ["chapters/one", "chapters/two"]
    assert book.notebooks(small) == [small / "chapters" / "two.ipynb"]
    with pytest.raises(FileNotFoundError, match="_toc.yml"):
        book.pages(small / "chapters")


# ---- what is committed ------------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_as_make_notebooks_stores_it(path):
    text = path.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    assert notebook.metadata.get(OUTPUTS_KEY) == outputs_hash(notebook), (
        "its outputs are not those that `make notebooks` stored: run it again"
    )
    assert nbformat.writes(notebooks.tidy(notebook)).strip() == text.strip(), "run make notebooks"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_nothing_of_one_machine_and_no_image_without_words(path):
    # Pictures are base64, in which any short pattern turns up.
    text = re.sub(r'"image/png": "[^"]*"|base64,[\w+/=]*', "", path.read_text(encoding="utf-8"))
    paths = re.findall(
        r"(?<![\w.:/])(?:/(?:home|Users|root|tmp|var|opt|work)/|[A-Z]:\\\\)\w+", text
    )
    assert paths == []
    assert re.findall(r"\bat 0x[0-9a-f]{6,}", text) == []
    assert "iopub" not in text
    tags = re.findall(r"<img\b[^>]*>", text.replace('\\"', '"'))
    assert [tag[:80] for tag in tags if not re.search(r"\balt=[\"'][^\"']{3,}", tag)] == []


def caption_of(cell):
    """Read what stands below the figure of a cell."""
    return cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")


def settled():
    """Name the chapters whose claims are all settled by their present design."""
    claims = load_ledger().values()
    return sorted({each.chapter for each in claims} - {each.chapter for each in claims if each.old})


@pytest.mark.parametrize("chapter", settled())
def test_below_a_figure_stands_what_it_shows_in_other_words_than_its_alternative_text(chapter):
    told = []
    for cell in nbformat.read(ROOT / "chapters" / f"{chapter}.ipynb", as_version=4).cells:
        outputs = [output.get("data", {}) for output in cell.get("outputs", ())]
        pictures = [data["text/plain"] for data in outputs if "image/png" in data]
        assert bool(caption_of(cell)) == bool(pictures), cell.id
        if pictures:
            told.append(caption_of(cell))
            # It would be repeated below each, and each needs its own.
            assert len(pictures) == 1 and told[-1][:40] not in pictures[0], cell.id
            assert re.fullmatch(r"[A-Z0-9].{20,}\.", told[-1]), told[-1]
    assert told and len(told) == len(set(told))


def test_nothing_is_left_to_be_written():
    left = re.compile(r"\b(TELL|TODO|FIXME)\b")
    paths = [*NOTEBOOKS, *(ROOT / "chapters").glob("*.md"), *(ROOT / "chapters").glob("*.yml")]
    found = {path.name: left.findall(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: words for name, words in found.items() if words} == {}


# A mean or a difference as runs give it, and an interval.
RESULT = re.compile(
    r"(?<![\d.,])\d+\.\d\d+\s?%|(?<!\w)[+−-]\d+\.\d+\spoints"
    r"|\[[+−-]?\d\S*, [+−-]?\d[^\]]*\](?![(`])"
)


def typed(prose):
    """Find results that stand in prose as they are, and are not quoted from a source."""
    paragraphs = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", "", prose, flags=re.S).split("\n\n")
    return [
        found.group()
        for paragraph in paragraphs
        if "{cite" not in paragraph
        for found in RESULT.finditer(paragraph)
    ]


def test_no_number_of_a_run_is_typed():
    found = {}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
        found[path.name] = typed("\n\n".join([*prose, *map(caption_of, cells)]))
    for path in (ROOT / "chapters").glob("*.md"):
        found[path.name] = typed(path.read_text(encoding="utf-8"))
    assert {name: numbers for name, numbers in found.items() if numbers} == {}


@pytest.mark.browser
def test_no_sentence_has_a_number_that_is_missing(html):
    found = {}
    for page in pages_of(html):
        code = r"<(pre|code|script|style)\b.*?</\1>"
        text = re.sub(code, " ", page.read_text(encoding="utf-8"), flags=re.S)
        found[page.name] = re.findall(r".{0,30}\bnan\b.{0,10}", re.sub(r"<[^>]*>", "", text))
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize(
    ("prose", "count"),
    [
        ("It reaches 98.53 %.", 1),
        ("It gains +0.31 points [+0.10, +0.52].", 2),
        ("It gains −0.3 points.", 1),
        ("{cite:t}`x` has 99.641 %.", 0),
        ("A margin of 0.2 points, for 95 % of $+0.31 points$: {glue:text}`+0.31 points`.", 0),
        ("See [1, 2](x.md).", 0),
    ],
)
def test_a_number_that_is_typed_would_be_seen(prose, count):
    assert len(typed(prose)) == count


def test_no_large_file_is_tracked():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    sizes = {
        name: (ROOT / name).stat().st_size
        for name in listed.split("\0")
        if name and (ROOT / name).is_file()
    }
    assert len(sizes) > 20
    assert {name: size for name, size in sizes.items() if size > 2_000_000} == {}


def test_third_party_files_come_with_their_licences():
    vendor = ROOT / "chapters" / "_static" / "vendor"
    folders = [path for path in vendor.iterdir() if path.is_dir()]
    described = (vendor / "README.md").read_text(encoding="utf-8")
    assert folders
    for folder in folders:
        assert list(folder.glob("LICENSE*")), folder
        assert f"`{folder.name}/`" in described


def test_settings_name_files_that_exist():
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = settings["sphinx"]["config"]
    static = ROOT / sphinx["html_static_path"][0]
    named = [static / name for name in sphinx["html_css_files"] + sphinx["html_js_files"]]
    named += [static / sphinx["mathjax_path"], ROOT / settings["html"]["favicon"]]
    assert [str(path) for path in named if not path.is_file()] == []


# ---- the same bytes, and nothing of whoever made them -----------------------------------------

WITHIN_A_BUILD = """
from utils import evidence, figures, widgets
from utils.evidence import ledger
drawing, axes = figures.figure(3, 2)
axes[0, 0].plot([1, 2], [2, 1], label="a line")
axes[0, 0].legend()
figures.show(drawing, "A line that falls from two to one.")
"""
CELLS = [
    WITHIN_A_BUILD,
    "widgets.explorer(4, 2)",
    "widgets.slider([(n, figures.figure(2, 1)[0], f'An empty figure called {n}') for n in 'ab'],"
    " 'letter')",
    "evidence.settle('max-or-mean')",
    "sorted({'a', 'b', 'c'}), {name: len(name) for name in evidence.load_ledger()}",
]


@pytest.mark.kernel
def test_a_notebook_that_is_run_twice_is_the_same_file(tmp_path, monkeypatch):
    """All of the course's own, in the weekly job; one with a figure and widgets, in any."""
    path = tmp_path / "a.ipynb"
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(CELLS)]
    notebooks.store(nbformat.v4.new_notebook(cells=cells), path)
    paths = [path]
    if os.environ.get("NOTEBOOKS_TWICE") == "all":
        paths += NOTEBOOKS
    differ = []
    for path in paths:
        found = []
        for seed in ("1", "2"):  # In which order a set is walked through.
            monkeypatch.setenv("PYTHONHASHSEED", seed)
            notebook = notebooks.tidy(*notebooks.execute(path, "quick"))
            found.append(without_seconds(nbformat.writes(notebook)))
        first, second = (text.splitlines() for text in found)
        lines = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
        if lines or len(first) != len(second):
            differ.append((path.name, lines[:3]))
    assert differ == []


def without_seconds(text):
    """Leave out what a clock says: numbers before a unit of time, and what is computed of them."""
    text = re.sub(r'"image/png": "[^"]*"', '"image/png": ""', text)
    return re.sub(r"-?[\d.,]+(?=\s*(?:s|seconds?|ms|milliseconds?|minutes?)\b)", "0", text)


@pytest.mark.browser
def test_two_builds_give_the_same_pages(small, tmp_path_factory, capfd, monkeypatch):
    """The whole book, in the weekly job."""
    source = ROOT if os.environ.get("NOTEBOOKS_TWICE") == "all" else small
    found = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        output = tmp_path_factory.mktemp("build")
        assert book.build(source, output) == 0, capfd.readouterr()
        files = (output / "_build" / "html", output / "_build" / "notebooks")
        found.append(
            {
                path.relative_to(output).as_posix(): path.read_bytes()
                for folder in files
                for path in folder.rglob("*")
                # Sphinx's own notes for its next build.
                if path.is_file()
                and path.name not in (".buildinfo", "environment.pickle")
                and ".doctrees" not in path.parts
            }
        )
    first, second = found
    assert sorted(first) == sorted(second) and len(first) > 20
    assert [name for name in first if first[name] != second[name]] == []


def private():
    """Words that tell who made something, and on which machine, as far as they tell anything."""
    import getpass
    import socket

    usual = {"root", "user", "runner", "admin", "nobody", "localhost", "ubuntu", "debian"}
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # A user without a name.
        name = ""
    words = {name, socket.gethostname(), Path.home().name, str(Path.home()), str(ROOT)}
    return sorted(word for word in words - usual if len(word) > 3)


SECRETS = re.compile(
    r"""
    \b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|hf_[A-Za-z]{30,}|AKIA[0-9A-Z]{16})\b
    | \b(?:sk|pk)-[A-Za-z0-9_-]{30,} | \bxox[abpr]-[\w-]{20,} | -----BEGIN\ [A-Z ]*PRIVATE\ KEY
    | \beyJ[\w-]{20,}\.eyJ[\w-]{20,} | [?&](?:token|access_key|api_key)=\w{8,}
    | (?<![\w.:/-])(?:/(?:home|Users|root|tmp|var|opt|work|mnt|private)/\w+ | [A-Z]:\\\\?Users\\)
    | \b[\w.+-]+@(?!example\b)[\w-]+\.(?:com|org|net|edu|local|internal)\b
    """,
    re.X,
)


def told_by(text):
    """Find tokens, paths of a machine, addresses, and the names of this one, but in pictures."""
    text = re.sub(r'"image/png": "[^"]*"|base64,[\w+/=]*|"zlib": "[^"]*"', "", text)
    found = {match[0] for match in SECRETS.finditer(text)}
    return found | {word for word in private() if re.search(rf"(?<!\w){re.escape(word)}\b", text)}


@pytest.mark.parametrize("folder", ["chapters", "chapters/results"])
def test_no_notebook_and_no_record_tells_who_made_it_and_where(folder):
    paths = [path for path in (ROOT / folder).iterdir() if path.is_file()]
    assert len(paths) > 20
    found = {path.name: told_by(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: words for name, words in found.items() if words} == {}


def test_of_a_machine_a_record_says_what_decides_about_its_numbers_and_no_more():
    for path in (ROOT / "chapters" / "results").glob("*.jsonl"):
        for record in RecordFile(path).read()[0]:
            assert set(record["machine"]) <= {"processor", "cores", "threads", "onednn", "vectors"}
            assert set(record["versions"]) == {"python", "tensorflow", "keras", "numpy"}
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])  # A day, and no time of it.


def test_no_page_tells_who_built_it_and_where(html):
    paths = [*pages_of(html), *html.parent.glob("notebooks/*/*.ipynb"), html / "searchindex.js"]
    found = {path.name: told_by(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text",
    [
        *("see /home/ada/course/a.py", "C:\\Users\\ada", "mail ada@lovelace.org", str(ROOT)),
        *("ghp_" + "a1" * 18, "AKIA" + "ABCD1234" * 2, "-----BEGIN RSA PRIVATE KEY-----"),
    ],
)
def test_what_tells_would_be_seen(text):
    assert told_by(f"before {text} after")
    assert not told_by("https://a.org/home/b, 10 ms, src/home/x, chapters/results, @glue")
