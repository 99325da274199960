"""Models that are traced already, kept for the next seed of the same arm.

TensorFlow traces a model the first time it trains, which for a small network takes longer than a
quick run's arithmetic. What is traced differs from seed to seed only in the values of its
variables. So each run builds its model as usual, with the same draws from all generators, and
passes its variables to the one that an earlier run of the same arm left behind. If anything but
variables could differ, the model that was built is trained itself.
"""

import contextlib
import hashlib
import importlib
import inspect
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import cloudpickle
import numpy as np

from utils.experiments import fingerprint
from utils.experiments.quiet_keras import keras, tf

# Where Keras draws the seeds of its layers and initializers.
_SEEDS = importlib.import_module("keras.src.random.seed_generator")
# Arms of an experiment take turns at full scale: with fewer than it has, none would be traced in
# time for its next seed. The largest experiment has 18; a kept model holds some 20 MB.
_MOST = 20
# Operations that draw from a state of their own, or call Python again.
_STATEFUL = {"EagerPyFunc", "PyFunc", "PyFuncStateless"}


def hash_of(build: Callable) -> str | None:
    """Hash an arm's build function with all that it reads.

    Parameters
    ----------
    build : callable
        As of an `Arm`.

    Returns
    -------
    str or None
        Equal for two functions that build the same; None when it cannot be pickled.
    """
    try:
        return hashlib.sha256(cloudpickle.dumps(build)).hexdigest()
    except Exception:  # Whatever an object that cannot be pickled raises.
        return None


@dataclass
class _Draws:
    """What a build drew: nothing but seeds of Keras's, or numbers of its own as well."""

    own: bool = True


@contextlib.contextmanager
def watch_draws() -> Iterator[_Draws]:
    """Find out whether what is built in the meantime draws random numbers of its own.

    Yields
    ------
    object
        Its ``own`` is False at the end where Python's generator gave only the seeds that Keras
        asked for, and NumPy's nothing.
    """
    draws, asked = _Draws(), []

    class Noting:
        @staticmethod
        def randint(*limits):
            asked.append(limits)
            return random.randint(*limits)

    before, usual = _generators(), _SEEDS.python_random
    _SEEDS.python_random = Noting
    try:
        yield draws
    finally:
        _SEEDS.python_random = usual
    again = random.Random()
    again.setstate(before[0])
    for limits in asked:
        again.randint(*limits)
    draws.own = _generators() != (again.getstate(), before[1])


def _generators() -> tuple:
    """Return the states of Python's and NumPy's global generators, comparable."""
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tobytes(), *rest)


@dataclass(frozen=True)
class _Kept:
    model: keras.Model
    own: list


_kept: OrderedDict[tuple, _Kept] = OrderedDict()


class Lease:
    """The model that a run trains: the one that was built for it, or one that is traced already.

    Parameters
    ----------
    built : keras.Model
        Compiled, and not yet trained.
    key : tuple or None
        What must be equal, besides their models, for two runs to be traced alike; None if the model
        that was built is to be trained in any case.

    Attributes
    ----------
    model : keras.Model
        To be trained, with the weights, the states of generators and the optimizer of `built`.
    """

    def __init__(self, built: keras.Model, key: tuple | None):
        self.model, self._key, self._fresh = built, None, True
        # A model of a class of its own may train in any way.
        if key is None or built.run_eagerly or not _is_keras(built):
            return
        try:
            self._key = (*key, _digest(built))
        except ValueError:  # It does not say how it is built.
            return
        self._own = _own_values(built)
        built.optimizer.build(built.trainable_variables)
        # Taken out, so that a run that fails leaves nothing behind.
        kept = _kept.pop(self._key, None)
        if kept is not None and kept.own == self._own and _hand_over(built, kept.model):
            self.model, self._fresh = kept.model, False
        self._generators = _generators()

    def trained(self) -> None:
        """Note that training has ended and measuring begins."""
        if self._key is None:
            return
        if self._fresh and (_generators() != self._generators or not _is_closed(self.model)):
            self._key = None
        else:
            self._state = _state(self.model)

    def give_back(self) -> None:
        """Keep the model for another run, unless what was measured has changed more than values."""
        if self._key is None or _state(self.model) != self._state:
            return
        # For which batches it is traced depends on what it is given first.
        self.model.predict_function = None
        _kept[self._key] = _Kept(self.model, self._own)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)


