"""The M1 that an experiment builds on: found among the results of `mnist_m1`, or trained first."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from experiments.engine.options import DataOptions, check_tag
from pyro_ssl.errors import ConfigError
from pyro_ssl.text_files import read_json
from pyro_ssl.trials import is_trial

if TYPE_CHECKING:
    from experiments.engine.runner import Comparison, SeedRun
    from pyro_ssl.data import ImageDataset
    from pyro_ssl.models import VAE

# Options that M1 shares with the experiment.
_SHARED = (
    "dataset",
    "validation",
    "device",
    "precision",
    "compile",
    "cuda_graph",
    "engine",
    "data_root",
    "results_root",
)


@dataclass(frozen=True)
class M1Options:
    """M1, the VAE whose latents are used: a finished run of `mnist_m1`, or one trained now."""

    tag: str | None = None
    """Suffix of the folder of `mnist_m1`'s results; finished runs there are used unchanged."""
    epochs: int = 200
    """Epochs, if it is trained now."""
    latent_dim: int = 50
    """Dimensions of its latent z, if it is trained now."""
    hidden_dims: tuple[int, ...] = (500, 500)
    """Units of each hidden layer of its encoder, reversed in the decoder, if it is trained now."""


@dataclass(frozen=True)
class TrainedM1:
    """M1 of one seed.

    Attributes:
        vae: the model.
        active: indices of its latents that are active on the rows that it was trained on.
        results: its JSON file.
        digest: sixteen hexadecimal digits that identify its weights.
    """

    vae: "VAE"
    active: tuple[int, ...]
    results: dict[str, Any]
    digest: str

    def about(self) -> dict[str, Any]:
        """Return the description of M1 for results."""
        return {
            "active_latents": len(self.active),
            "m1_digest": self.digest,
            "m1_commit": self.results["commit"],
            "m1_config": self.results["config"],
        }


@dataclass(frozen=True)
class M1Source:
    """Finds the M1 of each seed among the results of `mnist_m1`.

    Attributes:
        config: options of the experiment that needs it.
        m1: options that identify M1.
        threshold: standard deviation of posterior means above which a latent is active.
        options: the class of the options of `mnist_m1`.
        comparison: makes the comparison of `mnist_m1` from these options.
    """

    config: DataOptions
    m1: M1Options
    threshold: float
    options: Callable[..., Any]
    comparison: "Callable[[Any], Comparison]"

    def check(self, run: "SeedRun") -> None:
        """Check the M1 of every unfinished seed, before any model is trained.

        Raises:
            ConfigError: if a finished M1 lacks its checkpoint, or had other validation rows.
        """
        from experiments.engine.semi_supervised import validation_rows

        rows = validation_rows(self.config, run.dataset)
        for seed in self.config.seeds:
            if self.config.overwrite or not all(f.finished(seed) for f in run.folders.values()):
                self._check_seed(seed, rows)

    def _check_seed(self, seed: int, rows: int) -> None:
        path = self._checkpoint(seed)
        results = path.with_suffix(".json")
        if not results.exists():
            return
        if not path.exists():
            raise ConfigError(
                f"{results} is there, but not the checkpoint {path}, which does not come with "
                "the source: train it again by `python -m experiments.mnist_m1 --seeds "
                f"{seed} --overwrite`, or another M1 with --m1.tag NAME"
            )
        before = _results(results, not is_trial(self.config))["validation_rows"]
        if before != rows:
            raise ConfigError(
                f"{path} was trained with {before} validation rows, this run has {rows}, some "
                f"of which M1 has seen: use --validation {before}, or another --m1.tag"
            )

    def get(self, seed: int, dataset: "ImageDataset") -> TrainedM1:
        """Return the M1 of a seed, from a finished run or trained now, and print which.

        M1 has the same seed, so that both have the same validation rows.

        Raises:
            ConfigError: as for `check`, or if no latent is active.
        """
        from experiments.engine.runner import run_comparisons
        from experiments.engine.semi_supervised import seeded_split
        from pyro_ssl.infer import load_model
        from pyro_ssl.infer.devices import resolve_device
        from pyro_ssl.models import VAE, active_latents

        path = self._checkpoint(seed)
        if path.exists() and path.with_suffix(".json").exists():
            print(f"M1 of seed {seed} is taken from {path}")
        else:
            print(f"M1 of seed {seed} is trained first, there is no finished run {path}")
            run_comparisons([self._comparison(seed)])
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
        results = _results(path.with_suffix(".json"), not is_trial(self.config))
        return TrainedM1(vae, active, results, text.hexdigest()[:16])

    def _checkpoint(self, seed: int) -> Path:
        return self._comparison(seed).path("vae") / f"seed_{seed}.pt"

    def _comparison(self, seed: int) -> "Comparison":
        """Return the run of `mnist_m1` that trains M1 of this seed, like the others there."""
        config = self.config
        options = asdict(self.m1)
        check_tag("m1.tag", self.m1.tag)
        ending = f"-{self.m1.tag}" if self.m1.tag else ""
        there = Path(config.results_root) / "mnist_m1" / f"vae-{config.dataset}{ending}/config.json"
        if there.exists():
            known = get_type_hints(self.options)
            found = {k: v for k, v in read_json(there, kinds=known).items() if k in known}
            options = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
        options |= {name: getattr(config, name) for name in _SHARED}
        options |= {"seeds": (seed,), "tag": self.m1.tag, "resume": True, "bound_samples": (1, 50)}
        options |= {"two_dimensional": False, "quiet": config.quiet, "tuning": is_trial(config)}
        return self.comparison(self.options(**options))


def _results(path: Path, tested: bool) -> dict[str, Any]:
    """Return M1's JSON file, which must have what is read of it; a trial's M1 is not tested."""
    from experiments.engine.results import read_result

    read = ("validation_rows", "commit", "config")
    return read_result(path, (*read, "binarised", "test_elbo") if tested else read)
