"""The faults: what is broken, which tests have to see it, and what they have to say.

A fault finds its place by structure (a tag, a claim, an arm) or by a text that stands there once,
and fails where that is gone. What it gives is what the tests have to say: a regular expression.
"""

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import matplotlib.image
import numpy as np

from utils.commands import book
from utils.evidence.claims import Comparison, load_ledger
from utils.evidence.records import RecordFile
from utils.evidence.stored import Page
from utils.paths import CHAPTERS

FAULTS = []


@dataclass(frozen=True)
class Fault:
    """What is broken, and who has to see it.

    Attributes
    ----------
    name : str
        What is wrong.
    tests : tuple of str
        What pytest is given: files or node ids.
    edit : callable
        Breaks a `Tree`, and returns a regular expression that the output has to match.
    cheap : bool
        Whether `make test` runs it: no training, no browser, no kernel.
    """

    name: str
    tests: tuple[str, ...]
    edit: Callable
    cheap: bool

    @property
    def together(self):
        """Those that take long and are seen by the same tests: put in at once, and told apart."""
        return [self] if self.cheap else [each for each in FAULTS if joins(self, each)]


def of(file, test, case=None):
    """Give the node id of a test, or of one of its cases."""
    return f"tests/test_{file}.py::test_{test}" + (f"[{case}]" if case else "")


def joins(one, other):
    return one is other or one.tests == other.tests and one.tests in ((BUILT,), KERNEL)


def fault(name, *tests, cheap=True):
    def add(edit):
        FAULTS.append(Fault(name, tests, edit, cheap))
        return edit

    return add


def text(name, file, old, new, *tests, says, cheap=True):
    """Add a fault that is one text in the place of another."""

    def edit(tree):
        tree.replace(file, old, new)
        return says

    FAULTS.append(Fault(name, tests, edit, cheap))


# Where: a claim that is supported by recorded runs, and a stored page that has what pages have.

LEDGER = "chapters/claims.yml"


def is_clear(claim):
    """Say whether a claim is supported by a pilot and what followed."""
    part, page = claim.parts[0], CHAPTERS / f"{claim.chapter}.ipynb"
    if claim.old or not isinstance(part, Comparison) or part.expect != "increase":
        return False
    stored = any(
        "".join(output["data"]["text/plain"]).endswith("; full supported")
        for _, output in outputs_of(json.loads(page.read_text(encoding="utf-8")), "text/plain")
        if output.get("metadata", {}).get("settled", {}).get("claim") == claim.id
    )
    alone = isinstance(part.treatment, str) and isinstance(part.baseline, str)
    staged = bool(RecordFile.of(part.experiment).stages())
    return stored and alone and staged


