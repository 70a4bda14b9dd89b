"""Measures that experiments share: bounds, and the meaning of latents."""

from typing import Any

import torch

from experiments.engine.runner import Figures, Result
from experiments.engine.training import Contender, mean_with_error
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset
from pyro_ssl.metrics import importance_weighted_bound
from pyro_ssl.models import CCVAE


def measure_bound(
    contender: Contender, dataset: ImageDataset, config: Any, at_once: int = 4000
) -> Result:
    """Bound the test rows' log-likelihood; pixels are drawn if training draws them.

    Args:
        contender: the trained contender.
        dataset: the data set with the test rows.
        config: the options.
        at_once: number of rows to evaluate at a time.
    """
    torch.manual_seed(contender.seed)
    xs = dataset.test_xs.to(contender.device)
    xs = xs.bernoulli() if config.binarise else xs
    bounds = importance_weighted_bound(contender.model, xs, at_once=at_once)
    return mean_with_error("test_elbo", bounds)


def measure_latents(
    contender: Contender, dataset: ImageDataset, config: Any
) -> tuple[Result, Figures]:
    """Bound the test rows' log-likelihood, and draw the meaning of each latent of a CCVAE."""
    model = contender.model
    if not isinstance(model, CCVAE):
        return {}, {}
    result = measure_bound(contender, dataset, config)
    examples = contender.data.examples(20)
    return result, {
        "reconstructions": plots.reconstructions(model, examples[:10]),
        "samples": plots.class_samples(model),
        "class_swaps": plots.class_swaps(model, examples[:10]),
        "characteristic_walks": plots.characteristic_walks(model, examples[0]),
        "style_walks": plots.style_walks(model, examples[:10], examples[-10:]),
        "class_variances": plots.class_variances(model),
    }
