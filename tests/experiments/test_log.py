"""Runs that are watched: `--log`."""

import json
import sys

import pytest

from experiments import mnist_m2

TINY = (
    "--dataset digits --labels 20 --validation 50 --hidden-dims 8 --latent-dim 2 --epochs 2 "
    "--quiet --no-baseline"
).split()


def test_a_run_is_shown_in_tensorboard(tmp_path):
    reason = "EVENT FILES NOT READ: tensorboard is not installed: pip install '.[tensorboard]'"
    pytest.importorskip("tensorboard", reason=reason)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert mnist_m2.main([*TINY, "--results-root", str(tmp_path), "--log", "tensorboard"]) == 0
    found = EventAccumulator(str(tmp_path / "tensorboard/mnist_m2/m2-digits-20/seed_0")).Reload()
    assert [s.step for s in found.Scalars("validation/accuracy")] == [1, 2]
    assert [p.step for p in found.Images("samples")] == [1]
    assert "log" not in json.loads((tmp_path / "mnist_m2/m2-digits-20/config.json").read_text())


def test_what_is_missing_is_said_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert mnist_m2.main([*TINY, "--results-root", str(tmp_path), "--log", "mlflow"]) == 1
    assert "pip install 'pyro_ssl[mlflow]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
