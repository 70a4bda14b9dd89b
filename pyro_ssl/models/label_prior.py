"""p(y): uniform, given, or learned."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from pyro_ssl.errors import ConfigError
from pyro_ssl.option_kinds import Elsewhere, shown

# Checked in `LabelPrior`, since what is valid depends on the number of classes.
Prior = Annotated[str | Sequence[float], Elsewhere()]


class LabelPrior(nn.Module):
    """The prior p(y) over K classes.

    Args:
        label_prior: `"uniform"`; the K probabilities; or `"learned"`, which trains p(y) with all
            other parameters, starting from the uniform prior: log p(y) is then a trained term of
            the bound.
        num_classes: number of classes K.

    Attributes:
        option: `label_prior` as plain Python numbers.

    Raises:
        ConfigError: if `label_prior` is none of these.
    """

    def __init__(self, label_prior: str | Sequence[float], num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.option = _checked(label_prior, num_classes)
        self.logits: Tensor | None
        if self.option == "learned":
            self.logits = nn.Parameter(torch.zeros(num_classes))
        elif self.option == "uniform":
            self.logits = None
        else:
            self.register_buffer("logits", torch.zeros(num_classes), persistent=False)
            self._set_given()

    def _apply(self, fn: Any, recurse: bool = True) -> "LabelPrior":
        super()._apply(fn, recurse)
        self._set_given()
        return self

    def _set_given(self) -> None:
        """Compute logits from the given probabilities, not from logits rounded to another dtype."""
        if isinstance(self.option, tuple):
            assert self.logits is not None
            exact = torch.tensor(self.option, dtype=torch.float64).log()
            self.logits = exact.to(self.logits)

    @property
    def learned(self) -> bool:
        """Whether p(y) is trained."""
        return self.option == "learned"

    def forward(self, like: Tensor) -> Tensor:
        """Return unnormalised log p(y), `[K]`, of the dtype and on the device of `like`."""
        return like.new_zeros(self.num_classes) if self.logits is None else self.logits

    def kl_from(self, log_q: Tensor) -> Tensor:
        """Return KL(q(y) || p(y)) in nats, `[...]`, of normalised log q(y), `[..., K]`."""
        if self.logits is None:
            return (log_q.exp() * (log_q + math.log(self.num_classes))).sum(-1)
        return (log_q.exp() * (log_q - self.logits.log_softmax(-1))).sum(-1)

    @torch.no_grad()
    def complete(self, ys: Tensor) -> Tensor:
        """Return labels `[B]`, with unknown ones (-1) drawn from p(y)."""
        if self.logits is None:
            drawn = torch.randint_like(ys, self.num_classes)
        else:
            shares = self.logits.softmax(-1)
            drawn = shares.multinomial(len(ys), replacement=True) if len(ys) else ys
        return torch.where(ys < 0, drawn, ys)

    def complete_any(self, ys: Tensor) -> Tensor:
        """Return `complete(ys)`, `[B]`, but draw nothing if all labels are known."""
        return self.complete(ys) if bool((ys < 0).any()) else ys


def check_uniform(label_prior: Any, reason: str) -> None:
    """Check that `label_prior` has its default value, in a model whose p(y) cannot be chosen.

    Args:
        label_prior: the option.
        reason: why it cannot be chosen, for the error.

    Raises:
        ConfigError: if it is not `"uniform"`.
    """
    if not (isinstance(label_prior, str) and label_prior == "uniform"):
        raise ConfigError(f"label_prior is {shown(label_prior)}, but {reason}: leave it 'uniform'")


def _checked(label_prior: Any, num_classes: int) -> str | tuple[float, ...]:
    if isinstance(label_prior, str) and label_prior in ("uniform", "learned"):
        return label_prior
    try:
        shares = tuple(float(share) for share in label_prior)
    except (TypeError, ValueError, OverflowError):
        shares = ()
    if len(shares) != num_classes or not all(p > 0 for p in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"label_prior is {shown(label_prior)}, expected 'uniform', 'learned', or {num_classes} "
            "positive probabilities that sum to 1"
        )
    return shares
