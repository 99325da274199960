"""What no function of `utils` takes: each is offered it, and has to refuse it in so many words.

`CALLS` holds one good call of every function and method that a notebook, a command or another room
may call. Each of its arguments is then replaced, one at a time, by what is of no kind at all, and
by what is of the wrong kind, range, shape or size. A new public function fails here until it is in
one of the tables below.
"""

import ast
import errno
import functools
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from helpers import record_of, runs_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import utils
from utils import data, figures
from utils.commands import notebooks, plan
from utils.evidence import artifacts, claims, ledger, records, statistics
from utils.evidence.records import RecordFile, Requirements
from utils.evidence.stored import Page
from utils.experiments import Arm, Experiment, Fit, Result, by_scale, metrics, models
from utils.experiments.run import Recorded
from utils.paths import ROOT

resource = pytest.importorskip("resource", reason="limits of Unix are under test")

# ---- good calls ---------------------------------------------------------------------------------

ALT = "A picture in a sentence"
X = np.random.default_rng(1).random((4, 28, 28, 1), np.float32)
Z, KERNEL, KERNEL_T = np.ones((1, 4, 4, 2)), np.ones((3, 3, 2, 1)), np.ones((3, 3, 1, 2))
SHARES, ONE_HOT = np.full((2, 4), 0.25), np.eye(4)[:2]
CHANNELS = np.ones(2)
FRAME = runs_of(a=[0.98, 0.97, 0.99], b=[0.95, 0.96, 0.97])
HAPPENED = runs_of(a=[1.0, 0.0, 1.0], b=[0.0, 0.0, 1.0])
ESTIMATE = statistics.Estimate(0.5, 5, "fixed", lambda confidence: (0, 1))
REQUIRED = Requirements("padding", (0, 1), {"a": {"model": "x"}})
RECORD = {**record_of("padding", "a", 0, 0.9, {"model": "x"})}
STAGE = {
    **{"metric": "loss", "treatment": "a", "baseline": "b", "half_width": 0.1, "pilot": 5},
    **{"spread": 0.1, "wanted": 5, "seeds": 5, "fingerprints": {"a": {"model": "x"}}},
}


@functools.cache
def split():
    return data.load_mnist("quick").split(0, 300)


@functools.cache
def net():
    made = models.classifier(models.layers.Flatten())
    made.build((None, 28, 28, 1))
    return made


@functools.cache
def listed():
    return ledger.entries()


@functools.cache
def result():
    experiment = Experiment("no-such-runs", arms={"a": net, "b": net}, seeds=3)
    return Result(experiment, FRAME, Recorded(Requirements("no-such-runs", (0,), {})))


