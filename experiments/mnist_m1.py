"""M1, the variational autoencoder, on MNIST: bounds, pictures, and the effect of the KL.

Trains a VAE on the training rows without their labels, chooses the epoch by the ELBO of
validation rows, and evaluates the ELBO and importance-weighted bounds of the test rows, once. A
VAE and a plain autoencoder of two latent dimensions, trained beside it, show the latent space;
--objective, --prior and the options that go with them are not for these two. An animation shows
the test rows there; nothing is chosen by it, and no figure comes from it.
Writes per-seed CSV, JSON, checkpoint, figures and two animations to RESULTS_ROOT/mnist_m1/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.engine.options import TrainingOptions, option
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from experiments.engine.frames import Frames
    from experiments.engine.runner import Comparison, Figures, Result, SeedRun
    from experiments.engine.training import Contender
    from pyro_ssl.data import ImageDataset, SSLData
    from pyro_ssl.models import VAE


@dataclass(frozen=True)
class Config(TrainingOptions):
    """Options of the experiment."""

    epochs: int = 200
    """Epochs, each one pass over the training rows."""
    latent_dim: int = 50
    """Dimensions of the latent z."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of the encoder, reversed in the decoder."""
    activation: Literal["softplus", "relu", "elu", "tanh"] = "softplus"
    """Activation of the hidden layers."""
    batch_norm: bool = True
    """Batch norm before each activation."""
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    """p(x|z): Bernoulli, or Gaussian with a learned scale on unchanged pixels."""
    objective: Literal["elbo", "iwae"] = option("elbo", recorded=lambda c: c.objective != "elbo")
    """What is maximised: the ELBO, or the importance-weighted bound (IWAE) of --num-particles."""
    num_particles: int = option(1, recorded=lambda c: c.num_particles > 1)
    """Draws of z for each row in training."""
    prior: Literal["normal", "mixture", "vamp"] = option(
        "normal", recorded=lambda c: c.prior != "normal"
    )
    """p(z): normal, a learned mixture, or a VampPrior, for which there must be no batch norm."""
    num_components: int = option(500, recorded=lambda c: c.prior != "normal")
    """Components of a learned prior."""
    bound_samples: tuple[int, ...] = option((1, 50, 5000), recorded=False)
    """Numbers of samples k of the importance-weighted bounds of the test rows; k = 1, the ELBO, is
    always included; k = 5000 takes a quarter of an hour for MNIST on two cores."""
    two_dimensional: bool = option(True, recorded=False)
    """Also train the VAE and the autoencoder of two latent dimensions."""
    epochs_2d: int = 50
    """Epochs of these two."""

    @property
    def draws_pixels(self) -> bool:
        """Whether pixels are drawn: a Gaussian likelihood takes them unchanged."""
        return self.binarise and self.likelihood == "bernoulli"


def build(name: str, config: Config, data: "SSLData") -> "VAE":
    """Return the model of that name, newly initialised."""
    from pyro_ssl.models import VAE, Autoencoder

    own: dict[str, Any] = {}
    if name == "vae":
        own = {
            "prior": config.prior,
            "num_components": config.num_components,
            "num_samples": config.num_particles,
            "importance_weighted": config.objective == "iwae",
        }
    return (Autoencoder if name == "autoencoder_2d" else VAE)(
        input_shape=data.input_shape,
        latent_dim=2 if name.endswith("_2d") else config.latent_dim,
        hidden_dims=config.hidden_dims,
        activation=config.activation,
        batch_norm=config.batch_norm,
        likelihood=config.likelihood,
        **own,
    )


def contenders(run: "SeedRun") -> "list[Contender]":
    """Build the models on the same rows, those of two dimensions from the same weights."""
    import torch

    from experiments.engine.semi_supervised import seeded_split
    from experiments.engine.training import Contender, fit_config
    from pyro_ssl.data import SSLData

    config, xs = run.config, run.dataset.train_xs
    split = seeded_split(config, run.dataset, run.seed, 0)
    data = SSLData.unlabelled(xs[split.unlabelled], xs[split.validation]).to(run.device)
    how = replace(fit_config(config, run.device, run.seed), binarise=config.draws_pixels)
    found = []
    for name in run.comparison.models:
        torch.manual_seed(run.seed)
        model = build(name, config, data).to(run.device)
        own = replace(how, epochs=config.epochs_2d) if name.endswith("_2d") else how
        watch = _watch(name, run, model, data, own.epochs)
        found.append(Contender(name, run, model, data, own, split.digest, watch))
    return found


