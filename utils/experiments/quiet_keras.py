"""Keras and TensorFlow, imported without the messages that TensorFlow writes past Python."""

import contextlib
import os
import sys


@contextlib.contextmanager
def quiet_native_stderr():
    """Discard what is written to file descriptor 2 in the meantime.

    TensorFlow logs a few lines before its log level is read, so no environment variable holds
    them back. Python's own tracebacks come later and are not affected.

    Yields
    ------
    None
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


with quiet_native_stderr():
    import keras
    import tensorflow as tf

__all__ = ["keras", "quiet_native_stderr", "tf"]
