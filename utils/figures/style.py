"""The house style: figures that adapt to the page's light or dark theme.

A figure is stored twice: as SVG that takes the colour of the text around it, for the page and for
JupyterLab, and as PNG for viewers that show no SVG. Series have Okabe and Ito's colours, which
people with any colour vision can tell apart; signed values have a colour map that is pale at zero.
"""

import base64
import hashlib
import html
import io
import re

import matplotlib as mpl
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from utils.checked import checked

# Text and axes are drawn in this grey, which is legible on white and on black alike; in the SVG
# it becomes "the colour of the text around".
INK = "#808080"

# Okabe and Ito's palette without black, and with its yellow last: it is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SIGNED_MAP = "RdBu_r"
IMAGE_MAP = "gray"

_MOST_LETTERS, _MOST_INCHES = 1_000, 1_000

_STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "path",
    # Without a fixed salt the ids in an SVG, and so the stored notebook, differ at each run.
    "svg.hashsalt": "convolution-tested",
}


@checked
def figure(width: float = 7.0, height: float = 3.0, **grid) -> tuple[Figure, np.ndarray]:
    """Make a figure in the house style.

    Parameters
    ----------
    width, height : float
        Size in inches; a page is about 7 wide.
    **grid
        Passed to ``Figure.subplots``: ``nrows``, ``ncols``, ``sharey``, ``width_ratios`` …

    Returns
    -------
    figure : matplotlib.figure.Figure
        Pass it to `show`.
    axes : numpy.ndarray of Axes
        Always two-dimensional: rows and columns.
    """
    for name, value in (("width", width), ("height", height)):
        if not 0 < value <= _MOST_INCHES:
            raise ValueError(f"{name}={value!r}; allowed is above 0, up to {_MOST_INCHES} inches")
    # Global, because Matplotlib reads these settings when a line, text or legend is made: in a
    # context, what a chapter adds to the axes afterwards would have another style.
    mpl.rcParams.update(_STYLE)
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.subplots(squeeze=False, **grid)


def require_alt(alt: str | None) -> None:
    """Refuse an alternative text of fewer than four words."""
    if len((alt or "").split()) < 4:
        raise ValueError(f"alt={alt!r}; say in a sentence what the figure shows")


@checked
def say(axes: Axes, words: str) -> None:
    """Add what is drawn into axes, in numbers, to what a screen reader reads."""
    # The label of an artist is drawn in legends alone, and axes stand in none.
    axes.set_label(" ".join([axes.get_label(), *words.split()]).strip())


@checked
def show(figure: Figure, alt: str) -> None:
    """Show a figure below the cell.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `figure`.
    alt : str
        What the figure shows, for those who cannot see it: a sentence, not its title. The numbers
        in charts of this package are appended to it.

    Raises
    ------
    ValueError
        If `alt` has fewer than four words.
    """
    require_alt(alt)
    alt = " ".join(filter(None, [alt, *(axes.get_label() for axes in figure.axes)]))
    svg = to_svg(figure, alt)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    display(
        {
            "text/html": f'<div class="figure">{svg}</div>',
            "image/png": base64.b64encode(picture.getvalue()).decode(),
            "text/plain": f"[figure: {alt}]",
        },
        raw=True,
    )


@checked
def to_svg(figure: Figure, alt: str, salt: str = "") -> str:
    """Draw a figure as an SVG element that takes the colour of the text around it.

    Parameters
    ----------
    figure, alt
        As for `show`.
    salt : str
        Enters the ids: a figure that is on a page twice needs two different salts.

    Returns
    -------
    str
        One ``<svg>`` element, as wide as the page allows and no wider than it was made for. The
        same figure always gives the same text, and its ids differ from those of other figures, so
        that many of them can be on one page.

    Raises
    ------
    ValueError
        If `alt` has fewer than four words, or a text in the figure more than 1,000 letters.
    """
    require_alt(alt)
    longest = max((len(text.get_text()) for text in figure.findobj(Text)), default=0)
    if longest > _MOST_LETTERS:
        raise ValueError(
            f"figure has a text of {longest:,} letters; allowed are {_MOST_LETTERS:,}, since each "
            "of them is drawn"
        )
    drawing = io.StringIO()
    with mpl.rc_context(_STYLE):
        # Laid out once: a second time would start from the first, and move it a little.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(drawing, format="svg")
    svg = drawing.getvalue()
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'role="img" aria-label="{html.escape(alt)}" viewBox="0 0 {width} {height}" '
        f'style="--width:{float(width) * 1.25:.0f}px;width:100%;max-width:var(--width);height:auto;'
        'stroke-linejoin:round;stroke-linecap:butt">'
    )
    body = svg[svg.index(">", svg.index("<svg")) + 1 :].strip().replace(INK, "currentColor")
    # A style sheet inside of an SVG would hold for the whole page: `opening` has its two settings.
    for useless in ("<metadata>.*?</metadata>", "<style.*?</style>", "<!--.*?-->"):
        body = re.sub(useless, "", body, flags=re.DOTALL)
    # Two decimals of a point are finer than any screen, and halve the size of a page; but a factor
    # with two decimals would shrink the letters.
    body = re.sub(
        r"(?:scale|matrix)\([^)]*\)|(\d+\.\d\d)\d+", lambda found: found[1] or found[0], body
    )
    return opening + _own_ids(body, alt + salt)


def _own_ids(body: str, salt: str) -> str:
    """Drop the ids that nothing refers to, and name the others by a hash of the figure.

    Matplotlib makes some of them from the address of an object in memory, so they are numbered in
    their order before the hash is taken.
    """
    used = dict.fromkeys(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    numbers = {name: str(number) for number, name in enumerate(used)}
    body = re.sub(
        r' id="([^"]+)"',
        lambda found: f' id="@{numbers[found[1]]}"' if found[1] in numbers else "",
        body,
    )
    body = re.sub(
        r'(href="#|url\(#)([^")]+)', lambda found: f"{found[1]}@{numbers[found[2]]}", body
    )
    mark = "f" + hashlib.sha256((body + salt).encode()).hexdigest()[:8]
    return re.sub(r'( id="|href="#|url\(#)@', rf"\g<1>{mark}-", body)
