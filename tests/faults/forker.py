"""Imports what tests need from elsewhere, and then runs pytest in a fork of itself, once a line.

`Runner` starts it in a copy of the course. Of the course itself nothing stays imported, so that
each fork sees the files as they are by then.
"""

import importlib
import json
import os
import sys

ELSEWHERE = """
jinja2 joblib jsonschema keras matplotlib.pyplot nbclient nbformat numpy pandas playwright.sync_api
pytest scipy.stats scipy.ndimage sklearn.model_selection statsmodels.api statsmodels.formula.api
statsmodels.stats.multitest statsmodels.stats.proportion tensorflow tqdm xdist yaml
""".split()


def main():
    import utils  # noqa: F401 (what it sets has to be set before TensorFlow is imported)

    for name in ELSEWHERE:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # What needs it will say so.
    import gc

    for name in [name for name in sys.modules if name.partition(".")[0] == "utils"]:
        del sys.modules[name]
    gc.freeze()
    for line in sys.stdin:
        print(status_of(**json.loads(line)), flush=True)


def status_of(arguments, output, keep):
    """Run pytest on these arguments in a fork, or here if there is none."""
    if not hasattr(os, "fork") or sys.platform == "darwin":
        return run(arguments, output, keep)
    child = os.fork()
    if not child:
        status = 3
        try:
            status = run(arguments, output, keep)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(arguments, output, keep):
    import hypothesis
    import pytest

    # A file that was changed twice in a second would be taken for what was compiled in between.
    sys.dont_write_bytecode = not keep
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    answer = os.dup(1)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # A counterexample is enough; it need not be the smallest.
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("faults", phases=phases, database=None, deadline=None)
    hypothesis.settings.load_profile("faults")
    status = int(pytest.main(arguments))
    sys.stdout.flush()
    os.dup2(answer, 1)
    return status


if __name__ == "__main__":
    main()
