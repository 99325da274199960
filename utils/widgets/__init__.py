"""Interactive figures of the page: prepared states, an explorer, a sheet to draw a digit on.

They need no kernel and no network. Here `slider` and `explorer` are the functions, and hide the
modules of that name.
"""

from utils.widgets.draw import draw_a_digit
from utils.widgets.explorer import explorer
from utils.widgets.slider import slider

__all__ = ["draw_a_digit", "explorer", "slider"]
