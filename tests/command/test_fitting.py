"""Fitting by the command gives the estimator's own classifier."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pyro_ssl.command import delimited
from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from tests.command.conftest import QUICK, make_table, partly

OPTIONS = {"model": "m2", "members": 2, "max_steps": 8, "random_state": 0}


def classifier(**options):
    return SemiSupervisedVAEClassifier(**OPTIONS | options)


def as_pandas_reads(file):
    """Rows and labels as a user of the estimator would have them."""
    frame = pd.read_csv(
        file,
        dtype={"id": str, "code": str, "y": str},
        parse_dates=["when"],
        float_precision="round_trip",
    )
    return frame.drop(columns=["id", "y"]), frame["y"]


def probabilities(file):
    found = pd.read_csv(file, float_precision="round_trip")
    return found.filter(like="probability_").to_numpy()


def test_a_csv_gives_the_classifier_of_the_estimator(fitted, cli, tmp_path):
    rows, labels = as_pandas_reads(fitted / "data.csv")
    direct = classifier().fit(rows, labels)
    out = tmp_path / "predictions.csv"
    assert cli("predict", fitted / "model", fitted / "data.csv", "-o", out) == (0, "", "")
    np.testing.assert_array_equal(probabilities(out), direct.predict_proba(rows))
    found = pd.read_csv(out, dtype={"label": str}, float_precision="round_trip")
    assert found["label"].tolist() == direct.predict(rows).tolist()
    np.testing.assert_array_equal(found["novelty"], direct.novelty(rows))
    loaded = SemiSupervisedVAEClassifier.load(fitted / "model")
    assert loaded.columns_["family"].tolist() == direct.columns_["family"].tolist()


def test_reading_in_small_parts_gives_the_same_model(fitted, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_ROWS", 7)
    options = ("--label-column", "y", "--drop", "id", "-o", tmp_path / "model", *QUICK)
    assert cli("fit", fitted / "data.csv", *options)[0] == 0
    for part in fitted.joinpath("model").glob("weights-*"):
        assert (tmp_path / "model" / part.name).read_bytes() == part.read_bytes()


def test_what_the_folder_says(fitted):
    names = {path.name for path in (fitted / "model").iterdir()} - {"report.html"}
    weights = {name for name in names if name.startswith("weights-")}
    assert names - weights == {"model.json", "data.json", "history.csv"}
    history = pd.read_csv(fitted / "model" / "history.csv")
    assert {"step", "loss"} <= {*history}
    data = json.loads((fitted / "model" / "data.json").read_text())
    assert (data["rows"], data["labelled_rows"]) == (120, 24)
    assert data["data"]["format"] == "csv"
    assert dict(data["reading"]["columns"]) == {
        "age": "whole",
        "size": "number",
        "colour": "text",
        "code": "text",
        "when": "time",
    }
    assert data["versions"]["version_torch"]
    # Neither the files read nor those written: the folder may be moved.
    for file in ("data.json", "model.json"):
        assert str(fitted) not in (fitted / "model" / file).read_text()


def test_the_options_reach_the_estimator(fitted, cli, tmp_path):
    columns = ("--columns", "age=real", "--class-prior", "0.2", "0.8", "--seed", "3")
    options = ("--label-column", "y", "--drop", "id", "code", "-o", tmp_path / "m", *QUICK)
    assert cli("fit", fitted / "data.csv", *options, *columns)[0] == 0
    loaded = SemiSupervisedVAEClassifier.load(tmp_path / "m")
    assert loaded.columns_["column"].tolist() == ["age", "size", "colour", "when"]
    assert loaded.columns_["family"][0] == "real"
    assert (loaded.random_state, loaded.members, loaded.max_steps) == (3, 2, 8)
    np.testing.assert_array_equal(loaded.class_prior, [0.2, 0.8])
    assert (loaded.checkpoint, loaded.verbose) == (None, 0)


def test_markers_of_unknown_labels_and_missing_entries(cli, tmp_path, fitted):
    table = partly(make_table())
    table["y"] = table["y"].where(table["y"] != "", "Unknown")
    table["size"] = table["size"].where(table["size"] != "", "?")
    table.to_csv(tmp_path / "data.csv", index=False)
    options = ("--label-column", "y", "--drop", "id", "-o", tmp_path / "m", *QUICK)
    markers = ("--unlabelled", "Unknown", "--missing", "?")
    code, out, _ = cli("fit", tmp_path / "data.csv", *options, *markers)
    assert (code, "120 rows, 24 of them labelled" in out) == (0, True)
    (weights,) = (tmp_path / "m").glob("weights-*")
    assert weights.name in {path.name for path in (fitted / "model").iterdir()}


@pytest.mark.parametrize("kind", ["parquet", "feather", "folder"])
def test_typed_files_give_the_same_model(fitted, cli, tmp_path, kind):
    pytest.importorskip("pyarrow")
    rows, labels = as_pandas_reads(fitted / "data.csv")
    frame = rows.assign(y=labels)
    data = tmp_path / ("parts" if kind == "folder" else f"data.{kind}")
    if kind == "folder":
        data.mkdir()
        for n in range(3):
            part = frame[40 * n : 40 * n + 40].reset_index(drop=True)
            part.to_parquet(data / f"{n}.parquet")
    else:
        (frame.to_parquet if kind == "parquet" else frame.to_feather)(data)
    assert cli("fit", data, "--label-column", "y", "-o", tmp_path / "m", *QUICK)[0] == 0
    (weights,) = (tmp_path / "m").glob("weights-*")
    assert weights.name in {path.name for path in (fitted / "model").iterdir()}


def test_arrays_give_the_classifier_of_the_estimator(cli, tmp_path):
    rng = np.random.default_rng(0)
    ys = rng.integers(0, 2, 80)
    xs = rng.normal(size=(80, 3)) + 2 * ys[:, None]
    xs[rng.random(xs.shape) < 0.05] = np.nan
    partly_known = np.where(np.arange(80) < 20, ys, -1)
    direct = classifier().fit(xs, partly_known).predict_proba(xs)
    np.savez(tmp_path / "data.npz", X=xs, y=partly_known)
    np.save(tmp_path / "x.npy", xs)
    np.save(tmp_path / "y.npy", partly_known)
    for n, (data, labels) in enumerate([("data.npz", ()), ("x.npy", ("--labels", "y.npy"))]):
        given = [tmp_path / v if v.endswith(".npy") else v for v in labels]
        model, out = tmp_path / f"m{n}", tmp_path / f"p{n}.csv"
        assert cli("fit", tmp_path / data, *given, "-o", model, *QUICK)[0] == 0
        assert cli("predict", model, tmp_path / data, "-o", out)[0] == 0
        np.testing.assert_array_equal(probabilities(out), direct)
        code, shown, _ = cli("evaluate", model, tmp_path / data, *given)
        assert (code, "20 (60 without a label)" in shown) == (0, True)


def test_images_in_folders_and_in_a_table_give_the_same_model(cli, tmp_path):
    rng = np.random.default_rng(0)
    rows, labels, lines = [], [], ["path,kind"]
    for n in range(40):
        label = ("dark", "light")[n % 2]
        known = n < 16
        name = f"{label if known else 'unlabelled'}/{n:02d}.png"
        pixels = rng.integers(0, 128, (8, 8), dtype=np.uint8) + np.uint8(100 * (n % 2))
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
        rows.append((name, pixels[None]))
        labels.append((name, label if known else None))
    rows, labels = ([v for _, v in sorted(pairs, key=lambda p: p[0])] for pairs in (rows, labels))
    names = sorted(p.relative_to(tmp_path).as_posix() for p in (tmp_path / "images").rglob("*.png"))
    lines += [f"{n},{'' if v is None else v}" for n, v in zip(names, labels, strict=True)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    direct = classifier().fit(np.stack(rows), np.array(labels, dtype=object))
    expected = direct.predict_proba(np.stack(rows))
    ways = {
        "images": (),
        "list.csv": ("--image-column", "path", "--label-column", "kind"),
    }
    for n, (data, options) in enumerate(ways.items()):
        model, out = tmp_path / f"m{n}", tmp_path / f"p{n}.csv"
        assert cli("fit", tmp_path / data, *options, "-o", model, *QUICK)[0] == 0
        assert cli("predict", model, tmp_path / data, "-o", out)[0] == 0
        np.testing.assert_array_equal(probabilities(out), expected)
    found = pd.read_csv(tmp_path / "p0.csv")
    assert [f"images/{name}" for name in found["image"]] == names
    code, shown, _ = cli("evaluate", tmp_path / "m1", tmp_path / "images")
    assert (code, "16 (24 without a label)" in shown) == (0, True)
    code, _, err = cli("impute", tmp_path / "m1", tmp_path / "images", "-o", tmp_path / "i.csv")
    assert (code, "no missing entries" in err) == (1, True)
