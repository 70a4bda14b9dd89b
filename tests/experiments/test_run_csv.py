"""What a run's CSV says of the run."""

import json

import pandas as pd

from experiments import mnist_m2
from pyro_ssl import load_results

TINY = "--dataset digits --labels 20 --validation 50 --hidden-dims 8 --latent-dim 2 --quiet"
FIRST = ["model", "dataset", "labels", "seed", "epoch"]


def test_new_runs_say_which_they_are_and_go_on_from_those_that_did_not(tmp_path):
    arguments = [*TINY.split(), "--learning-rate-schedule", "constant"]
    arguments += ["--results-root", str(tmp_path)]
    assert mnist_m2.main([*arguments, "--epochs", "1"]) == 0
    folders = [tmp_path / f"mnist_m2/{m}-digits-20" for m in ("m2", "mlpclassifier")]
    assert list(pd.read_csv(folders[0] / "seed_0.csv"))[:5] == FIRST
    rows = load_results(tmp_path)
    assert list(rows)[:8] == [*["run", "experiment"], *FIRST[:4], "tag", "epoch"]
    assert set(rows["model"]) == {"m2", "mlpclassifier"}
    assert set(rows["labels"]) == {20}
    # As files of an earlier version were, and as if they had been stopped.
    for folder in folders:
        (folder / "seed_0.json").unlink()
        table = pd.read_csv(folder / "seed_0.csv")
        table.drop(columns=FIRST[:4]).to_csv(folder / "seed_0.csv", index=False)
        assert load_results(folder)["model"].item() == folder.name.split("-")[0]
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "epochs": 2}))
    assert mnist_m2.main([*arguments, "--epochs", "2", "--resume"]) == 0
    table = pd.read_csv(folders[0] / "seed_0.csv")
    assert list(table)[:5] == FIRST
    assert table["epoch"].tolist() == [0, 1]
