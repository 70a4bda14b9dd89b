"""Checks that need a GPU: `python -m benchmarks.gpu`.

Each check prints a line that begins with PASS or FAIL:

- recorded: steps of several models, uncompiled and with `--compile`, run in a CUDA graph, and
  training has the same course as without one, up to rounding;
- memory: after a run, no more memory is allocated than before, with the garbage collector off;
- again: several runs in a row are all recorded, even if garbage of graphs exists;
- devices: if there are several GPUs, a run on each of them is recorded there and learns;
- refusal: a step that reads a value is not recorded, gives the reason, and trains nevertheless.

Then come the times of a step of models of MNIST's size, with a graph and without, in float32 and in
bfloat16. The exit code is 1 if a check failed, and 2 if there is no GPU.
"""

import gc
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import tyro
from torch import Tensor

from pyro_ssl.data import SSLData
from pyro_ssl.infer import FitConfig, History, fit
from pyro_ssl.infer.config import PRECISIONS
from pyro_ssl.models import (
    CCVAE,
    M2,
    VAE,
    ApproxM2,
    BernoulliVAE,
    BitMixture,
    GumbelSoftmaxM2,
    LogGamma,
    RaoBlackwellM2,
)
from pyro_ssl.models.base import PyroModel, SSLModel

NO_GPU = 2
_SIZES: dict[str, Any] = {"input_shape": (1, 8, 8), "num_classes": 4, "hidden_dims": (32,)}
MODELS: dict[str, Callable[[], PyroModel]] = {
    "M2": lambda: M2(latent_dim=4, **_SIZES),
    "ApproxM2": lambda: ApproxM2(baseline_dims=(8,), latent_dim=4, **_SIZES),
    "CCVAE": lambda: CCVAE(style_dim=4, num_samples=5, **_SIZES),
    "GumbelSoftmaxM2": lambda: GumbelSoftmaxM2(latent_dim=4, **_SIZES),
    "LogGamma": lambda: LogGamma(latent_dim=4, **_SIZES),
    "BernoulliVAE": lambda: BernoulliVAE(16, num_bits=4),
    "BitMixture": lambda: BitMixture(((-1, 0), (1, 0.5), (0, 1), (0, -1)), hidden_dims=(8,)),
}
# Models of which steps are timed, of the sizes of MNIST.
_LARGE: dict[str, Any] = {"hidden_dims": (500, 500)}
TIMED: dict[str, Callable[[], PyroModel]] = {
    "M2": lambda: M2(**_LARGE),
    "RaoBlackwellM2": lambda: RaoBlackwellM2(**_LARGE),
    "VAE": lambda: VAE(**_LARGE),
}
# 20 steps per epoch; the first epoch warms up and records.
_HOW = FitConfig(
    epochs=3,
    batch_size=20,
    learning_rate=1e-3,
    learning_rate_schedule="constant",
    anneal={},
    precision="float32",
    compile="never",
    keep_best=False,
)


@dataclass(frozen=True)
class Config:
    """Options of the checks."""

    device: str = "cuda"
    """The GPU: cuda or cuda:N."""

    compile: bool = False
    """Also check compiled steps, which takes about half a minute per model."""

    tolerance: float = 1e-3
    """Largest allowed difference d of a figure f between training with a graph and without, as
    d / (1 + |f|)."""


def problem(model: PyroModel, device: torch.device) -> SSLData:
    """Return 400 unlabelled rows and, for models that classify, 40 labelled ones."""
    generator = torch.Generator().manual_seed(0)
    xs = torch.rand(440, *model.input_shape, generator=generator).round()
    if not isinstance(model, SSLModel):
        return SSLData.unlabelled(xs, real_valued=model.takes_real_values).to(device)
    ys = torch.arange(40) % model.num_classes
    return SSLData(xs[:40], ys, xs[40:], model.num_classes, xs[:40], ys).to(device)


