"""The command that repeats a run, from the options that its folder records."""

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from importlib import import_module
from typing import Any

from experiments.engine.m1 import M1Options
from experiments.engine.page import commands
from experiments.engine.tables import SWEEP

# Folders that were renamed after their runs, to make room for others.
_RENAMED = "-batches-of-100"


def command_of(run: str, result: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """Return the command that repeats the seeds of a configuration.

    Options that have their defaults are left out, and so are those that change no result.

    Args:
        run: the run's folder, EXPERIMENT/MODEL-DATASET.
        result: the JSON file of one of its seeds.
        seeds: the seeds.
    """
    if re.match(SWEEP, run):
        return commands.SWEEP
    experiment, recorded = run.partition("/")[0], dict(result["config"])
    if run.endswith(_RENAMED):
        recorded["tag"] = _RENAMED[1:]
    module = import_module(f"experiments.{experiment}")
    # Defaults by the word that asks for them, of an experiment that has several.
    schedules = getattr(module, "SCHEDULES", {"": module.Config()})
    asked = [
        ["--schedule", name] * (default != module.Config()) + _options(recorded, default)
        for name, default in schedules.items()
    ]
    words = min(asked, key=len)
    # Of the M1 that it builds on, if it does, and says so.
    for option in fields(M1Options) if "m1_config" in result else ():
        words += _words(f"m1.{option.name}", result["m1_config"][option.name], option.default)
    if str(result.get("model")).startswith("without_"):
        # A model that mnist_record trains only if it is asked to.
        words += ["--leave-out", result["model"].removeprefix("without_")]
    words += ["--seeds", *map(str, seeds)]
    return shlex.join(["python", "-m", f"experiments.{experiment}", *words])


def _options(recorded: Mapping[str, Any], default: Any) -> list[str]:
    """Return the recorded options that differ from their defaults, as words of a command."""
    # A folder of images is called by its name.
    words = ["--folder", str(recorded["dataset"])] if "digest" in recorded else []
    for option in fields(default):
        named = option.name in recorded and option.name != "m1"
        if named and not ("digest" in recorded and option.name == "dataset"):
            words += _words(option.name, recorded[option.name], getattr(default, option.name))
    return words


def _words(name: str, value: Any, default: Any) -> list[str]:
    """Return an option as words of a command; none if it has its default."""
    if value == json.loads(json.dumps(default)):
        return []
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", *map(str, value if isinstance(value, list) else [value])]
