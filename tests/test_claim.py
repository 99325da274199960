"""Beginning a claim: all of its files or none, which run as they are and say what is missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from helpers import refused
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from utils.commands import claim
from utils.evidence import load_ledger
from utils.evidence.stored import Page
from utils.paths import ROOT

ENTRY = {
    "id": "an-old-claim", "section": "A section", "source": "own", "chapter": "old-page",
    "statement": "It is so.", "settled_by": "It is run.",
    "parts": [{
        "says": "so", "experiment": "old-experiment", "metric": "test_accuracy", "treatment": "a",
        "baseline": "b", "expect": "increase", "margin": 0.01,
    }],
}  # fmt: skip
CONTENTS = """format: jb-book
root: chapters/intro
parts:
  - caption: Try it
    chapters:
      - file: chapters/your-own-claim
  - caption: The ledger
    chapters:
      - file: chapters/claims
"""


@pytest.fixture
def checkout(tmp_path):
    """Lay out what a claim is written into."""
    for folder in ("chapters/results", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    # A comment, which a parser would lose.
    ledger = "# The header.\n" + yaml.safe_dump({"sources": {}, "claims": [ENTRY]}, sort_keys=False)
    (tmp_path / "chapters" / "claims.yml").write_text(ledger, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(CONTENTS, encoding="utf-8")
    yield tmp_path
    load_ledger.cache_clear()


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_claim_gets_its_entry_page_notebook_and_test_and_nothing_else_changes(checkout):
    before = contents(checkout)
    written = claim.begin("my-claim", checkout)
    after = contents(checkout)
    assert {str(path.relative_to(checkout)) for path in written} == {
        *("chapters/claims.yml", "_toc.yml"),
        *("chapters/my-claim.ipynb", "tests/test_my_claim.py"),
    }
    assert set(after) == {*before, *written}
    ledger = load_ledger(checkout / "chapters" / "claims.yml")
    assert list(ledger) == ["an-old-claim", "my-claim"]
    mine = ledger["my-claim"]
    assert (mine.source, mine.chapter, mine.section) == (("own",), "my-claim", "A section")
    (part,) = mine.parts
    assert part.experiment == "my-claim" and part.arms == ("treatment", "baseline")
    # What was there is there to the byte, with a comment that no parser keeps.
    text = after[written[0]].decode()
    assert text.startswith(before[written[0]].decode())
    lines = after[checkout / "_toc.yml"].decode().splitlines()
    assert [line for line in lines if "my-claim" not in line] == CONTENTS.splitlines()
    pages = [each["file"] for each in yaml.safe_load("\n".join(lines))["parts"][0]["chapters"]]
    assert pages == ["chapters/your-own-claim", "chapters/my-claim"]


def test_the_notebook_keeps_the_rules_of_notebooks(checkout):
    claim.begin("my-claim", checkout)
    path = checkout / "chapters" / "my-claim.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    for cell in notebook.cells:
        lines = cell.source.splitlines()
        assert cell.cell_type == "markdown" or (len(lines) <= 30 and max(map(len, lines)) <= 90)
        assert "{{" not in cell.source and "{name}" not in cell.source
    # It was never stored, whatever it may look like.
    assert not Page.read(path).stored
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heads = re.findall(r"^#+ (.*)$", prose, re.M)
    assert heads == ["My claim", *("The question", "Predict", "The experiment"),
                     *("The verdict", "Exercises")]  # fmt: skip


BAD_NAMES = ["", "My-claim", "my_claim", "-a", "a-", "a--b", "../a", "a/b", "a b", "ä", "a" * 41]
# YAML reads these as numbers, and as no text at all.
BAD_NAMES += ["123", "0x1f", "1e5", "null", "on", "true"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "a\n", "a.b", "{name}"])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(checkout, name):
    before = contents(checkout)
    with refused(f"name={name!r}; allowed are lower-case letters, digits", claim.ClaimError):
        claim.begin(name, checkout)
    assert contents(checkout) == before


@given(st.text(max_size=45))
@settings(deadline=None)
def test_no_other_name_reaches_a_path(name):
    assume(not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 40)
    with refused("; allowed are lower-case letters", claim.ClaimError):
        claim.begin(name, Path("nowhere"))


@pytest.mark.parametrize(
    ("name", "there", "message"),
    [
        ("my-claim", "chapters/my-claim.ipynb", "there is chapters/my-claim.ipynb already"),
        ("my-claim", "chapters/my-claim.md", "there is chapters/my-claim.md already"),
        ("my-claim", "tests/test_my_claim.py", "there is tests/test_my_claim.py already"),
        ("my-claim", "chapters/results/my-claim.jsonl", "there is results/my-claim.jsonl already"),
        ("my-claim", "chapters/results/my-claim@x.jsonl", "results/my-claim@x.jsonl already"),
        ("an-old-claim", None, "there is the claim an-old-claim of claims.yml already"),
        ("old-experiment", None, "there is the experiment old-experiment of claims.yml already"),
    ],
)
def test_nothing_is_overwritten(checkout, name, there, message):
    if there:
        (checkout / there).write_text("mine", encoding="utf-8")
    before = contents(checkout)
    with refused(f"{message}; allowed is a name that nothing has", claim.ClaimError):
        claim.begin(name, checkout)
    assert contents(checkout) == before


def test_a_claim_is_begun_once(checkout):
    claim.begin("my-claim", checkout)
    before = contents(checkout)
    with refused("test_my_claim.py, the claim my-claim of", claim.ClaimError):
        claim.begin("my-claim", checkout)
    assert contents(checkout) == before
    claim.begin("my-claim-2", checkout)
    assert len(load_ledger(checkout / "chapters" / "claims.yml")) == 3


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(4))
def test_whatever_fails_in_between_leaves_all_as_it_was(checkout, monkeypatch, at, error):
    before, usual, done = contents(checkout), os.replace, []

    def failing(*paths):
        done.append(paths)
        if len(done) > at:
            raise error
        usual(*paths)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(type(error)):
        claim.begin("my-claim", checkout)
    assert len(done) == at + 1 and contents(checkout) == before


def test_an_entry_that_the_ledger_refuses_is_not_written(checkout, monkeypatch):
    monkeypatch.setattr(claim, "_ENTRY", claim._ENTRY.replace("margin: 0.005", "margin: 0"))
    before = contents(checkout)
    with pytest.raises(ValueError, match="margin: 0; allowed is a number above 0"):
        claim.begin("my-claim", checkout)
    assert contents(checkout) == before


@pytest.mark.parametrize("missing", ["_toc.yml", "tests", "chapters/claims.yml"])
def test_outside_a_checkout_it_says_so(checkout, missing):
    path = checkout / missing
    path.rmdir() if path.is_dir() else path.unlink()
    with refused(f"has no {path.name}; allowed is a checkout", claim.ClaimError):
        claim.begin("my-claim", checkout)


def test_a_table_of_contents_without_the_page_is_refused(checkout):
    (checkout / "_toc.yml").write_text(CONTENTS.replace("your-own", "other"), encoding="utf-8")
    with refused("_toc.yml lists no chapters/your-own-claim", claim.ClaimError):
        claim.begin("my-claim", checkout)
    assert "chapters/your-own-claim" in (ROOT / "_toc.yml").read_text(encoding="utf-8")


def test_the_command_says_what_is_wrong_without_a_traceback(capsys):
    assert claim.main(["Mine"]) == 1
    assert "name='Mine'; allowed are" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        claim.main([])
    assert "it needs a name: make claim NAME=" in capsys.readouterr().err


# A copy of the course, in which a claim is begun as an author begins it


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Copy the course and begin a claim in it; return a function that runs commands there."""
    folder = tmp_path_factory.mktemp("author") / "course"
    ignore = shutil.ignore_patterns(".*", "_build", "__pycache__", "vendor")
    shutil.copytree(ROOT, folder, ignore=ignore)

    def run(*command):
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        done = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    run.folder = folder
    status, run.said = run("-m", "utils.commands.claim", "my-claim")
    assert status == 0, run.said
    return run


