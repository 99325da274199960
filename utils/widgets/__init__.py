"""Interactive figures: prepared states, an explorer, a sheet to draw a digit on, live controls.

And questions to a reader. All but the live controls need no kernel, and none needs a network. Here
`slider`, `explorer` and `live` are the functions, and hide the modules of that name.
"""

from utils.widgets.draw import draw_a_digit
from utils.widgets.explorer import explorer
from utils.widgets.live import live
from utils.widgets.question import outcome, predict, quiz
from utils.widgets.slider import slider

__all__ = ["draw_a_digit", "explorer", "live", "outcome", "predict", "quiz", "slider"]
