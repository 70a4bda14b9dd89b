# %% [markdown]
# # A model of your own
#
# A model of this library is a pair of Pyro programs. This notebook writes one from
# nothing, with a likelihood of its own, checks its objective by hand, trains it by
# `fit` and by Pyro's own SVI, and compares it with M2.

# %%
import math
import tempfile
from pathlib import Path

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, TraceEnum_ELBO
from sklearn.datasets import load_digits

from pyro_ssl import (
    M2,
    Batch,
    FitConfig,
    Likelihood,
    RowWeights,
    SSLData,
    SSLModel,
    fit,
    load_model,
    plots,
    register_likelihood,
    save_model,
)
from pyro_ssl.metrics import accuracy
from pyro_ssl.models.labels import label_in_guide

pyro.set_rng_seed(0)

# %% [markdown]
# ## Data: counts
#
# Each pixel of scikit-learn's digits counts the dark dots in a square of 16 dots.
# The first hundred keep their labels.

# %%
digits = load_digits()
xs, ys = torch.tensor(digits.images).float(), torch.tensor(digits.target)
test_xs, test_ys = xs[1400:], ys[1400:]
data = SSLData(
    labelled_xs=xs[:100],
    labelled_ys=ys[:100],
    unlabelled_xs=xs[100:1200],
    num_classes=10,
    validation_xs=xs[1200:1400],
    validation_ys=ys[1200:1400],
    real_valued=True,
)

# %% [markdown]
# ## A likelihood
#
# A likelihood makes a distribution of a decoder's outputs. This one is binomial: of
# 16 dots, each is dark with the same probability.
#
# - `values` makes the distribution of each pixel.
# - `features` is what networks see of an image.
# - `inside` says which values can be taken, and `support` says it in words, for
#   errors.
# - `register_likelihood` lets files name it.


# %%
@register_likelihood
class Dots(Likelihood):
    """Counts of dark dots among 16."""

    support = "whole numbers from 0 to 16"

    def values(self, outputs, input_shape, shared=None):
        return dist.Binomial(16, logits=outputs, validate_args=False)

    def features(self, xs, input_shape):
        return xs / 16

    def inside(self, xs):
        return (xs >= 0) & (xs <= 16) & (xs == xs.round())


# %% [markdown]
# ## A model
#
# Each class has one prototype, an image of log-odds, and p(x|y) is `Dots` of the
# prototype of y. Here q(y|x) is p(y|x) itself, by Bayes' rule. (In most models it
# is a network.)
#
# - `class_logits` gives log q(y|x) up to a constant; `predict_proba` and validation
#   need it.
# - `Batch.of(xs, ys).parts()` gives the labelled and the unlabelled rows, each with
#   a plate.
# - `label_in_guide` enumerates the unknown labels, and adds log q(y|x) of the known
#   ones.


# %%
class Prototypes(SSLModel):
    """A class is drawn, then an image around the prototype of this class."""

    def __init__(self, input_shape, num_classes):
        super().__init__(input_shape, num_classes)
        self._set_likelihood(Dots())
        self.prototypes = torch.nn.Parameter(
            0.1 * torch.randn(num_classes, *input_shape)
        )

    def class_logits(self, xs):
        return self._p_x_of(self.prototypes).log_prob(xs.unsqueeze(1))

    def model(self, xs, ys=None):
        pyro.module(self._name, self)
        even = self.prototypes.new_ones(self.num_classes)
        for rows in Batch.of(xs, ys).parts():
            with rows.plate():
                y = pyro.sample("y", dist.Categorical(even), obs=rows.ys)
                self._observe_inputs(rows.xs, self._p_x_of(self.prototypes[y]))

    def guide(self, xs, ys=None):
        pyro.module(self._name, self)
        for rows in Batch.of(xs, ys).parts():
            with rows.plate():
                label_in_guide(rows.ys, self.class_logits(rows.xs), alpha=1.0)


# %% [markdown]
# ## Check the objective by hand
#
# With ten classes every sum can be written out. The first three images of this call
# are labelled, the others are not. What is maximised is the sum of
#
#     log p(x,y) + log q(y|x)                    over the labelled ones,
#     sum_y q(y|x) (log p(x,y) - log q(y|x))     over the others.


# %%
def log_p_of(model, x, y):
    """log p(x,y) of an image and a class."""
    dots = torch.distributions.Binomial(16, logits=model.prototypes[y])
    return dots.log_prob(x).sum() - math.log(10)


