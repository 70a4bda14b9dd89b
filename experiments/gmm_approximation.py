"""The effect of joint training on a mixture of four Gaussians with a factorised encoder.

The first experiment of Shekhovtsov et al. (2022). A decoder starts as the true mixture. First the
encoder alone is trained, then encoder and decoder together. With an encoder that factorises over
the bits of the component's number, the ELBO of joint training rises at the expense of the evidence:
the centres move to where the posterior factorises better. A full encoder, trained in the same way,
leaves them where they are. Every step's ELBO, evidence, divergence of q(z|x) from the posterior and
drift of the centres go to per-seed CSV files in RESULTS_ROOT/gmm_approximation/, with scatter
plots, an animation, and a figure of both encoders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.engine.options import RunOptions, recorded_options
from pyro_ssl.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from experiments.engine.runner import Comparison, Result, SeedRun
    from pyro_ssl.data import GaussianMixture, SSLData
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.infer.progress import Progress
    from pyro_ssl.models import BitMixture
    from pyro_ssl.plots import BitMixtureState

# Offsets that are added to a run's seed for its points and stages.
_TRACED, _TEST, _JOINT = 1_000_003, 2_000_003, 3_000_017
_FRAMES = 30
# Columns of a trace: numbers, and others.
_TRACE = (("step", "elbo", "evidence", "kl_posterior", "drift"), ("stage",))
# Number of epochs, by which the step size falls.
_EPOCHS = 50
# Number of points in the pictures.
_SHOWN = 2_000


@dataclass(frozen=True)
class Config(RunOptions):
    """Options of the experiment."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds, one run each; a seed determines the points, the weights and the order."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of matrix products."""
    train_rows: int = 50_000
    """Points to train on."""
    traced_rows: int = 4_000
    """Number of points on which every step is measured."""
    test_rows: int = 200_000
    """Points to measure the two stages' ends on."""
    batch_size: int = 500
    """Points per step."""
    encoder_steps: int = 1_500
    """Steps of the encoder alone, a multiple of 50."""
    joint_steps: int = 3_000
    """Steps of encoder and decoder, a multiple of 50."""
    learning_rate: float = 3e-3
    """Adam's initial step size in either stage; it falls to 0 along a half cosine."""
    hidden_dims: tuple[int, ...] = (64, 64)
    """Units of each hidden layer of the encoder."""


def load(config: Config) -> "GaussianMixture":
    """Return the distribution."""
    from pyro_ssl.data import four_gaussians

    return four_gaussians()


def check(run: "SeedRun") -> None:
    """Raise an error if the options are invalid."""
    config = run.config
    for name in ("traced_rows", "test_rows"):
        if getattr(config, name) < 2:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 2")
    for name in ("encoder_steps", "joint_steps"):
        steps = getattr(config, name)
        if steps > _EPOCHS and steps % _EPOCHS:
            raise ConfigError(f"{name} is {steps}, expected at most {_EPOCHS} or a multiple")
        fit_config(run, steps, 0).batches(train_rows(run))


def train_rows(run: "SeedRun") -> "SSLData":
    """Return a seed's training points."""
    from pyro_ssl.data import SSLData

    xs, _ = run.dataset.sample(run.config.train_rows, run.seed)
    return SSLData.unlabelled(xs, xs[:0], real_valued=True).to(run.device)


