"""Has the reference pages of the book read the docstrings as they are written, references included.

An extension of Sphinx (``_config.yml``). numpydoc knows the references of one docstring alone, and
the functions of a module cite those at its head: here both become plain text, ``[1]`` and a list.
"""

import re


def setup(app):
    """Run before numpydoc; what an extension of Sphinx has to provide."""
    app.connect("autodoc-process-docstring", _write_references, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write_references(app, what, name, subject, options, lines):
    lines[:] = plain_references("\n".join(lines)).split("\n")


def plain_references(text):
    """Write the references of a docstring, and what points to them, as plain text.

    Parameters
    ----------
    text : str
        In the style of numpydoc.

    Returns
    -------
    str
    """
    text = re.sub(r"\[(\d+)\]_", r"[\1]", text)
    text = re.sub(r"^References\n-{5,}$", "**References**\n", text, flags=re.M)
    return re.sub(r"^\.\. \[(\d+)\] ", r"\1. ", text, flags=re.M)