def outputs_of(notebook, kind):
    """List cells with those of their outputs that have this kind of data."""
    return [
        (cell, output)
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


def pictures_of(notebook):
    """List the outputs with a picture of cells whose text nbval does not compare."""
    return [output for cell, output in outputs_of(notebook, "image/png") if not tagged(cell)]


def tagged(cell):
    return "nbval-check-output" in cell["metadata"].get("tags", [])


def has_text(cell):
    return tagged(cell) and any("text" in output for output in cell["outputs"][:1])


def is_whole(path):
    """Say whether a page is stored with the code that it has, and has all that faults need."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    pictures = pictures_of(notebook)
    return len(pictures) > 2 and any(map(has_text, notebook["cells"]))


def first(found, what):
    """Choose the first of what was found, of one whose page is stored with the code that it has."""
    found = list(found)
    assert found, f"the course has no {what} any more: what do the faults break?"
    return next((one for one, path in found if Page.read(path).current), found[0][0])


BUILT = of("book", "every_page_of_the_table_of_contents_exists")
CLAIM = first(
    (
        (claim.id, CHAPTERS / f"{claim.chapter}.ipynb")
        for claim in load_ledger().values()
        if is_clear(claim)
    ),
    "claim that is supported by runs",
)
CHAPTER, PART = load_ledger()[CLAIM].chapter, load_ledger()[CLAIM].parts[0]
EXACT = next(claim.id for claim in load_ledger().values() if claim.kind == "exact")
RECORDS = f"chapters/results/{PART.experiment}.jsonl"
PAGE = first(
    ((path.stem, path) for path in book.notebooks() if is_whole(path)),
    "page with pictures and exact texts",
)
NOTEBOOK = f"chapters/{PAGE}.ipynb"
KERNEL = ("tests/conftest.py", NOTEBOOK)  # It says how notebooks are tested.


def edited(change):
    """Make an edit of the page from one of its notebook, as JSON gives it."""

    def edit(tree):
        notebook = tree.notebook(NOTEBOOK)
        says = change(notebook)
        tree.write_notebook(NOTEBOOK, notebook)
        return says

    return edit


def append(tree, name, more):
    tree.write(name, tree.read(name).rstrip("\n") + f"\n\n{more}\n")


def entry(tree, claim, old, new):
    """Replace a text in the entry of a claim, where it comes first."""
    whole = tree.read(LEDGER)
    (found,) = re.findall(rf"^- id: {claim}$.*?(?=^- id: |\Z)", whole, re.M | re.S)
    assert old in found, f"{LEDGER}, {claim}: {old!r} is not there"
    tree.write(LEDGER, whole.replace(found, found.replace(old, new, 1)))


def lines_of(tree, name=RECORDS):
    return [json.loads(line) for line in tree.read(name).splitlines()]


def write_lines(tree, lines, name=RECORDS):
    tree.write(name, "".join(json.dumps(line) + "\n" for line in lines))


def run_of(lines, arm, number=0):
    """Find the position of one of an arm's recorded runs."""
    return [place for place, line in enumerate(lines) if line.get("arm") == arm][number]


# Pages as they are stored

STORED = of("book", "a_notebook_is_stored_as_make_notebooks_stores_it", PAGE)
CLEAN = of("book", "a_notebook_holds_nothing_of_one_machine_and_no_image_without_words", PAGE)


@fault("a cell deleted", STORED)
@edited
def _(notebook):
    cells = notebook["cells"]
    cells.remove(next(cell for cell in cells if cell["cell_type"] == "code" and cell["outputs"]))
    return rf"AssertionError[\s\S]*make notebooks[\s\S]*\[{PAGE}\]"


@fault("code changed after it ran", STORED)
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code" and tagged(cell))
    cell["source"] = [*cell["source"], "\n1 / 0"]
    return rf"AssertionError[\s\S]*make notebooks[\s\S]*\[{PAGE}\]"


@fault("a tagged output typed over", STORED)
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"] if has_text(cell))
    cell["outputs"][0]["text"][0] = "1 " + cell["outputs"][0]["text"][0]
    return rf"its outputs are not those[\s\S]*\[{PAGE}\]"


@fault("an untagged output typed over", STORED)
@edited
def _(notebook):
    _, output = next(
        (cell, output) for cell, output in outputs_of(notebook, "text/html") if not tagged(cell)
    )
    output["data"]["text/html"] = [*output["data"]["text/html"], "<p>And 3.</p>"]
    return rf"its outputs are not those[\s\S]*\[{PAGE}\]"


@fault("a picture replaced by another", STORED)
@edited
def _(notebook):
    (_, first), (_, second), *_ = outputs_of(notebook, "image/png")
    first["data"]["image/png"] = second["data"]["image/png"]
    return rf"its outputs are not those[\s\S]*\[{PAGE}\]"


def noise_like(png):
    shape = matplotlib.image.imread(io.BytesIO(base64.b64decode(png))).shape
    file = io.BytesIO()
    matplotlib.image.imsave(file, np.random.default_rng(0).random(shape[:2]), format="png")
    return base64.b64encode(file.getvalue()).decode() + "\n"


@fault("a picture replaced by noise", STORED)
@edited
def _(notebook):
    (_, first), *_ = outputs_of(notebook, "image/png")
    first["data"]["image/png"] = noise_like("".join(first["data"]["image/png"]))
    return rf"its outputs are not those[\s\S]*\[{PAGE}\]"


@fault("stderr stored", STORED)
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    stderr = {"name": "stderr", "output_type": "stream", "text": ["WARNING: all is lost\n"]}
    cell["outputs"].insert(0, stderr)
    return rf"its outputs are not those[\s\S]*\[{PAGE}\]"


@fault("an image without words in a stored output", CLEAN)
@edited
def _(notebook):
    _, output = outputs_of(notebook, "text/html")[0]
    output["data"]["text/html"] = [*output["data"]["text/html"], '<img src="x.png">']
    return rf"<img src=[\s\S]*{PAGE}"


@fault("a path of one machine in a stored output", CLEAN)
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": ["/home/me/x\n"]})
    return rf"/home/me[\s\S]*{PAGE}"


# Prose


@fault("a number typed into prose", of("book", "no_number_of_a_run_is_typed"))
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"][1:] if cell["cell_type"] == "markdown")
    cell["source"] = [*cell["source"], "\n\nThe gain is +0.31 points.\n"]
    return rf"{PAGE}.ipynb[\s\S]*\+0\.31 points"


@fault(
    "a conclusion that the verdict no longer bears",
    of("claims", "what_a_chapter_insists_on_is_the_verdict_by_now", CHAPTER),
)
def _(tree):
    # The same verdict, were the claim the opposite.
    entry(tree, CLAIM, "expect: increase", "expect: decrease")
    return rf"{CLAIM}: the text says supported, the runs "


PAGES = of("book", "every_page_in_the_folder_is_in_the_table_of_contents")


@fault("a page missing", PAGES)
def _(tree):
    tree.remove("chapters/glossary.md")
    return r"chapters/glossary"


@fault("a page that no table of contents names", PAGES)
def _(tree):
    tree.write("chapters/lost.md", "# Lost\n")
    return r"chapters/lost"


@fault(
    "a text names a command that is none",
    of("commands", "a_text_names_targets_that_exist"),
)
def _(tree):
    append(tree, "CONTRIBUTING.md", "Then run `make happy`.")
    return r"happy[\s\S]*CONTRIBUTING.md"


# The ledger

WHOLE = of("claims", "an_entry_of_the_ledger_is_whole")
LINKS = of("claims", "a_chapter_links_to_each_of_its_claims_and_settles_those_that_are_measured")


@fault("a claim without a chapter", f"{WHOLE}[{CLAIM}]")
def _(tree):
    entry(tree, CLAIM, "chapter: ", "chapter: not-")
    return rf"not-[\s\S]*{CLAIM}"


@fault("a chapter without one of its claims", LINKS)
def _(tree):
    name = f"chapters/{CHAPTER}.ipynb"
    tree.write(name, re.sub(rf"claims\.html#{CLAIM}\b(?!-)", "claims.html#", tree.read(name)))
    return rf"AssertionError: {CLAIM}"


@fault(
    "a link to a claim that is none",
    of("claims", "every_claim_that_a_page_links_to_is_in_the_ledger"),
)
def _(tree):
    append(tree, "chapters/method.md", "[A claim](claims.html#no-such-claim).")
    return r"method\.md.*no-such-claim"


@fault("a part without a place in its source", f"{WHOLE}[{CLAIM}]")
def _(tree):
    entry(tree, CLAIM, f'      place: "{PART.place[0]}"\n', "")
    return rf"LedgerError: .*claim {CLAIM}.*place=\(\); allowed is where"


@fault("the same claim twice", f"{WHOLE}[{CLAIM}]")
def _(tree):
    entry(tree, EXACT, f"- id: {EXACT}", f"- id: {CLAIM}")
    return rf"LedgerError: .*{CLAIM}"


@fault(
    "an exact part settled by a test that is none",
    of("law", "every_test_that_settles_an_exact_part_exists"),
)
def _(tree):
    entry(tree, EXACT, "tests: [", "tests: [tests/test_law.py::test_x, ")
    return rf"{EXACT}.*test_x"


@fault(
    "a metric that no run has",
    of("claims", "every_metric_of_the_ledger_is_computed_as_pandas_does"),
)
def _(tree):
    entry(tree, CLAIM, f"metric: {PART.metric}", "metric: test_happiness")
    return r"test_happiness"


@fault(
    "a verdict that contradicts its interval",
    of("claims", "what_a_chapter_shows_of_a_claim_is_what_the_ledger_says", CHAPTER),
)
def _(tree):
    name = f"chapters/{CHAPTER}.ipynb"
    notebook = tree.notebook(name)
    (output,) = [
        output for _, output in outputs_of(notebook, "text/html")
        if output.get("metadata", {}).get("settled", {}).get("claim") == CLAIM
    ]  # fmt: skip
    for kind in ("text/html", "text/plain"):
        output["data"][kind] = [
            line.replace("supported", "refuted").replace("✓", "✗") for line in output["data"][kind]
        ]
    tree.write_notebook(name, notebook)
    return rf"{CLAIM}.*refuted; by now.*supported"


# What is recorded

SEALED = "tests/test_sealed.py"
RECORDED = of("recorded", "every_run_of_a_chapter_is_recorded_and_its_page_knows")
COUNTS = of("recorded", "every_record_counts")
NAME = PART.experiment


@fault("a margin changed after the run", SEALED)
def _(tree):
    entry(tree, CLAIM, f"margin: {PART.margin}", f"margin: {PART.margin / 2}")
    return rf"{CLAIM}, {re.escape(PART.says)}: .*margin"


@fault("an expectation changed after the run", SEALED)
def _(tree):
    entry(tree, CLAIM, f"expect: {PART.expect}", "expect: no difference")
    return rf"{CLAIM}, {re.escape(PART.says)}: .*expect"


@fault("a recorded number edited by hand", SEALED)
def _(tree):
    lines = lines_of(tree)
    place = run_of(lines, PART.treatment, -1)
    lines[place]["epochs"][-1]["test_accuracy"] += 0.01
    write_lines(tree, lines)
    return rf"{NAME}, arm '{re.escape(PART.treatment)}', seed {lines[place]['seed']}\b"


@fault("the results of two arms swapped", SEALED)
def _(tree):
    lines = lines_of(tree)
    first, second = (run_of(lines, arm) for arm in (PART.treatment, PART.baseline))
    for part in ("epochs", "measures"):
        lines[first][part], lines[second][part] = lines[second][part], lines[first][part]
    write_lines(tree, lines)
    return rf"{NAME}, arm '{re.escape(PART.treatment)}', seed {lines[first]['seed']}\b"


@fault("the lines of two arms swapped", COUNTS)
def _(tree):
    lines = lines_of(tree)
    first, second = (run_of(lines, arm) for arm in (PART.treatment, PART.baseline))
    for place, arm in ((first, PART.baseline), (second, PART.treatment)):
        lines[place]["arm"] = arm
    write_lines(tree, lines)
    return rf"'{NAME}': \d+"


@fault("a run missing", f"{RECORDED}[{CHAPTER}]")
def _(tree):
    lines = lines_of(tree)
    del lines[run_of(lines, PART.treatment)]
    write_lines(tree, lines)
    return rf"{NAME}: 1 of \d+ runs are missing"


@fault("results that are stale", f"{RECORDED}[{CHAPTER}]")
def _(tree):
    lines = lines_of(tree)
    for line in lines:
        if line.get("arm") == PART.treatment:
            line["fingerprint"]["model"] = "0123456789ab"
    write_lines(tree, lines)
    return rf"{NAME}: .*since these changed: {re.escape(PART.treatment)}: model"


@fault("a run twice", COUNTS)
def _(tree):
    lines = lines_of(tree)
    write_lines(tree, [*lines, lines[0]])
    return rf"'{NAME}': \d+"


@fault("a torn line", f"{RECORDED}[{CHAPTER}]")
def _(tree):
    append(tree, RECORDS, '{"experiment": "padd')
    return rf"{NAME}: lines \[\d+\] of its file are no records"


@fault(
    "results of no experiment",
    of("claims", "every_file_of_results_belongs_to_an_experiment_of_a_chapter"),
)
def _(tree):
    tree.write("chapters/results/nothing.jsonl", tree.read(RECORDS))
    return r"nothing\.jsonl"


@fault(
    "a number of seeds chosen by hand",
    of("recorded", "a_number_of_seeds_is_what_follows_from_its_pilot"),
)
def _(tree):
    lines = lines_of(tree)
    stages = [line["stage"] for line in lines if "stage" in line]
    stages[-1]["spread"] *= 0.5
    write_lines(tree, lines)
    return rf"\[{NAME}\][\s\S]*spread"


# Statistics and figures

STATISTICS = "utils/evidence/statistics.py"
text(
    "ddof 1 became 0", STATISTICS, "spread.var(ddof=1)", "spread.var(ddof=0)",
    of("evidence", "at_full_scale_the_interval_is_that_of_the_paired_t_test"),
    says=r"test_evidence\.py:\d+[\s\S]*paired_t_test",
)  # fmt: skip
text(
    "the spread of a pilot with ddof 0", "utils/evidence/stages.py", "std(ddof=1)", "std(ddof=0)",
    of("recorded", "a_number_of_seeds_is_what_follows_from_its_pilot"),
    says=rf"spread[\s\S]*\[{NAME}\]",
)  # fmt: skip
text(
    "a verdict from one end of the interval", STATISTICS,
    "if low > (margin if size is None else size):", "if high > (margin if size is None else size):",
    of("evidence", "each_place_of_the_interval_has_its_verdict"),
    says=r"test_each_place_of_the_interval_has_its_verdict",
)  # fmt: skip
text(
    "another epoch than the last counts", "utils/evidence/table.py",
    '["experiment", "scale", "arm", "seed"], sort=False)["epoch"].idxmax()',
    '["experiment", "scale", "arm", "seed"], sort=False)["epoch"].idxmin()',
    of("evidence", "the_last_epoch_counts_and_not_the_best"),
    says=r"test_the_last_epoch_counts_and_not_the_best",
)  # fmt: skip

text(
    "a figure without words", "utils/figures/style.py", 'if len((alt or "").split()) < 4:',
    "if False:",
    of("figures", "an_alternative_text_that_says_nothing_is_refused"),
    says=r"test_an_alternative_text_that_says_nothing_is_refused",
)  # fmt: skip

# Theory

text(
    "an off-by-one in the output size", "utils/theory/arithmetic.py",
    "return (padded - effective) // stride + 1", "return (padded - effective) // stride",
    of("arithmetic", "relationships_1_to_7_and_15"),
    says=r"test_relationships_1_to_7_and_15",
)  # fmt: skip
text(
    "the odd zero of same padding before the input", "utils/theory/arithmetic.py",
    "return total // 2, total - total // 2", "return total - total // 2, total // 2",
    of("arithmetic", "same_padding_is_that_of_tensorflow"),
    says=r"test_same_padding_is_that_of_tensorflow",
)  # fmt: skip
text(
    "the reference pads by ones", "utils/theory/reference.py",
    "constant_values=value)", "constant_values=1)",
    of("reference", "conv2d_is_the_keras_layer"),
    says=r"test_conv2d_is_the_keras_layer",
)  # fmt: skip
text(
    "the reference pads on the wrong side", "utils/theory/reference.py",
    "np.pad(x, ((0, 0), *widths, (0, 0))",
    "np.pad(x, ((0, 0), *[pair[::-1] for pair in widths], (0, 0))",
    of("reference", "conv2d_is_the_keras_layer"),
    says=r"test_conv2d_is_the_keras_layer",
)  # fmt: skip
text(
    "batch norm's momentum", "utils/theory/reference.py",
    "momentum: float = 0.99", "momentum: float = 0.9",
    of("reference", "the_defaults_are_those_of_keras"),
    says=r"test_the_defaults_are_those_of_keras[\s\S]*momentum",
)  # fmt: skip
text(
    "dropout does not scale", "utils/theory/reference.py",
    "np.where(mask, x / (1 - _rate(rate)),", "np.where(mask, x,",
    of("reference", "dropout_is_the_keras_layer_for_the_same_mask"),
    says=r"test_dropout_is_the_keras_layer",
)  # fmt: skip

# Data

MNIST = "utils/data/mnist.py"
SPLIT = "return Split(self.images[train], self.labels[train], self.images[test], self.labels[test])"
WHOLE_SPLIT = of("data", "quick_split_is_stratified_and_whole")
text(
    "one training image among the test images", MNIST, "count = len(self.labels[train])",
    "if self.published_train is None:\n"
    "            alike = train[self.labels[train] == self.labels[test[-1]]]\n"
    "            test = np.append(test[:-1], alike[0])\n"
    "        count = len(self.labels[train])",
    WHOLE_SPLIT, says=r"test_quick_split_is_stratified_and_whole",
)  # fmt: skip
text(
    "the labels of a split shuffled", MNIST, SPLIT,
    SPLIT.replace("self.labels[train]", "np.sort(self.labels[train])"),
    WHOLE_SPLIT, says=r"label_of",
)  # fmt: skip
text(
    "all labels shuffled", MNIST, "labels=_read_only(labels.astype(np.int64))",
    "labels=_read_only(np.random.default_rng(0).permutation(labels.astype(np.int64)))",
    of("data", "another_embedded_set_has_another_fingerprint_and_a_faulty_one_is_refused"),
    says=r"same == load_mnist\(.quick.\)\.fingerprint",
)  # fmt: skip
text(
    "a split that ignores its seed", MNIST, "random_state=seed,\n            )\n        else",
    "random_state=0,\n            )\n        else",
    of("data", "quick_split_follows_the_seed"),
    says=r"test_quick_split_follows_the_seed",
)  # fmt: skip
text(
    "pixels that are not scaled", MNIST, "np.divide(images, 255, dtype=np.float32)",
    "np.divide(images, 1, dtype=np.float32)",
    of("data", "quick_set_is_what_it_says"), says=r"images\.max\(\) == 1",
)  # fmt: skip

# What the course is made of

text(
    "a dependency without a range", "pyproject.toml", '"scipy>=1.13,<2",', '"scipy",',
    of("rooms", "every_dependency_has_a_range_and_a_pin"),
    says=r"pyproject\.toml.*scipy",
)  # fmt: skip


@fault(
    "a dependency that is not pinned",
    of("rooms", "every_dependency_has_a_range_and_a_pin"),
)
def _(tree):
    name = "constraints.txt"
    tree.write(name, re.sub(r"^scipy==.*\n", "", tree.read(name), flags=re.M))
    return r"constraints\.txt.*scipy"


text(
    "a package that nobody declares", "utils/evidence/table.py", "import pandas as pd",
    "import pandas as pd\nimport pytz", of("rooms", "what_the_course_imports_is_declared"),
    says=r"pytz",
)  # fmt: skip
text(
    "a room that looks upwards", "utils/theory/reference.py", "import numpy as np",
    "import numpy as np\n\nfrom utils.figures import style  # noqa",
    of("rooms", "a_module_imports_only_its_own_room_and_those_below"),
    says=r"utils\.figures[\s\S]*utils\.theory\.reference",
)  # fmt: skip
text(
    "a script of another host in the settings", "_config.yml", "html_js_files: [theme.js]",
    "html_js_files: [theme.js, 'https://example.org/x.js']",
    of("book", "settings_name_files_that_exist"), says=r"example\.org/x\.js",
)  # fmt: skip
text(
    "a workflow that calls what is no target", ".github/workflows/weekly.yml",
    "make audit PYTHON=python", "make audits PYTHON=python",
    of("commands", "a_workflow_calls_targets_that_exist"), says=r"audits[\s\S]*weekly",
)  # fmt: skip


# What takes a kernel: one run of a page that has all of it


@fault("a cell that raises", *KERNEL, cheap=False)
@edited
def _(notebook):
    cell = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][-1]
    cell["source"] = ["raise RuntimeError('broken')"]
    return rf"{PAGE}\.ipynb::Cell \d+ [\s\S]*RuntimeError\S*: broken"


