"""Prints the whole book into one PDF: title page, contents with page numbers, bookmarks, links.

``python -m utils.commands.pdf`` is what ``make pdf`` runs. It builds the book, puts the text of all
pages into one (``_build/pdf/book.html``), and has the system's Chromium print that.

Paper cannot move, fold or run anything. It shows the first state of an interactive figure, leaves
out code that is folded on its page, and has answers at the end of their chapter.
"""

import argparse
import copy
import os
import posixpath
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from utils.commands import book, chromium
from utils.paths import ROOT

NAME = "convolution-tested.pdf"
_CSS = Path(__file__).with_suffix(".css")
# Width of the text on a page, in pixels of CSS: A4 less the margins of pdf.css.
_WIDTH = round((210 - 2 * 20) / 25.4 * 96)

# What only a screen has a use for.
_SCREEN = (
    "script, noscript, button, input, canvas, .headerlink, .toctree-wrapper, .only-dark, "
    ".ledger-controls, .ledger-sorted, .visually-hidden"
)
_INTERACTIVE = ".slider, .explorer, .draw"
_ANSWER = re.compile(r"(The )?[Aa]nswers?\b")

# Mathematics is drawn by a script after the page has loaded. What is too wide for the paper is then
# drawn smaller, since nothing scrolls there.
_DRAW = """async () => {
  await document.fonts.ready;
  await window.MathJax?.startup.promise;
  for (const image of document.images) await image.decode();
  const wrong = document.querySelectorAll('mjx-merror');
  if (wrong.length) throw new Error(`MathJax cannot read ${wrong[0].textContent}`);
  const boxes = 'pre, table, div.math, .figure, .pst-scrollable-table-container, .text_html';
  for (const box of document.querySelectorAll(boxes)) {
    const room = box.parentElement.clientWidth, needed = Math.max(box.scrollWidth, box.offsetWidth);
    if (room && needed > room + 1) box.style.zoom = room / needed;
  }
}"""
_NUMBER = """pages => {
  for (const each of document.querySelectorAll('[data-page-of]')) {
    each.textContent = pages[each.dataset.pageOf] ?? '';
  }
}"""


def assemble(source, html, folder):
    """Put the text of all pages into one document for paper.

    Parameters
    ----------
    source : path
        Folder that holds ``_config.yml`` and ``_toc.yml``.
    html : path
        Folder of the built book.
    folder : path
        Folder of the document, to which addresses of files are relative.

    Returns
    -------
    str
        HTML. A page number is an empty element, whose ``data-page-of`` is the id of its target.

    Raises
    ------
    ValueError
        If a link leads to a missing place of the book.
    """
    from bs4 import BeautifulSoup

    html, names = Path(html), book.pages(source)
    config = yaml.safe_load((Path(source) / "_config.yml").read_text(encoding="utf-8"))
    address = config.get("html", {}).get("baseurl", "")
    soups = {
        name: BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in names
    }
    place = Path(os.path.relpath(html, folder)).as_posix()
    # The same on every page, but for MathJax, which stands where there is mathematics.
    head = dict.fromkeys(
        str(_relative(element, name, place))
        for name, soup in soups.items()
        for element in soup.head.select("link[rel=stylesheet], script")
        if element.name == "link" or "mathjax" in str(element).lower()
    )
    articles = {name: _on_paper(soup, name, place, address) for name, soup in soups.items()}
    _link(articles)
    title = config["title"]
    licence = config["sphinx"]["config"].get("html_theme_options", {}).get("extra_footer", "")
    first = articles[names[0]].find("p")
    subtitle = first.get_text() if first else ""
    front = (
        f'<div class="print-title"><p class="print-name">{title}</p><p>{subtitle}</p>'
        f"<p>{config['author']}</p><div>{licence}</div></div>"
    )
    text = "\n".join(map(str, articles.values()))
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>{title}</title>\n'
        + "\n".join(head)
        + f"\n<style>{_CSS.read_text(encoding='utf-8')}</style></head>\n"
        f"<body><main>{front}{_contents(source, articles)}\n{text}</main></body></html>\n"
    )


