"""The families of a table's columns, as stated by the user."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyro_ssl.errors import ConfigError
from pyro_ssl.estimator.kinds import FAMILIES

Families = Mapping[Any, str] | Sequence[str | None]


def families_of(families: Families | None, names: tuple[Any, ...]) -> list[str | None]:
    """Return the stated family of each column, or None.

    Args:
        families: see `Columns.infer`.
        names: names of the columns. A number that is not a name is the index of a column.

    Raises:
        ConfigError: if it names an unknown column or family, or is a sequence of another length.
    """
    given: list[str | None] = [None] * len(names)
    if families is not None and not isinstance(families, Mapping):
        if isinstance(families, str) or len(families) != len(names):
            raise ConfigError(
                f"families is {families!r}, expected a mapping, or one for each of {len(names)} "
                "columns, None to infer it"
            )
        families = {names[n]: f for n, f in enumerate(families) if f is not None}
    for key, family in (families or {}).items():
        numbered = isinstance(key, int) and 0 <= key < len(names)
        if key not in names and not numbered:
            raise ConfigError(
                f"a family was stated for the column {key!r}, expected one of "
                f"{', '.join(map(repr, names))}"
            )
        if family not in FAMILIES:
            raise ConfigError(
                f"{family!r} was stated for column {key!r}, expected one of {', '.join(FAMILIES)}"
            )
        given[names.index(key) if key in names else key] = family
    return given
