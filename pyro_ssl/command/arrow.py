"""Parquet and Feather files, and folders of Parquet files, read in parts by pyarrow."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pyro_ssl.command.extras import pyarrow
from pyro_ssl.errors import DataError

# Entries of a part, and its most rows.
_ENTRIES, _ROWS = 1_000_000, 50_000
# What pandas calls an index without a name.
_INDEX = re.compile(r"__index_level_\d+__")


class ArrowData:
    """A Parquet or Feather file, or a folder of Parquet files, also of parts `name=value`.

    The files of a folder are read in the order of their paths, and must have the same columns; of
    a column that is whole in one and has fractions in another, all are read as numbers. An index
    without a name, as pandas keeps it, is left out.

    Args:
        path: the file or folder.
        kind: "parquet" or "feather".

    Raises:
        ConfigError: if pyarrow is not installed.
        DataError: if files cannot be read, have different columns, or a column of lists.
    """

    def __init__(self, path: Path, kind: str) -> None:
        pa, ds = pyarrow("pyarrow"), pyarrow("pyarrow.dataset")
        self.path = path
        self.root = path if path.is_dir() else path.parent
        self.files = _files(path)
        names = [str(file) for file in self.files]
        how: dict[str, Any] = {"format": kind, "partition_base_dir": str(self.root)}
        if path.is_dir():
            how["partitioning"] = ds.partitioning(flavor="hive")
        try:
            first = ds.dataset(names, **how)
            schemas = [fragment.physical_schema for fragment in first.get_fragments()]
            for file, schema in zip(self.files, schemas, strict=True):
                _check_alike(file, schema, self.files[0], schemas[0])
            schema = pa.unify_schemas(schemas, promote_options="permissive")
            parted = [field for field in first.schema if field.name not in schema.names]
            for field in parted:
                schema = schema.append(field)
            self._dataset = ds.dataset(names, schema=schema, **how)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        kept = [field for field in schema if not _INDEX.fullmatch(field.name)]
        self.names = [field.name for field in kept]
        twice = [n for n in self.names if self.names.count(n) > 1]
        if twice:
            raise DataError(f"{path} has several columns {twice[0]!r}: give each a name of its own")
        self._types = {field.name: _type_of(field, pa) for field in kept}
        self.types: dict[str, str] | None = self._types
        self._levels: dict[str, pd.CategoricalDtype] = {}

    def frames(self) -> Iterator[pd.DataFrame]:
        """Return the rows in parts: whole numbers as Int64, truth values as boolean.

        Raises:
            DataError: if there are no rows, or they cannot be read.
        """
        pa, ds = pyarrow("pyarrow"), pyarrow("pyarrow.dataset")
        rows = max(1, min(_ROWS, _ENTRIES // max(1, len(self.names))))
        odd = [name for name, kind in self._types.items() if not kind]
        # Read ahead no further than needed: what is read must fit into memory.
        how: dict[str, Any] = {"batch_size": rows, "batch_readahead": 1, "fragment_readahead": 1}
        if self._dataset.format.default_extname == "parquet":
            how["fragment_scan_options"] = ds.ParquetFragmentScanOptions(
                pre_buffer=False, use_buffered_stream=True
            )
        names = [name for name in self.names if name not in odd]
        some = False
        try:
            for batch in self._dataset.to_batches(columns=names, **how):
                if batch.num_rows:
                    some = True
                    yield self._frame(batch, pa)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error
        if not some:
            raise DataError(f"{self.path} has no rows, expected at least 2")

    def _frame(self, batch: Any, pa: Any) -> pd.DataFrame:
        types = {pa.bool_(): pd.BooleanDtype()}
        whole = (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32)
        types |= {kind(): pd.Int64Dtype() for kind in whole}
        frame = batch.to_pandas(
            types_mapper=types.get, date_as_object=False, ignore_metadata=True, split_blocks=True
        )
        for name in frame.columns:
            if self._types[name] == "number" and frame[name].dtype == object:
                frame[name] = pd.to_numeric(frame[name]).astype("float64")
            elif self._types[name] == "ordered":
                # The first part says what the categories are, and in which order.
                dtype = self._levels.setdefault(name, frame[name].dtype)
                frame[name] = frame[name].astype(dtype)
            elif isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = frame[name].astype(object)
        return frame


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = (p for p in path.rglob("*") if p.suffix.lower() in (".parquet", ".pq"))
    return sorted(p for p in found if not any(q.startswith((".", "_")) for q in _below(p, path)))


def _below(file: Path, folder: Path) -> tuple[str, ...]:
    return file.relative_to(folder).parts


def _check_alike(file: Path, schema: Any, first: Path, expected: Any) -> None:
    differing = sorted(set(schema.names) ^ set(expected.names))
    if differing:
        raise DataError(
            f"{file} and {first} differ in the columns {differing[:5]}, expected the same in all "
            "files of the folder"
        )


def _type_of(field: Any, pa: Any) -> str:
    """Return the type of a column, of `casting.TYPES`; "" for one that cannot be used."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        return "ordered" if kind.ordered else "text"
    checks = {
        "truth": (pa.types.is_boolean,),
        "whole": (pa.types.is_integer,),
        "number": (pa.types.is_floating, pa.types.is_decimal, pa.types.is_null),
        "text": (pa.types.is_string, pa.types.is_large_string, pa.types.is_time),
        "duration": (pa.types.is_duration,),
        "time": (pa.types.is_date,),
    }
    for name, tests in checks.items():
        if any(test(kind) for test in tests):
            return name
    if pa.types.is_timestamp(kind):
        return "time UTC" if kind.tz else "time"
    return "text" if str(kind) == "string_view" else ""
