"""The ledger page: what counts, what it says, and that each claim has its place."""

import json
import re

import nbformat
import pytest

from utils import claims, ledger
from utils.evidence import Verdict

CHAPTER, EXPERIMENT, CLAIM = "padding", "padding", "padding-keeps-border"
PRINT = {"model": "m1", "compile": "c1", "fit": "f1", "data": "d1", "measures": "x1"}


def record(arm, seed, accuracy, **changed):
    return {
        "experiment": EXPERIMENT,
        "arm": arm,
        "seed": seed,
        "train_size": 60_000,
        "test_size": 10_000,
        "parameters": 1,
        "epochs": [{"test_accuracy": accuracy, "seconds": 1.0}],
        "measures": {},
        "seconds": 90.0,
        "fingerprint": {**PRINT, **changed},
    }


@pytest.fixture
def folders(tmp_path):
    """Make a folder of chapters whose notebook waits for two arms, and one for results."""
    arms = ["same, corner", "valid, corner"]
    prints = dict.fromkeys(arms, PRINT)
    stored = {"experiment": EXPERIMENT, "seeds": [0, 1, 2], "fingerprints": prints}
    outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata={"recorded": stored}),
        nbformat.v4.new_output(
            "display_data",
            {"text/plain": ""},
            metadata={"settled": {"claim": CLAIM, "quick": "undecided at this scale"}},
        ),
    ]
    cell = nbformat.v4.new_code_cell("run()", outputs=outputs)
    chapters, results = tmp_path / "chapters", tmp_path / "results"
    chapters.mkdir()
    results.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), chapters / f"{CHAPTER}.ipynb")

    def write(*records):
        text = "".join(json.dumps(each) + "\n" for each in records)
        (results / f"{EXPERIMENT}.jsonl").write_text(text)
        return {entry.claim.id: entry for entry in ledger.entries(chapters, results)}

    return write


def three(arm, base, **changed):
    return [record(arm, seed, base + 0.001 * seed, **changed) for seed in range(3)]


def test_every_claim_of_the_ledger_has_an_entry_in_its_order(folders):
    assert list(folders()) == list(claims.load_ledger())


def test_records_that_match_the_stored_chapter_are_judged(folders):
    entry = folders(*three("same, corner", 0.95), *three("valid, corner", 0.90))[CLAIM]
    assert entry.outcome == str(Verdict.SUPPORTED)
    assert (entry.runs, entry.seconds, entry.quick) == (6, 540.0, "undecided at this scale")


@pytest.mark.parametrize("part", list(PRINT))
def test_a_record_with_another_fingerprint_does_not_count(folders, part):
    stale = three("same, corner", 0.95, **{part: "another"})
    entry = folders(*stale, *three("valid, corner", 0.90))[CLAIM]
    assert entry.runs == 3
    assert entry.outcome == "not yet run at full scale"


def test_a_record_that_stands_there_twice_counts_once(folders):
    runs = [*three("same, corner", 0.95), *three("valid, corner", 0.90)]
    assert folders(*runs, runs[0])[CLAIM].runs == 6


def test_a_seed_that_the_chapter_does_not_ask_for_does_not_count(folders):
    runs = [*three("same, corner", 0.95), *three("valid, corner", 0.90)]
    assert folders(*runs, record("same, corner", 7, 0.1))[CLAIM].runs == 6


def test_a_verdict_that_falls_to_the_control_of_false_discoveries_says_so(folders, monkeypatch):
    monkeypatch.setattr(ledger.evidence, "control_false_discoveries", lambda p: [False] * len(p))
    entry = folders(*three("same, corner", 0.95), *three("valid, corner", 0.90))[CLAIM]
    assert entry.controlled is Verdict.UNDECIDED
    assert "undecided with false discoveries controlled" in ledger._verdict_cell(entry)


def test_the_control_of_false_discoveries_keeps_a_clear_verdict(folders):
    entry = folders(*three("same, corner", 0.95), *three("valid, corner", 0.90))[CLAIM]
    assert entry.controlled is Verdict.SUPPORTED


def test_the_summary_counts_every_claim_once(folders):
    counted = ledger.summary(list(folders().values()))
    assert counted.loc["all", "claims"] == len(claims.load_ledger())
    assert (counted.drop(columns="claims").sum(axis=1) == counted["claims"]).all()


def test_the_table_to_download_has_a_row_a_claim(folders):
    frame = ledger.to_frame(list(folders().values()))
    assert list(frame["claim"]) == list(claims.load_ledger())
    assert not frame[["verdict", "chapter", "kind"]].isin([""]).any().any()


def test_each_claim_has_one_row_with_its_id_as_anchor_and_existing_chapters_are_linked(folders):
    found = list(folders(*three("same, corner", 0.95), *three("valid, corner", 0.90)).values())
    page = "".join(
        ledger.section_html(found, section, {CHAPTER})
        for section in dict.fromkeys(entry.claim.section for entry in found)
    )
    assert re.findall(r'<tr id="([^"]+)"', page) == list(claims.load_ledger())
    assert set(re.findall(r'href="([^"]+)"', page)) == {f"{CHAPTER}.html"}


def test_an_interval_is_drawn_to_scale(folders):
    entry = folders(*three("same, corner", 0.95), *three("valid, corner", 0.90))[CLAIM]
    comparison, _, estimate, _ = entry.full.rows[0]
    drawing = ledger.interval_svg(comparison, estimate)
    at = float(re.search(r'<circle cx="([\d.]+)"', drawing).group(1)) - 100
    band = float(re.search(r'width="([\d.]+)" height="18" class="margin"', drawing).group(1))
    assert at / (band / 2) == pytest.approx(estimate.value / comparison.margin, rel=0.02)
    assert "5.00" in drawing and 'role="img"' in drawing


def test_the_stored_ledger_page_shows_every_section(folders):
    notebook = nbformat.read(claims.LEDGER.parent / "claims.ipynb", as_version=4)
    headings = {cell.source.removeprefix("## ") for cell in notebook.cells}
    assert {claim.section for claim in claims.load_ledger().values()} <= headings
