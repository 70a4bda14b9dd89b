"""Estimates of the enumerated ELBO from a few classes, drawn in each step."""

from typing import Any

import torch
from pyro.infer import TraceGraph_ELBO
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.elbos.terms import Program, loss_and_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Natural, Size
from pyro_ssl.options import checked


class RaoBlackwell_ELBO(StaticEnum_ELBO):  # noqa: N801
    """An unbiased estimate of the enumerated ELBO from some of the classes.

    For each row, the `num_summed` most probable classes C under the guide have the weight
    w_j = q(y_j|x). One class is drawn from the others, in proportion to q, with the weight
    1 - sum_C q(y_j|x). Value and gradient follow the formula of `StaticEnum_ELBO` over these
    classes, where b is the mean of f over C. Both are unbiased; b does not depend on the drawn
    class and only lowers the variance. The programs' cost grows with `num_summed`, not with the
    number of classes. If there are at most `num_summed + 1` classes, all are summed.

    Source: Liu, Regier, Tripuraneni, Jordan, McAuliffe, "Rao-Blackwellized stochastic gradients
    for discrete distributions", ICML 2019, section 3.

    Args:
        num_summed: number of classes summed for each row.
        max_plate_nesting: largest number of plates around a site.
        num_particles: see `StaticEnum_ELBO`; the classes are drawn anew for each particle.

    Raises:
        ConfigError: if `num_summed` is below 1, or, at evaluation, if `StaticEnum_ELBO` does not
            take the programs.
    """

    @checked
    def __init__(
        self, num_summed: Size = 1, max_plate_nesting: Natural = 1, num_particles: Size = 1
    ) -> None:
        super().__init__(max_plate_nesting, num_particles=num_particles)
        self.num_summed = num_summed

    def _chooser(self) -> Messenger:
        return _SumAndSample(self.num_summed, first_available_dim=-1 - self.max_plate_nesting)


class LeaveOneOut_ELBO(StaticEnum_ELBO):  # noqa: N801
    """An unbiased estimate of the enumerated ELBO from draws of the label (REINFORCE).

    For each row, `num_samples` labels y_s are drawn from the guide, with replacement, each with
    its own draws of the other latents. Let f_s be the terms log p - log q of draw s, detached. The
    gradient of the label's probabilities is::

        1/S sum_s (f_s - 1/(S-1) sum_{t != s} f_t) grad log q(y_s|x)

    The baseline of a draw is the mean of the other draws. It does not depend on the draw itself, so
    the estimate is unbiased. There is nothing to learn or to tune. The programs' cost grows with
    `num_samples`, not with the number of classes.

    Source: Kool, van Hoof, Welling, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR
    workshop on deep reinforcement learning meets structured prediction, 2019, eq. 8.

    Args:
        num_samples: number of draws S for each row.
        max_plate_nesting: largest number of plates around a site.

    Raises:
        ConfigError: if `num_samples` is below 2, or, at evaluation, if `StaticEnum_ELBO` does not
            take the programs.
    """

    @checked
    def __init__(self, num_samples: Size = 2, max_plate_nesting: Natural = 1) -> None:
        super().__init__(max_plate_nesting)
        if num_samples < 2:
            raise ConfigError(
                f"num_samples is {num_samples}, expected at least 2: one draw leaves none out"
            )
        self.num_samples = num_samples

    def _chooser(self) -> Messenger:
        return _DrawSeveral(self.num_samples, first_available_dim=-1 - self.max_plate_nesting)


class ScoreFunction_ELBO(TraceGraph_ELBO):  # noqa: N801
    """Pyro's `TraceGraph_ELBO` with the loss as a tensor, for training loops that need one.

    It takes any program, and uses the baselines of the guide's sites
    (`infer={"baseline": {...}}`). Value and gradient are those of `loss_and_grads`, including the
    gradient of a learned baseline's own loss.
    """

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the negative ELBO in nats, a scalar, summed over rows.

        Its gradient is that of Pyro's surrogate loss, whose value has no meaning.
        """
        elbo, surrogate = self._loss_and_surrogate_loss(model, guide, args, kwargs)
        return surrogate - (surrogate + elbo).detach()

    def loss_and_terms(
        self, model: Program, guide: Program, *args: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `differentiable_loss` and its terms, see `pyro_ssl.elbos.loss_and_terms`."""
        return loss_and_terms(self, model, guide, *args)


class _Chooser(EnumMessenger):
    """Gives an enumerated site some classes for each row instead of all classes."""

    def _pyro_sample(self, msg: Any) -> None:
        before = msg["value"]
        super()._pyro_sample(msg)
        if msg["value"] is not before:
            self._choose(msg)

    def _choose(self, msg: Any) -> None:
        """Call `_put` with the chosen classes, or do nothing to keep all of them."""
        raise NotImplementedError

    def _put(self, msg: Any, chosen: Tensor, weights: Tensor) -> None:
        """Give the site the classes `chosen` with `weights`, both `[classes, *batch_shape]`."""
        fn = msg["fn"]
        support = fn.enumerate_support(expand=True)
        index = chosen.reshape(chosen.shape + (1,) * fn.event_dim)
        value = support.gather(0, index.expand(chosen.shape + fn.event_shape))
        # Dimensions between those of the batch and the one reserved for the classes.
        padding = (1,) * (-1 - msg["infer"]["_enumerate_dim"] - len(fn.batch_shape))
        msg["value"] = value.reshape(value.shape[:1] + padding + value.shape[1:])
        weights = weights.reshape(weights.shape[:1] + padding + weights.shape[1:])
        msg["infer"]["_class_weights"] = weights


class _SumAndSample(_Chooser):
    """Enumerates the most probable classes of each row and one of the others."""

    def __init__(self, num_summed: int, first_available_dim: int) -> None:
        super().__init__(first_available_dim)
        self.num_summed = num_summed

    @torch.no_grad()
    def _choose(self, msg: Any) -> None:
        fn, k = msg["fn"], self.num_summed
        log_q = fn.log_prob(fn.enumerate_support(expand=False))
        if len(log_q) <= k + 1:
            return
        top_log_q, top = log_q.topk(k, dim=0)
        # The argmax of log q + Gumbel noise is a draw in proportion to q.
        noise = -(-torch.rand_like(log_q).log()).log()
        drawn = (log_q + noise).scatter(0, top, -torch.inf).argmax(0, keepdim=True)
        rest = (1 - top_log_q.exp().sum(0, keepdim=True)).clamp(min=0)
        # If all other classes have probability 0, the rest is a rounding error.
        rest = torch.where(log_q.gather(0, drawn) > -torch.inf, rest, 0.0)
        self._put(msg, torch.cat([top, drawn]), torch.cat([top_log_q.exp(), rest]))
        msg["infer"]["_num_summed"] = k


class _DrawSeveral(_Chooser):
    """Draws several classes for each row."""

    def __init__(self, num_samples: int, first_available_dim: int) -> None:
        super().__init__(first_available_dim)
        self.num_samples = num_samples

    @torch.no_grad()
    def _choose(self, msg: Any) -> None:
        fn, samples = msg["fn"], self.num_samples
        log_q = fn.log_prob(fn.enumerate_support(expand=False))
        noise = -(-torch.rand_like(log_q.expand(samples, *log_q.shape)).log()).log()
        drawn = (log_q + noise).argmax(1)
        self._put(msg, drawn, torch.full_like(drawn, 1 / samples, dtype=log_q.dtype))
        msg["infer"]["_leave_one_out"] = True
