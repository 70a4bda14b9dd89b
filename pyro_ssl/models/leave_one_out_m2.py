"""M2 with several labels drawn, where each draw is a baseline for the others."""

from typing import Any

from pyro.infer import ELBO

from pyro_ssl.elbos.sampled import LeaveOneOut_ELBO
from pyro_ssl.models.m2 import M2
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked


class LeaveOneOutM2(M2):
    """M2 whose unlabelled rows visit `num_samples` labels, drawn from q(y|x).

    p, q, the objective and both programs are those of `M2`. `LeaveOneOut_ELBO` estimates value and
    gradient of an unlabelled row's bound (eq. 7 of Kingma et al. 2014) by the score function, with
    the mean of the other draws as each draw's baseline. Both estimates are unbiased.
    Under Pyro's own `TraceEnum_ELBO` this is `M2`.

    Source: Kool, van Hoof, Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR
    workshop on deep reinforcement learning meets structured prediction, 2019, eq. 8.

    Differs from the paper: it is applied to this library's `M2`, which itself differs from Kingma
    et al. 2014; draws are made with replacement.

    Args:
        num_samples: labels drawn for each row, at least 2.
        options: those of `M2`.

    Raises:
        ConfigError: if an option cannot work.
    """

    @checked
    def __init__(self, num_samples: Size = 2, **options: Any) -> None:
        super().__init__(**options)
        self.num_samples = num_samples
        self.make_elbo()

    def make_elbo(self) -> ELBO:
        """Return `LeaveOneOut_ELBO`, which draws the labels."""
        return LeaveOneOut_ELBO(self.num_samples, max_plate_nesting=1)