# Of each function and method its arguments, all of which are changed, one at a time.
CALLS = {
    # Data
    "data.images.shift": lambda: dict(x=X, dy=1, dx=1),
    "data.images.rotate": lambda: dict(x=X, degrees=10.0),
    "data.images.digit_boxes": lambda: dict(x=X),
    "data.images.place": lambda: dict(x=X, row=0, column=0, size=28),
    "data.images.to_border": lambda: dict(x=X, side="top"),
    "data.images.contrast": lambda: dict(x=X, factor=0.5),
    "data.mnist.Split": lambda: dict(
        x_train=X, y_train=np.zeros(4, int), x_test=X, y_test=np.zeros(4, int)
    ),
    "data.mnist.Split.replace": lambda: dict(self=split(), x_test=X, y_test=np.zeros(4, int)),
    "data.mnist.MNIST.split": lambda: dict(self=data.load_mnist("quick"), seed=0, train_size=100),
    "data.mnist.load_mnist": lambda: dict(scale="quick"),
    "data.mnist.hold_out": lambda: dict(split=split(), rng=np.random.default_rng(1), images=9),
    # Theory
    **{
        f"theory.arithmetic.{name}": functools.partial(dict, size=9, kernel=3, stride=2, **more)
        for name, more in {
            "same_padding": {"dilation": 1},
            "padding_widths": {"padding": "same", "dilation": 1},
            "output_size": {"padding": "same", "dilation": 1},
            "unused_border": {"padding": "valid", "dilation": 1},
            "transposed_output_size": {"padding": "same", "dilation": 1, "output_padding": 1},
        }.items()
    },
    "theory.arithmetic.conv_parameters": lambda: dict(
        channels_in=4, filters=4, kernel=(3, 3), bias=True, groups=2
    ),
    "theory.arithmetic.dense_parameters": lambda: dict(units_in=4, units=2, bias=True),
    "theory.arithmetic.batch_norm_parameters": lambda: dict(channels=3),
    "theory.arithmetic.conv_multiply_adds": lambda: dict(
        positions=(5, 5), channels_in=4, filters=4, kernel=3, groups=2
    ),
    "theory.arithmetic.dense_multiply_adds": lambda: dict(units_in=4, units=2),
    "theory.arithmetic.layer_table": lambda: dict(model=net(), known={"a": 1}),
    "theory.arithmetic.multiply_adds": lambda: dict(model=net(), known={"a": 1}),
    "theory.arithmetic.ReceptiveField.pixels": lambda: dict(
        self=utils.theory.arithmetic.ReceptiveField(3, 1, 0.0), index=2
    ),
    "theory.arithmetic.receptive_fields": lambda: dict(
        layers_or_model=[(3, 2, "same")], size=9, axis=0
    ),
    "theory.arithmetic.receptive_field": lambda: dict(
        layers_or_model=[(3, 2, "same")], size=9, axis=0
    ),
    "theory.reference.conv2d": lambda: dict(
        x=Z, kernel=KERNEL, bias=np.ones(1), stride=1, padding="same", dilation=1
    ),
    "theory.reference.conv2d_input_gradient": lambda: dict(
        dy=Z[..., :1], kernel=KERNEL, size=(4, 4), stride=1, padding="same", dilation=1
    ),
    "theory.reference.conv2d_kernel_gradient": lambda: dict(
        dy=Z[..., :1], x=Z, kernel_size=(3, 3), stride=1, padding="same", dilation=1
    ),
    "theory.reference.conv2d_transpose": lambda: dict(
        x=Z,
        kernel=KERNEL_T,
        bias=np.ones(1),
        stride=2,
        padding="valid",
        dilation=1,
        output_padding=1,
    ),
    "theory.reference.conv_matrix": lambda: dict(
        kernel=KERNEL, size=(4, 4), stride=1, padding="same", dilation=1
    ),
    "theory.reference.max_pool": lambda: dict(x=Z, pool=2, stride=2, padding="same"),
    "theory.reference.average_pool": lambda: dict(x=Z, pool=2, stride=2, padding="same"),
    "theory.reference.max_pool_gradient": lambda: dict(
        dy=Z[:, :2, :2], x=Z, pool=2, stride=2, padding="same"
    ),
    "theory.reference.average_pool_gradient": lambda: dict(
        dy=Z[:, :2, :2], x=Z, pool=2, stride=2, padding="same"
    ),
    "theory.reference.relu": lambda: dict(x=Z, slope=0.1),
    "theory.reference.relu_gradient": lambda: dict(dy=Z, x=Z, slope=0.1),
    "theory.reference.dropout_mask": lambda: dict(
        shape=(2, 3), rate=0.5, rng=np.random.default_rng(1)
    ),
    "theory.reference.dropout": lambda: dict(x=Z, rate=0.5, mask=Z > 0),
    "theory.reference.batch_norm": lambda: dict(
        x=Z, gamma=CHANNELS, beta=CHANNELS, mean=CHANNELS, variance=CHANNELS, epsilon=0.1
    ),
    "theory.reference.batch_moments": lambda: dict(x=Z),
    "theory.reference.moving_average": lambda: dict(moving=CHANNELS, batch=CHANNELS, momentum=0.9),
    "theory.reference.batch_norm_gradient": lambda: dict(dy=Z, x=Z, gamma=CHANNELS, epsilon=0.1),
    "theory.reference.softmax": lambda: dict(logits=SHARES),
    "theory.reference.softmax_gradient": lambda: dict(dp=SHARES, probabilities=SHARES),
    "theory.reference.cross_entropy": lambda: dict(
        target=ONE_HOT, probabilities=SHARES, epsilon=1e-7
    ),
    "theory.reference.cross_entropy_gradient": lambda: dict(
        target=ONE_HOT, probabilities=SHARES, epsilon=1e-7
    ),
    "theory.reference.cross_entropy_from_logits": lambda: dict(target=ONE_HOT, logits=SHARES),
    "theory.reference.cross_entropy_from_logits_gradient": lambda: dict(
        target=ONE_HOT, logits=SHARES
    ),
    "theory.reference.squared_error": lambda: dict(target=ONE_HOT, output=SHARES),
    "theory.reference.squared_error_gradient": lambda: dict(target=ONE_HOT, output=SHARES),
    # Evidence
    "evidence.artifacts.pack": lambda: dict(name="w", array=CHANNELS),
    "evidence.artifacts.unpack": lambda: dict(name="w", packed=artifacts.pack("w", CHANNELS)),
    "evidence.claims.join": lambda: dict(outcomes=[statistics.Verdict.SUPPORTED]),
    "evidence.claims.verdict_html": lambda: dict(
        verdict=statistics.Verdict.SUPPORTED, words="words"
    ),
    "evidence.claims.load_ledger": lambda: dict(path=claims.LEDGER),
    "evidence.claims.serves": lambda: dict(experiment="padding", claim_id="max-or-mean"),
    "evidence.claims.settle": lambda: dict(claim_id="max-or-mean", quick=FRAME, full=FRAME),
    **{
        f"evidence.claims.Comparison.{name}": lambda more=more: dict(self=comparison(), **more)
        for name, more in {
            "estimate": {"frame": FRAME},
            "tally": {"frame": FRAME},
            "judge": {"estimate": ESTIMATE},
            "known": {"estimate": ESTIMATE},
            "p_value": {"estimate": ESTIMATE},
            "write": {"value": 1.0, "sign": True},
            "write_interval": {"estimate": ESTIMATE},
        }.items()
    },
    "evidence.claims.Settlement.verdict": lambda: dict(
        self=claims.settle("max-or-mean"), scale="full"
    ),
    "evidence.claims.Settlement.summary": lambda: dict(
        self=claims.settle("max-or-mean"), scale="full"
    ),
    "evidence.export.to_frame": lambda: dict(listed=listed()),
    "evidence.export.to_json": lambda: dict(listed=listed()),
    "evidence.ledger.entries": lambda: dict(chapters=ROOT / "chapters", results=records.RESULTS),
    "evidence.ledger.runs_frame": lambda: dict(chapters=ROOT / "chapters", results=records.RESULTS),
    "evidence.ledger.summary": lambda: dict(listed=listed()),
    "evidence.ledger.summary_html": lambda: dict(listed=listed()),
    "evidence.ledger.control_html": lambda: dict(listed=listed()),
    "evidence.ledger.controls_html": lambda: dict(listed=listed()),
    "evidence.ledger.download_html": lambda: dict(content=FRAME, name="a.csv", text="A table"),
    "evidence.ledger.section_html": lambda: dict(
        listed=listed(), section=listed()[0].claim.section, pages={"padding"}
    ),
    "evidence.records.key": lambda: dict(record=RECORD),
    "evidence.records.Requirements.from_metadata": lambda: dict(stored=REQUIRED.to_metadata()),
    "evidence.records.Requirements.counting": lambda: dict(self=REQUIRED, records=[RECORD]),
    "evidence.records.Requirements.changed": lambda: dict(self=REQUIRED, records=[RECORD]),
    "evidence.records.RecordFile.of": lambda: dict(experiment="padding"),
    "evidence.records.RecordFile.append": lambda: dict(self=new_file(), record=RECORD),
    "evidence.records.RecordFile.append_stage": lambda: dict(self=new_file(), stage=STAGE),
    "evidence.stages.frame": lambda: dict(required=REQUIRED, records=[RECORD]),
    "evidence.stages.due": lambda: dict(required=REQUIRED),
    "evidence.stages.describe": lambda: dict(stage=STAGE),
    "evidence.statistics.Estimate.interval": lambda: dict(self=ESTIMATE, confidence=0.9),
    **{
        f"evidence.statistics.{name}": lambda more=more: dict(metric="test_accuracy", **more)
        for name, more in {
            "paired_difference": {"frame": FRAME, "treatment": "a", "baseline": "b"},
            "differences": {"frame": FRAME, "treatment": "a", "baseline": "b"},
            "mean": {"frame": FRAME, "arm": "a"},
            "proportion": {"frame": HAPPENED, "arm": "a"},
            "proportion_difference": {"frame": HAPPENED, "treatment": "a", "baseline": "b"},
        }.items()
    },
    **{
        f"evidence.statistics.{name}": lambda more=more: dict(
            estimate=ESTIMATE, margin=0.1, expect="increase", size=0.2, **more
        )
        for name, more in {"judge": {"confidence": 0.9}, "known": {}, "p_value": {}}.items()
    },
    "evidence.statistics.stein_seeds": lambda: dict(spread=1.0, half_width=0.5, pilot=5, cap=40),
    "evidence.statistics.control_false_discoveries": lambda: dict(p_values=[0.1, 0.2], rate=0.05),
    "evidence.stored.Page.read": lambda: dict(path=ROOT / "chapters" / "padding.ipynb"),
    "evidence.stored.Page.of": lambda: dict(notebook=notebook()),
    "evidence.stored.stored_metadata": lambda: dict(path=ROOT / "chapters" / "padding.ipynb"),
    "evidence.stored.code_hash": lambda: dict(notebook=notebook()),
    "evidence.table.table": lambda: dict(records=[RECORD], name="a", scale="full"),
    "evidence.table.last_epoch": lambda: dict(frame=FRAME),
    "evidence.table.evaluate": lambda: dict(frame=FRAME, expression="epoch + seed"),
    "evidence.table.columns_of": lambda: dict(expression="epoch + seed"),
    "evidence.table.describe_runs": lambda: dict(frame=FRAME),
    # Experiments
    "experiments.metrics.predictions": lambda: dict(model=net(), images=X),
    "experiments.metrics.train_accuracy": lambda: dict(model=net(), split=split()),
    "experiments.metrics.epochs_to": lambda: dict(accuracy=0.9),
    "experiments.metrics.seconds_to": lambda: dict(accuracy=0.9),
    "experiments.metrics.reached": lambda: dict(course=[0.5, 0.9], accuracy=0.9),
    "experiments.metrics.log2_milliseconds": lambda: dict(model=net(), split=split()),
    "experiments.metrics.reliability": lambda: dict(
        probabilities=SHARES, labels=np.array([0, 1]), bins=5
    ),
    "experiments.metrics.calibration_error": lambda: dict(
        table=metrics.reliability(SHARES, np.array([0, 1]))
    ),
    "experiments.models.classifier": lambda: dict(classes=10, learning_rate=0.1),
    "experiments.models.deep": lambda: dict(learning_rate=0.1, between=tuple, behind=tuple),
    "experiments.models.pairs": lambda: dict(count=1),
    "experiments.spec.Spec": lambda: dict(name="a", arms={"a": net}),
    "experiments.run.Experiment.fingerprints": lambda: dict(
        self=result().experiment, scale="quick"
    ),
    "experiments.run.Result.verdict": lambda: dict(self=result(), claim="max-or-mean"),
    "experiments.run.Result.expect": lambda: dict(
        self=result(), claim="max-or-mean", verdict="supported"
    ),
    "experiments.run.Result.expect_best": lambda: dict(self=result(), chosen={}),
    "experiments.spec.Fit.at": lambda: dict(self=Fit(), scale="quick"),
    "experiments.spec.ByScale.at": lambda: dict(self=by_scale(1, 2), scale="quick"),
    "experiments.training.build": lambda: dict(arm=Arm(net)),
    # Figures
    **{
        f"figures.charts.{name}": lambda more=more: dict(result=FRAME, alt=ALT, **more)
        for name, more in {
            "compare": {
                "metrics": "test_accuracy",
                "arms": ["a", "b"],
                "baseline": "a",
                "margin": 0.1,
                "groups": {"A": ["a"]},
                "title": "t",
                "label": "l",
                "differences": {"d": ("a", "b")},
            },
            "curves": {
                "metrics": "test_accuracy",
                "arms": {"a": "A"},
                "reference": {"chance": 0.1},
                "title": "t",
                "label": "l",
            },
            "tradeoff": {
                "x": "train_size",
                "y": "test_accuracy",
                "xlabel": "x",
                "ylabel": "y",
                "arms": ["a"],
                "groups": {"A": ["a"]},
                "log": True,
                "join": True,
                "reference": {"chance": 0.1},
                "title": "t",
                "label": "l",
            },
            "sweep": {
                "metrics": "test_accuracy",
                "arms": {"s": {"a": 1, "b": 2}},
                "xlabel": "x",
                "names": {"s": "S"},
                "together": True,
                "ylabel": "y",
                "baseline": "a",
                "margin": 0.1,
                "spread": "band",
                "log": True,
                "marks": {"s": 1},
                "reference": {"chance": 0.1},
                "title": "t",
                "label": "l",
            },
            "cumulative": {
                "steps": ["a", "b"],
                "metric": "test_accuracy",
                "groups": {"A": ["a"]},
                "title": "t",
                "label": "l",
            },
        }.items()
    },
    "figures.charts.lines": lambda: dict(
        x=[1, 2],
        series={"a": [1, 2]},
        xlabel="x",
        ylabel="y",
        alt=ALT,
        log="xy",
        reference={"chance": 0.1},
        title="t",
    ),
    "figures.charts.intervals": lambda: dict(
        axes=axes(), estimates={"a": ESTIMATE}, margin=0.1, factor=1.0, groups=["A"]
    ),
    "figures.charts.network_costs": lambda: dict(models={"a": net()}, alt=ALT),
    "figures.diagrams.shape_walk": lambda: dict(models={"a": net()}),
    "figures.diagrams.convolution_arithmetic": lambda: dict(
        cases={"a": {"size": 5, "kernel": 3}}, columns=1
    ),
    "figures.images.image": lambda: dict(
        axes=axes(), pixels=np.eye(3), title="t", signed=True, values=True
    ),
    "figures.images.image_grid": lambda: dict(
        rows={"a": [np.eye(3)]},
        columns=["c"],
        alt=ALT,
        signed=True,
        values=True,
        shared="row",
        size=1.0,
        to_scale=True,
    ),
    "figures.report.glue_texts": lambda: dict(texts={"a": "b"}),
    "figures.report.glue_claims": lambda: dict(
        settled={"a": claims.settle("max-or-mean")}, parts={}
    ),
    "figures.report.glue_numbers": lambda: dict(
        result=result(),
        numbers={"a": ("test_accuracy", "a")},
        unit="percent",
        text="{value}",
        scale="quick",
    ),
    "figures.runs.estimate": lambda: dict(
        frame=FRAME, metric="test_accuracy", treatment="a", baseline="b"
    ),
    "figures.runs.minus": lambda: dict(text="-1"),
    "figures.style.figure": lambda: dict(width=2.0, height=2.0),
    "figures.style.say": lambda: dict(axes=axes(), words="w"),
    "figures.style.show": lambda: dict(figure=figures.figure()[0], alt=ALT),
    "figures.style.to_svg": lambda: dict(figure=figures.figure()[0], alt=ALT, salt="s"),
    # Widgets
    "widgets.draw.draw_a_digit": lambda: dict(networks={"a": net()}, examples=examples(), first=0),
    "widgets.draw.draw_html": lambda: dict(networks={"a": net()}, examples=examples(), first=0),
    "widgets.draw.described": lambda: dict(model=net()),
    "widgets.explorer.explorer": lambda: dict(
        size=3,
        kernel=2,
        stride=1,
        padding="same",
        dilation=1,
        transposed=False,
        channels=1,
        filters=1,
        image=np.eye(3),
        weights=np.eye(2),
        bias=0.0,
    ),
    "widgets.explorer.explorer_html": lambda: dict(
        settings=SETTINGS, image=np.eye(3), weights=np.eye(2), bias=0.0
    ),
    "widgets.live.live": lambda: dict(
        draw=drawn,
        controls={"n": (1, 3)},
        states={"one": {"n": 1}, "two": {"n": 2}},
        label="l",
        button="b",
    ),
    "widgets.page.whole": lambda: dict(kind="slider", label="l", state={}, content="c"),
    "widgets.page.script": lambda: dict(kind="slider"),
    "widgets.page.show": lambda: dict(markup="m", words="w"),
    "widgets.slider.slider": lambda: dict(
        states=[(n, figures.figure()[0], ALT) for n in "ab"], label="l"
    ),
    # Commands
    "commands.book.pages": lambda: dict(source=ROOT),
    "commands.book.notebooks": lambda: dict(source=ROOT),
    "commands.book.missing_pages": lambda: dict(source=ROOT, html=ROOT),
    "commands.costs.duration": lambda: dict(seconds=60.0),
    "commands.notebooks.notebook_of_claim": lambda: dict(claim="max-or-mean", source=ROOT),
    "commands.notebooks.tidy": lambda: dict(
        notebook=nbformat.from_dict(notebook()), stderr={0: ""}
    ),
    "commands.plan.notebook": lambda: dict(path=ROOT / "chapters" / "padding.ipynb"),
    "commands.plan.name_of": lambda: dict(path=ROOT / "chapters" / "padding.ipynb"),
    "commands.plan.Notebook.of_claim": lambda: dict(
        self=plan.notebook(ROOT / "chapters" / "padding.ipynb"), claim_id="max-or-mean"
    ),
}
SETTINGS = dict(size=3, kernel=2, stride=1, padding="same", dilation=1, channels=1, filters=1)
SETTINGS |= {"transposed": False}


