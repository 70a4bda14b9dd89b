"""M2 in Pyro as tutorials write it, for comparison with the library's steps.

It has one-hot labels concatenated to pixels and latents, probabilities instead of logits, `SVI`
with `TraceEnum_ELBO`, a second `SVI` for the classifier with the same optimiser, and a
`DataLoader`. It is meant for timing only: two SVI objects must not share one Adam.
"""

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn
from torch.nn import functional as F


class TextbookM2(nn.Module):
    """The networks, and two pairs of programs.

    Args:
        pixels: size of an input.
        num_classes: number of classes.
        hidden: width of each network's single hidden layer.
        latent: dimensions of z.
        activation: class of the activation.
    """

    def __init__(
        self,
        pixels: int,
        num_classes: int,
        hidden: int,
        latent: int,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.num_classes, self.latent = num_classes, latent

        def network(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(inputs, hidden), activation(), nn.Linear(hidden, outputs)
            )

        self.classifier = network(pixels, num_classes)
        self.encoder = network(pixels + num_classes, 2 * latent)
        self.decoder = network(latent + num_classes, pixels)

    def model(self, xs: Tensor, ys: Tensor | None = None) -> None:
        """Run p(x, y, z); `ys` one-hot `[B, K]`, or None."""
        pyro.module("textbook", self)
        with pyro.plate("data", len(xs)):
            origin = xs.new_zeros(len(xs), self.latent)
            z = pyro.sample("z", dist.Normal(origin, 1.0).to_event(1))
            uniform = xs.new_ones(len(xs), self.num_classes) / self.num_classes
            y = pyro.sample("y", dist.OneHotCategorical(uniform), obs=ys)
            means = torch.sigmoid(self.decoder(_concatenate(z, y)))
            pyro.sample("x", dist.Bernoulli(means, validate_args=False).to_event(1), obs=xs)

    def guide(self, xs: Tensor, ys: Tensor | None = None) -> None:
        """Run q(y, z | x), or q(z | x, y) if `ys` are given."""
        with pyro.plate("data", len(xs)):
            y = ys
            if y is None:
                probabilities = F.softmax(self.classifier(xs), -1)
                y = pyro.sample("y", dist.OneHotCategorical(probabilities))
            loc, log_scale = self.encoder(_concatenate(xs, y)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    def classify_model(self, xs: Tensor, ys: Tensor) -> None:
        """Run p(y|x) on labelled rows, for the second SVI."""
        pyro.module("textbook", self)
        with pyro.plate("data", len(xs)):
            probabilities = F.softmax(self.classifier(xs), -1)
            with pyro.poutine.scale(scale=50.0):
                pyro.sample("y_aux", dist.OneHotCategorical(probabilities), obs=ys)

    def classify_guide(self, xs: Tensor, ys: Tensor) -> None:
        """Do nothing, since nothing is latent."""


class TextbookTraining:
    """Both SVI objects with one optimiser.

    Args:
        model: the model.
        learning_rate: Adam's step size.
    """

    def __init__(self, model: TextbookM2, learning_rate: float = 1e-3) -> None:
        self.model = model
        optimiser = pyro.optim.Adam({"lr": learning_rate})
        guide = config_enumerate(model.guide, "parallel", expand=True)
        self.svi = SVI(model.model, guide, optimiser, TraceEnum_ELBO(max_plate_nesting=1))
        self.classifier_svi = SVI(
            model.classify_model,
            model.classify_guide,
            optimiser,
            TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
        )

    def unlabelled_step(self, xs: Tensor) -> None:
        """Make a step on unlabelled rows `[B, pixels]`."""
        self.svi.step(xs)

    def labelled_step(self, xs: Tensor, ys: Tensor) -> None:
        """Make a step of each SVI on rows `[B, pixels]` with labels `[B]`."""
        one_hot = F.one_hot(ys, self.model.num_classes).to(xs.dtype)
        self.svi.step(xs, one_hot)
        self.classifier_svi.step(xs, one_hot)


def _concatenate(first: Tensor, second: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(first.shape[:-1], second.shape[:-1])
    return torch.cat([first.expand(*shape, -1), second.expand(*shape, -1)], -1)
