import numpy as np

from pyro_ssl.command import delimited, describing
from pyro_ssl.estimator.columns import Columns
from tests.command.test_fitting import as_pandas_reads


def test_columns_and_labels_are_shown(fitted, cli):
    options = ("--label-column", "y", "--drop", "id")
    code, out, err = cli("describe", fitted / "data.csv", *options)
    assert (code, err) == (0, "")
    rows, labels = as_pandas_reads(fitted / "data.csv")
    table = Columns.infer(rows).to_frame()
    assert table.to_string(index=False, max_colwidth=60) in out
    assert "120 rows" in out
    assert "labels (96 rows without one)" in out
    counts = labels.value_counts()
    assert f"02    {counts['02']}\n1      {counts['1']}\n" in out


def test_ids_are_warned_of_and_families_are_taken(fitted, cli):
    code, out, err = cli("describe", fitted / "data.csv", "--columns", "age=positive")
    assert code == 0
    assert "column 'id' is text, different in most rows ('0000', '0001', ...)" in err
    assert "positive" in out
    assert "labels" not in out
    code, _, err = cli("describe", fitted / "data.csv", "--columns", "age=old")
    assert (code, "'old' was stated" in err) == (1, True)
    for text in ("age", "=real"):
        code, _, err = cli("describe", fitted / "data.csv", "--columns", text)
        assert (code, "expected NAME=FAMILY" in err) == (1, True)


def test_columns_of_long_files_are_told_by_the_first_rows(fitted, cli, monkeypatch):
    monkeypatch.setattr(describing, "ROWS", 40)
    monkeypatch.setattr(delimited, "_ROWS", 40)
    code, out, _ = cli("describe", fitted / "truth.csv", "--label-column", "y", "--drop", "id")
    assert (code, "120 rows, columns by the first 40" in out) == (0, True)
    assert "labels (0 rows without one)" in out


def test_arrays(cli, tmp_path):
    np.savez(tmp_path / "x.npz", X=np.random.default_rng(0).normal(size=(9, 1, 4, 4)), y=[3] * 9)
    code, out, _ = cli("describe", tmp_path / "x.npz")
    assert code == 0
    assert "9 rows" in out
    assert "3    9" in out
