"""Results of experiments as tidy data frames.

An experiment writes `ROOT/EXPERIMENT/MODEL-DATASET[-LABELS][-TAG]/` with `config.json`, and, for
each seed, `seed_N.csv` with a row per epoch, and `seed_N.json` with the final figures of a finished
run. On disk, paths and JSON files say which run a row belongs to; in the frames, columns do.
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

# The first columns of both frames, which say which run a row belongs to.
RUN_COLUMNS = ("run", "experiment", "model", "dataset", "labels", "seed", "tag")
# Those columns that a run's own CSV contains.
CARRIED = ("model", "dataset", "labels", "seed")
_SEED = re.compile(r"seed_(\d+)")
_REMEDY = "name the folder that --results-root named, or run an experiment first"


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Return the rows of the CSVs of all runs below a folder: all epochs, also of unfinished runs.

    Most runs have a row per epoch. Some have a row per step (`step` instead of `epoch`), or one for
    each hyper-parameter that was tried. Values that a run does not have are missing.
    each hyper-parameter that was tried. What a run does not have is missing.

    Args:
        root: the results folder, or any part of it.

    Returns:
        A frame that begins with `run` (its folder, relative to `root`), `experiment`, `model`,
        `dataset`, `labels` (missing if no label is used), `seed` and `tag` (the rest of the
        folder's name, as given by `--tag`; "" if there is none). Then come the columns of the CSVs,
        with terms of objectives in nats per example, and finally the configuration as
        `config_NAME`, with lists as tuples.

    Raises:
        ResultsError: if the folder does not exist, or no run in it can be read.

    Warns:
        UserWarning: naming each file that is left out because it is damaged or not a run's.
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
    """Return the final figures of all finished runs below a folder, a row for each seed's JSON.

    Args:
        root: the results folder, or any part of it.

    Returns:
        A frame that begins like that of `load_results`. Then come the figures, with accuracies and
        other shares in [0, 1] and bounds in nats per row; details of the run (device, commit,
        versions); and finally the configuration as `config_NAME`, with lists as tuples. A value
        that is a mapping has a column for each entry, `NAME_KEY`.

    Raises:
        ResultsError: if the folder does not exist, or no finished run in it can be read.

    Warns:
        UserWarning: naming each file that is left out because it is damaged or not a run's.
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
    """Return the text of a run's CSV; its first columns say which run it is.

    Args:
        table: the rows.
        model: the model, as in the name of its folder.
        dataset: the data set.
        labels: number of labelled rows that the model sees; None if no label is used.
        seed: the seed.
    """
    told = {"model": model, "dataset": dataset, "labels": labels, "seed": seed}
    return table.assign(**told)[[*told, *table]].to_csv(index=False)


@dataclass(frozen=True)
class _Run:
    """A seed's file, the content of its JSON file (empty unless finished), and its options."""

    file: Path
    name: str
    seed: int
    result: dict[str, Any]
    config: dict[str, Any]

    def is_of(self, seed: Any) -> bool:
        """Return whether a file belongs to this seed, or names no seed; otherwise warn."""
        if seed is None or seed == self.seed:
            return True
        _left_out(self.file, f"it, or the JSON beside it, says that it is of seed {seed}")
        return False

    def columns(self, carried: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the columns that say which run it is, and its configuration.

        Args:
            carried: the same columns in the run's CSV, for a run that is not finished.
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
            # In an experiment with several numbers of labels, only folders' names have them.
            "labels": labels if isinstance(labels, int) else None,
            "seed": self.seed,
            "tag": self.config.get("tag") or self._ending(folder.name, f"{model}-{dataset}"),
            **{f"config_{name}": value for name, value in _flat(self.config).items()},
        }

    def _ending(self, folder: str, beginning: str) -> str:
        """Return the rest of the folder's name after model, data set and labels."""
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
    """Yield the runs that have a file `seed_N` with this suffix, by folder and seed."""
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
    """Return the content of a JSON file; if it is damaged, warn and return nothing."""
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
    """Return a run's rows; if the file is damaged, warn and return None."""
    try:
        # Files are written as a whole, so a file without an end was cut short later.
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
    """Return the only value of a column; None if the column is missing or has several values."""
    values = table[name].dropna().unique().tolist() if name in table else []
    return values[0] if len(values) == 1 else None


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values without nested mappings: an entry's name follows that of its mapping."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}_{key}": each for key, each in _flat(value).items()}
        else:
            found[name] = _hashable(value)
    return found


def _hashable(value: Any) -> Any:
    """Return a list as a tuple, by which rows can be grouped."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a frame of rows; integers and truth values keep their type if some are missing."""
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
