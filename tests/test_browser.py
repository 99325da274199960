"""Every page in a real browser: offline, light and dark, wide and narrow, by http and as a file."""

import functools
import json
import os
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pandas as pd
import pytest
import yaml
from playwright.sync_api import sync_playwright

from utils.commands import book
from utils.commands.check import browser as find_browser
from utils.evidence.claims import load_ledger
from utils.paths import ROOT

pytestmark = pytest.mark.browser
WIDTHS = (360, 768, 1440)
CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    if part.get("numbered")
    for chapter in part["chapters"]
]
HERE = ("127.0.0.1", "")  # the host of a file:// address is empty

# No name but this machine's leads anywhere.
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

# What axe-core finds, as far as it shuts somebody out. Contrast is looked at by CONTRAST, in a
# tenth of the time.
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
BARRIERS = """async () => {
  const options = {resultTypes: ['violations'], preload: false};
  options.rules = {'color-contrast': {enabled: false}};
  const {violations} = await axe.run(document, options);
  return violations.filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => `${each.id} (${each.nodes.length}): ${each.nodes[0].html.slice(0, 200)}`);
}"""

# Mathematics is drawn by a script after the page has loaded.
DRAWN = """async () => {
  await document.fonts.ready;
  if (window.MathJax?.startup) await MathJax.startup.promise;
}"""

