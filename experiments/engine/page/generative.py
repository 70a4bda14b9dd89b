"""Sections on samples of models, and on bounds of log p(x)."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from experiments.engine.page import commands
from experiments.engine.page.part import figures, part, swept
from experiments.engine.page.pictures import left_by_runs
from experiments.engine.page.tables import benchmark, measured
from pyro_ssl.report.markup import Html

_DIGITS = ("mnist_m1m2/m1m2-mnist-100", "mnist_m2/m2-mnist-100")
_SHAPE_RUNS = ("shapes_ccvae/multilabelccvae-shapes-150", "shapes_ccvae/multilabelm2-shapes-150")
_SWAPPED = ("mnist_ccvae/ccvae-mnist-486-sweep", "cifar10_ccvae/ccvae-cifar10-jpeg-4000")


def generated(root: Path, results: pd.DataFrame) -> Iterable[Html]:
    """Yield images drawn from models: samples, analogies, manifolds."""
    yield part(
        "samples", "Samples", "Means of p(x | y, z), a row for each class y, z from its prior.",
        (commands.M1M2, commands.M2), figures(left_by_runs(root, "samples", _DIGITS)),
    )  # fmt: skip
    yield part(
        "analogies", "Analogies", "An input, then its style z in each class.",
        (commands.M1M2, commands.M2), figures(left_by_runs(root, "analogies", _DIGITS)),
    )  # fmt: skip
    yield part(
        "manifolds", "Manifolds", "What two latents stand for, over quantiles of their prior.",
        (commands.TWO_D, commands.M1),
        figures(
            left_by_runs(root, "manifolds", ("mnist_m2/raoblackwellm2-mnist-100-2d",), 1),
            left_by_runs(root, "manifold", ("mnist_m1/vae_2d-mnist",), 1),
            left_by_runs(root, "posterior", ("mnist_m1/vae_2d-mnist",), 1),
        ),
    )  # fmt: skip


def interventions(root: Path, results: pd.DataFrame) -> Html:
    """Return the effect of changing an attribute."""
    text = (
        "Each attribute of 1,000 test images is changed, by its latent in CCVAE and by the "
        "decoder's input in M2, and judged by a classifier trained on all labels. Changed: the "
        "judge sees that attribute changed. Alone: it sees no other attribute changed. Others "
        "kept: the share of the other attributes that stayed. Class swaps show this for classes."
    )
    measures = ("intervention_changed", "intervention_alone", "intervention_others")
    rows = results[results["experiment"].isin(("shapes_ccvae", "celeba_ccvae"))]
    return part(
        "interventions", "Interventions", text,
        (*commands.ALL_SHAPES, commands.SWEEP, commands.CIFAR),
        measured(rows, measures, "Interventions on attributes, in percent"),
        measured(rows, ("test_accuracy", "test_ece"), "Attributes recognised, in percent"),
        figures(
            left_by_runs(root, "interventions", _SHAPE_RUNS),
            left_by_runs(root, "class_swaps", _SWAPPED),
            left_by_runs(root, "characteristic_walks", _SHAPE_RUNS[:1], 1),
        ),
    )  # fmt: skip


def bounds(root: Path, results: pd.DataFrame) -> Iterable[Html]:
    """Yield bounds on log p(x), and cases in which a bound misleads."""
    kinds = ("semantic_hashing", "gan_decoder_vae", "mnist_label_treatments")
    rows = results[~results["experiment"].isin(kinds) & ~swept(results)]
    measures = ("test_elbo", "test_bound_50", "test_bound_5000", "test_true_log_prob")
    text = (
        "ELBO of the test rows and importance-weighted bounds of 50 and 5,000 samples. Pixels of "
        "MNIST are drawn from a Bernoulli; the Gaussian likelihood has densities of grey values."
    )
    table = measured(rows, measures, "Bounds in nats a row")
    yield part(
        "bounds",
        "Bounds",
        text,
        (commands.M1, commands.M1_GAUSSIAN, commands.M1M2, commands.PLANE, commands.SHAPES),
        table,
    )
    plane = ("test_squared_error", "generated_true_log_prob")
    yield part(
        "plane", "What the KL is for",
        "Squared error of reconstructions through one dimension, and the true log p(x) of what "
        "each model generates.",
        (commands.PLANE,), measured(rows, plane, "An autoencoder and a VAE, in nats a point"),
        figures(left_by_runs(root, "bottleneck", ("gaussians_vae/vae-two-gaussians",), 1)),
    )  # fmt: skip
    yield approximation(root, results)


def approximation(root: Path, results: pd.DataFrame) -> Html:
    """Return cases in which the ELBO misleads."""
    text = (
        "Joint training of encoder and decoder, after training of the encoder alone. With an "
        "encoder that treats the bits of a mixture's component as independent, the ELBO rises at "
        "the expense of the evidence, and the centres move; a full encoder keeps them. With a "
        "GAN's generator as decoder, the ELBO rises by thousands of nats, and samples get worse."
    )
    mixture = ("drift", "elbo_encoder", "elbo_gain", "evidence_encoder", "evidence_gain")
    gan = (
        "frechet_joint", "elbo_encoder", "elbo_joint", "frechet_generator",
        "frechet_reconstructions", "frechet_joint_reconstructions",
    )  # fmt: skip
    both = "gmm_approximation/full-four-gaussians"
    moved = "gmm_approximation/factorised-four-gaussians"
    decoder = ("gan_decoder_vae/generatorvae-mnist-short",)
    names = ("elbo_and_distance", "generator", "joint")
    return part(
        "approximation", "Approximation error", text, (commands.MIXTURE, commands.GENERATOR),
        measured(results, mixture, "A mixture of four Gaussians, in nats a point"),
        measured(results, gan, "A GAN's generator as decoder: Frechet distances, nats an image"),
        figures(
            left_by_runs(root, "both_encoders", (both,), 1),
            left_by_runs(root, "posteriors", (moved,), 1),
            *[left_by_runs(root, name, decoder, 1) for name in names],
        ),
    )  # fmt: skip


def hashing(root: Path, results: pd.DataFrame) -> Html:
    """Return documents as bits."""
    text = (
        "20 Newsgroups as binary codes. A run's name states the encoder's input, its hidden "
        "layers, those of the decoder, and the bits of a code. Precision at 100 is the share of a "
        "test document's 100 nearest training documents that belong to its group."
    )
    measures = (
        "test_deviance_kl", "unigram_deviance", "test_elbo", "test_perplexity",
        "unigram_perplexity", "precision_at_100",
    )  # fmt: skip
    found = measured(results, measures, "Nats a document, perplexity a word, precision in percent")
    if not found:
        return Html("")
    columns = ("codes", "bits", "ms_a_query", "times_faster", "mib", "mib_of_floats")
    return part(
        "hashing", "Hashing", text,
        (*commands.ALL_CODES, "python -m benchmarks.retrieval"), found,
        benchmark(root, "retrieval", columns, "One query among so many codes"),
    )  # fmt: skip
