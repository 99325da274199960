"""Begins a claim: its entry in the ledger, a notebook that runs, and a test.

``python -m utils.commands.claim my-claim`` is what ``make claim NAME=my-claim`` runs. What only the
author can know is marked in these files, and the tests report each mark that is left.
"""

import argparse
import contextlib
import os
import re
import sys
import textwrap
from pathlib import Path

import nbformat
import yaml

from utils.commands import notebooks
from utils.evidence import Comparison, load_ledger
from utils.paths import ROOT

# What the author has to replace begins so.
MARK = "FILL IN:"

# The page of the table of contents behind which new ones go.
_BEHIND = "chapters/your-own-claim"
_LONGEST = 40


class ClaimError(ValueError):
    """A claim cannot be begun, and nothing is written; the message says why and what is allowed."""


_ENTRY = """
- id: {name}
{sections}
  section: {section}
  source: own
  chapter: {name}
  statement: >-
    FILL IN: what is claimed, in one sentence, and for which networks and images.
  settled_by: >-
    FILL IN: what is trained, on what, and what is measured.
  parts:
    - says: "FILL IN: the difference, in a few words"
      experiment: {name}
      # FILL IN: the metric, its unit, the names of the arms, and what the claim expects of them.
      metric: test_accuracy
      treatment: treatment
      baseline: baseline
      expect: increase
      # FILL IN: the smallest difference for which you would change a network, before any run.
      margin: 0.005
      unit: points
"""

_TEST = '''"""The arms of {name} differ in what the claim is about."""

import json

import pytest
from test_recorded import with_experiment

from utils.evidence import load_ledger
from utils.paths import CHAPTERS

pytestmark = pytest.mark.training

# FILL IN: in which of model, compile, fit and data the arms differ on purpose.
DIFFERENT = {{"model"}}

PRINTS = 'print("FOUND", json.dumps(taken.fingerprints("quick")))'


def test_the_arms_differ_in_what_the_claim_is_about_and_in_nothing_else():
    for part in load_ledger()["{name}"].comparisons:
        said = with_experiment(CHAPTERS / "{name}.ipynb", part.experiment, PRINTS)
        prints = json.loads(said.partition("FOUND ")[2])
        treatment, baseline = prints[part.treatment], prints[part.baseline]
        assert {{kind for kind in treatment if treatment[kind] != baseline[kind]}} == DIFFERENT
'''

# What stands below the figure.
_CAPTION = "FILL IN: what the figure shows, in a sentence that the runs bear."

# Each cell of the notebook: what it is, its tags, its text.
_CELLS = (
    (
        "markdown",
        (),
        """# {title}

FILL IN: one sentence that says what this page is about.

## The question

<a href="claims.html#{name}"><code>{name}</code></a> FILL IN: the claim in one sentence, who makes
it, and why anybody would believe it.""",
    ),
    (
        "code",
        (),
        """from utils import figures
from utils.experiments import Experiment, Stein, by_scale
from utils.experiments.models import classifier

from keras import layers""",
    ),
    (
        "markdown",
        (),
        """## Predict

FILL IN: a question with answers to choose from, before anything is trained.

## The experiment

FILL IN: what the two arms are, and the one thing in which they differ.""",
    ),
    (
        "code",
        (),
        """def treatment():
    return classifier(
        layers.Conv2D(8, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    )


def baseline():
    return classifier(
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
    )


experiment = Experiment(
    "{name}",
    arms={{"treatment": treatment, "baseline": baseline}},
    epochs=by_scale(quick=2, full=6),
    batch_size=by_scale(quick=32, full=128),
    train_size=by_scale(quick=960, full=None),
    schedule="one_cycle",
    seeds=by_scale(quick=2, full=Stein()),
)
result = experiment.run()""",
    ),
    ("code", ("nbval-check-output",), "result"),
    (
        "code",
        ("hide-input",),
        """# FILL IN: the margin of claims.yml, and what the figure shows.
figures.compare(
    result,
    baseline="baseline",
    margin=0.005,
    alt="Test accuracy of the treatment and the baseline, with a mark for each seed.",
)""",
    ),
    ("markdown", (), "## The verdict"),
    ("code", (), 'settled = result.verdict("{name}")\nsettled'),
    ("code", ("remove-cell",), 'figures.glue_claims({{"verdict": settled}})'),
    (
        "markdown",
        (),
        """The claim: **{{glue:text}}`verdict-full`**.
FILL IN: what follows from it, and what does not.

## Exercises

**1.** FILL IN: a task.

:::{{dropdown}} Answer
FILL IN: its answer.
:::""",
    ),
)


def begin(name: str, root: Path = ROOT) -> list[Path]:
    """Write the entry, the notebook and the test of a new claim, all of them or nothing.

    Parameters
    ----------
    name : str
        The claim's id, and the name of its page and of its experiment: lower-case letters, digits
        and single hyphens between them, a letter first, at most 40 characters; not yet in use, and
        not a word that YAML reads as another value, such as ``null``.
    root : pathlib.Path
        The checkout.

    Returns
    -------
    list of pathlib.Path
        The files that were written: the ledger, the table of contents, the notebook, the test.

    Raises
    ------
    ClaimError
        If `name` is not as above, `root` is no checkout, or its table of contents has no page
        ``your-own-claim``.
    OSError
        If a file cannot be written; what was there before is restored.
    """
    load_ledger.cache_clear()
    plain = re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) and len(name) <= _LONGEST
    if not plain or yaml.safe_load(name) != name:
        raise ClaimError(
            f"name={name!r}; allowed are lower-case letters, digits and single hyphens between "
            f"them, a letter first, {_LONGEST} at most, such as 'large-batches'"
        )
    chapters = root / "chapters"
    ledger, contents = chapters / "claims.yml", root / "_toc.yml"
    notebook = chapters / f"{name}.ipynb"
    test = root / "tests" / f"test_{name.replace('-', '_')}.py"
    for path in (ledger, contents, test.parent):
        if not path.exists():
            raise ClaimError(f"root={str(root)!r} has no {path.name}; allowed is a checkout")
    _require_free(name, ledger, [notebook, notebook.with_suffix(".md"), test])
    texts = {
        ledger: _with_entry(ledger.read_text(encoding="utf-8"), name),
        contents: _with_page(contents.read_text(encoding="utf-8"), name),
        notebook: _notebook(name),
        test: _TEST.format(name=name),
    }
    _write(texts)
    load_ledger.cache_clear()
    return list(texts)


