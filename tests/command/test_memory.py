"""Files are read in memory that does not grow with them."""

import tracemalloc

import numpy as np
import pytest

from pyro_ssl.command import arrow, delimited
from pyro_ssl.command.arrow import ArrowData
from pyro_ssl.command.options import Describe
from pyro_ssl.command.sources import open_for_training


def peak(parts):
    tracemalloc.start()
    try:
        rows = sum(len(part) for part in parts)
        return rows, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_text(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_ROWS", 500)
    path = tmp_path / "data.csv"
    rows = 60_000
    path.write_text("a,b,y\n" + "".join(f"{n},text of row {n},{n % 2}\n" for n in range(rows)))

    def parts():
        yield from open_for_training(Describe(data=path, label_column="y"), path).parts()

    found, most = peak(parts())
    assert found == rows
    # As objects the entries alone take more than 50 bytes each.
    assert most < rows * 3 * 50 / 10


@pytest.mark.parametrize("kind", ["parquet", "feather", "one group"])
def test_typed_files(tmp_path, monkeypatch, kind):
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr(arrow, "_ROWS", 20_000)
    rows = 4_000_000
    table = pa.table({"x": np.random.default_rng(0).normal(size=rows)})
    path = tmp_path / "data"
    if kind == "feather":
        pytest.importorskip("pyarrow.feather").write_feather(table, path, chunksize=50_000)
    else:
        size = 50_000 if kind == "parquet" else rows
        pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=size)
    del table
    before, most = pa.total_allocated_bytes(), 0
    for _ in ArrowData(path, "feather" if kind == "feather" else "parquet").frames():
        most = max(most, pa.total_allocated_bytes() - before)
    assert path.stat().st_size > 20e6
    assert most < rows * 8 / 10


def test_ten_thousand_columns(tmp_path):
    path = tmp_path / "data.csv"
    rows = np.random.default_rng(0).normal(size=(12, 10_000)).round(2).astype(str)
    lines = [",".join(f"c{n}" for n in range(10_000)), *map(",".join, rows)]
    path.write_text("\n".join(lines))
    source = open_for_training(Describe(data=path), path)
    assert set(source.recipe.columns.values()) == {"number"}
    (part,) = source.parts()
    assert part.rows.shape == (12, 10_000)