def train(
    make: Callable[[], PyroModel], device: torch.device, how: FitConfig
) -> tuple[History, list[str]]:
    """Train a new model of fixed weights; return its history and the warnings."""
    torch.manual_seed(0)
    model = make().to(device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        how = replace(how, binarise=bool(how.binarise and model.takes_pixels))
        return fit(model, problem(model, device), how), [str(w.message) for w in caught]


def recorded(device: torch.device, config: Config) -> Iterator[tuple[bool, str]]:
    """Compare steps in a graph with steps without."""
    for name, make in MODELS.items():
        for compiles in ("never", "always")[: 1 + config.compile]:
            how = replace(_HOW, compile=compiles)
            plain, _ = train(make, device, replace(how, cuda_graph=False))
            history, told = train(make, device, how)
            figures = [_figures(each) for each in (plain, history)]
            off = ((figures[0] - figures[1]).abs() / (1 + figures[0].abs())).max().item()
            # `not` also catches NaN.
            good = "in a CUDA graph" in history.execution and not off > config.tolerance
            yield good and off == off, f"{name}, {history.execution}: off by {off:.1e} {told}"


def _figures(history: History) -> Tensor:
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return torch.tensor([list(row.values()) for row in rows], dtype=torch.float64)


def memory(device: torch.device, config: Config) -> Iterator[tuple[bool, str]]:
    """Compare the memory in use before and after runs whose models are dropped."""
    train(MODELS["M2"], device, _HOW)
    gc.collect()
    with _no_collector():
        before = torch.cuda.memory_allocated(device)
        for _ in range(3):
            train(MODELS["M2"], device, _HOW)
        after = torch.cuda.memory_allocated(device)
    yield after <= before, f"{before} bytes in use before three runs, {after} after"


def again(device: torch.device, config: Config) -> Iterator[tuple[bool, str]]:
    """Record several runs in a row, while garbage graphs wait for the collector."""
    found = []
    with _no_collector():
        for _ in range(3):
            graph = torch.cuda.CUDAGraph()
            cycle = [graph]
            cycle.append(cycle)  # type: ignore[arg-type]
            del graph, cycle
            found.append(train(MODELS["M2"], device, _HOW)[0].execution)
    stream, default = torch.cuda.current_stream(device), torch.cuda.default_stream(device)
    yield all("graph" in each for each in found) and stream == default, ", ".join(found)


def devices(device: torch.device, config: Config) -> Iterator[tuple[bool, str]]:
    """Train on each GPU."""
    for index in range(torch.cuda.device_count()):
        history, _ = train(MODELS["M2"], torch.device("cuda", index), replace(_HOW, epochs=10))
        losses = [row["loss"] for row in history.rows]
        good = "graph" in history.execution and losses[-1] < losses[1]
        yield good, f"cuda:{index}, {history.execution}: loss {losses[1]:.2f} to {losses[-1]:.2f}"


class _Reads(M2):
    """A model whose guide reads a value."""

    def guide(self, xs: object, ys: Tensor | None = None) -> None:
        assert float(next(self.parameters()).sum()) < 1e30
        super().guide(xs, ys)  # type: ignore[arg-type]


def refusal(device: torch.device, config: Config) -> Iterator[tuple[bool, str]]:
    """Train with steps that cannot be recorded; results equal those of unrecorded steps."""

    def make() -> PyroModel:
        return _Reads(latent_dim=4, **_SIZES)

    plain, _ = train(make, device, replace(_HOW, cuda_graph=False))
    history, told = train(make, device, _HOW)
    close = torch.allclose(_figures(plain), _figures(history), rtol=config.tolerance)
    said = any("without a CUDA graph" in message for message in told)
    back = torch.cuda.current_stream(device) == torch.cuda.default_stream(device)
    yield close and said and back and history.execution == "eager", f"{told}"


def seconds_a_step(make: Callable[[], PyroModel], data: SSLData, how: FitConfig) -> float:
    """Return the time of a step in seconds, in the fastest epoch except the first."""
    model = make().to(data.labelled_xs.device)
    history = fit(model, data, replace(how, epochs=5, steps_per_epoch=100, batch_size=200))
    return min(row["seconds"] for row in history.rows[1:]) / 100


def times(device: torch.device, config: Config) -> Iterator[str]:
    """Yield a line for each of `TIMED`, on 100 labelled and 20,000 unlabelled images."""
    generator = torch.Generator().manual_seed(0)
    xs, ys = torch.rand(20_100, 1, 28, 28, generator=generator).round(), torch.arange(100) % 10
    data = SSLData(xs[:100], ys, xs[100:], 10, xs[:100], ys).to(device)
    ways: dict[str, dict[str, Any]] = {"in a graph": {}, "without": {"cuda_graph": False}}
    if config.compile:
        ways["compiled, in a graph"] = {"compile": "always"}
    for name, make in TIMED.items():
        for precision in PRECISIONS:
            how = replace(_HOW, precision=precision)
            found = [
                f"{1e6 * seconds_a_step(make, data, replace(how, **way)):.0f} us {words}"
                for words, way in ways.items()
            ]
            yield f"a step of {name}, {precision}: {', '.join(found)}"


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


CHECKS = (recorded, memory, again, devices, refusal)


def main(args: Sequence[str] | None = None) -> int:
    """Run all checks and return the exit code; `args` replaces the command line."""
    config = tyro.cli(Config, args=args, description=__doc__)
    if not torch.cuda.is_available():
        print("error: torch sees no GPU here: there is nothing to check", file=sys.stderr)
        return NO_GPU
    device = torch.device(config.device if ":" in config.device else "cuda:0")
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}")
    failed, started = 0, time.perf_counter()
    for check in CHECKS:
        try:
            for good, what in check(device, config):
                failed += not good
                print("PASS" if good else "FAIL", f"{check.__name__}: {what}", flush=True)
        except Exception as error:
            # The other checks are still worth running.
            failed += 1
            print("FAIL", f"{check.__name__}: {type(error).__name__}: {error}", flush=True)
    for line in times(device, config):
        print(line, flush=True)
    print(f"{failed} failed, in {time.perf_counter() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
