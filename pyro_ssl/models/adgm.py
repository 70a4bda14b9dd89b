"""ADGM: the auxiliary deep generative model of Maaloe et al. (2016)."""

import pyro
from torch import Tensor, nn

from pyro_ssl.models.auxiliary import AuxiliaryModel
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of
from pyro_ssl.models.rows import Rows


class ADGM(AuxiliaryModel):
    """Auxiliary deep generative model: M2 with an auxiliary latent a for a more flexible guide.

    Generative program, with K classes, D dimensions of z and A of a, which does not change
    p(x, y, z)::

        p(y) = Categorical(label_prior)    p(z) = Normal(0, I_D)
        p(x|y,z) = likelihood(decoder(z, y))
        p(a|x,y,z) = Normal(loc(x, z, y), diag scale(x, z, y)^2)

    Guide::

        q(a|x) = Normal(loc(x), diag scale(x)^2)    q(y|a,x) = Categorical(classifier(x, a))
        q(z|a,y,x) = Normal(loc(x, a, y), diag scale(x, a, y)^2)

    so that q(y|x) and q(z|x,y) are mixtures over a. Objective, maximised, for a labelled row and
    an unlabelled one::

        -L(x,y) = E_q(a|x) E_q(z|a,y,x)[log p(x,y,z) + log p(a|x,y,z) - log q(a|x) - log q(z|a,y,x)]
        -U(x)   = E_q(a|x) sum_y q(y|a,x) (E_q(z|a,y,x)[as above] - log q(y|a,x))

    plus a classification term for labelled rows, E_q(a|x)[log q(y|a,x)], weighed as in `M2`.

    The published accuracy is 99.04 +- 0.02 % on MNIST with 100 labels; no public code is known to
    reproduce it. Re-implementations report 95.5 to 97.9 %. The authors' own log, of 1,000 epochs,
    ends at 98.8 %; its best value, with 100 draws, is 98.93 %. Their code keeps the unlabelled rows
    sorted by class and never shuffles them, so that a batch contains one class or two; `fit`
    shuffles. Their code also trains another model: its p(a) is Normal(0, I_A), its q(z|x,y) does
    not see a, and its list of trained parameters lacks those of q(a|x).

    Source: Maaloe, Sonderby, Sonderby, Winther, "Auxiliary deep generative models", ICML 2016,
    arXiv 1602.05473, section 2.

    Differs from the paper: scales are softplus of the output plus 1e-4 (plus 1e-2 in p(a|.), to
    bound the density), not exponentials; weights are initialised as torch does; the paper mentions
    a warm-up of the KL divergences, which the authors' code and this model lack (see
    `FitConfig.anneal`); the sum over classes may be Rao-Blackwellised; likelihoods, label priors,
    batch norm and input dropout are options. In -U(x), the authors' code multiplies two means over
    draws, of q(y|a,x) and of the bound; this model takes the mean of their product. Their code also
    clips each element of the gradient.

    The arguments are those of `AuxiliaryModel`. The paper's ADGM has no batch norm. The authors'
    code uses alpha = 1,200 and gives the labelled and the unlabelled bound equal weights, whatever
    the numbers of rows; see `FitConfig.bound_weights`.

    Raises:
        ConfigError: if an option is invalid.
    """

    def _generative_networks(self, make: NetworkMaker) -> tuple[nn.Module, nn.Module]:
        latent, classes, norm = self.latent_dim, self.num_classes, self.batch_norm
        of_a = make.encoder(None, "", 2 * self.auxiliary_dim, classes, norm, beside=latent)
        return make.decoder(None, latent, classes, norm), of_a

    def _generate(self, rows: Rows, ys: Tensor, zs: Tensor, apart: bool) -> None:
        given = self._covariates(rows.xs)
        outputs = self._outputs(zs, ys, given, apart=apart)
        self._observe_inputs(rows.xs, self._p_x_of(outputs, given))
        p_a = self.auxiliary_decoder(self._encoded(rows.xs), ys, apart, zs)
        pyro.sample("a", normal_of(p_a, 1e-2).to_event(1))
