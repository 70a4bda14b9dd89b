"""Draws any figure of a run again, from its checkpoint.

The data set, and the rows that are shown, are those of the run's own configuration, which is in the
checkpoint's folder. Without --figure it lists the figures that the model has.
"""

import importlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from pyro_ssl.errors import ConfigError, PyroSSLError

if TYPE_CHECKING:
    from experiments.engine.figures import Trained
    from experiments.engine.runner import Comparison


@dataclass(frozen=True)
class Config:
    """What to draw."""

    checkpoint: tyro.conf.Positional[str]
    """Checkpoint of the run, RESULTS_ROOT/EXPERIMENT/MODEL-DATASET/seed_N.pt."""
    figure: str | None = None
    """Name of the figure; none to list those that can be drawn."""
    output: str | None = None
    """File to write; its suffix determines the format. By default the run's own PNG file."""
    data_root: str | None = None
    """Folder of the data sets; by default the variable PYRO_SSL_DATA, or else ./data."""
    folder: str | None = None
    """Folder of the images, for a run that used one instead of a data set."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""


def draw(config: Config) -> None:
    """Draw the figure, or list what can be drawn.

    Raises:
        ConfigError: if the checkpoint is not a run's, or its model has no such figure.
        CheckpointError: if it is damaged.
        ResultsError: if the figure cannot be written.
    """
    import torch

    from experiments.engine.figures import FIGURES, names_for
    from pyro_ssl.files import replacing

    trained = open_run(config)
    names = names_for(trained)
    kind = type(trained.model).__name__
    if config.figure is None:
        print(f"figures of {config.checkpoint} ({kind}):")
        print("\n".join(f"  {name}" for name in names))
        return
    if config.figure not in names:
        why = "cannot be drawn of" if config.figure in FIGURES else "is not among the figures of"
        raise ConfigError(
            f"figure {config.figure!r} {why} {config.checkpoint} ({kind}): it has "
            f"{', '.join(names) or 'none'}"
        )
    own = trained.file.with_name(f"seed_{trained.seed}_{config.figure}.png")
    path = own if config.output is None else Path(config.output)
    formats = ("png", "svg", "pdf", "jpg")
    if path.suffix[1:].lower() not in formats:
        raise ConfigError(f"output is {path}, expected a name that ends in .{', .'.join(formats)}")
    torch.manual_seed(trained.seed)
    figure = FIGURES[config.figure].draw(trained)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, format=path.suffix[1:].lower())
    print(path)


def open_run(config: Config) -> "Trained":
    """Return the model of a checkpoint, and the run that it belongs to."""
    from experiments.engine.figures import Trained
    from pyro_ssl.infer import load_model
    from pyro_ssl.infer.devices import resolve_device

    path = Path(config.checkpoint)
    named = re.fullmatch(r"seed_(\d+)(_both_layers)?\.pt", path.name)
    if named is None:
        raise ConfigError(
            f"checkpoint is {path}, expected the file seed_N.pt of a run's model. (Stages of "
            "gan_decoder_vae are not models: to draw them, delete seed_N.json and run its own "
            "command with --resume, which repeats no step)"
        )
    recorded = _recorded(path.with_name("config.json"))
    comparison = comparison_of(path, recorded, config)
    if not path.is_file():
        raise ConfigError(
            f"there is no checkpoint {path}: checkpoints do not come with the source; train it by "
            f"`python -m experiments.{comparison.name} --seeds {named[1]}` and the options in "
            f"{path.with_name('config.json')}, or give an existing one"
        )
    # M1 and M2 together are a model of images; M2 alone is one of M1's latents.
    both = path.with_name(f"seed_{named[1]}_both_layers.pt")
    model = load_model(both if both.exists() else path).to(resolve_device(config.device))
    return Trained(path, int(named[1]), model, comparison, recorded.get("digest"))


def comparison_of(checkpoint: Path, recorded: dict[str, Any], config: Config) -> "Comparison":
    """Return the comparison that a run is part of, with the options recorded in its folder."""
    name = checkpoint.resolve().parent.parent.name
    module: Any = None
    if name.isidentifier() and (Path(__file__).parent / f"{name}.py").is_file():
        module = importlib.import_module(f"experiments.{name}")
    if not hasattr(module, "comparison"):
        raise ConfigError(
            f"{checkpoint} is in a folder {name}, which is not an experiment's: expected "
            "RESULTS_ROOT/EXPERIMENT/MODEL-DATASET/seed_N.pt, as experiments write it"
        )
    known = {f.name for f in fields(module.Config)}
    options = {k: _tuples(v) for k, v in recorded.items() if k in known and k != "m1"}
    options |= {"device": config.device, "data_root": config.data_root}
    options["results_root"] = str(checkpoint.resolve().parent.parent.parent)
    if "digest" in recorded:
        if config.folder is None:
            raise ConfigError(
                f"{checkpoint} is of a run on a folder of images, {recorded['dataset']}: name it "
                "by --folder"
            )
        options["folder"] = config.folder
    return module.comparison(module.Config(**options))


def _recorded(path: Path) -> dict[str, Any]:
    """Return the options recorded in a run's folder."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {path}, which says what the run's options were: expected the "
            "folder of a run, as experiments write it"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged: it holds a {type(found).__name__}")
    return found


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def main(args: Sequence[str] | None = None) -> int:
    """Draw with command-line arguments, `sys.argv`'s if None; return the exit status."""
    config = tyro.cli(Config, args=args, description=__doc__)
    try:
        draw(config)
    except (PyroSSLError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
