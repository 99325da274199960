"""Arrays that a run leaves behind in its record, as text in a line of JSON."""

import base64
import math
import zlib

import numpy as np

from utils.checked import checked

# The weights of a large network are a tenth of it; what unpacks to more is no artifact of ours.
_MOST_BYTES = 64 * 2**20


@checked
def pack(name: str, array) -> dict:
    """Write an array as text.

    Parameters
    ----------
    name : str
        Name of the artifact, for messages.
    array : array_like
        Finite real numbers, at most 64 MiB of them.

    Returns
    -------
    dict
        Plain values that JSON can hold, for `unpack`.

    Raises
    ------
    ValueError
        When `array` is not as above.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"artifact {name!r} has the dtype {array.dtype} or values that are not finite; "
            "allowed are arrays of finite real numbers"
        )
    if array.nbytes > _MOST_BYTES:
        raise ValueError(
            f"artifact {name!r} has {array.nbytes:,} bytes; allowed are {_MOST_BYTES:,}"
        )
    array = array.astype(array.dtype.newbyteorder("<"))
    packed = zlib.compress(array.tobytes(), 9)
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "zlib": base64.b85encode(packed).decode(),
    }


@checked
def unpack(name: str, packed: dict) -> np.ndarray:
    """Read an array that `pack` wrote.

    Parameters
    ----------
    name : str
        Name of the artifact, for messages.
    packed : dict
        What `pack` returned.

    Returns
    -------
    ndarray
        Read-only.

    Raises
    ------
    ValueError
        If `packed` is not such a dict, or its array does not have the size that shape and dtype
        imply. No more memory is taken than that size, which is limited as in `pack`.
    """
    try:
        dtype, shape = np.dtype(str(packed["dtype"])), tuple(map(int, packed["shape"]))
        if dtype.kind not in "fiu" or any(side < 0 for side in shape):
            raise ValueError(f"dtype {dtype} and shape {shape}")
        size = dtype.itemsize * math.prod(shape)
        if size > _MOST_BYTES:
            raise ValueError(f"{size:,} bytes; allowed are {_MOST_BYTES:,}")
        reader = zlib.decompressobj()
        # One byte more would show that there is more.
        values = reader.decompress(base64.b85decode(packed["zlib"]), size + 1)
        if len(values) != size or not reader.eof:
            raise ValueError(f"not the {size:,} bytes that its shape and dtype say")
        return np.frombuffer(values, dtype).reshape(shape)
    except (KeyError, OverflowError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(f"artifact {name!r} cannot be read from its record: {error}") from error
