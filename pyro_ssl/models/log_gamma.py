"""M2 with a Dirichlet latent, of which the label is an observation."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor
from torch.nn import functional as F

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.models.annealed import AnnealedOption
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.labels import classification_term
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.rows import Rows
from pyro_ssl.option_kinds import Positive
from pyro_ssl.options import checked


class LogGamma(M2):
    """A generative model with a soft class: pi, a Dirichlet variable made of normalised gammas.

    Generative program, with K classes and D latent dimensions::

        p(pi) = Dirichlet(c 1_K)    p(z) = Normal(0, I_D)
        p(y|pi) = Categorical(pi)   p(x|pi,z) = likelihood(decoder(z, pi))

    Guide, for an unlabelled row and for a labelled one::

        q(pi|x) = Dirichlet(b(x))    q(pi|x,y) = Dirichlet(b(x) + one_hot(y))
        q(z|x,pi) = Normal(loc(x, pi), diag scale(x, pi)^2)

    where b(x) = 0.05 + softplus(classifier(x)); the step from q(pi|x) to q(pi|x,y) is the
    conjugate update by one observation of y. The objective, maximised, is the ELBO of log p(x)
    for an unlabelled row, of log p(x, y) for a labelled one, plus
    the classification term of `M2`, where::

        q(y|x) = E_q(pi|x)[pi_y] = b_y(x) / sum_k b_k(x)

    KL divergences are in closed form. The gradient through a draw of pi is pathwise, by torch's
    implicit reparameterisation. Unlabelled rows have no site "y", since no other site depends on
    it.

    In float32, torch keeps the coordinates of a draw above 1e-38. Where b_k(x) is below about 0.1
    and differs from c, bounds that use the density at the draw (`importance_weighted_bound`, Pyro's
    `Trace_ELBO`) are therefore too high by some tenths of a nat; the closed-form KL is exact.

    Source: the model LogGamma of the vae_ssl project; for gradients, Figurnov, Mohamed, Mnih,
    "Implicit reparameterization gradients", NeurIPS 2018.

    Differs from vae_ssl: gradients are torch's, not those of a hand-written sampler of log-gamma
    variables; no "negative KL" trick; b(x) is bounded below; the networks are those of this
    library's `M2`; pi enters the first layer of encoder and decoder by the average of the labels'
    embeddings.

    Args:
        prior_concentration: c; small values favour corners of the simplex. It is the initial value
            of the buffer `annealed_prior_concentration`, which the programs use.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    sums_labels = False
    _instead_of_prior = "a Dirichlet latent"
    prior_concentration = AnnealedOption()
    annealed_prior_concentration: Tensor

    @checked
    def __init__(self, prior_concentration: Positive = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self.prior_concentration = prior_concentration

    def make_elbo(self) -> ELBO:
        """Return `StaticEnum_ELBO` with KL divergences in closed form."""
        return StaticEnum_ELBO(max_plate_nesting=1, closed_form_kl=True)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw pi and z from p(pi, z|y) for each of `ys` `[B]`; return the means of p(x|pi,z).

        Unknown labels (-1) are drawn from p(y), which is uniform.
        """
        like, one_hot = next(self.parameters()), self._one_hot(self.p_y.complete_any(ys))
        pi = dist.Dirichlet(self.annealed_prior_concentration + one_hot).sample()
        zs = torch.randn(len(ys), self.latent_dim, dtype=like.dtype, device=like.device)
        return self.decode(zs, pi, covariates)

    def _one_hot(self, ys: Tensor) -> Tensor:
        # Not F.one_hot: it reads the tensor's values, which a compiled step cannot do.
        like = next(self.parameters())
        return torch.eye(self.num_classes, dtype=like.dtype, device=ys.device)[ys]

    def _concentration(self, scores: Tensor) -> Tensor:
        return 0.05 + F.softplus(scores)

    def _class_logits(self, scores: Tensor) -> Tensor:
        return self._concentration(scores).log()

    def _label_in_model(self, rows: Rows) -> Tensor:
        prior = self.annealed_prior_concentration + rows.xs.new_zeros(self.num_classes)
        pi = pyro.sample("pi", dist.Dirichlet(prior))
        if rows.ys is not None:
            pyro.sample("y", dist.Categorical(probs=pi), obs=rows.ys)
        return pi

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        concentration = self._concentration(scores)
        if rows.ys is not None:
            classification_term(rows.ys, self._class_logits(scores), self.alpha)
            concentration = concentration + self._one_hot(rows.ys)
        return pyro.sample("pi", dist.Dirichlet(concentration))
