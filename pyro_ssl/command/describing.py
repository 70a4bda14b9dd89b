"""The command `describe`: the inferred content of a file's columns, and its labels."""

from collections import Counter
from typing import Any

import pandas as pd

from pyro_ssl.command.families import families_of
from pyro_ssl.command.labels import are_known, text_of
from pyro_ssl.command.options import Describe
from pyro_ssl.command.parts import Part, joined
from pyro_ssl.command.sources import open_for_training
from pyro_ssl.command.tables import warn_of_ids

# Number of rows from which the content of columns is inferred.
ROWS = 100_000


def run(options: Describe) -> None:
    """Print the inferred content of a file's columns, and the number of rows with each label.

    Raises:
        PyroSSLError: if options or data are invalid.
    """
    source = open_for_training(options, options.data)
    labels: Counter[str] = Counter()
    first: list[Part] = []
    rows = unknown = 0
    for part in source.parts():
        if rows < ROWS:
            if not rows and source.recipe.kind == "table":
                warn_of_ids(part.rows)
            first.append(part)
        rows += len(part)
        known = are_known(part.labels, source.recipe.unlabelled)
        unknown += int((~known).sum())
        labels.update(map(text_of, part.labels[known].tolist()))
    table, kept = _columns(first, families_of(options.columns, source.recipe.kind))
    print(f"{options.data}: {rows} rows" + (f", columns by the first {kept}" * (kept < rows)))
    print(table.to_string(index=False, max_colwidth=60))
    if labels:
        counts = pd.Series(dict(sorted(labels.items())), name="rows")
        print(f"\nlabels ({unknown} rows without one):")
        print(counts.to_string())


def _columns(parts: list[Part], families: Any) -> tuple[pd.DataFrame, int]:
    from pyro_ssl.estimator.inputs import infer_inputs

    rows: Any = joined(parts)[0]
    return infer_inputs(rows, families).to_frame(), len(rows)