def by_hand(model, xs, ys):
    """The loss, by loops over rows and classes, from the formulas alone."""
    total = 0.0
    for x, label in zip(xs, ys.tolist(), strict=True):
        log_p = [log_p_of(model, x, y) for y in range(10)]
        log_q = torch.stack(log_p).log_softmax(0)
        if label >= 0:
            total += log_p[label] + log_q[label]
        else:
            total += sum(log_q[y].exp() * (log_p[y] - log_q[y]) for y in range(10))
    return -total


checked = Prototypes(data.input_shape, 10).double()
some_xs, some_ys = xs[:6].double(), torch.tensor([0, 1, 2, -1, -1, -1])
expected = by_hand(checked, some_xs, some_ys)
found = checked.make_elbo().differentiable_loss(
    checked.model, checked.guide, some_xs, some_ys
)
torch.testing.assert_close(found, expected)
print("the library's:", found.item(), "by hand:", expected.item())

# %% [markdown]
# Gradients, too: a loss may be right where its gradient is not.

# %%
(gradient,) = torch.autograd.grad(found, checked.prototypes)
(gradient_by_hand,) = torch.autograd.grad(expected, checked.prototypes)
torch.testing.assert_close(gradient, gradient_by_hand)
print("largest difference:", (gradient - gradient_by_hand).abs().max().item())

# %% [markdown]
# ## Train it by `fit`

# %%
prototypes = Prototypes(data.input_shape, 10)
fit(prototypes, data, FitConfig(epochs=15, batch_size=100, learning_rate=0.2))
learnt = prototypes.prototypes.detach().sigmoid().unsqueeze(1)
plots.image_grid(learnt, 10, "learnt prototypes")

# %% [markdown]
# ## Train it by Pyro's own SVI
#
# The programs need nothing of this library's training. A label of -1 is unknown.
# Around the programs, `RowWeights` weighs labelled and unlabelled rows as `fit`
# does.

# %%
by_svi = Prototypes(data.input_shape, 10)
partly = torch.cat([ys[:100], torch.full((1100,), -1)])
weighted = RowWeights(num_labelled=100, num_unlabelled=1100)
programs = weighted(by_svi.model), weighted(by_svi.guide)
adam = pyro.optim.Adam({"lr": 0.2})
svi = SVI(*programs, adam, TraceEnum_ELBO(max_plate_nesting=1))
losses = [svi.step(xs[:1200], partly) for step in range(50)]
print(f"loss per image: {losses[0]:.1f} at first, {losses[-1]:.1f} at last")

# %% [markdown]
# ## Compare it with M2
#
# M2 takes the same likelihood. It has a style z beside the class, so that it need
# not explain all images of a class by one prototype.

# %%
networks = {"hidden_dims": (128,), "input_dropout": 0.2}
m2 = M2(data.input_shape, 10, 5, alpha=1.0, likelihood=Dots(), **networks)
history = fit(m2, data, FitConfig(epochs=20, batch_size=100, learning_rate=0.01))

# %%
rows = {}
models = {"prototypes, fit": prototypes, "prototypes, SVI": by_svi, "M2": m2}
for name, model in models.items():
    with torch.no_grad():
        loss = model.make_elbo().loss(model.model, model.guide, test_xs)
    rows[name] = {
        "bound on log p(x), nats": -loss / len(test_xs),
        "accuracy in %": 100 * accuracy(model.predict_proba(test_xs), test_ys),
    }
pd.DataFrame(rows).T.round(1)

# %% [markdown]
# A better model of images need not be a better classifier. Which one suits your
# data, labels that were held out will say.
#
# ## Keep it
#
# `load_model` is told the class, since a file runs no code of yours.

# %%
with tempfile.TemporaryDirectory() as folder:
    save_model(prototypes, Path(folder) / "prototypes.pt")
    again = load_model(Path(folder) / "prototypes.pt", model_class=Prototypes)
print(torch.equal(again.predict_proba(test_xs), prototypes.predict_proba(test_xs)))

# %% [markdown]
# ## Go on
#
# - [Write your own](../docs/write-your-own.md): networks, terms of the objective,
#   callbacks, experiments, each in 25 lines
# - [Your own SVI](../docs/own-svi.md): what a loop of yours has to know of weights
# - [The interface of a model](../CONTRIBUTING.md#model-protocol)
