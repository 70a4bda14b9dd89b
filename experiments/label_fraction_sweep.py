"""How accuracy and calibration of M2, CCVAE and a classifier depend on the share of labels.

For each proportion of labelled training rows it runs `mnist_conv_m2` (with its classifier of
labelled rows) and `mnist_ccvae`, whose results are in their own folders. Finished runs there are
kept, and unfinished ones are continued, so the command can be repeated. It then collects all
finished runs, including those of earlier calls: RESULTS_ROOT/label_fraction_sweep/sweep-DATASET.csv
has a row for each model, proportion and seed; the figure beside it shows means with 95 % intervals.

Proportions are of the training rows that are left after 11,400 for validation: of 48,600 on MNIST,
as in CCVAE_Jax. The epoch is chosen on validation rows; the test set is read once per run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import mnist_ccvae, mnist_conv_m2
from experiments.engine.options import DataOptions, check_run_options
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison

_MEASURES = ("test_accuracy", "test_ece", "test_elbo")


def _m2() -> mnist_conv_m2.Config:
    return mnist_conv_m2.Config(epochs=10)


def _ccvae() -> mnist_ccvae.Config:
    return mnist_ccvae.Config(epochs=10)


@dataclass(frozen=True)
class Config(DataOptions):
    """Options of the sweep; those of the models themselves begin with their names."""

    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Seeds, one run each."""
    validation: int | None = 11_400
    """Number of labelled validation rows, taken from the training set and never trained on; none
    for 10,000, or a quarter of the training set if that is less."""
    proportions: tuple[float, ...] = (
        0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4, 0.5,
        0.7, 0.9,
    )  # fmt: skip
    """Labelled share of the training rows that are not for validation."""
    steps_per_epoch: int | None = 243
    """Number of steps per epoch, for all shares and models; none for one pass over the rows."""
    models: tuple[Literal["m2", "ccvae"], ...] = ("m2", "ccvae")
    """Models to train; m2 includes the classifier."""
    m2: mnist_conv_m2.Config = field(default_factory=_m2)
    """Options of M2, see `mnist_conv_m2`; the sweep's own options replace them."""
    ccvae: mnist_ccvae.Config = field(default_factory=_ccvae)
    """Options of CCVAE, see `mnist_ccvae`; the sweep's own options replace them."""


def numbers_of_labels(config: Config) -> dict[float, int]:
    """Return the number of labelled rows for each proportion, rounded down.

    Raises:
        ConfigError: if a proportion is not above 0 and at most 1, or gives no row.
    """
    from experiments.engine.semi_supervised import load_images, share_of_rows

    for share in config.proportions:
        if not 0 < share <= 1:
            raise ConfigError(f"proportions has {share}, expected shares above 0, up to 1")
    dataset = load_images(config)
    found = {share: share_of_rows(share, config, dataset) for share in config.proportions}
    for share, labels in found.items():
        if not labels:
            raise ConfigError(f"proportions has {share}, which is less than one row")
    return found


def comparisons(config: Config, labels: int) -> "list[Comparison]":
    """Return the comparisons with `labels` labelled rows."""
    shared: dict[str, Any] = {f.name: getattr(config, f.name) for f in fields(DataOptions)}
    # Tagged, since the numbers of validation rows and of steps differ from the defaults.
    shared |= {
        "labels": labels,
        "label_fraction": None,
        "resume": not config.overwrite,
        "tag": config.tag or "sweep",
    }
    found = []
    # Equal steps for all shares, also for few unlabelled rows.
    steps = config.steps_per_epoch
    if "m2" in config.models:
        found.append(mnist_conv_m2.comparison(replace(config.m2, **shared), steps))
    if "ccvae" in config.models:
        # The classifier is trained with M2.
        options = replace(config.ccvae, **shared, baseline=False)
        found.append(mnist_ccvae.comparison(options, steps))
    return found


def sweep(config: Config) -> None:
    """Run what is not finished, then write the table and the figure."""
    from experiments.engine.runner import run_comparisons
    from pyro_ssl.infer.processes import is_main

    check_run_options(config)
    numbers = dict.fromkeys(numbers_of_labels(config).values())
    run_comparisons([found for labels in numbers for found in comparisons(config, labels)])
    if is_main():
        put_together(config)


def put_together(config: Config) -> None:
    """Write table and figure of all finished runs of the sweep, including earlier calls."""
    import pandas as pd

    from experiments.engine.results import display_name
    from experiments.engine.semi_supervised import load_images, validation_rows
    from pyro_ssl import plots

    root, tag = Path(config.results_root), config.tag or "sweep"
    dataset = load_images(config)
    rows = len(dataset.train_xs) - validation_rows(config, dataset)
    frame = pd.DataFrame(
        [
            _row(file, rows)
            for experiment in ("mnist_conv_m2", "mnist_ccvae")
            for file in (root / experiment).glob(f"*-{config.dataset}-*-{tag}/seed_*.json")
        ]
    )
    frame = frame.sort_values(["labels", "model", "seed"], ignore_index=True)
    folder = root / "label_fraction_sweep"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "-".join(filter(None, ("sweep", config.dataset, config.tag)))
    frame.to_csv(folder / f"{stem}.csv", index=False)
    named = frame.assign(model=frame["model"].map(display_name))
    figure = plots.by_label_fraction(named, f"{config.dataset}, 95 % intervals")
    figure.savefig(folder / f"{stem}.png", dpi=110)
    print(folder / f"{stem}.csv")
    print(folder / f"{stem}.png")


def _row(file: Path, rows: int) -> dict[str, Any]:
    """Return a row of the table: a finished run, and its share of `rows` rows."""
    from experiments.engine.results import read_result

    result = read_result(file, ("labels", "model"))
    row = {key: result[key] for key in ("model", "labels", "seed")}
    row["proportion"] = round(result["labels"] / rows, 4)
    return row | {key: result[key] for key in _MEASURES if key in result}


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import guard

    return guard(sweep, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
