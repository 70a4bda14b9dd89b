"""An autoencoder and a VAE with a one-dimensional bottleneck, on two Gaussians in the plane.

Both have the same networks, except for the decoder's last layer, and a Gaussian likelihood. The VAE
learns its scale. The autoencoder's scale is fixed, so that it minimises the squared error: with a
learned scale, it would gain by encoding one coordinate exactly and dropping the other. Measured on
test points: reconstruction error; for the VAE, its ELBO and importance-weighted bounds beside the
mean of the true log p(x), which no bound exceeds in expectation; and the true log-density of each
model's samples. Writes per-seed CSV, JSON, checkpoints and figures to RESULTS_ROOT/gaussians_vae/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import tyro

from experiments.engine.options import RunOptions, option, recorded_options

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison, Figures, Result, SeedRun
    from experiments.engine.training import Contender
    from pyro_ssl.data import GaussianMixture
    from pyro_ssl.models import VAE

# The seeds of a run's training, validation and test points must differ.
_VALIDATION, _TEST = 1_000_003, 2_000_003


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    train_rows: int = 4000
    """Points to train on, drawn by the seed."""
    validation: int = 1000
    """Points to choose the epoch on."""
    test_rows: int = 5000
    """Points to test on."""
    epochs: int = 100
    """Epochs, each one pass over the training points."""
    batch_size: int = 100
    """Points per step."""
    learning_rate: float = 3e-3
    """Adam's initial step size; it falls to 0 along a half cosine."""
    latent_dim: int = 1
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of the encoder, reversed in the decoder."""
    min_scale: float = 0.05
    """The smallest scale of the VAE's p(x|z), in the units of x."""
    autoencoder_scale: float = 0.3
    """The scale of the autoencoder's p(x|z), in the units of x."""
    tuning: bool = option(False, recorded=False)
    """A trial, by which options are chosen: nothing is tested; figures of the validation part
    become a row of RESULTS_ROOT/tuning/EXPERIMENT.csv."""


def load(config: Config) -> "GaussianMixture":
    """Return the distribution."""
    from pyro_ssl.data import two_gaussians

    return two_gaussians()


def build(name: str, config: Config) -> "VAE":
    """Return the model of that name, newly initialised."""
    from pyro_ssl.likelihoods import Gaussian
    from pyro_ssl.models import VAE, Autoencoder

    return (Autoencoder if name == "autoencoder" else VAE)(
        input_shape=(2,),
        latent_dim=config.latent_dim,
        hidden_dims=config.hidden_dims,
        activation="elu",
        likelihood=Gaussian(
            config.autoencoder_scale if name == "autoencoder" else None,
            min_scale=config.min_scale,
        ),
    )


def contenders(run: "SeedRun") -> "list[Contender]":
    """Build both models on the same points."""
    import hashlib

    import torch

    from experiments.engine.training import Contender
    from pyro_ssl.data import SSLData
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.infer.devices import resolve_precision

    config = run.config
    xs, _ = run.dataset.sample(config.train_rows, run.seed)
    validation_xs, _ = run.dataset.sample(config.validation, run.seed + _VALIDATION)
    data = SSLData.unlabelled(xs, validation_xs, real_valued=True).to(run.device)
    how = FitConfig(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_schedule="cosine",
        binarise=False,
        precision=resolve_precision(config.precision, run.device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        engine=config.engine,
        seed=run.seed,
    )
    digest = hashlib.sha256(xs.numpy().tobytes()).hexdigest()[:16]
    found = []
    for name in run.comparison.models:
        torch.manual_seed(run.seed)
        model = build(name, config).to(run.device)
        found.append(Contender(name, run, model, data, how, digest))
    return found


def measure(
    contender: "Contender", dataset: "GaussianMixture", config: Config
) -> "tuple[Result, Figures]":
    """Measure the model on test points, and its samples by the true density."""
    import torch

    from experiments.engine.training import mean_with_error
    from pyro_ssl import plots
    from pyro_ssl.metrics import importance_weighted_bound
    from pyro_ssl.models import VAE, Autoencoder

    model, seed = contender.model, contender.seed
    assert isinstance(model, VAE)
    torch.manual_seed(seed)
    points, components = dataset.sample(config.test_rows, seed + _TEST)
    xs = points.to(contender.device)
    codes, _ = model.encode(xs)
    with torch.no_grad():
        errors = (model.decode(codes) - xs).square().sum(-1)
        if isinstance(model, Autoencoder):
            # It has no prior, so its samples use a normal distribution fitted to its codes.
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
    if isinstance(model, Autoencoder):
        given_code = importance_weighted_bound(model, xs)
        return result | mean_with_error("test_log_prob_x_given_code", given_code), {}
    for name, k in (("test_elbo", 1), ("test_bound_50", 50), ("test_bound_5000", 5000)):
        result |= mean_with_error(name, importance_weighted_bound(model, xs, k))
    autoencoder: Any = contender.run.trained("autoencoder")
    panels = [
        plots.Bottleneck(title, points, components, vae)
        for title, vae in (("autoencoder", autoencoder), ("VAE", model))
    ]
    return result, {"bottleneck": plots.bottlenecks(panels)}


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.runner import Comparison
    from experiments.engine.training import check_contenders, fit_contenders

    return Comparison(
        name="gaussians_vae",
        config=config,
        models=("autoencoder", "vae"),
        suffix="two-gaussians",
        load=load,
        settings=lambda model, dataset: recorded_options(config),
        check=partial(check_contenders, contenders),
        run_seed=partial(fit_contenders, contenders, (measure,)),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
