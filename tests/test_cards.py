"""The picture of each chapter that stands alone, and the preview of a link that shows it."""

import dataclasses
import re
import shutil

import pytest
import test_export
from helpers import ROOT
from nbformat import v4
from PIL import Image, PngImagePlugin

from utils.commands import cards, course

ignore = shutil.ignore_patterns("results", "vendor")
CARDS = sorted((ROOT / cards.CARDS).glob("*.png"))


def test_every_card_shows_what_its_chapter_shows():
    written = cards.cards(ROOT)
    assert {path.stem for path in CARDS} == set(written)
    for path in CARDS:
        card = written[path.stem]
        assert cards.told_by(path) == (card.hash, card.alt), (
            f"{path.name} shows what its page has shown before: make cards"
        )


@pytest.mark.parametrize("path", CARDS, ids=[path.stem for path in CARDS])
def test_a_card_has_the_size_of_a_preview_and_something_on_it(path):
    assert path.stat().st_size < 100_000
    with Image.open(path) as image:
        assert image.size == (1200, 630)
        drawing = image.convert("L").crop((0, 160, 1200, 540))
    assert drawing.getextrema()[0] < 100
    ink = sum(drawing.histogram()[:200]) / (1200 * 380)
    assert 0.003 < ink < 0.6


@pytest.mark.parametrize("cell", ["pooling-01", "no-such-cell"])
def test_a_picture_that_is_none_is_refused(cell):
    pooling = next(chapter for chapter in course.chapters() if chapter.name == "pooling")
    with pytest.raises(ValueError, match=f"pooling: picture='{cell}'"):
        course.picture(ROOT, dataclasses.replace(pooling, picture=cell))


@pytest.fixture
def outdated(tmp_path):
    """Copy the chapters; give the path of the one card in it that shows what another shows."""
    shutil.copytree(ROOT / "chapters", tmp_path / "chapters", ignore=ignore)
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    assert cards.main(["--source", str(tmp_path)]) == 0
    path = tmp_path / cards.CARDS / "pooling.png"
    shutil.copy(path.with_name("intro.png"), path)
    return path


def test_without_a_browser_it_says_so_and_keeps_the_cards(outdated, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.commands.chromium.find_browser", lambda: None)
    assert cards.main(["--source", str(tmp_path)]) == 1
    assert "Chromium or Chrome" in capsys.readouterr().err
    assert outdated.read_bytes() == outdated.with_name("intro.png").read_bytes()


@pytest.mark.browser
def test_what_shows_something_else_now_is_drawn_anew_and_nothing_else(outdated, tmp_path, capsys):
    others = {path: path.stat().st_mtime_ns for path in outdated.parent.iterdir()}
    assert cards.main(["--source", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()[-1:]
    assert [line.partition(":")[0] for line in told] == ["chapters/_static/cards/pooling.png"]
    changed = [path for path, at in others.items() if path.stat().st_mtime_ns != at]
    assert changed == [outdated]
    assert cards.told_by(outdated) == cards.told_by(ROOT / cards.CARDS / "pooling.png")


@pytest.mark.browser
@pytest.mark.parametrize("baseurl", [None, "https://a.org/course/"])
def test_a_link_shows_its_card_where_the_book_has_an_address(tmp_path, baseurl):
    folder = tmp_path / cards.CARDS
    folder.mkdir(parents=True)
    about = PngImagePlugin.PngInfo()
    about.add_text("Description", "What it shows")
    Image.new("L", (12, 6)).save(folder / "two.png", pnginfo=about)
    test_export.small(tmp_path, v4.new_markdown_cell("More."), baseurl=baseurl)
    html = tmp_path / "_build" / "html"
    page = (html / "chapters" / "two.html").read_text(encoding="utf-8")
    shown = dict(re.findall(r'<meta property="og:([\w:]+)" content="([^"]*)"', page))
    if baseurl is None:
        assert shown == {}
    else:
        assert shown["image"] == f"{baseurl}_static/cards/two.png"
        assert shown["image:alt"] == "What it shows"
        assert shown["title"] == "Two" and shown["url"] == f"{baseurl}chapters/two.html"
        assert (html / "_static" / "cards" / "two.png").is_file()
