"""What a notebook defines, without running it: its experiments, and what it stored.

An experiment stands in a notebook among pictures and demonstrations that take time. Here only the
statements are executed that its definition is made of. Nothing is trained: a statement that calls
``run`` or ``recorded`` is passed over, and its experiment looked at in its place.
"""

import ast
import contextlib
import dis
import linecache
import os
from dataclasses import dataclass
from inspect import iscode
from pathlib import Path
from types import CodeType

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

_RUNNERS = ("run", "recorded")

# Statements after which a name has a new value for certain; the body of a loop may not run.
_REPLACING = (
    ast.Assign,
    ast.AnnAssign,
    ast.AugAssign,
    ast.FunctionDef,
    ast.ClassDef,
)


class DefinitionError(RuntimeError):
    """The experiments of a notebook cannot be read without running it."""


def stored_metadata(path) -> list[dict]:
    """Read what the stored outputs of a notebook say to other programs.

    Parameters
    ----------
    path : path
        The notebook.

    Returns
    -------
    list of dict
        The metadata of its outputs, in the order of the cells. ``recorded`` in it says what a
        record has to match to count, and ``settled`` how a claim came out.
    """
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return [output["metadata"] for output in outputs if output.get("metadata")]


def recorded_in(path) -> dict:
    """Find the experiments of a notebook, and their full-scale runs that count.

    Parameters
    ----------
    path : path
        The notebook. Its code is executed as far as experiments are made of it.

    Returns
    -------
    dict of str to utils.experiment.Recorded
        By the name of the experiment: what ``recorded`` returns in the place where the notebook
        first hands the experiment to ``run`` or ``recorded``, or else at its end.

    Raises
    ------
    DefinitionError
        When a cell is not Python, or a statement that an experiment needs fails. So it does
        where an experiment is made of the runs of another one.

    Notes
    -----
    What an experiment needs follows from names. That a thing was changed by a function that it was
    handed to, or under another name, is not seen.
    """
    path = Path(path).resolve()  # From the notebook's folder, a relative one leads elsewhere.
    # What only reads stored outputs should not start TensorFlow.
    from utils.experiments.run import Experiment, recorded

    found = {}

    def look_at(value):
        if isinstance(value, Experiment) and value.name not in found:
            found[value.name] = recorded(value)

    # As in a kernel, what is defined here has no module that it could be imported from.
    namespace = {"__name__": "__main__"}
    with _inside(path.parent):
        for statement in _needed(_statements(path)):
            with _named(statement.place):
                if not statement.handed:
                    exec(statement.code, namespace)
                for expression in statement.handed:
                    with contextlib.suppress(NameError):  # A loop's variable: see the end.
                        look_at(eval(expression, namespace))
        for name, value in list(namespace.items()):
            inner = value.values() if isinstance(value, dict) else value
            for each in inner if isinstance(value, (dict, list, tuple)) else [value]:
                with _named(f"{path.name}, {name}"):
                    look_at(each)
    return found


