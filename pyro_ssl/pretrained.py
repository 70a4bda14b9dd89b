"""Trained models that come with the library: small weights in half precision, and their cards.

`FOLDER` holds two files for each: `NAME.pt`, as `save_model` writes it, and `NAME.json`, its card:
the run that it is of, what was measured of these weights, and their SHA-256. `python -m
experiments.publish` writes both.
"""

from pathlib import Path
from typing import Any

from pyro_ssl.errors import CheckpointError, ConfigError
from pyro_ssl.files import sha256_of
from pyro_ssl.infer import load_model
from pyro_ssl.json_files import read_json
from pyro_ssl.models import PyroModel
from pyro_ssl.options import checked
from pyro_ssl.reading import check_kinds

FOLDER = Path(__file__).parent / "weights"
_REMEDY = "install the library again, or check the file out again"


def pretrained_names() -> list[str]:
    """Return the names that `load_pretrained` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@checked
def load_pretrained(name: str) -> PyroModel:
    """Return a trained model that comes with the library, in evaluation mode, float32, on the CPU.

    Its card, a page of the documentation, says what it was trained on and what it must not be used
    for. Weights are stored in half precision and read without running code from the file.

    Args:
        name: the name, one of `pretrained_names()`.

    Raises:
        ConfigError: if there is no such name.
        CheckpointError: if its files are damaged, missing, or not those that were published.
    """
    card, path = pretrained_card(name), FOLDER / f"{name}.pt"
    try:
        with path.open("rb") as file:
            digest = sha256_of(file)
    except OSError as error:
        raise CheckpointError(f"{path}, the weights of {name}, is not there: {_REMEDY}") from error
    if digest != card["sha256"]:
        raise CheckpointError(
            f"{path} is damaged or holds other weights than were published as {name}: its SHA-256 "
            f"is {digest}, expected {card['sha256']}: {_REMEDY}"
        )
    # Half precision on disk: loading casts to the dtype that the model is constructed in.
    return load_model(path).float()


@checked
def pretrained_card(name: str) -> dict[str, Any]:
    """Return what is known of a model that comes with the library.

    Args:
        name: the name, one of `pretrained_names()`.

    Returns:
        `run`, the JSON file of the run that was published; `folder`, where it lay; `command`, which
        repeats it; `seeds`, the test figures of all seeds of its configuration; `measured`, test
        figures of its `checkpoint` and of the weights as they are `stored`; their `sha256` and
        number of `bytes`.

    Raises:
        ConfigError: if there is no such name.
        CheckpointError: if the card is damaged.
    """
    known = pretrained_names()
    if name not in known:
        raise ConfigError(f"name is {name!r:.100}, expected one of {', '.join(known) or 'none'}")
    path = FOLDER / f"{name}.json"
    card = read_json(path, _REMEDY)
    check_kinds(card, {"sha256": str, "run": dict, "measured": dict}, str(path))
    return card
