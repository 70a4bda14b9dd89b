"""Trains an autoencoder and a VAE on points in the plane, and measures both against the truth."""

import hashlib

import pandas as pd
import torch

from experiments import gaussians_vae
from experiments.contender import Contender
from experiments.devices import resolve_precision
from experiments.experiment import Experiment, Figures, Result, mean_with_error
from pyro_ssl import plots
from pyro_ssl.data import GaussianMixture, SSLData, two_gaussians
from pyro_ssl.infer import FitConfig
from pyro_ssl.likelihoods import Gaussian
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import VAE, Autoencoder

# Seeds of the three parts of a seed's data must differ.
_VALIDATION, _TEST = 1_000_003, 2_000_003
_TITLES = {"autoencoder": "autoencoder", "vae": "VAE"}


class GaussiansExperiment(Experiment[GaussianMixture]):
    """An autoencoder and a VAE.

    Args:
        config: the options of `gaussians_vae`.
    """

    def __init__(self, config: gaussians_vae.Config) -> None:
        super().__init__("gaussians_vae", config, ["autoencoder", "vae"], "two-gaussians")
        self.config = config

    def load(self) -> GaussianMixture:
        """Return the distribution."""
        return two_gaussians()

    def contenders(
        self, dataset: GaussianMixture, seed: int, trial: bool = False
    ) -> list[Contender]:
        """Build both models on the same points."""
        config = self.config
        xs, _ = dataset.sample(config.train_rows, seed)
        validation_xs, _ = dataset.sample(config.validation, seed + _VALIDATION)
        data = SSLData.unlabelled(xs, validation_xs, real_valued=True).to(self.device)
        how = FitConfig(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            learning_rate_schedule="cosine",
            binarise=False,
            precision=resolve_precision(config.precision, self.device),
            compile=config.compile,
            cuda_graph=config.cuda_graph,
            seed=seed,
        )
        digest = hashlib.sha256(xs.numpy().tobytes()).hexdigest()[:16]
        found = []
        for name, cls in (("autoencoder", Autoencoder), ("vae", VAE)):
            torch.manual_seed(seed)
            scale = config.autoencoder_scale if cls is Autoencoder else None
            model = cls(
                input_shape=(2,),
                latent_dim=config.latent_dim,
                hidden_dims=config.hidden_dims,
                activation="elu",
                likelihood=Gaussian(scale, min_scale=config.min_scale),
            ).to(self.device)
            found.append(Contender(name, seed, model, data, how, digest))
        return found

    def test(
        self, contender: Contender, frame: pd.DataFrame, dataset: GaussianMixture
    ) -> tuple[Result, Figures]:
        """Measure the model on test points, and what it generates by the true density."""
        model, seed = contender.model, contender.seed
        assert isinstance(model, VAE)
        torch.manual_seed(seed)
        points, components = dataset.sample(self.config.test_rows, seed + _TEST)
        xs = points.to(self.device)
        codes, _ = model.encode(xs)
        with torch.no_grad():
            errors = (model.decode(codes) - xs).square().sum(-1)
            if isinstance(model, Autoencoder):
                # It has no prior. A normal distribution of its codes is as good as any.
                drawn = codes.mean(0) + codes.std(0) * torch.randn_like(codes)
            else:
                drawn = torch.randn_like(codes)
            generated = model.p_x(drawn).sample().cpu()
        result: Result = {
            "test_rows": len(xs),
            **mean_with_error("test_squared_error", errors),
            **mean_with_error("generated_true_log_prob", dataset.log_prob(generated)),
            **mean_with_error("test_true_log_prob", dataset.log_prob(points)),
        }
        panel = plots.Bottleneck(_TITLES[contender.name], points, components, model)
        if isinstance(model, Autoencoder):
            return result | mean_with_error(
                "test_log_prob_x_given_code", importance_weighted_bound(model, xs)
            ), {}
        for name, k in (("test_elbo", 1), ("test_bound_50", 50), ("test_bound_5000", 5000)):
            result |= mean_with_error(name, importance_weighted_bound(model, xs, k))
        other = self.trained("autoencoder", seed)
        assert isinstance(other, VAE)
        beside = plots.Bottleneck(_TITLES["autoencoder"], points, components, other)
        return result, {"bottleneck": plots.bottlenecks([beside, panel])}
