"""Helper modules: what every chapter needs, and nothing that a chapter should show."""

import os

# TensorFlow reads this when it is first imported. Its start-up notes would otherwise land in the
# output of a notebook's first cell.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
