"""Publishes a run's model: small weights and their card, which come with the library.

Takes the checkpoint of a run that is finished and tested, the weights of the epoch that was chosen,
of M1+M2 both layers together, and writes them in half precision, with the JSON file of their card,
into pyro_ssl/weights/. The card has the run's own figures, and the test set's again for the
checkpoint and for the weights as they are stored. `pyro_ssl.load_pretrained` loads them.
"""

import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from experiments.draw import Config as Drawing
from experiments.draw import open_run
from pyro_ssl.errors import ConfigError, PyroSSLError

if TYPE_CHECKING:
    from experiments.engine.figures import Trained
    from pyro_ssl.data import ImageDataset
    from pyro_ssl.models import PyroModel

# Bytes of a file of weights, and of all of them: they come with the source.
LARGEST, LARGEST_SUM = 1_000_000, 10_000_000
# Rounding on another device may class a few test rows otherwise than the run did.
_TOLERANCE = 0.002


@dataclass(frozen=True)
class Config:
    """What to publish."""

    checkpoint: tyro.conf.Positional[str]
    """Checkpoint of the run, RESULTS_ROOT/EXPERIMENT/MODEL-DATASET/seed_N.pt."""
    name: str | None = None
    """What `load_pretrained` is to call it; the name of the run's folder if it is left out."""
    data_root: str | None = None
    """Folder of the data sets; else the variable PYRO_SSL_DATA, else ./data."""
    folder: str | None = None
    """Folder of the images, for a run that had one in place of a data set."""
    overwrite: bool = False
    """Replace weights of that name."""


