import pandas as pd

from pyro_ssl.estimator import SemiSupervisedVAEClassifier


def drawn(cli, fitted, out, *options):
    assert cli("sample", fitted / "model", "-o", out, *options)[0] == 0
    return pd.read_csv(out, dtype=str)


def test_rows_of_a_class_are_the_estimators(fitted, cli, tmp_path):
    found = drawn(cli, fitted, tmp_path / "s.csv", "--label", "02", "-n", 7)
    assert [*found] == ["y", "age", "size", "colour", "code", "when"]
    assert found["y"].tolist() == ["02"] * 7
    direct = SemiSupervisedVAEClassifier.load(fitted / "model").sample("02", 7, random_state=0)
    assert found["age"].tolist() == direct["age"].astype(str).tolist()
    assert found["code"].tolist() == direct["code"].tolist()
    other = drawn(cli, fitted, tmp_path / "s.csv", "--label", "02", "-n", 7, "--seed", 1)
    assert not other.equals(found)


def test_without_a_label_each_row_has_one_of_the_estimated_shares(fitted, cli, tmp_path):
    found = drawn(cli, fitted, tmp_path / "s.csv", "-n", 400)
    shares = SemiSupervisedVAEClassifier.load(fitted / "model").class_shares_
    error = (shares[0] * shares[1] / 400) ** 0.5
    assert abs((found["y"] == "02").mean() - shares[0]) < 4 * error


def test_what_cannot_be_drawn(fitted, cli, tmp_path):
    out = tmp_path / "s.csv"
    for options, message in (
        (("--label", "2"), "label is '2', expected one of '02', '1'"),
        (("-n", 0), "at least 1"),
    ):
        code, _, err = cli("sample", fitted / "model", "-o", out, *options)
        assert (code, message in err) == (1, True)
    code, _, err = cli("sample", fitted / "model", "-o", tmp_path / "s.npz")
    assert (code, "expected .csv" in err) == (1, True)
    assert not any(tmp_path.iterdir())
