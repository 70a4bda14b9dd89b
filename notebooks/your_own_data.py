# %% [markdown]
# # A table with few labels
#
# You have a table, and labels of a few of its rows. The estimator of this notebook
# learns from all rows, and is used like any classifier of scikit-learn.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import cross_val_score

from pyro_ssl import (
    SemiSupervisedSplit,
    SemiSupervisedVAEClassifier,
    SemiSupervisedVAERegressor,
)

# %% [markdown]
# ## A table
#
# Read yours with pandas. Here it is scikit-learn's table of wines, made a little
# more like the tables of this world: the colour is a word, a column is true or
# false, and one entry in ten is missing.

# %%
wine = load_wine(as_frame=True)
table = wine.data.iloc[:, [0, 1, 4, 6, 9, 12]].copy()
colours = ["pale", "medium", "deep"]
table["color_intensity"] = pd.cut(table["color_intensity"], 3, labels=colours)
table["strong"] = table["alcohol"] > 13
table = table.mask(np.random.default_rng(0).random(table.shape) < 0.1)
table.head()

# %% [markdown]
# Eight wines of each grape have a label. For all others it is unknown: NaN.

# %%
truth = pd.Series(wine.target_names[wine.target], name="grape")
known = truth.groupby(truth).sample(8, random_state=0)
grapes = known.reindex(truth.index)
grapes.value_counts(dropna=False).to_frame()

# %% [markdown]
# ## Learn
#
# Nothing has to be scaled, encoded or filled in. `max_steps` and `members` are
# small here to save time; leave them out for your own data.

# %%
quick = {"max_steps": 60, "members": 2, "random_state": 0}
classifier = SemiSupervisedVAEClassifier(**quick).fit(table, grapes)

# %% [markdown]
# Look first at what each column was taken for. `columns={"magnesium": "count"}`
# would correct one.

# %%
classifier.columns_

# %% [markdown]
# Several candidates give class probabilities. The labelled rows that a candidate
# did not see say how far it can be trusted, and it is weighed accordingly.
# `log_loss` is their loss on these rows.

# %%
classifier.decision_.round(2)

# %% [markdown]
# ## Predict
#
# `predict` gives the likeliest label, `predict_proba` the probability of each.

# %%
probabilities = classifier.predict_proba(table)
pd.DataFrame(probabilities, columns=classifier.classes_).head().round(3)

# %% [markdown]
# We hid the labels ourselves, so that we can tell how many of them it finds:

# %%
right = (classifier.predict(table) == truth)[grapes.isna()]
print(f"{100 * right.mean():.1f} % of the hidden labels")

# %% [markdown]
# ## Without the truth: cross-validation
#
# Your own unknown labels stay unknown. `SemiSupervisedSplit` tests on labelled rows
# that were hidden from the training, which has all unlabelled rows. A score is a
# share of right labels; with so few of them it is a rough one.

# %%
folds = SemiSupervisedSplit(2, random_state=0)
estimator = SemiSupervisedVAEClassifier(**quick)
scores = cross_val_score(estimator, table, grapes, cv=folds)
print(scores.round(2))

# %% [markdown]
# ## Missing entries, and odd rows
#
# Missing entries are filled in by what the models expect there: a number by its
# mean, a word by the likeliest.

# %%
classifier.impute(table.head()).round(2)

# %% [markdown]
# `novelty` says for each row what share of the training rows is likelier, in
# percent. Here the first wine gets ten times its magnesium.

# %%
odd = table.dropna().head(3).copy()
odd.iloc[0, 2] *= 10
print(classifier.novelty(odd).round(1))

# %% [markdown]
# ## Keep it
#
# A classifier is kept as a folder of JSON and weights, without pickle.

# %%
with tempfile.TemporaryDirectory() as folder:
    classifier.save(Path(folder) / "wine-model")
    again = SemiSupervisedVAEClassifier.load(Path(folder) / "wine-model")
print(np.array_equal(again.predict(table), classifier.predict(table)))

# %% [markdown]
# ## A real number in place of a label
#
# The regressor is used in the same way, and says how uncertain it is.

# %%
patients, progression = load_diabetes(return_X_y=True, as_frame=True)
few = progression.sample(40, random_state=0).reindex(progression.index)
regressor = SemiSupervisedVAERegressor(**quick).fit(patients, few)
mean, deviation = regressor.predict(patients, return_std=True)
found = pd.DataFrame(
    {"predicted": mean, "deviation": deviation, "true": progression}
)
found.head().round(1)

# %% [markdown]
# ## Go on
#
# From a file, `pyro-ssl fit wine.csv --label-column grape -o wine-model` learns,
# and `pyro-ssl predict wine-model wine.csv -o predictions.csv` predicts.
#
# - [Your own data](../docs/your-own-data.md): the other commands, images, documents
#   and single cells, and how the estimator compares with others
# - [Its reference](../docs/api/estimator.md): all options and methods