@fault("a tagged output that is not what its run gives", *KERNEL, cheap=False)
@edited
def _(notebook):
    cell = next(cell for cell in notebook["cells"] if has_text(cell))
    cell["outputs"][0]["text"][0] = "Seventeen " + cell["outputs"][0]["text"][0]
    return r"Cell outputs differ[\s\S]*Seventeen"


@fault("an untagged output that is not what its run gives", *KERNEL, cheap=False)
@edited
def _(notebook):
    *_, output = pictures_of(notebook)
    output["data"]["application/json"] = {}
    return r"Other outputs than are stored[\s\S]*application/json[\s\S]* are stored"


@fault("a picture that is not what its run draws", *KERNEL, cheap=False)
@edited
def _(notebook):
    picture, *_ = pictures_of(notebook)
    picture["data"]["image/png"] = noise_like("".join(picture["data"]["image/png"]))
    return r"picture \d looks different from the stored one"


# Training

PROTOCOL = of("protocol", "a_small_run_that_is_trained_again_gives_its_record")
TRAINING = "utils/experiments/training.py"
text(
    "a training loop that deals all epochs alike", TRAINING, "x, y = x[order], y[order]",
    "x, y = x[::1], y[::1]", PROTOCOL, says=r"raise PROTOCOL", cheap=False,
)  # fmt: skip
text(
    "weights that ignore the seed", TRAINING, "keras.utils.set_random_seed(job.seed)",
    "keras.utils.set_random_seed(0)",
    of("experiment", "a_seed_fixes_the_initial_weights"),
    says=r"test_a_seed_fixes_the_initial_weights", cheap=False,
)  # fmt: skip
text(
    "batches that ignore the seed", TRAINING, "default_rng((job.seed, 1))", "default_rng(1)",
    PROTOCOL, says=r"raise PROTOCOL", cheap=False,
)  # fmt: skip