def _require_free(name: str, ledger: Path, paths: list[Path]) -> None:
    known = load_ledger(ledger)
    parts = (part for claim in known.values() for part in (*claim.parts, *claim.further))
    experiments = {part.experiment for part in parts if isinstance(part, Comparison)}
    taken = [str(path.relative_to(ledger.parents[1])) for path in paths if path.exists()]
    taken += [f"the claim {name} of {ledger.name}"] * (name in known)
    taken += [f"the experiment {name} of {ledger.name}"] * (name in experiments)
    results = ledger.with_name("results")
    taken += [f"results/{path.name}" for path in sorted(results.glob(f"{name}[.@]*jsonl"))]
    if taken:
        raise ClaimError(
            f"name={name!r}: there is {', '.join(taken)} already; allowed is a name that nothing "
            "has, since nothing is overwritten"
        )


def _with_entry(text: str, name: str) -> str:
    known = list(dict.fromkeys(entry["section"] for entry in yaml.safe_load(text)["claims"]))
    listed = f"FILL IN: its section of the ledger, one of {', '.join(known)}."
    sections = textwrap.fill(listed, 98, initial_indent="  # ", subsequent_indent="  # ")
    entry = _ENTRY.format(name=name, section=known[-1], sections=sections)
    return text.rstrip("\n") + "\n" + entry


def _with_page(text: str, name: str) -> str:
    found = re.search(rf"^( *- file: ){re.escape(_BEHIND)}$", text, re.M)
    if not found:
        raise ClaimError(f"_toc.yml lists no {_BEHIND}, behind which the new page would go")
    return f"{text[: found.end()]}\n{found[1]}chapters/{name}{text[found.end() :]}"


def _notebook(name: str) -> str:
    new = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    title = name.replace("-", " ").capitalize()
    cells = []
    for number, (kind, tags, text) in enumerate(_CELLS):
        cell = new[kind](text.format(name=name, title=title), id=f"{name}-{number:02}")
        if "figures.compare(" in text:
            cell.metadata["mystnb"] = {"figure": {"caption": _CAPTION}}
        if tags:
            cell.metadata["tags"] = list(tags)
        cells.append(cell)
    made = nbformat.v4.new_notebook(cells=cells)
    # Without a hash of its code it counts as one that was never stored, which it was not.
    made.metadata.update(kernelspec=notebooks.KERNEL, language_info=notebooks.LANGUAGE)
    return nbformat.writes(made) + "\n"


def _write(texts: dict[Path, str]) -> None:
    """Write files; if one of them cannot be written, leave all as they were."""
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    halves = {path: path.with_name(f".{path.name}.half") for path in texts}
    replaced = []
    try:
        for path, text in texts.items():
            halves[path].write_text(text, encoding="utf-8", newline="\n")
        (ledger, *_) = texts
        load_ledger(halves[ledger])
        for path, half in halves.items():
            replaced.append(path)
            os.replace(half, path)
    except BaseException:
        for path in replaced:
            if before[path] is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(before[path])
        raise
    finally:
        for half in halves.values():
            half.unlink(missing_ok=True)


def main(arguments=None) -> int:
    """Begin a claim and say what is left to do; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.commands.claim",
        description="Begin a claim: its entry in the ledger, a notebook that runs, and a test.",
    )
    parser.add_argument("name", nargs="?", help="the claim's id, such as large-batches")
    name = parser.parse_args(arguments).name
    if name is None:
        parser.error("it needs a name: make claim NAME=large-batches")
    try:
        written = begin(name)
    except (ClaimError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in written:
        with contextlib.suppress(ValueError):  # Windows: it is on another drive.
            path = Path(os.path.relpath(path))
        print(f"written: {path}")
    print(
        f"""
Next:
  1. Write the claim, its part and its margin at the end of chapters/claims.yml, and commit it.
     git grep --untracked -n "{MARK}" chapters tests/{written[-1].name}
     lists what to replace, there and in the other files.
  2. Put your two arms into the notebook: .venv/bin/jupyter lab chapters/{name}.ipynb
  3. make notebooks NOTEBOOK=chapters/{name}.ipynb    runs it at quick scale, in half a minute
  4. make results CLAIM={name} PLAN=1    says what the verdict costs; without PLAN=1 it is trained
  5. make notebooks NOTEBOOK=chapters/{name}.ipynb, and with claims.ipynb, show the verdict;
     make cards draws it into the picture of the first page
  6. make test-fast, and .venv/bin/python -m pytest {written[-1].relative_to(ROOT)}
To take it back, delete the entry, the page's line in _toc.yml, the notebook and the test."""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
