"""M2 for rows of binary attributes, relaxed."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.elbos import names
from pyro_ssl.models.annealed import AnnealedOption
from pyro_ssl.models.attributes import Frequencies, attribute_logits, complete
from pyro_ssl.models.calls import check_intervention, checks_data
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.relaxed_m2 import Unscored
from pyro_ssl.models.rows import Rows
from pyro_ssl.models.terms import add_term
from pyro_ssl.option_kinds import Natural, Positive
from pyro_ssl.options import checked


class MultiLabelM2(M2):
    """M2 whose label is a row of L binary attributes, any of which may be unknown.

    Generative program and guide are those of `M2`, except that::

        p(y) = prod_l Bernoulli(frequency_l)    q(y|x) = prod_l Bernoulli(classifier(x)_l)

    and that encoder and decoder see y as a vector of zeros and ones. With y_O the known attributes
    of a row and y_U the unknown ones, the objective, maximised, is::

        E_q(y_U|x) E_q(z|x,y)[log p(x|y,z) + log p(z) - log q(z|x,y)]
            + log p(y_O) - KL(q(y_U|x) || p(y_U)) + c log q(y_O|x)

    This is eq. 7 of the paper if no attribute is known, and eq. 6 and 9 if all are known; `alpha`
    is the weight of the mean of log q(y_O|x) over labelled rows, as in `M2`. The outer expectation
    is a sum over 2^|U| combinations that does not factorise, since the networks see the whole
    vector. Training estimates it by one relaxed draw of each attribute::

        h_l = sigmoid((classifier(x)_l + logistic noise) / temperature)

    as `GumbelSoftmaxM2` does for classes, and with the same bias of the gradient. With
    `straight_through` the networks see h_l rounded, and the gradient is computed as if they had
    seen h_l. The KL divergence is that of the Bernoulli distributions, summed over attributes in
    closed form.

    Known attributes are the observed site "y_known" of the model, masked where they are unknown. In
    training mode the site "y" is a float `[n, L]`, masked, and the guide subtracts the KL as a
    factor "kl_y". In evaluation mode "y" is drawn from q(y_U|x), and bounds are those of the
    unrelaxed model.

    Source: Kingma et al. 2014, see `M2`; for the relaxation, Maddison, Mnih, Teh, "The concrete
    distribution", ICLR 2017, appendix B.

    Differs from the papers: several labels per row, some of them unknown; otherwise as `M2`.

    Args:
        frequencies: p(y_l = 1) of each attribute, between 0 and 1; 1/2 if None.
        temperature: temperature of the relaxation; initial value of the buffer
            `annealed_temperature`, which the programs use.
        straight_through: use the straight-through estimator.
        options: those of `M2`; `num_classes` is the number of attributes L.

    Raises:
        ConfigError: if an option is invalid.
    """

    multi_label = True
    recommended_anneal: ClassVar[Mapping[str, tuple[float, float, float]]] = {}
    sums_labels = False
    _instead_of_prior = "frequencies of attributes"
    temperature = AnnealedOption()
    annealed_temperature: Tensor
    prior_logits: Tensor

    @checked
    def __init__(
        self,
        frequencies: Frequencies = None,
        temperature: Positive = 0.5,
        straight_through: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.temperature = temperature
        self.straight_through = straight_through
        logits = attribute_logits(frequencies, self.num_classes)
        # Plain Python numbers, which checkpoints and JSON files can hold.
        self.frequencies = None if frequencies is None else tuple(float(f) for f in frequencies)
        like = next(self.parameters())
        self.register_buffer("prior_logits", logits.to(like), persistent=False)

    def _label_in_model(self, rows: Rows) -> Tensor:
        prior = dist.Bernoulli(logits=self.prior_logits)
        ys = self._attributes(rows)
        if rows.ys is not None:
            given = ys.clamp(min=0).to(self.prior_logits.dtype)
            pyro.sample("y_known", prior.mask(ys >= 0).to_event(1), obs=given)
        if self.training:
            p_y = Unscored(prior.to_event(1).expand(ys.shape[:1]))
        else:
            p_y = prior.expand(ys.shape).mask(ys < 0).to_event(1)
        return self._filled(ys, pyro.sample("y", p_y))

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        ys = self._attributes(rows)
        if rows.ys is not None and self.alpha > 0:
            each = F.logsigmoid(torch.where(ys == 1, scores, -scores))
            log_q = torch.where(ys >= 0, each, 0.0).sum(-1)
            add_term(names.CLASSIFICATION, -log_q, self.alpha)
        if not self.training:
            q_y = dist.Bernoulli(logits=scores).mask(ys < 0).to_event(1)
            return self._filled(ys, pyro.sample("y", q_y))
        # Not torch's relaxed Bernoulli: it clamps probabilities, which cuts the gradient of large
        # scores.
        noise = torch.rand_like(scores).logit(eps=torch.finfo(scores.dtype).eps)
        relaxed = ((scores + noise) / self.annealed_temperature).sigmoid()
        if self.straight_through:
            relaxed = (relaxed > 0.5).to(relaxed.dtype) + (relaxed - relaxed.detach())
        drawn = pyro.sample("y", Unscored(dist.Delta(relaxed, event_dim=1)))
        kl = torch.where(ys >= 0, 0.0, self._kl(scores)).sum(-1)
        pyro.factor(names.kl("y"), kl, has_rsample=True)
        return self._filled(ys, drawn)

    def _attributes(self, rows: Rows) -> Tensor:
        """Return the attributes of the rows, `[n, L]`, -1 where unknown."""
        if rows.ys is not None:
            return rows.ys
        shape = len(rows.xs), self.num_classes
        return torch.full(shape, -1, device=rows.xs.device)

    def _filled(self, ys: Tensor, drawn: Tensor) -> Tensor:
        """Return `drawn` `[n, L]` with the known attributes of `ys` in their places."""
        return torch.where(ys >= 0, ys.to(drawn.dtype), drawn)

    def _kl(self, scores: Tensor) -> Tensor:
        """Return KL(q(y_l|x) || p(y_l)) of each attribute, `[n, L]`."""
        prior, share = self.prior_logits, scores.sigmoid()
        present = F.logsigmoid(scores) - F.logsigmoid(prior)
        absent = F.logsigmoid(-scores) - F.logsigmoid(-prior)
        return share * present + (1 - share) * absent

    @checks_data
    def encode(self, xs: Tensor, ys: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return location and scale of q(z|x,y), each `[B, D]`, in evaluation mode.

        Args:
            xs: inputs `[B, *input_shape]`.
            ys: attributes `[B, L]`, 0 or 1; if None, those with probability above 1/2 under q(y|x).
        """
        if ys is None:
            ys = self.predict_proba(xs) > 0.5
        return super().encode(xs, ys.to(xs.dtype))

    @checks_data
    def reconstruct(self, xs: Tensor) -> Tensor:
        """Return means of p(x|y,z), `[B, *input_shape]`, at the mean of q(z|x,y).

        An attribute of y is 1 if its probability under q(y|x) is above 1/2.
        """
        ys = self.predict_proba(xs) > 0.5
        return self.decode(self.encode(xs, ys)[0], ys, self._covariates(xs))

    @checks_data
    def intervene(self, xs: Tensor, attribute: Natural, values: Tensor) -> Tensor:
        """Return images `[B, *input_shape]` like `xs`, but with another value of an attribute.

        The decoder sees the new value; the other attributes are 1 if their probability under q(y|x)
        is above 1/2, and z is the mean of q(z|x,y) before the change.

        Args:
            xs: inputs `[B, *input_shape]`.
            attribute: index l of the attribute.
            values: its new values `[B]`, 0 or 1.
        """
        check_intervention(self, len(xs), attribute, values)
        ys = (self.predict_proba(xs) > 0.5).to(xs.dtype)
        zs = self.encode(xs, ys)[0]
        ys[:, attribute] = values.to(ys.dtype)
        return self.decode(zs, ys, self._covariates(xs))

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|y,z), `[B, *input_shape]`, in evaluation mode.

        Args:
            zs: latents `[B, D]`.
            ys: attributes `[B, L]`, from 0 to 1.
            covariates: as for `M2.decode`.
        """
        return super().decode(zs, ys.to(zs.dtype), covariates)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw z and unknown attributes (-1) of `ys` `[B, L]`; return the means of p(x|y,z)."""
        return super().sample(complete(ys, self.prior_logits), covariates)