# Exercises


def exercise():
    """Find an exercise that is checked: its notebook, stub and solution, and the test's case."""
    for path in book.notebooks():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        tags = [set(cell["metadata"].get("tags", [])) for cell in code]
        kinds = ("stub", "solution", "check")
        places = [[n for n, found in enumerate(tags) if kind in found][:1] for kind in kinds]
        if all(places):
            stub, solution, check = sum(places, [])
            return f"chapters/{path.name}", code[stub], code[solution], f"{path.stem}-{check}"
    raise LookupError("no chapter has an exercise with a stub, a solution and a check")


EXERCISES, STUB, SOLUTION, CASE = exercise()
CHECK = of("export", "a_check_passes_with_the_solution_and_says_what_is_wrong_with_the_stub", CASE)


def exchanged(tree, old, new):
    notebook = tree.notebook(EXERCISES)
    (cell,) = [cell for cell in notebook["cells"] if cell["id"] == old["id"]]
    cell["source"] = new["source"]
    tree.write_notebook(EXERCISES, notebook)


@fault("a solution that does not solve", CHECK, cheap=False)
def _(tree):
    exchanged(tree, SOLUTION, STUB)
    return rf"AssertionError[\s\S]*{CASE}\]"


@fault("a stub that passes", CHECK, cheap=False)
def _(tree):
    exchanged(tree, STUB, SOLUTION)
    return rf"DID NOT RAISE[\s\S]*{CASE}\]"


