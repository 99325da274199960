"""The ledger page: what counts, what it says, and that each claim has its place."""

import base64
import gzip
import io
import json
import re

import nbformat
import pandas as pd
import pytest

from utils.evidence import claims
from utils.evidence import ledger
from utils.evidence.statistics import Verdict

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


def test_all_recorded_runs_that_count_are_one_tidy_table(folders, tmp_path):
    runs = [*three("same, corner", 0.95), *three("valid, corner", 0.90)]
    folders(*runs, runs[0], record("same, corner", 7, 0.1), *three("same, corner", 0.1, model="m2"))
    frame = ledger.runs_frame(tmp_path / "chapters", tmp_path / "results")
    assert len(frame) == 6 and set(frame["experiment"]) == {EXPERIMENT}
    assert frame["test_accuracy"].min() > 0.89
    assert not frame.duplicated(["experiment", "arm", "seed", "epoch"]).any()


@pytest.mark.parametrize("name", ["ledger.csv", "runs.csv.gz"])
def test_a_download_holds_the_whole_table_and_no_time_of_day(name):
    frame = pd.DataFrame({"claim": ["a", "b"], "says": ['more, "much"', "⌊N/S⌋"], "runs": [1, 2]})
    link = ledger.download_html(frame, name, "take <it>")
    assert link == ledger.download_html(frame, name, "take <it>")
    assert f'download="{name}"' in link and link.endswith(">take &lt;it&gt;</a>")
    content = base64.b64decode(re.search(r';base64,([^"]+)"', link).group(1))
    content = gzip.decompress(content) if name.endswith(".gz") else content
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(content)), frame)


def test_the_controls_offer_what_occurs_and_the_rows_say_it(folders):
    found = list(folders(*three("same, corner", 0.95), *three("valid, corner", 0.90)).values())
    controls = ledger.controls_html(found)
    offered = set(re.findall(r'<option value="([^"]+)"', controls))
    rows = ledger.section_html(found, "Padding", set())
    for name in ("chapter", "source", "verdict"):
        said = re.findall(rf'data-{name}="([^"]+)"', rows)
        assert len(said) == sum(entry.claim.section == "Padding" for entry in found)
        assert {value for each in said for value in each.split("|")} <= offered
    assert {entry.outcome for entry in found} <= offered
    row = re.search(rf'<tr id="{CLAIM}"[^>]*>', rows).group()
    # 0.05 of accuracy is ten margins of 0.005.
    assert 'data-effect="10.000"' in row and 'data-runs="6"' in row and 'data-seconds="540"' in row


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


def test_the_summary_at_the_top_says_how_many_claims_have_which_verdict(folders):
    found = list(folders(*three("same, corner", 0.95), *three("valid, corner", 0.90)).values())
    page = ledger.summary_html(found)
    supported = sum(entry.outcome == str(Verdict.SUPPORTED) for entry in found)
    assert f"Of {len(found)} claims" in page and f"<strong>{supported}</strong> supported" in page
    told = [int(count) for count in re.findall(r"<strong>(\d+)</strong>", page)]
    assert sum(told) == len(found)
    last = re.findall(r"<tr><th>all</th>(.*?)</tr>", page)[0]
    counts = [0 if cell == "·" else int(cell) for cell in re.findall(r"<td>(.*?)</td>", last)]
    assert counts == [*told, len(found)]
