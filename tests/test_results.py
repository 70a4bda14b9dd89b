import json
import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest

from pyro_ssl import load_results, load_summary
from pyro_ssl.errors import ResultsError

ROOT = Path(__file__).parent.parent / "results"
FIRST = ["run", "experiment", "model", "dataset", "labels", "seed", "tag"]

needs_committed = pytest.mark.skipif(
    not (ROOT / "mnist_m2/m2-mnist-100").exists(), reason="NO COMMITTED RESULTS to read"
)


def write(folder, seed=0, rows=({"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.5}), **result):
    """Leave what a run leaves, unfinished if there are no results of it."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(rows)).to_csv(folder / f"seed_{seed}.csv", index=False)
    if result:
        result = {"experiment": folder.parent.name, "seed": seed, **result}
        (folder / f"seed_{seed}.json").write_text(json.dumps(result))


def m2(seed=0, **config):
    return {"model": "m2", "dataset": "mnist", "labels": 100, "test_accuracy": 0.9 + seed / 100,
            "config": {"dataset": "mnist", "labels": 100, "tag": None, **config}}  # fmt: skip


def test_every_row_says_which_run_it_is_of(tmp_path):
    for seed in (0, 10, 2):
        write(tmp_path / "mnist_m2/m2-mnist-100", seed, **m2(seed, alpha=15.0))
    tagged = {**m2(hidden_dims=[8, 8], alpha=1.0, tag="wide"), "chosen": {"penalty": 3}}
    write(tmp_path / "mnist_m2/m2-mnist-100-wide", **tagged)
    rows, summary = load_results(tmp_path), load_summary(str(tmp_path))
    assert list(rows)[:9] == [*FIRST, "epoch", "loss"]
    assert list(summary)[:8] == [*FIRST, "test_accuracy"]
    assert summary["seed"].tolist() == [0, 2, 10, 0]
    assert rows["seed"].tolist() == [0, 0, 2, 2, 10, 10, 0, 0]
    assert summary["test_accuracy"].tolist() == [0.9, 0.92, 1.0, 0.9]
    assert rows["loss"].tolist() == [2.0, 1.5] * 4
    for frame in (rows, summary):
        assert (frame["experiment"] == "mnist_m2").all()
        assert (frame["model"] == "m2").all()
        assert (frame["labels"] == 100).all()
        assert frame["tag"].unique().tolist() == ["", "wide"]
        assert frame["run"].unique().tolist() == [
            "mnist_m2/m2-mnist-100", "mnist_m2/m2-mnist-100-wide",
        ]  # fmt: skip
        assert frame.groupby("tag")["config_alpha"].unique().map(list).to_dict() == {
            "": [15.0], "wide": [1.0],
        }  # fmt: skip
        assert frame["config_hidden_dims"].iloc[-1] == (8, 8)
    assert summary["chosen_penalty"].iloc[-1] == 3
    part = load_results(tmp_path / "mnist_m2" / "m2-mnist-100")
    assert set(part["run"]) == {"."}
    assert set(part["experiment"]) == {"mnist_m2"}


def test_numbers_stay_whole_where_some_are_missing(tmp_path):
    write(tmp_path / "a/m2-mnist-100", **m2(patience=3, keep_best=True))
    write(tmp_path / "a/vae-mnist", model="vae", dataset="mnist", config={"patience": None})
    for frame in (load_results(tmp_path), load_summary(tmp_path)):
        for name in ("labels", "config_patience"):
            assert frame[name].dtype == "Int64"
            assert frame[name].isna().any()
        assert frame["config_keep_best"].dtype == "boolean"


def test_the_tag_is_what_a_folders_name_ends_in(tmp_path):
    for folder, result in {
        "m2-mnist-100": m2(),
        "m2-mnist-100-a-b": m2(tag="a-b"),
        # Renamed after the run.
        "m2-mnist-100-renamed": m2(),
        "m2-mnist-0.5": {**m2(label_fraction=0.5), "labels": 24300},
        "judge-mnist-100": {**m2(), "model": "judge", "labels": 15000},
        "vae-mnist-gaussian": {"model": "vae", "dataset": "mnist", "config": {"tag": "gaussian"}},
        "copied": m2(),
    }.items():
        write(tmp_path / "x" / folder, **result)
    summary = load_summary(tmp_path).set_index("run")
    assert summary["tag"].to_dict() == {
        "x/copied": "", "x/judge-mnist-100": "", "x/m2-mnist-0.5": "", "x/m2-mnist-100": "",
        "x/m2-mnist-100-a-b": "a-b", "x/m2-mnist-100-renamed": "renamed",
        "x/vae-mnist-gaussian": "gaussian",
    }  # fmt: skip


def test_unfinished_runs_have_rows_and_no_figures(tmp_path):
    folder = tmp_path / "mnist_m2" / "m2-mnist-100-new"
    write(folder)
    (folder / "config.json").write_text(json.dumps(m2(tag="new")["config"]))
    (row, _) = load_results(tmp_path).to_dict("records")
    assert [row[name] for name in FIRST] == [
        "mnist_m2/m2-mnist-100-new", "mnist_m2", "m2", "mnist", 100, 0, "new",
    ]  # fmt: skip
    with pytest.raises(ResultsError, match=r"no finished runs below .*, no seed_N.json"):
        load_summary(tmp_path)


def test_what_a_csv_says_of_its_run_is_believed_where_there_is_no_json(tmp_path):
    about = {"model": "vae", "dataset": "plane", "labels": 7, "seed": 0}
    write(tmp_path / "x/anything", rows=[{**about, "epoch": 0, "loss": 1.0}])
    (tmp_path / "x/anything/config.json").write_text('{"epochs": 3}')
    rows = load_results(tmp_path)
    assert list(rows) == [*FIRST, "epoch", "loss", "config_epochs"]
    assert {name: rows[name].item() for name in about} == about


DAMAGED = {
    "cut short": ("seed_1.csv", b"epoch,loss\n0,2.0\n1,1."),
    "empty": ("seed_1.csv", b""),
    "another number of columns": ("seed_1.csv", b"epoch,loss\n0,2.0,7,8\n1\n2,3,4,5,6\n"),
    "text among numbers": ("seed_1.csv", b"epoch,loss\n0,2.0\n1,error\n"),
    "no text": ("seed_1.csv", b"\xff\xfe\x00epoch\n"),
    "of another seed": ("seed_1.csv", b"model,dataset,labels,seed,epoch\nm2,mnist,100,0,0\n"),
    "half a JSON": ("seed_1.json", b'{"model": "m2", "da'),
    "a list": ("seed_1.json", b"[1, 2]"),
    "JSON of another seed": ("seed_1.json", b'{"model": "m2", "seed": 0}'),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_named_and_left_out(kind, tmp_path):
    folder = tmp_path / "mnist_m2/m2-mnist-100"
    for seed in (0, 1):
        write(folder, seed, **m2(seed))
    name, content = DAMAGED[kind]
    (folder / name).write_bytes(content)
    load = load_results if name.endswith("csv") else load_summary
    with pytest.warns(UserWarning, match=rf"{name} is left out: "):
        assert set(load(tmp_path)["seed"]) == {0}


def test_foreign_files_are_none_of_its_business(tmp_path):
    folder = tmp_path / "mnist_m2/m2-mnist-100"
    write(folder, **m2())
    for name in ("seed_x.csv", "seed_0_extra.csv", "seed_1.csv.7.tmp", "notes.json", "seed_0.log"):
        (folder / name).write_text("nothing of ours")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/step.csv").write_text("a,b\n1,2\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_results(tmp_path)) == 2
        assert len(load_summary(tmp_path)) == 1
    (tmp_path / "seed_3.csv").write_text("a,b\n1,2\n")
    (folder / "seed_5.csv").mkdir()
    with pytest.warns(UserWarning, match="is left out") as found:
        assert len(load_results(tmp_path)) == 2
    shown = "\n".join(str(w.message) for w in found)
    assert "seed_3.csv is left out: it has neither results nor config.json" in shown
    assert "seed_5.csv is left out" in shown


def test_a_folder_without_runs_is_an_error(tmp_path):
    for load in (load_results, load_summary):
        with pytest.raises(ResultsError, match=r"there is no folder .*absent"):
            load(tmp_path / "absent")
        with pytest.raises(ResultsError, match=r"there are no .*runs below"):
            load(tmp_path)


@needs_committed
def test_a_copy_of_committed_results_is_read_as_it_is(tmp_path):
    for run in ("mnist_m2/m2-mnist-100", "mnist_m1_svm/rbf_svm-mnist-100"):
        shutil.copytree(ROOT / run, tmp_path / run, ignore=shutil.ignore_patterns("*.png"))
    rows, summary = load_results(tmp_path), load_summary(tmp_path)
    last = rows[(rows["model"] == "m2") & (rows["seed"] == 3)]
    pd.testing.assert_frame_equal(
        last[["epoch", "unlabelled_elbo"]].reset_index(drop=True),
        pd.read_csv(ROOT / "mnist_m2/m2-mnist-100/seed_3.csv")[["epoch", "unlabelled_elbo"]],
        check_dtype=False,
    )
    result = json.loads((ROOT / "mnist_m2/m2-mnist-100/seed_3.json").read_text())
    row = summary[(summary["model"] == "m2") & (summary["seed"] == 3)].iloc[0]
    for name in ("test_accuracy", "commit", "version_torch", "split_digest", "selected_epoch"):
        assert row[name] == result[name]
    assert row["config_alpha"] == 15.0
    assert summary.loc[summary["model"] == "rbf_svm", "m1_config_epochs"].eq(200).all()


@needs_committed
def test_all_committed_results_are_read():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows, summary = load_results(ROOT), load_summary(ROOT)
    assert len(summary) == len(list(ROOT.glob("*/*/seed_?.json")))
    finished = rows[FIRST].drop_duplicates().reset_index(drop=True)
    pd.testing.assert_frame_equal(finished, summary[FIRST], check_dtype=False)
    # Each configuration is one run: nothing but the columns tells them apart.
    assert not summary[FIRST[1:]].duplicated().any()