# Names text whose colour stands too near to what is behind it.
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium():
    path = find_browser()
    if path is None:
        reason = "no Chromium or Chrome here"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and under CI the browser tests must run")
        pytest.skip(reason)
    # Chromium has no sandbox for root, as which a container runs it.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    arguments = ["--disable-background-networking", OFFLINE, *["--no-sandbox"] * root]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(html):
    """Serve the book on a free port of this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path != "/favicon.ico":  # Where no icon is named, as on the way in.
                return super().do_GET()
            self.send_response(204)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# Not everything that a page's policy forbids is an error of the console by itself.
TELL = """addEventListener('securitypolicyviolation', event =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI}`))"""


class Watch:
    """A browser tab whose complaints are kept, requests to other hosts among them."""

    def __init__(self, chromium, **settings):
        self.complaints, complain = [], lambda text: self.complaints.append(text)
        self.context = chromium.new_context(**settings)
        self.context.add_init_script(TELL)
        self.tab = self.context.new_page()
        for event, told in (
            ("request", self._look_at),
            ("console", lambda it: it.type == "error" and complain(f"console: {it.text}")),
            ("pageerror", lambda error: complain(f"error: {error}")),
            ("requestfailed", lambda request: complain(f"no {request.url}")),
            ("response", lambda it: it.status >= 400 and complain(f"{it.status}: {it.url}")),
        ):
            self.tab.on(event, told)

    def _look_at(self, request):
        url = urlparse(request.url)
        if url.hostname not in HERE and url.scheme not in ("file", "data", "blob"):
            self.complaints.append(f"another host: {request.url}")

    def open(self, url):
        self.tab.goto(url, wait_until="commit")
        # The book's way in leads on to its first page at once, and has no text of its own.
        self.tab.wait_for_selector("main")
        self.tab.wait_for_load_state("load")
        self.tab.evaluate(DRAWN)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


@pytest.fixture(params=["http", "file"])
def start(request, html, address):
    """Address of the book's folder, by http and as a file."""
    return address if request.param == "http" else html.resolve().as_uri()


def assert_is_whole(watch):
    """Check that a page that is open is drawn to its end, and without a complaint."""
    assert watch.complaints == []
    # A handler that the page's policy does not allow is none.
    assert watch.tab.evaluate("[...document.querySelectorAll('[onclick]')].every(e => e.onclick)")
    written = watch.tab.locator("article .math").count()
    assert watch.tab.locator("article .math mjx-container").count() >= written
    assert watch.tab.locator("mjx-merror").count() == 0


@pytest.fixture(scope="module")
def page(request, chromium, html):
    """Open a page as a file, and return its name with it, for one test after the other."""
    with Watch(chromium) as watch:
        watch.open(f"{html.resolve().as_uri()}/{request.param}.html")
        yield request.param, watch


@pytest.mark.parametrize("page", [*book.pages(), "search"], indirect=True)
def test_a_page_is_whole_as_a_file_fits_every_width_and_shuts_nobody_out_in_both_themes(page):
    _, watch = page
    assert_is_whole(watch)
    tab, found = watch.tab, []
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found += tab.evaluate(BARRIERS)
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        needed = tab.evaluate("document.scrollingElement.scrollWidth")
        if needed > width:
            found.append(f"{needed} wide in a window of {width}")
    # What a theme changes are the colours. The page follows the system while it is open.
    for theme in ("dark", "light"):
        tab.emulate_media(color_scheme=theme)
        tab.wait_for_selector(f"html[data-theme={theme}]")
        # Colours fade in. To wait for it is no use: what is out of sight may never say that it has.
        tab.evaluate("document.getAnimations().forEach(one => one.finish())")
        found += [f"{theme}: {each}" for each in tab.evaluate(CONTRAST)]
    assert found == [] and watch.complaints == []


def moving(chapter):
    """Return the markup of each slider and explorer of a chapter, as it is stored."""
    notebook = json.loads((ROOT / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    markups = ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    return [markup for markup in markups if re.search('class="(slider|explorer)" role', markup)]


@pytest.mark.parametrize("page", CHAPTERS, indirect=True)
def test_the_sliders_of_a_chapter_are_small_and_move(page):
    chapter, watch = page
    markups = moving(chapter)
    assert markups and sum(len(markup.encode()) for markup in markups) <= 400_000
    watch.tab.set_viewport_size({"width": 1440, "height": 1000})
    boxes = watch.tab.locator(".slider").all()
    assert len(boxes) == sum('class="slider" role' in markup for markup in markups)
    for box in boxes:
        slider, picture = box.locator("input"), box.locator(".slider-states")
        seen = [picture.screenshot()]
        slider.press("ArrowRight")
        assert slider.input_value() == "1"
        seen.append(picture.screenshot())
        place = slider.bounding_box()
        slider.click(position={"x": place["width"] - 2, "y": place["height"] / 2})
        assert slider.input_value() == slider.get_attribute("max") != "1"
        seen.append(picture.screenshot())
        # The last picture may be the first again: batch norm undone is one.
        assert seen[0] != seen[1] != seen[2]
    assert watch.complaints == []


# What is a page's own is seen in its file. By http, what serves it is looked at.
BESIDE = [name for name in book.pages() if name not in CHAPTERS]


@pytest.mark.parametrize("name", ["index", *BESIDE, *CHAPTERS[:1], "search", "genindex"])
def test_a_page_is_whole_by_http(chromium, html, address, name):
    folders = [address, *[html.resolve().as_uri()] * (name in ("index", "genindex"))]
    for folder in folders:
        with Watch(chromium) as watch:
            watch.open(f"{folder}/{name}.html")
            assert_is_whole(watch)


def test_an_icon_that_is_drawn_late_gets_no_second_name(chromium, address):
    with Watch(chromium) as watch:
        watch.open(f"{address}/chapters/intro.html")
        button = watch.tab.locator(".theme-switch-button").first  # fails where there is none
        drawing = '<svg role="img" aria-labelledby="late"><title id="late">Light</title></svg>'
        button.evaluate("(each, text) => each.insertAdjacentHTML('beforeend', text)", drawing)
        named = ":is(title, [title], [role='img'], [aria-labelledby])"
        watch.tab.wait_for_function(
            f'!document.querySelector(".theme-switch-button {named}")', timeout=5_000
        )


def test_a_barrier_low_contrast_wide_content_and_another_host_would_be_seen(chromium, address):
    # The page's own policy would forbid to ask the other host.
    with Watch(chromium, bypass_csp=True) as watch:
        tab = watch.tab
        watch.open(f"{address}/chapters/intro.html")
        tab.evaluate(AXE.read_text(encoding="utf-8"))
        # Added, and not by writing all of <main> anew: what the theme's scripts mended would go.
        tab.evaluate(
            "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"data:,\">')"
        )
        (found,) = tab.evaluate(BARRIERS)
        assert found.startswith("image-alt (1): <img")
        tab.set_viewport_size({"width": 360, "height": 600})
        tab.set_content(
            '<body style="background:#fff"><p style="color:#999">pale</p>'
            '<p style="color:#555">dark</p><div style="width:500px">wide</div>'
        )
        assert [each.split()[-1] for each in tab.evaluate(CONTRAST)] == ["pale"]
        assert tab.evaluate("document.scrollingElement.scrollWidth") > 360
        tab.evaluate("fetch('https://example.org/x').catch(() => {})")
        assert "another host: https://example.org/x" in watch.complaints


def test_the_fonts_of_the_book_are_used(chromium, start):
    with Watch(chromium) as watch:
        watch.open(f"{start}/{book.pages()[0]}.html")
        loaded = watch.tab.evaluate(
            "[...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)"
        )
    assert {"Source Serif 4", "Source Sans 3"} <= {name.strip('"') for name in loaded}


def test_a_dark_page_is_printed_light(chromium, address):
    theme = "document.documentElement.dataset.theme"
    with Watch(chromium, color_scheme="dark") as watch:
        watch.open(f"{address}/{book.pages()[0]}.html")
        watch.tab.evaluate(
            f"window.addEventListener('beforeprint', () => {{ window.printed = {theme}; }})"
        )
        watch.tab.pdf()
        assert watch.tab.evaluate("window.printed") == "light"
        assert watch.tab.evaluate(theme) == "dark"


def test_search_finds_a_word(chromium, address):
    with Watch(chromium) as watch:
        watch.open(f"{address}/search.html?q=stride")
        watch.tab.wait_for_selector("#search-results ul.search li")
        links = watch.tab.locator("#search-results ul.search a").all()
        assert any("chapters/" in (link.get_attribute("href") or "") for link in links)
        watch.tab.wait_for_load_state("networkidle")
        assert watch.complaints == []


SHOWN = """() => [...document.querySelectorAll('ul.ledger > li')]
  .filter(row => row.checkVisibility()).map(row => row.id)"""


def test_the_ledger_is_filtered_and_sorted_in_the_page(chromium, start):
    ledger = load_ledger()
    with Watch(chromium) as watch:
        watch.open(f"{start}/chapters/claims.html")
        tab = watch.tab
        assert tab.evaluate(SHOWN) == list(ledger)
        tab.select_option("select[data-filter=source]", "S3")
        from_s3 = [claim.id for claim in ledger.values() if "S3" in claim.source]
        assert tab.evaluate(SHOWN) == from_s3
        assert f"{len(from_s3)} of {len(ledger)}" in tab.inner_text(".ledger-controls output")
        # A section without a row left is gone, heading and all.
        assert not tab.locator("section#dropout").is_visible()
        assert tab.locator("section#padding h2").is_visible()
        # What is settled exactly has its verdict whatever has run.
        exact = [
            claim.id
            for claim in ledger.values()
            if "S2" in claim.source and claim.chapter == "convolution" and claim.kind == "exact"
        ]
        for name, value in (("source", "S2"), ("chapter", "convolution"), ("verdict", "supported")):
            tab.select_option(f"select[data-filter={name}]", value)
        assert exact and tab.evaluate(SHOWN) == exact
        for name in ("source", "chapter", "verdict"):
            tab.select_option(f"select[data-filter={name}]", "")
        tab.select_option("select[data-order]", "seconds")
        by_time = tab.evaluate(SHOWN)
        assert sorted(by_time) == sorted(ledger) and by_time != list(ledger)
        seconds = tab.evaluate(
            "[...document.querySelectorAll('.ledger-sorted li')].map(r => +r.dataset.seconds)"
        )
        assert seconds == sorted(seconds, reverse=True) and len(seconds) == len(ledger)
        tab.select_option("select[data-order]", "verdict")
        tab.select_option("select[data-order]", "book")
        assert tab.evaluate(SHOWN) == list(ledger)
        assert watch.complaints == []


def test_a_link_to_a_claim_that_a_filter_hides_shows_it(chromium, address):
    with Watch(chromium) as watch:
        watch.open(f"{address}/chapters/claims.html")
        watch.tab.select_option("select[data-filter=source]", "S3")
        assert not watch.tab.locator("#dropout-rate").is_visible()
        watch.tab.evaluate("location.hash = 'dropout-rate'")
        watch.tab.wait_for_selector("#dropout-rate table", state="visible")
        assert watch.tab.locator("ul.ledger details[open]").count() == 1


def test_the_ledger_unfolds_by_keyboard_and_is_short_while_it_is_folded(chromium, address):
    with Watch(chromium, viewport={"width": 1280, "height": 900}) as watch:
        watch.open(f"{address}/chapters/claims.html")
        tab = watch.tab
        assert tab.evaluate("document.documentElement.scrollHeight") < 6000
        tab.focus("#dropout-rate summary")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#dropout-rate table", state="visible")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 1280


def test_the_ledger_is_saved_as_a_file(chromium, start):
    with Watch(chromium, accept_downloads=True) as watch:
        watch.open(f"{start}/chapters/claims.html")
        with watch.tab.expect_download() as saved:
            watch.tab.click('a[download="ledger.json"]')
        told = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
        assert [claim["claim"] for claim in told] == list(load_ledger())
        kinds = {"ledger.csv": None, "runs.csv.gz": "gzip"}
        for name, column in (("ledger.csv", "claim"), ("runs.csv.gz", "experiment")):
            with watch.tab.expect_download() as saved:
                watch.tab.click(f'a[download="{name}"]')
            assert saved.value.suggested_filename == name
            frame = pd.read_csv(saved.value.path(), compression=kinds[name])
            assert column in frame.columns and len(frame) >= len(load_ledger())
