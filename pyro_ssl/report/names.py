"""The names of classes in a report."""

from typing import Any

# Largest length of names written vertically over a column, and their largest number.
_UPWARDS, _MOST = 16, 20
# Largest length of names written horizontally over a column.
SHORT = 3


def class_names(classifier: Any) -> tuple[list[str], list[str]]:
    """Return the classes' names, and short forms for places with little room.

    Names that are too long for a column are replaced by numbers, with which the full names begin.
    """
    names = [str(name) for name in classifier.classes_.tolist()]
    longest = max(map(len, names))
    if longest > _UPWARDS or (longest > SHORT and len(names) > _MOST):
        numbers = [str(number) for number in range(1, len(names) + 1)]
        return [f"{n}. {name}" for n, name in zip(numbers, names, strict=True)], numbers
    return names, names


def shortened(name: Any, most: int) -> str:
    """Return a name of at most `most` characters: its beginning and its end, which may differ."""
    text = str(name)
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}\u2026{text[len(text) - tail :]}"
