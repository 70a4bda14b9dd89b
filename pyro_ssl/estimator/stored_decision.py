"""Tables and decisions as plain values, and back."""

from typing import Any

import pandas as pd

from pyro_ssl.estimator.as_json import decoded, encoded
from pyro_ssl.estimator.decision import Calibration, Decision
from pyro_ssl.reading import check_positive


def table_encoded(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as lists of plain values, by column."""
    return {str(name): encoded("a table", table[name].to_list()) for name in table}


def table_decoded(columns: dict[str, Any]) -> pd.DataFrame:
    """Return the table that `table_encoded` was called on."""
    return pd.DataFrame({name: decoded(values) for name, values in columns.items()})


def decision_encoded(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain values; its arrays are stored apart."""
    return {
        "names": list(decision.names),
        "temperatures": [c.temperature for c in decision.calibrations],
        "table": table_encoded(decision.table),
    }


def decision_decoded(state: dict[str, Any], arrays: dict[str, Any]) -> Decision:
    """Return the decision for plain values and arrays."""
    names = tuple(state["names"])
    pairs = zip(names, state["temperatures"], strict=True)
    calibrations = tuple(
        Calibration(arrays[f"shares/{name}"], check_positive(t, f"the temperature of {name}"))
        for name, t in pairs
    )
    table = table_decoded(state["table"])
    return Decision(names, calibrations, arrays["decision_weights"], table)
