"""Packages that only some files need."""

from importlib import import_module
from typing import Any

from pyro_ssl.errors import ConfigError


def pyarrow(module: str) -> Any:
    """Return a module of pyarrow.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"Parquet and Feather files need pyarrow, which cannot be imported ({error}): install "
            'it by pip install "pyro_ssl[tables]", or give a CSV file'
        ) from error
