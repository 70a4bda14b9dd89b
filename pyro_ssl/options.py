"""Options are checked and converted to plain Python values here, and nowhere else.

An annotation says what an option may be: `int`, `str | None`, `Sequence[Size]`, `Likelihood`; see
`pyro_ssl.option_kinds`. `checked` around a constructor or a function reads the annotations of its
arguments, `check_fields` in a dataclass those of its fields.

Equivalent values become Python's own, since files could not hold them otherwise: scalars of NumPy,
arrays and tensors without dimensions (`ys.max() + 1`), and lists and arrays in place of a tuple. A
bool is not a number, and a number is not a bool. A whole number has an integer type (2.0 is not
one) and fits into 64 bits; other numbers must be finite and representable in float32.

Libraries for this purpose (such as pydantic) refuse NumPy's numbers in strict mode, and otherwise
accept "3" and True as numbers: they would need as much code around them.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import fields
from numbers import Integral, Real
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import numpy as np
from torch import Tensor

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.option_kinds import (
    MAPPINGS,
    SEQUENCES,
    Elsewhere,
    Into,
    NotEmpty,
    OneOf,
    Range,
    bare_kind,
    expected,
    fits_float32,
    is_readable,
    shown,
    unaliased,
)
from pyro_ssl.plain import plain

Function = TypeVar("Function", bound=Callable[..., Any])
# Parts of the messages of torch and NumPy if memory does not suffice.
_TOO_LARGE = ("allocate", "not enough memory", "size calculation overflowed", "unpacking long")


def checked(function: Function) -> Function:
    """Check the arguments of a function or a constructor by their annotations; a decorator.

    Raises:
        ConfigError: naming the argument that does not fit its annotation, or if the function needs
            more memory than there is. For a tensor or an array, a DataError.
    """
    signature = inspect.signature(function)
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {name for name, p in signature.parameters.items() if p.kind not in various}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            # Python itself names the argument that is missing or unknown.
            return function(*args, **kwargs)
        kinds = _kinds(function)
        for name in named & bound.arguments.keys() & kinds.keys():
            bound.arguments[name] = converted(name, bound.arguments[name], kinds[name])
        try:
            return function(*bound.args, **bound.kwargs)
        except (MemoryError, RuntimeError) as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            if not isinstance(error, MemoryError) and not any(t in said for t in _TOO_LARGE):
                raise
            raise ConfigError(
                f"{function.__qualname__.removesuffix('.__init__')} needs more memory than there "
                f"is ({said}): make its numbers smaller"
            ) from error

    return typing.cast(Function, call)


def check_fields(instance: Any, *names: str) -> None:
    """Check the fields of a dataclass by their annotations, in its `__post_init__`.

    Args:
        instance: the object, which may be frozen.
        names: the fields to check; all fields if there are none.

    Raises:
        ConfigError: naming the field that does not fit its annotation.
    """
    kinds = _kinds(instance.__class__)
    for name in names or [field.name for field in fields(instance)]:
        value = converted(name, getattr(instance, name), kinds.get(name, Any))
        object.__setattr__(instance, name, value)


def converted(name: str, value: Any, kind: Any) -> Any:
    """Return an option in the form of its annotation, of Python's own types.

    Args:
        name: name of the option, for errors.
        value: the given value.
        kind: the annotation.

    Raises:
        ConfigError: if it does not fit the annotation; a DataError if it should be a tensor.
    """
    try:
        return _converted(value, kind)
    except _RefusedError as refused:
        error = DataError if bare_kind(refused.kind) in (Tensor, np.ndarray) else ConfigError
        raise error(
            f"{name}{refused.place} is {shown(refused.value)}, expected "
            f"{expected(refused.kind, refused.value)}"
        ) from None


@functools.lru_cache(maxsize=512)
def _kinds(owner: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class; empty if they cannot be resolved."""
    try:
        found = typing.get_type_hints(owner, include_extras=True)
    except (NameError, TypeError):
        # A user's class may use names that only type checkers know.
        return {}
    found.pop("return", None)
    return found


class _RefusedError(Exception):
    """A value that does not fit its annotation, and its place within the option."""

    def __init__(self, value: Any, kind: Any, place: str = "") -> None:
        super().__init__()
        self.value, self.kind, self.place = value, kind, place


