"""Trials: runs by which options are chosen, on validation rows, without the test set."""

import csv
import hashlib
import io
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pyro_ssl.errors import ResultsError
from pyro_ssl.files import write_text
from pyro_ssl.locks import held

Options = TypeVar("Options", bound=Any)
# What identifies a trial; a trial that is repeated replaces its row.
_KEYS = ("trial", "model", "seed", "commit")
_WAIT = 60.0


def is_trial(config: Any) -> bool:
    """Return whether an experiment's options ask for a trial."""
    return getattr(config, "tuning", False)


def options_of_trial(config: Options, recorded: Mapping[str, Any]) -> Options:
    """Return the options of an experiment with a folder for each configuration of its trials.

    The folder is called after `tag` and eight hexadecimal digits of all recorded options. Options
    that ask for no trial are returned as they are.

    Args:
        config: the options, a dataclass.
        recorded: those that identify the configuration.
    """
    if not is_trial(config):
        return config
    text = json.dumps(dict(recorded), sort_keys=True)
    digits = hashlib.sha256(text.encode()).hexdigest()[:8]
    tag = digits if config.tag is None else f"{config.tag}-{digits}"
    return replace(config, results_root=str(Path(config.results_root) / "tuning"), tag=tag)


def add_trial(config: Any, experiment: str, result: dict[str, Any]) -> None:
    """Add a finished trial to RESULTS_ROOT/EXPERIMENT.csv: a row with figures, commit, options.

    Args:
        config: the options that `options_of_trial` returned; nothing is done if it is no trial.
        experiment: name of the experiment.
        result: the content of its JSON file.

    Raises:
        ResultsError: if another process holds the file for a minute, or it cannot be written.
    """
    if not is_trial(config):
        return
    root = Path(config.results_root)
    row = {"trial": result["config"]["tag"]}
    row |= {k: v for k, v in result.items() if k not in ("config", "files", "experiment")}
    row |= {f"config_{k}": v for k, v in result["config"].items() if k != "tag"}
    path, until = root / f"{experiment}.csv", time.monotonic() + _WAIT
    while True:
        try:
            with held(root / f".{experiment}.lock", str(path)):
                _add(path, {k: "" if v is None else str(v) for k, v in row.items()})
            return
        except ResultsError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _add(path: Path, row: dict[str, str]) -> None:
    """Add a row to a CSV file, in place of an earlier row of the same trial."""
    rows = list(csv.DictReader(io.StringIO(path.read_text()))) if path.exists() else []
    rows = [r for r in rows if any(r.get(key) != row[key] for key in _KEYS)] + [row]
    columns = dict.fromkeys(name for each in rows for name in each)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(text.getvalue(), path)
