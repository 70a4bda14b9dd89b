"""M2 with one label drawn, and a learned baseline."""

import math
from itertools import dropwhile
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_ssl.elbos.sampled import ScoreFunction_ELBO
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.rows import Rows
from pyro_ssl.nets.mlp import MLP
from pyro_ssl.option_kinds import Widths
from pyro_ssl.options import checked


class ApproxM2(M2):
    """M2 that draws one label from q(y|x) for each unlabelled row.

    p, q and the objective are those of `M2`. With f = log p(x,y,z) - log q(y,z|x) at the draw,
    the gradient of q(y|x)'s parameters is estimated by the score function::

        (f - b(x)) grad log q(y|x)

    The baseline b(x) is a network that learns to predict f by least squares. The estimate is
    unbiased for any b; b only lowers the variance. The guide's site "y" holds the baseline in
    the form that Pyro's `TraceGraph_ELBO` reads. `pyro_ssl.infer.fit` scales the terms of the loss:
    b then learns the scaled f, and its loss contributes to the gradient's norm. Under Pyro's
    `Trace_ELBO` and `TraceEnum_ELBO` the gradient is unbiased too, but without a baseline.

    Source: the model ApproxM2 of the vae_ssl project; the estimator is that of Mnih and Gregor,
    "Neural variational inference and learning in belief networks", ICML 2014, with their
    input-dependent baseline.

    Differs from the papers: no running mean or variance of the cost beside the baseline; the model
    is this library's `M2`, which itself differs from Kingma et al. 2014.

    Args:
        baseline_dims: widths of the baseline's hidden layers.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    sums_labels = False

    @checked
    def __init__(self, baseline_dims: Widths = (100,), **options: Any) -> None:
        super().__init__(**options)
        self.baseline_dims = tuple(baseline_dims)
        seen = math.prod(self.likelihood.feature_shape(self.input_shape))
        self.baseline = MLP(seen, baseline_dims, 1, activation=self.activation)

    def make_elbo(self) -> ELBO:
        """Return a `TraceGraph_ELBO`, which uses the baseline, with a loss that is a tensor."""
        return ScoreFunction_ELBO(max_plate_nesting=1)

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        if rows.ys is not None or not self.training:
            return super()._label_in_guide(rows, scores)

        def baseline(features: Tensor) -> Tensor:
            # Pyro expects the shape of its costs: that of the draws, also with several particles,
            # without leading dimensions of size 1.
            values = self.baseline(features).squeeze(-1).expand(y.shape)
            return values.view(_without_leading_ones(y.shape))

        given = {"nn_baseline": baseline, "nn_baseline_input": self._flat(rows.xs)}
        y = pyro.sample("y", dist.Categorical(logits=scores), infer={"baseline": given})
        return y


def _without_leading_ones(shape: torch.Size) -> list[int]:
    return list(dropwhile(lambda size: size == 1, shape))
