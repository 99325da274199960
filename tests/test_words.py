"""The words of the course: the field's own, the same on every page, in every figure and docstring.

`WORDS` has expressions that this course once used where the field has a term, which stands beside
each. `SHORT` has what may be said for short once the page has said the whole term. `EXCEPTIONS`
names the places where an expression means something else, or cannot be changed.
"""

import ast
import re
from functools import cache

import nbformat
import pytest
import yaml

from utils.commands import book
from utils.paths import CHAPTERS, ROOT

_MAP = r"(?:feature )?maps?\b"
WORDS = {
    r"\b(upright|lying) (edge|line|stroke|kernel)s?\b": "vertical, horizontal",
    r"\bturned (by|through|digits?|images?|copy|copies|\d)": "rotated by",
    r"\b(half|quarter)[- ]turn(s|ed)?\b|\bhalf a turn\b": "a rotation by 180 or 90 degrees",
    rf"\bplaces? (of|in|on) (a|an|the|its|each|every|one) ({_MAP}|image\b)": "location",
    r"\bplaces? (between|with \w+ channels)\b": "location",
    rf"\bsides? of (a|an|the|its|each|every|one) {_MAP}": "size",
    r"\b(bend|bends|bending)\b": "non-linearity",
    r"\bfold(s|ed|ing)? (the|an|each) (image|pixels)\b|\bfolded images?\b": "space-to-depth",
    r"\bsoft labels?\b": "label smoothing",
    r"\bhand-?overs?\b|\bhanding[- ]over\b": "per-step overhead",
    r"(?<!soft )\bvot(e|es|ed|ing)\b": "ensemble, soft voting",
    r"\bladders?\b": "cumulative ablation",
    r"\bplayers?\b": "interactive figure",
    r"\bestimated again\b|\bestimat(e|es|ing) [\w' ]{1,30} again\b": "recalibrated",
    r"\bunshared\b|\bkernels? of (one's|its|their) own\b": "locally connected",
    r"\banswers? (that (is|are) )?kept\b|\bkept answers?\b": "prediction consistency",
    r"\bshares? that (it|they) miss(es)?\b": "fraction of variance unexplained",
    r"\bimages a batch\b": "batch size 8",
    r"\b(parameter|number|weight|value|mean|bias)s? an? (channel|map|unit)\b": "one per channel",
    r"\bby heart\b": "memorises",
    r"\btrained shortly\b|\btrainings\b": "trained briefly, training runs",
    r"\bpowers? of two\b": "a factor, such as 1.23 times",
    r"\bwhere what stands\b|# to take away\b": "Project layout, Downloads",
}
SHORT = {
    r"(?<!feature )\bmaps?\b": r"\bfeature maps?\b",
    r"(?<!generalisation )\bgaps?\b": r"\bgeneralisation gaps?\b",
}

# Where, what, and why it may stand there.
EXCEPTIONS = {
    ("chapters/pooling.ipynb", "gaps"): "those between the strokes of a digit",
    ("chapters/map.md", "map"): "the map of the course",
    ("chapters/accessibility.md", "map"): "the map of the course",
    ("chapters/intro.md", "map"): "the map of the course",
    ("chapters/teaching.md", "map"): "the map of the course",
    ("utils/commands/notebooks.py", "kernel of its own"): "a kernel of Jupyter",
}

# Of the ledger, what a reader sees; the rest are names of experiments, arms and metrics.
_READ = set("says note statement settled_by section title kind objectives question".split())


def prose(text):
    """Leave the words of a text: no code, no name, no address."""
    text = re.sub(r"^```(?!{).*?^```", " ", text, flags=re.M | re.S)
    text = re.sub(r"{(?:term|doc|ref)}`([^`<]*)(?:<[^`]*>)?`", r"\1", text)
    text = re.sub(r"(?:{[\w:-]+})?(`+)[^`]+\1|<code>.*?</code>|\]\([^)]*\)", " ", text)
    return re.sub(r"\s+", " ", re.sub(r'https?://\S+|="[^"]*"', " ", text))


def read(entry):
    """Yield what a reader sees of a YAML file."""
    for name, value in entry.items() if isinstance(entry, dict) else enumerate(entry):
        if isinstance(value, (dict, list)) and name not in _READ:
            yield from read(value)
        elif name in _READ:
            yield from [value] if isinstance(value, str) else value


def labels(code):
    """Yield the strings of a program that may be read: labels, alternative texts, docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def docstrings(code):
    """Yield the docstrings of a module and of all in it that is public."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            if not getattr(node, "name", "").startswith("_"):
                yield ast.get_docstring(node) or ""


