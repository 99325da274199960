"""Pictures of arrays: images, kernels, feature maps."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from utils.checked import checked
from utils.figures.style import IMAGE_MAP, SIGNED_MAP, figure, require_alt, show


@checked
def image(
    axes: Axes, pixels: np.ndarray, title: str = "", signed: bool = False, values: bool = False
) -> None:
    """Draw one image, kernel or feature map, with a thin frame.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    pixels : ndarray, shape (height, width)
        An image from 0 (black) to its largest value (white); or, when `signed`, positive and
        negative values, drawn red and blue about a pale zero.
    title : str
        Title above it.
    signed : bool
        Whether the sign matters.
    values : bool
        Write each value into its cell, with three significant digits; for small arrays.

    Raises
    ------
    ValueError
        If `pixels` is not as above.
    """
    pixels = _checked(pixels, signed)
    _draw(axes, pixels, title, signed, values, np.abs(pixels).max())


def _without_channel(pixels) -> np.ndarray:
    pixels = np.asarray(pixels)
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def _checked(pixels, signed: bool) -> np.ndarray:
    pixels = np.asarray(pixels, dtype=float)
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all():
        raise ValueError(
            f"pixels has shape {pixels.shape} and {np.count_nonzero(~np.isfinite(pixels))} values "
            "that are not finite; allowed is the shape (height, width), with finite values alone"
        )
    if not signed and pixels.min() < -1e-6 * np.abs(pixels).max():
        raise ValueError(
            f"pixels goes down to {pixels.min():.4g}; allowed are values ≥ 0, unless signed=True"
        )
    return pixels


def _draw(axes: Axes, pixels: np.ndarray, title: str, signed: bool, values: bool, top: float):
    """Draw an image in which `top` is white, or the strongest red."""
    top = max(top, 1e-12)
    drawn = axes.imshow(
        pixels,
        cmap=SIGNED_MAP if signed else IMAGE_MAP,
        vmin=-top if signed else 0,
        vmax=top,
        interpolation="none",  # An SVG then holds the pixels as they are, whatever its size.
    )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.8)
    if not values:
        return
    texts = {place: _written(value) for place, value in np.ndenumerate(pixels)}
    size = _font_size(axes, pixels.shape, max(map(len, texts.values())))
    for (row, column), text in texts.items():
        # Relative luminance: at 0.18 black and white stand out equally well.
        behind = drawn.norm(pixels[row, column])
        luminance = np.power(drawn.cmap(behind)[:3], 2.2) @ [0.2126, 0.7152, 0.0722]
        colour = "white" if luminance < 0.18 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _written(value: float) -> str:
    """Write a value as briefly as it can be read: 3, −0.125, 0.333."""
    value = round(value, 10) + 0.0  # What rounding left of a zero is a zero, and has no sign.
    text = f"{value:.0f}" if value.is_integer() and abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def _font_size(axes: Axes, shape: tuple[int, int], letters: int) -> float:
    """Choose a size, in points, at which so many letters fit into a cell of an image."""
    place, (width, height) = axes.get_position(), axes.figure.get_size_inches() * 72
    cell = min(place.width * width / shape[1], place.height * height / shape[0])
    # The layout is not done yet, and will give the axes about a fifth more room.
    return float(np.clip(1.2 * cell / (0.62 * letters), 5, 9))


@checked
def image_grid(
    rows: Mapping[str, Iterable] | Sequence[Iterable],
    columns: Sequence[str] = (),
    *,
    alt: str | None = None,
    axes=None,
    signed: bool = False,
    values: bool = False,
    shared: str | float = "all",
    size: float = 0.85,
    to_scale: bool = False,
) -> None:
    """Draw rows of images, kernels or feature maps, and show them.

    Parameters
    ----------
    rows : mapping of str to sequence, or sequence of sequences
        Name of each row, if any, and its pictures: arrays with the shape (height, width) or
        (height, width, 1), as `image` takes them. ``None`` leaves a cell empty.
    columns : sequence of str
        Titles above the pictures of the first row; there may be fewer titles than pictures.
    alt : str, optional
        What the figure shows, in a sentence. Required without `axes`.
    axes : ndarray of Axes, shape (rows, pictures), optional
        Where to draw, as part of a larger figure or of a frame of a slider; nothing is shown then.
    signed, values
        As for `image`.
    shared : {"all", "row"} or float
        Which pictures share a range of values: all, or those of a row; or the value that is white
        (if `signed`, the strongest red) in every picture.
    size : float
        Width of a picture in inches.
    to_scale : bool
        Give all pixels one size, so that a larger picture takes a wider column; by default all
        columns are equally wide.

    Raises
    ------
    ValueError
        If there is no picture, there are more titles than pictures in the longest row, a picture is
        not as `image` needs it, `shared` is not as above, or there are neither `alt` nor enough
        `axes`.
    """
    if isinstance(shared, str) and shared not in ("all", "row"):
        raise ValueError(f"shared={shared!r}; allowed are 'all', 'row' and a number")
    names = list(rows) if isinstance(rows, Mapping) else [""] * len(rows)
    rows = [
        [
            None if picture is None else _checked(_without_channel(picture), signed)
            for picture in row
        ]
        for row in (rows.values() if isinstance(rows, Mapping) else rows)
    ]
    width = max(map(len, rows), default=0)
    if not width or len(columns) > width:
        raise ValueError(
            f"rows has at most {width} pictures in a row and columns {len(columns)} titles; allowed"
            " are at least one picture, and no more titles than pictures"
        )
    drawing = None
    if axes is None:
        require_alt(alt)
        shapes = [[(0, 0) if p is None else p.shape for p in row] for row in rows]
        tall = [max(height for height, _ in row) for row in shapes]
        wide = [
            max(width for _, width in column)
            for column in itertools.zip_longest(*shapes, fillvalue=(0, 0))
        ]
        pixel = size * width / sum(wide)
        ratios = {"height_ratios": tall, "width_ratios": wide} if to_scale else {}
        deep = pixel * (sum(tall) if to_scale else max(tall) * len(rows))
        drawing, axes = figure(
            size * width + 1.0 * any(names),
            deep + 0.3 * any(columns),
            nrows=len(rows),
            ncols=width,
            **ratios,
        )
    if np.shape(axes) != (len(rows), width):
        raise ValueError(f"axes has shape {np.shape(axes)}; allowed is {(len(rows), width)}")
    tops = [max((np.abs(p).max() for p in row if p is not None), default=0) for row in rows]
    for line, name, row, top in zip(axes, names, rows, tops, strict=True):
        top = {"all": max(tops), "row": top}.get(shared, shared)
        for place, picture in itertools.zip_longest(line, row):
            if picture is None:
                place.axis("off")
            else:
                _draw(place, picture, "", signed, values, top)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for place, title in zip(axes[0], columns, strict=False):
        place.set_title(title, fontsize=10)
    if drawing is not None:
        show(drawing, alt)
