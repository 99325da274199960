"""What every kernel under test runs first: its share of the cores, and whose warnings it shows.

Its outputs are compared with stored ones, so it shows what is stored: no live controls, and no bar
while it trains.

Where notebooks are tested several at a time, each trains in as many processes as there are cores
for it; to start further ones would take longer than they save.

Cells whose output is compared would turn red on the day on which a new version of a library
deprecates something. A filter cannot tell who warns, because libraries blame their caller, which is
the notebook; so this looks on the stack. What the notebook or `utils` warns of is shown.
"""


def _install():
    import os
    import sys
    import warnings

    os.environ.setdefault("MNIST_LIVE", "0")
    os.environ.setdefault("MNIST_PROGRESS", "none")
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        share = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("LOKY_MAX_CPU_COUNT", str(share))

    show = warnings.showwarning

    def show_ours(message, category, filename, *rest, **more):
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__") == "warnings":
            frame = frame.f_back
        ours = frame.f_globals.get("__name__", "").partition(".")[0] in ("__main__", "utils")
        # The compiler warns of the code that it reads, whoever calls it.
        ours |= issubclass(category, SyntaxWarning) and "site-packages" not in filename
        if ours:
            show(message, category, filename, *rest, **more)

    warnings.showwarning = show_ours


_install()
del _install  # A notebook finds an empty namespace.