def _converted(value: Any, kind: Any) -> Any:
    kind = unaliased(kind)
    bare = bare_kind(kind)
    if not is_readable(value):
        raise _RefusedError(value, kind)
    if get_origin(kind) is Annotated:
        return _annotated(value, kind)
    if bare in (Union, types.UnionType):
        return _one_of_several(value, kind)
    if bare in (bool, int, float, str):
        return _scalar(value, bare)
    if bare in SEQUENCES:
        return _items(value, kind)
    if bare in MAPPINGS:
        return _entries(value, kind)
    if bare is Callable:
        matches = callable(value)
    elif bare is type:
        matches = isinstance(value, type) and issubclass(value, get_args(kind) or object)
    else:
        # An annotation that is not a class, or known only to type checkers, excludes no value.
        tells = isinstance(bare, type) and bare is not Any
        tells = tells and not getattr(bare, "_is_protocol", False)
        matches = not tells or isinstance(value, bare)
    if not matches:
        raise _RefusedError(value, kind)
    return plain(value)


def _annotated(value: Any, kind: Any) -> Any:
    base, *metadata = get_args(kind)
    if any(isinstance(m, Elsewhere) for m in metadata):
        return plain(value)
    for into in metadata:
        value = into.make(value) if isinstance(into, Into) else value
    try:
        found = _converted(value, base)
    except _RefusedError as refused:
        if refused.place and not any(isinstance(m, str) for m in metadata):
            # An error within a tuple or a dict says more.
            raise
        raise _RefusedError(value, kind) from None
    for allowed in metadata:
        known = isinstance(allowed, (Range, OneOf, NotEmpty)) and found is not None
        if known and found not in allowed:
            raise _RefusedError(value, kind)
    return found


def _one_of_several(value: Any, kind: Any) -> Any:
    deeper = None
    for choice in get_args(kind):
        try:
            return _converted(value, choice)
        except _RefusedError as refused:
            deeper = refused if refused.place else deeper
    raise deeper or _RefusedError(value, kind)


def _scalar(value: Any, bare: type) -> Any:
    """Return a bool, a number or a string as Python's own type, also from a subclass."""
    if isinstance(value, np.generic) or (
        isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0
    ):
        value = value.item()
    if bare is str and isinstance(value, str):
        return str.__str__(value)
    if bare is bool and isinstance(value, bool):
        return value
    if bare in (int, float) and not isinstance(value, bool):
        if isinstance(value, Integral) and abs(int(value)) < 2**63:
            return int(value)
        if bare is float and isinstance(value, Real) and fits_float32(value):
            return float(value)
    raise _RefusedError(value, bare)


def _items(value: Any, kind: Any) -> Any:
    """Return a list, an array or the like as a tuple whose items fit the annotation."""
    listed = value.tolist() if hasattr(type(value), "tolist") else value
    bare, of_items = bare_kind(kind), get_args(kind) or (Any, ...)
    refused = isinstance(listed, (str, bytes, type, Mapping)) or not hasattr(listed, "__iter__")
    # A set has no order.
    if refused or (bare is not Iterable and isinstance(listed, Set)):
        raise _RefusedError(value, kind)
    listed = list(listed)
    if bare is not tuple or of_items[-1] is ...:
        of_items = (of_items[0],) * len(listed)
    if len(listed) != len(of_items):
        raise _RefusedError(value, kind)
    pairs = enumerate(zip(listed, of_items, strict=True))
    found = [_within(f"[{place}]", item, of_item) for place, (item, of_item) in pairs]
    return found if bare is list else tuple(found)


def _entries(value: Any, kind: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _RefusedError(value, kind)
    of_keys, of_values = get_args(kind) or (Any, Any)
    return {
        _within(", one of its keys,", key, of_keys): _within(f"[{shown(key)}]", entry, of_values)
        for key, entry in value.items()
    }


def _within(place: str, value: Any, kind: Any) -> Any:
    try:
        return _converted(value, kind)
    except _RefusedError as refused:
        raise _RefusedError(refused.value, refused.kind, place + refused.place) from None
