import datetime
import sys

import numpy as np
import pandas as pd
import pytest

from pyro_ssl.command import arrow
from pyro_ssl.command.arrow import ArrowData
from pyro_ssl.command.extras import pyarrow
from pyro_ssl.errors import ConfigError, DataError

pa = pytest.importorskip("pyarrow")

FRAME = pd.DataFrame(
    {
        "whole": pd.Series([1, None, 3, 4, 5], dtype="Int64"),
        "small": np.arange(5, dtype=np.uint8),
        "real": [0.5, np.nan, 1.5, 2.0, 2.5],
        "truth": pd.Series([True, None, False, True, True], dtype="boolean"),
        "text": ["007", None, "b", "", "d"],
        "kind": pd.Categorical(["u", "v", None, "u", "v"]),
        "level": pd.Categorical(
            ["low", "high", "low", None, "mid"], ["low", "mid", "high"], ordered=True
        ),
        "when": pd.to_datetime(["2024-01-01", None, "2024-01-03", "2024-01-04", "2024-01-05"]),
        "day": [datetime.date(2024, 1, n + 1) for n in range(5)],
    }
)
TYPES = ["whole", "whole", "number", "truth", "text", "text", "ordered", "time", "time"]


def write(frame, path, **options):
    writer = frame.to_parquet if path.suffix == ".parquet" else frame.to_feather
    writer(path, **options)
    return path


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_types_are_those_of_the_file_in_every_part(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(arrow, "_ROWS", 2)
    data = ArrowData(write(FRAME, tmp_path / f"data.{kind}"), kind)
    assert [data.types[name] for name in FRAME] == TYPES
    frames = [*data.frames()]
    assert [len(frame) for frame in frames] == [2, 2, 1]
    whole = pd.concat(frames, ignore_index=True)
    for frame in frames:
        assert frame.dtypes.tolist() == frames[0].dtypes.tolist()
    for name in FRAME:
        assert whole[name].isna().tolist() == FRAME[name].isna().tolist(), name
        known = FRAME[name].notna()
        assert whole[name][known].astype(str).tolist() == (
            FRAME[name][known].astype(str).tolist()
            if name != "day"
            else pd.to_datetime(FRAME[name]).astype(str).tolist()
        ), name
    assert whole["level"].cat.categories.tolist() == ["low", "mid", "high"]
    assert whole["level"].cat.ordered


def test_a_folder_is_read_in_the_order_of_its_files(tmp_path):
    for n in (2, 0, 1):
        write(pd.DataFrame({"a": [n, n], "b": [0.5, n]}), tmp_path / f"part-{n}.parquet")
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.parquet").write_bytes(b"x")
    data = ArrowData(tmp_path, "parquet")
    assert pd.concat([*data.frames()])["a"].tolist() == [0, 0, 1, 1, 2, 2]
    assert [f.name for f in data.files] == ["part-0.parquet", "part-1.parquet", "part-2.parquet"]


def test_folders_named_after_values_are_a_column(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        write(pd.DataFrame({"a": [year - 2000]}), tmp_path / f"year={year}" / "x.parquet")
    data = ArrowData(tmp_path, "parquet")
    frame = pd.concat([*data.frames()])
    assert data.names == ["a", "year"]
    assert frame["year"].tolist() == [2023, 2024]


def test_whole_numbers_and_fractions_of_several_files_are_numbers(tmp_path):
    write(pd.DataFrame({"a": [1, 2]}), tmp_path / "0.parquet")
    write(pd.DataFrame({"a": [0.5]}), tmp_path / "1.parquet")
    data = ArrowData(tmp_path, "parquet")
    assert data.types == {"a": "number"}
    assert [frame["a"].tolist() for frame in data.frames()] == [[1.0, 2.0], [0.5]]


def test_files_of_other_columns_are_refused(tmp_path):
    write(pd.DataFrame({"a": [1], "b": [1]}), tmp_path / "0.parquet")
    write(pd.DataFrame({"a": [1]}), tmp_path / "1.parquet")
    with pytest.raises(DataError, match=r"1\.parquet and .*0\.parquet differ in the columns \['b'"):
        ArrowData(tmp_path, "parquet")
    write(pd.DataFrame({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        ArrowData(tmp_path, "parquet")


def test_indices_without_a_name_are_left_out_and_lists_have_no_type(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "b": [[1], [2]]}, index=[5, 7])
    data = ArrowData(write(frame, tmp_path / "data.parquet"), "parquet")
    assert data.types == {"a": "whole", "b": ""}
    with pytest.warns(UserWarning, match=r"columns \['b'\] of lists"):
        assert [f.columns.tolist() for f in data.frames()] == [["a"]]


def test_bad_files(tmp_path):
    file = tmp_path / "data.parquet"
    file.write_bytes(b"PAR1 and more")
    with pytest.raises(DataError, match=r"data\.parquet cannot be read"):
        ArrowData(file, "parquet")
    write(FRAME[:0], file)
    with pytest.raises(DataError, match="has no rows"):
        [*ArrowData(file, "parquet").frames()]
    whole = write(FRAME, file).read_bytes()
    file.write_bytes(whole[:200] + bytes(200) + whole[400:])
    with pytest.raises(DataError, match="cannot be read"):
        [*ArrowData(file, "parquet").frames()]


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r'pip install "pyro_ssl\[tables\]"'):
        pyarrow("pyarrow")
