"""One tidy table for each experiment: a row for each run and epoch."""

import ast
import operator

import pandas as pd

from utils.checked import checked, shown

_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
}

_WANTED = {"arm", "seed", "epochs", "train_size", "test_size", "parameters", "measures"}

# What `table` puts in front of a run's metrics.
LEADING = ("experiment", "arm", "seed", "epoch", "scale", "train_size", "test_size")


@checked
def table(records: list[dict], name: str, scale: str) -> pd.DataFrame:
    """Turn records into one tidy table.

    Parameters
    ----------
    records : list of dict
        Finished runs, as `utils.evidence.records.RecordFile.read` gives them.
    name, scale : str
        Values of the columns ``experiment`` and ``scale``.

    Returns
    -------
    pandas.DataFrame
        One row for each run and epoch; without records only the leading columns.
    """
    rows = []
    for record in records:
        if not isinstance(record, dict) or not _WANTED <= record.keys():
            raise ValueError(f"records hold {shown(record)}; allowed are dicts with {_WANTED}")
        for epoch, metrics in enumerate(record["epochs"], start=1):
            row = {
                "experiment": name,
                "arm": record["arm"],
                "seed": record["seed"],
                "epoch": epoch,
                "scale": scale,
                "train_size": record["train_size"],
                "test_size": record["test_size"],
                "parameters": record["parameters"],
                **metrics,
            }
            if epoch == len(record["epochs"]):
                row.update(record["measures"])
            rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=LEADING)


@checked
def last_epoch(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep one row per run: that of its last epoch, never of its best.

    Parameters
    ----------
    frame : pandas.DataFrame
        From `table`, of one experiment or several.

    Returns
    -------
    pandas.DataFrame
        One row for each experiment, scale, arm and seed.
    """
    frame = frame.reset_index(drop=True)  # Tables that were joined repeat their row numbers.
    last = frame.groupby(["experiment", "scale", "arm", "seed"], sort=False)["epoch"].idxmax()
    return frame.loc[last].reset_index(drop=True)


@checked
def evaluate(frame: pd.DataFrame, expression: str) -> pd.Series:
    """Evaluate a metric that may be written as an expression of columns.

    Parameters
    ----------
    frame : pandas.DataFrame
        A tidy table.
    expression : str
        Names of columns, numbers, ``+ - * / < >`` and parentheses, such as
        ``train_accuracy - test_accuracy`` or ``test_accuracy < 0.5``.

    Returns
    -------
    pandas.Series
        One value for each row of `frame`: true or false if the expression is a comparison.

    Raises
    ------
    ValueError
        If the expression holds anything else, names no column, or names an unknown one.
    """
    unknown = [name for name in columns_of(expression) if name not in frame.columns]
    if unknown:
        raise ValueError(f"expression={expression!r}; the frame has {list(frame.columns)}")

    def value(node):
        match node:
            case ast.Name(id=name):
                return frame[name]
            case ast.Constant(value=number):
                return number
            case ast.UnaryOp(operand=operand):
                return -value(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return _OPERATORS[type(op)](value(left), value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _OPERATORS[type(op)](value(left), value(right))

    return value(ast.parse(expression, mode="eval").body)


def columns_of(expression: str) -> tuple[str, ...]:
    """Check an expression for `evaluate`, without evaluating it.

    Parameters
    ----------
    expression : str
        As for `evaluate`.

    Returns
    -------
    tuple of str
        The columns that it names, without repetition.

    Raises
    ------
    ValueError
        If the expression holds anything but what `evaluate` allows, or names no column.
    """
    allowed = ValueError(
        f"expression={expression!r}; allowed are names of columns, numbers, + - * / < > and "
        "parentheses, with at least one name"
    )
    try:
        tree = ast.parse(expression, mode="eval").body
        names = dict.fromkeys(_names(tree))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        raise allowed from None
    if not names:
        raise allowed
    return tuple(names)


def _names(node: ast.expr) -> list[str]:
    """Return the names in an expression; what is not allowed is a ValueError."""
    match node:
        case ast.Name(id=name):
            return [name]
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return []
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _names(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _names(left) + _names(right)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _names(left) + _names(right)
    raise ValueError(f"{type(node).__name__} is not allowed")


@checked
def describe_runs(frame: pd.DataFrame) -> str:
    """Describe in a few words what ran.

    Parameters
    ----------
    frame : pandas.DataFrame
        A tidy table of one experiment or several, at one scale.

    Returns
    -------
    str
        Such as ``60,000 images, 5 epochs, 20 seeds``; with ranges where arms or experiments differ,
        ``2 seeds from 7`` if quick runs do not begin with seed 0 (``MNIST_SEED``), and ``no runs``
        if there are none.
    """
    if frame.empty:
        return "no runs"
    last = last_epoch(frame)
    counts = {
        "image": last["train_size"],
        "epoch": last["epoch"],
        "seed": last.groupby(["experiment", "arm"], sort=False)["seed"].nunique(),
    }
    parts = []
    for noun, values in counts.items():
        low, high = int(values.min()), int(values.max())
        number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        parts.append(f"{number} {noun}{'s' * (high != 1)}")
    first = int(last["seed"].min())
    moved = first > 0 and set(last["scale"]) == {"quick"}
    return ", ".join(parts) + f" from {first}" * moved
