"""What the outputs of a cell look like, whatever their numbers are.

nbval compares the text of cells that are tagged, and never a picture. So of every cell the kinds of
outputs are compared, and whether its pictures look like those that are stored.
"""

import base64
import io

import numpy as np
from PIL import Image

# A picture is laid out in so many parts, and from each to the next it gets brighter, darker or
# neither. Between any two pictures of the course that differs in a fifth of the places and more.
PARTS = 24
ALIKE = 0.12


def differences(stored, now):
    """Say in which way outputs differ from those that are stored."""
    before, after = kinds_of(stored), kinds_of(now)
    if before != after:
        return [f"its outputs are {after}, and {before} are stored"]
    pairs = zip(pictures_of(stored), pictures_of(now), strict=True)
    shares = [distance(old, new) for old, new in pairs]
    return [
        f"picture {number} looks different from the stored one, in {share:.0%} of its parts"
        for number, share in enumerate(shares, start=1)
        if share > ALIKE
    ]


def kinds_of(outputs):
    """List the kinds of outputs; texts that were written one after the other are one."""
    kinds = []
    for output in outputs:
        kind = output.get("name") or " and ".join(sorted(output.get("data", {})))
        if kind != "stderr" and not (kind == "stdout" and kinds[-1:] == ["stdout"]):
            kinds.append(kind or output["output_type"])
    return kinds


def pictures_of(outputs):
    found = (output.get("data", {}).get("image/png") for output in outputs)
    return ["".join(each) for each in found if each]


def distance(first, second):
    """Give the share of the parts of two pictures that get brighter or darker otherwise."""
    return float(np.mean(look_of(first) != look_of(second)))


def look_of(png):
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    grey = Image.alpha_composite(white, image).convert("L")
    parts = np.asarray(grey.resize((PARTS, PARTS), Image.Resampling.BOX), dtype=int)
    along, down = np.diff(parts, axis=1), np.diff(parts, axis=0)
    # What differs by less is as bright.
    return np.concatenate(
        [np.sign(np.where(abs(each) > 3, each, 0)).ravel() for each in (along, down)]
    )