def fit_config(run: "SeedRun", steps: int, seed: int) -> "FitConfig":
    """Return the training options of a stage of `steps` steps."""
    from pyro_ssl.infer import FitConfig
    from pyro_ssl.infer.devices import resolve_precision

    config = run.config
    return FitConfig(
        epochs=min(steps, _EPOCHS),
        steps_per_epoch=max(steps // _EPOCHS, 1),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        learning_rate_schedule="cosine",
        binarise=False,
        precision=resolve_precision(config.precision, run.device),
        compile=config.compile,
        cuda_graph=config.cuda_graph,
        engine=config.engine,
        keep_best=False,
        seed=seed,
    )


def run_seed(run: "SeedRun") -> None:
    """Train and measure both encoders, and draw them together."""
    from pyro_ssl import plots
    from pyro_ssl.text_files import read_csv

    traces = {}
    for name in run.comparison.models:
        file = run.file(name, ".csv")
        traces[name] = run_encoder(name, run) if name in run.pending else read_csv(file, *_TRACE)
    plots.approximation_errors(traces).savefig(run.file("full", "_both_encoders.png"), dpi=110)


def run_encoder(name: str, run: "SeedRun") -> "pd.DataFrame":
    """Train one encoder, then encoder and decoder; write and return the trace of all steps."""
    import warnings

    import pandas as pd
    import torch

    from pyro_ssl import plots
    from pyro_ssl.infer import fit
    from pyro_ssl.models import BitMixture
    from pyro_ssl.results import run_csv

    config, truth, data = run.config, run.dataset, train_rows(run)
    torch.manual_seed(run.seed)
    centres = tuple(tuple(row) for row in truth.locs.tolist())
    model = BitMixture(centres, 1.0, name == "factorised", config.hidden_dims).to(run.device)
    steps = {"encoder": config.encoder_steps, "joint": config.joint_steps}
    trace = Trace(model, truth.sample(config.traced_rows, run.seed + _TRACED)[0], steps)
    test_xs = truth.sample(config.test_rows, run.seed + _TEST)[0].to(run.device)
    ends, states = [], [trace.state("true posterior", posterior=True)]
    for stage in steps:
        model.centres.requires_grad_(stage == "joint")
        trace.stage = stage
        how = fit_config(run, steps[stage], run.seed if stage == "encoder" else run.seed + _JOINT)
        with warnings.catch_warnings():
            # Pyro's warning about the centres of the first stage, which are not trained.
            warnings.filterwarnings("ignore", "centres was not registered")
            fit(model, data, how, on_step=trace.step)
        ends.append(model.bounds(test_xs))
        states.append(trace.state(f"q(z|x) after {stage} training"))
    frame = pd.DataFrame(trace.rows)
    csv = run_csv(frame, model=name, dataset=truth.name, labels=None, seed=run.seed)
    run.folders[name].write(run.seed, ".csv", csv)
    points = trace.xs[:_SHOWN].cpu()
    frames = [plots.bit_mixtures(points, [state], truth.locs) for state in trace.kept]
    plots.save_animation(frames, run.file(name, "_posteriors.gif"))
    result = compare(*ends) | {
        "drift": trace.drift(),
        "validation_rows": 0,
        "selection": "last step",
        "precision": how.precision,
    }
    run.finish(name, result, {"posteriors": plots.bit_mixtures(points, states, truth.locs)})
    return frame


class Trace:
    """Measurements of a model after every step of each stage, on the same points."""

    def __init__(self, model: "BitMixture", xs: "Tensor", steps: dict[str, int]) -> None:
        self.model, self.xs = model, xs.to(model.centres.device)
        self.start = model.centres.detach().clone()
        self.stage = next(iter(steps))
        self.every = max(sum(steps.values()) // _FRAMES, 1)
        self.rows: list[dict[str, Any]] = []
        self.kept: list[BitMixtureState] = []

    def step(self, progress: "Progress") -> None:
        """Add a row, and sometimes a picture."""
        elbo, evidence = (bound.mean().item() for bound in self.model.bounds(self.xs))
        row = {"step": len(self.rows) + 1, "stage": self.stage, "elbo": elbo, "evidence": evidence}
        self.rows.append(row | {"kl_posterior": evidence - elbo, "drift": self.drift()})
        if len(self.rows) % self.every == 0:
            self.kept.append(self.state(f"{self.stage} training, step {len(self.rows)}"))

    def drift(self) -> float:
        """Return the root mean square distance of the centres from their initial places."""
        moved = self.model.centres.detach() - self.start
        return moved.square().sum(-1).mean().sqrt().item()

    def state(self, title: str, posterior: bool = False) -> "BitMixtureState":
        """Return the codes' probabilities for the first points, by q(z|x) or the true posterior."""
        from pyro_ssl.plots import BitMixtureState

        xs = self.xs[:_SHOWN]
        logits = self.model.log_joint(xs) if posterior else self.model.log_q(xs)
        centres = self.model.centres.detach().clone().cpu()
        return BitMixtureState(title, centres, logits.detach().softmax(-1).cpu())


def compare(before: "tuple[Tensor, Tensor]", after: "tuple[Tensor, Tensor]") -> "Result":
    """Return mean ELBO and evidence of the same points before and after, and the gains."""
    from experiments.engine.training import mean_with_error

    result: Result = {}
    for name, first, last in zip(("elbo", "evidence"), before, after, strict=True):
        result |= mean_with_error(f"{name}_encoder", first)
        result |= mean_with_error(f"{name}_joint", last)
        result |= mean_with_error(f"{name}_gain", last - first)
    return result


def comparison(config: Config) -> "Comparison":
    """Return what to train and how to test it."""
    from experiments.engine.runner import Comparison

    return Comparison(
        name="gmm_approximation",
        config=config,
        models=("factorised", "full"),
        suffix="four-gaussians",
        load=load,
        settings=lambda model, dataset: recorded_options(config),
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