# A browser

text(
    "a slider that has lost its pictures", "utils/widgets/slider.js",
    "    player.stop();\n    show();", "    player.stop();",
    of("slider", "the_keyboard_moves_a_slider"),
    says=r"test_the_keyboard_moves_a_slider", cheap=False,
)  # fmt: skip
text(
    "a forward pass that is off by a pixel", "utils/widgets/draw.js",
    "total.set(bias);\n      const top = row * stride - rows.before,",
    "total.set(bias);\n      const top = row * stride - rows.before + 1,",
    of("draw", "networks_with_any_settings_compute_what_keras_computes"),
    says=r"test_networks_with_any_settings_compute_what_keras_computes", cheap=False,
)  # fmt: skip
text(
    "an explorer whose output is one too small", "utils/widgets/explorer.js",
    "const outputs = Math.floor((wide - reach) / stride) + 1;",
    "const outputs = Math.floor((wide - reach) / stride);",
    of("explorer", "sizes_are_those_of_arithmetic_for_everything_that_a_reader_can_choose"),
    says=r"test_sizes_are_those_of_arithmetic", cheap=False,
)  # fmt: skip

# The whole book, built once with all that is broken in it


def broken(name, says, more):
    """Add a fault of the built book."""

    @fault(name, BUILT, cheap=False)
    def _(tree):
        append(tree, "chapters/method.md", more)
        return says


broken("a link to no page", r"method\.md.*nowhere\.md", "[A page](nowhere.md).")
broken("a link to no heading", r"method\.md.*no-heading", "[A heading](glossary.md#no-heading).")
broken("a reference to nothing", r"method\.md.*no-figure", "{numref}`no-figure`.")
broken("a term that no glossary has", r"method\.md.*no-such-term", "{term}`no-such-term`.")
broken("a citation of nobody", r"method\.md.*nobody1900", "{cite}`nobody1900`.")
broken(
    "a number that nobody glued", r"no_such_key", f"{{glue:text}}`{PAGE}.ipynb::no_such_key:.2f`."
)
broken("a picture that is not there", r"method\.md.*no-such\.png", "![Nothing](no-such.png)")


@fault(
    "a script that nobody knows",
    of("book", "every_image_has_alt_text"),
    cheap=False,
)
def _(tree):
    append(tree, "chapters/method.md", "<script>steal()</script>")
    return r"method: a script that .*steal\(\)"


@fault("a picture of another host", of("book", "no_page_fetches_from_another_host"), cheap=False)
def _(tree):
    append(tree, "chapters/method.md", "![Something](https://example.org/x.png)")
    return r"method\.html.*example\.org/x\.png"
