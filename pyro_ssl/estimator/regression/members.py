"""Predictions of the models of a regressor."""

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor
from torch.distributions import Normal

from pyro_ssl.estimator.members import ROWS, Floats, Members
from pyro_ssl.estimator.programs import SharedNoise, complete
from pyro_ssl.metrics import joint_bound
from pyro_ssl.models import RegressionM2

# Number of labels at which p(x, y) is evaluated for one row.
_LABELS = 32


class RegressionMembers(Members):
    """Models of real labels, and the labelled rows that each does not see; see `Members`."""

    def q(self, xs: Tensor) -> Floats:
        """Return mean and deviation of the label for each model, by its network, `[E, N, 2]`."""

        def call(model: RegressionM2, rows: Tensor) -> Tensor:
            q_y = model.q_y(rows)
            return torch.stack([q_y.loc, q_y.scale], -1)

        return self._each(xs, call)

    def posterior(self, xs: Tensor, samples: int, seed: int) -> Floats:
        """Return mean and deviation of y under each model's p(y|x), `[E, N, 2]`.

        They are computed from labels drawn from a proposal, with normalised `log_weights`.

        Args:
            xs: rows.
            samples: number of draws of z for each label.
            seed: seed of the noise.
        """

        def call(model: RegressionM2, rows: Tensor) -> Tensor:
            ys, logs = log_weights(model, rows, samples, seed)
            shares = logs.softmax(0)
            mean = (shares * ys).sum(0)
            variance = (shares * (ys - mean) ** 2).sum(0)
            return torch.stack([mean, variance.sqrt().clamp(min=model.min_scale)], -1)

        return self._each(xs, call, max(1, ROWS // _LABELS))

    def log_joint(self, xs: Tensor, ys: Tensor, samples: int, seed: int) -> Floats:
        """Return each model's bound on log p(x, y) of rows and standardised labels, `[E, N]`."""

        # Labels are appended to rows as one more value, so that both are split together.
        def call(model: RegressionM2, rows: Tensor) -> Tensor:
            inputs = rows[:, :-1].reshape(len(rows), *xs.shape[1:])
            return _joint(model, inputs, rows[:, -1], samples, seed)

        return self._each(torch.cat([xs.flatten(1), ys[:, None].to(xs)], 1), call)

    def log_marginal(self, xs: Tensor, samples: int, seed: int) -> Floats:
        """Return each model's bound on log p(x) of rows, `[E, N]`, in nats.

        This is the importance-weighted bound with labels from the proposal of `log_weights`.
        """

        def call(model: RegressionM2, rows: Tensor) -> Tensor:
            _, logs = log_weights(model, rows, samples, seed)
            return logs.logsumexp(0) - np.log(len(logs))

        return self._each(xs, call, max(1, ROWS // _LABELS))

    def _filled(self, model: RegressionM2, rows: Tensor, is_code: Tensor) -> Tensor:
        """Return a model's values for all entries, `[N, C]`, at the means of q(y|x) and q(z|x,y).

        A number is its mean under p(x|y,z), a category the most probable one.
        """
        return complete(model, rows, model.q_y(rows).loc, False, False)


def log_weights(model: RegressionM2, xs: Tensor, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return labels and log p(x, y) - log r(y|x) of each, both `[S, N]`, in nats.

    The proposal r is half q(y|x) and half p(y), so that weights are bounded where q(y|x) is too
    narrow (Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
    Technometrics 37, 1995). Labels are equally spaced quantiles of r, all shifted by one random
    draw: each label has the distribution r, and the mean of the weights is an unbiased estimate of
    p(x).

    Args:
        model: the model.
        xs: rows.
        samples: number of draws of z for each label.
        seed: seed of the noise, which is the same for all rows.
    """
    q_y, half = model.q_y(xs), _LABELS // 2
    generator = torch.Generator().manual_seed(seed % 2**32)
    moved = torch.rand((), generator=generator, dtype=torch.float64)
    noise = torch.special.ndtri((torch.arange(half) + moved) / half).to(xs)
    prior = Normal(torch.zeros_like(q_y.loc), torch.ones_like(q_y.loc))
    ys = torch.cat([q_y.loc + q_y.scale * noise[:, None], noise[:, None].expand(-1, len(xs))])
    log_r = torch.logaddexp(q_y.log_prob(ys), prior.log_prob(ys)) - np.log(2)
    many = xs.repeat(len(ys), *[1] * (xs.ndim - 1))
    joint = _joint(model, many, ys.flatten(), samples, seed)
    return ys, joint.view_as(ys) - log_r


def _joint(model: RegressionM2, xs: Tensor, ys: Tensor, samples: int, seed: int) -> Tensor:
    """Return bounds on log p(x, y) of rows and labels, `[N]`, with draws that all rows share."""
    each = []
    for sample in range(samples):
        with SharedNoise(seed, sample):
            each.append(joint_bound(model, xs, ys))
    return torch.stack(each).logsumexp(0) - np.log(samples)


def mixed_bound(each: Floats) -> Floats:
    """Return the bound of a mixture of models, `[N]`, from the models' bounds `[E, N]`."""
    found: Floats = logsumexp(each, 0) - np.log(len(each))
    return found
