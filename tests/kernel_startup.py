"""What every kernel under test runs first: a warning that a library gives is not shown.

Cells whose output is compared would turn red on the day on which a new version of a library
deprecates something. A filter cannot tell who warns, because libraries blame their caller, which is
the notebook; so this looks on the stack. What the notebook or `utils` warns of is shown.
"""


def _install():
    import sys
    import warnings

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
