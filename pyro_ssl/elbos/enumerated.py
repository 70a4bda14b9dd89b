"""The ELBO with an explicit sum over an enumerable label."""

from typing import Any

import torch
from pyro.distributions.util import is_identically_zero
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from pyro.util import check_site_shape
from torch import Tensor

from pyro_ssl.elbos.closed_form import check_order, use_closed_form_kls
from pyro_ssl.elbos.sites import (
    Site,
    class_weights,
    depends_on,
    enumeration_dim,
    is_enumerated,
    row_weight,
    sample_sites,
)
from pyro_ssl.elbos.terms import Program, loss_and_terms
from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Natural, Size
from pyro_ssl.options import checked


class StaticEnum_ELBO(ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """The enumerated ELBO; it reads no tensor's values, so that it can be compiled.

    For the programs that it takes, it has the value and the gradient of Pyro's `TraceEnum_ELBO`.
    In these programs, discrete latents are in the guide, marked `infer={"enumerate": "parallel"}`.
    No term depends on two of them, nor on one in a plate that the term is outside of. All other
    latents are reparameterised. Pyro's ELBO reads the values of tensors (masks, NaN warnings): on a
    GPU the host has to wait for them, and neither a CUDA graph nor a compiler can record that. Here
    shapes follow from the program alone.

    Let w_j = q(y_j|x), detached, and f_j the sum of the terms log p - log q of class j. The sum
    over classes is

        sum_j w_j [f_j + (f_j - b) (log q(y_j|x) - log q(y_j|x))]

    where f_j, b and the second log q in the product are detached: the product is zero, but its
    gradient is not. The gradient is that of sum_j q_j f_j for any b, since the q_j sum to one; b is
    the mean of f, which makes rounding errors relative to the spread of f, not to f itself.

    Args:
        max_plate_nesting: largest number of plates around a site.
        closed_form_kl: compute KL(q(z|.) || p(z|.)) of continuous latents in closed form where
            torch has one. This reduces the noise in the gradient of q(z|.). It can add noise to the
            gradient of the label's distribution, for which log p(x|y,z) and the sampled
            log p(z) - log q(z|.) nearly cancel, as `benchmarks.estimators` measures. Model and
            guide must draw their latents in the same order.
        num_particles: number of draws of all latents for each row; the estimate is their mean. All
            are drawn at once, in a plate around both programs, as in Pyro's ELBOs with
            `vectorize_particles=True`.

    Raises:
        ConfigError: at evaluation, if the programs do not fit.
    """

    @checked
    def __init__(
        self, max_plate_nesting: Natural = 1, closed_form_kl: bool = False, num_particles: Size = 1
    ) -> None:
        # Pyro adds the plate of the draws, if there are several, to `max_plate_nesting`.
        super().__init__(num_particles, max_plate_nesting, vectorize_particles=True)
        self.closed_form_kl = closed_form_kl

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the negative ELBO in nats, a scalar, summed over rows."""
        model_trace, guide_trace = self._get_trace(model, guide, args, kwargs)
        labels = [site for site in sample_sites(guide_trace) if is_enumerated(site)]
        loss: Any = 0.0
        for site in sample_sites(guide_trace):
            log_prob = site["log_prob"]
            # E_q[grad log q(y)] is zero; it is left out because sampling the label makes it noisy.
            if is_enumerated(site) and depends_on(log_prob, site):
                log_prob = log_prob.detach()
            loss = loss + (row_weight(site) * _expected(log_prob, labels)).sum()
        for site in sample_sites(model_trace):
            loss = loss - (row_weight(site) * _expected(site["log_prob"], labels)).sum()
        if isinstance(loss, float):
            # Programs without any term, such as a classifier's on unlabelled rows.
            return torch.zeros(())
        return loss if self.num_particles == 1 else loss / self.num_particles

    def loss_and_terms(
        self, model: Program, guide: Program, *args: Any
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `differentiable_loss` and its terms, see `pyro_ssl.elbos.loss_and_terms`."""
        return loss_and_terms(self, model, guide, *args)

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO in nats and add its gradient to the parameters'."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    @torch.no_grad()
    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO in nats, summed over rows."""
        return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def _get_trace(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Trace, Trace]:
        """Run the guide with the classes of `_chooser`, then the model with the guide's values."""
        model, guide = (self._vectorized_num_particles(program) for program in (model, guide))
        guide = self._chooser()(guide)
        nesting = self.max_plate_nesting
        model_trace, guide_trace = get_importance_trace("flat", nesting, model, guide, args, kwargs)
        _check_summable(model_trace, guide_trace)
        _check_plates(model_trace, guide_trace, nesting)
        if self.closed_form_kl:
            check_order(model_trace, guide_trace)
            use_closed_form_kls(model_trace, guide_trace)
        return model_trace, guide_trace

    def _chooser(self) -> Messenger:
        return EnumMessenger(first_available_dim=-1 - self.max_plate_nesting)


def _expected(log_prob: Tensor, labels: list[Site]) -> Tensor:
    """Return terms whose sum has the value and the gradient of E_q[log_prob]."""
    summed = [label for label in labels if depends_on(log_prob, label)]
    if not summed:
        return log_prob
    if len(summed) > 1:
        names = " and ".join(label["name"] for label in summed)
        raise ConfigError(f"one term depends on the enumerated sites {names}, expected one of them")
    (label,) = summed
    weights = class_weights(label)
    # A class of probability 0 does not count, even if its terms are infinite.
    log_prob = torch.where(weights > 0, log_prob, 0.0)
    value = log_prob.detach()
    advantage = value - _baseline(value, weights, label)
    return weights * (log_prob + advantage * _score(weights, label))


def _score(weights: Tensor, label: Site) -> Tensor:
    """Return zeros whose gradient, times the classes' values, is the score-function term."""
    score = label["infer"].get("_score")
    if score is not None:
        return score
    log_q = torch.where(weights > 0, label["unscaled_log_prob"], 0.0)
    return log_q - log_q.detach()


def _baseline(value: Tensor, weights: Tensor, label: Site) -> Tensor:
    """Return the baseline of each class's value; it never depends on that class's draw."""
    dim = enumeration_dim(label)
    if label["infer"].get("_leave_one_out"):
        return (value.sum(dim, keepdim=True) - value) / (value.shape[dim] - 1)
    summed = label["infer"].get("_num_summed", weights.shape[dim])
    mean = (weights * value).narrow(dim, 0, summed).sum(dim, keepdim=True)
    return mean / weights.narrow(dim, 0, summed).sum(dim, keepdim=True)


def _check_plates(model_trace: Trace, guide_trace: Trace, max_plate_nesting: int) -> None:
    """Check that the terms of an enumerated label are within the label's plates.

    Outside of a plate of n rows, a term depends on the labels of all rows. Its expectation is then
    a sum over K^n combinations, not over K classes.
    """
    programs = (("guide", guide_trace), ("model", model_trace))
    labels = [site for site in sample_sites(guide_trace) if is_enumerated(site)]
    for program, trace in programs if labels else ():
        for site in sample_sites(trace):
            _check_shape(site, program, max_plate_nesting)
        for label in labels:
            # Model and guide may give their plates different names, but not different sizes.
            own = trace.nodes.get(label["name"], label)
            if _sizes(own) != _sizes(label):
                raise ConfigError(
                    f"the enumerated site {label['name']!r} is in plates of the sizes "
                    f"{_sizes(own)} in the model, but {_sizes(label)} in the guide (by "
                    "dimension): put it into the same plates"
                )
            for site in sample_sites(trace):
                inside = {plate.name for plate in _plates(site)}
                outside = [plate.name for plate in _plates(own) if plate.name not in inside]
                if outside and depends_on(site["log_prob"], label):
                    raise ConfigError(
                        f"site {site['name']!r} of the {program} depends on the enumerated site "
                        f"{label['name']!r}, but is outside of its plate {outside[0]!r}, where it "
                        "depends on all rows' classes together: put it into that plate, or draw "
                        f"{label['name']!r} instead of enumerating it, under TraceGraph_ELBO"
                    )


def _check_shape(site: Site, program: str, max_plate_nesting: int) -> None:
    """Check that no value has a dimension without a plate, as Pyro's validation does.

    Otherwise a term without a plate could have classes in the dimension of the rows.
    """
    try:
        check_site_shape(site, max_plate_nesting)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the {program} cannot be summed over classes: {reason}") from error


def _plates(site: Site) -> list[Any]:
    return [plate for plate in site["cond_indep_stack"] if plate.vectorized]


def _sizes(site: Site) -> dict[int, int]:
    return {plate.dim: plate.size for plate in _plates(site)}


def _check_summable(model_trace: Trace, guide_trace: Trace) -> None:
    for site in sample_sites(guide_trace):
        if is_enumerated(site):
            if site["infer"].get("num_samples") is not None:
                raise ConfigError(
                    f"site {site['name']!r} of the guide asks for num_samples draws, expected all "
                    "classes: leave num_samples out, or use TraceTMC_ELBO"
                )
        elif not is_identically_zero(site["score_parts"].score_function):
            raise ConfigError(
                f"site {site['name']!r} of the guide is neither enumerated nor reparameterised: "
                'mark it infer={"enumerate": "parallel"} (a factor, has_rsample=True), or use '
                "TraceGraph_ELBO"
            )
    for site in sample_sites(model_trace):
        if not site["is_observed"] and site["name"] not in guide_trace.nodes:
            raise ConfigError(
                f"site {site['name']!r} of the model is not in the guide: give it one, or use "
                "TraceEnum_ELBO, which can enumerate it in the model"
            )