@contextlib.contextmanager
def _inside(folder: Path):
    """Work in the folder of the notebook, as its kernel does."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _named(place: str):
    """Say of an error where it arose."""
    try:
        yield
    except Exception as error:
        raise DefinitionError(f"{place}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, eq=False)
class _Statement:
    """One statement of a notebook.

    ``now`` are the names that it reads, ``later`` those that the functions in it read when they
    are called. ``handed`` are the expressions that it hands to ``run`` or ``recorded``; in such a
    statement nothing else counts.
    """

    node: ast.stmt
    code: CodeType
    place: str
    binds: frozenset
    changes: frozenset
    now: frozenset
    later: frozenset
    handed: tuple

    @property
    def defines(self) -> bool:
        """True when an experiment is made in it, or handed on."""
        return bool(self.handed) or any(
            isinstance(node, ast.Call) and _called(node) == "Experiment"
            for node in ast.walk(self.node)
        )


def _statements(path) -> list[_Statement]:
    path, statements = Path(path), []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type != "code":
            continue
        place = f"{path.name}, cell {number}"
        source = TransformerManager().transform_cell(cell.source)
        # A fingerprint needs the source of each function, and takes it from here.
        file = f"<{path.resolve()}, cell {number}>"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        try:
            nodes = ast.parse(source).body
            statements += [_statement(node, place, file) for node in nodes]
        except SyntaxError as error:
            raise DefinitionError(f"{place}: SyntaxError: {error}") from error
    return statements


def _statement(node: ast.stmt, place: str, file: str) -> _Statement:
    def compiled(tree, mode):
        return compile(tree, file, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    def expression(part):
        return compiled(ast.Expression(part), "eval")

    code = compiled(ast.Module([node], []), "exec")
    parts = list(_outside_functions(node))
    handed = tuple(
        expression(call.args[0])
        for call in parts
        if isinstance(call, ast.Call) and call.args and _called(call) in _RUNNERS
    )
    # What a loop goes through has to be there too, for the look at the end.
    loops = tuple(expression(loop.iter) for loop in parts if isinstance(loop, ast.For))
    now, later = _reads((*handed, *loops) if handed else (code,))
    return _Statement(
        node=node,
        code=code,
        place=f"{place}, line {node.lineno}",
        binds=frozenset(_names(code, "STORE")),
        changes=frozenset(_changed(node)),
        now=now,
        later=later,
        handed=handed,
    )


def _reads(codes: tuple) -> tuple[frozenset, frozenset]:
    """Find the names that code reads, and those that the functions in it read."""
    now, later = set(), set()
    for code in codes:
        now |= _names(code, "LOAD")
        inner = [each for each in code.co_consts if iscode(each)]
        later |= set().union(*_reads(tuple(inner))) if inner else set()
    return frozenset(now), frozenset(later)


def _names(code: CodeType, what: str) -> set[str]:
    wanted = (f"{what}_NAME", f"{what}_GLOBAL")
    found = [each for each in dis.get_instructions(code) if each.opname in wanted]
    return {each.argval for each in found}


def _called(call: ast.Call) -> str | None:
    return call.func.id if isinstance(call.func, ast.Name) else None


def _outside_functions(node: ast.AST):
    """Walk through a statement, but not into the functions that it defines."""
    yield node
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def _changed(node: ast.stmt):
    """Find the names whose values a statement changes: ``a[0] = 1``, ``a.b = 1``, ``a.add(1)``."""
    for each in _outside_functions(node):
        place = None
        if isinstance(each, (ast.Subscript, ast.Attribute)) and not isinstance(each.ctx, ast.Load):
            place = each
        elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Call):
            place = each.value.func
        if isinstance(place, (ast.Subscript, ast.Attribute)):
            while isinstance(place, (ast.Subscript, ast.Attribute, ast.Call)):
                place = place.func if isinstance(place, ast.Call) else place.value
            if isinstance(place, ast.Name):
                yield place.id


def _needed(statements: list[_Statement]) -> list[_Statement]:
    """Choose the statements that experiments are made of, in their order."""
    used = [position for position, each in enumerate(statements) if each.defines]
    # A function reads what is there when it is called: where the experiment is used.
    waiting, chosen = [(position, position) for position in used], set()
    while waiting:
        position, use = waiting.pop()
        if (position, use) not in chosen:
            chosen.add((position, use))
            one = statements[position]
            for name in one.now | one.later:
                waiting += [(found, use) for found in _sources(statements, name, position)]
            for name in one.later:
                waiting += [(found, use) for found in _sources(statements, name, use)]
    return [statements[position] for position in sorted({position for position, _ in chosen})]


def _sources(statements: list[_Statement], name: str, end: int) -> list[int]:
    """Find the statements before a place that made the value that a name has there."""
    found, changes = [], []
    for position in reversed(range(end)):
        one = statements[position]
        if one.handed:
            continue
        if name in one.binds:
            found.append(position)
            # What is called in an imported module mostly draws or checks: it changes nothing.
            if isinstance(one.node, (ast.Import, ast.ImportFrom)):
                return found
            if isinstance(one.node, _REPLACING):
                break
        elif name in one.changes:
            changes.append(position)
    return found + changes
