# %% [markdown]
# # Analyse results
#
# Every number of this project comes from a file in `results/`, which pandas reads.
# This notebook makes tables, learning curves, a paired comparison and a calibration
# figure from them, sets published figures beside ours, and runs a small experiment
# of its own.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from scipy import stats

import experiments
from experiments import draw, mnist_m2
from pyro_ssl import load_results, load_summary

# Or what your own --results-root was.
root = Path(experiments.__file__).parent.parent / "results"

# %% [markdown]
# ## Final figures
#
# `load_summary` has a row for each finished seed of each run: which run it is, what
# it reached, how it was made, and its configuration.

# %%
seeds = load_summary(root)
shown = ["experiment", "model", "dataset", "labels", "seed", "test_accuracy"]
seeds[shown].dropna().head()

# %% [markdown]
# Mean, standard deviation and number of seeds of all classifiers of MNIST with 100
# labels, in percent of right answers, the best first:

# %%
hundred = seeds.query("dataset == 'mnist' and labels == 100 and tag == ''").copy()
hundred["accuracy"] = 100 * hundred["test_accuracy"]
by_model = hundred.groupby(["experiment", "model"])["accuracy"]
table = by_model.agg(["mean", "std", "count"])
table.sort_values("mean", ascending=False).round(2)

# %% [markdown]
# ## Published figures beside ours
#
# Others' figures are in a file with their sources. Its column `run` says which of
# our runs each belongs to, and `note` what differs.

# %%
published = pd.read_csv(root.parent / "experiments/engine/page/published.csv")
published = published[published["measure"] == "test_accuracy"]
means = hundred.groupby("run")["accuracy"].agg(ours="mean", spread="std").round(2)
beside = published.join(means, on="run", how="inner")
beside[["name", "ours", "spread", "published", "source"]]

# %% [markdown]
# ## Learning curves
#
# `load_results` has a row for each epoch of each seed. The line is the mean over
# seeds, and the band is one standard deviation to each side.

# %%
epochs = load_results(root / "mnist_m2").query("labels == 100 and tag == ''")

figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for model, rows in epochs.groupby("model"):
    each = rows.groupby("epoch")["validation_accuracy"].agg(["mean", "std"])
    low, high = each["mean"] - each["std"], each["mean"] + each["std"]
    axes.plot(each.index + 1, each["mean"], label=model)
    axes.fill_between(each.index + 1, low, high, alpha=0.2)
axes.set(xlabel="epoch", ylabel="validation accuracy", ylim=(0.7, 1))
axes.legend()
plt.show()

# %% [markdown]
# ## Is one model better than another?
#
# Equal seeds mean equal labelled images, and some draws of them are luckier than
# others. So compare two models seed by seed: the spread of the differences is what
# counts.

# %%
ours = hundred[hundred["experiment"].isin(["mnist_m2", "mnist_m1m2"])]
by_seed = ours.pivot_table("accuracy", "seed", "model")
difference = by_seed["m1m2"] - by_seed["m2"]
by_seed[["m1m2", "m2"]].assign(difference=difference).round(2)

# %% [markdown]
# The mean difference, in percentage points, with its 95 % interval by Student's t:

# %%
interval = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
found = {"mean": difference.mean(), "from": interval.low, "to": interval.high}
pd.DataFrame(found, index=["m1m2 - m2"]).round(2)

# %% [markdown]
# If the interval leaves 0 out, the difference is hardly luck of the draw. With few
# seeds it is wide.
#
# ## Calibration
#
# A classifier can be often right and yet too sure of itself. Each point is a seed:
# the further to the right and the lower, the better.

# %%
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for model, rows in ours.groupby("model"):
    axes.scatter(rows["accuracy"], 100 * rows["test_ece"], label=model)
axes.set(xlabel="test accuracy in %", ylabel="calibration error in %")
axes.legend()
plt.show()

# %% [markdown]
# Each run left a figure that compares how sure it was with how often it was right:
#
# ![Accuracy against confidence of M2 with 100 labels of MNIST,
# seed 0](../results/mnist_m2/m2-mnist-100/seed_0_reliability.png)
#
# ## A run of your own
#
# Experiments are commands, `python -m experiments.mnist_m2`, whose `main` takes the
# same arguments. A few epochs on scikit-learn's digits are enough to have files to
# look at.

# %%
scratch = tempfile.TemporaryDirectory()
options = "--dataset digits --labels 50 --validation 200 --seeds 0 --epochs 5"
options += " --batch-size 100 --hidden-dims 64 --latent-dim 5 --no-baseline --quiet"
assert mnist_m2.main([*options.split(), "--results-root", scratch.name]) == 0

# %%
mine = load_results(scratch.name)
mine[["model", "dataset", "seed", "epoch", "loss", "validation_accuracy"]]

# %% [markdown]
# ## Draw a figure again
#
# A run leaves a checkpoint, `seed_0.pt`, of which any figure can be drawn again.
# Without `--figure` the command says which there are. (Checkpoints of the published
# runs are not in the repository.)

# %%
checkpoint = Path(scratch.name) / "mnist_m2/m2-digits-50/seed_0.pt"
assert draw.main([str(checkpoint)]) == 0

# %%
drawn = Path(scratch.name) / "curves.png"
options = ["--figure", "learning_curves", "--output", str(drawn)]
assert draw.main([str(checkpoint), *options]) == 0
picture = plt.imread(drawn)
scratch.cleanup()

figure, axes = plt.subplots(figsize=(14, 3.5), layout="constrained")
axes.imshow(picture)
axes.set_axis_off()
axes.set_title("learning curves, drawn again")
plt.show()

# %% [markdown]
# ## Go on
#
# - [Results in pandas](../docs/results.md): all files of a run, and the benchmarks
# - [Reproduce](../docs/reproduce/index.md): the command of each number
