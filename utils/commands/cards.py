"""Draws a stand-alone picture of each chapter: for a slide, a post, and a link's preview.

``python -m utils.commands.cards`` is what ``make cards`` runs. A card has the title of a chapter,
its question, and the figure that ``course.yml`` names, as the notebook stores it; that of the book
has the drawing of all verdicts. The system's Chromium draws it. Each file records what it was drawn
from, so that a test can tell without a browser when it must be redrawn.

The book's builder knows this module as a Sphinx extension (``_config.yml``): if the address of the
published book is set, each page defines what a link to it looks like, with its card.
"""

import argparse
import hashlib
import html
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jinja2
from PIL import Image, PngImagePlugin

from utils.commands import chromium, course, pages
from utils.paths import ROOT

CARDS = Path("chapters", "_static", "cards")
FIRST = "intro"
WIDTH, HEIGHT = 1200, 630
_COLOURS = 128  # Enough for a drawing, at a third of the size.
_SOURCE, _ALT = "Source", "Description"


class Card(NamedTuple):
    """What a card is a picture of.

    Attributes
    ----------
    markup : str
        HTML, with the addresses on this machine of the files that it needs.
    alt : str
        What its figure shows, in words.
    hash : str
        Hash of all that it shows.
    """

    markup: str
    alt: str
    hash: str


def cards(source):
    """Write the pages that the cards are pictures of.

    Parameters
    ----------
    source : path
        Folder that holds ``_toc.yml`` and ``chapters``. The verdicts are this course's.

    Returns
    -------
    dict of str to Card
        For the first page of the book and for each chapter.
    """
    source = Path(source).resolve()
    loader = jinja2.FileSystemLoader(Path(__file__).parent, encoding="utf-8")
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("cards.html")
    title, motto = (
        (source / "chapters" / f"{FIRST}.md").read_text(encoding="utf-8").split("\n\n")[:2]
    )
    book = title.removeprefix("# ")
    squares = pages.squares(), "All verdicts of the course, a square for each claim."
    shown = {FIRST: (book, motto.strip("*"), *squares)}
    for chapter in course.chapters(source):
        shown[chapter.name] = chapter.title, chapter.question, *course.picture(source, chapter)
    static = source / "chapters" / "_static"
    written = {}
    for name, (title, text, drawing, alt) in shown.items():
        markup = template.render(
            title=title,
            text=text,
            drawing=drawing,
            book=book,
            theme=(static / "theme.css").as_uri(),
            logo=(static / "logo.svg").as_uri(),
        )
        written[name] = Card(markup, html.unescape(alt), _hash(source, markup))
    return written


def _hash(source, markup):
    """Give the hash of what a card shows, whatever folder it is made in."""
    return hashlib.sha256(markup.replace(source.as_uri(), "").encode("utf-8")).hexdigest()[:16]


def told_by(path):
    """Read from a card what it was drawn from, as a hash, and what it shows."""
    if not Path(path).is_file():
        return None, None
    with Image.open(path) as image:
        return image.info.get(_SOURCE), image.info.get(_ALT)


def setup(app):
    """Define what a link to a page looks like; what an extension of Sphinx has to provide."""
    if app.config.html_baseurl:
        app.setup_extension("sphinxext.opengraph")
        app.connect("config-inited", _configure)
        app.connect("env-updated", _preview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _configure(app, config):
    config.ogp_site_url = config.html_baseurl
    config.ogp_social_cards = {"enable": False}


def _preview(app, env):
    for path in (Path(app.srcdir) / CARDS).glob("*.png"):
        if f"chapters/{path.stem}" in env.metadata:
            env.metadata[f"chapters/{path.stem}"] |= {
                "og:image": f"_static/cards/{path.name}",
                "og:image:alt": told_by(path)[1],
            }


def main(arguments=None):
    """Draw the cards whose chapter shows something else now, and say which."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.cards", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="folder that holds _toc.yml")
    source = parser.parse_args(arguments).source
    wanted = {
        source / CARDS / f"{name}.png": card
        for name, card in cards(source).items()
        if told_by(source / CARDS / f"{name}.png")[0] != card.hash
    }
    if not wanted:
        print("All cards show what their chapters show.")
        return 0
    browser = chromium.needed_for("A card")
    if browser is None:
        return 1
    (source / CARDS).mkdir(parents=True, exist_ok=True)
    with chromium.launched(browser) as launched, tempfile.TemporaryDirectory() as folder:
        tab = launched.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page = Path(folder) / "card.html"
        for path, card in wanted.items():
            page.write_text(card.markup, encoding="utf-8")
            tab.goto(page.as_uri())
            tab.evaluate("document.fonts.ready")
            image = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(_COLOURS)
            told = PngImagePlugin.PngInfo()
            told.add_text(_SOURCE, card.hash)
            told.add_itxt(_ALT, card.alt)
            drawn = io.BytesIO()
            image.save(drawn, "PNG", optimize=True, pnginfo=told)
            half = path.with_name(f".{path.name}.half")
            try:
                half.write_bytes(drawn.getvalue())
                os.replace(half, path)  # No card is ever half one.
            finally:
                half.unlink(missing_ok=True)
            print(f"{path.relative_to(source)}: {len(drawn.getvalue()) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
