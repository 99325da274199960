"""The file with full MNIST: where it is, what must be in it, and its download.

The 70,000 images come from the first of these that applies:

1. the file that the environment variable ``MNIST_PATH`` names (set to nothing, it names none);
2. the Keras cache: ``datasets/mnist.npz`` under ``KERAS_HOME``, by default ``~/.keras``;
3. Keras's own download, which puts the file into that cache.

A source that is there but faulty is an error and never a reason to go on to the next one, and a
faulty file in the cache is reported rather than replaced: it belongs to Keras, and it may be the
only sign of a failing disk.
"""

import hashlib
import os
import socket
import stat
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class DataError(RuntimeError):
    """A file of images could not be loaded; the message says what was tried and what to do."""


@dataclass(frozen=True, eq=False)
class Published:
    """A published file: where it is, and what its arrays must be.

    Attributes
    ----------
    origin : str
        URL of the ``.npz`` file.
    sha256 : str
        Hash of the file that `origin` serves. Other copies pack the same arrays differently.
    shapes : mapping of str to tuple of int
        Shape of each uint8 array.
    md5 : mapping of str to str
        MD5 of each array written as an IDX file, the form in which MNIST was published.
    timeout : float
        Seconds without a byte after which a download counts as stalled.
    """

    origin: str
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    md5: Mapping[str, str]
    timeout: float = 30.0


FULL = Published(
    origin="https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    shapes={
        "x_train": (60_000, 28, 28),
        "y_train": (60_000,),
        "x_test": (10_000, 28, 28),
        "y_test": (10_000,),
    },
    md5={
        "x_train": "6bbc9ace898e44ae57da46a324031adb",
        "y_train": "a25bea736e30d166cdddb491f175f624",
        "x_test": "2646ac647ad5339dbf082846283269ea",
        "y_test": "27ae3e4e09519cfbb04c329615203637",
    },
)


def find(published: Published, named: str, cache: Path) -> tuple[dict[str, np.ndarray], Path, str]:
    """Read full MNIST from the first source that applies.

    Parameters
    ----------
    published : Published
        What the file must hold, and where it can be downloaded.
    named : str
        The file that ``MNIST_PATH`` names; empty for none.
    cache : pathlib.Path
        Where Keras keeps the file; a download goes there.

    Returns
    -------
    arrays : dict of str to ndarray
        The four checked arrays.
    path : pathlib.Path
        The file that was read.
    where : str
        Where it comes from, in words.

    Raises
    ------
    DataError
        If the first source that applies has no intact file.
    """
    tried = []
    try:
        if named:
            path, where = Path(os.path.expanduser(named)).absolute(), "the file MNIST_PATH names"
            tried.append(f"{where}, {path}")
            remedy = (
                "Let MNIST_PATH name an intact copy of Keras's mnist.npz, or unset it to use the "
                "Keras cache or the download"
            )
            arrays = _read_arrays(path, published)
        else:
            path, where = cache, "the Keras cache"
            tried += ["the file MNIST_PATH names: the variable is not set", f"{where}, {path}"]
            remedy = (
                "Remove or repair that file, since one that is not there is downloaded; or let "
                "KERAS_HOME name another folder"
            )
            try:
                arrays = _read_arrays(path, published)
            except _Absent as absent:
                tried[-1] += f": {absent}"
                tried.append(f"the download from {published.origin}")
                remedy = (
                    "Try again later; or fetch mnist.npz by another route and let MNIST_PATH name "
                    "it; or let KERAS_HOME name a folder that you can write to"
                )
                arrays = _download(published, path)
    except _Fault as fault:
        tried[-1] += f": {fault}"
        steps = "".join(f"\n  {number}. {step}" for number, step in enumerate(tried, 1))
        # The text says it all: a chain of tracebacks would only bury it.
        raise DataError(
            f"Full MNIST could not be loaded. Tried, in order:{steps}\n{remedy}; or set "
            "MNIST_SCALE=quick to work with 5,000 images that need no file."
        ) from None
    return arrays, path, where


class _Fault(Exception):
    """What is wrong with one source of the full set."""


