"""Rooms that import their modules when a name of theirs is asked for."""

import importlib
from collections.abc import Callable, Mapping


def giving(room: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the ``__getattr__`` of a room that gives names without importing all of its modules.

    Parameters
    ----------
    room : str
        The ``__name__`` of the package.
    homes : mapping of str to str
        For each name that the room gives, the module within it that defines it.

    Returns
    -------
    callable
        Raises AttributeError for any other name.
    """

    def find(name: str):
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{room}.{homes[name]}"), name)

    return find