def measure(
    contender: "Contender", dataset: "ImageDataset", config: Config
) -> "tuple[Result, Figures]":
    """Evaluate the bounds of the test rows and draw the figures."""
    import torch

    from experiments.engine.training import mean_with_error
    from pyro_ssl import plots
    from pyro_ssl.metrics import importance_weighted_bound
    from pyro_ssl.models import VAE, Autoencoder, active_latents

    model = contender.model
    assert isinstance(model, VAE)
    torch.manual_seed(contender.seed)
    grey = dataset.test_xs.to(contender.device)
    xs = grey.bernoulli() if config.draws_pixels else grey
    figures = {"reconstructions": plots.reconstructions(model, _examples(contender.data)[:12])}
    result: Result = {"test_rows": len(xs), "binarised": config.draws_pixels}
    if isinstance(model, Autoencoder):
        given_code = importance_weighted_bound(model, xs)
        return result | mean_with_error("test_log_prob_x_given_code", given_code), figures
    result["active_latents"] = len(active_latents(model, contender.data.unlabelled_xs))
    for k in sorted({1, *config.bound_samples}):
        # For the two-dimensional model, only fast measures.
        if k > 50 and contender.name == "vae_2d":
            continue
        name = "test_elbo" if k == 1 else f"test_bound_{k}"
        result |= mean_with_error(name, importance_weighted_bound(model, xs, k))
    if contender.name == "vae_2d":
        autoencoder: Any = contender.run.trained("autoencoder_2d")
        panels = {
            "autoencoder: codes of the test set": autoencoder.encode(grey)[0],
            "VAE: posterior means of the test set": model.encode(grey)[0],
        }
        figures["manifold"] = plots.manifold(model)
        figures["posterior"] = plots.latent_positions(panels, dataset.test_ys, dataset.num_classes)
    _save_animation(contender, dataset)
    return result, figures


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.runner import Comparison
    from experiments.engine.semi_supervised import image_settings, load_images
    from experiments.engine.training import check_contenders, fit_contenders

    if not config.bound_samples or min(config.bound_samples) < 1:
        raise ConfigError(
            f"bound_samples is {config.bound_samples}, expected numbers of at least 1"
        )

    return Comparison(
        name="mnist_m1",
        config=config,
        models=("vae", *["autoencoder_2d", "vae_2d"] * config.two_dimensional),
        suffix=config.dataset,
        load=load_images,
        settings=partial(image_settings, config),
        check=partial(check_contenders, contenders),
        run_seed=partial(fit_contenders, contenders, (measure,)),
    )


def _watch(
    name: str, run: "SeedRun", model: "VAE", data: "SSLData", epochs: int
) -> "Frames | None":
    """Return the pictures to keep of a model while it trains, for its animation."""
    from experiments.engine.frames import Frames

    if name == "autoencoder_2d":
        return None
    path = run.file(name, "_frames.pt")
    if name == "vae_2d":
        xs = run.dataset.test_xs.to(run.device)
        return Frames(path, epochs, lambda: model.encode(xs)[0].cpu())
    examples = _examples(data)[:25]
    return Frames(path, epochs, lambda: model.decode(model.encode(examples)[0]).cpu())


def _save_animation(contender: "Contender", dataset: "ImageDataset") -> None:
    from experiments.engine.frames import Frames
    from pyro_ssl import plots

    frames, run = contender.watch, contender.run
    if not isinstance(frames, Frames) or not frames.kept:
        return
    pictures = []
    if contender.name == "vae_2d":
        for epoch, codes in frames.kept.items():
            title = f"VAE: posterior means of the test set, epoch {epoch}"
            pictures.append(plots.latent_positions({title: codes}, dataset.test_ys, limit=4.0))
        plots.save_animation(pictures, run.file(contender.name, "_positions.gif"))
    else:
        originals = _examples(contender.data)[:25]
        for epoch, images in frames.kept.items():
            pictures.append(plots.reconstruction_frame(originals, images, f"epoch {epoch}"))
        plots.save_animation(pictures, run.file(contender.name, "_reconstructions.gif"))
    frames.forget()


def _examples(data: "SSLData") -> "Tensor":
    return data.validation_xs if len(data.validation_xs) else data.unlabelled_xs


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
