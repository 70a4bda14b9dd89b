"""Trains M2 on M1's latents, and tests both layers as one model."""

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch

from experiments import mnist_m1m2
from experiments.contender import Contender
from experiments.devices import launched_by_torchrun
from experiments.experiment import Figures, Result, mean_with_error
from experiments.m1_source import M1Source, TrainedM1
from experiments.rows import labelled_rows, seeded_split
from experiments.semi_supervised import SemiSupervised, fit_config
from pyro_ssl.data import ImageDataset, SSLData
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import save_model
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import M1M2, VAE, LatentM2, posteriors


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
        self.source = M1Source(config, config.m1, config.active_threshold)
        self._m1: dict[int, TrainedM1] = {}

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        # Pixels are M1's business, and what M1 is, its own results say.
        del found["binarise"]
        return found | {"m1": self.config.m1.tag}

    def contenders(self, dataset: ImageDataset, seed: int, trial: bool = False) -> list[Contender]:
        """Build M2 on the posteriors of the seed's M1."""
        config = self.config
        split = seeded_split(config, dataset, seed, labelled_rows(config, dataset))
        images = SSLData.from_split(dataset, split).to(self.device)
        if trial:
            self.source.check(dataset, self.seeds_to_run())
            vae: VAE = VAE(images.input_shape, 1, (1,)).to(self.device)
            active: tuple[int, ...] = (0,)
        else:
            self._m1 = {seed: self.source.get(seed, dataset)}
            vae, active = self._m1[seed].vae, self._m1[seed].active
            self._check_pinned(seed)
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
            alpha=config.alpha,
            num_summed=config.num_summed,
        ).to(self.device)
        how = replace(fit_config(config, self.device, seed), binarise=False)
        watch = None if trial else partial(self._pin_m1, seed)
        return [Contender("m1m2", seed, model, data, how, split.digest, watch)]

    def _pin_m1(self, seed: int, epoch: int) -> None:
        """Note at the start which M1 this M2 is trained on, for a run that is resumed."""
        if epoch == 0 and "m1m2" in self.folders:
            self.folders["m1m2"].write(seed, "_m1.txt", self._m1[seed].digest)

    def _check_pinned(self, seed: int) -> None:
        pinned = self.paths["m1m2"] / f"seed_{seed}_m1.txt"
        if self.config.resume and pinned.exists():
            theirs, ours = pinned.read_text(), self._m1[seed].digest
            if theirs != ours:
                raise ConfigError(
                    f"the unfinished run of seed {seed} was trained on another M1 ({theirs}, now "
                    f"{ours}): start it again with --overwrite"
                )

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: ImageDataset
    ) -> tuple[Result, Figures]:
        """Put both layers together, classify the test rows, and evaluate the joint ELBO."""
        upper, seed = contender.model, contender.seed
        assert isinstance(upper, LatentM2)
        m1 = self._m1[seed]
        model = M1M2.on(m1.vae, upper, m1.active)
        folder = self.folders[contender.name]
        save_model(model, folder.file(seed, "_both_layers.pt"))
        labels = labelled_rows(self.config, dataset)
        split = seeded_split(self.config, dataset, seed, labels)
        images = SSLData.from_split(dataset, split).to(self.device)
        whole = replace(contender, model=model, data=images)
        result, figures = super().test(whole, frame, dataset)
        torch.manual_seed(seed)
        xs = dataset.test_xs.to(self.device)
        # M1 learned from drawn pixels: its bound is one on such pixels.
        bounds = importance_weighted_bound(model, xs.bernoulli() if m1.results["binarised"] else xs)
        result |= mean_with_error("test_elbo", bounds)
        result |= {
            "active_latents": len(m1.active),
            "m1_digest": m1.digest,
            "m1_test_elbo": m1.results["test_elbo"],
            "m1_commit": m1.results["commit"],
            "m1_config": m1.results["config"],
        }
        folder.file(seed, "_m1.txt").unlink(missing_ok=True)
        return result, figures
