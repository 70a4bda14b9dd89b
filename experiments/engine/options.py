"""Options that experiments share, and which of them distinguish configurations.

Torch is not imported here, so that `--help` answers at once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pyro_ssl.errors import ConfigError

Options = TypeVar("Options", bound="RunOptions")


def option(
    default: Any,
    *,
    recorded: bool | Callable[[Any], bool] = True,
    recorded_as: Callable[[Any], Any] | None = None,
    models: tuple[str, ...] | None = None,
    in_place_of: str | None = None,
) -> Any:
    """Declare an option, and how it is recorded in `config.json`, which identifies configurations.

    A subclass that declares the option again, with another default, keeps these rules.

    Args:
        default: its default.
        recorded: whether it is recorded. False if it changes no result, or is in the folder's name
            anyway; a function of all options if it depends on them.
        recorded_as: returns what is recorded instead of its value, given the value.
        models: the only models that it affects; None if it affects all of them.
        in_place_of: the common option that it replaces for these models.
    """
    rules = {
        "recorded": recorded,
        "recorded_as": recorded_as,
        "models": models,
        "in_place_of": in_place_of,
    }
    return field(default=default, metadata=rules)


def recorded_options(config: Any, model: str | None = None) -> dict[str, Any]:
    """Return the content of `config.json` for these options and one of the models."""
    rules = {f.name: _rules_of(type(config), f.name) for f in fields(config)}
    concerning = {name for name, rule in rules.items() if _concerns(rule, model)}
    replaced = {rules[name].get("in_place_of") for name in concerning}
    found = {}
    for name in rules:
        recorded = rules[name].get("recorded", True)
        if name not in concerning or name in replaced:
            continue
        if recorded(config) if callable(recorded) else recorded:
            value = getattr(config, name)
            as_written = rules[name].get("recorded_as")
            found[name] = as_written(value) if as_written else value
    return found


def options_for(config: Options, model: str) -> Options:
    """Return the options, with a model's own options replacing the common ones."""
    changes = {}
    for f in fields(config):
        rules = _rules_of(type(config), f.name)
        if rules.get("in_place_of") and _concerns(rules, model):
            changes[rules["in_place_of"]] = getattr(config, f.name)
    return replace(config, **changes) if changes else config


def _rules_of(cls: type, name: str) -> dict[str, Any]:
    """Return the rules of an option, from the most derived class that states any."""
    for base in cls.__mro__:
        declared = vars(base).get("__dataclass_fields__", {}).get(name)
        if declared is not None and declared.metadata:
            return dict(declared.metadata)
    return {}


def _concerns(rules: dict[str, Any], model: str | None) -> bool:
    return not rules.get("models") or model in rules["models"]


@dataclass(frozen=True)
class RunOptions:
    """Options of runs."""

    seeds: tuple[int, ...] = option((0,), recorded=False)
    """Seeds, one run each; a seed determines the label split, the weights and the noise."""
    jobs: int = option(1, recorded=False)
    """Number of seeds trained in parallel, in processes that share the processor's cores."""
    backend: Literal["processes", "dask", "ray"] = option("processes", recorded=False)
    """Where to run: processes here, or workers of a cluster that see the same folders."""
    address: str | None = option(None, recorded=False)
    """Address of the cluster, such as tcp://HOST:8786; none to start one here."""
    device: str = option("auto", recorded=False)
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of matrix products; auto is bfloat16, twice as fast, if the device supports it."""
    compile: Literal["auto", "always", "never"] = option("auto", recorded=False)
    """Compile the training step; auto does so if the run is long enough to save time."""
    cuda_graph: bool = option(True, recorded=False)
    """On a GPU, record the training step once and replay it."""
    engine: Literal["native", "svi"] = option("native", recorded=lambda c: c.engine != "native")
    """Engine of the training steps: the library's own, or Pyro's SVI, which is uncompiled and
    slower, with the same results up to rounding."""
    data_root: str | None = option(None, recorded=False)
    """Folder of the data sets; by default the variable PYRO_SSL_DATA, or else ./data."""
    results_root: str = option("results", recorded=False)
    """Folder of the results."""
    tag: str | None = None
    """Suffix of the results folder, to keep configurations apart."""
    resume: bool = option(False, recorded=False)
    """Continue unfinished runs from their checkpoints; finished ones are kept."""
    overwrite: bool = option(False, recorded=False)
    """Replace existing results."""
    quiet: bool = option(False, recorded=False)
    """No progress bars."""

    @property
    def side_by_side(self) -> bool:
        """Whether runs are computed outside of this process."""
        return self.jobs > 1 or self.backend != "processes"


@dataclass(frozen=True)
class DataOptions(RunOptions):
    """Options of the data."""

    dataset: Literal["mnist", "fashion-mnist", "digits"] = "mnist"
    """Data set; digits is scikit-learn's 8x8 digits and needs no download."""
    validation: int | None = None
    """Number of labelled validation rows, taken from the training set and never trained on; none
    for 10,000, or a quarter of the training set if that is less."""


