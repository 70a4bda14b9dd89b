"""What all cards have in common."""

import inspect
from collections.abc import Iterable, Mapping
from os.path import relpath
from pathlib import Path
from typing import Any

import pandas as pd

import pyro_ssl
from experiments.engine.cards.texts import DATA, KINDS, about, class_of
from experiments.engine.tables import blanked, to_markdown

WRITTEN = (
    "A model card, in short, after [Mitchell et al. 2019](https://arxiv.org/abs/1810.03993). "
    "Written from the files of runs by `python -m experiments.report --cards docs/cards`."
)
_LABELLED = "The seed draws which training rows are labelled, unlabelled, or for validation."
_UNLABELLED = "No label is used in training. The seed draws which training rows are for validation."
_NEVER_TRAINED_ON = (
    "Validation rows are never trained on; the test set is read once, after training."
)
_NO_VALIDATION = "There are no validation rows: what is tested is the last step."
_MORE_LABELS = (
    "What is tested was chosen on more labelled validation rows than the model has labels to learn "
    "from: where there are no other labels, expect less."
)


def about_model(model: str, dataset: str, folder: Path) -> Iterable[str]:
    """Yield what a model is, what it is for and what not, and what its data are.

    Args:
        model: the first word of its runs' folders.
        dataset: the data set.
        folder: where the card lies; the page of the model is looked for in `models` beside it.

    Raises:
        ResultsError: if nothing says what it must not be used for.
    """
    name = class_of(model)
    kind, data = about(KINDS, name, "model"), about(DATA, dataset, "data set")
    exported = "MLPClassifier" if name == "judge" else name
    if exported in dir(pyro_ssl):
        first = (inspect.getdoc(getattr(pyro_ssl, exported)) or "").partition("\n\n")[0]
        page = _page_of(exported, folder)
        link = f"[`{exported}`]({page})" if page else f"`{exported}`"
        yield f"## The model\n\n{link}: {' '.join(first.split())}"
    yield f"## What it is for\n\n{kind.text}"
    never = "\n".join(f"- {reason}" for reason in (*data.never, *kind.never))
    yield f"## What it must not be used for\n\n{never}"
    yield f"## Data\n\n{data.text}"


def split(rows: pd.DataFrame) -> str:
    """Return how many rows there were of which kind, a line a run, and what follows from that."""
    names = ["labels", "unlabelled_rows", "validation_rows", "test_rows"]
    known = [n for n in names if n in rows and rows[n].notna().any()]
    shown = blanked(rows.drop_duplicates("run")[["run", *known]])
    shown["run"] = shown["run"].str.rpartition("/")[2]
    labelled = "labels" in known
    if (rows["validation_rows"] > 0).any():
        sentences = [_LABELLED if labelled else _UNLABELLED, _NEVER_TRAINED_ON]
    else:
        sentences = [_NO_VALIDATION]
    if labelled and (rows["labels"] < rows["validation_rows"]).fillna(False).any():
        sentences.append(_MORE_LABELS)
    return joined(" ".join(sentences), to_markdown(shown))


def facts(values: Mapping[str, Any]) -> str:
    """Return named facts, an entry each; those that are empty are left out."""
    return "\n".join(f"- {name}: {value}" for name, value in values.items() if value)


def command(text: str) -> str:
    """Return a command as a block of a page, marked as one of a shell."""
    return f"```sh\n{text}\n```"


def options(values: Mapping[str, Any]) -> str:
    """Return options as a sentence."""
    shown = {k: " ".join(map(str, v)) if isinstance(v, list) else v for k, v in values.items()}
    return f"Options: {', '.join(f'`{k}` {v}' for k, v in shown.items())}."


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.2f}"


def table(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Return a table of rows."""
    return to_markdown(pd.DataFrame(rows, columns=columns))


def joined(*parts: str) -> str:
    """Return parts of a page, an empty line between them."""
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _page_of(model: str, folder: Path) -> str:
    """Return the link to a model's page, empty if there is none."""
    for page in sorted((folder.parent / "models").glob("*.md")):
        if f"<!-- docstring {model}: begin -->" in page.read_text():
            return relpath(page, folder)
    return ""
