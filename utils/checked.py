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
    np.ndarray: "an array",
    Path: "a path",
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

    Only the outermost type counts: what a mapping holds is for the function to check. As in the
    docstrings, an array is whatever NumPy makes one from, a float any real number, and an int any
    whole number but True and False. An argument without an annotation is not looked at.

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
    if origin in _FITS:
        return _FITS[origin](value)
    known = isinstance(origin, type) and origin not in (inspect.Parameter.empty, object)
    return not known or isinstance(value, origin)


def _is_whole(value) -> bool:
    try:
        return not isinstance(value, (bool, np.bool_)) and operator.index(value) is not None
    except TypeError:
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
    np.ndarray: lambda value: hasattr(value, "__array__") or isinstance(value, (list, tuple, Real)),
    Path: lambda value: isinstance(value, (str, Path)),
    tuple: lambda value: isinstance(value, (list, tuple)),
    Sequence: _is_listed,
    Iterable: lambda value: isinstance(value, Iterable) and not isinstance(value, (str, bytes)),
    Callable: callable,
}


def _words(kind) -> str:
    origin = typing.get_origin(kind) or kind
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_words, typing.get_args(kind))))
    return _WORDS.get(origin) or f"a {origin.__module__.split('.')[0]} {origin.__name__}"
