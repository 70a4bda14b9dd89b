"""Classification by Bayes' rule, from the bounds on log p(x, y) of all classes."""

import math
from typing import NamedTuple

import pyro
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.metrics.bounds import check_has_joint_bound, log_weights
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


class ClassBounds(NamedTuple):
    """Estimates of bounds on log p(x, y) of each class y, in nats.

    Attributes:
        mean: means over draws of the latents, `[N, K]`: of M2, -L(x, y).
        weighted: importance-weighted bounds with the same draws, `[N, K]`, not below the others.
    """

    mean: Tensor
    weighted: Tensor


@checked
@torch.no_grad()
def class_bounds(
    model: SSLModel, xs: Tensor, num_samples: Size = 1, at_once: Size = 4000
) -> ClassBounds:
    """Return bounds on log p(x, y) of each class y, with y given to the guide.

    With k = `num_samples` draws h_i of the other latents from the guide, these are::

        1/k sum_i w_i    and    log 1/k sum_i exp w_i,    w_i = log p(x, y, h_i) - log q(h_i|x, y)

    The second tends to log p(x, y) as k grows (Burda et al., "Importance weighted autoencoders",
    ICLR 2016). The guide of `CCVAE` draws z from q(z|x) alone, and draws are not weighed by
    q(y|z), so that this is not the bound of its objective; nor do other models' terms beside the
    bound count. The model is in evaluation mode.

    Args:
        model: a model of p(x, y) with one label a row.
        xs: inputs `[N, *input_shape]`.
        num_samples: k.
        at_once: number of draws evaluated together (rows times samples), to limit the memory.

    Raises:
        ConfigError: if the model has only p(y|x), or several labels a row.
        DataError: if the model does not take `xs`.
    """
    check_has_joint_bound(model)
    if model.multi_label:
        raise ConfigError(
            f"{type(model).__name__} has several labels a row, of which Bayes' rule would need all "
            "combinations: use predict_proba"
        )
    model.check(xs)
    none = xs.new_zeros(0, model.num_classes)
    means, weighted = [none], [none]
    store = pyro.get_param_store()
    with evaluating(model), store.scope(), pyro.validation_enabled(False):
        for rows in xs.split(max(1, at_once // num_samples)):
            found = []
            for k in range(model.num_classes):
                batch = Batch(rows, torch.full((len(rows),), k, device=rows.device), len(rows))
                found.append(log_weights(model, batch, num_samples, only_latents=True))
            weights = torch.stack(found, -1)
            means.append(weights.mean(0))
            weighted.append(weights.logsumexp(0) - math.log(num_samples))
    return ClassBounds(torch.cat(means), torch.cat(weighted))


@checked
def bayes_probabilities(
    model: SSLModel,
    xs: Tensor,
    num_samples: Size = 1,
    importance_weighted: bool = False,
    at_once: Size = 4000,
) -> Tensor:
    """Return p(y|x) by Bayes' rule, `[N, K]`: the softmax over classes of `class_bounds`.

    It does not read the classifier q(y|x). Without weights it is what eq. 6 of Kingma et al. (2014)
    gives, in which a looser bound of a class counts as evidence against it; with them it tends to
    the model's own p(y|x) as the number of draws grows.

    Args:
        model: a model of p(x, y) with one label a row.
        xs: inputs `[N, *input_shape]`.
        num_samples: draws of the latents for each row and class.
        importance_weighted: use the importance-weighted bounds.
        at_once: see `class_bounds`.

    Raises:
        ConfigError: as for `class_bounds`.
        DataError: likewise.
    """
    bounds = class_bounds(model, xs, num_samples, at_once)
    return (bounds.weighted if importance_weighted else bounds.mean).softmax(-1)