@dataclass(frozen=True)
class TrainingOptions(DataOptions):
    """Options of the training."""

    epochs: int = 60
    """Epochs; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    batch_size: int = 200
    """Unlabelled rows per step, and labelled rows per step; all of them if there are fewer."""
    learning_rate: float = 3e-3
    """Adam's initial step size."""
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "cosine"
    """Step size over the epochs: constant, falling to 0 along a half cosine, or multiplied by 0.75
    every 200 epochs."""
    learning_rate_warmup: int | None = None
    """Number of first epochs over which the step size rises; none for no rise."""
    binarise: bool = True
    """Draw pixels from a Bernoulli each time a row is visited; otherwise they stay real-valued."""
    keep_best: bool = True
    """Test the epoch with the best validation figure; otherwise the last epoch."""
    patience: int | None = None
    """Epochs without a better validation figure after which to stop; none for never."""
    tuning: bool = option(False, recorded=False)
    """A trial, by which options are chosen: the test set is not read; figures of the validation
    rows become a row of RESULTS_ROOT/tuning/EXPERIMENT.csv."""
    log: Literal["tensorboard", "mlflow"] | None = option(None, recorded=False)
    """Log each epoch, and samples every five epochs, to TensorBoard (event files in
    RESULTS_ROOT/tensorboard) or to MLflow (at MLFLOW_TRACKING_URI); none for no logging."""


@dataclass(frozen=True)
class SemiSupervisedOptions(TrainingOptions):
    """Options of classification with few labels, and of its baseline."""

    labels: int = option(100, recorded=lambda config: config.label_fraction is None)
    """Labelled training rows, shared evenly by the classes."""
    label_fraction: float | None = None
    """Share of labelled rows among those not for validation, instead of their number."""
    alpha: float = 1.0
    """Weight of the mean of -log q(y|x) over labelled rows beside the bound per example, all in
    nats (the paper's alpha is this times the number N of training rows: 0.1)."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of classifier and encoder, reversed in the decoder."""
    batch_norm: bool = True
    """Batch norm in the classifier."""
    input_dropout: float = 0.0
    """Probability of dropping an input of the classifier."""

    @property
    def any_labels(self) -> bool:
        """Whether any training row is labelled."""
        return bool(self.labels if self.label_fraction is None else self.label_fraction)


def for_worker(config: Options) -> Options:
    """Return options with which a run has the same result anywhere, and can be started twice.

    Paths do not depend on the working folder. A run that a lost worker began continues from its
    checkpoint; the caller must have checked that there was no unfinished run before.
    """
    from pyro_ssl.data import data_root

    return replace(
        config,
        data_root=str(data_root(config.data_root).resolve()),
        results_root=str(Path(config.results_root).resolve()),
        overwrite=False,
        resume=True,
        quiet=True,
    )


def check_tag(name: str, tag: str | None) -> None:
    """Raise a ConfigError if a tag, the option `name`, is no valid end of a folder's name."""
    if tag is not None and not re.fullmatch(r"\w[\w.+=,@% -]{0,99}", tag):
        shown = repr(tag) if len(tag) < 100 else f"{tag[:20]!r}... of {len(tag)} characters"
        raise ConfigError(
            f"{name} is {shown}, expected a letter or digit and at most 99 more, or any of "
            "._-+=,@% and spaces: it becomes part of a folder's name"
        )


def folder_name(model: str, *endings: str | None) -> str:
    """Return the name of a folder of results: a model's name, followed by `endings`.

    Raises:
        ConfigError: if the name is a path to another folder, or is too long.
    """
    name = "-".join([model, *filter(None, endings)])
    if Path(name).name != name or not name.isprintable() or len(name.encode()) > 240:
        raise ConfigError(
            f"the folder of results would be called {name!r}, expected at most 240 bytes that can "
            "be printed, and no slash: use another --tag, or name of the data"
        )
    return name


def check_run_options(config: RunOptions) -> None:
    """Raise a ConfigError if seeds or other options of a run are invalid or contradictory."""
    if not config.seeds:
        raise ConfigError("seeds is empty, expected at least one seed: use --seeds 0")
    if min(config.seeds) < 0 or len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"seeds are {config.seeds}, expected different ones, none below 0")
    if config.resume and config.overwrite:
        raise ConfigError("resume and overwrite exclude each other: choose one")
    check_tag("tag", config.tag)
    for name in ("results_root", "data_root"):
        if "\0" in (getattr(config, name) or ""):
            raise ConfigError(f"{name} is {getattr(config, name)!r}, expected the path of a folder")
    if config.jobs < 1:
        raise ConfigError(f"jobs is {config.jobs}, expected at least 1")
    if config.address is not None and config.backend == "processes":
        raise ConfigError(f"address is {config.address!r}, but there is no cluster: add --backend")