def _digest(model: keras.Model) -> str:
    """Describe a model and how it is compiled, without the seeds that Keras drew for it."""
    described = [
        fingerprint.describe_model(model),
        fingerprint.describe_compile(model),
        model.steps_per_execution,
    ]
    return fingerprint.digest(_without_seeds(described))


def _without_seeds(description):
    if isinstance(description, Mapping):
        return {key: _without_seeds(value) for key, value in description.items() if key != "seed"}
    if isinstance(description, (list, tuple)):
        return [_without_seeds(value) for value in description]
    return description


def _is_keras(thing) -> bool:
    return type(thing).__module__.split(".")[0] == "keras"


def _own_values(model: keras.Model) -> list:
    """List what a graph may hold of objects and functions that are not Keras's own."""
    parts = [*model._flatten_layers(), model.optimizer, model.loss, *model.metrics]
    parts.append(getattr(model.optimizer, "_learning_rate", None))
    return [
        [(name, _plain(value)) for name, value in sorted(_attributes(part).items())]
        for part in parts
    ]


def _attributes(part) -> dict:
    if inspect.isfunction(part):
        return {"function": part}
    return {
        name: value
        for name, value in getattr(part, "__dict__", {}).items()
        if not _is_keras(part) or inspect.isfunction(value)
    }


def _plain(value):
    """Turn a value into one that can be compared; of what holds a state, say what it is."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return [(str(key), _plain(item)) for key, item in value.items()]
    if inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        held = [cell for cell in cells if not inspect.isfunction(cell)]
        return [value.__qualname__, _plain(held), _plain(value.__defaults__ or ())]
    if tf.is_tensor(value) and not isinstance(value, (tf.Variable, keras.Variable)):
        value = value.numpy()
    if isinstance(value, (np.ndarray, np.generic)):
        return str(value.dtype), value.shape, value.tobytes()
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    return type(value).__name__


def _variables(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


def _hand_over(built: keras.Model, kept: keras.Model) -> bool:
    """Give a traced model the values of one that was just built; say whether it could be done."""
    values, places = _variables(built), _variables(kept)
    kinds = [[(each.shape, each.dtype) for each in both] for both in (values, places)]
    if kinds[0] != kinds[1]:
        return False
    for value, place in zip(values, places, strict=True):
        place.assign(value)
    return True


def _state(model: keras.Model) -> list:
    """Describe what a run leaves as it is, and a function that measures might not."""
    return [
        _digest(model),
        _own_values(model),
        [(layer, sorted(vars(layer))) for layer in model._flatten_layers(include_self=False)],
        [(id(variable), variable.trainable) for variable in _variables(model)],
        model.optimizer,
        *map(_traces, (model.train_function, model.test_function)),
    ]


def _traces(function: Callable | None) -> tuple | None:
    """Tell apart a function of Keras's, and how often it was traced; None where it was dropped."""
    return function and (function, _graph_of(function).experimental_get_tracing_count())


def _graph_of(function: Callable):
    """Find TensorFlow's function in one of Keras's; None in a Keras that has it elsewhere."""
    return inspect.getclosurevars(function).nonlocals.get("multi_step_on_iterator")


def _is_closed(model: keras.Model) -> bool:
    """Say whether what was traced reads nothing but its arguments and the model's variables."""
    if not all(map(_is_keras, _flat_metrics(model.metrics))):
        return False  # Whether it forgets everything when it is reset is not known.
    variables = {
        id(variable.value.handle) for variable in [*_variables(model), *model.metrics_variables]
    }
    for function in (model.train_function, model.test_function):
        traced = _graph_of(function)
        if not hasattr(traced, "_list_all_concrete_functions"):
            return False
        for concrete in traced._list_all_concrete_functions():
            if not {id(outside) for outside, _ in concrete.graph.captures} <= variables:
                return False
            graph = concrete.graph.as_graph_def()
            nodes = [*graph.node, *(n for each in graph.library.function for n in each.node_def)]
            if any(node.op in _STATEFUL or "seed2" in node.attr for node in nodes):
                return False
    return True


def _flat_metrics(metrics: list) -> list:
    return [*metrics, *(inner for each in metrics for inner in getattr(each, "metrics", []))]


def forget() -> None:
    """Drop all models that are kept."""
    _kept.clear()
