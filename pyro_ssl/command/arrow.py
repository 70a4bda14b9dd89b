"""Parquet and Feather files, and folders of Parquet files, read in parts by pyarrow."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pyro_ssl.command.extras import pyarrow
from pyro_ssl.errors import DataError

# Largest numbers of entries and of rows in a part.
_ENTRIES, _ROWS = 1_000_000, 50_000
# Number of bytes of each column that are read at once.
_BUFFER = 1 << 16
# pandas' name for an index without a name.
_INDEX = re.compile(r"__index_level_\d+__")


class ArrowData:
    """A Parquet or Feather file, or a folder of Parquet files, which may be partitioned.

    Subfolders `name=value` of a partition become columns. The files of a folder are read in the
    order of their paths, and must have the same columns. A column of whole numbers in one file and
    fractions in another is read as numbers. An index without a name, as pandas stores it, is left
    out.

    Args:
        path: the file or folder.
        kind: "parquet" or "feather".

    Raises:
        ConfigError: if pyarrow is not installed.
        DataError: if files cannot be read, have different columns, or have a column of lists.
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
            fragments = [*ds.dataset(names, schema=schema, **how).get_fragments()]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        self._kind, self._schema = kind, schema
        # Values in the names of a file's folders.
        each = (ds.get_partition_keys(fragment.partition_expression) for fragment in fragments)
        self._keys = dict(zip(self.files, each, strict=True))
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
        pa = pyarrow("pyarrow")
        rows = max(1, min(_ROWS, _ENTRIES // max(1, len(self.names))))
        odd = [name for name, kind in self._types.items() if not kind]
        if odd:
            warnings.warn(
                f"{self.path}: the columns {odd} of lists or bytes are left out", stacklevel=2
            )
        names = [name for name in self.names if name not in odd]
        fields = [self._schema.field(name) for name in names]
        some = False
        try:
            for file, keys in self._keys.items():
                for batch in self._batches(file, [n for n in names if n not in keys], rows):
                    # Checked, since damaged values could end the process.
                    batch.validate(full=True)
                    if batch.num_rows:
                        some = True
                        yield self._frame(_completed(batch, fields, keys, pa), pa)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error
        if not some:
            raise DataError(f"{self.path} has no rows, expected at least 2")

    def _batches(self, file: Path, names: list[str], rows: int) -> Iterator[Any]:
        """Return the columns of one file in batches.

        A scan of the data set would read ahead by a gigabyte while the caller is busy.
        """
        if self._kind == "parquet":
            with pyarrow("pyarrow.parquet").ParquetFile(
                file, pre_buffer=False, buffer_size=_BUFFER
            ) as opened:
                yield from opened.iter_batches(rows, columns=names, use_threads=False)
            return
        pa = pyarrow("pyarrow")
        with pa.memory_map(str(file)) as source:
            reader = pa.ipc.open_file(source)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number).select(names)
                for start in range(0, batch.num_rows, rows):
                    yield batch.slice(start, rows)

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
                # The first part determines the categories and their order.
                dtype = self._levels.setdefault(name, frame[name].dtype)
                frame[name] = frame[name].astype(dtype)
            elif isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = frame[name].astype(object)
        return frame


def _completed(batch: Any, fields: list[Any], keys: dict[str, Any], pa: Any) -> Any:
    """Return a batch with the fields of all files, with their types, and with `keys`."""
    columns = []
    for field in fields:
        if field.name in keys:
            value = pa.scalar(keys[field.name], field.type)
            columns.append(pa.repeat(value, batch.num_rows))
        else:
            column = batch.column(field.name)
            columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, [field.name for field in fields])


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
    """Return the type of a column, one of `casting.TYPES`; "" if it cannot be used."""
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
