"""The benchmark of a table in parts, on a small one."""

import pandas as pd
import pytest

from benchmarks import streaming

pytest.importorskip("pyarrow")


def test_parts_are_the_table(tmp_path):
    file = tmp_path / "table.parquet"
    streaming.write_table(file, 45_000, 0.01)
    whole = pd.read_parquet(file)
    assert whole.shape == (45_000, 21)
    assert 0.005 < whole["label"].notna().mean() < 0.02
    pieces = list(streaming.parts(file))
    assert [len(xs) for xs, _ in pieces] == [20_000, 20_000, 5_000]
    joined = pd.concat([xs.assign(label=ys) for xs, ys in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole)


def test_both_ways_are_recorded_and_alike(tmp_path, monkeypatch):
    from pyro_ssl import SemiSupervisedVAEClassifier

    fit = SemiSupervisedVAEClassifier._fit_kept

    def briefly(self, *args):
        return fit(self.set_params(max_steps=5, min_steps=2, members=2), *args)

    monkeypatch.setattr(SemiSupervisedVAEClassifier, "_fit_kept", briefly)
    file = tmp_path / "table.parquet"
    streaming.write_table(file, 2_000, 0.05)
    rows = [streaming.measure(file, how) for how in ("parts", "at once")]
    assert rows[0]["predictions"] == rows[1]["predictions"]
    assert all(row["peak_mb"] > 100 for row in rows)