def comparison():
    return claims.Comparison("says", "x", "test_accuracy", "a", "increase", 0.1, "b")


def new_file():
    import tempfile

    return RecordFile(Path(tempfile.mkdtemp()) / "x.jsonl")


def notebook():
    return json.loads((ROOT / "chapters" / "padding.ipynb").read_text(encoding="utf-8"))


def axes():
    return figures.figure()[1][0, 0]


def examples():
    return {"A": ([1], np.zeros((1, 28, 28), np.uint8))}


def drawn(n):
    return figures.figure()[0], ALT


# What other tests offer bad input to, and more than a table holds: processes, files, networks.
ELSEWHERE = {
    "commands.book.build": "book: whatever_is_broken_on_a_page_is_said_and_fails_the_build",
    "commands.book.main": "bad_input: a_command_says_what_it_cannot_do",
    "commands.check.requirements": "check: check_names_a_missing_requirements_file",
    "commands.check.main": "check: check_names_a_missing_requirements_file",
    "commands.export.main": "bad_input: a_command_says_what_it_cannot_do",
    "commands.notebooks.main": "bad_input: a_command_says_what_it_cannot_do",
    "commands.notebooks.execute": "commands: a_failing_notebook_does_not_stop_the_next",
    "commands.notebooks.store": "commands: a_half_written_notebook_leaves_the_old_one",
    "data.source.find": "data: faulty_file",
    "experiments.backends.dask.connect": "cluster: ",
    "experiments.backends.dask.train": "cluster: ",
    "experiments.backends.local.train": "processes: ",
    "experiments.memory.peak_memory": "memory: batch_sizes_that_do_not_rise_are_refused",
    "experiments.run.Experiment.run": "errors: ",
    "experiments.fingerprint.plain": "fingerprint: ",
    "experiments.training.train": "experiment: an_arm_that_fails_is_named_with_its_seed",
    "figures.style.figure": "bad_input: what_a_figure_or_a_widget_holds_is_checked",
    "experiments.backends.local.whole_from_1": "bad_input: a_command_says_what_it_cannot_do",
    "commands.cards.main": "cards: without_a_browser_it_says_so_and_keeps_the_cards",
    "commands.course.picture": "cards: a_picture_that_is_none_is_refused",
    "commands.claim.begin": "claim: a_name_that_is_none_is_refused_and_nothing_is_written",
    "commands.claim.main": "claim: the_command_says_what_is_wrong_without_a_traceback",
    "commands.course.chapters": "pages: a_map_that_does_not_fit_the_book_is_refused",
    "commands.pdf.main": "pdf: without_a_browser_it_says_so_and_builds_nothing",
    "commands.pdf.write": "pdf: a_link_to_nothing_is_refused",
    "data.arrays.from_arrays": "arrays: bad_arrays_are_refused_by_name_kind_and_what_is_allowed",
    "data.arrays.from_npz": "arrays: a_file_that_is_no_intact_archive_is_refused",
    "data.arrays.Dataset.split": "arrays: a_size_that_leaves_no_image_of_a_class_is_refused",
    "data.arrays.Dataset.fingerprint": "arrays: a_hash_follows_every_array_and_nothing_else",
    "evidence.claims.require_arms": (
        "experiment: a_claim_that_asks_for_what_an_experiment_has_not_is_refused"
    ),
    "evidence.claims.read_claim": "arrays: a_claim_that_is_not_as_it_must_be_is_refused",
    "evidence.ledger.fill": "pages: ",
    "evidence.overview.counts": "pages: ",
    "evidence.overview.finding_html": "pages: a_finding_of_nothing_is_refused",
    "evidence.overview.lines_html": "pages: ",
    "evidence.overview.squares_html": "pages: a_claim_of_a_chapter_that_is_not_in_the_book_is_told",
    "evidence.seal.check": "sealed: a_rule_that_is_changed_after_the_run_is_told",
    "evidence.seal.renew": "sealed: a_number_that_is_changed_is_told_and_not_sealed",
    "evidence.stored.outputs_hash": "book: ",
    "widgets.question.outcome": "question: what_is_no_question_is_refused",
    "widgets.question.predict": "question: what_is_no_question_is_refused",
    "widgets.question.quiz": "question: what_is_no_question_is_refused",
}

