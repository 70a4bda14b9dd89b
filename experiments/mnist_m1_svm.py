"""M1 of Kingma et al. (2014) as a feature extractor for support vector machines on MNIST.

Takes M1 from a finished run of `mnist_m1` with the same seed, or trains it first. Fits to its
posterior means: a linear SVM and an RBF SVM on the labelled rows, and a self-training RBF SVM. The
latter labels unlabelled rows itself, the most certain first, and learns from these too
(scikit-learn's SelfTrainingClassifier replaces the paper's transductive SVM). Hyper-parameters are
chosen on validation rows that M1 was not trained on; the test set is read once. Writes per-seed
CSV (every combination tried) and JSON to RESULTS_ROOT/mnist_m1_svm/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments import mnist_m1
from experiments.engine.m1 import M1Options, M1Source
from experiments.engine.options import DataOptions, option
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.base import ClassifierMixin

    from experiments.engine.runner import Comparison, SeedRun
    from pyro_ssl.data import LabelSplit

# Number of parts of the unlabelled rows that self-training labels, one per round.
_PARTS = 50


@dataclass(frozen=True)
class Config(DataOptions):
    """Options of the experiment."""

    precision: Literal["auto", "float32", "bfloat16"] = option("auto", recorded=False)
    """Precision of matrix products; auto is bfloat16, twice as fast, if the device supports it."""
    labels: tuple[int, ...] = option((100, 600, 1000, 3000), recorded=False)
    """Numbers of labelled training rows, shared evenly by the classes."""
    classifiers: tuple[Literal["linear_svm", "rbf_svm", "self_training_svm"], ...] = option(
        ("linear_svm", "rbf_svm", "self_training_svm"), recorded=False
    )
    """Which classifiers."""
    penalties: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Values to choose C from; self-training uses the value chosen for the RBF SVM."""
    gammas: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0, 1.4)
    """Values to choose the RBF kernel's gamma from, in units of 1 / (number of features times their
    mean variance), scikit-learn's `scale`."""
    unlabelled_rows: int = 2000
    """Unlabelled rows for self-training, chosen by the seed."""
    rounds: tuple[int, ...] = (50,)
    """Numbers of rounds of self-training to choose from; each round labels a fiftieth of the
    unlabelled rows, and the RBF SVM of all labelled so far labels the next."""
    active_threshold: float = 0.1
    """Use the latents of M1 whose posterior means have a larger standard deviation."""
    m1: M1Options = option(M1Options(), recorded_as=lambda m1: m1.tag)


def source(config: Config) -> M1Source:
    """Return where M1 is found."""
    return M1Source(
        config, config.m1, config.active_threshold, mnist_m1.Config, mnist_m1.comparison
    )


def candidates(kind: str, config: Config, penalty: float | None) -> list[dict[str, Any]]:
    """Return the combinations of hyper-parameters to choose from, as the CSV names them.

    Args:
        kind: which classifier.
        config: the options.
        penalty: the C chosen for the RBF SVM, which self-training uses.
    """
    if kind == "linear_svm":
        return [{"penalty": c} for c in config.penalties]
    if kind == "rbf_svm":
        return [{"penalty": c, "gamma": g} for c, g in product(config.penalties, config.gammas)]
    # More rows are closer together: self-training may need another kernel.
    both = product(config.gammas, config.rounds)
    return [{"penalty": penalty, "gamma": gamma, "rounds": rounds} for gamma, rounds in both]


@dataclass(frozen=True)
class Rows:
    """One seed's rows with one number of labels, as features.

    Attributes:
        xs: features of the labelled, of some unlabelled, and of the validation rows.
        ys: their labels, -1 for the unlabelled ones.
        part: 0 for a labelled, 1 for an unlabelled, 2 for a validation row.
        gamma_unit: the unit of gamma.
        digest: which rows these are.
    """

    xs: "NDArray[Any]"
    ys: "NDArray[Any]"
    part: "NDArray[Any]"
    gamma_unit: float
    digest: str


def select_rows(
    split: "LabelSplit", features: "NDArray[Any]", ys: "NDArray[Any]", number: int, seed: int
) -> Rows:
    """Return the rows of a split, with `number` unlabelled ones, chosen by the seed."""
    import numpy as np

    some = np.random.default_rng(seed).permutation(split.unlabelled)[:number]
    parts = (split.labelled, some, split.validation)
    part = np.repeat([0, 1, 2], [len(rows) for rows in parts])
    rows = np.concatenate(parts)
    unit = 1 / (features.shape[1] * features[split.unlabelled].var(0).mean())
    return Rows(features[rows], np.where(part == 1, -1, ys[rows]), part, unit, split.digest)


