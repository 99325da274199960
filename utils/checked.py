"""Arguments of another type than a function's annotations say are refused before it begins."""

import functools
import inspect
import operator
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

import numpy as np

_WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    np.ndarray: "an array of numbers",
    Path: "a path",
    dict: "a dict",
    list: "a list",
    tuple: "a tuple",
    Mapping: "a mapping",
    Sequence: "a sequence",
    Iterable: "a sequence",
    Callable: "a function",
    type(None): "None",
}

_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# Whatever is given is shown, however large it is.
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 120


def checked(function: Callable) -> Callable:
    """Make a function refuse arguments of another type than its annotations say.

    As in the docstrings, an array is whatever NumPy makes one of numbers from, a float any real
    number, and an int any whole number but True and False. What lists and mappings hold is looked
    at as well, and an argument without an annotation is not.

    Parameters
    ----------
    function : callable
        With annotations.

    Returns
    -------
    callable
        Raises TypeError that names the argument, its value and what is allowed.
    """
    signature = inspect.signature(function)

    @functools.cache
    def kind_of(name: str):
        # When it is first asked for: an annotation may name what is defined further down.
        kind = signature.parameters[name].annotation
        try:
            return eval(kind, function.__globals__) if isinstance(kind, str) else kind
        except NameError:  # It is imported for type checkers alone.
            return inspect.Parameter.empty

    @functools.wraps(function)
    def call(*arguments, **named):
        try:
            given = signature.bind(*arguments, **named).arguments
        except TypeError:
            return function(*arguments, **named)  # Which argument is missing, Python says itself.
        for name, value in given.items():
            how = signature.parameters[name].kind
            several = value.values() if how is inspect.Parameter.VAR_KEYWORD else value
            for each in several if how in _SEVERAL else [value]:
                if not _fits(each, kind_of(name)):
                    raise TypeError(f"{name}={shown(each)}; allowed is {_words(kind_of(name))}")
        return function(*arguments, **named)

    return call


def shown(value) -> str:
    """Write a value for a message, and no more of it than can be read."""
    return _shown.repr(value)


def _fits(value, kind) -> bool:
    origin = typing.get_origin(kind) or kind
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in typing.get_args(kind))
    known = isinstance(origin, type) and origin not in (inspect.Parameter.empty, object)
    fits = _FITS.get(origin, lambda value: not known or isinstance(value, origin))(value)
    inner = [each for each in typing.get_args(kind) if each is not ...]
    if not fits or not inner or origin is Callable:
        return fits
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, (list, tuple, set, np.ndarray)):
        fixed = origin is tuple and ... not in typing.get_args(kind)
        if fixed and len(value) != len(inner):
            return False
        pairs = [(each,) for each in value] if not fixed else [value]
    else:
        return True  # To look into an iterator would use it up.
    return all(_fits(each, part) for pair in pairs for each, part in zip(pair, inner, strict=False))


def _is_whole(value) -> bool:
    try:
        return not isinstance(value, (bool, np.bool_)) and operator.index(value) is not None
    except TypeError:
        return False


def _is_numeric(value) -> bool:
    if not hasattr(value, "__array__") and not isinstance(value, (list, tuple, Real)):
        return False
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except ValueError:  # Lists of several lengths.
        return False


def _is_listed(value) -> bool:
    return (
        hasattr(value, "__len__")
        and hasattr(value, "__getitem__")
        and not isinstance(value, (str, bytes, Mapping))
    )


_FITS = {
    None: lambda value: value is None,
    bool: lambda value: isinstance(value, (bool, np.bool_)),
    int: _is_whole,
    float: lambda value: isinstance(value, Real) and not isinstance(value, (bool, np.bool_)),
    np.ndarray: _is_numeric,
    Path: lambda value: isinstance(value, (str, Path)) and "\0" not in str(value),
    tuple: lambda value: isinstance(value, (list, tuple)),
    Sequence: _is_listed,
    Iterable: lambda value: (
        isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    ),
    Callable: callable,
}


def _words(kind) -> str:
    origin = typing.get_origin(kind) or kind
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, typing.get_args(kind))))
    words = _WORDS.get(origin) or origin.__name__
    inner = [each for each in typing.get_args(kind) if each not in (..., object)]
    if inner and origin is not Callable:
        words += f" of {', '.join(map(_words, inner))}"
    return words