def _relative(element, page, place):
    """Have an element find its file from where the document lies."""
    for name in ("src", "href"):
        value = element.get(name)
        if value and not urlsplit(value).scheme:
            element[name] = posixpath.normpath(f"{place}/{posixpath.dirname(page)}/{value}")
    return element


def _id(page, anchor=""):
    """Name a page, or a place on it, as no other one in the document is named."""
    return page.replace("/", "-") + f"--{anchor}" * bool(anchor)


def _on_paper(soup, page, place, address):
    """Take the article out of a page, and make of it what can be printed."""
    article = soup.article
    article.attrs = {"class": "bd-article", "id": _id(page)}
    title = article.h1.get_text().strip().removesuffix("#")
    for element in article.select(_SCREEN):
        element.decompose()
    for controls in article.select(".slider-controls"):
        controls.name = "p"  # The name of what is shown, and its value.
    for figure in article.select(_INTERACTIVE):
        for state in figure.select("[hidden]"):
            state.decompose()
        note = soup.new_tag("p", attrs={"class": "print-note"})
        online = soup.new_tag("a" if address else "em", string=title)
        if address:
            online["href"] = f"{address.rstrip('/')}/{page}.html"
        note.extend(["Interactive in a browser, on the page ", online, "."])
        figure.append(note)
    for cell in article.select("div.cell.tag_hide-input, div.cell.tag_remove-input"):
        for code in cell.select("details.hide"):
            code.decompose()
        if not cell.get_text(strip=True) and not cell.select_one("img, svg"):
            cell.decompose()
    for element in article.select("[id]"):
        # The parts of a drawing have names already that are its own.
        if not element.find_parent("svg"):
            element["id"] = _id(page, element["id"])
    for element in article.select("[src]"):
        _relative(element, page, place)
    for link in article.select("a[href]"):
        if link.decomposed:
            continue
        url = urlsplit(link["href"])
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), url.path))
        target = page if not url.path else target.removesuffix(".html")
        if link.has_attr("download"):
            (link.find_parent("p") or link).decompose()
        elif not url.scheme:
            link["href"] = "#" + _id(target, url.fragment)
    _gather_answers(soup, article)
    for fold in article.select("details"):
        fold["open"] = ""
        fold.summary.string = fold.summary.get_text(" ", strip=True)
    return article


def _gather_answers(soup, article):
    """Move the answers of a chapter to its end, and leave a word on where they are."""
    answers, last = [], None
    for element in article.select("details.sd-dropdown, div.cell.tag_hide-cell"):
        folded = element.name == "details"
        if folded and not _ANSWER.match(element.summary.get_text(" ", strip=True)):
            continue
        before = element.find_previous_sibling()
        section = element.find_parent("section")
        if last is None or before is not last:
            number = len(answers) + 1
            there, here = f"{article['id']}--answer-{number}", f"{article['id']}--ask-{number}"
            last = soup.new_tag("p", id=here, attrs={"class": "print-note"})
            last.extend(_see(soup, "Answer", there))
            element.insert_before(last)
            answer = soup.new_tag("div", id=there, attrs={"class": "print-answer"})
            name = soup.new_tag("p", attrs={"class": "print-fold"})
            name.extend(_see(soup, _asked_in(last, section), here))
            answer.append(name)
            answers.append(answer)
        element.extract()
        if folded:
            del element["class"]
        answers[-1].append(element)
    if answers:
        end = soup.new_tag("section", id=f"{article['id']}--answers")
        end.append(soup.new_tag("h2", string="Answers"))
        end.extend(answers)
        (article.section or article).append(end)


def _see(soup, text, target):
    link = soup.new_tag("a", href=f"#{target}", string=text)
    return [link, ", page ", soup.new_tag("span", attrs={"data-page-of": target})]


