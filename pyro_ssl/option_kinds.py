"""Kinds of options: in annotations, as types and ranges, and in words, for errors."""

import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

SEQUENCES = (tuple, list, Sequence, Iterable)
MAPPINGS = (dict, Mapping)
# The range of numbers in models: what float32 can represent, and 0.
_LEAST_FLOAT, _MOST_FLOAT = 2.0**-126, 2.0**127 * (2 - 2.0**-23)
_MOST_SIZE = 2**31 - 1


@dataclass(frozen=True)
class Range:
    """The range of numbers for an option, used as `Annotated[int, Range(1)]`.

    Attributes:
        least: the smallest allowed number.
        most: the largest allowed number.
        above: all allowed numbers are larger than this.
        below: all allowed numbers are smaller than this.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: Any) -> bool:
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        bounds = {"at least": self.least, "above": self.above, "at most": self.most}
        bounds["below"] = self.below
        # Not shown, since the largest size of a tensor helps nobody.
        told = {words: bound for words, bound in bounds.items() if abs(bound) < _MOST_SIZE}
        return ", ".join(f"{words} {bound:g}" for words, bound in told.items())


@dataclass(frozen=True)
class OneOf:
    """The allowed values of an option.

    Attributes:
        values: the values.
    """

    values: tuple[Any, ...]

    def __contains__(self, value: Any) -> bool:
        return any(value is v or (type(value) is type(v) and value == v) for v in self.values)

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class NotEmpty:
    """Tuples of at least one value."""

    def __contains__(self, value: Any) -> bool:
        return len(value) > 0


@dataclass(frozen=True)
class Into:
    """A function that converts an option to its annotation's type, such as a name to a likelihood.

    Attributes:
        make: the function; it raises the library's own errors.
    """

    make: Callable[[Any], Any]


@dataclass(frozen=True)
class Elsewhere:
    """Marks an option that its constructor checks itself, since it depends on others."""


# Largest size of a dimension of any tensor here.
Size = Annotated[int, Range(1, _MOST_SIZE)]
Shape = Annotated[tuple[Size, ...], NotEmpty()]
Widths = Sequence[Size]
Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0, _MOST_SIZE)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(0)]
Dropout = Annotated[float, Range(0, below=1)]


def unaliased(kind: Any) -> Any:
    """Return what an annotation stands for if it is an alias of Python 3.12, else itself.

    From NumPy 2.5 on, `NDArray` is one. Arguments of aliases are left out.
    """
    alias = get_origin(kind) or kind
    return unaliased(alias.__value__) if hasattr(alias, "__value__") else kind


def bare_kind(kind: Any) -> Any:
    """Return an annotation without its metadata and arguments."""
    kind = unaliased(kind)
    if get_origin(kind) is Annotated:
        kind = unaliased(get_args(kind)[0])
    return get_origin(kind) or kind


def expected(kind: Any, value: Any = None, bounds: str = "") -> str:
    """Return an annotation in words.

    Args:
        kind: the annotation.
        value: the value that was given.
        bounds: bounds of the annotation's numbers, in words.
    """
    if not is_readable(value):
        return "a dense tensor with values"
    bare, arguments = bare_kind(kind), [a for a in get_args(kind) if a is not ...]
    if get_origin(kind) is Annotated:
        return _of_annotated(*arguments, value=value)
    if bare in (Union, types.UnionType):
        return ", or ".join(expected(choice, value, bounds) for choice in arguments)
    if bare is int:
        large = isinstance(value, Integral) and abs(int(value)) >= 2**63
        parts = ["a whole number", bounds, "in 64 bits" if large else ""]
        return ", ".join(filter(None, parts))
    if bare is float:
        number = "a positive number" if bounds == "above 0" else f"a number, {bounds}"
        given = isinstance(value, (int, float)) and value == value and abs(value) != math.inf
        ending = "" if not given or fits_float32(value) else " of a size that float32 can hold"
        return number.removesuffix(", ") + ending
    if bare in SEQUENCES:
        return "a tuple" + (f", of which each is {expected(arguments[0])}" if arguments else "")
    if bare in MAPPINGS:
        return "a dict"
    words: dict[Any, str] = {bool: "True or False", str: "a string", types.NoneType: "None"}
    words.update({type: "a class", Callable: "a function"})
    name = getattr(bare, "__name__", str(bare))
    return words.get(bare, f"{'an' if name[0] in 'AEIOU' else 'a'} {name}")


def _of_annotated(base: Any, *metadata: Any, value: Any) -> str:
    for words in metadata:
        if isinstance(words, str):
            return words
        if isinstance(words, OneOf):
            return str(words) + (", or None" if types.NoneType in get_args(base) else "")
        if isinstance(words, Range):
            large = isinstance(value, Integral) and _MOST_SIZE == words.most < int(value)
            return expected(base, value, f"{words}, at most {_MOST_SIZE}" if large else str(words))
    some = any(isinstance(m, NotEmpty) for m in metadata)
    return expected(base, value).replace("a tuple", "a tuple, not empty" if some else "a tuple", 1)


def fits_float32(value: Any) -> bool:
    """Return whether a number is finite, and stays finite and not 0 in float32."""
    try:
        size = abs(float(value))
    except OverflowError:
        return False
    return size == 0 or _LEAST_FLOAT <= size <= _MOST_FLOAT


def is_readable(value: Any) -> bool:
    """Return whether a value can be read, unlike tensors that are sparse or have no values."""
    return not isinstance(value, Tensor) or (value.layout == torch.strided and not value.is_meta)


def shown(value: Any) -> str:
    """Return a value as shown in errors: in one short line."""
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim:
        return f"a {type(value).__name__} of shape {list(value.shape)}"
    try:
        text = " ".join(repr(value).split())
    except Exception:
        # Python refuses to print numbers of thousands of digits; other classes may raise any error.
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."
