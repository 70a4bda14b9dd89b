"""A penalty on a model's weights, added to the loss."""

import re

import torch
from torch import Tensor, nn

from pyro_ssl.errors import ConfigError


class Penalty:
    """l1 sum |w| + l2 sum w^2 over the weights w whose names match, in nats per example.

    Up to a constant, this is -log p(w) / N for a prior p(w) on the weights, with N examples:
    `l2` = 1 / (2 s^2 N) for N(0, s^2), `l1` = 1 / (b N) for a Laplace distribution of scale b.

    Args:
        model: the model; parameters that are not trained now are left out.
        l1: weight of the absolute values.
        l2: weight of the squares.
        penalised: regular expression that matches whole names of parameters.

    Raises:
        ConfigError: if no name matches.
    """

    def __init__(self, model: nn.Module, l1: float, l2: float, penalised: str) -> None:
        self.l1, self.l2 = l1, l2
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        self.names = [name for name in trained if re.fullmatch(penalised, name)]
        if not self.names:
            raise ConfigError(
                f"penalised is {penalised!r}, which matches no parameter in training: expected "
                f"whole names like {', '.join(trained[:3])}; or set l1 and l2 to 0"
            )

    def __call__(self, model: nn.Module) -> Tensor:
        """Return the penalty, a scalar, of a model with parameters of the same names."""
        parameters = dict(model.named_parameters())
        weights = [parameters[name] for name in self.names]
        parts = []
        if self.l1:
            parts += [self.l1 * w.abs().sum() for w in weights]
        if self.l2:
            parts += [self.l2 * w.square().sum() for w in weights]
        return torch.stack(parts).sum()
