"""M2 written by hand in PyTorch, without Pyro, for speed."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainM2(nn.Module):
    """M2 with one hidden layer in each network; labels are added as embeddings.

    Args:
        pixels: size of an input.
        num_classes: number of classes.
        hidden: width of each hidden layer.
        latent: dimensions of z.
        classification_weight: weight of log q(y|x) of labelled rows.
    """

    def __init__(
        self,
        pixels: int,
        num_classes: int,
        hidden: int,
        latent: int,
        classification_weight: float = 50.0,
    ) -> None:
        super().__init__()
        self.num_classes, self.latent = num_classes, latent
        self.classification_weight = classification_weight
        self.classifier = nn.Sequential(
            nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)
        )
        self.encoder_in, self.encoder_out = nn.Linear(pixels, hidden), nn.Linear(hidden, 2 * latent)
        self.decoder_in, self.decoder_out = nn.Linear(latent, hidden), nn.Linear(hidden, pixels)
        self.encoder_label = nn.Embedding(num_classes, hidden)
        self.decoder_label = nn.Embedding(num_classes, hidden)

    def unlabelled_loss(self, xs: Tensor) -> Tensor:
        """Return the sum of U(x) over rows `[B, pixels]`."""
        log_q = self.classifier(xs).to(xs.dtype).log_softmax(-1).T
        bound = self._bound(xs, self.encoder_label.weight, self.decoder_label.weight)
        return -(log_q.exp() * (bound - log_q)).sum()

    def labelled_loss(self, xs: Tensor, ys: Tensor) -> Tensor:
        """Return the sum of L(x, y) and the weighted -log q(y|x) over rows with labels `[B]`."""
        log_q = self.classifier(xs).to(xs.dtype).log_softmax(-1).gather(-1, ys[:, None])
        bound = self._bound(xs, self.encoder_label(ys)[None], self.decoder_label(ys)[None], False)
        return -bound.sum() - self.classification_weight * log_q.sum()

    def _bound(
        self, xs: Tensor, encoder_label: Tensor, decoder_label: Tensor, all_classes: bool = True
    ) -> Tensor:
        """Return -L, `[K, B]`, of rows for all classes (or `[1, B]` for their labels)."""
        if all_classes:
            encoder_label, decoder_label = encoder_label[:, None], decoder_label[:, None]
        hidden = F.relu(self.encoder_in(xs) + encoder_label)
        loc, raw = self.encoder_out(hidden).to(xs.dtype).chunk(2, -1)
        scale = F.softplus(raw) + 1e-4
        noise = torch.randn_like(loc)
        zs = loc + scale * noise
        hidden = F.relu(self.decoder_in(zs) + decoder_label)
        logits = self.decoder_out(hidden).to(xs.dtype)
        size = logits.abs()
        log_px = ((xs - 0.5) * logits - 0.5 * size - (1 + (-size).exp()).log()).sum(-1)
        return (
            log_px - math.log(self.num_classes) + (0.5 * (noise**2 - zs**2) + scale.log()).sum(-1)
        )


def make_step(
    model: nn.Module,
    loss: Callable[..., Tensor],
    precision: torch.dtype,
    compiled: bool,
    learning_rate: float = 1e-3,
) -> Callable[..., None]:
    """Return a training step on `loss`; it takes the arguments of `loss`.

    Args:
        model: the model.
        loss: one of its losses.
        precision: dtype of matrix products.
        compiled: compile the loss.
        learning_rate: Adam's step size.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)

    def evaluate(*args: Tensor) -> Tensor:
        context: AbstractContextManager[None] = nullcontext()
        if precision != torch.float32:
            context = torch.autocast(args[0].device.type, precision)
        with context:
            return loss(*args)

    # Without this option the compiled step takes 1.5 times as long on a CPU.
    options: dict[str, Any] = {"fallback_random": True}
    function = torch.compile(evaluate, options=options) if compiled else evaluate

    def step(*args: Tensor) -> None:
        optimiser.zero_grad()
        function(*args).backward()
        optimiser.step()

    return step
