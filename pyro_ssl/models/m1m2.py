"""M1M2: M2 on the latents of a VAE, the stacked model of Kingma et al. (2014)."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.models.calls import checks_data
from pyro_ssl.models.latent_m2 import LatentM2
from pyro_ssl.models.rows import Rows
from pyro_ssl.models.vae import VAE
from pyro_ssl.nets.modes import evaluating
from pyro_ssl.option_kinds import Natural, Range
from pyro_ssl.options import checked, converted


class M1M2(LatentM2):
    """Stacked semi-supervised model, M1+M2, as one program of two layers.

    Generative program, with K classes, D latents z1 of M1, of which M2 uses the A in `active`, and
    E latents z2::

        p(y) = Categorical(label_prior)    p(z2) = Normal(0, I_E)
        p(z1|y,z2) = Normal(loc(z2, y), diag scale(z2, y)^2) for active latents, Normal(0, 1) else
        p(x|z1) as in `VAE`

    Guide::

        q(z1|x) as in `VAE`    q(y|z1) = Categorical(classifier(z1))
        q(z2|z1,y) = Normal(loc(z1, y), diag scale(z1, y)^2)

    where classifier and encoder see only the active latents. Objective, maximised: that of
    `LatentM2` with `E_q(z1|x)[log p(x|z1)]` added for each row, the ELBO of both layers.

    There are two ways to train it. The paper trains a `VAE` first, then a `LatentM2` on its
    `posteriors`; `M1M2.on` joins the two. M1 is then fixed, so that the second step maximises the
    same objective over the upper layer's parameters, without reading any pixel. The other way is
    to train both layers at once with `train_m1=True`.

    Source: Kingma, Rezende, Mohamed, Welling, "Semi-supervised learning with deep generative
    models", NeurIPS 2014, sections 2.1 and 3. The authors' code drops inactive latents, too.

    Differs from the paper: as `VAE` and `LatentM2` do.

    Args:
        m1: options of the `VAE`, the lower layer.
        active: indices of the latents of M1 to keep, see `active_latents`; None for all.
        train_m1: train M1 too; otherwise its parameters and statistics do not change.
        options: those of `LatentM2` except `num_inputs`.

    Raises:
        ConfigError: if an option is invalid.
    """

    @checked
    def __init__(
        self,
        m1: Mapping[str, Any],
        active: Sequence[int] | None = None,
        train_m1: bool = False,
        **options: Any,
    ) -> None:
        if "num_inputs" in options:
            raise ConfigError("num_inputs follows from m1 and active: leave it out")
        unknown = m1.keys() - inspect.signature(VAE).parameters.keys()
        if unknown:
            raise ConfigError(f"m1 has {', '.join(sorted(unknown))}, which are not options of VAE")
        vae = VAE(**m1)
        if vae.prior != "normal" or vae.importance_weighted:
            raise ConfigError(
                "m1 has a learned prior or an importance-weighted bound, but here p(z1) is that of "
                "the upper layer, and the bound the ELBO of both: leave them out"
            )
        kept = tuple(range(vae.latent_dim)) if active is None else tuple(active)
        if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(vae.latent_dim)):
            raise ConfigError(
                f"active is {kept}, expected different numbers in 0..{vae.latent_dim - 1}, at "
                "least one: if no latent of M1 is active, it has not learned anything yet"
            )
        super().__init__(num_inputs=len(kept), **options)
        self.input_shape = vae.input_shape
        self.likelihood = vae.likelihood
        self.m1 = vae.options
        self.active = kept
        self.train_m1 = train_m1
        self._active: Tensor
        self.vae = vae.requires_grad_(train_m1)
        self.register_buffer("_active", torch.tensor(kept), persistent=False)
        self.train()

    @classmethod
    def on(
        cls, vae: VAE, upper: LatentM2, active: Sequence[int] | None = None, train_m1: bool = False
    ) -> "M1M2":
        """Return the M1M2 made of copies of two layers that were trained one after the other.

        Args:
            vae: M1.
            upper: M2 on the active latents of M1.
            active: indices of these latents; None for all.
            train_m1: as for `M1M2`.

        Raises:
            ConfigError: if `upper` takes a different number of latents.
        """
        kept = vae.latent_dim if active is None else len(active)
        if upper.num_inputs != kept:
            raise ConfigError(
                f"upper takes {upper.num_inputs} latents, but {kept} are kept: give the active "
                "latents it was trained on"
            )
        options = upper.options
        del options["num_inputs"]
        model = cls(m1=copy.deepcopy(vae.options), active=active, train_m1=train_m1, **options)
        model.to(next(upper.parameters()))
        model.load_state_dict(upper.state_dict(), strict=False)
        model.vae.load_state_dict(vae.state_dict())
        return model

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that construct an equal model, except for its weights."""
        found = super().options
        del found["num_inputs"]
        return found

    def check(self, xs: Tensor, name: str = "xs") -> None:
        """Check that `xs` `[B, *input_shape]` are inputs of M1, see `PyroModel.check`."""
        self.vae.check(xs, name)

    def train(self, mode: bool = True) -> "M1M2":
        """Set training mode; a lower layer that is not trained stays in evaluation mode."""
        super().train(mode)
        self.vae.train(mode and self.train_m1)
        return self

    @checks_data
    def sample(self, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Draw z2 from its prior for each label of `ys` `[B]`; see `decode`."""
        parameter = next(self.parameters())
        zs = torch.randn(len(ys), self.latent_dim, dtype=parameter.dtype, device=ys.device)
        return self.decode(zs, self.p_y.complete_any(ys), covariates)

    @checks_data
    def decode(self, zs: Tensor, ys: Tensor, covariates: Tensor | None = None) -> Tensor:
        """Return the mean of p(x|z1), `[B, *input_shape]`, at z1 the mean of p(z1|y,z2).

        Args:
            zs: latents z2 `[B, E]`.
            ys: labels `[B]`.
            covariates: `[B, C]`, as for `VAE.decode`; the upper layer does not see them.
        """
        with evaluating(self):
            return self.vae.decode(self._p_z1(zs, ys).mean, covariates)

    def _trained_parts(self) -> list[str]:
        return super()._trained_parts() + ["vae"] * self.train_m1

    def _q_z1(self, xs: Tensor) -> dist.TorchDistribution:
        return self.vae.q_z(xs)

    def _kept(self, z1: Tensor) -> Tensor:
        return z1.index_select(-1, self._active)

    def _p_z1(self, z2: Tensor, ys: Tensor) -> dist.TorchDistribution:
        p_kept = super()._p_z1(z2, ys).base_dist
        everywhere = (*p_kept.loc.shape[:-1], self.vae.latent_dim)
        loc = p_kept.loc.new_zeros(everywhere).index_copy(-1, self._active, p_kept.loc)
        scale = p_kept.scale.new_ones(everywhere).index_copy(-1, self._active, p_kept.scale)
        return dist.Normal(loc, scale).to_event(1)

    def _observe(self, parts: list[Rows], z1s: list[Tensor]) -> None:
        self.vae.observe(parts, z1s)


@checked
@torch.no_grad()
def active_latents(vae: VAE, xs: Tensor, threshold: float = 0.1) -> tuple[int, ...]:
    """Return the indices of the latents whose posterior means vary over `xs`.

    Args:
        vae: M1, trained.
        xs: inputs `[N, *input_shape]`, with N in the thousands.
        threshold: standard deviation above which a latent counts as active.
    """
    vae.check(xs)
    means = torch.cat([vae.encode(chunk)[0] for chunk in xs.split(10_000)])
    return tuple(torch.where(means.std(0) > threshold)[0].tolist())


@checked
@torch.no_grad()
def posteriors(vae: VAE, xs: Tensor, active: Sequence[Natural]) -> Tensor:
    """Return mean and scale of q(z1|x), `[N, 2, A]`, the inputs of a `LatentM2`.

    Args:
        vae: M1, trained.
        xs: inputs `[N, *input_shape]`.
        active: indices of the A latents to keep.
    """
    vae.check(xs)
    converted("active", active, Sequence[Annotated[int, Range(0, vae.latent_dim - 1)]])
    found = [torch.stack(vae.encode(chunk), 1)[..., list(active)] for chunk in xs.split(10_000)]
    return torch.cat(found) if found else xs.new_zeros(0, 2, len(active))