def publish(config: Config) -> None:
    """Write the weights and their card.

    Raises:
        ConfigError: if the run is not finished, of no commit, or no classifier's; if the checkpoint
            is not what the run tested; if the weights are too large, or the name is taken.
        CheckpointError: if the checkpoint is damaged.
        ResultsError: if a result is damaged, or a file cannot be written.
    """
    from pyro_ssl import pretrained
    from pyro_ssl.files import write_bytes, write_text
    from pyro_ssl.json_files import json_text

    trained = open_run(
        Drawing(config.checkpoint, data_root=config.data_root, folder=config.folder, device="cpu")
    )
    result, name = _tested(trained), config.name or trained.file.parent.name
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", name):
        raise ConfigError(
            f"name is {name!r}, expected at most 100 small letters, digits and any of ._-"
        )
    weights, card = (pretrained.FOLDER / f"{name}{end}" for end in (".pt", ".json"))
    if card.exists() and not config.overwrite:
        raise ConfigError(f"{card} is there: take another --name, or replace it with --overwrite")
    content, stored = in_half_precision(trained.model)
    others = sum(f.stat().st_size for f in weights.parent.glob("*.pt") if f != weights)
    check_size(len(content), others, trained)
    measured = {
        "checkpoint": measure(trained.model, trained.dataset, trained.seed),
        "stored": measure(stored, trained.dataset, trained.seed),
    }
    _check_same(trained, result["test_accuracy"], measured["checkpoint"]["accuracy"])
    values = {
        **_run(trained, result),
        "measured": measured,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    text = json_text(values, card)
    write_bytes(content, weights)
    write_text(text, card)
    print(f"{weights}\n{card}\nNow: python -m experiments.report --cards docs/cards")


def in_half_precision(model: "PyroModel") -> "tuple[bytes, PyroModel]":
    """Return a file of the model's weights in half precision, and the model as it is loaded again.

    Raises:
        ConfigError: if a weight is too large for half precision.
    """
    import torch

    from pyro_ssl.infer import load_model, save_model

    half = deepcopy(model).half()
    for key, value in half.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise ConfigError(f"{key} has a value that is not finite in half precision")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pt"
        save_model(half, file)
        return file.read_bytes(), load_model(file)


def check_size(size: int, others: int, trained: "Trained") -> None:
    """Check that weights of so many bytes may come with the source, beside others.

    Raises:
        ConfigError: if they may not.
    """
    if size > LARGEST:
        raise ConfigError(
            f"the weights of {trained.file} take {size:,} bytes in half precision, expected at "
            f"most {LARGEST:,}: train narrower networks, with --hidden-dims and another --tag (of"
            " M1+M2, --m1.hidden-dims and --m1.tag too)"
        )
    if size + others > LARGEST_SUM:
        raise ConfigError(
            f"all weights would take {size + others:,} bytes, expected at most {LARGEST_SUM:,}: "
            "remove some of them first"
        )


def measure(model: Any, dataset: "ImageDataset", seed: int) -> dict[str, Any]:
    """Return accuracy, of each class too, calibration error and mean log q(y|x) of the test rows.

    Args:
        model: a classifier of one label a row.
        dataset: where the test rows are.
        seed: seed of what the model draws, if it draws anything to classify.
    """
    import torch

    from pyro_ssl import metrics
    from pyro_ssl.nets.modes import evaluating

    xs, ys = dataset.test_xs, dataset.test_ys
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(model):
        torch.manual_seed(seed)
        probabilities = metrics.predict_in_chunks(model, xs)
        scores = torch.cat([model.class_logits(chunk) for chunk in xs.split(10_000)])
    right = (probabilities.argmax(-1) == ys).double()
    classes = [right[ys == k].mean().item() for k in range(dataset.num_classes)]
    log_q = scores.log_softmax(-1).gather(-1, ys[:, None])
    return {
        "accuracy": metrics.accuracy(probabilities, ys),
        "accuracy_by_class": classes,
        "ece": metrics.expected_calibration_error(probabilities, ys),
        "log_likelihood": log_q.mean().item(),
    }


def _tested(trained: "Trained") -> dict[str, Any]:
    """Return what a finished run says of its test.

    Raises:
        ConfigError: if it is not finished, of no commit, or no classifier's of one label a row.
    """
    from experiments.engine.results import read_result
    from pyro_ssl.models import SSLModel

    path = trained.file.with_name(f"seed_{trained.seed}.json")
    if not path.exists():
        raise ConfigError(f"there is no {path}: the run is not finished; go on with --resume")
    result, model = read_result(path, ("model",)), trained.model
    shape = tuple(trained.dataset.train_xs.shape[1:])
    images = isinstance(model, SSLModel) and model.input_shape == shape
    if not images or model.multi_label or "test_accuracy" not in result:
        raise ConfigError(
            f"{trained.file} is of a {type(model).__name__}, expected a classifier of the data "
            "set's rows, one label each, whose accuracy was tested"
        )
    commit = result.get("commit")
    if not commit or commit.endswith("-dirty"):
        raise ConfigError(
            f"{path} is of the commit {commit}, which nobody can check out: train it again from a "
            "clean checkout, with --overwrite"
        )
    return result


def _check_same(trained: "Trained", tested: float, found: float) -> None:
    if abs(tested - found) > _TOLERANCE:
        raise ConfigError(
            f"{trained.file} has a test accuracy of {found:.4f}, but its run had {tested:.4f}: it"
            " is not what was tested, or the data are others; train it again with --overwrite"
        )


def _run(trained: "Trained", result: dict[str, Any]) -> dict[str, Any]:
    """Return what a card says of the run: itself, its command, and all seeds beside it."""
    from experiments.engine.repeat import command_of
    from experiments.engine.results import read_result

    folder = trained.file.resolve().parent
    name = f"{folder.parent.name}/{folder.name}"
    files = sorted(folder.glob("seed_*.json"), key=lambda f: int(f.stem[5:]))
    shown = ("seed", "test_accuracy", "test_ece")
    seeds = [{key: found[key] for key in shown} for found in map(read_result, files)]
    command = command_of(name, result, [trained.seed])
    return {"folder": name, "command": command, "run": result, "seeds": seeds}


def main(args: Sequence[str] | None = None) -> int:
    """Publish with command-line arguments, `sys.argv`'s if None; return the exit status."""
    config = tyro.cli(Config, args=args, description=__doc__)
    try:
        publish(config)
    except (PyroSSLError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
