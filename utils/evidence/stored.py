"""What a stored notebook tells other programs, read from its file as plain JSON.

A notebook that was run shows its results, and a result's output has metadata: what a record must
match to count, and how a claim came out. Together with a hash of the code behind these outputs,
they tell what is recorded and what is missing, without a kernel or TensorFlow.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utils.checked import checked, shown
from utils.evidence.records import Requirements

# Where a notebook's metadata has the hash of the code that its outputs come from.
CODE_KEY = "code_hash"
# And that of these outputs: nobody types over what a run has given.
OUTPUTS_KEY = "outputs_hash"


@dataclass(frozen=True)
class Page:
    """What the outputs of one notebook tell.

    Attributes
    ----------
    requirements : dict of str to Requirements
        For each experiment whose result it shows, by name, what its records must match to count.
    exclusive : frozenset of str
        Names of the experiments whose runs are trained one after the other.
    quick : dict of str to str
        For each claim that it settles, by id, how the quick runs came out, in words.
    stored : bool
        False when it has never been stored by ``make notebooks``.
    current : bool
        True when its outputs were stored with the code that it has now.
    """

    requirements: dict[str, Requirements]
    exclusive: frozenset[str]
    quick: dict[str, str]
    stored: bool
    current: bool

    @classmethod
    @checked
    def read(cls, path: Path) -> "Page":
        """Read the file of a notebook; any other file raises ValueError."""
        return cls.of(_load(path))

    @classmethod
    @checked
    def of(cls, notebook: Mapping) -> "Page":
        """Read a notebook that is in memory, as JSON or nbformat give it."""
        outputs = _metadata(notebook)
        results = [metadata for metadata in outputs if "recorded" in metadata]
        required = [Requirements.from_metadata(metadata["recorded"]) for metadata in results]
        settled = [metadata["settled"] for metadata in outputs if "settled" in metadata]
        hash_then = notebook.get("metadata", {}).get(CODE_KEY)
        return cls(
            requirements={each.experiment: each for each in required},
            exclusive=frozenset(
                each["recorded"]["experiment"] for each in results if each.get("exclusive")
            ),
            quick={claim["claim"]: claim["quick"] for claim in settled},
            stored=hash_then is not None,
            current=hash_then == code_hash(notebook),
        )


@checked
def stored_metadata(path: Path) -> list[dict]:
    """Read the metadata of a notebook's stored outputs.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    list of dict
        Those that are not empty, in the order of the cells. ``recorded`` tells what a record has
        to match to count, and ``settled`` how a claim came out.
    """
    return _metadata(_load(path))


@checked
def code_hash(notebook: Mapping) -> str:
    """Hash a notebook's code.

    Parameters
    ----------
    notebook : mapping
        As JSON or nbformat give it.

    Returns
    -------
    str
        Twelve hexadecimal digits of the SHA-256 of the text of its code cells, in their order.
        Prose, outputs, tags and execution counts do not matter.
    """
    cells = [cell["source"] for cell in _cells(notebook) if cell["cell_type"] == "code"]
    texts = [text if isinstance(text, str) else "".join(text) for text in cells]
    return hashlib.sha256(json.dumps(texts).encode("utf-8")).hexdigest()[:12]


def outputs_hash(notebook: Mapping) -> str:
    """Hash a notebook's outputs.

    Parameters
    ----------
    notebook : mapping
        As JSON or nbformat give it.

    Returns
    -------
    str
        Twelve hexadecimal digits of the SHA-256 of all outputs, pictures included, in the order of
        their cells.
    """

    def joined(part: object) -> object:
        """Join the lines that a text is stored in."""
        if isinstance(part, Mapping):
            return {name: joined(value) for name, value in part.items()}
        if isinstance(part, list) and part and all(isinstance(line, str) for line in part):
            return "".join(part)
        return [joined(each) for each in part] if isinstance(part, list) else part

    outputs = [joined(cell.get("outputs", [])) for cell in notebook["cells"]]
    text = json.dumps(outputs, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def _load(path: Path) -> dict:
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        _cells(notebook)
        return notebook
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path={shown(str(path))} is no notebook ({error})") from error


def _cells(notebook: Mapping) -> list:
    """Return the cells of a notebook, as far as it is one."""
    cells = notebook.get("cells") if isinstance(notebook, Mapping) else None
    if not isinstance(cells, list) or not all(
        isinstance(cell, Mapping)
        and "cell_type" in cell
        and isinstance(cell.get("source"), (str, list))
        for cell in cells
    ):
        raise ValueError(
            f"notebook={shown(notebook)}; allowed is one with cells that have a cell_type and a "
            "source"
        )
    return cells


def _metadata(notebook: Mapping) -> list[dict]:
    outputs = [output for cell in _cells(notebook) for output in cell.get("outputs", ())]
    return [output["metadata"] for output in outputs if output.get("metadata")]
