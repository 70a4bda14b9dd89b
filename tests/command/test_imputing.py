import numpy as np
import pandas as pd
import pytest

from pyro_ssl.command import delimited
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from tests.command.conftest import QUICK
from tests.command.test_fitting import as_pandas_reads


def text(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_known_entries_stay_as_written_and_others_are_the_estimators(fitted, cli, table, tmp_path):
    # As no program would write it.
    table.loc[0, ["age", "size", "colour"]] = ["+031", "1.50", "green"]
    table.loc[1, ["colour", "when"]] = ["", "NA"]
    table.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "full.csv"
    assert cli("impute", fitted / "model", tmp_path / "new.csv", "-o", out)[0] == 0
    found = text(out)
    assert [*found] == [*table]
    missing = table.isin(["", "NA"])
    assert missing.to_numpy().sum() >= 20
    assert (found.where(~missing, "") == table.where(~missing, "")).all(axis=None)
    assert (found != "").all(axis=None)
    table.loc[0, "age"] = "31"
    table.to_csv(tmp_path / "new.csv", index=False)
    rows, _ = as_pandas_reads(tmp_path / "new.csv")
    with pytest.warns(UserWarning, match="green"):
        direct = SemiSupervisedVAEClassifier.load(fitted / "model").impute(rows)
    for name in ("age", "size"):
        gaps = missing[name]
        np.testing.assert_allclose(
            found.loc[gaps, name].astype(float), direct.loc[gaps, name].astype(float)
        )
    # Whole numbers stay whole.
    assert found["age"].str.fullmatch(r"\+?\d+").all()
    assert found["colour"][1] in ("red", "blue")
    assert found["when"][1].startswith("2024-")


def test_parts_and_the_seed(fitted, cli, table, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_ROWS", 20)
    table[:30].to_csv(tmp_path / "new.csv", index=False)
    each = []
    for seed in (0, 1):
        out = tmp_path / f"{seed}.csv"
        args = ("impute", fitted / "model", tmp_path / "new.csv", "-o", out, "--seed", seed)
        assert cli(*args)[0] == 0
        each.append(text(out))
    assert not each[0].equals(each[1])
    assert len(each[0]) == 30
    assert not (each[0] == "").any(axis=None)


def test_labels_are_no_entries_to_fill_in(fitted, cli, table, tmp_path):
    table[:3].assign(y="", size="1", age="2").to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "full.csv"
    assert cli("impute", fitted / "model", tmp_path / "new.csv", "-o", out)[0] == 0
    assert out.read_text() == (tmp_path / "new.csv").read_text()


def test_a_typed_file_keeps_its_types(fitted, cli, tmp_path):
    pytest.importorskip("pyarrow")
    rows, labels = as_pandas_reads(fitted / "data.csv")
    rows.assign(age=rows["age"].astype("Int64"), y=labels).to_parquet(tmp_path / "new.parquet")
    out = tmp_path / "full.parquet"
    assert cli("impute", fitted / "model", tmp_path / "new.parquet", "-o", out)[0] == 0
    found = pd.read_parquet(out)
    assert found["age"].dtype.kind == "i"
    assert found["when"].dtype.kind == "M"
    assert not found.drop(columns="y").isna().any(axis=None)
    known = rows["size"].notna()
    assert found["size"][known].tolist() == rows["size"][known].tolist()


def test_arrays(cli, tmp_path):
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 2, 60)
    xs = rng.normal(size=(60, 3)) + 2 * ys[:, None]
    xs[::7, 1] = np.nan
    np.savez(tmp_path / "data.npz", X=xs, y=np.where(np.arange(60) < 20, ys, -1))
    columns = ("--columns", "1=real")
    assert cli("fit", tmp_path / "data.npz", "-o", tmp_path / "m", *columns, *QUICK)[0] == 0
    code, _, err = cli("impute", tmp_path / "m", tmp_path / "data.npz", "-o", tmp_path / "i.csv")
    assert (code, "expected .npy" in err) == (1, True)
    assert cli("impute", tmp_path / "m", tmp_path / "data.npz", "-o", tmp_path / "i.npy")[0] == 0
    found = np.load(tmp_path / "i.npy")
    direct = SemiSupervisedVAEClassifier.load(tmp_path / "m").impute(xs)
    np.testing.assert_array_equal(found, np.where(np.isnan(xs), direct, xs))
    out = tmp_path / "s.npz"
    assert cli("sample", tmp_path / "m", "--label", "1", "-n", 5, "-o", out)[0] == 0
    with np.load(out) as drawn:
        assert drawn["X"].shape == (5, 3)
        assert drawn["y"].tolist() == [1] * 5
