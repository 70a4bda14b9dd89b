"""Models and members that the tests of ensembles train, and noise that is known."""

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from pyro_ssl.infer.ensemble import EnsembleConfig, Member
from pyro_ssl.likelihoods import (
    Bernoulli,
    Categorical,
    Conditional,
    Gaussian,
    GeneCounts,
    Mixed,
    StudentT,
)
from pyro_ssl.models import (
    ADGM,
    CCVAE,
    M1M2,
    M2,
    SDGM,
    VAE,
    GumbelSoftmaxM2,
    LeaveOneOutM2,
    MLPClassifier,
    MultiLabelCCVAE,
    MultiLabelM2,
    RaoBlackwellM2,
    RegressionM2,
)
from pyro_ssl.models.rows import Batch

PLAIN = {"batch_norm": False, "input_dropout": 0.0}
SIZES = {"input_shape": (6,), "num_classes": 3, "hidden_dims": (5,), "likelihood": "gaussian"}
SMALL = {"latent_dim": 2, **SIZES, **PLAIN}
MIXED = Mixed((Gaussian(), Gaussian(), StudentT(), Bernoulli(), Categorical(3), Gaussian(0.5)))
# Counts of four genes, the size of the cell, and which of two batches it is of.
GENES = Conditional(GeneCounts(target=20.0), (Categorical(2),))
LOWER = {"input_shape": (6,), "latent_dim": 3, "hidden_dims": (4,), "likelihood": "gaussian"}
UPPER = {"num_classes": 3, "latent_dim": 2, "hidden_dims": (5,), **PLAIN}
AUXILIARY = SMALL | {"alpha": 2.0}
TWO = SMALL | {"num_classes": 2}
MODELS = {
    "M2": lambda: M2(**SMALL, label_prior="learned"),
    "RaoBlackwellM2": lambda: RaoBlackwellM2(**SMALL | {"num_classes": 6}),
    "LeaveOneOutM2": lambda: LeaveOneOutM2(num_samples=2, **SMALL),
    "GumbelSoftmaxM2": lambda: GumbelSoftmaxM2(**SMALL),
    "CCVAE": lambda: CCVAE(style_dim=2, num_samples=5, **SIZES),
    "M1M2": lambda: M1M2(LOWER, **UPPER),
    "M1M2Both": lambda: M1M2(LOWER, train_m1=True, **UPPER),
    "MLPClassifier": lambda: MLPClassifier((6,), 3, (5,), **PLAIN),
    "MixedM2": lambda: M2(**SMALL | {"likelihood": MIXED, "input_dropout": 0.3}),
    "ConditionalM2": lambda: M2(**SMALL | {"likelihood": GENES, "input_dropout": 0.3}),
    "ConditionalM1M2": lambda: M1M2(LOWER | {"likelihood": GENES}, train_m1=True, **UPPER),
    "ADGM": lambda: ADGM(auxiliary_dim=2, num_samples=3, **AUXILIARY),
    "NoisyM2": lambda: M2(**SMALL, latent_noise=0.2, label_prior=(0.2, 0.3, 0.5)),
    "MultiLabelM2": lambda: MultiLabelM2(**TWO),
    "MultiLabelCCVAE": lambda: MultiLabelCCVAE(
        style_dim=2, num_samples=5, **SIZES | {"num_classes": 2}
    ),
    "VAE": lambda: VAE(**LOWER),
    "RegressionM2": lambda: RegressionM2(**LOWER, input_dropout=0.3),
    "MixedRegressionM2": lambda: RegressionM2(**LOWER | {"likelihood": MIXED}),
}
# Whose programs change buffers, read values, or draw what vmap does not know.
UNMAPPED = {
    "BatchNormM2": lambda: M2(**SMALL | {"batch_norm": True}),
    "SeparateNormM2": lambda: M2(**SMALL | {"batch_norm": "separate"}),
    "SeparateNormSDGM": lambda: SDGM(
        auxiliary_dim=2, num_samples=2, **AUXILIARY | {"batch_norm": "separate"}
    ),
    "ChunkedM2": lambda: M2(**SMALL | {"class_chunk": 2}),
}


class KnownNoise(TorchFunctionMode):
    """Draws the same numbers everywhere, which depend on the shape alone."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.randn_like, torch.rand_like):
            return self.numbers(args[0].shape, func is torch.randn_like).to(args[0].dtype)
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0].copy_(self.numbers(args[0].shape, func is torch.Tensor.normal_))
        if func in (torch.rand, torch.randn):
            shape = args[0] if isinstance(args[0], (tuple, list)) else args
            return self.numbers(shape, func is torch.randn).to(kwargs.get("dtype"))
        if func is torch.multinomial:
            probs, number = args[:2]
            return probs.argmax(-1, keepdim=True).expand(*probs.shape[:-1], number)
        return func(*args, **kwargs)

    @staticmethod
    def numbers(shape, normal):
        count = int(np.prod(tuple(shape)))
        uniform = (torch.arange(1, count + 1, dtype=torch.float64) * 0.618).frac()
        uniform = 0.05 + 0.9 * uniform.reshape(tuple(shape))
        return torch.special.ndtri(uniform) if normal else uniform


def problem(name="M2", count=3, rows=40, dtype=torch.float64):
    """Different models, rows, labels, and members with different numbers of rows."""
    make = (MODELS | UNMAPPED)[name]
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(make().to(dtype))
        # Steep enough that no gradient is only rounding noise.
        for parameter in models[-1].parameters():
            parameter.data.mul_(1.5).add_(0.05 * torch.randn_like(parameter))
    first = models[0]
    torch.manual_seed(7)
    classes = getattr(first, "num_classes", 3)
    ys = torch.arange(rows) % classes
    xs = torch.randn(rows, 6, dtype=dtype) + ys[:, None]
    if getattr(first, "likelihood", None) == MIXED:
        xs[:, 3], xs[:, 4] = xs[:, 3] > 0, ys.to(dtype)
        xs[torch.rand_like(xs) < 0.2] = torch.nan
    if getattr(first, "likelihood", None) == GENES:
        xs = torch.poisson(xs.exp().clamp(max=50))
        xs[:, 4], xs[:, 5] = xs[:, :4].sum(-1) + 1, torch.arange(rows) // 4 % 2
    if getattr(first, "multi_label", False):
        ys = torch.stack([ys, torch.arange(rows) // 2 % 2], 1)
    if first.real_labels:
        ys = ys.to(dtype) - 0.7
    labelled = [np.arange(2 * e, 10 + e) for e in range(count)]
    members = [Member(of, np.setdiff1d(np.arange(rows - e), of)) for e, of in enumerate(labelled)]
    return models, xs, ys, members


def config(**options):
    sizes = {"batch_size": 7, "labelled_batch_size": 6, "max_steps": 20, "min_steps": 0}
    return EnsembleConfig(**sizes | {"check_every": 5, "learning_rate": 0.01} | options)


def gradients_of(objective, batch):
    """Loss and gradients by plain autograd, zeros where there is none."""
    own = [p for p in objective.parameters() if p.requires_grad]
    loss = objective(batch)[0]
    found = torch.autograd.grad(loss, own, allow_unused=True)
    return loss.detach(), [
        torch.zeros_like(p) if g is None else g for p, g in zip(own, found, strict=True)
    ]


def member_batch(batches, number, member):
    xs, ys = batches(number)
    return Batch(xs[member], ys[member], batches.num_labelled)
