import numpy as np
import pandas as pd
import pytest

from pyro_ssl.command.delimited import DelimitedFile
from pyro_ssl.command.options import Describe
from pyro_ssl.command.recipe import Recipe
from pyro_ssl.command.sources import open_for_training, whole
from pyro_ssl.command.tables import TableSource
from pyro_ssl.errors import CheckpointError, DataError
from pyro_ssl.estimator import SemiSupervisedVAEClassifier


def opened(path, **options):
    return open_for_training(Describe(data=path, **options), path)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,y,b,id\n1,01,u,x\n,1,v,y\n3,NA,?,z\n")
    return path


def test_columns_are_told_apart(file):
    source = opened(file, label_column="y", drop=("id",))
    assert source.recipe.columns == {"a": "whole", "b": "text"}
    (part,) = source.parts()
    assert part.labels.tolist() == ["01", "1", None]
    assert part.rows["a"].tolist() == [1, pd.NA, 3]
    assert part.rows["b"].tolist() == ["u", "v", "?"]
    assert [*part.raw] == ["a", "y", "b", "id"]
    assert not len(part.ids.columns)


def test_what_is_missing_can_be_stated(file):
    (part,) = opened(file, label_column="y", missing=("?",)).parts()
    # An empty entry still is; NA no longer.
    assert part.labels.tolist() == ["01", "1", "NA"]
    assert part.rows["b"].isna().tolist() == [False, False, True]
    assert part.rows["a"].isna().tolist() == [False, True, False]


def test_whole_joins_the_parts(file, monkeypatch):
    monkeypatch.setattr("pyro_ssl.command.delimited._ROWS", 2)
    source = opened(file, label_column="y")
    assert len([*source.parts()]) == 2
    rows, labels = whole(source)
    assert rows["a"].tolist() == [1, pd.NA, 3]
    assert rows.index.tolist() == [0, 1, 2]
    assert labels.tolist() == ["01", "1", None]


def test_lists_must_be_dropped(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2], "list": [[1], [2]], "y": ["u", "v"]})
    frame.to_parquet(tmp_path / "data.parquet")
    with pytest.raises(DataError, match=r"'list' of lists or bytes.*--drop list"):
        opened(tmp_path / "data.parquet", label_column="y")
    source = opened(tmp_path / "data.parquet", label_column="y", drop=("list",))
    assert source.recipe.columns == {"a": "whole"}


def test_columns_of_levels_are_ordinal_and_read_from_text_later(tmp_path, few_steps):
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    levels = ["low", "mid", "high"]
    size = pd.Categorical(rng.choice(levels, 40), levels, ordered=True)
    frame = pd.DataFrame({"size": size, "x": rng.normal(size=40), "y": ["u", "v"] * 20})
    frame.to_parquet(tmp_path / "data.parquet")
    source = opened(tmp_path / "data.parquet", label_column="y")
    classifier = SemiSupervisedVAEClassifier("m2", members=1, max_steps=3, random_state=0)
    classifier.fit_parts((part.rows, part.labels) for part in source.parts())
    assert classifier.columns_["family"].tolist() == ["ordinal", "real"]
    frame.to_csv(tmp_path / "data.csv", index=False)
    text = TableSource(DelimitedFile(tmp_path / "data.csv", None, None), source.recipe)
    found = [classifier.predict_proba(whole(each)[0]) for each in (source, text)]
    np.testing.assert_array_equal(*found)


def test_a_recipe_is_plain_values():
    recipe = Recipe("table", label_column="y", drop=("a",), columns={"c": "text", "b": "whole"})
    again = Recipe.from_dict(recipe.to_dict())
    assert again == recipe
    assert [*again.columns] == ["c", "b"]
    for state in ({}, {**recipe.to_dict(), "more": 1}, []):
        with pytest.raises(CheckpointError, match="fit again"):
            Recipe.from_dict(state)
