"""What a browser may run on a page: nothing that `utils.commands.policy` does not know."""

import re

import pytest
from test_browser import Watch, address, chromium, start  # noqa: F401  (fixtures)

from utils.commands import book, policy
from utils.evidence import ledger
from utils.widgets import page as widget

PAGES = ["index", *book.pages(), "search", "genindex"]
KINDS = [f"chapters/{name}" for name in ("intro", "convolution", "draw-a-digit", "claims")]
META = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)" />')


def directives(text):
    (content,) = META.findall(text)
    return {name: values for name, *values in map(str.split, content.split(";"))}


@pytest.fixture
def folder(tmp_path):
    """Hold pages as the builder writes them."""
    known = f'<script type="module">{widget.script("slider")}</script>'
    pages = {
        "chapters/a": f"{known}<script>{ledger.script()}</script><p onclick='window.print()'>",
        "chapters/b": "<script>DOCUMENTATION_OPTIONS.pagename = 'chapters/b';</script>"
        '<script src="near.js"></script>',
        "chapters/c": "<script>DOCUMENTATION_OPTIONS.pagename = 'chapters/b';</script>",
        "chapters/d": "<script>let seen = 1 < 2;\n steal('é')</script>"
        "<img onerror='steal(&quot;)'>",
        "_static/part": "<script>macro()</script>",
    }
    for name, body in pages.items():
        path = tmp_path / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'<head><meta charset="utf-8" />{body}', encoding="utf-8")
    (tmp_path / "index.html").write_text("<p>Bare.", encoding="utf-8")
    return tmp_path


def test_what_is_known_is_allowed_on_its_page_and_anything_else_is_told_and_not_allowed(folder):
    told = policy.write(folder)
    assert [text.partition(":")[0] for text in told] == ["chapters/c", "chapters/d", "chapters/d"]
    assert policy.sha256("let seen = 1 < 2;\n steal('é')") in told[1] and "steal(" in told[1]
    assert policy.sha256('steal(")') in told[2]
    allowed = {
        path.stem: directives(path.read_text(encoding="utf-8"))["script-src"]
        for path in folder.rglob("*.html")
        if path.parent.name != "_static"
    }
    handlers = "window.print()", "toggleFullScreen()"
    always = {
        "'self'",
        "file:",
        "'unsafe-hashes'",
        *(f"'{policy.sha256(each)}'" for each in handlers),
    }
    more = {name: set(each) - always for name, each in allowed.items()}
    own = widget.script("slider"), ledger.script()
    assert more.pop("a") == {f"'{policy.sha256(each)}'" for each in own}
    (mine,) = more.pop("b")
    named = "DOCUMENTATION_OPTIONS.pagename = 'chapters/b';"
    assert mine == f"'{policy.sha256(named)}'"
    assert set(map(len, more.values())) == {0} and all(always <= set(a) for a in allowed.values())
    part = folder / "_static" / "part.html"
    assert not META.search(part.read_text(encoding="utf-8"))


@pytest.mark.browser
def test_every_page_has_a_policy_in_front_of_its_scripts(html):
    everything = {path.relative_to(html).as_posix() for path in html.rglob("*.html")}
    pages = {name for name in everything if not name.startswith("_static/")}
    assert pages == {f"{name}.html" for name in PAGES}
    for name in pages:
        text = (html / name).read_text(encoding="utf-8")
        values = directives(text)
        assert values["default-src"] == ["'none'"]
        assert not {"'unsafe-inline'", "'unsafe-eval'", "data:", "https:"} & {*values["script-src"]}
        assert META.search(text).start() < text.find("<script") % len(text)
        if name != "index.html":
            assert b'<meta charset="utf-8"' in (html / name).read_bytes()[:1024]


# Whether a page's own scripts are allowed is seen where it is opened as a file, in test_browser. By
# http, of each kind of page one is enough.
@pytest.mark.parametrize("name", [*KINDS, "search", "genindex"])
def test_nothing_on_a_page_needs_what_its_policy_forbids(chromium, start, name):  # noqa: F811
    with Watch(chromium) as watch:
        watch.open(f"{start}/{name}.html")
        watch.tab.evaluate(
            "document.querySelectorAll('article button, article summary, .theme-switch-button')"
            ".forEach(each => each.click())"
        )
        watch.tab.evaluate("new Promise(done => setTimeout(done, 50))")
        assert watch.complaints == []


INTRUDERS = {
    "an attribute": """main.insertAdjacentHTML('beforeend',
      '<img src="data:," onerror="taken()">')""",
    "a script": "main.append(Object.assign(document.createElement('script'), {text: 'taken()'}))",
    "a text run later": "setTimeout('taken()')",
    "a link": """main.insertAdjacentHTML('beforeend', '<a href="javascript:taken()">x</a>');
      main.lastElementChild.click()""",
    "another host": """main.append(Object.assign(document.createElement('script'),
      {src: 'https://example.org/x.js'}))""",
    "what calls home": "fetch('https://example.org/').catch(() => {})",
    "a picture that calls home": "main.append(Object.assign(new Image(), {src: 'https://example.org/'}))",
    "a frame": """main.append(Object.assign(document.createElement('iframe'),
      {src: 'https://example.org/'}))""",
    "a base": """document.head.prepend(Object.assign(document.createElement('base'),
      {href: 'https://example.org/'})); document.baseURI""",
}


def test_whatever_comes_into_a_page_does_not_run(chromium, start):  # noqa: F811
    with Watch(chromium) as watch:
        watch.context.add_init_script("window.taken = () => console.error('taken')")
        watch.open(f"{start}/{book.pages()[0]}.html")
        assert watch.complaints == []
        for intruder, script in INTRUDERS.items():
            watch.complaints.clear()
            watch.tab.evaluate(f"() => {{ const main = document.querySelector('main'); {script} }}")
            watch.tab.evaluate("new Promise(done => setTimeout(done, 100))")
            told = watch.complaints
            assert any("policy: " in each for each in told), intruder
            assert not [each for each in told if "taken" in each.partition("policy")[0]], intruder
