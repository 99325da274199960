"""What a browser may run on a page of the built book: files beside it, and scripts known here.

Each page has a ``<meta http-equiv="Content-Security-Policy">``, which holds wherever the book is
served, and as a file. A script that enters a page in any other way does not run.
"""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from utils.evidence import ledger
from utils.widgets import page as widget

# Besides scripts. Pictures and widgets are dressed in place, small pictures stand in the page, and
# the search reads the pages that it found.
# Browsers differ in what 'self' is for a page that is opened as a file; a page from a server gets
# nothing by `file:`.
_REST = (
    "style-src 'self' file: 'unsafe-inline'; img-src 'self' file: data:; font-src 'self' file:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self' file:"
)

# What the theme and its extensions write into a page, each of which was read before it was added.
_THEME = {
    "sha256-P1Gd/Wqjqq8uduID7MOciZi3jIWvAuyCldpRMjsiEjw=": "light or dark, before a page is drawn",
    "sha256-0ysgQORJN47/EUTghWD1YTjEV1Juh4KAG4PeoPPRgDk=": "a folded answer says `Click to show`",
    "sha256-pH3yt92lhQNFBWt4vXOLwSWBTKDsryr1//6kIMDlG2k=": "and an open one `Click to hide`",
    "sha256-FqfirzFHtRrANndrt9LFhvjuJAu6+Nu06S6SzGfHlvE=": "on paper all are open",
    "sha256-I0O+LkYBdTrXbI52RlP9O+S0aJ9NPgUrB5OaBpP2uHA=": "what can be folded",
    "sha256-lgEIuo3iFu4Nnb9Er4Wc34j5GDFECezWOoA1w9kX/CQ=": "where mathematics may stand",
    "sha256-45raXJwhVFsGIr53+bEjhDPiYb+40hWrPMHNnlmjRLo=": "search begins when it is asked for",
    "sha256-mNyD6WQ4vKGmtbf2Mk6RMjMo7k6Ib4wzc6b1fvYgVHE=": "the page `search` begins in its field",
}

# Theirs as well, as attributes of a button; allowed on every page, since the search takes apart the
# pages that it found.
_HANDLERS = {
    "sha256-MguIPR6qNR8D3B+eAlK+bIRTZe8t3wkOY4B/56Me9FU=": "window.print()",
    "sha256-VwzZ5SOy5UAXcNOSG7d3gmH7pMYCtE8xHYlRiqNvhzI=": "toggleFullScreen()",
}


class _Scripts(HTMLParser):
    """The scripts that stand in a page, and those that an attribute holds."""

    def __init__(self, text: str):
        super().__init__()
        self.inline, self.handlers = [], []
        self._open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._open = tag == "script" and "src" not in dict(attributes)
        if self._open:
            self.inline.append("")
        self.handlers += [value or "" for name, value in attributes if name.startswith("on")]

    def handle_data(self, data):
        if self._open:
            self.inline[-1] += data

    def handle_endtag(self, tag):
        self._open = False


def sha256(script: str) -> str:
    """Name a script as a policy does."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _known(name: str) -> set[str]:
    """Hashes of the scripts that may stand in the page of that name."""
    own = [widget.script(kind) for kind in widget.KINDS]
    own += [ledger.script(), f"DOCUMENTATION_OPTIONS.pagename = '{name}';"]
    return {*map(sha256, own), *_THEME}


def write(folder: Path) -> list[str]:
    """Put a policy on each page of a folder.

    Parameters
    ----------
    folder : path
        Folder of the built book, whose pages have no policy yet. What is under ``_static`` is no
        page.

    Returns
    -------
    list of str
        A sentence for each script that is not known here. It is not allowed.
    """
    complaints = []
    for path in sorted(Path(folder).rglob("*.html")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name.startswith("_static/"):
            continue
        text = path.read_text(encoding="utf-8")
        found = _Scripts(text)
        scripts, handlers = (
            {sha256(script): script for script in kind} for kind in (found.inline, found.handlers)
        )
        own = scripts.keys() & _known(name)
        allowed = ["'self'", "file:", "'unsafe-hashes'"]
        allowed += [f"'{each}'" for each in sorted({*_HANDLERS, *own})]
        unknown = [(each, script) for each, script in scripts.items() if each not in own]
        unknown += [(each, script) for each, script in handlers.items() if each not in _HANDLERS]
        complaints += [
            f"{name}: a script that utils/commands/policy.py does not know, {each}: "
            f"{' '.join(script.split())[:80]!r}"
            for each, script in unknown
        ]
        policy = f"default-src 'none'; script-src {' '.join(allowed)}; {_REST}"
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}" />'
        # In front of every script, but a browser looks for the encoding in the first 1,024 bytes.
        charset = re.search(r"<meta charset=[^>]*>", text)
        end = charset.end() if charset else 0
        path.write_text(f"{text[:end]}{meta}{text[end:]}", encoding="utf-8", newline="\n")
    return complaints
