"""Tables written in parts, to a temporary file that replaces the file once it is complete."""

import gzip
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from pyro_ssl.command.extras import pyarrow
from pyro_ssl.command.formats import suffix_of
from pyro_ssl.errors import ConfigError
from pyro_ssl.files import replacing

TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".feather")

Write = Callable[[pd.DataFrame], None]


def check_suffix(out: Path, suffixes: tuple[str, ...]) -> None:
    """Check that the format of a file to write is supported.

    Raises:
        ConfigError: if it is not, or pyarrow is needed but not installed.
    """
    suffix = suffix_of(out)
    if suffix not in suffixes:
        raise ConfigError(
            f"out is {out}, whose suffix is {suffix!r}, expected {', '.join(suffixes)}"
        )
    if suffix in (".parquet", ".feather"):
        pyarrow("pyarrow")


def is_text(path: Path) -> bool:
    """Return whether a file is a text file, by its suffix."""
    return suffix_of(path).removesuffix(".gz") in (".csv", ".tsv")


@contextmanager
def table_writer(path: Path) -> Iterator[Write]:
    """Yield a function that adds a frame to a table; the file appears after the last one.

    Args:
        path: the file, with one of the suffixes `TABLES`. Text is UTF-8.

    Raises:
        ResultsError: if it cannot be written.
    """
    with replacing(path, (OSError,)) as temporary:
        writer = _text_writer if is_text(path) else _arrow_writer
        with writer(temporary, suffix_of(path)) as write:
            yield write


@contextmanager
def _text_writer(path: Path, suffix: str) -> Iterator[Write]:
    separator = "," if suffix.startswith(".csv") else "\t"
    begun = False
    with path.open("wb") as file, _text_of(file, suffix.endswith(".gz")) as text:

        def write(frame: pd.DataFrame) -> None:
            nonlocal begun
            frame.to_csv(text, index=False, header=not begun, sep=separator, lineterminator="\n")
            begun = True

        yield write


@contextmanager
def _text_of(file: Any, zipped: bool) -> Iterator[Any]:
    if not zipped:
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            yield text
        return
    # Without a time stamp, so that equal tables are equal files.
    with (
        gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="") as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="") as text,
    ):
        yield text


@contextmanager
def _arrow_writer(path: Path, suffix: str) -> Iterator[Write]:
    pa = pyarrow("pyarrow")
    schema: Any = None
    writer: Any = None
    with path.open("wb") as file:

        def write(frame: pd.DataFrame) -> None:
            nonlocal schema, writer
            if writer is None:
                schema = _schema_of(frame, pa)
                if suffix == ".parquet":
                    writer = pyarrow("pyarrow.parquet").ParquetWriter(file, schema)
                else:
                    writer = pa.ipc.new_file(file, schema)
            writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))

        try:
            yield write
        finally:
            if writer is not None:
                writer.close()


def _schema_of(frame: pd.DataFrame, pa: Any) -> Any:
    """Return the types of columns; objects are text, unless they are truth values or numbers."""
    kinds = {"boolean": pa.bool_(), "integer": pa.int64(), "floating": pa.float64()}
    fields = []
    for name in frame.columns:
        column = frame[name]
        if column.dtype == object:
            found = kinds.get(pd.api.types.infer_dtype(column, skipna=True), pa.string())
        else:
            found = pa.Schema.from_pandas(frame[[name]], preserve_index=False).field(0).type
        fields.append(pa.field(str(name), found))
    return pa.schema(fields)
