"""Support vector machines on the latents of M1."""

import json
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC

from experiments import mnist_m1_svm
from experiments.devices import describe_device, launched_by_torchrun
from experiments.m1_source import M1Source
from experiments.rows import seeded_split, validation_rows
from experiments.run_folder import RunFolder
from experiments.semi_supervised import ImageExperiment
from pyro_ssl.data import ImageDataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.models import posteriors

Array = NDArray[Any]
Options = dict[str, float]

# Self-training labels so many parts of the unlabelled rows, one a round.
_PARTS = 50


class MarginSVC(SVC):
    """An SVM that says how sure it is of a class, as self-training needs it.

    The margin of a class is the least of its margins against each other class. Out of pairwise
    votes, which scikit-learn's own decision function counts, nearly every row comes out as sure as
    any other; and its probabilities come from cross-validation, for which ten labelled rows a
    class are too few.
    """

    def predict_proba(self, X: Array) -> Array:  # noqa: N803
        """Return the softmax of the margins, `[N, K]`."""
        pairwise = self.set_params(decision_function_shape="ovo").decision_function(X)
        margins = np.full((len(pairwise), len(self.classes_)), np.inf)
        for pair, (i, j) in enumerate(combinations(range(len(self.classes_)), 2)):
            margins[:, i] = np.minimum(margins[:, i], pairwise[:, pair])
            margins[:, j] = np.minimum(margins[:, j], -pairwise[:, pair])
        weights = np.exp(margins - margins.max(1, keepdims=True))
        return weights / weights.sum(1, keepdims=True)


class SVMExperiment(ImageExperiment):
    """SVMs on the means of M1's posteriors, for several numbers of labels.

    Args:
        config: the options of `mnist_m1_svm`.
    """

    def __init__(self, config: mnist_m1_svm.Config) -> None:
        if launched_by_torchrun():
            raise ConfigError("torchrun's processes would each train an M1: use --jobs instead")
        runs = [f"{c}-{config.dataset}-{n}" for c in config.classifiers for n in config.labels]
        super().__init__("mnist_m1_svm", config, runs, "")
        self.config = config
        self.source = M1Source(config, config.m1, config.active_threshold)

    def decisive(self, dataset: ImageDataset) -> dict[str, Any]:
        """Return the options that tell configurations apart."""
        found = super().decisive(dataset)
        for name in ("labels", "classifiers", "precision"):
            del found[name]
        return found | {"m1": self.config.m1.tag}

    def check(self, dataset: ImageDataset) -> None:
        """Raise what is wrong with the options, if anything is."""
        config = self.config
        for name in ("labels", "classifiers", "penalties", "gammas", "rounds"):
            if not getattr(config, name):
                raise ConfigError(f"{name} is empty, expected at least one value")
        for name in ("labels", "penalties", "gammas", "rounds"):
            if min(getattr(config, name)) <= 0:
                raise ConfigError(f"{name} is {getattr(config, name)}, expected positive numbers")
        if config.unlabelled_rows < _PARTS:
            raise ConfigError(
                f"unlabelled_rows is {config.unlabelled_rows}, expected at least {_PARTS}"
            )
        if not validation_rows(config, dataset):
            raise ConfigError("validation is 0: hyper-parameters are chosen on validation rows")
        for labels in config.labels:
            seeded_split(config, dataset, config.seeds[0], labels)
        self.source.check(dataset, self.seeds_to_run())

    def run_seed(self, seed: int, dataset: ImageDataset | None = None) -> None:
        """Fit and test every classifier for every number of labels."""
        config, dataset = self.config, dataset or self.load()
        pending = [run for run in self.paths if self.folders[run].begin(seed, config.resume)]
        for run in sorted(set(self.paths) - set(pending)):
            print(f"seed {seed} is finished in {self.folders[run].path}: kept")
        if not pending:
            return
        m1 = self.source.get(seed, dataset)
        train, test = (
            posteriors(m1.vae, xs.to(self.device), m1.active)[:, 0].cpu().numpy()
            for xs in (dataset.train_xs, dataset.test_xs)
        )
        for labels in config.labels:
            problem = _Problem(config, dataset, seed, labels, train)
            best: dict[str, Options] = {}
            for kind in config.classifiers:
                run = f"{kind}-{config.dataset}-{labels}"
                if run not in pending:
                    continue
                chosen, tried = problem.choose(kind, best)
                accuracy = (chosen.predict(test) == dataset.test_ys.numpy()).mean()
                result = {
                    "model": kind,
                    "dataset": dataset.name,
                    "labels": labels,
                    "test_accuracy": float(accuracy),
                    "chosen": best[kind],
                    "active_latents": len(m1.active),
                    "m1_digest": m1.digest,
                    "m1_commit": m1.results["commit"],
                    "m1_config": m1.results["config"],
                    "split_digest": problem.split.digest,
                }
                self._write_run(self.folders[run], seed, result, tried)

    def _write_run(
        self, folder: RunFolder, seed: int, result: dict[str, Any], tried: pd.DataFrame
    ) -> None:
        folder.write(seed, ".csv", tried.to_csv(index=False))
        whole = {
            "experiment": self.name,
            **result,
            "seed": seed,
            "validation_rows": folder.config["validation"],
            "selection": "best validation accuracy",
            "device": describe_device(self.device),
            **self.environment,
            "config": folder.config,
        }
        folder.write(seed, ".json", json.dumps(whole, indent=2) + "\n")


