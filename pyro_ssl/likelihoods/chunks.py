"""p(x|y,z) of many classes, computed for a few classes at a time."""

from collections.abc import Callable
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_ssl.errors import ConfigError
from pyro_ssl.nets.mlp import in_class_chunks


def check_class_chunk(class_chunk: int | None, summing_none: str | None) -> None:
    """Check the option `class_chunk`.

    Args:
        class_chunk: the option.
        summing_none: the model's name if it sums over no labels, else None.

    Raises:
        ConfigError: if it is set for a model that sums over no labels.
    """
    if class_chunk is not None and summing_none is not None:
        raise ConfigError(
            f"class_chunk is {class_chunk}, but {summing_none} sums no labels: use None"
        )


def chunk_of_summed(ys: Tensor, chunk: int | None) -> int | None:
    """Return `chunk` for labels `[K, ...]` that are summed over, or None for known labels."""
    summed = ys.dim() > 1 and not ys.is_floating_point()
    return chunk if summed else None


def in_likelihood_chunks(
    family: Callable[..., dist.TorchDistribution],
    zs: Tensor,
    ys: Tensor,
    chunk: int | None,
    event_shape: tuple[int, ...],
) -> dist.TorchDistribution:
    """Return `family(zs, ys)`, as `ClassChunks` if labels are summed over in chunks.

    Args:
        family: returns p(x|y,z); it runs the decoder.
        zs: latents `[..., D]`.
        ys: labels.
        chunk: number of classes at a time; None for all.
        event_shape: shape of one input.
    """
    chunk = chunk_of_summed(ys, chunk)
    if chunk is None:
        return family(zs, ys)
    return ClassChunks(family, (zs, ys), chunk, zs.shape[:-1], torch.Size(event_shape))


class ClassChunks(dist.TorchDistribution):
    """p(x | y, z) for many classes, whose log-probability is computed chunk by chunk.

    Args:
        family: returns the distribution for given tensors; it runs the decoder.
        tensors: the arguments of `family`, each with the classes as first dimension.
        chunk: number of classes at a time.
        batch_shape: batch shape of `family(*tensors)`.
        event_shape: event shape of `family(*tensors)`.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        family: Callable[..., dist.TorchDistribution],
        tensors: tuple[Tensor, ...],
        chunk: int,
        batch_shape: torch.Size,
        event_shape: torch.Size,
    ) -> None:
        super().__init__(batch_shape, event_shape, validate_args=False)
        self.family, self.tensors, self.chunk = family, tensors, chunk
        # Kept, since an ELBO asks for the log-probability after the model's autocast has ended.
        kind = tensors[0].device.type
        self._autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value) in nats, of the batch shape."""
        kind, dtype, enabled = self._autocast

        def of_chunk(*tensors: Tensor) -> Tensor:
            with torch.autocast(kind, dtype, enabled):
                likelihood = self.family(*tensors)
            return likelihood.log_prob(value)

        return in_class_chunks(of_chunk, self.chunk, *self.tensors)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw from all classes at once, `[*sample_shape, *batch_shape, *event_shape]`."""
        return self.family(*self.tensors).sample(sample_shape)
