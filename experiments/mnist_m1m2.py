"""M1+M2 of Kingma et al. (2014) on MNIST with 100 labels: M2 on the latents of M1.

Takes M1 from a finished run of `mnist_m1` with the same seed, or trains it first. Trains M2 on
M1's active latents, drawn anew in every step from M1's posteriors of grey images; the epoch is
chosen on validation rows that neither layer was trained on. Both layers together are then tested
as one model: accuracy and calibration on grey images, and, like M1's, the ELBO of the joint
program on pixels drawn from them. The test set is read once.
Writes per-seed CSV, JSON, checkpoints and figures to RESULTS_ROOT/mnist_m1m2/.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import tyro

from experiments import mnist_m1
from experiments.engine.m1 import M1Options, M1Source
from experiments.engine.options import SemiSupervisedOptions, option
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    from experiments.engine.m1 import TrainedM1
    from experiments.engine.runner import Comparison, Figures, Result, SeedRun
    from experiments.engine.training import Contender
    from pyro_ssl.data import ImageDataset, SSLData
    from pyro_ssl.models import VAE, LatentM2

NAME = "m1m2"


@dataclass(frozen=True)
class Config(SemiSupervisedOptions):
    """Options of the experiment."""

    binarise: Annotated[bool, tyro.conf.Suppress] = option(True, recorded=False)
    """Not used: M1 decides about pixels."""
    epochs: int = 300
    """Epochs of M2; each is a pass over the rows, labelled or unlabelled, that need more steps."""
    latent_dim: int = 10
    """Dimensions of M2's latent z2."""
    hidden_dims: tuple[int, ...] = (500,)
    """Units of each hidden layer of M2's classifier and encoder, reversed in its decoder."""
    num_summed: int | None = 1
    """Number of most probable classes to sum for each unlabelled row; one of the others is drawn
    (RaoBlackwell_ELBO). None to sum all."""
    active_threshold: float = 0.1
    """Keep the latents of M1 whose posterior means have a larger standard deviation."""
    m1: M1Options = option(M1Options(), recorded_as=lambda m1: m1.tag)


def source(config: Config) -> M1Source:
    """Return where M1 is found."""
    return M1Source(
        config, config.m1, config.active_threshold, mnist_m1.Config, mnist_m1.comparison
    )


def build(config: Config, data: "SSLData") -> "LatentM2":
    """Return M2 on the latents of M1, newly initialised."""
    from pyro_ssl.models import LatentM2

    return LatentM2(
        num_inputs=data.input_shape[-1],
        num_classes=data.num_classes,
        latent_dim=config.latent_dim,
        hidden_dims=config.hidden_dims,
        batch_norm=config.batch_norm,
        input_dropout=config.input_dropout,
        alpha=config.alpha,
        num_summed=config.num_summed,
    )


def check(run: "SeedRun") -> None:
    """Raise an error if the options are invalid, without an M1."""
    from experiments.engine.training import check_contenders
    from pyro_ssl.models import VAE

    source(run.config).check(run)
    vae: VAE = VAE(run.dataset.input_shape, 1, (1,)).to(run.device)
    check_contenders(lambda run: [_contender(run, vae, (0,))], run)


def contenders(run: "SeedRun") -> "list[Contender]":
    """Build M2 on the posteriors of the seed's M1."""
    m1 = source(run.config).get(run.seed, run.dataset)
    started_on = run.file(NAME, "_m1.txt")
    if run.config.resume and started_on.exists() and started_on.read_text() != m1.digest:
        raise ConfigError(
            f"the unfinished run of seed {run.seed} was trained on another M1 "
            f"({started_on.read_text()}, now {m1.digest}): start it again with --overwrite"
        )
    found = _contender(run, m1.vae, m1.active)
    # Not the values of the latents, whose rounding depends on the number of threads.
    identity = f"{run.dataset.digest}, split {found.split_digest}, latents of M1 {m1.digest}"
    watch = partial(_note_m1, run, m1)
    return [replace(found, builds_on=m1, watch=watch, identity=identity)]


def _contender(run: "SeedRun", vae: "VAE", active: tuple[int, ...]) -> "Contender":
    import torch

    from experiments.engine.training import Contender, fit_config
    from pyro_ssl.models import posteriors

    config = run.config
    images, digest = _images(run)
    data = replace(
        images,
        labelled_xs=posteriors(vae, images.labelled_xs, active),
        unlabelled_xs=posteriors(vae, images.unlabelled_xs, active),
        validation_xs=posteriors(vae, images.validation_xs, active),
        real_valued=True,
    )
    torch.manual_seed(run.seed)
    model = build(config, data).to(run.device)
    how = replace(fit_config(config, run.device, run.seed), binarise=False)
    return Contender(NAME, run, model, data, how, digest)


def _images(run: "SeedRun") -> "tuple[SSLData, str]":
    """Return the rows as images, and the digest of their split."""
    from experiments.engine.semi_supervised import labelled_rows, seeded_split
    from pyro_ssl.data import SSLData

    labels = labelled_rows(run.config, run.dataset)
    split = seeded_split(run.config, run.dataset, run.seed, labels)
    return SSLData.from_split(run.dataset, split).to(run.device), split.digest


def _note_m1(run: "SeedRun", m1: "TrainedM1", epoch: int) -> None:
    """Store at the start which M1 this M2 is trained on, for a run that is resumed."""
    if epoch == 0:
        run.folders[NAME].write(run.seed, "_m1.txt", m1.digest)


def measure(
    contender: "Contender", dataset: "ImageDataset", config: Config
) -> "tuple[Result, Figures]":
    """Put both layers together, classify the test rows, and evaluate the joint ELBO."""
    import torch

    from experiments.engine.semi_supervised import draw_classes, measure_classification
    from experiments.engine.training import mean_with_error
    from pyro_ssl.infer import save_model
    from pyro_ssl.metrics import importance_weighted_bound
    from pyro_ssl.models import M1M2, LatentM2

    upper, m1, run = contender.model, contender.builds_on, contender.run
    assert isinstance(upper, LatentM2)
    model = M1M2.on(m1.vae, upper, m1.active)
    save_model(model, run.file(NAME, "_both_layers.pt"))
    whole = replace(contender, model=model, data=_images(run)[0])
    result, figures = measure_classification(whole, dataset, config)
    figures = {**figures, **draw_classes(whole, dataset, config)[1]}
    torch.manual_seed(contender.seed)
    xs = dataset.test_xs.to(contender.device)
    # M1 learnt from drawn pixels, so its bound is for drawn pixels.
    bounds = importance_weighted_bound(model, xs.bernoulli() if m1.results["binarised"] else xs)
    result |= mean_with_error("test_elbo", bounds)
    run.file(NAME, "_m1.txt").unlink(missing_ok=True)
    return result | m1.about() | {"m1_test_elbo": m1.results["test_elbo"]}, figures


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.semi_supervised import semi_supervised
    from experiments.engine.training import fit_contenders

    found = semi_supervised("mnist_m1m2", config, {NAME: build}, (measure,))
    run_seed = partial(fit_contenders, contenders, (measure,))
    return replace(found, check=check, run_seed=run_seed, shared=False)


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