class _Problem:
    """One seed's rows with one number of labels, as features."""

    def __init__(
        self,
        config: mnist_m1_svm.Config,
        dataset: ImageDataset,
        seed: int,
        labels: int,
        features: Array,
    ) -> None:
        self.config = config
        self.split = split = seeded_split(config, dataset, seed, labels)
        ys = dataset.train_ys.numpy()
        self.labelled = features[split.labelled], ys[split.labelled]
        self.validation = features[split.validation], ys[split.validation]
        some = np.random.default_rng(seed).permutation(split.unlabelled)[: config.unlabelled_rows]
        self.unlabelled = features[some]
        variance = features[split.unlabelled].var(0).mean()
        self.gamma_unit = 1 / (features.shape[1] * variance)

    def choose(self, kind: str, best: dict[str, Options]) -> tuple[ClassifierMixin, pd.DataFrame]:
        """Return the classifier of the highest validation accuracy, fitted, and all that was tried.

        Args:
            kind: which classifier.
            best: what was chosen for other kinds; the choice for this one is added.
        """
        if kind == "self_training_svm" and "rbf_svm" not in best:
            self.choose("rbf_svm", best)
        rows = []
        winner: tuple[float, ClassifierMixin | None] = (-1.0, None)
        for options in self._candidates(kind, best):
            classifier = self._fit(kind, options)
            xs, ys = self.validation
            accuracy = float((classifier.predict(xs) == ys).mean())
            rows.append({**options, "validation_accuracy": accuracy})
            if accuracy > winner[0]:
                winner, best[kind] = (accuracy, classifier), options
        return winner[1], pd.DataFrame(rows)

    def _candidates(self, kind: str, best: dict[str, Options]) -> Iterator[Options]:
        config = self.config
        if kind == "self_training_svm":
            # More rows lie closer together: self-training may want another kernel.
            for gamma, rounds in product(config.gammas, config.rounds):
                yield {"penalty": best["rbf_svm"]["penalty"], "gamma": gamma, "rounds": rounds}
            return
        gammas: Iterable[Options] = [{}]
        if kind == "rbf_svm":
            gammas = [{"gamma": gamma} for gamma in config.gammas]
        for penalty in config.penalties:
            yield from ({"penalty": penalty, **gamma} for gamma in gammas)

    def _fit(self, kind: str, options: Options) -> ClassifierMixin:
        xs, ys = self.labelled
        if kind == "linear_svm":
            return SVC(C=options["penalty"], kernel="linear").fit(xs, ys)
        kernel = {"C": options["penalty"], "gamma": options["gamma"] * self.gamma_unit}
        if kind == "rbf_svm":
            return SVC(**kernel).fit(xs, ys)
        trained = SelfTrainingClassifier(
            MarginSVC(**kernel),
            criterion="k_best",
            k_best=len(self.unlabelled) // _PARTS,
            max_iter=int(options["rounds"]),
        )
        unknown = np.full(len(self.unlabelled), -1)
        return trained.fit(np.concatenate([xs, self.unlabelled]), np.concatenate([ys, unknown]))
