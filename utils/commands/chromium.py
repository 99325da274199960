"""The system's Chromium or Chrome, for what only a browser can draw."""

import contextlib
import os
import sys

from utils.commands.check import browser as find_browser


def needed_for(what):
    """Find the browser, or report on standard error what cannot be made without it.

    Parameters
    ----------
    what : str
        A sentence's subject, such as ``"The PDF"``.

    Returns
    -------
    str or None
        Path of its program.
    """
    path = find_browser()
    if path is None:
        print(
            f"{what} is made by Chromium or Chrome, and there is none here. Install one, on "
            "Debian with `apt-get install chromium`.",
            file=sys.stderr,
        )
    return path


@contextlib.contextmanager
def launched(path):
    """Start the browser at a path, as a `playwright.sync_api.Browser`, and stop it at the end."""
    from playwright.sync_api import sync_playwright

    # Chromium has no sandbox for root, as which a container runs it.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] * root)
