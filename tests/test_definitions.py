"""What a notebook defines is read from its source: all that an experiment needs, and no more."""

import os
import textwrap

import nbformat
import pytest

from utils.experiments import run as experiment
from utils.commands.definitions import DefinitionError, recorded_in, stored_metadata

START = """
import functools
import keras
from keras import layers
from utils.experiments.run import Arm, Experiment, Fit, recorded, run

def net(units=10, rate=0.001):
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), layers.Dense(units)])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model
"""


@pytest.fixture
def write(tmp_path):
    """Write the cells of a notebook, after one with a network."""

    def write_cells(*cells):
        made = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in (START, *cells)]
        made.insert(1, nbformat.v4.new_markdown_cell("x = run(nothing)"))
        nbformat.write(nbformat.v4.new_notebook(cells=made), tmp_path / "a.ipynb")
        return tmp_path / "a.ipynb"

    return write_cells


def test_an_experiment_is_found_and_nothing_else_is_run(write):
    path = write(
        "raise OSError('a demonstration')",
        "one = Experiment('one', 'a-claim', {'a': net}, seeds=3)\nraise OSError('another')",
        "runs = run(one)\nshown = runs.groupby('arm')\nraise OSError('a picture')",
    )
    found = recorded_in(path)
    assert list(found) == ["one"]
    assert found["one"].experiment.claims == ("a-claim",)
    assert found["one"].missing == (("a", 0), ("a", 1), ("a", 2))


def test_what_is_called_in_a_module_is_not_run(write):
    path = write(
        "layers.Flatten(**undefined)\nkeras.utils.set_random_seed(undefined)",
        "one = Experiment('one', 'c', {'a': net})",
    )
    assert list(recorded_in(path)) == ["one"]


def test_nothing_is_trained_wherever_run_is_called(write, monkeypatch):
    def trained(*_):
        raise AssertionError("it was trained")

    monkeypatch.setattr(experiment, "run", trained)
    path = write(
        "one, two = (Experiment(name, 'c', {'a': net}) for name in ('one', 'two'))",
        "def both():\n    return [run(each) for each in (one, two)]",
        "for each in (one, two):\n    run(each)",
        "if True:\n    with open('x') as file:\n        runs = run(one)",
        "run(Experiment('three', 'c', {'a': net}))",
        "more = {'x': Experiment('four', 'c', {'a': net}), 'y': 3}",
    )
    assert sorted(recorded_in(path)) == ["four", "one", "three", "two"]


ALIKE = {
    "a loop fills the arms": [
        "arms, widths = {}, [3, 4]\nfor width in widths:\n    arms[f'{width} units'] = "
        "functools.partial(net, width)",
        "one = Experiment('one', 'c', arms)\nrecorded(one)",
    ],
    "arms are added in several ways": [
        "arms = {'a': net}\narms.update(b=lambda: net(5))\narms |= {'c': lambda: net(6)}",
        "names = []\nnames.append('d')\nsettings = {}\nsettings['units'] = 7",
        "for name in names:\n    arms[name] = lambda: net(**settings)",
        "recorded(Experiment('one', 'c', arms))",
    ],
    "a name is used for several things": [
        "for one in (1, 2):\n    net(one)",
        "arms = 'others'\narms = {'a': net}",
        "one = Experiment('one', 'c', arms)\narms = None",
        "recorded(one)\none = 3",
    ],
    "what a function reads changes before it is used": [
        "rate = 0.1\none = Experiment('one', 'c', {'a': lambda: net(rate=rate)})\nrate = 0.2",
        "recorded(one)",
    ],
    "what a function reads changes after it was used": [
        "rate = 0.1\none = Experiment('one', 'c', {'a': lambda: net(rate=rate)})\nrecorded(one)",
        "rate = 0.2",
    ],
    "a function is used while something is made, and later with something else": [
        "units = 4\ndef arm():\n    width = units\n    return lambda: net(width)",
        "arms = {'a': arm()}\nunits = 5\narms['b'] = arm()",
        "recorded(Experiment('one', 'c', arms))",
    ],
    "two experiments share a helper that is defined anew": [
        "def build():\n    return net(3)",
        "one = Experiment('one', 'c', {'a': lambda: build()})\nrecorded(one)",
        "def build():\n    return net(4)",
        "two = Experiment('two', 'c', {'a': lambda: build()})\nrecorded(two)",
    ],
    "layers, measures and what they read": [
        """
        class Base(layers.Layer):
            factor = 2
        class Twice(Base):
            def call(self, x):
                return x * self.factor
        def deep():
            def block():
                return [Twice(), *(layers.Dense(n) for n in WIDTHS)]
            model = keras.Sequential([keras.Input((28, 28, 1)), layers.Flatten(), *block()])
            model.compile("adam", "mse")
            return model
        """,
        "WIDTHS = [5, 6]\nLIMIT = 0.5\ndef above(model, split):\n    return limit() * LIMIT",
        "def limit():\n    return 3",
        "def prepare(split, rng):\n    return split",
        "arms = {'a': Arm(deep, prepare=prepare)}",
        "recorded(Experiment('one', 'c', arms, measures={'m': above}))",
    ],
    "it depends on a choice": [
        "if keras.__version__:\n    def build():\n        return net(8)\nelse:\n    build = None",
        "try:\n    size = int('x')\nexcept ValueError:\n    size = 20",
        "recorded(Experiment('one', 'c', {'a': build}, fit=Fit(batch_size=size)))",
    ],
    "it is made by a function": [
        "def sweep(name, *widths):\n    arms = {str(n): functools.partial(net, n) for n in widths}"
        "\n    return Experiment(name, 'c', arms)",
        "sweeps = [sweep('one', 3), sweep('two', 4, 5)]",
        "for each in sweeps:\n    recorded(each)",
        "three = sweep('three', 6)\nrecorded(three)",
    ],
}


