"""Trains M2 on M1's latents, and tests both layers as one model."""

from dataclasses import replace
from typing import Any

import pandas as pd
import torch

from experiments import mnist_m1m2
from experiments.contender import Contender
from experiments.devices import launched_by_torchrun
from experiments.experiment import Figures, Result, mean_with_error
from experiments.m1 import trained_m1
from experiments.semi_supervised import SemiSupervised, fit_config, seeded_split
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import save_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import M1M2, VAE, LatentM2, active_latents, posteriors


class M1M2Experiment(SemiSupervised):
    """M2 on the latents of a trained M1.

    Args:
        config: the options of `mnist_m1m2`.
    """

    def __init__(self, config: mnist_m1m2.Config) -> None:
        if launched_by_torchrun():
            raise ConfigError("torchrun's processes would each train an M1: use --jobs instead")
        super().__init__("mnist_m1m2", config, ["m1m2"])
        self.config: mnist_m1m2.Config = config
        self._lower: tuple[VAE, tuple[int, ...], dict[str, Any]] | None = None

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        # Pixels are M1's business, and what M1 is, its own results say.
        del found["binarise"]
        return found | {"m1": self.config.m1.tag}

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build M2 on the posteriors of the seed's M1."""
        config = self.config
        split = seeded_split(config, dataset, seed, config.labels)
        images = SSLData.from_split(dataset, split).to(self.device)
        active: tuple[int, ...]
        if trial:
            vae, active = VAE(images.input_shape, 1, (1,)).to(self.device), (0,)
        else:
            vae, about = trained_m1(config, config.m1, seed, dataset)
            active = active_latents(vae, images.unlabelled_xs, config.active_threshold)
            self._lower = vae, active, about
        data = replace(
            images,
            labelled_xs=posteriors(vae, images.labelled_xs, active),
            unlabelled_xs=posteriors(vae, images.unlabelled_xs, active),
            validation_xs=posteriors(vae, images.validation_xs, active),
            real_valued=True,
        )
        torch.manual_seed(seed)
        model = LatentM2(
            num_inputs=len(active),
            num_classes=data.num_classes,
            latent_dim=config.latent_dim,
            hidden_dims=config.hidden_dims,
            batch_norm=config.batch_norm,
            input_dropout=config.input_dropout,
            classification_weight=self.weight_of_labels(data),
            num_summed=config.num_summed,
        ).to(self.device)
        how = replace(fit_config(config, self.device, seed), binarise=False)
        return [Contender("m1m2", seed, model, data, how, split.digest)]

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Put both layers together, classify the test rows, and evaluate the joint ELBO."""
        upper, seed = contender.model, contender.seed
        assert isinstance(upper, LatentM2)
        assert self._lower is not None
        vae, active, about = self._lower
        model = M1M2.on(vae, upper, active)
        save_model(model, self.folders[contender.name].file(seed, "_both_layers.pt"))
        split = seeded_split(self.config, dataset, seed, self.config.labels)
        images = SSLData.from_split(dataset, split).to(self.device)
        whole = replace(contender, model=model, data=images)
        result, figures = super().test(whole, frame, dataset)
        torch.manual_seed(seed)
        xs = dataset.test_xs.to(self.device)
        # M1 learned from drawn pixels: its bound is one on such pixels.
        bounds = importance_weighted_bound(model, xs.bernoulli() if about["binarised"] else xs)
        result |= mean_with_error("test_elbo", bounds)
        result |= {
            "active_latents": len(active),
            "m1_test_elbo": about["test_elbo"],
            "m1_epochs": about["config"]["epochs"],
            "m1_commit": about["commit"],
        }
        return result, figures
