"""What experiments left in a results folder, as tidy data frames.

An experiment writes `ROOT/EXPERIMENT/MODEL-DATASET[-LABELS][-TAG]/` with `config.json`, and for
each seed `seed_N.csv`, a row an epoch, and `seed_N.json`, the final figures of a finished run.
Which run a row is of stands in paths and JSON files; here it stands in columns.
"""

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pyro_ssl.errors import ResultsError

# What says which run a row is of, the first columns of both frames.
RUN_COLUMNS = ("run", "experiment", "model", "dataset", "labels", "seed", "tag")
# Those that a run's own CSV carries.
CARRIED = ("model", "dataset", "labels", "seed")
_SEED = re.compile(r"seed_(\d+)")
_REMEDY = "name the folder that --results-root named, or run an experiment first"


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Return the rows of every run's CSV below a folder: all epochs, of unfinished runs too.

    Most runs have a row an epoch. Some have a row a step (`step` in place of `epoch`), or one for
    each hyper-parameter that was tried. What a run does not have is missing.

    Args:
        root: the results folder, or any part of it.

    Returns:
        A frame that begins with `run` (its folder, relative to `root`), `experiment`, `model`,
        `dataset`, `labels` (missing if no label is used), `seed` and `tag` (what the folder's name
        ends in beside these, as `--tag` says; "" if nothing). Then come the columns of the
        CSVs, terms of objectives in nats per example, and at last the configuration as
        `config_NAME`, lists as tuples.

    Raises:
        ResultsError: if there is no such folder, or no run in it that can be read.

    Warns:
        UserWarning: naming each file that is left out, since it is damaged or no run's.
    """
    runs, tables = [], []
    for run in _runs(root, ".csv"):
        table = _read_csv(run.file)
        # An unfinished run may have no row yet.
        if table is not None and len(table) and run.is_of(_only_value(table, "seed")):
            runs.append(run.columns({name: _only_value(table, name) for name in CARRIED}))
            tables.append(table.drop(columns=[c for c in RUN_COLUMNS if c in table]))
    _check_any(tables, root, "no runs", "seed_N.csv")
    rows = pd.concat(tables, keys=range(len(tables)))
    about = _frame(runs).iloc[rows.index.get_level_values(0)].reset_index(drop=True)
    first = list(RUN_COLUMNS)
    parts = [about[first], rows.reset_index(drop=True), about.drop(columns=first)]
    return pd.concat(parts, axis="columns")


def load_summary(root: str | Path = "results") -> pd.DataFrame:
    """Return the final figures of every finished run below a folder, a row for each seed's JSON.

    Args:
        root: the results folder, or any part of it.

    Returns:
        A frame that begins like that of `load_results`. Then come the figures, accuracies and other
        shares in [0, 1], bounds in nats per row; how the run was made (device, commit, versions);
        and at last the configuration as `config_NAME`, lists as tuples. Of a value that is a
        mapping each entry has a column, as `NAME_KEY`.

    Raises:
        ResultsError: if there is no such folder, or no finished run in it that can be read.

    Warns:
        UserWarning: naming each file that is left out, since it is damaged or no run's.
    """
    rows = []
    for run in _runs(root, ".json"):
        if run.result:
            own = {k: v for k, v in run.result.items() if k not in (*RUN_COLUMNS, "config")}
            rows.append({**run.columns(), **_flat(own)})
    _check_any(rows, root, "no finished runs", "seed_N.json")
    table = _frame(rows)
    last = [c for c in table if str(c).startswith("config_")]
    return table[[*(c for c in table if c not in last), *last]]


def run_csv(table: pd.DataFrame, *, model: str, dataset: str, labels: int | None, seed: int) -> str:
    """Return a run's rows as the text of its CSV, which says which run it is in its first columns.

    Args:
        table: the rows.
        model: the model, as its folder is named.
        dataset: the data set.
        labels: number of labelled rows that it sees; None if no label is used.
        seed: the seed.
    """
    told = {"model": model, "dataset": dataset, "labels": labels, "seed": seed}
    return table.assign(**told)[[*told, *table]].to_csv(index=False)


@dataclass(frozen=True)
class _Run:
    """A seed's file, what its JSON file holds (nothing unless it is finished), and its options."""

    file: Path
    name: str
    seed: int
    result: dict[str, Any]
    config: dict[str, Any]

    def is_of(self, seed: Any) -> bool:
        """Return whether a file says, if anything, that it is of this seed; warn if it does not."""
        if seed is None or seed == self.seed:
            return True
        _left_out(self.file, f"it, or the JSON beside it, says that it is of seed {seed}")
        return False

    def columns(self, carried: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return which run it is, and its configuration.

        Args:
            carried: what its CSV says of that, for a run that is not finished.
        """
        folder = self.file.resolve().parent
        known = {**self.config, **{k: v for k, v in (carried or {}).items() if v is not None}}
        known |= self.result
        dataset, labels = known.get("dataset"), known.get("labels")
        model = known.get("model") or folder.name.partition(f"-{dataset}")[0]
        return {
            "run": self.name,
            "experiment": known.get("experiment", folder.parent.name),
            "model": model,
            "dataset": dataset,
            # An experiment of several numbers of labels has them in its folders' names alone.
            "labels": labels if isinstance(labels, int) else None,
            "seed": self.seed,
            "tag": self.config.get("tag") or self._ending(folder.name, f"{model}-{dataset}"),
            **{f"config_{name}": value for name, value in _flat(self.config).items()},
        }

    def _ending(self, folder: str, beginning: str) -> str:
        """Return what the folder's name has beside model, data set and labels."""
        if not folder.startswith(beginning):
            return ""
        rest = folder.removeprefix(beginning)
        for source in (self.config, self.result):
            for name in ("label_fraction", "labels"):
                number = f"-{source.get(name)}"
                if rest == number or rest.startswith(f"{number}-"):
                    return rest.removeprefix(number)[1:]
        return rest[1:]


def _runs(root: str | Path, suffix: str) -> Iterator[_Run]:
    """Yield the runs that have a file `seed_N` of this suffix, by folder and seed."""
    folder = Path(root)
    if not folder.is_dir():
        raise ResultsError(f"there is no folder {folder}: {_REMEDY}")
    found = [f for f in folder.rglob(f"seed_*{suffix}") if _SEED.fullmatch(f.stem)]
    for file in sorted(found, key=lambda f: (f.parent, int(f.stem[5:]))):
        name, seed = file.parent.relative_to(folder).as_posix(), int(file.stem[5:])
        result, config = (
            _read_json(path) if path.exists() else {}
            for path in (file.with_suffix(".json"), file.with_name("config.json"))
        )
        options = result.get("config", config)
        run = _Run(file, name, seed, result, options if isinstance(options, dict) else {})
        if not result and not config:
            _left_out(file, "it has neither results nor config.json beside it that can be read")
        elif run.is_of(result.get("seed")):
            yield run


def _read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing, and warn, if it is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        _left_out(path, str(error))
        return {}
    if isinstance(found, dict):
        return found
    _left_out(path, f"it holds a {type(found).__name__}, expected names and values")
    return {}


def _read_csv(path: Path) -> pd.DataFrame | None:
    """Return a run's rows; None, and warn, if the file is damaged."""
    try:
        # Files are written as a whole, so that one without an end was cut short since.
        if not path.read_bytes().endswith(b"\n"):
            raise ValueError("it is cut short, or empty")
        table = pd.read_csv(path)
        for name in table.select_dtypes(exclude=["number", "bool"]):
            if pd.to_numeric(table[name], errors="coerce").notna().any():
                raise ValueError(f"its column {name} has text among numbers")
    except (OSError, ValueError) as error:
        _left_out(path, str(error))
        return None
    return table


def _left_out(path: Path, why: str) -> None:
    warnings.warn(f"{path} is left out: {why}", stacklevel=2)


def _only_value(table: pd.DataFrame, name: str) -> Any:
    """Return the one value of a column; None if there is no such column, or not one value."""
    values = table[name].dropna().unique().tolist() if name in table else []
    return values[0] if len(values) == 1 else None


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of which none is a mapping: an entry's name follows that of its mapping."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{key}": each for key, each in _flat(value).items()}
        else:
            found[name] = _hashable(value)
    return found


def _hashable(value: Any) -> Any:
    """Return a list as a tuple, which can be grouped by."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a frame of rows; whole numbers and truth values stay such where some are missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
    for name, values in columns.items():
        kinds = {type(value) for value in values}
        if kinds in ({int, type(None)}, {bool, type(None)}):
            columns[name] = pd.array(values, "Int64" if int in kinds else "boolean")
    return pd.DataFrame(columns)


def _check_any(found: Iterable[Any], root: str | Path, what: str, file: str) -> None:
    if not found:
        raise ResultsError(f"there are {what} below {root}, no {file} to be read: {_REMEDY}")
