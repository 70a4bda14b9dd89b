"""Trains and tests M1, and finds a trained one for the experiments that build on it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from experiments import mnist_m1
from experiments.contender import Contender
from experiments.experiment import Figures, Result, mean_with_error
from experiments.frames import Frames
from experiments.rows import seeded_split
from experiments.semi_supervised import ImageExperiment, fit_config
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import VAE, Autoencoder, active_latents

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class M1Experiment(ImageExperiment):
    """A VAE, and beside it a VAE and an autoencoder of two latent dimensions.

    Args:
        config: the options of `mnist_m1`.
    """

    def __init__(self, config: mnist_m1.Config) -> None:
        if not config.bound_samples or min(config.bound_samples) < 1:
            raise ConfigError(
                f"bound_samples is {config.bound_samples}, expected numbers of at least 1"
            )
        names = ["vae"] + ["autoencoder_2d", "vae_2d"] * config.two_dimensional
        super().__init__("mnist_m1", config, names, config.dataset)
        self.config = config

    @property
    def binarise(self) -> bool:
        """Whether pixels are drawn: a Gaussian likelihood takes them as they are."""
        return self.config.binarise and self.config.likelihood == "bernoulli"

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        for name in ("two_dimensional", "bound_samples"):
            del found[name]
        return found

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build the models on the same rows, those of two dimensions from the same weights."""
        config = self.config
        split = seeded_split(config, dataset, seed, 0)
        xs = dataset.train_xs
        data = SSLData.unlabelled(xs[split.unlabelled], xs[split.validation]).to(self.device)
        how = replace(fit_config(config, self.device, seed), binarise=self.binarise)
        found = []
        for name in self.paths:
            torch.manual_seed(seed)
            flat = name.endswith("_2d")
            model = (Autoencoder if name == "autoencoder_2d" else VAE)(
                input_shape=data.input_shape,
                latent_dim=2 if flat else config.latent_dim,
                hidden_dims=config.hidden_dims,
                activation=config.activation,
                batch_norm=config.batch_norm,
                likelihood=config.likelihood,
            ).to(self.device)
            how_it = replace(how, epochs=config.epochs_2d) if flat else how
            watch = None if trial else self._watch(name, model, seed, dataset, how_it.epochs)
            found.append(Contender(name, seed, model, data, how_it, split.digest, watch))
        return found

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Evaluate the bounds of the test rows and draw the figures."""
        model, seed = contender.model, contender.seed
        assert isinstance(model, VAE)
        torch.manual_seed(seed)
        grey = dataset.test_xs.to(self.device)
        xs = grey.bernoulli() if self.binarise else grey
        examples = _examples(contender.data)
        figures = {"reconstructions": plots.reconstructions(model, examples[:12])}
        result: Result = {"test_rows": len(xs), "binarised": self.binarise}
        if isinstance(model, Autoencoder):
            given_code = importance_weighted_bound(model, xs)
            return result | mean_with_error("test_log_prob_x_given_code", given_code), figures
        result["active_latents"] = len(active_latents(model, contender.data.unlabelled_xs))
        for k in sorted({1, *self.config.bound_samples}):
            # Of the two-dimensional model, only what takes no time.
            if k > 50 and contender.name == "vae_2d":
                continue
            name = "test_elbo" if k == 1 else f"test_bound_{k}"
            result |= mean_with_error(name, importance_weighted_bound(model, xs, k))
        if contender.name == "vae_2d":
            figures["manifold"] = plots.manifold(model)
            figures["posterior"] = self._both_posteriors(model, seed, grey, dataset)
        self._save_animation(contender, dataset)
        return result, figures

    def _both_posteriors(self, vae: VAE, seed: int, xs: Tensor, dataset: ImageDataset) -> "Figure":
        other = self.trained("autoencoder_2d", seed)
        assert isinstance(other, VAE)
        panels = {
            "autoencoder: codes of the test set": other.encode(xs)[0],
            "VAE: posterior means of the test set": vae.encode(xs)[0],
        }
        return plots.latent_positions(panels, dataset.test_ys, dataset.num_classes)

    def _watch(
        self, name: str, model: VAE, seed: int, dataset: ImageDataset, epochs: int
    ) -> "Frames | None":
        """Return what to keep of a model while it trains, for its animation."""
        if name == "autoencoder_2d":
            return None
        path = self.paths[name] / f"seed_{seed}_frames.pt"
        if name == "vae_2d":
            xs = dataset.test_xs.to(self.device)
            return Frames(path, epochs, lambda: model.encode(xs)[0].cpu())
        split = seeded_split(self.config, dataset, seed, 0)
        chosen = split.validation if len(split.validation) else split.unlabelled
        examples = dataset.train_xs[chosen[:25]].to(self.device)
        return Frames(path, epochs, lambda: model.decode(model.encode(examples)[0]).cpu())

    def _save_animation(self, contender: Contender, dataset: ImageDataset) -> None:
        frames = contender.watch
        if not isinstance(frames, Frames) or not frames.kept:
            return
        folder, seed = self.folders[contender.name], contender.seed
        pictures = []
        if contender.name == "vae_2d":
            limit = 4.0
            for epoch, codes in frames.kept.items():
                title = f"VAE: posterior means of the test set, epoch {epoch}"
                pictures.append(
                    plots.latent_positions({title: codes}, dataset.test_ys, limit=limit)
                )
            path = folder.file(seed, "_positions.gif")
        else:
            originals = _examples(contender.data)[:25]
            for epoch, images in frames.kept.items():
                pictures.append(plots.reconstruction_frame(originals, images, f"epoch {epoch}"))
            path = folder.file(seed, "_reconstructions.gif")
        plots.save_animation(pictures, path)
        frames.forget()


def _examples(data: SSLData) -> Tensor:
    return data.validation_xs if len(data.validation_xs) else data.unlabelled_xs
