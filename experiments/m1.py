"""Trains and tests M1, and finds a trained one for the experiments that build on it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments import mnist_m1
from experiments.contender import Contender
from experiments.experiment import Experiment, Figures, Result, mean_with_error
from experiments.options import DataOptions, M1Options
from experiments.semi_supervised import fit_config, seeded_split, validation_rows
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData, load_dataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import load_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import VAE, Autoencoder, active_latents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FRAMES = 30


class M1Experiment(Experiment[ImageDataset]):
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

    def load(self) -> ImageDataset:
        """Return the data set, downloading it if need be."""
        return load_dataset(self.config.dataset, self.config.data_root)

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        for name in ("two_dimensional", "bound_samples"):
            del found[name]
        return found | {"validation": validation_rows(self.config, dataset)}

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
            result |= mean_with_error("test_log_prob_x", importance_weighted_bound(model, xs))
            return result, figures
        result["active_latents"] = len(active_latents(model, contender.data.unlabelled_xs))
        for k in sorted(self.config.bound_samples):
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


class Frames:
    """What a model shows as it learns, kept on disk so that a resumed run has all of it.

    Args:
        path: where to keep it.
        epochs: epochs of the run; some thirty of them, the early ones closer, are kept.
        picture: returns what to keep.
    """

    def __init__(self, path: Path, epochs: int, picture: Callable[[], Tensor]) -> None:
        self.path, self.picture = path, picture
        self.wanted = {0, *np.geomspace(1, epochs, _FRAMES).round().astype(int).tolist()}
        self.kept: dict[int, Tensor] = {}
        if path.exists():
            self.kept = torch.load(path, weights_only=True)

    def __call__(self, epoch: int) -> None:
        """Keep the picture after so many epochs, if it is wanted."""
        if epoch == 0:
            self.kept = {}
        if epoch in self.wanted:
            self.kept[epoch] = self.picture()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(self.kept, self.path)

    def forget(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def trained_m1(
    config: DataOptions, m1: M1Options, seed: int, dataset: ImageDataset
) -> tuple[VAE, dict[str, Any]]:
    """Return M1 and its results: from a finished run of `mnist_m1`, or trained now.

    Args:
        config: options of the experiment that needs it.
        m1: which M1.
        seed: the seed, of M1 as well, so that validation rows of one are those of the other.
        dataset: what it is trained on.

    Raises:
        ConfigError: if the finished run had other validation rows than `config` asks for.
    """
    shared = ("device", "precision", "compile", "cuda_graph", "data_root", "results_root", "quiet")
    experiment = M1Experiment(
        mnist_m1.Config(
            dataset=config.dataset,
            validation=config.validation,
            seeds=(seed,),
            tag=m1.tag,
            epochs=m1.epochs,
            latent_dim=m1.latent_dim,
            hidden_dims=m1.hidden_dims,
            two_dimensional=False,
            bound_samples=(1, 50),
            resume=True,
            **{name: getattr(config, name) for name in shared},
        )
    )
    path = experiment.paths["vae"] / f"seed_{seed}.pt"
    results = path.with_suffix(".json")
    if path.exists() and results.exists():
        print(f"M1 of seed {seed} is taken from {path}")
    else:
        print(f"M1 of seed {seed} is trained first, there is no finished run {path}")
        experiment.run()
    found: dict[str, Any] = json.loads(results.read_text())
    wanted = validation_rows(config, dataset)
    if found["validation_rows"] != wanted:
        raise ConfigError(
            f"{path} was trained with {found['validation_rows']} validation rows, this run has "
            f"{wanted}, some of which M1 has seen: use --validation {found['validation_rows']}, or "
            "another --m1.tag"
        )
    model = load_model(path)
    assert isinstance(model, VAE)
    return model.to(experiment.device), found


def _examples(data: SSLData) -> Tensor:
    return data.validation_xs if len(data.validation_xs) else data.unlabelled_xs
