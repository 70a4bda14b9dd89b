"""Results of the fits: means over splits, and the comparison of our classifier with baselines."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.tables.data import COUNTS, TEST, TUNING
from benchmarks.tables.fits import CELL, MEASURES
from benchmarks.tables.methods import OURS, SIMPLE
from experiments.engine.tables import to_markdown

GROUPS = {"tuning tables": TUNING, "test tables": TEST, "all": (*TUNING, *TEST)}


def summarise(
    rows: pd.DataFrame, cell: Sequence[str] = CELL, measures: Sequence[str] = MEASURES
) -> pd.DataFrame:
    """Return a row per setting and method, with mean, deviation and interval of each measure.

    Args:
        rows: the fits.
        cell: the columns that identify settings.
        measures: the measures to summarise.

    Returns:
        `cell`, method, n, the number of splits, and MEASURE, MEASURE_std, with n - 1 in the
        denominator, MEASURE_low and MEASURE_high, the 95 % interval of the mean by Student's t.
        For a single split, deviation and interval are missing.
    """
    groups = rows.groupby([*cell, "method"], sort=False)
    table = groups.size().rename("n").to_frame()
    table[["labelled", "unlabelled"]] = groups[["labelled", "unlabelled"]].mean()
    reach = pd.Series(stats.t.ppf(0.975, table["n"] - 1), table.index) / np.sqrt(table["n"])
    for name in measures:
        mean, deviation = groups[name].mean(), groups[name].std()
        table[name], table[f"{name}_std"] = mean, deviation
        table[f"{name}_low"] = mean - reach * deviation
        table[f"{name}_high"] = mean + reach * deviation
    return table.reset_index()


def compare(
    rows: pd.DataFrame,
    ours: str = OURS,
    measure: str = "balanced_accuracy",
    cell: Sequence[str] = CELL,
    simple: Sequence[str] = SIMPLE,
) -> pd.DataFrame:
    """Return the comparison with the baselines, a row for each setting with fits of `ours`.

    Only splits of `ours` count, and only baselines that have all of these.

    Args:
        rows: the fits.
        ours: the method to compare; methods whose names begin with "ours" are not baselines.
        measure: a measure of quality, higher is better.
        cell: the columns that identify settings.
        simple: baselines that ours must keep up with.

    Returns:
        `cell` and: `ours`, its mean; `best`, the baseline with the highest mean over splits, and
        `best_mean`; `lead`, the difference of these means, and `error`, its standard error, from
        the differences in each split; `close`, whether ours is best, or behind by at most one
        standard error; `margin`, the lead over the better of `simple`.
    """
    wide = rows.pivot_table(index=[*cell, "split"], columns="method", values=measure)
    found = []
    for setting, frame in wide.groupby(level=list(cell), sort=False):
        if ours not in frame or frame[ours].isna().all():
            continue
        frame = frame[frame[ours].notna()].dropna(axis=1)
        others = {name: mean for name, mean in frame.mean().items() if not is_ours(name)}
        if not others:
            continue
        best = max(others, key=lambda name: others[name])
        difference = frame[ours] - frame[best]
        lead = float(np.mean(difference))
        error = float(stats.sem(difference)) if len(difference) > 1 else 0.0
        usual = max((others[name] for name in simple if name in others), default=np.nan)
        found.append(
            dict(zip(cell, setting, strict=True))
            | {"splits": len(frame), "ours": frame[ours].mean(), "best": best}
            | {"best_mean": others[best], "lead": lead, "error": error}
            | {"close": lead >= -error, "margin": frame[ours].mean() - usual}
        )
    return pd.DataFrame(found)


def means(rows: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """Return a row per method: means over settings of the means over splits, best first.

    `ours_minus_it` is the lead of `ours` in balanced accuracy over the settings that both have,
    since a method may lack some.
    """
    table = rows.groupby([*CELL, "method"])[list(MEASURES)].mean()
    overall = table.groupby("method").mean()
    overall.insert(0, "settings", table.groupby("method").size())
    wide = table["balanced_accuracy"].unstack("method")
    if ours in wide:
        overall["ours_minus_it"] = (wide.rsub(wide[ours], axis=0)).mean()
    return overall.sort_values("balanced_accuracy", ascending=False).reset_index()


def leads(rows: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """Return, for each share of missing entries, the leads of `ours` in balanced accuracy.

    Data sets without missing entries are left out, so that shares differ in nothing else.

    Returns:
        A row per share: `best_baseline`, the one with the highest mean over all settings of this
        share, and `lead` over it; `lead_over_best_of_each`, the mean lead over the baseline that is
        best in each setting, which no single method would reach.
    """
    found = []
    rows = rows[~rows["dataset"].isin(COUNTS)]
    for share, part in rows.groupby("missing"):
        each = compare(part, ours)
        if each.empty:
            continue
        # Only settings of ours, so that all means are over the same ones.
        part = part.merge(each[list(CELL)], on=list(CELL))
        overall = means(part, ours).set_index("method")
        best = next(name for name in overall.index if not is_ours(name))
        found.append(
            {"missing": share, "settings": len(each), "best_baseline": best}
            | {"lead": overall.loc[best, "ours_minus_it"]}
            | {"lead_over_best_of_each": each["lead"].mean()}
        )
    return pd.DataFrame(found)


def short(rows: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """Return the table for pages: mean balanced accuracies in percent, a row for each method.

    Means are over settings of means over splits. Only settings and splits of `ours` count, and
    only methods that have all of them.

    Returns:
        `method`, and a column for each share of missing entries and group of data sets that
        `ours` has fits of; the best of the last column first.
    """
    keys = [*CELL, "split"]
    done = rows.loc[rows["method"] == ours, keys]
    rows = rows.merge(done, on=keys)
    columns = {}
    for share, part in rows.groupby("missing"):
        for group, names in GROUPS.items():
            chosen = part[part["dataset"].isin(names)]
            halves = [half for half in (TUNING, TEST) if {*half} <= {*names}]
            if not all({*half} & {*chosen["dataset"]} for half in halves):
                # Not measured, or only one half of all data sets.
                continue
            whole = chosen.groupby("method").size() == len(
                done.merge(chosen[keys]).drop_duplicates()
            )
            cells = chosen.groupby(["method", *CELL])["balanced_accuracy"].mean()
            mean = cells.groupby("method").mean()
            title = group if share == 0 else f"{group}, {share:.0%} missing"
            columns[title] = 100 * mean[whole.reindex(mean.index)]
    table = pd.DataFrame(columns).round(1)
    table = table.sort_values(list(columns)[-1], ascending=False, na_position="last")
    return table.rename_axis("method").reset_index()


def report(rows: pd.DataFrame, ours: str = OURS) -> str:
    """Return the comparison as Markdown, for tuning tables, test tables and all.

    Leads and margins are points of balanced accuracy.
    """
    parts = []
    for group, names in GROUPS.items():
        chosen = rows[rows["dataset"].isin(names)]
        if chosen.empty:
            continue
        parts.append(f"## {group}: {', '.join(names) if group != 'all' else 'both'}")
        parts.append(to_markdown(_shown(means(chosen, ours), ["ours_minus_it"])))
        each = compare(chosen, ours)
        if each.empty:
            parts.append(f"There is no fit of {ours!r} yet.")
            continue
        parts += _sentences(each, ours)
        shown = _shown(leads(chosen, ours), ["lead", "lead_over_best_of_each"])
        if len(shown):
            parts.append(to_markdown(shown))
    return "\n\n".join(parts)


def is_ours(name: object) -> bool:
    """Return whether a method is our classifier, and therefore not a baseline."""
    return str(name).startswith(OURS)


def _sentences(each: pd.DataFrame, ours: str) -> list[str]:
    """Return sentences on the settings in which `ours` is best or worst, from `compare`'s table."""
    close, best = int(each["close"].sum()), int((each["lead"] >= 0).sum())
    found = [
        f"{ours}: best, or within one standard error of the best, in {close} of {len(each)} "
        f"settings ({close / len(each):.0%}); best in {best}."
    ]
    known = each[each["margin"].notna()].sort_values("margin")
    if len(known):
        worst = known.iloc[0]
        where = ", ".join(f"{name} {worst[name]}" for name in CELL)
        found.append(
            f"Worst setting against the better of {' and '.join(SIMPLE)}: "
            f"{100 * worst['margin']:+.1f} points ({where})."
        )
    return found


def _shown(table: pd.DataFrame, points: list[str]) -> pd.DataFrame:
    """Return a table as text: some columns in points, numbers with three decimals."""
    table = table.copy()
    for name in points:
        if name in table:
            table[name] = [f"{100 * value:+.1f}" for value in table[name]]
    return table.map(lambda x: f"{x:.3f}" if isinstance(x, float) else str(x))
