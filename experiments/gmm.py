"""A mixture of Gaussians under joint training, with a factorised and a full encoder."""

import json
import warnings
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from experiments.devices import (
    describe_device,
    keep_freed_memory,
    launched_by_torchrun,
    resolve_precision,
)
from experiments.experiment import Experiment, Result, mean_with_error
from experiments.gmm_approximation import Config
from experiments.run_folder import RunFolder
from pyro_ssl import plots
from pyro_ssl.data import GaussianMixture, SSLData, four_gaussians
from pyro_ssl.errors import ConfigError
from pyro_ssl.infer import FitConfig, fit
from pyro_ssl.infer.progress import Progress
from pyro_ssl.models import BitMixture

# Of one seed, what different points and stages are drawn by.
_TRACED, _TEST, _JOINT = 1_000_003, 2_000_003, 3_000_017
_FRAMES = 30
# The step size falls by epochs; so many of them.
_EPOCHS = 50
# Points in the pictures.
_SHOWN = 2_000


class GMMExperiment(Experiment[GaussianMixture]):
    """Encoders of the four Gaussians, factorised and full.

    Args:
        config: the options of `gmm_approximation`.
    """

    def __init__(self, config: Config) -> None:
        if launched_by_torchrun():
            raise ConfigError("torchrun's processes share no run of this kind: use --jobs instead")
        super().__init__("gmm_approximation", config, ["factorised", "full"], "four-gaussians")
        self.config = config

    def load(self) -> GaussianMixture:
        """Return the distribution."""
        return four_gaussians()

    def check(self, dataset: GaussianMixture) -> None:
        """Raise what is wrong with the options, if anything is."""
        for name in ("traced_rows", "test_rows"):
            if getattr(self.config, name) < 2:
                raise ConfigError(f"{name} is {getattr(self.config, name)}, expected at least 2")
        for name in ("encoder_steps", "joint_steps"):
            steps = getattr(self.config, name)
            if steps > _EPOCHS and steps % _EPOCHS:
                raise ConfigError(f"{name} is {steps}, expected at most {_EPOCHS} or a multiple")
            self._how(steps, 0).batches(self._rows(dataset, 0))

    def run_seed(self, seed: int, dataset: GaussianMixture | None = None) -> None:
        """Train and measure both encoders."""
        keep_freed_memory()
        truth = dataset or self.load()
        traces = {}
        for name, folder in self.folders.items():
            if not folder.begin(seed, self.options.resume):
                print(f"{name} seed {seed} is finished in {folder.path}: kept")
                traces[name] = pd.read_csv(folder.file(seed, ".csv"))
                continue
            traces[name] = self._run(name, folder, seed, truth)
        figure = plots.approximation_errors(traces)
        figure.savefig(self.folders["full"].file(seed, "_both_encoders.png"), dpi=110)

    def _rows(self, truth: GaussianMixture, seed: int) -> SSLData:
        xs, _ = truth.sample(self.config.train_rows, seed)
        return SSLData.unlabelled(xs, xs[:0], real_valued=True).to(self.device)

    def _how(self, steps: int, seed: int) -> FitConfig:
        config = self.config
        return FitConfig(
            epochs=min(steps, _EPOCHS),
            steps_per_epoch=max(steps // _EPOCHS, 1),
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            learning_rate_schedule="cosine",
            binarise=False,
            precision=resolve_precision(config.precision, self.device),
            compile=config.compile,
            cuda_graph=config.cuda_graph,
            keep_best=False,
            seed=seed,
        )

    def _run(self, name: str, folder: RunFolder, seed: int, truth: GaussianMixture) -> pd.DataFrame:
        """Train one encoder, then it and the decoder; write and return what every step gave."""
        config, data = self.config, self._rows(truth, seed)
        torch.manual_seed(seed)
        centres = tuple(tuple(row) for row in truth.locs.tolist())
        model = BitMixture(centres, 1.0, name == "factorised", config.hidden_dims).to(self.device)
        steps = {"encoder": config.encoder_steps, "joint": config.joint_steps}
        trace = _Trace(model, truth.sample(config.traced_rows, seed + _TRACED)[0], steps)
        test_xs = truth.sample(config.test_rows, seed + _TEST)[0].to(self.device)
        ends, states = [], [trace.state("true posterior", posterior=True)]
        for stage in steps:
            model.centres.requires_grad_(stage == "joint")
            trace.stage = stage
            how = self._how(steps[stage], seed if stage == "encoder" else seed + _JOINT)
            with warnings.catch_warnings():
                # Pyro's, of the centres of the first stage, which are not to be learnt.
                warnings.filterwarnings("ignore", "centres was not registered")
                fit(model, data, how, on_step=trace.step)
            ends.append(model.bounds(test_xs))
            states.append(trace.state(f"q(z|x) after {stage} training"))
        result = _compare(*ends) | {"drift": trace.drift()}
        frame = pd.DataFrame(trace.rows)
        folder.write(seed, ".csv", frame.to_csv(index=False))
        points = trace.xs[:_SHOWN].cpu()
        figure = plots.bit_mixtures(points, states, truth.locs)
        figure.savefig(folder.file(seed, "_posteriors.png"), dpi=110)
        frames = [plots.bit_mixtures(points, [state], truth.locs) for state in trace.kept]
        plots.save_animation(frames, folder.file(seed, "_posteriors.gif"))
        self._write_result(name, folder, seed, truth.name, result)
        return frame

    def _write_result(
        self, name: str, folder: RunFolder, seed: int, dataset: str, result: Result
    ) -> None:
        whole = {
            "experiment": self.name,
            "model": name,
            "dataset": dataset,
            "seed": seed,
            **result,
            "validation_rows": 0,
            "selection": "last step",
            "precision": resolve_precision(self.config.precision, self.device),
            "device": describe_device(self.device),
            **self.environment,
            "config": folder.config,
        }
        folder.write(seed, ".json", json.dumps(whole, indent=2) + "\n")


class _Trace:
    """What every step of training does to a model, measured on points of its own."""

    def __init__(self, model: BitMixture, xs: Tensor, steps: dict[str, int]) -> None:
        self.model, self.xs = model, xs.to(model.centres.device)
        self.start = model.centres.detach().clone()
        self.stage = next(iter(steps))
        self.every = max(sum(steps.values()) // _FRAMES, 1)
        self.rows: list[dict[str, Any]] = []
        self.kept: list[plots.BitMixtureState] = []

    def step(self, progress: Progress) -> None:
        """Add a row, and every so often a picture."""
        elbo, evidence = (bound.mean().item() for bound in self.model.bounds(self.xs))
        row = {"step": len(self.rows) + 1, "stage": self.stage, "elbo": elbo, "evidence": evidence}
        self.rows.append(row | {"kl_posterior": evidence - elbo, "drift": self.drift()})
        if len(self.rows) % self.every == 0:
            self.kept.append(self.state(f"{self.stage} training, step {len(self.rows)}"))

    def drift(self) -> float:
        """Return the root of the mean squared distance of the centres from where they began."""
        moved = self.model.centres.detach() - self.start
        return moved.square().sum(-1).mean().sqrt().item()

    @torch.no_grad()
    def state(self, title: str, posterior: bool = False) -> plots.BitMixtureState:
        """Return what the first points' codes may be, by q(z|x) or the true posterior."""
        xs = self.xs[:_SHOWN]
        logits = self.model.log_joint(xs) if posterior else self.model.log_q(xs)
        centres = self.model.centres.detach().clone().cpu()
        return plots.BitMixtureState(title, centres, logits.softmax(-1).cpu())


def _compare(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> Result:
    """Return mean ELBO and evidence of the same points before and after, and what was gained."""
    result: Result = {}
    for name, first, last in zip(("elbo", "evidence"), before, after, strict=True):
        result |= mean_with_error(f"{name}_encoder", first)
        result |= mean_with_error(f"{name}_joint", last)
        result |= mean_with_error(f"{name}_gain", last - first)
    return result