class _Absent(_Fault):
    """There is no file."""


def keras_cache() -> Path:
    """Return where Keras keeps its mnist.npz, without importing Keras.

    If that folder is not writable, Keras silently falls back to /tmp; here it is an error.

    Returns
    -------
    pathlib.Path
        Absolute; the file need not be there.
    """
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras")
    return Path(home).absolute() / "datasets" / "mnist.npz"


def _read_arrays(path: Path, published: Published) -> dict[str, np.ndarray]:
    """Read the four arrays of an ``.npz`` file and check all that was published about them."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise _Absent("there is no such file") from None
    except OSError as error:
        raise _Fault(f"it cannot be reached ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise _Fault("it is a folder" if stat.S_ISDIR(mode) else "it is not an ordinary file")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise _Fault(f"it cannot be read ({error.strerror})") from error
    if start != b"PK\x03\x04":
        raise _Fault("it is not a NumPy .npz archive")
    if not zipfile.is_zipfile(path):
        raise _Fault("it is cut short: the list of contents at its end is missing")
    arrays = {}
    # A damaged archive raises whatever the layer that stumbles over it raises: zipfile, zlib,
    # NumPy's header parser, or the memory that a false size asks for.
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = sorted(set(published.shapes) - set(file.files))
            if missing:
                raise _Fault(f"it holds the arrays {sorted(file.files)}; missing are {missing}")
            for key in published.shapes:
                arrays[key] = file[key]
    except _Fault:
        raise
    except Exception as error:
        raise _Fault(f"it is damaged ({error})") from error
    for key, array in arrays.items():
        _check_array(key, array, published)
    return arrays


def _check_array(key: str, array: np.ndarray, published: Published) -> None:
    shape = published.shapes[key]
    if array.dtype != np.uint8 or array.shape != shape:
        raise _Fault(f"its {key} is {array.dtype} of shape {array.shape}, not uint8 of {shape}")
    if array.ndim == 1 and array.max() > 9:
        raise _Fault(f"its {key} holds the label {array.max()}; labels are 0 to 9")
    md5 = idx_md5(array)
    if md5 != published.md5[key]:
        raise _Fault(
            f"its {key} differs from the published array: the MD5 as an IDX file is {md5}, not "
            f"{published.md5[key]}"
        )


def _download(published: Published, cache: Path) -> dict[str, np.ndarray]:
    """Download the file into the Keras cache and return its checked arrays.

    Keras writes straight to its target. Here that is a folder of this process's own beside the
    cached file, and only a checked file takes the cache's name, in one step: neither a broken
    download nor another process that downloads as well ever leaves half a file there.
    """
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            prefix="mnist-download-", dir=cache.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise _Fault(f"nothing can be written to {cache.parent} ({error.strerror})") from error
    with folder:
        from keras.utils import get_file

        # get_file takes no time-out, and without one a silent host holds it for ever.
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(published.timeout)
        try:
            path = get_file(
                cache.name,
                origin=published.origin,
                file_hash=published.sha256,
                cache_dir=folder.name,
                cache_subdir="",
            )
        except TimeoutError as error:
            raise _Fault(f"the host sent nothing for {published.timeout:g} seconds") from error
        # get_file raises bare Exceptions, too.
        except Exception as error:
            raise _Fault(str(error) or type(error).__name__) from error
        finally:
            socket.setdefaulttimeout(before)
        arrays = _read_arrays(Path(path), published)
        try:
            os.replace(path, cache)
        except OSError as error:
            raise _Fault(f"{cache} cannot be written ({error.strerror})") from error
    return arrays


def idx_md5(array: np.ndarray) -> str:
    """Compute the MD5 of an array as an IDX file: magic number, big-endian sizes, bytes.

    Parameters
    ----------
    array : ndarray of uint8
        Of any shape.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    unsigned_byte = 0x08
    header = struct.pack(f">HBB{array.ndim}I", 0, unsigned_byte, array.ndim, *array.shape)
    md5 = hashlib.md5(header, usedforsecurity=False)
    md5.update(np.ascontiguousarray(array))
    return md5.hexdigest()
