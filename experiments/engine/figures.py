"""Figures of a trained model, by the names of their files, drawn from the files of its run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.engine.results import display_name
from experiments.engine.runner import Comparison
from experiments.engine.semi_supervised import seeded_split
from pyro_ssl import metrics, plots
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import load_model
from pyro_ssl.models import CCVAE, M1M2, M2, VAE, Autoencoder, MultiLabelCCVAE, PyroModel, SSLModel
from pyro_ssl.results import CARRIED

# Offset of the seed of the test points in the plane, see `experiments.gaussians_vae`.
_TEST = 2_000_003


@dataclass(frozen=True)
class Trained:
    """A trained model, and the run that it belongs to.

    Attributes:
        file: its checkpoint.
        seed: the run's seed.
        model: the model, in evaluation mode, on the device to draw on.
        comparison: the run's comparison, with its options.
        digest: digest of its data set, if its folder records one.
    """

    file: Path
    seed: int
    model: Any
    comparison: Comparison
    digest: str | None = None

    @cached_property
    def history(self) -> pd.DataFrame:
        """The rows of the run's CSV; none if there is no such file."""
        path = self.file.with_name(f"seed_{self.seed}.csv")
        table = pd.read_csv(path) if path.exists() else pd.DataFrame()
        return table.drop(columns=[c for c in CARRIED if c in table])

    @cached_property
    def dataset(self) -> Any:
        """The data set of the run.

        Raises:
            ConfigError: if the data set has changed.
        """
        found = self.comparison.load(self.comparison.config)
        if self.digest is not None and found.digest != self.digest:
            raise ConfigError(
                f"the images of {self.file} had the digest {self.digest}, these have "
                f"{found.digest}: name their folder by --folder"
            )
        return found

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.model.parameters()).device

    @property
    def title(self) -> str:
        """Title: what was trained on which data."""
        return f"{display_name(self.file.parent.name)}, seed {self.seed}"

    def examples(self, number: int) -> Tensor:
        """Return up to `number` images, which the model was not trained on if there are such."""
        split = seeded_split(self.comparison.config, self.dataset, self.seed, 0)
        rows = split.validation if len(split.validation) else split.unlabelled
        xs = self.dataset.train_xs[rows[:number]].to(self.device)
        return xs.float() / 255 if xs.dtype == torch.uint8 else xs

    def sibling(self, model: str) -> PyroModel | None:
        """Return the model of that name and seed beside this one, or None if there is none."""
        own, dash, rest = self.file.parent.name.partition("-")
        if model == own:
            return self.model
        file = self.file.parent.with_name(f"{model}{dash}{rest}") / self.file.name
        return load_model(file).to(self.device) if file.exists() else None


@dataclass(frozen=True)
class Named:
    """A figure: whether a model has it, and how it is drawn."""

    applies: Callable[[Trained], bool]
    draw: Callable[[Trained], Figure]


def names_for(trained: Trained) -> list[str]:
    """Return the names of the figures that can be drawn for a model."""
    return [name for name, figure in FIGURES.items() if figure.applies(trained)]


def _has(column: str) -> Callable[[Trained], bool]:
    return lambda trained: column in trained.history


def _images(*classes: type, latents: int | None = None) -> Callable[[Trained], bool]:
    """Return a check that a model of images is of a class, and has this number of latents."""

    def applies(trained: Trained) -> bool:
        shape, own = trained.model.input_shape, getattr(trained.model, "latent_dim", None)
        return isinstance(trained.model, classes) and len(shape) == 3 and latents in (None, own)

    return applies


def _one_label(applies: Callable[[Trained], bool]) -> Callable[[Trained], bool]:
    return lambda trained: applies(trained) and not trained.model.multi_label


def _reliability(trained: Trained) -> Figure:
    test_ys = trained.dataset.test_ys.to(trained.device)
    probabilities = metrics.predict_in_chunks(
        trained.model, trained.dataset.test_xs.to(trained.device)
    )
    each = metrics.one_label_each(probabilities, test_ys)
    return plots.reliability(*each, f"{trained.title}\ntest set")


def _posterior(trained: Trained) -> Figure:
    """Draw the test set's codes by the VAE, and by the autoencoder if it exists."""
    xs, panels = trained.dataset.test_xs.to(trained.device), {}
    both = {
        "autoencoder: codes of the test set": "autoencoder_2d",
        "VAE: posterior means of the test set": "vae_2d",
    }
    for title, name in both.items():
        model = trained.sibling(name)
        if isinstance(model, VAE):
            panels[title] = model.encode(xs)[0]
    return plots.latent_positions(panels, trained.dataset.test_ys, trained.dataset.num_classes)


def _bottleneck(trained: Trained) -> Figure:
    """Draw the VAE of a latent in the plane, and the autoencoder if it exists."""
    rows = trained.comparison.config.test_rows
    points, components = trained.dataset.sample(rows, trained.seed + _TEST)
    models = {"autoencoder": trained.sibling("autoencoder"), "VAE": trained.sibling("vae")}
    panels = [
        plots.Bottleneck(title, points, components, model)
        for title, model in models.items()
        if isinstance(model, VAE)
    ]
    return plots.bottlenecks(panels)


def _in_the_plane(trained: Trained) -> bool:
    model = trained.model
    return isinstance(model, VAE) and model.input_shape == (2,) and model.latent_dim == 1


_CONDITIONAL = _images(M2, M1M2)

FIGURES = {
    "learning_curves": Named(
        _has("epoch"), lambda run: plots.learning_curves(run.history, run.title)
    ),
    "kl_by_dimension": Named(
        _has("validation_kl_z_0"), lambda run: plots.kl_by_dimension(run.history, run.title)
    ),
    "reliability": Named(_images(SSLModel), _reliability),
    "samples": Named(_images(M2, M1M2, CCVAE), lambda run: plots.class_samples(run.model)),
    "prior_samples": Named(_one_label(_CONDITIONAL), lambda run: plots.prior_samples(run.model)),
    "analogies": Named(
        _one_label(_CONDITIONAL), lambda run: plots.analogies(run.model, run.examples(10))
    ),
    "manifolds": Named(
        _one_label(_images(M2, M1M2, latents=2)), lambda run: plots.class_manifolds(run.model)
    ),
    "reconstructions": Named(
        _images(VAE, CCVAE),
        lambda run: plots.reconstructions(
            run.model, run.examples(10 if isinstance(run.model, CCVAE) else 12)
        ),
    ),
    "manifold": Named(
        lambda run: _images(VAE, latents=2)(run) and not isinstance(run.model, Autoencoder),
        lambda run: plots.manifold(run.model),
    ),
    "posterior": Named(_images(VAE, latents=2), _posterior),
    "class_swaps": Named(
        _one_label(_images(CCVAE)), lambda run: plots.class_swaps(run.model, run.examples(10))
    ),
    "characteristic_walks": Named(
        _images(CCVAE), lambda run: plots.characteristic_walks(run.model, run.examples(1)[0])
    ),
    "style_walks": Named(
        _images(CCVAE),
        lambda run: plots.style_walks(run.model, run.examples(10), run.examples(20)[-10:]),
    ),
    "class_variances": Named(_images(CCVAE), lambda run: plots.class_variances(run.model)),
    "interventions": Named(
        lambda run: _images(M2, MultiLabelCCVAE)(run) and run.model.multi_label,
        lambda run: plots.interventions(run.model, run.examples(10), run.dataset.attributes),
    ),
    "bottleneck": Named(_in_the_plane, _bottleneck),
}
