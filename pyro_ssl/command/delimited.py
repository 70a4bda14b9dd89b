"""CSV and TSV files: strictly read, in parts, all columns as text.

Unlike in `pandas.read_csv`, a row with too few or too many entries is always an error, and no entry
is converted.
"""

import csv
import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from pyro_ssl.errors import ConfigError, DataError

# Largest numbers of entries and of rows in a part.
_ENTRIES, _ROWS = 1_000_000, 50_000
_MOST_ENTRY = 1 << 24
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class DelimitedFile:
    """A CSV or TSV file, also compressed by gzip; its first line names the columns.

    Blank lines are ignored. A first column without a name is treated as row numbers, as written by
    pandas, and left out, with a warning.

    Args:
        path: the file.
        separator: separator of entries; if None, it follows from the file's suffix.
        encoding: None for UTF-8, with or without a byte order mark.

    Raises:
        DataError: if the file cannot be read, is empty, or has columns without distinct names.
        ConfigError: if separator or encoding is invalid.
    """

    types: dict[str, str] | None = None

    def __init__(self, path: Path, separator: str | None, encoding: str | None) -> None:
        self.path, self.files, self.root = path, [path], path.parent
        self._zipped = path.suffix.lower() == ".gz"
        suffix = Path(path.stem).suffix if self._zipped else path.suffix
        self._separator = separator or _SEPARATORS[suffix.lower()]
        if len(self._separator) != 1 or self._separator in '\r\n"':
            raise ConfigError(f"separator is {separator!r}, expected one character, such as ';'")
        self._encoding = encoding or "utf-8-sig"
        with self._rows() as rows:
            header = next(rows, None)
        if not header:
            raise DataError(f"{path} is empty, expected a line that names the columns, and rows")
        self._unnamed = not header[0]
        self._width = len(header)
        self.names = header[1:] if self._unnamed else header
        self._check_names()

    def frames(self) -> Iterator[pd.DataFrame]:
        """Return the rows in parts, as frames of text.

        Raises:
            DataError: naming the line that cannot be read, or if there are no rows.
        """
        if self._unnamed:
            warnings.warn(
                f"{self.path}: the first column has no name; it is treated as row numbers, and "
                "left out",
                stacklevel=2,
            )
        most = max(1, min(_ROWS, _ENTRIES // max(1, self._width)))
        start = 1 if self._unnamed else 0
        found: list[list[str]] = []
        some = False
        with self._rows() as rows:
            next(rows)
            for row in rows:
                if not row:
                    continue
                if len(row) != self._width:
                    raise self._ragged(row, rows.line_num)
                found.append(row[start:])
                some = True
                if len(found) == most:
                    yield self._frame(found)
                    found = []
        if found:
            yield self._frame(found)
        elif not some:
            raise DataError(f"{self.path} names columns, but has no rows, expected at least 2")

    def _frame(self, rows: list[list[str]]) -> pd.DataFrame:
        columns = [*zip(*rows, strict=True)]
        return pd.DataFrame(
            {n: pd.Series(c, dtype=object) for n, c in zip(self.names, columns, strict=True)}
        )

    def _ragged(self, row: list[str], line: int) -> DataError:
        return DataError(
            f"{self.path}, line {line}: {len(row)} entries, expected {self._width}, as the first "
            f"line names columns (separated by {self._separator!r}): entries that hold a separator "
            "or a line break must be in double quotes"
        )

    def _check_names(self) -> None:
        if not self.names:
            raise DataError(f"{self.path} has no column with a name")
        twice = [n for n in dict.fromkeys(self.names) if self.names.count(n) > 1]
        if twice:
            raise DataError(
                f"{self.path} has several columns {twice[0]!r}: give each a name of its own"
            )
        if len(self.names) == 1 and (odd := [s for s in ",;\t|" if s in self.names[0]]):
            raise ConfigError(
                f"{self.path} has a single column {self.names[0]!r}: if its columns are separated "
                f"by {odd[0]!r}, add --separator {odd[0]!r}"
            )

    @contextmanager
    def _rows(self) -> Iterator[Any]:
        """Yield the file's rows; turn errors into errors of this library."""
        csv.field_size_limit(_MOST_ENTRY)
        rows: Any = None
        try:
            with self._opened() as text:
                rows = csv.reader(text, delimiter=self._separator, strict=True)
                yield rows
        except csv.Error as error:
            raise DataError(
                f"{self.path}, line {rows.line_num}: {error}; expected entries in double quotes to "
                'end before a separator, and quotes within them doubled, as in "6"" pipe"'
            ) from error
        except UnicodeError as error:
            raise self._wrong_encoding(error) from error
        except LookupError as error:
            raise ConfigError(
                f"encoding is {self._encoding!r}, expected one that Python knows, such as utf-8, "
                "latin-1 or utf-16"
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path} cannot be read: {error}") from error

    def _opened(self) -> IO[str]:
        if self._zipped:
            return gzip.open(self.path, "rt", encoding=self._encoding, newline="")
        return self.path.open(encoding=self._encoding, newline="")

    def _wrong_encoding(self, error: UnicodeError) -> DataError:
        """Return an error that names the first line, and its byte, that cannot be decoded."""
        where = ""
        opened: Any = gzip.open if self._zipped else open
        with opened(self.path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode("utf-8" if self._encoding == "utf-8-sig" else self._encoding)
                except UnicodeDecodeError as bad:
                    byte = line[bad.start]
                    where = f", line {number}: byte {bad.start + 1} of it is 0x{byte:02x}, which"
                    break
        name = "UTF-8" if self._encoding == "utf-8-sig" else self._encoding
        return DataError(
            f"{self.path}{where or f' ({error})'} is not {name}: state the file's encoding, such "
            "as --encoding latin-1 or --encoding utf-16"
        )
