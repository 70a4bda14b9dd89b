"""Frechet distance between sets of images, from features of Inception or of a classifier."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_ssl.errors import ConfigError, DataError
from pyro_ssl.models import MLPClassifier
from pyro_ssl.option_kinds import Size
from pyro_ssl.options import checked

# torch-fidelity's name for the weights behind all published distances.
_INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


class ClassifierFeatures(nn.Module):
    """The last hidden layer of a classifier as features of images.

    Args:
        classifier: a trained classifier with at least one hidden layer.

    Attributes:
        num_features: number of units in that layer.
    """

    @checked
    def __init__(self, classifier: MLPClassifier) -> None:
        super().__init__()
        if not classifier.hidden_dims:
            raise ConfigError("classifier has no hidden layer, whose units could be features")
        self.classifier = classifier.eval()
        self.num_features = classifier.hidden_dims[-1]

    def forward(self, xs: Tensor) -> Tensor:
        """Return features `[B, num_features]` of images `[B, *input_shape]` in [0, 1]."""
        found: list[Tensor] = []
        last = self.classifier.classifier.layers[-1]
        hook = last.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        try:
            self.classifier.class_logits(xs)
        finally:
            hook.remove()
        return found[0]


def inception_weights() -> Path | None:
    """Return the file of Inception's weights; None if it or torch-fidelity is missing.

    The file is searched in the folder in which torch.hub keeps downloads.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / _INCEPTION_FILE
    return file if find_spec("torch_fidelity") and file.is_file() else None


class FrechetDistance:
    """The Frechet distance between sets of images and a reference set, with torchmetrics.

    This is `|m - m'|^2 + trace(C + C' - 2 (C C')^(1/2))` for the means m and covariances C of
    features. The features are Inception's 2048 (Heusel et al. 2017) or those of a classifier; the
    two distances have different scales. A distance falls with the number of images: compare sets of
    the same size.

    Args:
        reference: images `[N, C, H, W]`, clamped to [0, 1].
        features: a classifier's features; None for Inception's.
        at_once: number of images evaluated together.

    Raises:
        DataError: if there are fewer than two images, or Inception is needed but missing.
    """

    @checked
    def __init__(
        self, reference: Tensor, features: ClassifierFeatures | None = None, at_once: Size = 500
    ) -> None:
        # Imported here because the import takes a second and 200 MB, which few programs need.
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.at_once, self.grey_ok = at_once, features is not None
        if features is None:
            weights = inception_weights()
            if weights is None:
                raise DataError(
                    f"Inception's features need torch-fidelity and its {_INCEPTION_FILE} in "
                    f"{torch.hub.get_dir()}/checkpoints: install them, or pass a classifier's"
                )
            metric = FrechetInceptionDistance(
                2048,
                reset_real_features=False,
                normalize=True,
                feature_extractor_weights_path=str(weights),
            )
        else:
            metric = FrechetInceptionDistance(features, reset_real_features=False, normalize=True)
        self.metric = metric.to(reference.device)
        self._update(reference, real=True)

    @checked
    def __call__(self, images: Tensor) -> float:
        """Return the distance of `images` `[M, C, H, W]` from the reference set."""
        self.metric.reset()
        self._update(images, real=False)
        return self.metric.compute().item()

    @torch.no_grad()
    def _update(self, images: Tensor, real: bool) -> None:
        if images.dim() != 4 or not images.is_floating_point():
            raise DataError(
                f"images has shape {list(images.shape)} and dtype {images.dtype}, expected floats "
                "[N, C, H, W]"
            )
        if len(images) < 2 or not bool(images.isfinite().all()):
            raise DataError(f"there are {len(images)} images, expected two at least, all finite")
        for part in images.split(self.at_once):
            shown = part.clamp(0, 1)
            if shown.shape[1] == 1 and not self.grey_ok:
                shown = shown.expand(-1, 3, -1, -1)
            self.metric.update(shown, real=real)


def padded(xs: Tensor, side: int) -> Tensor:
    """Return images `[N, C, H, W]` with a border of zeros, `[N, C, side, side]`."""
    height, width = side - xs.shape[-2], side - xs.shape[-1]
    return F.pad(xs, (width // 2, width - width // 2, height // 2, height - height // 2))
