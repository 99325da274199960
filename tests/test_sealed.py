"""The seals: what is recorded, and by which rule it is judged, is what it was."""

import dataclasses
import json

import pytest
from helpers import record_of

from utils.commands import seal as command
from utils.evidence import seal
from utils.evidence.claims import load_ledger

CLAIM = "padding-keeps-border"
PART = load_ledger()[CLAIM].parts[0]
PRINT = {"model": "m1", "fit": "f1"}


def test_what_is_recorded_and_how_it_is_judged_is_what_was_sealed():
    broken, opened = seal.check()
    assert not broken, "\n".join(["", *broken])
    assert not opened, "\n".join(["run make seal:", *opened])


@pytest.fixture
def results(tmp_path):
    """Record two runs of each arm of a claim in a folder, or what is given."""

    def write(change=None, lines=None):
        lines = lines or [
            record_of(PART.experiment, arm, seed, 0.9, PRINT)
            for arm in PART.arms
            for seed in (0, 1)
        ]
        if change:
            change(lines)
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{PART.experiment}.jsonl").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def judged_by(monkeypatch, **changes):
    """Change a part of the ledger."""
    found = load_ledger()
    part = dataclasses.replace(PART, **changes)
    claim = dataclasses.replace(found[CLAIM], parts=(part,))
    monkeypatch.setattr(seal, "load_ledger", lambda: {**found, CLAIM: claim})


def test_what_is_sealed_stays_sealed_and_what_is_new_is_told(results):
    folder = results()
    assert len(seal.check(folder)[1]) == 5 == len(seal.renew(folder))
    text = (folder / seal.NAME).read_text(encoding="utf-8")
    assert seal.check(folder) == ([], []) and seal.renew(folder) == []
    assert (folder / seal.NAME).read_text(encoding="utf-8") == text
    new = record_of(PART.experiment, PART.treatment, 2, 0.9, PRINT)
    results(lambda lines: lines.append(new))
    assert seal.check(folder) == ([], [f"padding, arm {PART.treatment!r}, seed 2 is not sealed"])


def test_a_number_that_is_changed_is_told_and_not_sealed(results):
    folder = results()
    seal.renew(folder)
    before = (folder / seal.NAME).read_bytes()
    results(lambda lines: lines[1]["epochs"][0].update(test_accuracy=0.91))
    told = f"padding, arm {PART.treatment!r}, seed 1 is no longer as it was recorded"
    assert seal.check(folder)[0] == [told]
    with pytest.raises(seal.SealError, match=told):
        seal.renew(folder)
    assert (folder / seal.NAME).read_bytes() == before


def test_a_run_that_is_taken_out_may_be_trained_again(results):
    folder = results()
    seal.renew(folder)
    results(lambda lines: lines.pop(1))
    assert seal.renew(folder) == []
    results(lambda lines: lines[1]["epochs"][0].update(test_accuracy=0.91))
    assert seal.check(folder)[0] == [] and len(seal.renew(folder)) == 1


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"margin": 0.001}, "expect increase, margin 0.001"),
        ({"expect": "no difference"}, "expect no difference, margin 0.005"),
        ({"size": 0.1}, "expect increase, margin 0.005, size 0.1"),
    ],
)
def test_a_rule_that_is_changed_after_the_run_is_told(changes, rule, results, monkeypatch):
    folder = results()
    seal.renew(folder)
    judged_by(monkeypatch, **changes)
    told = f"claim {CLAIM}, {PART.says}: {rule}; it was recorded to be judged by expect increase"
    assert len(seal.check(folder)[0]) == 1 and seal.check(folder)[0][0].startswith(told)
    # Another design is another question.
    results(lambda lines: [line.update(fingerprint={"model": "m2"}) for line in lines])
    assert seal.check(folder)[0] == [] and len(seal.renew(folder)) == 5


def test_other_words_for_the_same_rule_change_nothing(results, monkeypatch):
    folder = results()
    seal.renew(folder)
    judged_by(monkeypatch, says="in other words")
    assert seal.check(folder) == ([], [])


def test_the_command_seals_and_says_why_it_does_not(results, monkeypatch, capsys):
    monkeypatch.setattr(seal.records, "RESULTS", results())
    assert command.main() == 0 and "5 runs and rules" in capsys.readouterr().out
    assert command.main() == 0 and "All is sealed" in capsys.readouterr().out
    results(lambda lines: lines[0].update(parameters=2))
    assert command.main() == 1 and "seed 0 is no longer" in capsys.readouterr().err