# Their code is part of the fingerprints of recorded runs: to check more would make these stale.
FROZEN = {
    *(
        "data.mnist.hold_out",
        "experiments.metrics.predictions",
        "experiments.metrics.train_accuracy",
    ),
    *("experiments.metrics.reached", "experiments.metrics.log2_milliseconds"),
}

# Modules of which other rooms use names that also mean something else.
INNER = {"costs", "fitting", "forest", "parts", "plain", "policy", "progress", "runs", "traced"}
INNER |= {"training", "worker"}

# Whatever is given is taken.
FREE = {
    "experiments.spec.by_scale": {"quick", "full"},
    "utils.lazy.giving": {"room", "homes"},
    "widgets.page.whole": {"state"},  # JSON refuses it.
    "figures.charts.compare": {"arms"},  # Which `differences` stand in for.
}


# ---- what there is ------------------------------------------------------------------------------


def public():
    """Find every public function and method with arguments, by its name in `utils`."""
    found = {}
    for module in pkgutil.walk_packages(utils.__path__, "utils."):
        home = importlib.import_module(module.name)
        for name, thing in vars(home).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != module.name:
                continue
            whole = f"{module.name}.{name}".removeprefix("utils.")
            if not inspect.isclass(thing):
                found[whole] = thing
                continue
            if "__post_init__" in vars(thing):
                found[whole] = thing
            found |= {
                f"{whole}.{each}": getattr(thing, each)
                for each, method in vars(thing).items()
                if not each.startswith("_")
                and isinstance(method, (classmethod, staticmethod, type(public)))
            }
    return {
        name: function
        for name, function in found.items()
        if callable(function) and set(inspect.signature(function).parameters) - {"self", "cls"}
    }


