"""A plain autoencoder with the networks of `VAE`, to compare the two."""

import pyro
import torch
from torch import Tensor

from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.rows import Batch
from pyro_ssl.models.vae import VAE
from pyro_ssl.nets.modes import evaluating


class Autoencoder(VAE):
    """Deterministic autoencoder with the networks of `VAE`.

    The generative program computes `z = loc(x)` from its own input and uses the p(x|z) of `VAE`;
    the guide is empty. Objective, maximised: log p(x | z = loc(x)) for each row, which is the
    ELBO's reconstruction term without noise and without the KL. The encoder's outputs for the
    scale are unused, so that both models have the same parameters and the same initial weights.

    Validation reports `validation_log_prob_x`, as there is no ELBO.

    Its options are those of `VAE`, but for those about draws of z.

    Differs from the paper: no paper; comparing it with `VAE` shows the effect of the KL.
    """

    objective_name = "log_prob_x"
    _draws_z = False

    def model(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Run p(x | z = loc(x)) on `xs` `[B, *input_shape]`; arguments as for `VAE.model`."""
        pyro.module(self._name, self)
        batch = self._batch(xs, ys)
        parts, codes = batch.parts(), self._code(batch.xs)
        self.observe(parts, [codes[rows.index] for rows in parts])

    def guide(self, xs: Tensor | Batch, ys: Tensor | None = None) -> None:
        """Do nothing, since nothing is latent; arguments as for `model`."""

    @checks_data
    def encode(self, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code of `xs` and a scale of 0, each `[B, D]`, in evaluation mode."""
        with evaluating(self):
            code = self._code(xs)
        return code, torch.zeros_like(code)

    def _code(self, xs: Tensor) -> Tensor:
        return self.encoder(self._flat(xs)).chunk(2, -1)[0]
