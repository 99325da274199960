"""What an experiment consists of: its arms, how they train, and what is measured."""

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from utils import data
from utils.checked import shown
from utils.evidence.records import check_name
from utils.evidence.table import LEADING

if TYPE_CHECKING:
    import keras

# The columns of the table that are neither Keras's metrics nor those of the experiment.
_TAKEN = (*LEADING, "parameters", "seconds")


class RunError(RuntimeError):
    """A run failed; the message names the arm and the seed."""


SCHEDULES = ("constant", "one_cycle", "cosine")


class ByScale(NamedTuple):
    """A setting that differs between the two scales."""

    quick: Any
    full: Any

    def at(self, scale: str):
        """Return the setting at one scale, ``"quick"`` or ``"full"``."""
        return getattr(self, _checked_scale(scale))


def by_scale(quick, full) -> ByScale:
    """Give a setting of an experiment one value per scale.

    Parameters
    ----------
    quick, full : object
        The value at quick scale and at full scale.

    Returns
    -------
    ByScale
        Accepted for the arms, the seeds and all training settings of an `Experiment`, and for
        every field of `Fit`.
    """
    return ByScale(quick, full)


class Stein(NamedTuple):
    """As many seeds as a pilot's spread asks for, by Stein's two-stage procedure.

    Parameters
    ----------
    first : int
        The first seed; the others follow it.
    pilot : int
        Number of seeds of the pilot, at least 5.
    cap : int
        Largest number of seeds, at least `pilot`.
    """

    first: int = 100
    pilot: int = 10
    cap: int = 40


@dataclass(frozen=True)
class Fit:
    """How an arm trains: for how long, and on what.

    Parameters
    ----------
    epochs : int or ByScale
        Passes over the training images, at least 1.
    batch_size : int or ByScale
        Training images in one update, at least 1.
    train_size : int, None or ByScale
        Train on so many images, at least 10, drawn by the seed and stratified by class; None for
        all.
    shuffle : bool or ByScale
        False presents the images of the first epoch in the order in which `Arm.prepare` left them;
        every later epoch is shuffled in any case.
    test_every : int or ByScale
        Evaluate on the test images after every so many epochs, at least 1, and after the last;
        other rows of the table have no ``test_`` metrics. With few training images, testing takes
        most of the time.
    schedule : {"constant", "one_cycle", "cosine"} or ByScale
        How the learning rate that the model was compiled with changes over all updates of a run: it
        stays the same; it is reached linearly from a 25th of it in the first three tenths of the
        updates, then falls to 0 along a half-cosine; or it falls like this from the start.
    precise_batch_norm : bool or ByScale
        True recalibrates the moving statistics of each batch normalisation, on at most 10,000
        training images, before the last test [1]_.
    trace_every : int, None or ByScale
        Evaluate after every so many updates, and before the first, on 2,000 training images that
        are held out for it; the record keeps the trace.

    References
    ----------
    .. [1] Y. Wu and J. Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, 2021.
    """

    epochs: int | ByScale = 1
    batch_size: int | ByScale = 128
    train_size: int | None | ByScale = None
    shuffle: bool | ByScale = True
    test_every: int | ByScale = 1
    schedule: str | ByScale = "constant"
    precise_batch_norm: bool | ByScale = False
    trace_every: int | None | ByScale = None

    def at(self, scale: str) -> "Fit":
        """Return the settings at one scale, checked."""
        chosen = Fit(*(_at(value, scale) for value in vars(self).values()))
        for name in ("epochs", "batch_size", "test_every"):
            value = getattr(chosen, name)
            if not _is_whole(value) or value < 1:
                raise ValueError(
                    f"{name}={value!r} at {scale} scale; allowed are whole numbers ≥ 1"
                )
        size = chosen.train_size
        if size is not None and (not _is_whole(size) or size < 10):
            raise ValueError(
                f"train_size={size!r} at {scale} scale; allowed are None and whole numbers ≥ 10"
            )
        for name in ("shuffle", "precise_batch_norm"):
            value = getattr(chosen, name)
            if not isinstance(value, bool):
                raise ValueError(f"{name}={value!r} at {scale} scale; allowed are True and False")
        if chosen.schedule not in SCHEDULES:
            raise ValueError(
                f"schedule={chosen.schedule!r} at {scale} scale; allowed are "
                f"{', '.join(map(repr, SCHEDULES))}"
            )
        every = chosen.trace_every
        if every is not None and (not _is_whole(every) or every < 1):
            raise ValueError(
                f"trace_every={every!r} at {scale} scale; allowed are None and whole numbers ≥ 1"
            )
        return chosen

    def described(self) -> dict:
        """Return what a fingerprint has of the settings at one scale.

        What a later version of the course added is left out if it has its default, so that older
        records still count.
        """
        first = ("epochs", "batch_size", "train_size")
        return {
            name: value
            for name, value in vars(self).items()
            if name in first or value != getattr(Fit, name)
        }


