"""Predictions of the models of a classifier."""

import numpy as np
import torch
from scipy.special import logsumexp
from torch import Tensor

from pyro_ssl.estimator.members import ROWS, Floats, Members
from pyro_ssl.estimator.programs import SharedNoise, complete
from pyro_ssl.metrics import joint_bound
from pyro_ssl.models.base import SSLModel


class ClassMembers(Members):
    """Models that classify, and the labelled rows that each of them does not see; see `Members`."""

    def log_q(self, xs: Tensor) -> Floats:
        """Return each model's log q(y|x), `[E, N, K]`."""
        return self._each(xs, lambda model, rows: model.class_logits(rows).log_softmax(-1))

    def log_joint(self, xs: Tensor, samples: int, seed: int) -> Floats:
        """Return each model's bound on log p(x, y) of every label, `[E, N, K]`, in nats.

        With several samples this is the importance-weighted bound.
        """

        def bounds(model: SSLModel, rows: Tensor) -> Tensor:
            # All labels at once, each with every row.
            labels = torch.arange(model.num_classes, device=rows.device)
            many = rows.repeat(len(labels), *[1] * (rows.ndim - 1))
            ys, each = labels.repeat_interleave(len(rows)), []
            for sample in range(samples):
                with SharedNoise(seed, sample):
                    each.append(joint_bound(model, many, ys))
            found = torch.stack(each).logsumexp(0) - np.log(samples)
            return found.reshape(len(labels), len(rows)).T

        return self._each(xs, bounds, max(1, ROWS // self.models[0].num_classes))

    def log_marginal(self, xs: Tensor, samples: int, seed: int) -> Floats:
        """Return each model's bound on log p(x), `[E, N]`: that of `log_joint`, summed over y."""
        found: Floats = logsumexp(self.log_joint(xs, samples, seed), 2)
        return found

    def _filled(self, model: SSLModel, rows: Tensor, is_code: Tensor) -> Tensor:
        """Return a model's values for all entries, `[N, C]`.

        A number is the mean of p(x|y,z), averaged over labels with weights q(y|x), at the mean of
        q(z|x,y). A category is the most probable one for the most probable label.
        """
        shares = model.class_logits(rows).softmax(-1)
        mean, likeliest = torch.zeros_like(rows), torch.zeros_like(rows)
        for label in range(model.num_classes):
            ys = torch.full((len(rows),), label, device=rows.device)
            here = complete(model, rows, ys, False, False)
            mean = mean + shares[:, label, None] * here
            chosen = (shares.argmax(1) == label)[:, None]
            likeliest = torch.where(chosen, here, likeliest)
        return torch.where(is_code, likeliest, mean)

    def label_prior(self) -> Floats:
        """Return p(y) of the models, `[K]`, uniform for models without one."""
        each = []
        for model in self.models:
            p_y = getattr(model, "p_y", None)
            like = next(model.parameters())
            logits = like.new_zeros(model.num_classes) if p_y is None else p_y(like)
            each.append(logits.detach().softmax(-1).cpu().numpy())
        found: Floats = np.mean(each, 0)
        return found
