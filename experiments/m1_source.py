"""Finds the M1 that an experiment builds on, or has it trained."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments import mnist_m1
from experiments.devices import resolve_device
from experiments.m1 import M1Experiment
from experiments.options import DataOptions, M1Options
from experiments.rows import seeded_split, validation_rows
from pyro_ssl.data import ImageDataset
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import load_model
from pyro_ssl.models import VAE, active_latents

# What of M1 an experiment may choose, and what it shares with M1.
_M1 = ("epochs", "latent_dim", "hidden_dims")
_SHARED = (
    "dataset",
    "validation",
    "device",
    "precision",
    "compile",
    "cuda_graph",
    "data_root",
    "results_root",
)


@dataclass(frozen=True)
class TrainedM1:
    """M1 of one seed.

    Attributes:
        vae: the model.
        active: numbers of its latents that are active on the rows it was trained on.
        results: its JSON file.
        digest: sixteen hexadecimal digits that identify its weights.
    """

    vae: VAE
    active: tuple[int, ...]
    results: dict[str, Any]
    digest: str


class M1Source:
    """Where an experiment finds the M1 of each seed: among the results of `mnist_m1`.

    Args:
        config: options of the experiment that needs it.
        m1: which M1.
        threshold: standard deviation of posterior means above which a latent is active.
    """

    def __init__(self, config: DataOptions, m1: M1Options, threshold: float) -> None:
        self.config, self.m1, self.threshold = config, m1, threshold

    def check(self, dataset: ImageDataset, seeds: Iterable[int]) -> None:
        """Raise what is wrong with the M1 of any of `seeds`, before one is trained.

        Raises:
            ConfigError: if a finished one lacks its checkpoint, or had other validation rows.
        """
        for seed in seeds:
            path = self._checkpoint(seed)
            results = path.with_suffix(".json")
            if not results.exists():
                self._experiment(seed)
                continue
            if not path.exists():
                raise ConfigError(
                    f"{results} is there, but not the checkpoint {path}, which does not come with "
                    "the source: train it again by `python -m experiments.mnist_m1 --seeds "
                    f"{seed} --overwrite`, or another M1 with --m1.tag NAME"
                )
            theirs = json.loads(results.read_text())["validation_rows"]
            ours = validation_rows(self.config, dataset)
            if theirs != ours:
                raise ConfigError(
                    f"{path} was trained with {theirs} validation rows, this run has {ours}, some "
                    f"of which M1 has seen: use --validation {theirs}, or another --m1.tag"
                )

    def get(self, seed: int, dataset: ImageDataset) -> TrainedM1:
        """Return M1 of a seed, from a finished run or trained now, and say which.

        The seed is M1's as well, so that validation rows of one are those of the other.

        Raises:
            ConfigError: as `check` does, or if no latent is active.
        """
        path = self._checkpoint(seed)
        if path.exists() and path.with_suffix(".json").exists():
            print(f"M1 of seed {seed} is taken from {path}")
        else:
            print(f"M1 of seed {seed} is trained first, there is no finished run {path}")
            self._experiment(seed).run()
        model = load_model(path)
        assert isinstance(model, VAE)
        vae = model.to(resolve_device(self.config.device))
        rows = dataset.train_xs[seeded_split(self.config, dataset, seed, 0).unlabelled]
        active = active_latents(vae, rows.to(resolve_device(self.config.device)), self.threshold)
        if not active:
            raise ConfigError(
                f"no latent of M1 in {path} is active (standard deviation of its posterior means "
                f"above {self.threshold}): train M1 for longer, or lower --active-threshold"
            )
        text = hashlib.sha256()
        for tensor in vae.state_dict().values():
            text.update(tensor.cpu().numpy().tobytes())
        results: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        return TrainedM1(vae, active, results, text.hexdigest()[:16])

    def _checkpoint(self, seed: int) -> Path:
        return self._experiment(seed).paths["vae"] / f"seed_{seed}.pt"

    def _experiment(self, seed: int) -> M1Experiment:
        """Return the run of `mnist_m1` that trains M1 of this seed as others lie there already."""
        m1, config = self.m1, self.config
        how: dict[str, Any] = {name: getattr(m1, name) for name in _M1}
        ending = f"-{m1.tag}" if m1.tag else ""
        there = Path(config.results_root) / "mnist_m1" / f"vae-{config.dataset}{ending}/config.json"
        if there.exists():
            known = {field.name for field in fields(mnist_m1.Config)}
            found = {k: v for k, v in json.loads(there.read_text()).items() if k in known}
            how = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        how |= {name: getattr(config, name) for name in _SHARED}
        how |= {"seeds": (seed,), "tag": m1.tag, "resume": True, "bound_samples": (1, 50)}
        how |= {"two_dimensional": False, "quiet": config.quiet or config.jobs > 1}
        return M1Experiment(mnist_m1.Config(**how))
