"""Results that are committed are those of today's configurations, so that --resume keeps them."""

import importlib
import json
import re
import shlex
import subprocess
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import tyro

import experiments
from experiments.engine.m1 import M1Options
from experiments.engine.results import RunFolder
from tests.pages import PAGES, commands

ROOT = Path(experiments.__file__).parent.parent


@cache
def committed() -> list[str]:
    listing = ["git", "-C", str(ROOT), "ls-files", "results/*/config.json"]
    return subprocess.run(listing, capture_output=True, text=True).stdout.split()


def tuples(value):
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value


def check_recognised(file, settings, folder):
    """Claim a copy of a committed folder, as a run does that finds finished seeds there."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(file.read_text())
    (folder / "seed_0.json").write_text("{}")
    RunFolder(folder, settings).claim([0], overwrite=False)


def config_of(module, recorded):
    """The options that a committed file is of."""
    known = {f.name for f in fields(module.Config)}
    options = {k: tuples(v) for k, v in recorded.items() if k in known}
    if "m1" in options:
        options["m1"] = M1Options(tag=options["m1"])
    if hasattr(module.Config, "teachers"):
        # Runs without teachers record none.
        options.setdefault("teachers", 0)
    if "digest" in recorded:
        options["folder"] = f"anywhere/{recorded['dataset']}"
    return module.Config(**options)


# Folders that were renamed after their runs, to make room for others.
RENAMED = "-batches-of-100"


@pytest.mark.skipif(not committed(), reason="NO COMMITTED RESULTS to compare with")
def test_recorded_options_are_those_of_the_committed_files(tmp_path):
    for name in committed():
        file = ROOT / name
        if file.parent.name.endswith(RENAMED):
            continue
        recorded = json.loads(file.read_text())
        module = importlib.import_module(f"experiments.{file.parent.parent.name}")
        if file.parent.name.startswith("without_"):
            left_out = file.parent.name.partition("-")[0].removeprefix("without_")
            recorded = recorded | {"leave_out": [left_out]}
        comparison = module.comparison(config_of(module, recorded))
        models = [m for m in comparison.models if comparison.path(m).name == file.parent.name]
        assert len(models) == 1, name
        dataset = SimpleNamespace(digest=recorded.get("digest"))
        check_recognised(file, comparison.settings(models[0], dataset), tmp_path / name)


def printed_commands() -> list[list[str]]:
    """The experiments that pages print, each once: its name and arguments."""
    lines = dict.fromkeys(line for page in PAGES for line in commands(page))
    found = [re.match(r"python -m experiments\.(\w+)(.*)", line) for line in lines]
    calls = [[match[1], *shlex.split(match[2])] for match in found if match]
    return [call for call in calls if "--help" not in call]


def test_the_commands_of_the_pages_find_their_results(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    known = torch.ones(60_000, dtype=torch.bool)
    recognised = set()
    for number, (name, *arguments) in enumerate(printed_commands()):
        module = importlib.import_module(f"experiments.{name}")
        if not hasattr(module, "comparison"):
            continue
        comparison = module.comparison(tyro.cli(module.Config, args=arguments))
        for model in comparison.models:
            file = comparison.path(model) / "config.json"
            if str(file) in committed() and not file.parent.name.endswith(RENAMED):
                digest = json.loads(file.read_text()).get("digest")
                dataset = SimpleNamespace(known_rows=known, digest=digest)
                place = tmp_path / str(number) / file
                check_recognised(file, comparison.settings(model, dataset), place)
                recognised.add(name)
    if committed():
        assert {"mnist_m2", "mnist_m1", "mnist_m1m2", "mnist_m1_svm"} <= recognised
        assert {"mnist_label_treatments", "shapes_ccvae", "semantic_hashing"} <= recognised
