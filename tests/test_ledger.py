"""The ledger page: what counts, what it says, and that each claim has its place."""

import base64
import gzip
import io
import json
import re

import nbformat
import pandas as pd
import pytest

from utils import paths
from utils.evidence import ledger, statistics
from utils.evidence.claims import load_ledger
from utils.evidence.statistics import Verdict

CHAPTER, EXPERIMENT, CLAIM = "padding", "padding", "padding-keeps-border"
ARMS = ("same, corner", "valid, corner")
PRINT = {"model": "m1", "compile": "c1", "fit": "f1", "data": "d1", "measures": "x1"}


def record(arm, seed, accuracy, **changed):
    return {
        "experiment": EXPERIMENT, "arm": arm, "seed": seed, "train_size": 60_000,
        "test_size": 10_000, "parameters": 1, "measures": {}, "seconds": 90.0,
        "epochs": [{"test_accuracy": accuracy, "seconds": 1.0}],
        "fingerprint": {**PRINT, **changed},
    }  # fmt: skip


def three(arm, base, step=0.001, **changed):
    return [record(arm, seed, base + step * seed, **changed) for seed in range(3)]


CLEAR = [*three(ARMS[0], 0.95), *three(ARMS[1], 0.899, 0.002)]
NOT_COUNTED = [
    CLEAR[0],  # The same run twice.
    record(ARMS[0], 7, 0.1),  # A seed that the chapter does not ask for.
    *(run for part in PRINT for run in three(ARMS[0], 0.1, **{part: "another"})),
]


@pytest.fixture
def folders(tmp_path):
    """Make a folder of chapters whose notebook waits for two arms, and one for results."""
    prints = dict.fromkeys(ARMS, PRINT)
    told = {"recorded": {"experiment": EXPERIMENT, "seeds": [0, 1, 2], "fingerprints": prints}}
    told["settled"] = {"claim": CLAIM, "quick": "2 of 2 runs"}
    outputs = [
        nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata={name: each})
        for name, each in told.items()
    ]
    cell = nbformat.v4.new_code_cell("run()", outputs=outputs)
    chapters, results = tmp_path / "chapters", tmp_path / "results"
    chapters.mkdir()
    results.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), chapters / f"{CHAPTER}.ipynb")

    def write(*records):
        text = "".join(json.dumps(run) + "\n" for run in records)
        (results / f"{EXPERIMENT}.jsonl").write_text(text, encoding="utf-8")
        return chapters, results

    return write


@pytest.fixture
def clear(folders):
    """List the ledger with the runs of one claim recorded, and judged clearly."""
    return ledger.entries(*folders(*CLEAR))


def of_claim(listed):
    return next(entry for entry in listed if entry.claim.id == CLAIM)


def row_of_claim(listed):
    rows = ledger.section_html(listed, of_claim(listed).claim.section, set())
    return re.search(rf'<tr id="{CLAIM}".*?</tr>', rows, re.S).group()


def test_records_that_match_the_stored_chapter_are_judged_in_the_order_of_the_ledger(clear):
    assert [entry.claim for entry in clear] == list(load_ledger().values())
    entry = of_claim(clear)
    assert (entry.outcome, entry.controlled) == ("supported", Verdict.SUPPORTED)
    assert (entry.runs, entry.seconds, entry.quick) == (6, 540.0, "2 of 2 runs")


def test_other_records_count_neither_in_the_page_nor_in_the_table(folders, clear):
    places = folders(*CLEAR, *NOT_COUNTED)
    assert row_of_claim(ledger.entries(*places)) == row_of_claim(clear)
    frame = ledger.runs_frame(*places)
    assert len(frame) == 6 and set(frame["experiment"]) == {EXPERIMENT}
    assert frame["test_accuracy"].min() > 0.89
    assert not frame.duplicated(["experiment", "arm", "seed", "epoch"]).any()


def test_a_claim_with_half_of_its_runs_is_open(folders):
    entry = of_claim(ledger.entries(*folders(*three(ARMS[1], 0.9))))
    assert (entry.outcome, entry.controlled, entry.runs) == ("not yet run at full scale", None, 3)


def test_without_a_notebook_no_page_pretends_that_nothing_was_run(tmp_path):
    for read in (ledger.entries, ledger.runs_frame):
        with pytest.raises(FileNotFoundError, match="chapters='.*' holds no notebook; allowed"):
            read(tmp_path)


def test_a_verdict_that_falls_to_the_control_of_false_discoveries_says_so(folders, monkeypatch):
    fell = "undecided with false discoveries controlled"
    assert fell not in row_of_claim(ledger.entries(*folders(*CLEAR)))
    monkeypatch.setattr(statistics, "control_false_discoveries", lambda p: [False] * len(p))
    listed = ledger.entries(*folders(*CLEAR))
    assert of_claim(listed).controlled is Verdict.UNDECIDED
    assert fell in row_of_claim(listed)


