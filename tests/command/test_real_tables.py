"""The two commands on real tables: the same as the estimator on the same rows."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyro_ssl.estimator import SemiSupervisedVAEClassifier
from tests.command.conftest import QUICK

TABLES = (
    "attrition", "credit_data", "hpc_data", "leaf_id_flavia", "oils", "penguins", "scat",
    "wa_churn",
)  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_gives_the_predictions_of_the_estimator(name, cli, tmp_path):
    file = Path(os.environ.get("PYRO_SSL_DATA", "")) / "tabular" / f"{name}.csv.gz"
    if not file.is_file():
        pytest.skip("PYRO_SSL_DATA holds no tables: the real ones are not tested")
    table = pd.read_csv(file)
    label, truth = table.columns[0], table[table.columns[0]].copy()
    known = np.random.default_rng(0).random(len(table)) < max(0.1, 60 / len(table))
    table[label] = truth.where(known)
    data, out = tmp_path / "data.csv", tmp_path / "predictions.csv"
    table.to_csv(data, index=False)
    options = ("--label-column", label, "-o", tmp_path / "model", *QUICK)
    assert cli("fit", data, *options)[0] == 0
    assert cli("predict", tmp_path / "model", data, "-o", out)[0] == 0
    found = pd.read_csv(out, dtype={"label": str})
    rows, labels = table.drop(columns=label), table[label].astype(object)
    quick = {"members": 2, "max_steps": 8, "random_state": 0}
    direct = SemiSupervisedVAEClassifier("m2", **quick).fit(rows, labels.where(known, None))
    columns = [f"probability_{c}" for c in direct.classes_]
    # Early pandas reads numbers with an error of the last bit.
    np.testing.assert_allclose(found[columns], direct.predict_proba(rows), rtol=1e-12)
    right = (found["label"] == truth.astype(str))[truth.notna()]
    assert right.mean() == np.mean((direct.predict(rows) == truth)[truth.notna()])