@pytest.mark.parametrize("kind", ALIKE)
def test_what_is_read_is_what_running_the_whole_notebook_gives(kind, write, monkeypatch, tmp_path):
    run_whole, real = {}, experiment.recorded

    def recorded(one):
        return run_whole.setdefault(one.name, real(one))

    cells = [textwrap.dedent(cell) for cell in (START, *ALIKE[kind])]
    path = tmp_path / "whole.py"
    path.write_text("\n".join(cells))
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "recorded", recorded)
        exec(compile(path.read_text(), str(path), "exec"), {"__name__": "__main__"})
    found = recorded_in(write(*ALIKE[kind]))
    assert run_whole
    assert {name: each.requirements for name, each in found.items()} == {
        name: each.requirements for name, each in run_whole.items()
    }


def test_magics_of_a_notebook_are_no_obstacle(write):
    path = write("%matplotlib inline\none = Experiment('one', 'c', {'a': net})\n!ls")
    assert list(recorded_in(path)) == ["one"]


def test_it_works_in_the_folder_of_the_notebook_and_comes_back(write, tmp_path):
    (tmp_path / "rate.txt").write_text("0.5")
    before = os.getcwd()
    path = write(
        "rate = float(open('rate.txt').read())",
        "one = Experiment('one', 'c', {'a': lambda: net(rate=rate)})",
    )
    assert list(recorded_in(path)) == ["one"] and os.getcwd() == before
    assert list(recorded_in(os.path.relpath(path))) == ["one"]


@pytest.mark.parametrize(
    "cells, message",
    [
        (["x = (1", "Experiment('one', 'c', {'a': net})"], "a.ipynb, cell 2: SyntaxError"),
        (
            ["a = 1\narms = {'a': net, 'b': no_such}", "one = Experiment('one', 'c', arms)"],
            "a.ipynb, cell 2, line 2: NameError: name 'no_such'",
        ),
        (
            ["one = Experiment('one', 'c', {'a': net})\nruns = run(one)", "best = runs.max()"]
            + ["two = Experiment('two', 'c', {best: net})"],
            "a.ipynb, cell 3, line 1: NameError: name 'runs'",
        ),
        (
            ["one = Experiment('one', 'c', {'a': lambda: None})", "run(one)"],
            "a.ipynb, cell 3, line 1: RunError: arm 'a'",
        ),
        (["one = Experiment('one', 'c', {'a': lambda: None})"], "a.ipynb, one: RunError: arm 'a'"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_place(cells, message, write):
    with pytest.raises(DefinitionError, match=message):
        recorded_in(write(*cells))


def test_a_notebook_without_an_experiment_defines_none(write):
    assert recorded_in(write("raise OSError('it ran')")) == {}


def test_what_the_outputs_say_is_read_in_their_order(tmp_path):
    def output(**metadata):
        return nbformat.v4.new_output("display_data", {"text/plain": ""}, metadata=metadata)

    cells = [
        nbformat.v4.new_code_cell("1", outputs=[output(recorded=1), output()]),
        nbformat.v4.new_markdown_cell("text"),
        nbformat.v4.new_code_cell("2", outputs=[output(settled=2)]),
        nbformat.v4.new_code_cell("3", outputs=[nbformat.v4.new_output("stream", text="x")]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    assert stored_metadata(tmp_path / "a.ipynb") == [{"recorded": 1}, {"settled": 2}]
