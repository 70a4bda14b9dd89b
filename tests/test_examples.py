"""The files under `examples/`, each run as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def lines(name: str) -> int:
    """Lines of an example, but for blank ones and its docstring of one line."""
    text = (ROOT / "examples" / f"{name}.py").read_text().splitlines()
    return sum(bool(line.strip()) and not line.startswith('"""') for line in text)


def test_own_experiment_on_own_data(tmp_path):
    assert lines("own_experiment") <= 25
    arguments = (
        "--labels 10 --validation 50 --epochs 15 --batch-size 50 --hidden-dims 16 --quiet".split()
    )
    arguments += ["--seeds", "0", "1", "--jobs", "2", "--results-root", str(tmp_path)]
    done = run("own_experiment", *arguments)
    assert done.returncode == 0, done.stderr
    for model in ("mlpclassifier", "m2"):
        folder = tmp_path / "own_experiment" / f"{model}-halves-10"
        results = [json.loads((folder / f"seed_{seed}.json").read_text()) for seed in (0, 1)]
        assert [(r["seed"], r["labels"], r["test_rows"]) for r in results] == [
            (0, 10, 100), (1, 10, 100),
        ]  # fmt: skip
        assert min(r["test_accuracy"] for r in results) > 0.8
    # What its options are is recorded like that of any other.
    assert json.loads((folder / "config.json").read_text())["latent_dim"] == 5
    refused = run("own_experiment", *arguments, "--latent-dim", "7")
    assert refused.returncode == 1
    assert "latent_dim (5 there, 7 now)" in refused.stderr
