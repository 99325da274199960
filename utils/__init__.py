"""Helper modules: what every chapter needs, and nothing that a chapter should show."""

import os

# TensorFlow reads these when it is first imported; a setting of the user's wins.

# Its start-up notes would otherwise land in the output of a notebook's first cell.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# By itself TensorFlow leaves oneDNN's kernels off on a processor without AVX-512. Switched on, a
# convolutional net trains nearly twice as fast there, and grouped convolutions get a gradient. Bits
# differ between the two, so each run is recorded with this setting.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