def _asked_in(place, section):
    """Name what an answer answers: an exercise by its number, or the section."""
    for before in place.find_previous_siblings():
        if number := re.match(r"(\d+)\.\s", before.get_text()):
            return f"Exercise {number[1]}"
    heading = copy.copy(section.find(re.compile("h[1-6]")))
    return heading.get_text().strip()


def _link(articles):
    """Check that each link leads somewhere, and point it at what stands there on paper."""
    names = {_id(page) for page in articles}
    ids = names | {each["id"] for article in articles.values() for each in article.select("[id]")}
    lost = []
    for page, article in articles.items():
        for link in article.select('a[href^="#"]'):
            target = link["href"][1:]
            if target in ids:
                continue
            if target.partition("--")[0] in names:
                lost.append(f"{page}: {link}")
            link.unwrap()  # What is no page of the book: a search, a file to save.
    if lost:
        raise ValueError("these links lead to nothing: " + "; ".join(lost))


def _contents(source, articles):
    """Write the contents: parts, and the chapters in them."""
    from sphinx_external_toc.parsing import parse_toc_yaml

    site_map = parse_toc_yaml(Path(source) / "_toc.yml")
    parts = {str(part.items[0]): part.caption for part in site_map.root.subtrees}
    lines = ['<nav class="print-contents"><p class="print-name">Contents</p>']
    for page, article in articles.items():
        if parts.get(page):
            lines.append(f'<p class="print-part">{parts[page]}</p>')
        lines.append(
            f'<p><a href="#{_id(page)}"><span>{article.h1.decode_contents()}</span>'
            f'<span data-page-of="{_id(page)}"></span></a></p>'
        )
    return "\n".join([*lines, "</nav>"])


def pages_of(pdf):
    """Return the page numbers of all link targets.

    Parameters
    ----------
    pdf : path

    Returns
    -------
    dict of str to int
        By the id of the target; the first page is 1.
    """
    from pypdf import PdfReader

    reader = PdfReader(pdf)
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def write(source, html, target, browser):
    """Print a built book.

    Parameters
    ----------
    source : path
        Folder that holds ``_config.yml`` and ``_toc.yml``.
    html : path
        Folder of the built book.
    target : path
        The PDF; the document that it is printed from is written beside it, as ``book.html``.
    browser : playwright.sync_api.Browser
        Chromium or Chrome, 131 or later: older ones print no page numbers.

    Returns
    -------
    dict of str to int
        As from `pages_of`.

    Raises
    ------
    ValueError
        As for `assemble`.
    RuntimeError
        If the page numbers do not settle.
    """
    target = Path(target).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    document = target.with_name("book.html")
    document.write_text(assemble(source, html, target.parent), encoding="utf-8")
    tab = browser.new_page(viewport={"width": _WIDTH, "height": 1_000})
    try:
        tab.set_default_timeout(600_000)
        tab.emulate_media(media="print", color_scheme="light")
        tab.goto(document.as_uri())
        tab.evaluate(_DRAW)
        before = {}
        # A number takes room itself, so that what follows may move.
        for _ in range(5):
            tab.evaluate(_NUMBER, before)
            tab.pdf(path=target, outline=True, tagged=True, prefer_css_page_size=True)
            pages = pages_of(target)
            if pages == before:
                return pages
            before = pages
    finally:
        tab.close()
    raise RuntimeError(f"{target}: the page numbers still change after five prints")


def main(arguments=None):
    """Build the book, print it, and say where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.pdf", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="folder that holds _config.yml")
    parser.add_argument("--output", type=Path, help="folder to make _build/html and _build/pdf in")
    options = parser.parse_args(arguments)
    browser = chromium.needed_for("The PDF")
    if browser is None:
        return 1
    status = book.build(options.source, options.output)
    if status:
        return status
    built = Path(options.output or options.source) / "_build"
    target = built / "pdf" / NAME
    with chromium.launched(browser) as launched:
        write(options.source, built / "html", target, launched)
    print(f"The book is printed: {target.resolve().as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
