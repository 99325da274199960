"""What was run, in a few short hashes: equal when a recorded run still counts, different when not.

A fingerprint has one hash for each part of a run (model, compile, fit, data, measures), so that a
stale record shows which part has changed. It follows meaning, not spelling: comments, formatting
and Keras's counters in layer names do not matter, and neither does what a later version of Python
adds to a class, or one of Keras with a default to a layer.
"""

import ast
import contextlib
import dis
import enum
import functools
import hashlib
import inspect
import json
import sys
import types
from collections.abc import Callable, Mapping

import numpy as np

from utils.experiments.quiet_keras import keras

# Bookkeeping that says where a class lives or how it was built, not what it computes.
_BOOKKEEPING = {"module", "registered_name", "build_config", "shared_object_id", "metrics"}
# What Keras 3.15, which the first fingerprints are of, adds to the configurations of Keras 3.12
# with a default that is not empty; the key is a setting that only such layers have.
_ADDED = {
    "moving_variance_initializer": {"renorm_momentum": 0.99},  # Batch norm.
    "value_range": {"data_format": "channels_last"},  # Changes of an image's colours.
}

_LIBRARIES = ("keras", "tensorflow", "numpy", "builtins")
# Fields of a syntax tree that not every version of Python has, or that repeat what stands around.
_NO_MEANING = {"ctx", "kind", "type_comment", "type_params", "type_ignores"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Python 3.14 computes annotations in functions of these names, which have no source.
_ANNOTATIONS = ("__annotate__", "__annotate_func__")


def digest(description) -> str:
    """Hash a description made of plain values.

    Parameters
    ----------
    description : dict, list, str, int, float, bool or None
        Anything that JSON can hold.

    Returns
    -------
    str
        Twelve hexadecimal digits of the SHA-256 of its canonical JSON text.
    """
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe_code(function: Callable | None, _seen: tuple = ()):
    """Describe what a function or class does by its code, without comments and docstrings.

    Parameters
    ----------
    function : callable or None
        A function, a lambda, a class, or a ``functools.partial`` of one.

    Returns
    -------
    list or None
        Its source text in canonical form, then the plain values and the functions of the same
        module (or notebook) that it reads from outside, and the defaults of its arguments; for a
        partial also its arguments; for a class the same for its methods and for bases of the same
        module.

    Raises
    ------
    ValueError
        If Python cannot find the source, as for a function typed into a bare ``python`` prompt.

    Notes
    -----
    Functions that come from other modules are named by the code that calls them but not followed: a
    change there is found by training a recorded run again. If several lambdas begin on one line,
    Python does not tell which is which, and each is described by all of them.
    """
    if function is None:
        return None
    if isinstance(function, functools.partial):
        return [
            describe_code(function.func, _seen),
            _exact(function.args),
            _exact(function.keywords),
        ]
    function = _uncached(function)
    seen = (*_seen, function)
    if inspect.isclass(function):
        return _describe_class(function, seen)
    code = [_canonical(function)]
    defaults = _exact([function.__defaults__ or (), function.__kwdefaults__ or {}])
    if defaults != [[], []]:
        code.append(defaults)
    for name, value in sorted(_outside(function).items()):
        value = _uncached(value)
        if _is_constant(value):
            code.append([name, _exact(value)])
        elif isinstance(value, functools.partial):
            code.append([name, describe_code(value, seen)])
        elif (inspect.isfunction(value) or inspect.isclass(value)) and (
            value.__module__ == function.__module__
        ):
            code += [] if value in seen else [[name, describe_code(value, seen)]]
    return code


def _uncached(function):
    """Look through ``functools.cache`` and its like, which are not functions themselves."""
    cached = isinstance(function, functools._lru_cache_wrapper)
    return inspect.unwrap(function) if cached else function


def _describe_class(cls: type, seen: tuple) -> list:
    code = [cls.__name__]
    for base in cls.__bases__:
        own = base.__module__ == cls.__module__ and base not in seen
        code.append(describe_code(base, seen) if own else base.__name__)
    for name, member in sorted(_members(cls).items()):
        if isinstance(member, property):
            accessors = (member.fget, member.fset)
        else:
            # Static and class methods, then cached properties, hold a function.
            accessors = (getattr(member, "__func__", getattr(member, "func", member)),)
        for method in map(_uncached, accessors):
            if inspect.isfunction(method):
                if not _is_added(name, method, cls):
                    code.append([name, describe_code(method, seen)])
            elif not name.startswith("__") and _is_constant(member):
                code.append([name, _exact(member)])
    return code


def _members(cls: type) -> dict:
    """Return what is in a class; of an enumeration its values, kept differently in each Python."""
    members = vars(cls)
    if not issubclass(cls, enum.Enum):
        return dict(members)
    kinds = (types.FunctionType, staticmethod, classmethod, property)
    functions = {
        name: member
        for name, member in members.items()
        if isinstance(member, kinds) and name != "_new_member_"
    }
    return functions | {name: member.value for name, member in cls.__members__.items()}


def _is_added(name: str, method: Callable, cls: type) -> bool:
    """Say whether the standard library added a method to a class, as it does to a dataclass.

    What it adds depends on the version of Python, and follows from the class's other parts.
    """
    method = inspect.unwrap(method)
    home = method.__module__ or ""
    return (
        method.__code__.co_filename == "<string>"
        or name in _ANNOTATIONS
        or name.startswith("_")
        and home != cls.__module__
        and home.split(".")[0] in sys.stdlib_module_names
    )


def _outside(function: Callable) -> dict:
    """Find what a function reads from its module (or notebook) and from around it.

    ``inspect.getclosurevars`` leaves out what comprehensions and inner functions read, and how
    much it leaves out depends on the version of Python.
    """
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names |= {
            instruction.argval
            for instruction in dis.get_instructions(code)
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
        }
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    names.discard("__name__")  # An inner class reads where it is defined.
    values = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # An inner function that is not yet defined.
            values[name] = cell.cell_contents
    return values


def _canonical(function: Callable) -> str:
    try:
        if inspect.ismethod(function):
            raise TypeError("it is bound to an object, whose state does not show")
        function = inspect.unwrap(function)
        tree = _parse("".join(inspect.findsource(function)[0]))
        first = function.__code__.co_firstlineno
        nodes = [node for node in ast.walk(tree) if _first_line(node) == first]
        if function.__name__ == "<lambda>":
            nodes = [node for node in nodes if isinstance(node, ast.Lambda)]
        else:
            nodes = [node for node in nodes if getattr(node, "name", None) == function.__name__]
        if not nodes:
            raise OSError("the file has changed since it was imported")
    except (OSError, TypeError, AttributeError, SyntaxError) as error:
        raise ValueError(
            f"function={function!r} has no source text to take a fingerprint of ({error}); allowed "
            "are functions, lambdas and classes defined in a file or in a notebook cell, and "
            "functools.partial of them"
        ) from error
    return "\n".join(sorted(json.dumps(_tree(node)) for node in nodes))


def _tree(node):
    """Turn a syntax tree into plain lists that are the same in every supported Python.

    ``ast.unparse`` and ``ast.dump`` write some trees differently from version to version.
    """
    if isinstance(node, ast.JoinedStr):
        # Python 3.12 puts empty strings into a format such as {x:{width}}.
        filled = [part for part in node.values if getattr(part, "value", None) != ""]
        node = ast.JoinedStr(filled)
    if isinstance(node, ast.AST):
        parts = [
            [name, _tree(value)]
            for name, value in ast.iter_fields(node)
            if name not in _NO_MEANING and value is not None and value != []
        ]
        return [type(node).__name__, *parts]
    return [_tree(each) for each in node] if isinstance(node, list) else repr(node)


@functools.lru_cache(maxsize=8)
def _parse(source: str) -> ast.Module:
    """Parse a file or cell, without its docstrings; a cell may await outside of a function."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "<source>", "exec", flags=flags, dont_inherit=True)
    for node in ast.walk(tree):
        if isinstance(node, _DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _first_line(node: ast.AST) -> int | None:
    if isinstance(node, _DEFINITIONS) and node.decorator_list:
        return node.decorator_list[0].lineno
    return node.lineno if isinstance(node, (*_DEFINITIONS, ast.Lambda)) else None


def _is_constant(value) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_constant, [*value.keys(), *value.values()]))
    if isinstance(value, (list, tuple)):
        return all(map(_is_constant, value))
    return value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))


def _exact(value):
    """Turn values into plain ones and leave none out, unlike `plain`."""
    if isinstance(value, Mapping):
        return [[str(key), _exact(item)] for key, item in sorted(value.items(), key=str)]
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return plain(value)


def plain(value):
    """Turn a Keras configuration into plain values with the empty ones left out.

    Parameters
    ----------
    value : object
        A nested configuration as ``get_config`` or ``serialize_keras_object`` returns it.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Plain values. In mappings, entries that are None, False or empty are dropped, and so are
        names of modules and the default data type, ``float32``.
    """
    if isinstance(value, Mapping):
        if value.get("class_name") == "DTypePolicy":
            name = value["config"]["name"]
            return None if name == "float32" else name
        if value.get("class_name") == "__lambda__":
            return "lambda"  # Keras stores byte code, which says where the lambda stands as well.
        described = {
            str(key): plain(item) for key, item in value.items() if key not in _BOOKKEEPING
        }
        for known, added in _ADDED.items():
            if known in value:
                described = {**added, **described}
        return {
            key: item
            for key, item in described.items()
            if not (item is None or item is False or item == [] or item == {} or item == "float32")
        }
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
        return f"{value.dtype} {value.shape} {hashlib.sha256(content).hexdigest()}"
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if callable(value):
        return describe_code(value)
    return plain(keras.saving.serialize_keras_object(value))


def describe_model(model: keras.Model) -> dict:
    """Describe a model's architecture: its layers, their settings and how they are joined.

    Parameters
    ----------
    model : keras.Model
        A Sequential or functional model.

    Returns
    -------
    dict
        Plain values. Layers are numbered in order instead of named, and whatever is not Keras's own
        is described by its code as well: layers, functions and settings of layers (an activation,
        an initializer), and a model class with a training step of its own.

    Raises
    ------
    ValueError
        If the model is neither: a subclass of ``keras.Model`` does not tell how it is built.
    """
    try:
        config = model.get_config()
    except NotImplementedError:
        config = {}
    if "layers" not in config:
        raise ValueError(
            f"model={model!r} does not say how it is built; allowed are Sequential and functional "
            "models"
        )
    numbers = _number_layers(config)
    config.pop("name", None)

    def renumber(value):
        if isinstance(value, Mapping):
            return {key: renumber(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [renumber(item) for item in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    own = _own_class(model)
    own = {"own model": own} if own else {}
    return {"config": plain(renumber(config)), "own layers": _own_layers(model), **own}


def _number_layers(config: Mapping, prefix: str = "layer ") -> dict[str, str]:
    """Give each layer of a configuration its place, those of inner models and wrappers too."""
    numbers = {}
    inside = config["layers"] if "layers" in config else [config.get("layer")]
    for number, layer in enumerate(inside):
        if isinstance(layer, Mapping) and "config" in layer:
            numbers |= _number_layers(layer["config"], f"{prefix}{number}.")
            if "name" in layer["config"]:  # Keras leaves it out of a configuration that it guesses.
                numbers[layer["config"]["name"]] = f"{prefix}{number}"
    return numbers


def _own_layers(layer: keras.Layer, prefix: str = "layer ") -> dict:
    """Describe the code in a model's layers, inner ones too, that is not Keras's own."""
    own = {}
    # A wrapper such as TimeDistributed holds one layer, a model several.
    inside = getattr(layer, "layers", None) or [getattr(layer, "layer", None)]
    for number, inner in enumerate(inside):
        if isinstance(inner, keras.Layer):
            place = f"{prefix}{number}"
            own |= _own_class(inner) | _own_settings(inner, place)
            own |= _own_layers(inner, f"{place}.")
    return own


def _own_class(thing) -> dict:
    return {type(thing).__name__: describe_code(type(thing))} if _is_own(type(thing)) else {}


def _own_settings(thing, place: str) -> dict:
    """Describe the functions and objects that were given to a layer, a loss or an optimizer."""
    own = {}
    for name, value in sorted(vars(thing).items()):
        if isinstance(value, functools.partial) or (inspect.isfunction(value) and _is_own(value)):
            own[f"{place} {name}"] = describe_code(value)
        elif hasattr(value, "get_config") and not isinstance(value, keras.Layer):
            own |= {f"{place} {name}": code for code in _own_class(value).values()}
    return own


def _is_own(thing) -> bool:
    return thing.__module__.split(".")[0] not in _LIBRARIES


def describe_compile(model: keras.Model) -> dict:
    """Describe how a model was compiled: its optimizer with all settings, and its loss.

    Parameters
    ----------
    model : keras.Model
        A compiled model.

    Returns
    -------
    dict
        Plain values; a loss, an optimizer or a learning-rate schedule that is not Keras's own
        is described by its code as well.
    """
    optimizer = keras.saving.serialize_keras_object(model.optimizer)
    optimizer["config"].pop("name", None)
    described = {"optimizer": plain(optimizer), "loss": _describe_loss(model.loss)}
    own = _own_class(model.optimizer) | _own_settings(model.optimizer, "optimizer")
    return {**described, "own optimizer": own} if own else described


def _describe_loss(loss):
    if isinstance(loss, Mapping):
        return {str(output): _describe_loss(each) for output, each in loss.items()}
    if isinstance(loss, (list, tuple)):
        return [_describe_loss(each) for each in loss]
    if loss is None or isinstance(loss, str):
        return loss
    if isinstance(loss, functools.partial) or (inspect.isfunction(loss) and _is_own(loss)):
        return describe_code(loss)
    described = plain(keras.saving.serialize_keras_object(loss))
    own = {} if inspect.isfunction(loss) else _own_class(loss) | _own_settings(loss, "loss")
    return [described, own] if own else described
