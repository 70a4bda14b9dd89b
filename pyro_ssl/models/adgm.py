"""ADGM: the auxiliary deep generative model of Maaloe et al. (2016)."""

import pyro
from torch import Tensor, nn

from pyro_ssl.models.auxiliary import AuxiliaryModel
from pyro_ssl.models.networks import NetworkMaker
from pyro_ssl.models.normal import normal_of
from pyro_ssl.models.rows import Rows


class ADGM(AuxiliaryModel):
    """Auxiliary deep generative model: M2 with a latent a that makes its guide more flexible.

    Generative program, with K classes, D dimensions of z and A of the auxiliary a, which changes
    nothing about p(x, y, z)::

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

    plus a classification term of labelled rows, E_q(a|x)[log q(y|a,x)], weighed as in `M2`.

    What is known of the published accuracy, 99.04 +- 0.02 % on MNIST with 100 labels: no public
    code is known to reproduce it. Re-implementers report 95.5 to 97.9 %; the authors' own log, of
    1,000 epochs, ends at 98.8 %, at best 98.93 % with 100 draws. In their code unlabelled rows lie
    class by class and were never shuffled, so that those of a batch are of one class, or two; `fit`
    shuffles. The model of that code is another one: its p(a) is Normal(0, I_A), its q(z|x,y) does
    not see a, and the list of parameters that it trains leaves those of q(a|x) out.

    Source: Maaloe, Sonderby, Sonderby, Winther, "Auxiliary deep generative models", ICML 2016,
    arXiv 1602.05473, section 2.

    Differs from the paper: scales are softplus of the output plus 1e-4 (of p(a|.) plus 1e-2, so
    that the density is bounded), not exponentials; weights are initialised as torch does; the paper
    mentions a warm-up of the KL divergences, which its code and this model lack (see
    `FitConfig.anneal`); the sum over classes may be Rao-Blackwellised; likelihoods, label priors,
    batch norm and input dropout are options. Its code multiplies q(y|a,x) and the bound as means
    over draws in -U(x), where this is the mean of their product; it clips each element of the
    gradient, too.

    The arguments are those of `AuxiliaryModel`. The paper's ADGM has no batch norm; the weight
    alpha of the authors' code is 1,200, beside bounds that weigh the same whatever the numbers of
    rows, see `FitConfig.bound_weights`.

    Raises:
        ConfigError: if an option cannot work.
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
