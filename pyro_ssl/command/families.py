"""Families of columns, as stated on the command line."""

from collections.abc import Sequence

from pyro_ssl.errors import ConfigError


def families_of(stated: Sequence[str], kind: str) -> dict[str | int, str] | None:
    """Return families by column, from texts NAME=FAMILY; None if there are none.

    Args:
        stated: the texts.
        kind: the kind of rows, see `Recipe`; columns of an "array" have numbers as names.

    Raises:
        ConfigError: if a text has another form, or a column is named twice.
    """
    found: dict[str | int, str] = {}
    for text in stated:
        name, sign, family = text.rpartition("=")
        if not sign or not name:
            raise ConfigError(f"columns has {text!r}, expected NAME=FAMILY, such as age=real")
        key = int(name) if kind == "array" and name.isdecimal() else name
        if key in found:
            raise ConfigError(f"columns has {name!r} twice: state its family once")
        found[key] = family
    return found or None
