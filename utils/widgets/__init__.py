"""Interactive figures of the page: prepared states, an explorer, a sheet to draw a digit on.

They need no kernel and no network, and stand here under the names of their functions.
"""

from utils.widgets.slider import draw_a_digit, explorer, slider

__all__ = ["draw_a_digit", "explorer", "slider"]