@dataclass(frozen=True)
class Arm:
    """One of the things that an experiment compares.

    Parameters
    ----------
    build : callable
        ``build() -> keras.Model``, compiled. Called for each run, with its seed already set.
    prepare : callable, optional
        ``prepare(split, rng) -> Split``: changes the images or labels before training. ``rng`` is
        a NumPy generator made from the seed.
    targets : callable, optional
        ``targets(labels) -> ndarray``: what the loss compares the output with; by default the
        labels.
    fit : Fit, optional
        Replaces all of the experiment's own settings.
    """

    build: Callable[[], "keras.Model"]
    prepare: Callable | None = None
    targets: Callable | None = None
    fit: Fit | None = None


@dataclass(frozen=True)
class Spec:
    """What is compared, on how many seeds, and what is measured.

    Parameters
    ----------
    name : str
        Names the file of recorded runs: lower-case letters, digits and hyphens.
    arms : mapping of str to Arm or callable, or ByScale of them
        Name of each arm; a bare callable is an `Arm` with only a `build`.
    epochs, batch_size, train_size, shuffle, test_every, schedule, precise_batch_norm, \
trace_every : as in `Fit`
        How every arm without a `fit` trains.
    seeds : int, sequence of int, Stein, or ByScale of them
        Either how many seeds (then 0, 1, 2, …), or the seeds themselves, from 0 to 2³² - 1; at full
        scale also a `Stein`, for a number computed from a pilot.
    quick_arms : sequence of str, optional
        Names of the arms of a quick run; by default all.
    metrics : mapping of str to callable
        Name of each extra column and ``metric(model, split) -> float``, taken after the last
        epoch.
    history_metrics : mapping of str to callable
        Name of each extra column and ``metric(history) -> float``, taken from the history of the
        run: ``history`` is a DataFrame with a row for each epoch, numbered from 1, and the columns
        of a result's table from Keras's metrics on.
    trace_metrics : mapping of str to callable
        Name of each extra column and ``metric(trace) -> float``, taken from the trace of the run:
        ``trace`` is a DataFrame with a row for each evaluation, numbered by the updates before it,
        and the columns ``seconds`` (of training), ``loss`` and ``accuracy``.
    artifacts : mapping of str to callable
        Name of each array that a full-scale run leaves behind in its record, and
        ``artifact(model, split) -> ndarray`` of numbers, taken after the last epoch.
    exclusive : bool
        True if the experiment is about the seconds of its runs: on one machine these are then
        trained one after the other, even if other experiments train several at a time.
    threads : int, optional
        How many threads an operation has in the recorded runs of an exclusive experiment; what
        does not wait for one another then runs side by side on the other cores. By default an
        operation has all cores, which is best for large ones.
    data : utils.data.Dataset, optional
        Images to use instead of MNIST, from `utils.data.from_arrays` or `utils.data.from_npz`.

    Raises
    ------
    ValueError
        If one of them is not as above, a seed is there twice, or a metric has the name of another
        column.
    TypeError
        If `data` is something else.
    """

    name: str
    arms: Mapping[str, Arm | Callable] | ByScale
    epochs: int | ByScale = Fit.epochs
    batch_size: int | ByScale = Fit.batch_size
    train_size: int | None | ByScale = Fit.train_size
    shuffle: bool | ByScale = Fit.shuffle
    test_every: int | ByScale = Fit.test_every
    schedule: str | ByScale = Fit.schedule
    precise_batch_norm: bool | ByScale = Fit.precise_batch_norm
    trace_every: int | None | ByScale = Fit.trace_every
    seeds: int | Sequence[int] | Stein | ByScale = 5
    quick_arms: Sequence[str] | None = None
    metrics: Mapping[str, Callable] = field(default_factory=dict)
    history_metrics: Mapping[str, Callable] = field(default_factory=dict)
    trace_metrics: Mapping[str, Callable] = field(default_factory=dict)
    artifacts: Mapping[str, Callable] = field(default_factory=dict)
    exclusive: bool = False
    threads: int | None = None
    data: "data.Dataset | None" = None

    def __post_init__(self):
        """Check everything, at both scales."""
        if self.data is not None and not isinstance(self.data, data.Dataset):
            raise TypeError(
                f"data={shown(self.data)}; allowed are None, for MNIST, and what "
                "utils.data.from_arrays or utils.data.from_npz returns"
            )
        check_name(self.name, "name")
        if self.threads is not None and not (
            self.exclusive and _is_whole(self.threads) and self.threads > 0
        ):
            raise ValueError(
                f"threads={shown(self.threads)} with exclusive={self.exclusive}; allowed is None, "
                "and for an exclusive experiment a whole number from 1"
            )
        for scale in data.SCALES:
            self.seeds_at(scale)
            for arm in self.arms_at(scale):
                fit = self.fit_at(scale, arm)
                if self.trace_metrics and fit.trace_every is None:
                    raise ValueError(
                        f"trace_metrics={[*self.trace_metrics]!r}: arm {arm!r} has no trace at "
                        f"{scale} scale; allowed are arms with trace_every"
                    )
        for setting in ("metrics", "history_metrics", "trace_metrics", "artifacts"):
            for column, function in getattr(self, setting).items():
                if column in _TAKEN or not callable(function):
                    raise ValueError(
                        f"{setting}: {column!r}={function!r}; allowed are functions, under any "
                        f"name but {', '.join(_TAKEN)}"
                    )
        columns = [*self.metrics, *self.history_metrics, *self.trace_metrics]
        for column in columns:
            if columns.count(column) > 1:
                raise ValueError(f"metrics: {column!r} is the name of two of them")

    @property
    def title(self) -> str:
        """Its name in tables and records: with ``@`` and that of the data, if not MNIST."""
        return f"{self.name}@{self.data.name}" if self.data else self.name

    def arms_at(self, scale: str) -> dict[str, Arm]:
        """Return the arms at one scale, checked."""
        arms = _at(self.arms, scale)
        if not isinstance(arms, Mapping) or not arms:
            raise ValueError(
                f"arms={arms!r} at {scale} scale; allowed is a mapping of names to arms with at "
                "least one of them"
            )
        made = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in arms.items()}
        for name, arm in made.items():
            built = hasattr(arm.build, "fit")  # A model can be called, too.
            if not isinstance(name, str) or not callable(arm.build) or built:
                raise ValueError(
                    f"arms: {name!r}={arm.build!r} at {scale} scale; allowed is a text as the name "
                    "and an Arm, or a function that builds its model"
                )
        if scale == "quick" and self.quick_arms is not None:
            unknown = [name for name in self.quick_arms if name not in made]
            if unknown or not self.quick_arms:
                raise ValueError(
                    f"quick_arms={self.quick_arms!r}; allowed are names of arms, at least one: "
                    f"{list(made)}"
                )
            made = {name: made[name] for name in self.quick_arms}
        return made

    def seeds_at(self, scale: str) -> tuple[int, ...]:
        """Return the seeds at one scale, checked: those of the pilot, if there is one."""
        given = _at(self.seeds, scale)
        if isinstance(given, Stein):
            whole = all(map(_is_whole, given))
            if scale == "quick" or not (
                whole and given.first >= 0 and 5 <= given.pilot <= given.cap
            ):
                raise ValueError(
                    f"seeds={given!r} at {scale} scale; allowed is, at full scale alone, a pilot "
                    "of at least 5 seeds and a cap no lower than that"
                )
            given = range(given.first, given.first + given.pilot)
        try:
            seeds = tuple(range(given) if _is_whole(given) else map(operator.index, given))
        except TypeError:
            seeds = ()
        if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
            raise ValueError(
                f"seeds={given!r} at {scale} scale; allowed are how many, at least 1, or a "
                "sequence of whole numbers from 0 to 2³² - 1"
            )
        twice = sorted(seed for seed, times in Counter(seeds).items() if times > 1)
        if twice:
            raise ValueError(
                f"seeds={seeds!r}: seed {twice[0]} is there twice; the same run would count as two"
            )
        return seeds

    def fit_at(self, scale: str, arm: str) -> Fit:
        """Return how one arm trains at one scale, checked."""
        own = Fit(*(getattr(self, setting.name) for setting in fields(Fit)))
        return (self.arms_at(scale)[arm].fit or own).at(scale)


def _checked_scale(scale: str) -> str:
    if not isinstance(scale, str) or scale not in data.SCALES:
        raise ValueError(f"scale={scale!r}; allowed are {', '.join(map(repr, data.SCALES))}")
    return scale


def _at(value, scale: str):
    _checked_scale(scale)
    return value.at(scale) if isinstance(value, ByScale) else value


def _is_whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