def test_the_summary_counts_every_claim_once_and_says_so_in_words(clear):
    counted = ledger.summary(clear)
    assert counted.loc["all", "claims"] == len(clear)
    assert (counted.drop(columns="claims").sum(axis=1) == counted["claims"]).all()
    page = ledger.summary_html(clear)
    supported = sum(entry.outcome == str(Verdict.SUPPORTED) for entry in clear)
    assert f"Of {len(clear)} claims" in page and f"<strong>{supported}</strong> supported" in page
    told = [int(count) for count in re.findall(r"<strong>(\d+)</strong>", page)]
    last = re.search(r"<tr><th>all</th>(.*?)</tr>", page).group(1)
    counts = [int(cell.replace("·", "0")) for cell in re.findall(r"<td>(.*?)</td>", last)]
    assert counts == [*told, len(clear)] and sum(told) == len(clear)


def test_the_table_to_download_has_a_row_a_claim(clear):
    frame = ledger.to_frame(clear)
    assert list(frame["claim"]) == list(load_ledger())
    assert not frame[["verdict", "chapter", "kind"]].isin([""]).any().any()


@pytest.mark.parametrize("name", ["ledger.csv", "runs.csv.gz"])
def test_a_download_holds_the_whole_table_and_no_time_of_day(name):
    frame = pd.DataFrame({"claim": ["a", "b"], "says": ['more, "much"', "⌊N/S⌋"], "runs": [1, 2]})
    link = ledger.download_html(frame, name, "take <it>")
    assert link == ledger.download_html(frame, name, "take <it>")
    assert f'download="{name}"' in link and link.endswith(">take &lt;it&gt;</a>")
    content = base64.b64decode(re.search(r';base64,([^"]+)"', link).group(1))
    content = gzip.decompress(content) if name.endswith(".gz") else content
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(content)), frame)


def test_each_claim_has_one_row_with_its_id_as_anchor_and_existing_chapters_are_linked(clear):
    sections = dict.fromkeys(entry.claim.section for entry in clear)
    page = "".join(ledger.section_html(clear, section, {CHAPTER}) for section in sections)
    assert re.findall(r'<tr id="([^"]+)"', page) == list(load_ledger())
    assert set(re.findall(r'href="([^"]+)"', page)) == {f"{CHAPTER}.html"}
    notebook = nbformat.read(paths.CHAPTERS / "claims.ipynb", as_version=4)
    assert set(sections) <= {cell.source.removeprefix("## ") for cell in notebook.cells}


def test_the_controls_offer_what_occurs_and_the_rows_say_it(clear):
    controls = ledger.controls_html(clear)
    offered = set(re.findall(r'<option value="([^"]+)"', controls))
    rows = "".join(ledger.section_html(clear, name, set()) for name in ledger.summary(clear).index)
    for name in ("chapter", "source", "verdict"):
        said = re.findall(rf'data-{name}="([^"]+)"', rows)
        assert len(said) == len(clear)
        assert {value for values in said for value in values.split("|")} <= offered
    # 0.05 of accuracy is ten margins of 0.005.
    row = row_of_claim(clear)
    assert 'data-effect="10.000"' in row and 'data-runs="6"' in row and 'data-seconds="540"' in row
    assert "6 runs, 9 minutes" in row and "quick run: 2 of 2 runs" in row
    # The script stands there as it is, for a browser to run.
    script = paths.ROOT / "utils" / "evidence" / "ledger.js"
    assert script.read_text(encoding="utf-8") in controls


def test_what_a_claim_says_is_text_and_never_html(clear):
    entry = of_claim(clear)
    object.__setattr__(entry, "quick", "<b>4 & 5</b>")
    row = row_of_claim(clear)
    assert "quick run: &lt;b&gt;4 &amp; 5&lt;/b&gt;" in row
    assert '<span class="verdict verdict-supported">✓ supported' in row


def test_an_interval_is_drawn_to_scale(clear):
    comparison, _, estimate, _ = of_claim(clear).rows[0]
    row = row_of_claim(clear)
    at = {name: float(x) - 100 for name, x in re.findall(r"<(circle|rect) c?x=\"([\d.]+)\"", row)}
    ends = [float(x) - 100 for x in re.search(r'x1="([\d.]+)" x2="([\d.]+)" y1="9"', row).groups()]
    band = float(re.search(r'width="([\d.]+)" height="18" class="margin"', row).group(1))
    assert at["rect"] == pytest.approx(-band / 2, abs=0.1)
    for drawn, value in zip(
        [at["circle"], *ends], [estimate.value, *estimate.interval()], strict=True
    ):
        assert drawn / (band / 2) == pytest.approx(value / comparison.margin, rel=0.02)
    assert re.search(r'<svg [^>]*role="img" [^>]*aria-label="[^"]*5\.00', row)
