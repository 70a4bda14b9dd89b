"""Results of the fits: means over splits, and the comparison of our regressor with baselines."""

import numpy as np
import pandas as pd

from benchmarks.regression.fits import CELL, MEASURES
from benchmarks.regression.methods import BASELINES, OURS
from benchmarks.tables.summary import compare
from benchmarks.tables.summary import summarise as summarise_by
from experiments.engine.tables import to_markdown


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting and method, with mean, deviation and interval of each measure.

    See `benchmarks.tables.summary.summarise`. A log loss is missing if a method has none.
    """
    return summarise_by(rows, CELL, MEASURES)


def report(rows: pd.DataFrame) -> str:
    """Return the comparison as Markdown: R^2 and its interval, and log loss, by setting."""
    table = summarise(rows)
    shown = table[[*CELL, "method", "n"]].copy()
    shown["r2"] = [_interval(row, "r2", 3) for _, row in table.iterrows()]
    shown["rmse"] = [_interval(row, "rmse", 1) for _, row in table.iterrows()]
    shown["log_loss"] = [_interval(row, "log_loss", 3) for _, row in table.iterrows()]
    shown["seconds"] = [f"{value:.1f}" for value in table["seconds"]]
    parts = [to_markdown(shown.astype(str))]
    each = compare(rows, OURS, "r2", CELL, BASELINES)
    if len(each):
        close, best = int(each["close"].sum()), int((each["lead"] >= 0).sum())
        parts.append(
            f"{OURS}: best in R^2, or within one standard error of the best, in {close} of "
            f"{len(each)} settings; best in {best}."
        )
        worst = each.sort_values("lead").iloc[0]
        parts.append(
            f"Worst setting: {worst['dataset']}, {worst['labels']} labels, {worst['lead']:+.3f} "
            f"in R^2 against {worst['best']} (standard error {worst['error']:.3f})."
        )
    return "\n\n".join(parts)


def short(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table for pages: R^2 with half its 95 % interval, by setting and method.

    The last columns are the log losses, in nats per row, of methods that have one.
    """
    table = summarise(rows).set_index([*CELL, "method"])
    columns = {}
    for measure, title in (("r2", "{}"), ("log_loss", "log loss of {}")):
        for method in (OURS, *BASELINES):
            if method in table.index.get_level_values("method"):
                part = table.xs(method, level="method")
                if part[measure].notna().any():
                    texts = [_interval(row, measure, 2) for _, row in part.iterrows()]
                    columns[title.format(method)] = pd.Series(texts, part.index)
    return pd.DataFrame(columns).reset_index()


def _interval(row: pd.Series, name: str, digits: int) -> str:
    """Return a mean and half its 95 % interval as text; empty if there is none."""
    if not np.isfinite(row[name]):
        return ""
    half = row[f"{name}_high"] - row[name]
    reach = f" +- {half:.{digits}f}" if np.isfinite(half) else ""
    return f"{row[name]:.{digits}f}{reach}"
