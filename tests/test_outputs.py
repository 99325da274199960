"""How outputs are compared whatever their numbers are: kinds, and the look of pictures."""

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import outputs
import pytest


def picture(draw):
    drawing, axes = plt.subplots(figsize=(4, 3))
    draw(axes)
    file = io.BytesIO()
    drawing.savefig(file, format="png", transparent=True)
    plt.close(drawing)
    return base64.b64encode(file.getvalue()).decode()


def shown(*pngs):
    return [{"output_type": "display_data", "data": {"image/png": png}} for png in pngs]


def curve(shift=0.0):
    x = np.linspace(0, 6, 50)
    return picture(lambda axes: axes.plot(x, np.sin(x + shift)))


def noise():
    return picture(lambda axes: axes.imshow(np.random.default_rng(0).random((99, 99))))


def bars():
    return picture(lambda axes: axes.bar(range(3), [3, 1, 2]))


def test_other_numbers_leave_a_picture_alike_and_another_picture_is_told():
    assert outputs.differences(shown(curve()), shown(curve(0.02))) == []
    assert outputs.differences(shown(bars(), curve()), shown(bars(), curve())) == []
    for other in (noise(), bars(), curve(3.0)):
        (told,) = outputs.differences(shown(bars(), curve()), shown(bars(), other))
        assert told.startswith("picture 2 looks different from the stored one, in ")


TEXT = {"output_type": "stream", "name": "stdout", "text": "x"}
WORDS = {"output_type": "execute_result", "data": {"text/plain": "x"}}


@pytest.mark.parametrize(
    ("stored", "now", "told"),
    [
        ([TEXT], [TEXT, TEXT], False),  # Written at once or in two goes.
        ([TEXT], [TEXT, {**TEXT, "name": "stderr"}], False),  # No page stores it.
        ([WORDS], [{**WORDS, "data": {"text/plain": "y"}}], False),
        ([WORDS], [], True),
        ([], [TEXT], True),
        ([WORDS], [{**WORDS, "data": {"text/plain": "x", "text/html": "x"}}], True),
        ([TEXT, WORDS], [WORDS, TEXT], True),
    ],
)
def test_another_kind_of_output_is_told(stored, now, told):
    assert bool(outputs.differences(stored, now)) is told