def pytest_in(course, *chosen):
    chosen = [f"tests/{name}" if name.endswith(".py") else name for name in chosen]
    return course("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *chosen)


def test_the_author_is_told_what_is_next_and_what_to_fill_in(course):
    for path in ("chapters/my-claim.ipynb", "tests/test_my_claim.py", "_toc.yml"):
        assert f"written: {path}" in course.said
    for command in ("make notebooks NOTEBOOK=chapters/my-claim.ipynb", "make results CLAIM=my-c"):
        assert command in course.said
    status, said = pytest_in(course, "test_claims.py", "-k", "fill_in")
    assert status == 1
    for where in ("claims.yml", "my-claim.ipynb", "test_my_claim.py"):
        assert re.search(rf"{where}, line \d+: .*FILL IN: \w", said), said
    assert "FILL IN: what is claimed, in one sentence" in said


def test_what_lists_all_claims_lists_one_that_was_begun(course):
    drawn = "from utils.commands import pages; print(pages.squares(), 'LINES', pages.lines())"
    status, said = course("-c", drawn)
    assert status == 0, said
    for part in said.split("LINES"):
        assert 'href="claims.html#my-claim"' in part
    assert '<h2><a href="my-claim.html">My claim</a></h2>' in said
    assert pytest_in(course, "test_ledger.py", "-k", "one_row")[0] == 0


@pytest.mark.training
def test_a_claim_that_was_begun_runs_is_accepted_and_only_asks_for_its_records(course):
    files = ("test_claims.py", "test_book.py", "test_recorded.py", "test_ledger.py")
    only = ("-m", "not (browser or training)", "-k", "my-claim or folder or section or entry")
    status, said = pytest_in(course, *files, *only)
    assert status == 1
    failed = set(re.findall(r"^FAILED tests/(\S+)", said, re.M))
    assert failed and all("my-claim" in name for name in failed), said
    assert "make notebooks NOTEBOOK=chapters/my-claim.ipynb" in said

    status, told = course("-m", "utils.commands.notebooks", "--store", "chapters/my-claim.ipynb")
    assert status == 0, told
    page = Page.read(course.folder / "chapters" / "my-claim.ipynb")
    assert page.current and re.fullmatch(r"\d of 2 runs in the .*", page.quick["my-claim"])
    status, said = pytest_in(course, *files, *only)
    failed = set(re.findall(r"^FAILED tests/(\S+)", said, re.M))
    assert failed == {
        "test_recorded.py::test_every_run_of_a_chapter_is_recorded_and_its_page_knows[my-claim]",
        "test_recorded.py::test_a_claim_has_all_the_runs_that_its_verdict_rests_on[my-claim]",
    }, said
    assert "my-claim: 20 of 20 runs are missing; run them: make results" in said


@pytest.mark.training
def test_the_test_that_was_begun_sees_an_arm_that_differs_in_more(course):
    assert pytest_in(course, "test_my_claim.py")[0] == 0
    path = course.folder / "chapters" / "my-claim.ipynb"
    notebook = path.read_text(encoding="utf-8")
    cells = json.loads(notebook)["cells"]
    for cell in cells:
        source = "".join(cell["source"])
        if "def treatment" in source:
            more = "layers.Flatten(),\n        learning_rate=0.1,\n"
            cell["source"] = source.replace("layers.Flatten(),\n", more, 1)
    path.write_text(json.dumps({**json.loads(notebook), "cells": cells}), encoding="utf-8")
    status, said = pytest_in(course, "test_my_claim.py")
    path.write_text(notebook, encoding="utf-8")
    assert status == 1 and "compile" in said