@cache
def texts():
    """Map the name of each file to what is read of it, in its order, and of code to its labels."""
    told = {}
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff"):
        told[name] = [(ROOT / name).read_text(encoding="utf-8")]
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    told["_toc.yml"] = [part["caption"] for part in toc["parts"]]
    for name in ("claims.yml", "course.yml"):
        content = yaml.safe_load((CHAPTERS / name).read_text(encoding="utf-8"))
        told[f"chapters/{name}"] = list(read(content))
    for page in book.pages():
        if (ROOT / f"{page}.md").is_file():
            told[f"{page}.md"] = [(ROOT / f"{page}.md").read_text(encoding="utf-8")]
            continue
        stored = nbformat.read(ROOT / f"{page}.ipynb", as_version=4).cells
        told[f"{page}.ipynb"] = [cell.source for cell in stored if cell.cell_type == "markdown"]
        below = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in stored]
        told[f"{page}.ipynb"] += [figure["caption"] for figure in below if figure]
        code = [cell.source for cell in stored if cell.cell_type == "code"]
        told[f"{page}.ipynb, code"] = [label for source in code for label in labels(source)]
    for path in sorted((ROOT / "utils").rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        told[path.relative_to(ROOT).as_posix()] = list(docstrings(code))
    for path in sorted((ROOT / "utils").rglob("*.js")):
        code = path.read_text(encoding="utf-8")
        code = re.sub(r"\$\{[^}]*\}|//.*", "", code)
        strings = re.findall(r'"([^"\n]* [^"\n]*)"|`([^`\n]* [^`\n]*)`', code)
        told[path.relative_to(ROOT).as_posix()] = list(map("".join, strings))
    for path in sorted((ROOT / "utils").rglob("*.html")):
        text = re.sub(r"<[^>]*>|{[%#].*?[%#]}", " ", path.read_text(encoding="utf-8"))
        told[path.relative_to(ROOT).as_posix()] = [text]
    return {name: list(map(prose, parts)) for name, parts in told.items()}


def found(expression, parts):
    return [match.group() for part in parts for match in re.finditer(expression, part, re.I)]


@pytest.mark.parametrize("expression", WORDS)
def test_the_course_says_it_in_the_words_of_the_field(expression):
    said = {
        (name.removesuffix(", code"), words)
        for name, parts in texts().items()
        for words in map(str.lower, found(expression, parts))
        if (name.removesuffix(", code"), words) not in EXCEPTIONS
    }
    assert said == set(), f"say: {WORDS[expression]}"


@pytest.mark.parametrize("expression", SHORT)
def test_a_page_says_a_term_in_full_before_it_is_said_for_short(expression):
    early = {}
    for name, parts in texts().items():
        text = " ".join(parts)
        short, full = (re.search(each, text, re.I) for each in (expression, SHORT[expression]))
        page = name.startswith("chapters/") and name.endswith((".md", ".ipynb"))
        if page and short and not (full and full.start() < short.start()):
            if (name, short.group().lower()) not in EXCEPTIONS:
                early[name] = text[max(0, short.start() - 40) : short.end() + 40]
    assert early == {}


def test_no_exception_has_outlived_what_it_is_for():
    every = [*WORDS, *SHORT]
    needed = {
        (name, words)
        for (name, words) in EXCEPTIONS
        if any(words in map(str.lower, found(each, texts()[name])) for each in every)
    }
    assert needed == set(EXCEPTIONS)


# What each expression is there to find, and what it has to leave alone.
SAID = {
    "the side of a map": True,
    "at each place of the feature map": True,
    "it is turned by 20 degrees": True,
    "it turned out well, and in turn we rotated it by 20 degrees": False,
    "8 images a batch": True,
    "soft voting": False,
    "the networks vote": True,
    "one bias a channel": True,
    "a kernel of its own": True,
    "in powers of two": True,
}


@pytest.mark.parametrize("text", SAID)
def test_an_expression_is_found_where_it_is_and_nowhere_else(text):
    assert any(found(each, [text]) for each in WORDS) == SAID[text]


def test_code_names_and_addresses_are_no_words():
    text = (
        "{term}`feature maps <map>` `player` {glue:text}`gap-full` [x](ladder.md)\n```\nvote\n```"
    )
    assert prose(text).split() == ["feature", "maps", "[x"]
    code = "def f():\n    'Draw a ladder.'\n    plot(alt='two players', key='gap')"
    assert list(labels(code)) == ["Draw a ladder.", "two players"]
    assert list(docstrings(code)) == ["", "Draw a ladder."]
