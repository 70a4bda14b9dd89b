"""CCVAE of Joy et al. (2021) for rows of binary attributes."""

import warnings
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.models.attributes import Frequencies, attribute_logits, complete
from pyro_ssl.models.calls import check_intervention, checks_data
from pyro_ssl.models.ccvae import CCVAE
from pyro_ssl.models.rows import Rows
from pyro_ssl.option_kinds import Natural
from pyro_ssl.options import checked

# `TraceEnum_ELBO` warns about sites after "y" that are in the plate of rows but not in that of
# attributes, where "y" is. They depend only on z_class, which is not enumerated, and not on "y".
warnings.filterwarnings(
    "ignore", r"(?s)at \w+ site .*possibly invalid dependency.*labelled_attributes", RuntimeWarning
)


class MultiLabelCCVAE(CCVAE):
    """Characteristic capturing VAE of L binary attributes, each predicted from one latent.

    Generative program, with z = (z_class, z_style) of L and S dimensions::

        p(y_l) = Bernoulli(frequency_l)    p(z_class_l|y_l) = Normal(loc_l(y_l), scale_l(y_l)^2)

    and all other distributions as in `CCVAE`; guide::

        q(z|x) = Normal(loc(x), diag scale(x)^2)
        q(y_l|z_class_l) = Bernoulli(logits=a_l z_class_l + b_l)

    Any of a row's attributes may be known. With known attributes y_O, unknown attributes y_U, and
    w = q(y_O|z_class) / q(y_O|x), the objective, maximised, is::

        E_q(z|x)[w (log p(x|z) - log q(z|x) + log p(z_style)
                    + sum_l in O (log p(z_class_l|y_l) - log q(y_l|z_class_l))
                    + sum_l in U E_q(y_l|z_class_l)[log p(y_l) + log p(z_class_l|y_l)
                                                    - log q(y_l|z_class_l)])]
            + log p(y_O) + c log q(y_O|x)

    This is eq. 3 of the paper if no attribute is known, and eq. 4 if all are known. It needs no
    sum over the 2^L combinations: p(z_class|y) p(y) and q(y|z_class) both factorise, so that the
    exact expectation is a sum of L terms, each over two values. In the programs, attributes are a
    plate at dimension -2, in which "y" is enumerated.

    q(y_O|x) is the mean over draws of the product over O, as in the authors' code; z_class itself
    is one of the draws, so that no weight exceeds `num_samples`.

    Source: as `CCVAE`.

    Differs from the paper: a row may have some attributes known and others unknown; p(y_l) is
    given, 1/2 by default; otherwise as `CCVAE`, with attributes instead of classes.

    Args:
        frequencies: p(y_l = 1) of each attribute, between 0 and 1; 1/2 if None.
        options: those of `CCVAE`; `num_classes` is the number of attributes L. Instead of labels
            `[B]`, methods take attributes `[B, L]`, 0 or 1, or -1 where unknown.

    Raises:
        ConfigError: if an option is invalid.
    """

    multi_label = True
    _instead_of_prior = "frequencies of attributes"
    max_plate_nesting = 2
    prior_logits: Tensor
    _num_values = 2

    @checked
    def __init__(self, frequencies: Frequencies = None, **options: Any) -> None:
        super().__init__(**options)
        logits = attribute_logits(frequencies, self.num_classes).unsqueeze(-1).to(self.slope)
        # Plain Python numbers, which checkpoints and JSON files can hold.
        self.frequencies = None if frequencies is None else tuple(float(f) for f in frequencies)
        self.register_buffer("prior_logits", logits, persistent=False)

    def class_logits(self, xs: Tensor) -> Tensor:
        """Return the log-odds of each attribute under q(y|x), `[B, L]`.

        They are those of the mean of q(y|z_class) over 128 fixed quasi-random points.
        """
        return super().class_logits(xs)

    @checks_data
    def reconstruct(self, xs: Tensor) -> Tensor:
        """Return means of p(x|z) at the mean of q(z|x), `[B, *input_shape]`."""
        return self.decode(self.encode(xs)[0], self._covariates(xs))

    @checks_data
    def intervene(self, xs: Tensor, attribute: Natural, values: Tensor) -> Tensor:
        """Return images `[B, *input_shape]` like `xs`, but with another value of an attribute.

        The attribute's latent is the mean of p(z_class_l|y_l); all others are the mean of q(z|x).

        Args:
            xs: inputs `[B, *input_shape]`.
            attribute: index l of the attribute.
            values: its new values `[B]`, 0 or 1.
        """
        check_intervention(self, len(xs), attribute, values)
        zs = self.encode(xs)[0].clone()
        zs[:, attribute] = self.prior_loc[values.long(), attribute]
        return self.decode(zs, self._covariates(xs))

    def _complete(self, ys: Tensor) -> Tensor:
        return complete(ys, self.prior_logits.squeeze(-1))

    def _label_in_model(self, rows: Rows) -> Tensor:
        prior = dist.Bernoulli(logits=self.prior_logits)
        with pyro.plate(rows.named("attributes"), self.num_classes, dim=-2):
            if rows.ys is None:
                y = pyro.sample("y", prior)
            else:
                known, given = rows.ys.T >= 0, rows.ys.T.clamp(min=0).to(prior.logits.dtype)
                with poutine.mask(mask=known):
                    pyro.sample("y_known", prior, obs=given)
                with poutine.mask(mask=~known):
                    y = torch.where(known, given, pyro.sample("y", prior))
            # In `_p_z_class` attributes are the last dimension; their plate is at dimension -2.
            p_z_class = self._p_z_class(y.long().transpose(-1, -2))
            loc, scale = (t.transpose(-1, -2) for t in (p_z_class.loc, p_z_class.scale))
            with poutine.scale(scale=self.kl_weight):
                return _attributes_last(pyro.sample("z_class", dist.Normal(loc, scale)))

    def _label_in_guide(self, rows: Rows, loc: Tensor, scale: Tensor) -> Tensor:
        with pyro.plate(rows.named("attributes"), self.num_classes, dim=-2):
            with poutine.scale(scale=self.kl_weight):
                drawn = pyro.sample("z_class", dist.Normal(loc.T, scale.T))
            z_class = _attributes_last(drawn)
            logits = self.slope.unsqueeze(-1) * drawn + self.intercept.unsqueeze(-1)
            with poutine.mask(mask=True if rows.ys is None else rows.ys.T < 0):
                q_y = dist.Bernoulli(logits=logits)
                pyro.sample("y", q_y, infer={"enumerate": "parallel"})
        return z_class

    def _log_q(self, ys: Tensor, z_class: Tensor) -> Tensor:
        logits = self._label_logits(z_class)
        each = F.logsigmoid(torch.where(ys == 1, logits, -logits))
        return torch.where(ys >= 0, each, 0.0).sum(-1)

    def _mean_over_draws(self, z_class: Tensor) -> Tensor:
        """Return the log-odds of the mean of q(y|z_class), `[n, L]`, over draws `[M, n, L]`."""
        logits = self._label_logits(z_class)
        return F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)

    def _p_z_class(self, ys: Tensor) -> dist.Normal:
        """Return p(z_class|y), batch shape `[..., L]`, of attributes `[..., L]` or `[..., 1]`."""
        column = torch.arange(self.num_classes, device=ys.device)
        raw_scale = self.prior_raw_scale[ys, column]
        return dist.Normal(self.prior_loc[ys, column], F.softplus(raw_scale) + 1e-3)


def _attributes_last(z: Tensor) -> Tensor:
    """Return draws `[..., L, n]` of a plate of attributes as `[n, L]`, or `[..., 1, n, L]`."""
    z = z.transpose(-1, -2)
    return z if z.dim() == 2 else z.unsqueeze(-3)
