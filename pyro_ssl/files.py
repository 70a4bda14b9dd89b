"""Writing files in one step: a kill at any moment leaves the old file or the new one."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyro_ssl.errors import ResultsError


def write_text(text: str, path: Path) -> None:
    """Replace the file `path` by `text` in one step.

    Raises:
        ResultsError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(content: bytes, path: Path) -> None:
    """Replace the file `path` by `content` in one step.

    Raises:
        ResultsError: if the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_state(state: Mapping[Any, Any], path: Path) -> None:
    """Replace the file `path` by a mapping of tensors and plain values in one step.

    Raises:
        ResultsError: if the file cannot be written.
    """
    import torch

    with replacing(path) as temporary:
        torch.save(dict(state), temporary)


@contextmanager
def replacing(
    path: Path, failures: tuple[type[Exception], ...] = (OSError, RuntimeError)
) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which takes its place once it is written.

    After any error the temporary file is gone.

    Args:
        path: the file.
        failures: errors that say that it cannot be written; others pass as they are.

    Raises:
        ResultsError: if it cannot be written.
    """
    # Several processes may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, failures):
            raise ResultsError(f"{path} cannot be written: {error}") from error
        raise
