"""New files are read as those of training were."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pyro_ssl
from pyro_ssl.command import delimited
from tests.command.conftest import make_table

ROOT = Path(pyro_ssl.__file__).parent.parent


def text(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


@pytest.fixture
def predict(fitted, cli, tmp_path):
    """Write a table, predict it, and return the predictions and the error stream."""

    def run(table, *options, name="new.csv", out="predictions.csv", code=0):
        table.to_csv(tmp_path / name, index=False)
        args = ("predict", fitted / "model", tmp_path / name, "-o", tmp_path / out, *options)
        found, _, err = cli(*args)
        assert found == code, err
        return (text(tmp_path / out) if not code else None), err

    return run


def test_rows_keep_their_order_and_their_ids(predict, table):
    plain, err = predict(table)
    assert err == ""
    assert [*plain] == ["label", "probability_02", "probability_1", "novelty"]
    shares = plain[["probability_02", "probability_1"]].astype(float)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (plain["label"] == np.where(shares.iloc[:, 0] > 0.5, "02", "1")).all()
    with_ids, _ = predict(table, "--id-column", "id")
    assert with_ids["id"].tolist() == table["id"].tolist()
    assert with_ids.drop(columns="id").equals(plain)
    # A column that is learnt from is an id too, as it was written.
    by_code, _ = predict(table, "--id-column", "code")
    assert by_code["code"].tolist() == table["code"].tolist()


def test_order_labels_and_dropped_columns_make_no_difference(predict, table):
    plain, _ = predict(table)
    fewer = table.drop(columns=["y", "id"])
    found, err = predict(fewer[[*fewer][::-1]])
    assert found.equals(plain)
    assert err == ""


def test_other_columns_are_left_out_with_a_warning(predict, table):
    plain, _ = predict(table)
    found, err = predict(table.assign(extra="x", more=1))
    assert found.equals(plain)
    assert err.startswith("pyro-ssl: warning: ")
    assert "'extra', 'more'" in err


def test_a_missing_column_is_named(predict, table, tmp_path):
    _, err = predict(table.drop(columns="size"), code=1)
    assert err.startswith("pyro-ssl: error: ")
    assert "lacks 'size'" in err
    assert not (tmp_path / "predictions.csv").exists()


def test_unseen_categories_are_missing_with_a_warning(predict, table):
    blank, _ = predict(table.assign(colour=""))
    found, err = predict(table.assign(colour="green"))
    assert found.equals(blank)
    assert err.count("warning") == 1
    assert "'green'" in err


def test_numbers_that_are_none_are_missing_with_a_warning(predict, table):
    blank, _ = predict(table.assign(age="", when=""))
    found, err = predict(table.assign(age="old", when="soon"))
    assert found.equals(blank)
    assert "'old'" in err
    assert "'soon'" in err


def test_parts_are_written_as_they_come_and_are_those_of_the_whole(predict, table, monkeypatch):
    plain, _ = predict(table)
    monkeypatch.setattr(delimited, "_ROWS", 50)
    found, _ = predict(table)
    assert len(found) == 120
    np.testing.assert_allclose(
        found.drop(columns="label").astype(float), plain.drop(columns="label").astype(float)
    )


def test_a_ragged_line_far_down_writes_nothing(fitted, cli, table, monkeypatch, tmp_path):
    monkeypatch.setattr(delimited, "_ROWS", 50)
    file, out = tmp_path / "new.csv", tmp_path / "out" / "predictions.csv"
    file.write_text(table.to_csv(index=False) + "too,short\n")
    for former in (None, "former"):
        if former:
            out.write_text(former)
        code, _, err = cli("predict", fitted / "model", file, "-o", out)
        assert code == 1
        assert "line 122: 2 entries, expected 7" in err
        found = {p.name: p.read_text() for p in out.parent.iterdir()}
        assert found == ({out.name: former} if former else {})


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet", ".feather"])
def test_every_format_holds_the_same_predictions(fitted, cli, tmp_path, suffix, predict, table):
    if suffix in (".parquet", ".feather"):
        pytest.importorskip("pyarrow")
    plain, _ = predict(table)
    out = tmp_path / f"p{suffix}"
    assert cli("predict", fitted / "model", tmp_path / "new.csv", "-o", out)[0] == 0
    found = {
        ".tsv": lambda f: pd.read_csv(
            f, sep="\t", dtype={"label": str}, float_precision="round_trip"
        ),
        ".parquet": pd.read_parquet,
        ".feather": pd.read_feather,
    }.get(suffix, lambda f: pd.read_csv(f, dtype={"label": str}, float_precision="round_trip"))(out)
    assert found["label"].tolist() == plain["label"].tolist()
    np.testing.assert_array_equal(found["novelty"], plain["novelty"].astype(float))


def test_typed_files_with_other_dtypes_are_read_as_those_of_training(
    fitted, cli, tmp_path, predict, table
):
    pytest.importorskip("pyarrow")
    plain, _ = predict(table)
    typed = table.assign(
        # Text where training had numbers, and a number where it had text.
        age=table["age"].where(table["age"] != "", None),
        size=pd.to_numeric(table["size"]).astype("float32"),
        colour=pd.Categorical(table["colour"]),
        when=pd.to_datetime(table["when"]),
    )
    exact = typed.assign(size=pd.to_numeric(table["size"]))
    exact.to_parquet(tmp_path / "new.parquet")
    out = tmp_path / "p.csv"
    assert cli("predict", fitted / "model", tmp_path / "new.parquet", "-o", out)[0] == 0
    assert text(out).equals(plain)
    numbers = exact.assign(code=pd.to_numeric(exact["code"]))
    numbers.to_parquet(tmp_path / "new.parquet")
    _, _, err = cli("predict", fitted / "model", tmp_path / "new.parquet", "-o", out)
    # 007 is another category than 7; 100 is the same.
    assert "'7'" in err
    assert "'100'" not in err


def test_the_folder_moved_elsewhere_predicts_the_same_bits(fitted, predict, table, tmp_path):
    predict(table)
    shutil.copytree(fitted / "model", tmp_path / "moved" / "a model")
    (tmp_path / "elsewhere").mkdir()
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    args = ("predict", "../moved/a model", "../new.csv", "-o", "p.csv")
    subprocess.run(
        [sys.executable, "-m", "pyro_ssl", *args], check=True, cwd=tmp_path / "elsewhere", env=env
    )
    moved = (tmp_path / "elsewhere" / "p.csv").read_bytes()
    assert moved == (tmp_path / "predictions.csv").read_bytes()


def test_one_row_alone(predict, table):
    plain, _ = predict(table)
    found, _ = predict(table[:1])
    assert found["label"].tolist() == plain["label"][:1].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "p.xlsx"), "whose suffix is '.xlsx', expected .csv"),
        (("-o", "new.csv"), "is the data itself"),
        (("-o", "p.csv", "--id-column", "name"), "has no column 'name'"),
        (("-o", "new.csv/p.csv"), "cannot be written"),
        (("-o", "."), "suffix|is a folder"),
    ],
)
def test_outputs_that_cannot_be(fitted, cli, table, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    table.to_csv("new.csv", index=False)
    before = Path("new.csv").read_bytes()
    code, _, err = cli("predict", fitted / "model", "new.csv", *options)
    assert code == 1
    assert err.startswith("pyro-ssl: error: ")
    assert err.count("\n") == 1
    assert message in err or any(m in err for m in message.split("|"))
    assert Path("new.csv").read_bytes() == before


def test_ids_named_like_a_prediction(predict, table):
    _, err = predict(table.assign(label="x"), "--id-column", "label", code=1)
    assert "rename it" in err


def test_models_that_are_none(cli, fitted, tmp_path):
    data = fitted / "data.csv"
    code, _, err = cli("predict", tmp_path, data, "-o", tmp_path / "p.csv")
    assert (code, "expected a model folder" in err) == (1, True)
    shutil.copytree(fitted / "model", tmp_path / "model")
    (tmp_path / "model" / "data.json").write_text("{}")
    code, _, err = cli("predict", tmp_path / "model", data, "-o", tmp_path / "p.csv")
    assert (code, "upgrade pyro_ssl, or fit again" in err) == (1, True)


def test_rows_of_another_kind(cli, fitted, tmp_path):
    np.savez(tmp_path / "new.npz", X=np.ones((3, 5)))
    code, _, err = cli("predict", fitted / "model", tmp_path / "new.npz", "-o", tmp_path / "p.csv")
    assert code == 1
    assert "holds arrays, but the model was trained on a table" in err


def test_unknown_formats(cli, fitted, tmp_path):
    make_table(5).to_csv(tmp_path / "new.txt")
    for name, message in (
        ("new.txt", "the suffix '.txt', expected .csv"),
        ("no", "does not exist"),
    ):
        code, _, err = cli("predict", fitted / "model", tmp_path / name, "-o", tmp_path / "p.csv")
        assert code == 1
        assert message in err