def choose(
    kind: str, rows: Rows, tried: list[dict[str, Any]]
) -> "tuple[ClassifierMixin, dict[str, Any], pd.DataFrame]":
    """Return the classifier of the highest validation accuracy, its options, and all accuracies.

    Args:
        kind: which classifier.
        rows: the rows to fit to, and the validation rows to choose by.
        tried: the options to choose from; of equally good ones, the first is chosen.
    """
    import pandas as pd
    from sklearn.model_selection import GridSearchCV, PredefinedSplit
    from sklearn.semi_supervised import SelfTrainingClassifier
    from sklearn.svm import SVC

    from experiments.engine.margins import MarginSVC

    names = {"penalty": "C", "gamma": "gamma", "rounds": "max_iter"}
    # The training rows: without self-training, no unlabelled rows.
    used = rows.part != 1 if kind != "self_training_svm" else rows.part >= 0
    classifier: Any = SVC(kernel="linear" if kind == "linear_svm" else "rbf")
    if kind == "self_training_svm":
        each_round = int((rows.part == 1).sum()) // _PARTS
        classifier = SelfTrainingClassifier(MarginSVC(), criterion="k_best", k_best=each_round)
        names |= {"penalty": "estimator__C", "gamma": "estimator__gamma"}
    settings = [
        {names[k]: v * rows.gamma_unit if k == "gamma" else v for k, v in options.items()}
        for options in tried
    ]
    xs, ys, part = rows.xs[used], rows.ys[used], rows.part[used]
    folds = PredefinedSplit([0 if p == 2 else -1 for p in part])
    grid = [{name: [value] for name, value in setting.items()} for setting in settings]
    # Refitted here, since the search itself would refit to the validation rows, too.
    search = GridSearchCV(classifier, grid, cv=folds, refit=False, error_score="raise")
    search.fit(xs, ys)
    best = search.best_index_
    fitted = classifier.set_params(**settings[best]).fit(xs[part != 2], ys[part != 2])
    frame = pd.DataFrame(tried)
    frame["validation_accuracy"] = search.cv_results_["mean_test_score"]
    return fitted, tried[best], frame


def check(run: "SeedRun") -> None:
    """Raise an error if the options are invalid."""
    from experiments.engine.semi_supervised import seeded_split, validation_rows

    config = run.config
    for name in ("labels", "classifiers", "penalties", "gammas", "rounds"):
        if not getattr(config, name):
            raise ConfigError(f"{name} is empty, expected at least one value")
    for name in ("labels", "penalties", "gammas", "rounds"):
        if min(getattr(config, name)) <= 0:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected positive numbers")
    if (number := config.unlabelled_rows) < _PARTS:
        raise ConfigError(f"unlabelled_rows is {number}, expected at least {_PARTS}")
    if not validation_rows(config, run.dataset):
        raise ConfigError("validation is 0: hyper-parameters are chosen on validation rows")
    for labels in config.labels:
        seeded_split(config, run.dataset, run.seed, labels)
    source(config).check(run)


def run_seed(run: "SeedRun") -> None:
    """Fit and test every classifier for every number of labels."""
    from experiments.engine.semi_supervised import seeded_split, validation_rows
    from pyro_ssl.models import posteriors

    config, dataset = run.config, run.dataset
    m1 = source(config).get(run.seed, dataset)
    train, test = (
        posteriors(m1.vae, xs.to(run.device), m1.active)[:, 0].cpu().numpy()
        for xs in (dataset.train_xs, dataset.test_xs)
    )
    for labels in config.labels:
        split = seeded_split(config, dataset, run.seed, labels)
        rows = select_rows(split, train, dataset.train_ys.numpy(), config.unlabelled_rows, run.seed)
        penalty = None
        for kind in config.classifiers:
            name = f"{kind}-{config.dataset}-{labels}"
            if name not in run.pending:
                continue
            if kind == "self_training_svm" and penalty is None:
                penalty = choose("rbf_svm", rows, candidates("rbf_svm", config, None))[1]["penalty"]
            chosen, options, tried = choose(kind, rows, candidates(kind, config, penalty))
            penalty = options["penalty"] if kind == "rbf_svm" else penalty
            accuracy = (chosen.predict(test) == dataset.test_ys.numpy()).mean()
            run.folders[name].write(run.seed, ".csv", tried.to_csv(index=False))
            result = {
                "model": kind,
                "labels": labels,
                "test_accuracy": float(accuracy),
                "chosen": options,
                **m1.about(),
                "split_digest": split.digest,
                "validation_rows": validation_rows(config, dataset),
                "selection": "best validation accuracy",
            }
            run.finish(name, result)


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.runner import Comparison
    from experiments.engine.semi_supervised import image_settings, load_images

    return Comparison(
        name="mnist_m1_svm",
        config=config,
        models=tuple(
            f"{c}-{config.dataset}-{n}" for c in config.classifiers for n in config.labels
        ),
        suffix="",
        load=load_images,
        settings=partial(image_settings, config),
        check=check,
        run_seed=run_seed,
        shared=False,
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the experiment with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    # Imported once the command line is known to be good, so that --help answers at once.
    from experiments.engine.runner import run_command

    return run_command(comparison, config, args)


if __name__ == "__main__":
    raise SystemExit(main())
