"""A small table of columns of all kinds, and a model that was fitted to it once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyro_ssl.command.main import main
from tests.estimator.conftest import Unrecorded, few_steps  # noqa: F401

# What makes a training quick.
QUICK = ("--model", "m2", "--members", "2", "--max-steps", "8", "--quiet")


def make_table(rows: int = 120, seed: int = 0) -> pd.DataFrame:
    """Columns as text, as a CSV file holds them; the labels are 1 and 02."""
    rng = np.random.default_rng(seed)
    ys = rng.integers(0, 2, rows)
    table = pd.DataFrame(
        {
            "id": [f"{n:04d}" for n in range(rows)],
            "age": (20 + 30 * ys + rng.integers(0, 10, rows)).astype(str),
            "size": np.round(rng.normal(3 * ys, 1), 3).astype(str),
            "colour": np.where(rng.random(rows) < 0.2 + 0.6 * ys, "red", "blue"),
            "code": rng.choice(["007", "012", "100"], rows),
            "when": pd.Series("2024-01-01").repeat(rows).to_numpy(),
            "y": np.where(ys == 1, "02", "1"),
        },
        dtype=object,
    )
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(100 * ys + rng.integers(0, 50, rows), "D")
    table["when"] = days.strftime("%Y-%m-%d").astype(object)
    table.loc[rng.random(rows) < 0.1, "size"] = ""
    table.loc[rng.random(rows) < 0.1, "age"] = ""
    return table


def partly(table: pd.DataFrame, known: int = 24, column: str = "y") -> pd.DataFrame:
    """The table with labels of its first rows alone."""
    return table.assign(**{column: table[column].where(table.index < known, "")})


def make_quick(monkeypatch):
    """Neither record steps nor write reports, which take longer than a short training."""
    monkeypatch.setattr("pyro_ssl.infer.ensemble_gradients.Recorded", Unrecorded)
    monkeypatch.setattr("pyro_ssl.report.write_report", lambda *args, **options: None)


@pytest.fixture
def quick(monkeypatch):
    make_quick(monkeypatch)


@pytest.fixture
def cli(quick, capsys):
    """Run a command line; return its exit code, and what it wrote to the two streams."""

    def run(*args):
        code = main([str(arg) for arg in args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def table() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="session")
def fitted(tmp_path_factory) -> Path:
    """A folder with `data.csv`, of which 24 rows are labelled, `truth.csv`, and `model/`."""
    folder = tmp_path_factory.mktemp("fitted")
    make_table().to_csv(folder / "truth.csv", index=False)
    partly(make_table()).to_csv(folder / "data.csv", index=False)
    with pytest.MonkeyPatch.context() as patched:
        make_quick(patched)
        options = ["--label-column", "y", "--drop", "id", "-o", str(folder / "model"), *QUICK]
        assert main(["fit", str(folder / "data.csv"), *options]) == 0
    return folder
