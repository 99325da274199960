"""Interactive figures: prepared states, an explorer, a sheet to draw a digit on, live controls.

There are also questions to the reader. Only the live controls need a kernel, and none needs a
network. Here `slider`, `explorer` and `live` are the functions, which hide the modules of those
names.
"""

from utils.widgets.draw import draw_a_digit
from utils.widgets.explorer import explorer
from utils.widgets.live import live
from utils.widgets.question import outcome, predict, quiz
from utils.widgets.slider import slider

__all__ = ["draw_a_digit", "explorer", "live", "outcome", "predict", "quiz", "slider"]
