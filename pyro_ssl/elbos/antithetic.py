"""Estimates of the ELBO of binary latents from an antithetic pair of draws: ARM and DisARM."""

from typing import Annotated, Any

import pyro.distributions as dist
import torch
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_ssl.elbos.enumerated import StaticEnum_ELBO
from pyro_ssl.errors import ConfigError, ObjectiveError
from pyro_ssl.option_kinds import Natural, OneOf
from pyro_ssl.options import checked

Kind = Annotated[str, OneOf(("arm", "disarm"))]


class BernoulliCode(dist.Independent):
    """Independent bits as one code; their codes are too many to sum over.

    Args:
        base_distribution: `Bernoulli(logits=...)`, with the bits as the last dimension.
        reinterpreted_batch_ndims: 1.
    """

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Refuse to enumerate, since B bits have 2^B codes.

        Raises:
            ObjectiveError: always.
        """
        raise ObjectiveError(
            "the ELBO in use would sum over all codes of the guide's bits, of which there are "
            "2^B: use the model's own ELBO, SVI(m.model, m.guide, optimiser, m.make_elbo())"
        )


class Antithetic_ELBO(StaticEnum_ELBO):  # noqa: N801  (named like Pyro's TraceEnum_ELBO)
    """An unbiased estimate of the ELBO of Bernoulli latents, from two draws.

    A guide must have a site `Bernoulli(logits=a).to_event(1)`, or a `BernoulliCode`, marked
    `infer={"enumerate": "parallel"}`; its codes are never enumerated. A uniform u for each bit
    gives two codes, each of which is a draw from the guide::

        b = 1[u < sigmoid(a)]        b' = 1[1 - u < sigmoid(a)]

    The value is the mean over both. Let f be the sum of the terms log p - log q that depend on the
    code, detached. The gradient with respect to the logit of each bit is::

        ARM       (f(b) - f(b')) (1/2 - u)
        DisARM    1/2 (f(b) - f(b')) (-1)^b' 1[b != b'] sigmoid(|a|)

    Both are unbiased. DisARM is the mean of ARM over all u that give the same pair, so its variance
    is never larger. With `closed_form_kl`, KL(q(z|x) || p(z)) is computed in closed form and is not
    a part of f.

    Source: Yin and Zhou, "ARM: augment-REINFORCE-merge gradient for stochastic binary networks",
    ICLR 2019, eq. 8; Dong, Mnih, Tucker, "DisARM: an antithetic gradient estimator for binary
    latent variables", NeurIPS 2020, eq. 4 (the same as "U2G" of Yin et al. 2020).

    Args:
        kind: `arm` or `disarm`.
        max_plate_nesting: largest number of plates around a site.
        closed_form_kl: see `StaticEnum_ELBO`.

    Raises:
        ConfigError: if `kind` is unknown, or, at evaluation, if the programs do not fit.
    """

    @checked
    def __init__(
        self, kind: Kind = "disarm", max_plate_nesting: Natural = 1, closed_form_kl: bool = True
    ) -> None:
        super().__init__(max_plate_nesting, closed_form_kl)
        self.kind = kind

    def _chooser(self) -> Messenger:
        return _AntitheticPair(self.kind, first_available_dim=-1 - self.max_plate_nesting)


class _AntitheticPair(EnumMessenger):
    """Gives an enumerated site two codes for each row instead of all codes."""

    def __init__(self, kind: str, first_available_dim: int) -> None:
        super().__init__(first_available_dim)
        self.kind = kind

    def _pyro_sample(self, msg: Any) -> None:
        infer = msg["infer"]
        if msg["done"] or msg["is_observed"] or infer.get("enumerate") != "parallel":
            return
        base = getattr(msg["fn"], "base_dist", None)
        logits = getattr(base, "logits", None)
        if logits is None or msg["fn"].event_dim != 1 or msg["fn"].has_enumerate_support:
            raise ConfigError(
                f"site {msg['name']!r} of the guide is a {type(msg['fn']).__name__}, expected "
                "Bernoulli(logits=...).to_event(1)"
            )
        # Pyro makes a dimension for two draws; the pair then replaces their values.
        infer["num_samples"] = 2
        super()._pyro_sample(msg)
        del infer["num_samples"]
        self._put_pair(msg, logits)

    def _put_pair(self, msg: Any, logits: Tensor) -> None:
        with torch.no_grad():
            on, u = logits.sigmoid(), torch.rand_like(logits)
            pair = torch.stack([u < on, 1 - u < on]).to(logits.dtype)
            factors = 1 - 2 * u
            if self.kind == "disarm":
                factors = (pair[0] - pair[1]) * logits.abs().sigmoid()
        # The value of this term is zero; only its gradient counts.
        score = (factors * (logits - logits.detach())).sum(-1)
        shape = msg["value"].shape
        msg["value"] = pair.view(shape)
        infer = msg["infer"]
        infer["_score"] = torch.stack([score, -score]).view(shape[:-1])
        infer["_class_weights"] = torch.full_like(infer["_score"], 0.5, requires_grad=False)
