"""Runs a semi-supervised model and its labelled-only baseline over seeds, to files."""

import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from tqdm import tqdm

from experiments.report import summarise
from experiments.run_folder import RunFolder, describe_device, environment, resolve_device
from pyro_ssl import plots
from pyro_ssl.data import ImageDataset, SSLData, load_dataset, split_labels
from pyro_ssl.errors import ConfigError, PyroSSLError
from pyro_ssl.infer import FitConfig, History, fit
from pyro_ssl.infer.trainer import Row
from pyro_ssl.metrics import accuracy, expected_calibration_error, predict_in_chunks
from pyro_ssl.models import M2, MLPClassifier, SSLModel

if TYPE_CHECKING:
    from experiments.mnist_m2 import Config

# Options that say where and how to run, not what: they do not tell configurations apart.
_NOT_RESULTS = (
    "seeds",
    "baseline",
    "device",
    "data_root",
    "results_root",
    "resume",
    "overwrite",
    "quiet",
)
# The labelled rows alone are a few batches: a step count of its own gives the baseline
# as many looks at them as validation can tell apart.
_BASELINE_STEPS_PER_EPOCH = 25


def run_guarded(experiment: str, config: "Config") -> int:
    """Run an experiment; turn its errors into a line on the screen and an exit status."""
    try:
        SemiSupervisedExperiment(experiment, config).run()
    except PyroSSLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        arguments = [a for a in sys.argv[1:] if a not in ("--overwrite", "--resume")]
        command = shlex.join(["python", "-m", f"experiments.{experiment}", *arguments, "--resume"])
        print(
            f"\ninterrupted; the last whole epoch is in the checkpoint. Go on with:\n  {command}",
            file=sys.stderr,
        )
        return 130
    return 0


@dataclass(frozen=True)
class Contender:
    """One model of the comparison.

    Attributes:
        model: the model, newly initialised.
        data: the rows it may see.
        fit_config: how it is trained.
    """

    model: SSLModel
    data: SSLData
    fit_config: FitConfig


