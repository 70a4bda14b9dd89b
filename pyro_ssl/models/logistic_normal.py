"""M2 with a logistic normal latent, of which the label is an observation."""

import math
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.models.annealed import AnnealedOption
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.labels import classification_term
from pyro_ssl.models.m2 import M2
from pyro_ssl.models.normal import normal_of, normal_points, standard_normal
from pyro_ssl.models.rows import Rows
from pyro_ssl.option_kinds import Positive
from pyro_ssl.options import checked

# Number of points over which q(y|x) is averaged under q(a|x).
_POINTS = 32


class LogisticNormal(M2):
    """A generative model with a soft class: pi, a point of the simplex with normal logits.

    Generative program, with K classes and D latent dimensions::

        p(a) = Normal(0, I_K)      p(z) = Normal(0, I_D)    pi = softmax(a / temperature)
        p(y|a) = Categorical(pi)   p(x|a,z) = likelihood(decoder(z, pi))

    Guide, for an unlabelled row and for a labelled one::

        q(a|x) = Normal(loc(x), diag scale(x)^2)
        q(a|x,y) = Normal(loc(x) + shift_y, diag (scale(x) * rescale_y)^2)
        q(z|x,a) = Normal(loc(x, pi), diag scale(x, pi)^2)

    with vectors `shift_y` and `rescale_y` learned for each class (the posterior shift).
    The objective, maximised, is the ELBO of log p(x) for an unlabelled row, of log p(x, y) for a
    labelled one, plus the classification term of `M2`, where::

        q(y|x) = E_q(a|x)[softmax(a / temperature)_y]

    is a mean over 32 fixed quasi-random points. KL divergences are in closed form. Unlabelled rows
    have no site "y", since no other site depends on it.

    Source: the model LogisticNormal of the vae_ssl project.

    Differs from vae_ssl: p(y|a) and q(y|x) use the same pi as the decoder (vae_ssl sharpens one but
    not the other); the classifier's loss is averaged over points (vae_ssl uses one draw of a);
    shift and rescaling start at 0 and 1; scale(x) is at least 1e-3. The networks are those of
    this library's `M2`; pi enters the first layer of encoder and decoder as the average of the
    labels' embeddings, weighed by pi.

    Args:
        temperature: temperature of the softmax; 1 / 3 is vae_ssl's sharpening of 3. It is the
            initial value of the buffer `annealed_temperature`, which the programs use.
        posterior_shift: learn shift and rescaling for labelled rows; otherwise q(a|x,y) = q(a|x).
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    sums_labels = False
    _instead_of_prior = "a logistic normal latent"
    scores_per_class = 2
    temperature = AnnealedOption()
    annealed_temperature: Tensor
    points: Tensor

    @checked
    def __init__(
        self,
        temperature: Positive = 1 / 3,
        posterior_shift: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.temperature = temperature
        self.posterior_shift = posterior_shift
        points = normal_points(_POINTS, self.num_classes).to(self.annealed_temperature.device)
        self.register_buffer("points", points, persistent=False)
        if posterior_shift:
            shape = self.num_classes, self.num_classes
            self.shift = nn.Parameter(torch.zeros(shape))
            self.log_rescale = nn.Parameter(torch.zeros(shape))

    def make_elbo(self) -> ELBO:
        """Return `StaticEnum_ELBO` with KL divergences in closed form."""
        return StaticEnum_ELBO(max_plate_nesting=1, closed_form_kl=True)

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw a and z from p(a, z|y) for each of `ys` `[B]`; return the means of p(x|a,z).

        p(a|y) is drawn by importance resampling of draws from p(a). Unknown labels (-1) are drawn
        from p(y), which is uniform.
        """
        draws = 100 * self.num_classes
        like = next(self.parameters())
        noise = torch.randn(draws, self.num_classes, dtype=like.dtype, device=like.device)
        points = self._simplex(noise)
        chosen = points.T[self.p_y.complete_any(ys)].multinomial(1).squeeze(-1)
        zs = torch.randn(len(ys), self.latent_dim, dtype=like.dtype, device=like.device)
        return self.decode(zs, points[chosen], covariates)

    def _simplex(self, a: Tensor) -> Tensor:
        return (a / self.annealed_temperature).softmax(-1)

    def _loc_and_scale(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        q_a = normal_of(scores, 1e-3)
        return q_a.loc, q_a.scale

    def _class_logits(self, scores: Tensor) -> Tensor:
        loc, scale = (t.unsqueeze(-2) for t in self._loc_and_scale(scores))
        logits = (loc + scale * self.points) / self.annealed_temperature
        return logits.log_softmax(-1).logsumexp(-2) - math.log(_POINTS)

    def _label_in_model(self, rows: Rows) -> Tensor:
        prior = standard_normal(rows.xs, self.num_classes)
        logits = pyro.sample("a", prior) / self.annealed_temperature
        if rows.ys is not None:
            # Logits, not pi: torch clamps probabilities away from 0, which cuts their gradient.
            pyro.sample("y", dist.Categorical(logits=logits), obs=rows.ys)
        return logits.softmax(-1)

    def _label_in_guide(self, rows: Rows, scores: Tensor) -> Tensor:
        loc, scale = self._loc_and_scale(scores)
        if rows.ys is not None:
            classification_term(rows.ys, self._class_logits(scores), self.alpha)
            if self.posterior_shift:
                loc = loc + self.shift[rows.ys]
                scale = scale * self.log_rescale[rows.ys].exp()
        return self._simplex(pyro.sample("a", dist.Normal(loc, scale).to_event(1)))
