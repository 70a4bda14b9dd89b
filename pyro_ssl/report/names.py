"""How a report calls the classes."""

from typing import Any

# Characters of names that can be written upwards over a column, and their number.
_UPWARDS, _MOST = 16, 20
# Characters of names that have room over a column as they are.
SHORT = 3


def class_names(classifier: Any) -> tuple[list[str], list[str]]:
    """Return the classes' names, and what stands for them where there is little room.

    Those that have no room over a column go by numbers, which their names then begin with.
    """
    names = [str(name) for name in classifier.classes_.tolist()]
    longest = max(map(len, names))
    if longest > _UPWARDS or (longest > SHORT and len(names) > _MOST):
        numbers = [str(number) for number in range(1, len(names) + 1)]
        return [f"{n}. {name}" for n, name in zip(numbers, names, strict=True)], numbers
    return names, names


def shortened(name: Any, most: int) -> str:
    """Return a name of at most so many characters: its beginning and its end, which may differ."""
    text = str(name)
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}\u2026{text[len(text) - tail :]}"