class SemiSupervisedExperiment:
    """M2 against the classifier on the labelled rows alone, for every seed.

    Args:
        name: name of the experiment, also of its folder.
        config: its options.
    """

    def __init__(self, name: str, config: "Config") -> None:
        if not config.seeds:
            raise ConfigError("seeds is empty, expected at least one seed: use --seeds 0")
        self.name, self.config = name, config
        self.device = resolve_device(config.device)
        decisive = {k: v for k, v in asdict(config).items() if k not in _NOT_RESULTS}
        suffix = f"{config.dataset}-{config.labels}" + (f"-{config.tag}" if config.tag else "")
        root = Path(config.results_root) / name
        names = ["mlpclassifier", "m2"] if config.baseline and config.labels else ["m2"]
        self.folders = {n: RunFolder(root / f"{n}-{suffix}", decisive) for n in names}

    def run(self) -> None:
        """Train, test and write every seed, then print the comparison."""
        for folder in self.folders.values():
            folder.claim(self.config.overwrite)
        dataset = load_dataset(self.config.dataset, self.config.data_root)
        for seed in self.config.seeds:
            split = split_labels(
                dataset.train_ys.numpy(),
                dataset.num_classes,
                self.config.labels,
                self.config.validation,
                seed,
            )
            data = SSLData.from_split(dataset, split).to(self.device)
            for name, folder in self.folders.items():
                if not folder.begin(seed, self.config.resume, self.config.overwrite):
                    print(f"{name} seed {seed} is finished in {folder.path}: kept")
                    continue
                self._run_one(name, seed, data, dataset, split.digest)
        self._print_summary()

    def _contender(self, name: str, seed: int, data: SSLData) -> Contender:
        config = self.config
        torch.manual_seed(seed)
        network: dict[str, Any] = {
            "input_shape": data.input_shape,
            "num_classes": data.num_classes,
            "hidden_dims": config.hidden_dims,
            "batch_norm": config.batch_norm,
            "input_dropout": config.input_dropout,
        }
        how: dict[str, Any] = {
            "epochs": config.epochs,
            "learning_rate": config.learning_rate,
            "learning_rate_schedule": config.learning_rate_schedule,
            "binarise": config.binarise,
            "precision": config.precision,
            "keep_best": config.keep_best,
            "patience": config.patience,
            "seed": seed,
        }
        if name == "mlpclassifier":
            batch_size = min(config.batch_size, data.num_labelled)
            how |= {"batch_size": batch_size, "steps_per_epoch": _BASELINE_STEPS_PER_EPOCH}
            model: SSLModel = MLPClassifier(**network)
            return Contender(model.to(self.device), data.labelled_only(), FitConfig(**how))
        total = data.num_labelled + data.num_unlabelled
        weight = config.alpha * total / max(data.num_labelled, 1)
        model = M2(latent_dim=config.latent_dim, classification_weight=weight, **network)
        how |= {"batch_size": config.batch_size}
        return Contender(model.to(self.device), data, FitConfig(**how))

    def _run_one(
        self, name: str, seed: int, data: SSLData, dataset: ImageDataset, digest: str
    ) -> None:
        """Train and test one model with one seed and write all its files."""
        folder, contender = self.folders[name], self._contender(name, seed, data)
        checkpoint = folder.file(seed, ".pt")
        resume = self.config.resume and checkpoint.exists()
        fit_config = contender.fit_config
        folder.log(seed, f"{'resume' if resume else 'start'} on {self.device}: {self.config}")
        with tqdm(
            total=fit_config.epochs,
            desc=f"{name} seed {seed}",
            unit="epoch",
            disable=self.config.quiet,
        ) as bar:

            def on_epoch(rows: list[Row]) -> None:
                frame = pd.DataFrame(rows)
                folder.write(seed, ".csv", frame.to_csv(index=False))
                last = {k: f"{v:.5g}" for k, v in rows[-1].items()}
                folder.log(seed, " ".join(f"{k}={v}" for k, v in last.items()))
                shown = ("unlabelled_elbo", "loss", "validation_accuracy")
                bar.set_postfix({k: last[k] for k in shown if k in last})
                bar.update(len(rows) - bar.n)

            history = fit(
                contender.model,
                contender.data,
                fit_config,
                checkpoint=checkpoint,
                resume=resume,
                on_epoch=on_epoch,
            )
        self._test(name, seed, contender, history, dataset, digest)

    def _test(
        self,
        name: str,
        seed: int,
        contender: Contender,
        history: History,
        dataset: ImageDataset,
        digest: str,
    ) -> None:
        """Read the test set, once, and write the seed's JSON file and figures."""
        folder, data = self.folders[name], contender.data
        test_ys = dataset.test_ys.to(self.device)
        probabilities = predict_in_chunks(contender.model, dataset.test_xs.to(self.device))
        frame = history.to_frame()
        result = {
            "experiment": self.name,
            "model": name,
            "dataset": self.config.dataset,
            "labels": self.config.labels,
            "seed": seed,
            "test_accuracy": accuracy(probabilities, test_ys),
            "test_ece": expected_calibration_error(probabilities, test_ys),
            "test_rows": len(test_ys),
            "validation_rows": len(data.validation_xs),
            "unlabelled_rows": data.num_unlabelled,
            "selection": history.selection,
            "selected_epoch": history.selected_epoch,
            "termination": history.termination,
            "seconds_per_epoch": frame["seconds"].median(),
            "split_digest": digest,
            "device": describe_device(self.device),
            **environment(),
            "config": folder.config,
        }
        title = f"{name}, {self.config.dataset}, {self.config.labels} labels, seed {seed}"
        figures = {
            "learning_curves": plots.learning_curves(frame, title),
            "reliability": plots.reliability(probabilities, test_ys, f"{title}\ntest set"),
        }
        if isinstance(contender.model, M2):
            torch.manual_seed(seed)
            figures["samples"] = plots.class_samples(contender.model)
            examples = (data.validation_xs if len(data.validation_xs) else data.unlabelled_xs)[:10]
            figures["analogies"] = plots.analogies(contender.model, examples)
        for figure_name, figure in figures.items():
            figure.savefig(folder.file(seed, f"_{figure_name}.png"), dpi=110)
        folder.write(seed, ".json", json.dumps(result, indent=2) + "\n")
        folder.log(seed, f"test accuracy {result['test_accuracy']:.4f}, {history.selection}")

    def _print_summary(self) -> None:
        results = [f.results(s) for f in self.folders.values() for s in self.config.seeds]
        print(f"\n{self.config.dataset}, {self.config.labels} labels, test set:")
        shown = ["model", "test_accuracy_%", "test_ece_%", "seeds", "seconds_per_epoch"]
        print(summarise(pd.DataFrame(results))[shown].to_string(index=False))
        for folder in self.folders.values():
            print(f"\n{folder.path}/")
            for seed in self.config.seeds:
                names = sorted(file.name for file in folder.path.glob(f"seed_{seed}[._]*"))
                print("  " + " ".join(names))
