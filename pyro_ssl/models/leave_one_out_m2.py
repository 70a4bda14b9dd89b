"""M2 with several drawn labels, each of which is a baseline for the others."""

from typing import Any

from pyro.infer import ELBO

from pyro_ssl.elbos.sampled import LeaveOneOut_ELBO
from pyro_ssl.models.m2 import M2
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


class LeaveOneOutM2(M2):
    """M2 that draws `num_samples` labels from q(y|x) for each unlabelled row.

    p, q, the objective and both programs are those of `M2`. `LeaveOneOut_ELBO` estimates the bound
    of an unlabelled row (eq. 7 of Kingma et al. 2014) and its gradient by the score function; the
    baseline of each draw is the mean over the other draws. Both estimates are unbiased.
    Under Pyro's own `TraceEnum_ELBO` this is `M2`.

    Source: Kool, van Hoof, Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR
    workshop on deep reinforcement learning meets structured prediction, 2019, eq. 8.

    Differs from the paper: it is applied to this library's `M2`, which itself differs from Kingma
    et al. 2014; draws are made with replacement.

    Args:
        num_samples: number of labels drawn for each row, at least 2.
        options: those of `M2`.

    Raises:
        ConfigError: if an option is invalid.
    """

    @checked
    def __init__(self, num_samples: Size = 2, **options: Any) -> None:
        super().__init__(**options)
        self.num_samples = num_samples
        self.make_elbo()

    def make_elbo(self) -> ELBO:
        """Return `LeaveOneOut_ELBO`, which draws the labels."""
        return LeaveOneOut_ELBO(self.num_samples, max_plate_nesting=1)
