"""The ledger page: what counts, what it says, and that each claim has its place."""

import base64
import dataclasses
import gzip
import io
import json
import re

import nbformat
import pandas as pd
import pytest
from helpers import record_of

from utils import paths
from utils.evidence import export, forest, ledger, records, statistics
from utils.evidence.claims import Comparison, Exact, load_ledger
from utils.evidence.statistics import Estimate, Verdict

CHAPTER, EXPERIMENT, CLAIM = "padding", "padding", "padding-keeps-border"
ARMS = ("same, corner", "valid, corner")
PRINT = {"model": "m1", "compile": "c1", "fit": "f1", "data": "d1", "measures": "x1"}


def record(arm, seed, accuracy, **changed):
    return record_of(EXPERIMENT, arm, seed, accuracy, {**PRINT, **changed}, seconds=90.0)


def several(arm, base, step=0.001, seeds=3, **changed):
    return [record(arm, seed, base + step * seed, **changed) for seed in range(seeds)]


CLEAR = [*several(ARMS[0], 0.95), *several(ARMS[1], 0.899, 0.002)]
NOT_COUNTED = [
    CLEAR[0],  # The same run twice.
    record(ARMS[0], 7, 0.1),  # A seed that the chapter does not ask for.
    *(run for part in PRINT for run in several(ARMS[0], 0.1, **{part: "another"})),
]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Make a folder of chapters whose notebook waits for two arms, and one for results."""
    settled = {"claim": CLAIM, "quick": "2 of 2 runs"}
    chapters, results = tmp_path / "chapters", tmp_path / "results"
    chapters.mkdir()
    results.mkdir()
    # What a pilot asks for is looked for where the course's own records are.
    monkeypatch.setattr(records, "RESULTS", results)

    def write(*lines, **required):
        stored = {
            "experiment": EXPERIMENT,
            "seeds": [0, 1, 2],
            "fingerprints": dict.fromkeys(ARMS, PRINT),
            **required,
        }
        outputs = [
            nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata={name: told})
            for name, told in (("recorded", stored), ("settled", settled))
        ]
        cell = nbformat.v4.new_code_cell("run()", outputs=outputs)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), chapters / f"{CHAPTER}.ipynb")
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (results / f"{EXPERIMENT}.jsonl").write_text(text, encoding="utf-8")
        return chapters, results

    return write


@pytest.fixture
def clear(folders):
    """List the ledger with the runs of one claim recorded, and judged clearly."""
    return ledger.entries(*folders(*CLEAR))


def of_claim(listed, claim=CLAIM):
    return next(entry for entry in listed if entry.claim.id == claim)


def row_of_claim(listed, claim=CLAIM):
    rows = ledger.section_html(listed, of_claim(listed, claim).claim.section, set())
    return re.search(rf'<li id="{claim}".*?</li>', rows, re.S).group()


def test_records_that_match_the_stored_chapter_are_judged_in_the_order_of_the_ledger(clear):
    assert [entry.claim for entry in clear] == list(load_ledger().values())
    entry = of_claim(clear)
    assert (entry.outcome, entry.stands) == ("supported", True)
    assert (entry.runs, entry.seconds, entry.quick) == (6, 540.0, "2 of 2 runs")


def test_other_records_count_neither_in_the_page_nor_in_the_table(folders, clear):
    places = folders(*CLEAR, *NOT_COUNTED)
    assert row_of_claim(ledger.entries(*places)) == row_of_claim(clear)
    frame = ledger.runs_frame(*places)
    assert len(frame) == 6 and set(frame["experiment"]) == {EXPERIMENT}
    assert frame["test_accuracy"].min() > 0.89
    assert not frame.duplicated(["experiment", "arm", "seed", "epoch"]).any()


def test_a_claim_with_half_of_its_runs_is_open(folders):
    listed = ledger.entries(*folders(*several(ARMS[1], 0.9)))
    entry = of_claim(listed)
    assert (entry.outcome, entry.stands, entry.runs) == ("not yet run", None, 3)
    row = row_of_claim(listed)
    assert row.count("verdict-open") == 2 + len(entry.claim.old) and "<svg" not in row


def test_without_any_record_the_exact_claims_are_settled(folders):
    places = folders()
    listed = ledger.entries(*places)
    assert ledger.runs_frame(*places).empty
    for entry in listed:
        exact = entry.claim.kind == "exact"
        assert (entry.verdict is not None) == exact and entry.stands is None


def test_more_seeds_than_its_pilot_count_once_the_stage_is_recorded(folders):
    pilot = {"pilot": 3, "cap": 40}
    runs = [*several(ARMS[0], 0.95, seeds=5), *several(ARMS[1], 0.899, 0.002, seeds=5)]
    assert of_claim(ledger.entries(*folders(*runs, **pilot))).runs == 6
    stage = {
        **{"metric": "test_accuracy", "treatment": ARMS[0], "baseline": ARMS[1]},
        **{"half_width": 0.0025, "pilot": 3, "spread": 0.01, "wanted": 5, "seeds": 5},
        "fingerprints": dict.fromkeys(ARMS, PRINT),
    }
    places = folders(*runs, {"stage": stage}, **pilot)
    entry = of_claim(ledger.entries(*places))
    (line,) = entry.judged
    assert (entry.runs, line.ran) == (10, "60,000 images, 1 epoch, 5 seeds")
    assert line.row.estimate.method == "Stein"
    assert set(ledger.runs_frame(*places)["wanted"]) == {5}
    # As long as the seeds that it asks for are not there, it is open.
    places = folders(*runs[:-1], {"stage": stage}, **pilot)
    assert of_claim(ledger.entries(*places)).outcome == "not yet run"


def test_without_a_notebook_no_page_pretends_that_nothing_was_run(tmp_path):
    for read in (ledger.entries, ledger.runs_frame):
        with pytest.raises(FileNotFoundError, match="chapters='.*' holds no notebook; allowed"):
            read(tmp_path)


def test_false_discoveries_are_controlled_over_the_claims_that_are_tests(folders, monkeypatch):
    listed = ledger.entries(*folders(*CLEAR))
    assert "uncorrected only" not in row_of_claim(listed)
    assert "the verdict stands (p" in row_of_claim(listed)
    assert "every decided one stands" in ledger.control_html(listed)
    seen = []
    monkeypatch.setattr(
        statistics, "control_false_discoveries", lambda p: seen.extend(p) or [False] * len(p)
    )
    listed = ledger.entries(*folders(*CLEAR))
    # One p-value for the one claim that is measured and judged; exact ones are no tests.
    assert seen == [of_claim(listed).settled.p_value] and 0 < seen[0] < 0.05
    assert (of_claim(listed).verdict, of_claim(listed).stands) == (Verdict.SUPPORTED, False)
    row = row_of_claim(listed)
    assert "uncorrected only" in row and "the verdict does not stand (p" in row
    said = ledger.control_html(listed)
    assert "1 of these verdicts" in said and f'<a href="#{CLAIM}">' in said
    assert [entry.claim.id for entry in listed if entry.stands is not None] == [CLAIM]


def test_beside_a_difference_stands_why_its_interval_may_be_too_narrow(folders):
    entry = of_claim(ledger.entries(*folders(*CLEAR)))
    (row,) = entry.settled.rows
    assert "too narrow" not in row_of_claim([entry])
    scattered = row._replace(estimate=dataclasses.replace(row.estimate, scatter=3.0))
    settled = dataclasses.replace(entry.settled, rows=(scattered,))
    told = row_of_claim([dataclasses.replace(entry, settled=settled)])
    assert '<span class="about">too narrow: the seeds after the pilot scatter 3.0 times' in told


def test_what_is_undecided_is_a_test_and_has_nothing_to_fall(folders):
    listed = ledger.entries(*folders(*several(ARMS[0], 0.95, 0.003), *several(ARMS[1], 0.945, 0)))
    entry = of_claim(listed)
    assert (entry.outcome, entry.p_value, entry.stands) == ("undecided", 1.0, None)
    (line,) = entry.judged
    assert line.row.known and line.row.known in row_of_claim(listed)
    assert 'class="open"' in row_of_claim(listed)


def test_the_summary_counts_every_claim_once_and_says_so_in_words(clear):
    counted = ledger.summary(clear)
    assert counted.loc["all", "claims"] == len(clear)
    assert (counted.drop(columns="claims").sum(axis=1) == counted["claims"]).all()
    page = ledger.summary_html(clear)
    supported = sum(entry.outcome == str(Verdict.SUPPORTED) for entry in clear)
    assert f"Of {len(clear)} claims" in page and f"<strong>{supported}</strong> supported" in page
    told = [int(count) for count in re.findall(r"<strong>(\d+)</strong>", page)]
    last = re.search(r'<tr><th scope="row">all</th>(.*?)</tr>', page).group(1)
    counts = [int(cell.replace("·", "0")) for cell in re.findall(r"<td>(.*?)</td>", last)]
    assert counts == [*told, len(clear)] and sum(told) == len(clear)


def test_the_downloads_have_every_part_once(clear):
    frame = export.to_frame(clear)
    parts = [
        (claim.id, role, part.says)
        for claim in load_ledger().values()
        for role, listed in (("part", claim.parts), ("old", claim.old), ("further", claim.further))
        for part in listed
    ]
    assert list(frame[["claim", "role", "says"]].itertuples(index=False, name=None)) == parts
    assert not frame[["verdict", "outcome", "chapter", "kind"]].isin([""]).any().any()
    (row,) = frame[frame["claim"] == CLAIM].dropna(subset="difference").to_dict("records")
    assert row["difference"] == pytest.approx(0.05) and row["low"] < 0.05 < row["high"]
    assert (row["outcome"], row["ran"]) == ("supported", "60,000 images, 1 epoch, 3 seeds")
    claims = json.loads(export.to_json(clear))
    assert [claim["claim"] for claim in claims] == list(load_ledger())
    assert sum(len(claim["parts"]) for claim in claims) == len(parts)
    parts = next(claim for claim in claims if claim["claim"] == CLAIM)["parts"]
    assert [each["difference"] for each in parts if each["role"] == row["role"]] == [
        row["difference"]
    ]
    assert parts[0]["place"] == list(of_claim(clear).claim.parts[0].place)
    assert all(bool(claim["source"]) != claim["ours"] for claim in claims)


@pytest.mark.parametrize("name", ["ledger.csv", "runs.csv.gz"])
def test_a_download_holds_the_whole_table_and_no_time_of_day(name):
    frame = pd.DataFrame({"claim": ["a", "b"], "says": ['more, "much"', "⌊N/S⌋"], "runs": [1, 2]})
    link = ledger.download_html(frame, name, "take <it>")
    assert link == ledger.download_html(frame, name, "take <it>")
    assert f'download="{name}"' in link and link.endswith(">take &lt;it&gt;</a>")
    content = base64.b64decode(re.search(r';base64,([^"]+)"', link).group(1))
    content = gzip.decompress(content) if name.endswith(".gz") else content
    pd.testing.assert_frame_equal(pd.read_csv(io.BytesIO(content)), frame)


def test_a_text_is_downloaded_as_it_is():
    link = ledger.download_html('["⌊N/S⌋"]', "ledger.json", "JSON")
    assert 'href="data:application/json;base64,' in link
    content = base64.b64decode(re.search(r';base64,([^"]+)"', link).group(1))
    assert json.loads(content) == ["⌊N/S⌋"]


def test_each_claim_has_one_row_with_its_id_as_anchor_and_existing_chapters_are_linked(clear):
    sections = dict.fromkeys(entry.claim.section for entry in clear)
    page = "".join(ledger.section_html(clear, section, {CHAPTER}) for section in sections)
    ordered = sorted(load_ledger().values(), key=lambda claim: list(sections).index(claim.section))
    assert re.findall(r'<li id="([^"]+)"', page) == [claim.id for claim in ordered]
    links = set(re.findall(r'href="([^"]+)"', page))
    assert links == {f"{CHAPTER}.html", *(f"#{claim}" for claim in load_ledger())}
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
    assert '<option value="own">ours</option>' in controls
    # 0.05 of accuracy is ten margins of 0.005.
    row = row_of_claim(clear)
    assert 'data-effect="10.000"' in row and 'data-runs="6"' in row and 'data-seconds="540"' in row
    assert "6 runs, 9 minutes" in row and "Quick run: 2 of 2 runs" in row
    # The script stands there as it is, for a browser to run.
    script = paths.ROOT / "utils" / "evidence" / "ledger.js"
    assert script.read_text(encoding="utf-8") in controls


def test_what_a_claim_says_is_text_and_never_html(clear):
    entry = of_claim(clear)
    object.__setattr__(entry, "quick", "<b>4 & 5</b>")
    row = row_of_claim(clear)
    assert "Quick run: &lt;b&gt;4 &amp; 5&lt;/b&gt;" in row
    assert '<span class="verdict verdict-supported">✓ supported' in row


def test_a_row_says_what_is_on_trial_and_what_is_ours(clear):
    for entry in clear:
        row = row_of_claim(clear, entry.claim.id)
        own = entry.claim.source == ("own",)
        assert ("What we claim" in row) == own and ("What the source says" in row) != own
        assert ("ours ·" in row) == own
        assert ("no part of the verdict" in row) == bool(entry.claim.further)
        assert ("<em>old design</em>" in row) == bool(entry.claim.old)
        parts = (*entry.claim.parts, *entry.claim.old, *entry.claim.further)
        table = re.search(r"<table.*?</table>", row, re.S).group()
        assert table.count("<tr>\n<td>") == len(parts)
        exact = sum(isinstance(part, Exact) for part in parts)
        assert table.count('<td colspan="2">') == exact
        assert row.count("<details") == row.count("<summary") == 1 and "<details open" not in row


def test_a_claim_that_holds_in_part_says_how_many_parts_are_supported(clear):
    entry = of_claim(clear)
    exact = Exact("the rest", Verdict.REFUTED, "so it is", ("a test",))
    (part,) = entry.claim.old or entry.claim.parts
    claim = dataclasses.replace(entry.claim, parts=(part, exact), old=())
    settled = dataclasses.replace(entry.settled, claim=claim)
    entry = dataclasses.replace(entry, claim=claim, settled=settled)
    row = row_of_claim([entry])
    assert (entry.verdict, entry.count) == (Verdict.IN_PART, "1 of 2 parts")
    assert "verdict-in-part" in row and '<span class="about">1 of 2 parts</span>' in row
    assert forest.draw(entry.judged).label.endswith("; the rest: exact, refuted")


def drawn(low, high, expect="increase"):
    """Draw an interval of a margin of 1."""
    part = Comparison("it", "experiment", "metric", "arm", expect, 1.0)
    estimate = Estimate((low + high) / 2, 10, "paired t", lambda confidence: (low, high))
    row = ledger.Row(part, "full", estimate, part.judge(estimate))
    (mark,) = forest.draw([ledger.Line("part", part, row, "")]).marks
    return mark


def test_an_interval_is_drawn_to_scale(clear):
    row = row_of_claim(clear)
    band = re.search(r'<rect x="(\d+)" y="0.0" width="(\d+)"', row)
    left, width = map(float, band.groups())
    zero = float(re.search(r'<line x1="(\d+)"[^>]*class="zero"', row).group(1))
    assert left + width / 2 == zero
    mark = drawn(-0.5, 2.5)
    at = [(number - zero) / (width / 2) for number in (mark.low, mark.value, mark.high)]
    assert at == pytest.approx([-0.5, 1.0, 2.5])
    assert not (mark.clipped_low or mark.clipped_high or mark.decided or mark.beyond)
    assert (mark.claimed, mark.sign) == ("↑", "?")
    assert drawn(1.5, 2.5).decided
    said = of_claim(clear).judged[0].row
    label = re.search(r'<svg class="forest" role="img" [^>]*aria-label="([^"]*)"', row).group(1)
    assert said.part.write_interval(said.estimate) in label and "supported" in label


@pytest.mark.parametrize(
    ("low", "high", "clipped", "beyond"),
    [
        (2, 5, (False, True), ""),
        (-5, -2, (True, False), ""),
        (-9, 9, (True, True), ""),
        (-5, 25, (True, True), ""),
        (3, 9, (False, True), "+6"),
        (20, 30, (False, True), "+25"),
        (-30, -20, (True, False), "−25"),
    ],
)
def test_an_interval_that_leaves_the_plot_gets_an_arrow_and_stays_inside(
    low, high, clipped, beyond
):
    mark = drawn(low, high)
    assert (mark.clipped_low, mark.clipped_high, mark.beyond) == (*clipped, beyond)
    assert (mark.value is None) == (abs(low + high) / 2 > forest.REACH)
    assert 16 <= mark.low < mark.high <= 192
