"""The card of weights that come with the library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.engine.cards.parts import (
    WRITTEN,
    about_model,
    command,
    facts,
    joined,
    options,
    percent,
    split,
    table,
)

# What is measured of weights, and how it is shown.
_MEASURES = {
    "accuracy": ("accuracy, %", percent),
    "ece": ("expected calibration error of the likeliest class (15 bins), %", percent),
    "log_likelihood": (r"mean log q(y\|x) of the true class, nats", "{:.4f}".format),
}


def of_weights(name: str, card: Mapping[str, Any], folder: Path) -> str:
    """Return the card of weights.

    Args:
        name: what `load_pretrained` calls them.
        card: what `pretrained_card` says of them.
        folder: where the card is to lie.

    Raises:
        ResultsError: if nothing says what they must not be used for.
    """
    run, stored = card["run"], card["measured"]["stored"]
    measures = [
        (meaning, form(card["measured"]["checkpoint"][key]), form(stored[key]))
        for key, (meaning, form) in _MEASURES.items()
    ]
    by_class = stored["accuracy_by_class"]
    seeds = [
        (s["seed"], percent(s["test_accuracy"]), percent(s["test_ece"])) for s in card["seeds"]
    ]
    return joined(
        f"# {name}: weights that come with the library",
        WRITTEN,
        _loading(name),
        *about_model(run["model"], run["dataset"], folder),
        split(pd.DataFrame([{**run, "run": card["folder"]}])),
        "## What it reaches",
        f"Of seed {run['seed']}, on the test set, which was read again for these figures alone. As "
        "stored means in half precision, as `load_pretrained` gives it:",
        table(["measure", "checkpoint", "as stored"], measures),
        "Accuracy of each class, as stored, in percent:",
        table([f"class {k}" for k in range(len(by_class))], [tuple(map(percent, by_class))]),
        "All finished seeds of this configuration, as their runs tested them:",
        table(["seed", "test_accuracy_%", "test_ece_%"], seeds),
        "## The run",
        command(card["command"]),
        facts(
            {
                "Commit": run["commit"],
                "Device": run["device"],
                "Precision of matrix products": run["precision"],
                "Chosen by": f"{run['selection']}, epoch {run['selected_epoch']}",
                "Digest of the split": run["split_digest"],
                "File": f"{card['bytes']:,} bytes, SHA-256 {card['sha256']}",
            }
        ),
        options(run["config"]),
    )


def _loading(name: str) -> str:
    """Return a block that loads the model and gives it rows."""
    return f"""```python
import torch
from pyro_ssl import load_pretrained

model = load_pretrained("{name}")
xs = torch.rand(5, *model.input_shape)  # your rows, pixels in [0, 1]
probabilities = model.predict_proba(xs)
```"""
