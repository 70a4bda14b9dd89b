"""M2 with the likeliest labels summed and one of the others drawn, Liu et al. (2019)."""

from typing import Any

from pyro.infer import ELBO

from pyro_ssl.elbos.sampled import RaoBlackwell_ELBO
from pyro_ssl.models.m2 import M2
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


class RaoBlackwellM2(M2):
    """M2 that visits `num_summed + 1` classes for each unlabelled row instead of all.

    p, q, the objective and both programs are those of `M2`. `RaoBlackwell_ELBO` estimates the sum
    over classes of an unlabelled row (eq. 7 of Kingma et al. 2014). C are the `num_summed` most
    probable classes under q(y|x), and v is drawn from the others in proportion to q(y|x)::

        sum_{y in C} q(y|x) (-L(x,y) - log q(y|x))
            + (1 - sum_{y in C} q(y|x)) (-L(x,v) - log q(v|x))

    Value and gradient are unbiased: the choice of v contributes its score-function term, whose
    baseline is the mean over C. Except for the classifier's last layer, a step costs as much with a
    thousand classes as with ten. Under Pyro's own `TraceEnum_ELBO` this is `M2`.

    Source: Liu, Regier, Tripuraneni, Jordan, McAuliffe, "Rao-Blackwellized stochastic gradients
    for discrete distributions", ICML 2019, sections 3 and 5.2.

    Differs from the paper: the score-function term always has the baseline above; the model is this
    library's `M2`, which itself differs from Kingma et al. 2014.

    Args:
        num_summed: number of classes in C, at least 1.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    @checked
    def __init__(self, num_summed: Size = 1, **options: Any) -> None:
        super().__init__(**options)
        self.num_summed = num_summed
        self.make_elbo()

    def make_elbo(self) -> ELBO:
        """Return `RaoBlackwell_ELBO`, which chooses the classes."""
        return RaoBlackwell_ELBO(self.num_summed, max_plate_nesting=1)
