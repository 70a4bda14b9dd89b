"""Tables of columns of several kinds, as values for the likelihood `Mixed`."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.estimator.entries import Floats
from pyro_ssl.estimator.families import Families, families_of
from pyro_ssl.estimator.inference import infer_column
from pyro_ssl.estimator.kinds import Column
from pyro_ssl.estimator.tables import KINDS, Table, read_table, write_table
from pyro_ssl.likelihoods import Conditional, Likelihood, Mixed


@dataclass(frozen=True)
class Columns:
    """The content of a table's columns, and the maps from entries to numbers and back.

    The content of a column is inferred from training rows, unless it is given. A column of

    - bool, strings, objects or pandas' categories is binary if it has two distinct entries,
      otherwise categorical; pandas' ordered categories are ordinal. If there are more than 50
      unordered categories, only the 50 most frequent of those that occur twice are kept; all
      others, including unseen ones, become "other";
    - strings of which at least 95 % are numbers (but none like "007") is a column of numbers; the
      other strings are missing;
    - numbers is binary if it has two distinct values;
    - whole numbers from 0 to 100,000 is a column of counts if it has more than 10 distinct values,
      the smallest of which is at most half the mean; otherwise it is real. Inferred counts are
      modelled as real numbers, through log(1 + x) if that is less skewed. A column that `families`
      calls "count" has a negative binomial distribution. This fits counts of events better, but
      pixels or amounts worse: digits were classified worse with it;
    - positive numbers is positive, and its logarithm is modelled, if it spans more than a factor of
      10 and the logarithm is less skewed;
    - other numbers is real. It is transformed by asinh if it has heavy tails: an excess kurtosis
      above 10, or an entry 20 times as far from the median as the quartiles suggest;
    - dates or durations is real, in seconds;
    - fewer than two distinct entries, apart from missing ones, is constant: it is left out, and
      restored by `decode`.

    A column that `families` calls a covariate (a batch, a site, an age) is conditioned on and not
    modelled. Its kind is inferred as above, except that whole numbers with at most 10 distinct
    values are categories.

    NaN, None, pd.NA and NaT are missing.

    Encoded rows have a value for each column that is not constant. Columns of one likelihood are
    neighbours, and covariates come last: `modelled` gives the order.

    Attributes:
        columns: each column, in the table's order.
        kind: the kind of the table, which `decode` returns: "pandas", "polars" or "array".
    """

    columns: tuple[Column, ...]
    kind: str

    @classmethod
    def infer(cls, X: Any, families: Families | None = None) -> "Columns":  # noqa: N803
        """Infer the content of columns from training rows, and fit their scaling.

        Args:
            X: pandas or polars data frame, or 2-D array, of numbers, strings or objects.
            families: a mapping from a column's name or number to its family: one of real, positive,
                count, binary, categorical, ordinal, covariate; or a sequence of one for each
                column, None to infer it.

        Raises:
            DataError: if a column holds infinity, or values outside its family's support, or if all
                columns are constant.
            ConfigError: if `families` names an unknown column or family.
            TypeError: if an entry is not a number, string, truth value or date.
        """
        table = read_table(X)
        given = families_of(families, table.names)
        columns = tuple(
            infer_column(name, series, family)
            for name, series, family in zip(table.names, table.columns, given, strict=True)
        )
        if all(column.family == "constant" or column.covariate for column in columns):
            raise DataError(
                f"X has {table.num_rows} sample(s) (n_samples = {table.num_rows}), and no column "
                "with two distinct entries, expected one that is not a covariate"
            )
        return cls(columns, table.kind)

    @cached_property
    def modelled(self) -> NDArray[np.intp]:
        """The indices, in the table, of the columns of encoded rows, in their order."""
        places = [n for n, column in enumerate(self.columns) if column.family != "constant"]
        return np.array(sorted(places, key=lambda n: self.columns[n].order), dtype=np.intp)

    @property
    def likelihood(self) -> Likelihood:
        """The likelihood of encoded rows, from the families that `Column.likelihood` states."""
        each = [(self.columns[n].likelihood, self.columns[n].covariate) for n in self.modelled]
        mixed = Mixed(tuple(family for family, given in each if not given))
        covariates = tuple(family for family, given in each if given)
        return Conditional(mixed, covariates, missing=True) if covariates else mixed

    def encode(self, X: Any) -> Floats:  # noqa: N803
        """Return a table as float64 `[N, len(modelled)]`, NaN where an entry is missing.

        Columns of a data frame are found by their names. Unseen categories, numbers outside a
        family's support, and entries that are not numbers in a column of numbers become missing,
        with one warning that names them. Counts are rounded.

        Raises:
            DataError: if columns are missing or unknown, or hold infinity.
        """
        return self._encode(self._read(X))

    def decode(self, values: NDArray[Any]) -> Any:
        """Return encoded rows `[N, len(modelled)]` as a table of the original kind.

        Raises:
            DataError: if rows have another number of values.
        """
        values = self._checked(values)
        found = [np.zeros(len(values)) for _ in self.columns]
        for place, n in enumerate(self.modelled):
            found[n] = values[:, place]
        restored = [c.decode(column) for c, column in zip(self.columns, found, strict=True)]
        return write_table(self.kind, [column.name for column in self.columns], restored)

    def log_jacobian(self, values: NDArray[Any]) -> Floats:
        """Return log |d encoded / d raw| of encoded rows, `[N]`, summed over known densities.

        `log p(raw) = log p(encoded) + log_jacobian(encoded)`, in the units of the table; dates are
        in seconds. The probabilities of counts and categories do not change.
        """
        values = self._checked(values)
        each = [self.columns[n].log_jacobian(values[:, p]) for p, n in enumerate(self.modelled)]
        return np.sum(each, 0)

    def design(
        self, values: NDArray[Any], fill: NDArray[Any] | None = None, logs: bool = True
    ) -> Floats:
        """Return encoded rows as float64 `[N, D]` for other classifiers, without NaN.

        For each column that is not constant, in the table's order: real and positive numbers as
        encoded; log(1 + x) of counts and the codes of ordinal levels, both standardised; a binary
        code minus its mean; indicators of other categories. Numbers are clipped to [-10, 10];
        missing entries are 0. A column with missing entries in training adds an indicator of
        missing entries.

        Args:
            values: encoded rows, `[N, len(modelled)]`.
            fill: encoded rows that replace missing entries.
            logs: keep the logarithms of the encoding; otherwise use the standardised numbers.
        """
        values = self._checked(values)
        found = []
        for place in np.argsort(self.modelled):
            instead = None if fill is None else self._checked(fill)[:, place]
            column = self.columns[self.modelled[place]]
            found += column.design(values[:, place], instead, logs)
        return np.stack(found, 1)

    def to_frame(self) -> pd.DataFrame:
        """Return a table of all columns: name, family, share missing, transform, categories."""
        return pd.DataFrame(
            {
                "column": [c.name for c in self.columns],
                "family": [c.stated for c in self.columns],
                "missing": [c.missing for c in self.columns],
                "transform": [c.transform for c in self.columns],
                "categories": [", ".join(map(str, c.categories)) for c in self.columns],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, for `from_dict`."""
        return {"kind": self.kind, "columns": [column.to_dict() for column in self.columns]}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "Columns":
        """Return the columns that `to_dict` describes.

        Raises:
            ConfigError: if the state has other keys or values.
        """
        if state.keys() != {"kind", "columns"} or state["kind"] not in KINDS:
            raise ConfigError(
                f"the state has the keys {sorted(state)} and the kind {state.get('kind')!r}, "
                f"expected kind, one of {', '.join(KINDS)}, and columns"
            )
        return cls(tuple(Column.from_dict(c) for c in state["columns"]), state["kind"])

    def _encode(self, table: Table) -> Floats:
        found = np.empty((table.num_rows, len(self.modelled)))
        refused = []
        for place, n in enumerate(self.modelled):
            found[:, place], odd = self.columns[n].encode(table.columns[n])
            if odd:
                shown = ", ".join(map(repr, odd[:5])) + (", ..." if len(odd) > 5 else "")
                refused.append(f"column {self.columns[n].name!r}: {shown}")
        if refused:
            warnings.warn(
                "entries that the columns' families do not take, or that were not in training, "
                f"are treated as missing: {'; '.join(refused)}",
                stacklevel=3,
            )
        return found

    def _read(self, X: Any) -> Table:  # noqa: N803
        """Return a table with the columns in the order of training."""
        table = read_table(X)
        names = [column.name for column in self.columns]
        if "array" not in (self.kind, table.kind):
            missing = [n for n in names if n not in table.names]
            extra = [n for n in table.names if n not in set(names)]
            if missing or extra:
                raise DataError(
                    f"X lacks the columns {missing} and has the unknown columns {extra}, expected "
                    "those of training: add or drop columns"
                )
            series = dict(zip(table.names, table.columns, strict=True))
            return Table(table.kind, tuple(names), [series[n] for n in names], table.num_rows)
        if len(table.names) != len(names):
            raise DataError(
                f"X has {len(table.names)} features, but {type(self).__name__} is expecting "
                f"{len(names)} features as input: give the columns of training"
            )
        return table

    def _checked(self, values: NDArray[Any]) -> Floats:
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.modelled):
            raise DataError(
                f"values has shape {values.shape}, expected (N, {len(self.modelled)}), rows as "
                "encode returns them"
            )
        return values