def named_outside():
    """Say for each room which words stand in notebooks, in other rooms, and in what it gives."""
    words = {}
    for path in ROOT.glob("chapters/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join("".join(cell["source"]) + "\n" for cell in cells if "outputs" in cell)
        words[path] = None, set(re.findall(r"\w+", text))
    for path in (ROOT / "utils").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words[path] = path.relative_to(ROOT / "utils").parts[0], names
    rooms = {room for room, _ in words.values() if room}
    return {
        room: set().union(*(names for home, names in words.values() if home != room))
        | set(getattr(importlib.import_module(f"utils.{room.removesuffix('.py')}"), "__all__", ()))
        for room in rooms
    }


def test_every_function_that_others_call_has_its_bad_input():
    """A helper of one room, which its own functions call with what they checked, needs none."""
    outside, functions = named_outside(), public()
    called = {
        name
        for name in functions
        if name.split(".")[0] not in ("checked", "lazy", "paths")
        and (name.endswith(".main") or name.split(".")[-1] in outside[name.split(".")[0]])
    }
    # Words that other rooms use for something else.
    helpers = {
        *(
            "commands.plan.experiments",
            "experiments.fingerprint.digest",
            "widgets.explorer.numbers",
        ),
        *("evidence.records.check_name", "experiments.spec.Spec.arms_at"),
    } | {name for name in called if not {*name.split(".")[1:3]}.isdisjoint(INNER)}
    left = sorted(called - helpers - set(CALLS) - set(ELSEWHERE) - set(FREE))
    assert "\n".join(left) == ""
    assert sorted({*CALLS, *ELSEWHERE, *FROZEN} - set(functions)) == []


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_a_test_that_stands_elsewhere_is_there(place):
    file, _, name = place.partition(": ")
    text = (ROOT / "tests" / f"test_{file}.py").read_text(encoding="utf-8")
    assert f"def test_{name}" in text


# ---- what is offered ----------------------------------------------------------------------------


class Alien:
    """What no function of the course takes."""

    def __repr__(self):
        return "<an alien>"


HOSTILE = [
    *[None, True, -1, 0, 10**30, float("nan"), float("inf"), 1j, "", b"x", "x" * 20_000],
    *["../../etc/passwd\0\n<script>alert(1)</script>", [], {}, [None], {"x": None}],
    *[np.zeros(0), np.full((2, 2), np.nan), np.zeros((1,) * 6)],
]
# What it may raise, besides an error about a file, which names the file.
ALLOWED = (ValueError, TypeError, RuntimeError)
# Names that messages have for an argument, or for what is in it.
ALIASES = {
    "model",
    "arm",
    "arms",
    "artifact",
    "expression",
    "metric",
    "pixels",
    "record",
    "metrics",
}


def function_of(name):
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(["utils", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found


def call(name, **changed):
    function, arguments = function_of(name), {**CALLS[name](), **changed}
    own = [arguments.pop("self")] if "self" in arguments else []
    return function(*own, **arguments)


def complaint(name, argument, value, again=True):
    """Offer a value for one argument; return what is wrong with the answer, and whether it took it.

    A refusal says which argument it is about, in less than a second of this process; at the second
    time, where the first had something to import or the machine was busy.
    """
    function, start = function_of(name), time.process_time()
    try:
        call(name, **{argument: value})
        return "", True
    except Exception as error:
        said, words = (
            str(error),
            {*inspect.signature(function).parameters, *CALLS[name](), *ALIASES},
        )
        named = any(re.search(rf"\b{word.rstrip('s')}", said) for word in words - {"self"})
        known = (
            isinstance(error, (*ALLOWED, KeyError, OSError)) and type(error) is not RecursionError
        )
        # A file is named, and so is a field that is missing; a cache looks first.
        named |= isinstance(error, OSError) and error.filename is not None
        named |= isinstance(error, KeyError) and "KeyError" in (function.__doc__ or "")
        named |= "unhashable" in said and hasattr(function, "cache_clear")
        fast = time.process_time() - start < 1
        if again and not fast:
            return complaint(name, argument, value, again=False)
        return ("" if known and named and fast else repr(error)[:300]), False
    finally:
        assert time.process_time() - start < 20, f"{name}: {argument}={value!r:.50} takes long"


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Record in a folder of the test, draw nothing that nobody looks at, and show nothing."""
    (tmp_path / "results").mkdir()
    monkeypatch.setenv("NEW_FOLDER", str(tmp_path / "results"))
    monkeypatch.setenv("MNIST_LIVE", "0")
    for module in ("charts", "parts", "images"):
        home = importlib.import_module(f"utils.figures.{module}")
        monkeypatch.setattr(home, "show", lambda figure, alt: figures.style.require_alt(alt))


@pytest.fixture
def little_memory():
    """Let this process have two more gigabytes: a number that asks for more is an error."""
    status, usual = Path("/proc/self/status"), resource.getrlimit(resource.RLIMIT_DATA)
    if not status.exists():  # macOS, which does not hold a process to it.
        yield
        return
    lines = status.read_text(encoding="utf-8").splitlines()
    used = next((int(line.split()[1]) for line in lines if line.startswith("VmData")), 0)
    resource.setrlimit(resource.RLIMIT_DATA, (used * 1024 + 2**31, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, usual)


@pytest.mark.parametrize("name", sorted(set(CALLS) - FROZEN))
def test_what_is_of_no_kind_is_refused_by_the_name_of_its_argument(name):
    wrong = []
    for argument in CALLS[name]():
        if argument == "self" or argument in FREE.get(name, ()):
            continue
        said, taken = complaint(name, argument, Alien())
        if said or taken:
            wrong.append(f"{argument}: {said or 'is taken'}")
    assert not wrong, "\n".join(wrong)


def draws(name):
    return name.startswith(("figures", "widgets"))


@pytest.mark.parametrize("name", sorted(name for name in set(CALLS) - FROZEN if not draws(name)))
def test_what_is_of_the_wrong_kind_size_or_shape_is_taken_or_refused_in_words(name, little_memory):
    wrong = []
    for argument in CALLS[name]():
        if argument != "self" and argument not in FREE.get(name, ()):
            found = {repr(value)[:40]: complaint(name, argument, value)[0] for value in HOSTILE}
            wrong += [f"{argument}={value}: {said}" for value, said in found.items() if said]
    assert not wrong, "\n".join(wrong)


ANYTHING = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
        *(st.binary(max_size=5), st.complex_numbers(), st.sampled_from(HOSTILE)),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(st.data())
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_given_is_taken_or_refused_in_words(little_memory, data):
    name = data.draw(st.sampled_from(sorted(set(CALLS) - FROZEN)))
    arguments = sorted(set(CALLS[name]()) - {"self"} - FREE.get(name, set()))
    argument = data.draw(st.sampled_from(arguments))
    assert complaint(name, argument, data.draw(ANYTHING))[0] == ""


FIELDS = [
    (lambda: figures.figure(-1, 2), "width=-1; allowed is above 0"),
    (lambda: figures.figure(2, float("nan")), "height=nan"),
    (lambda: figures.curves(FRAME, [], alt=ALT), "metrics=[]; allowed is at least one"),
    (lambda: figures.sweep(FRAME, "test_accuracy", [], xlabel="x", alt=ALT), "arms=[]; allowed"),
    (lambda: figures.sweep(FRAME, "test_accuracy", {}, xlabel="x", alt=ALT), "arms={} has none"),
    (lambda: figures.lines([], {"a": []}, alt=ALT), "x has 0 entries"),
    (lambda: figures.lines([1], {"a": [1]}, alt=ALT, log="z"), "log='z'; allowed"),
    (lambda: figures.intervals(axes(), {}), "estimates is empty"),
    (lambda: figures.network_costs({}, alt=ALT), "models is empty"),
    (lambda: figures.shape_walk({"x": None}), "models: 'x'=None"),
    (lambda: figures.shape_walk({}), "one at least"),
    (lambda: figures.glue_claims({"x": None}), "settled['x']=None; allowed is what"),
    (lambda: titled("x" * 1_001), "figure has a text of 1,001 letters; allowed are 1,000"),
]


def titled(text):
    drawing, places = figures.figure()
    places[0, 0].set_title(text)
    return figures.to_svg(drawing, ALT)


@pytest.mark.parametrize(("call", "message"), FIELDS, ids=[message for _, message in FIELDS])
def test_what_a_figure_or_a_widget_holds_is_checked(call, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message).replace("…", ".*")):
        call()


SCRIPT = '</script><script>alert("1")</script><img src=x onerror=alert(1)>'


def test_a_name_that_is_markup_stays_a_name():
    from utils.widgets import page

    written = page.whole("slider", SCRIPT, {"label": SCRIPT}, "")
    listing = ledger.download_html(SCRIPT, f"{SCRIPT}.json", SCRIPT)
    for text in (written, listing, titled("a <b>bold</b> & more"), claims.verdict_html(None)):
        assert "alert(" not in re.sub(r"&quot;|&#34;|&#x27;", '"', text.replace("&lt;", "@")) or (
            "<img" not in text and "<script>alert" not in text
        )
        assert "<img" not in text and "<b>" not in text


# ---- files --------------------------------------------------------------------------------------

BOMB = "\n".join(
    ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
)
BAD_YAML = {
    "a bomb of aliases": (BOMB, "alias 'a0'; allowed is none"),
    "an object of Python": ("!!python/object/apply:os.system ['touch ran']", "python/object"),
    "deep nesting": ("[" * 5_000, "brackets in brackets; allowed are 20 levels"),
    "a number of many digits": ("claims: " + "9" * 10_000, "path="),
    "no text": ("\0", "path="),
    "a list": ("- 1", "allowed is object"),
    "nothing": ("", "None; allowed is object"),
}


@pytest.mark.parametrize("kind", BAD_YAML)
def test_a_ledger_that_is_none_is_refused_at_once_and_runs_nothing(kind, tmp_path, monkeypatch):
    text, message = BAD_YAML[kind]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims.yml").write_text(text, encoding="utf-8")
    importlib.import_module("jsonschema")  # Its import takes longer than the check.
    start = time.process_time()
    with pytest.raises(claims.LedgerError, match=re.escape(message)):
        claims.load_ledger(tmp_path / "claims.yml")
    assert time.process_time() - start < 1 and not (tmp_path / "ran").exists()


BAD_NOTEBOOKS = ["", "{", "[]", "[" * 100_000, '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}']
BAD_NOTEBOOKS += ['{"cells": ' + "9" * 10_000 + "}", "\0", '{"a": {"cells": []}}']


@pytest.mark.parametrize("text", BAD_NOTEBOOKS, ids=lambda text: f"{len(text)} letters")
def test_a_file_that_is_no_notebook_is_named(text, tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"path='.*a\.ipynb' is no notebook"):
        Page.read(path)
    with pytest.raises(SystemExit):
        notebooks.main([str(path)])
    assert "is no notebook" in capsys.readouterr().err and path.read_text("utf-8") == text


def test_a_notebook_leads_to_no_file_but_records():
    for name in ("../../etc/passwd", "/etc/passwd", "a\nb", "", "x\0", "C:\\x", None):
        stored = {**REQUIRED.to_metadata(), "experiment": name}
        with pytest.raises(ValueError, match="experiment=|stored="):
            Requirements.from_metadata(stored)
        with pytest.raises(ValueError, match="experiment="):
            RecordFile.of(name)
    for change in ({"seeds": 3}, {"fingerprints": []}, {"pilot": "5"}, {"more": 1}):
        with pytest.raises(ValueError, match="stored="):
            Requirements.from_metadata({**REQUIRED.to_metadata(), **change})


NO_RUNS = [
    *[b"[" * 100_000, b'{"arm": ' + b"9" * 10_000 + b"}", b'{"id": 7, "event": "click"}'],
    *[b'{"stage": {"pilot": 5}}', b'{"arm": NaN}', b"a,b,c", b"\xff\xfe", b"\x80\x04K\x01."],
    json.dumps({"stage": {**STAGE, "fingerprints": None}}).encode(),
    json.dumps({"stage": {**STAGE, "pilot": "5"}}).encode(),
]


@pytest.mark.parametrize("line", NO_RUNS, ids=lambda line: repr(line[:30]))
def test_a_line_of_another_project_is_damage_and_costs_nothing_else(line):
    file = new_file()
    file.append(RECORD)
    with open(file.path, "ab") as opened:
        opened.write(line + b"\n")
    assert file.read() == ([RECORD], [2]) and file.stages() == []
    file.append({**RECORD, "seed": 1})
    assert len(file.read()[0]) == 2


@pytest.mark.parametrize("record", [{}, {"arm": ["a"], "seed": 0, "fingerprint": {}}, {"arm": "a"}])
def test_what_could_not_be_read_again_is_not_written(record):
    file = new_file()
    with pytest.raises(ValueError, match="record=.*; allowed is a dict with arm, seed"):
        file.append(record)
    with pytest.raises(ValueError, match="stage=.*"):
        file.append_stage(record)
    assert not file.path.exists()


# ---- disks --------------------------------------------------------------------------------------


def test_a_notebook_that_does_not_fit_on_the_disk_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.ipynb"
    small = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    notebooks.store(small, path)
    before, usual = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    large = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1" * 100_000)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, usual[1]))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            notebooks.store(large, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert path.read_bytes() == before and set(tmp_path.iterdir()) == {path, tmp_path / "results"}


LOCKED = """
import os, sys
from pathlib import Path
import nbformat
from utils.commands import notebooks
from utils.evidence.records import RecordError, RecordFile
notebook = nbformat.v4.new_notebook()
nbformat.writes(notebook)
if os.geteuid() == 0:  # Whom no permission binds.
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
folder = Path(sys.argv[1])
file = RecordFile(folder / "x.jsonl")
for attempt in (
    file.require_writable,
    lambda: file.append({"arm": "a", "seed": 0, "fingerprint": {}}),
    lambda: notebooks.store(notebook, folder / "a.ipynb"),
):
    try:
        attempt()
        print("written")
    except (RecordError, OSError) as error:
        print(type(error).__name__, error)
"""


def test_a_folder_without_permission_is_named_and_stays_as_it_was(tmp_path_factory):
    import tempfile

    with tempfile.TemporaryDirectory() as place:  # Whoever it is may walk to it.
        folder = Path(place) / "locked"
        folder.mkdir()
        folder.chmod(0o555)
        Path(place).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", LOCKED, str(folder)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
        )
        ready, run, notebook = done.stdout.splitlines() or [done.stderr]
        assert ready.startswith("RecordError x.jsonl: ") and "is read-only" in ready
        assert run.startswith("RecordError x.jsonl: the run of arm 'a', seed 0 was trained but not")
        assert notebook.startswith("PermissionError") and "a.ipynb" in notebook
        assert list(folder.iterdir()) == []


# ---- commands -----------------------------------------------------------------------------------

COMMANDS = [
    ("book", ["--source", "{}/nowhere"], "source='{}/nowhere'"),
    ("book", ["--source", "{}"], "holds no _toc.yml"),
    ("book", ["--source", "{}/broken"], "its _toc.yml is none"),
    ("export", ["--source", "{}/nowhere"], "source='{}/nowhere'"),
    ("check", ["--requirements", "{}/nowhere"], "cannot read {}/nowhere"),
    ("check", ["--requirements", "{}"], "cannot read {}"),
    ("check", ["--requirements", "{}/file"], "cannot read {}/file"),
    ("notebooks", ["--jobs", "0"], "'0': allowed is a whole number from 1"),
    ("notebooks", ["--jobs", "9" * 5_000], "allowed is a whole number from 1"),
    ("notebooks", ["--jobs", "²"], "allowed is a whole number from 1"),
    ("notebooks", ["--claim", "../../etc/passwd"], "claim='../../etc/passwd' is not in claims.yml"),
    ("notebooks", ["--claim", "<script>\n"], "is not in claims.yml"),
    ("notebooks", ["{}"], "no notebook '{}' here"),
    ("notebooks", ["x" * 5_000 + ".ipynb"], "no notebook"),
    ("notebooks", ["a\0.ipynb"], "no notebook"),
    ("notebooks", ["--scheduler", "nonsense", "{}/good.ipynb"], "scheduler='nonsense'"),
]


@pytest.mark.parametrize(
    ("command", "arguments", "message"), COMMANDS, ids=[f"{c} {a[0]:.20}" for c, a, _ in COMMANDS]
)
def test_a_command_says_what_it_cannot_do(command, arguments, message, tmp_path, capsys):
    (tmp_path / "file").write_text("=== no requirement", encoding="utf-8")
    notebooks.store(nbformat.v4.new_notebook(), tmp_path / "good.ipynb")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "_toc.yml").write_text("root: [", encoding="utf-8")
    module = importlib.import_module(f"utils.commands.{command}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(SystemExit) as end:
        module.main([argument.replace("{}", str(tmp_path)) for argument in arguments])
    assert end.value.code == 2
    assert message.replace("{}", str(tmp_path)) in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
