# %% [markdown]
# # M2 in ten minutes
#
# You have many images and few labels. M2
# ([Kingma et al. 2014](https://arxiv.org/abs/1406.5298)) is a generative model of
# images and their classes, and learns from all of them. This notebook trains it on
# small digits, looks at what it has learnt, and keeps it in a file.
#
# M2 tells how an image x comes about. A class y is drawn, then a style z, and a
# network draws the image of this class in this style:
#
# - p(y) is uniform over the classes, p(z) is a standard normal distribution, and
#   p(x|y,z) has a Bernoulli distribution for each pixel.
# - The way back is learnt, too: q(y|x) is a classifier, and q(z|x,y) is a normal
#   distribution.
#
# Training maximises a lower bound on log p(x,y) where the label is known. Where it
# is not, it maximises one on log p(x), a sum over all classes:
#
#     -L(x,y) = E_q(z|x,y)[log p(x|y,z) + log p(y) + log p(z) - log q(z|x,y)]
#     -U(x)   = sum_y q(y|x) (-L(x,y) - log q(y|x))
#
# Labelled images add log q(y|x), so that the classifier learns from their labels
# directly. [M2's page](../docs/models/m2.md) has the paper's equation numbers, and
# what differs.

# %%
import tempfile
from pathlib import Path

import pandas as pd
import pyro
import torch

from pyro_ssl import (
    M2,
    FitConfig,
    MLPClassifier,
    SSLData,
    fit,
    load_dataset,
    load_model,
    plots,
    save_model,
    split_labels,
)
from pyro_ssl.metrics import accuracy, expected_calibration_error

pyro.set_rng_seed(0)

# %% [markdown]
# ## Images, and labels of a few
#
# These digits come with scikit-learn. They have 8 by 8 pixels, in [0, 1]. With
# `load_dataset("mnist")` the notebook runs on MNIST, which is downloaded the first
# time.

# %%
digits = load_dataset("digits")
plots.image_grid(digits.train_xs[:40], 20, "training images")

# %% [markdown]
# Thirty images keep their labels, as many of each class. Others are set aside to
# validate on, and the rest lose theirs.

# %%
split = split_labels(digits.train_ys, 10, labels=30, validation=200, seed=0)
data = SSLData.from_split(digits, split)
print(len(data.labelled_xs), "labelled images")
print(len(data.unlabelled_xs), "unlabelled images")
print(len(data.validation_xs), "validation images")

# %% [markdown]
# ## Training
#
# `fit` has the whole loop, and ends with the weights of the epoch that was best on
# the validation images.
#
# The defaults are made for MNIST; small images need a small model. By default, too,
# using z costs more in the first steps (`anneal`), so that the class is left to y.
# On so few pixels z would then stay unused.

# %%
networks = {"hidden_dims": (128,), "input_dropout": 0.2}
m2 = M2(data.input_shape, 10, latent_dim=5, alpha=1.0, **networks)
config = FitConfig(epochs=25, batch_size=100, learning_rate=0.01, anneal={})
history = fit(m2, data, config)

# %% [markdown]
# The history has each term of the objective, a row an epoch.

# %%
curves = history.to_frame()
plots.learning_curves(curves, "M2 on digits")

# %% [markdown]
# ## What unlabelled images add
#
# The same classifier, trained in the same way on the labelled images alone:

# %%
alone = MLPClassifier(data.input_shape, 10, **networks)
alone_history = fit(alone, data, config)

# %% [markdown]
# Now images that neither has seen, in percent. The calibration error is zero if a
# classifier is right as often as it says.

# %%
rows = {}
for name, model in {"labels alone": alone, "M2": m2}.items():
    probabilities = model.predict_proba(digits.test_xs)
    error = expected_calibration_error(probabilities, digits.test_ys)
    rows[name] = {
        "accuracy": accuracy(probabilities, digits.test_ys),
        "calibration error": error,
    }
(100 * pd.DataFrame(rows).T).round(1)

# %% [markdown]
# This is one draw of the labels.
# [The results on MNIST](../docs/reproduce/kingma-2014.md) are means over five.
#
# ## Is it as sure as it should be?
#
# A point on the dashed line is right as often as it says.

# %%
probabilities = m2.predict_proba(digits.test_xs)
plots.reliability(probabilities, digits.test_ys, "M2 on test images")

# %% [markdown]
# ## What it imagines
#
# A class is given, a style is drawn, and the decoder draws the image:

# %%
plots.class_samples(m2)

# %% [markdown]
# An analogy takes the style from an image, at the left, and draws every digit in
# it. Images of so few pixels have little style;
# [those of MNIST](../results/mnist_m1m2/m1m2-mnist-100/seed_0_analogies.png) have
# more.

# %%
plots.analogies(m2, digits.test_xs[:8])

# %% [markdown]
# ## Keep it
#
# A file holds the options and the weights, and needs no pickle.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "m2.pt"
    save_model(m2, path)
    again = load_model(path)
print(torch.equal(again.predict_proba(digits.test_xs), probabilities))

# %% [markdown]
# ## Go on
#
# - [A table with few labels](your_own_data.py): a table in place of images
# - [A model of your own](your_own_model.py): a Pyro program of yours in place of M2
# - [All models](../docs/models/index.md)
# - [The same training by Pyro's own SVI](../docs/own-svi.md)
