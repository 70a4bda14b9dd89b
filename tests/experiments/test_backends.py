"""Sweeps on a cluster: the same as one after the other, also if a worker is lost on the way."""

import json
import os
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from experiments import label_fraction_sweep, mnist_m2
from pyro_ssl.infer import clusters
from tests.experiments.test_sweep import TINY

OPTIONS = ["--dataset", "digits", "--labels", "20", "--validation", "100", "--hidden-dims", "8"]
OPTIONS += ["--latent-dim", "2", "--batch-size", "100", "--device", "cpu", "--no-baseline"]
MEASURES = ("test_accuracy", "test_ece", "test_rows", "selected_epoch", "config")


@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process with a nanny that starts it anew."""
    distributed = pytest.importorskip("distributed")
    made = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    )
    with made:
        yield made


def results(root: Path, seeds) -> list[dict]:
    (folder,) = (root / "mnist_m2").iterdir()
    found = [json.loads((folder / f"seed_{seed}.json").read_text()) for seed in seeds]
    return [{key: result[key] for key in MEASURES} for result in found]


def curves(root: Path, seeds) -> list[pd.DataFrame]:
    (folder,) = (root / "mnist_m2").iterdir()
    tables = [pd.read_csv(folder / f"seed_{seed}.csv") for seed in seeds]
    return [table[[c for c in table if "seconds" not in c]] for table in tables]


def run(root: Path, *more: str) -> int:
    return mnist_m2.main([*OPTIONS, "--results-root", str(root), *more])


def stopped_in_the_middle(root: Path, sweep: threading.Thread) -> int:
    """Stop a worker that has a checkpoint, and is not at the end of its run; return its number."""
    while sweep.is_alive():
        for checkpoint in root.glob("**/seed_*.pt"):
            lock = checkpoint.with_name(f".{checkpoint.stem}.lock")
            with suppress(FileNotFoundError, TypeError):
                pid = int(re.match(r"process (\d+) on ", lock.read_text())[1])
                os.kill(pid, signal.SIGSTOP)
                # Otherwise it has ended its run just before.
                if lock.exists():
                    return pid
                os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)
    raise AssertionError("all runs ended before one was stopped")


def test_a_sweep_goes_on_when_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    seeds, many = range(2), ["--seeds", "0", "1", "--epochs", "5"]
    # The workers' working folder is another.
    monkeypatch.chdir(tmp_path)
    outcome: list[int] = []
    on_cluster = ["--backend", "dask", "--address", cluster.scheduler_address]
    sweep = threading.Thread(target=lambda: outcome.append(run(Path("dask"), *many, *on_cluster)))
    sweep.start()
    before = stopped_in_the_middle(tmp_path / "dask", sweep)
    (victim,) = [nanny for nanny in cluster.workers.values() if nanny.pid == before]
    os.kill(before, signal.SIGKILL)
    sweep.join()
    assert outcome == [0]
    assert victim.pid != before
    assert run(tmp_path / "serial", *many) == 0
    assert results(tmp_path / "dask", seeds) == results(tmp_path / "serial", seeds)
    for one, other in zip(
        curves(tmp_path / "dask", seeds), curves(tmp_path / "serial", seeds), strict=True
    ):
        pd.testing.assert_frame_equal(one, other)


def test_options_of_a_sweep_are_computed_at_once(cluster, tmp_path, monkeypatch):
    sent = []
    compute = clusters.compute

    def spy(run, tasks, *where):
        sent.append(len(tasks))
        compute(run, tasks, *where)

    monkeypatch.setattr("experiments.engine.runner.compute", spy)
    arguments = [*TINY.split(), "--proportions", "0.02", "0.05", "--models", "m2"]
    arguments += ["--results-root", str(tmp_path)]
    on_cluster = ["--backend", "dask", "--address", cluster.scheduler_address]
    assert label_fraction_sweep.main([*arguments, *on_cluster]) == 0
    assert sent == [4]
    table = pd.read_csv(tmp_path / "label_fraction_sweep" / "sweep-digits.csv")
    # Each with its classifier of labelled rows alone.
    assert len(table) == 8


def test_what_lies_there_unfinished_is_not_taken_for_the_sweeps(tmp_path, capsys):
    (tmp_path / "mnist_m2" / "m2-digits-20").mkdir(parents=True)
    (tmp_path / "mnist_m2" / "m2-digits-20" / "seed_1.pt").write_bytes(b"")
    assert run(tmp_path, "--seeds", "0", "1", "--epochs", "1", "--jobs", "2") == 1
    assert "seed_1.pt is an unfinished run" in capsys.readouterr().err
    assert not list(tmp_path.glob("**/seed_0*"))


def test_an_address_wants_a_backend(tmp_path, capsys):
    assert run(tmp_path, "--address", "tcp://localhost:1") == 1
    assert "add --backend" in capsys.readouterr().err


def test_a_missing_backend_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert run(tmp_path, "--epochs", "1", "--backend", "ray") == 1
    assert "pip install 'ray'" in capsys.readouterr().err
