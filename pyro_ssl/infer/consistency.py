"""Consistency of a classifier: its class of a changed image is to be that of the image."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.data.augmentation import Augmentation
from pyro_ssl.elbos.names import CONSISTENCY
from pyro_ssl.models.base import SSLModel
from pyro_ssl.models.rows import Batch
from pyro_ssl.models.terms import add_term
from pyro_ssl.option_kinds import NotNegative, OneOf, Range
from pyro_ssl.options import check_fields


@dataclass(frozen=True)
class Consistency:
    """A term of unlabelled rows that any classifier q(y|x) can have.

    For a row x with a view v(x), the augmented image, let r be q(y|x) (see `aligned`) and t the
    targets made of r. Both are constants to the gradient. The term is::

        c(x) = 1[max_k r_k >= threshold] sum_k t_k (log t_k - log q(k|v(x)))

    With `labels`, t is 1 for the most probable class under r, a pseudo-label, and 0 for the others:
    c is then -log q(k|v(x)) of that class. With `probabilities`, t is r^(1/temperature),
    normalised. The loss per example gains `weight` times the mean of c over the unlabelled rows of
    a batch. The term is a factor of the guide, see `pyro_ssl.models.terms.add_term`; reports and
    `FitConfig.anneal` call it `consistency`. For attributes (`multi_label`), c is the sum of the
    terms of each attribute.

    q(y|x) and q(y|v(x)) are those of training mode: batch norm takes the statistics of each.

    Sources: `labels`: Sohn et al., "FixMatch: simplifying semi-supervised learning with consistency
    and confidence", NeurIPS 2020, eq. 4; Lee, "Pseudo-label", 2013. `probabilities`: Xie et al.,
    "Unsupervised data augmentation for consistency training", NeurIPS 2020, sections 2.2 and 2.3.
    `aligned`: Berthelot et al., "ReMixMatch", ICLR 2020, section 3.1, where the mean is a running
    one and there is no tolerance.

    Attributes:
        view: how images are changed.
        weight: weight of the mean beside the bound per example, in nats.
        targets: `labels` or `probabilities`.
        threshold: a row contributes only if r of its most probable class is at least this.
        temperature: of `probabilities`; below 1 to sharpen them.
        aligned: let r be q(y|x) divided by its mean m(y) over the batch's unlabelled rows,
            multiplied by p(y), and normalised, so that targets follow p(y). Not for attributes.
        tolerance: relative deviation of m(y) from p(y) that `aligned` leaves as it is: r is
            multiplied not by p(y) but by m(y), limited to p(y) times 1 - tolerance to
            1 + tolerance. Without it, the targets of every batch have each class about as often as
            p(y) says, also where the batch's rows do not.

    Raises:
        ConfigError: if an option cannot work.
    """

    view: Augmentation
    weight: NotNegative = 1.0
    targets: Annotated[str, OneOf(("labels", "probabilities"))] = "labels"
    threshold: Annotated[float, Range(0, 1)] = 0.95
    temperature: Annotated[float, Range(above=0)] = 1.0
    aligned: bool = False
    tolerance: Annotated[float, Range(0, 1)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def add_to_guide(self, model: SSLModel, batch: Batch) -> None:
        """Add the term to a guide, before the guide's own sites.

        Args:
            model: the classifier.
            batch: the guide's argument.
        """
        for rows in batch.parts():
            if rows.ys is None:
                # A mean, in no plate, which Pyro expects to precede what is in one.
                add_term(CONSISTENCY, self.loss(model, rows.xs).mean(), self.weight)

    def loss(self, model: SSLModel, xs: Tensor) -> Tensor:
        """Return c(x) of each row, `[n]`, in nats.

        Args:
            model: the classifier.
            xs: inputs `[n, *input_shape]`.
        """
        with torch.no_grad():
            targets = self._log_probabilities(model, model.class_logits(xs)).exp()
            targets, used = self._targets(model, targets)
        log_q = self._log_probabilities(model, model.class_logits(self.view(xs)))
        divergence = torch.special.xlogy(targets, targets) - targets * log_q
        return (used * divergence.sum(-1)).flatten(1).sum(-1)

    def _log_probabilities(self, model: SSLModel, logits: Tensor) -> Tensor:
        """Return log q of each value of each label, `[n, 1, K]`, or of attributes `[n, L, 2]`."""
        if model.multi_label:
            return torch.stack([F.logsigmoid(-logits), F.logsigmoid(logits)], -1)
        return logits.log_softmax(-1).unsqueeze(1)

    def _targets(self, model: SSLModel, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Return t, `[n, L, K]`, and which labels have a part in the term, `[n, L]`."""
        if self.aligned:
            prior, mean = model.p_y(probabilities).softmax(-1), probabilities.mean(0)
            least, most = (prior * (1 + sign * self.tolerance) for sign in (-1, 1))
            probabilities = _normalised(probabilities / mean * mean.clamp(least, most))
        used = (probabilities.amax(-1) >= self.threshold).to(probabilities.dtype)
        if self.targets == "labels":
            likeliest = probabilities.argmax(-1, keepdim=True)
            return torch.zeros_like(probabilities).scatter(-1, likeliest, 1.0), used
        return _normalised(probabilities ** (1 / self.temperature)), used


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True)
