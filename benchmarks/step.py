"""Times a training step of each model against its peers, alternately in one process.

Contestants: the textbook Pyro M2 (with this library's activation, and with the softplus of the
published examples), M2 written by hand in PyTorch, and this library's M2, RaoBlackwellM2 and
MLPClassifier; eager and compiled, float32 and bfloat16; on a GPU also as a CUDA graph. The
arithmetic limit of each is the number of operations in its matrix products over their measured
speed. Writes step.csv and step.md to RESULTS_ROOT.

With --models all, every model of the library instead, on batches of which half the rows have a
label, against its own arithmetic limit; and VAE, GumbelSoftmaxM2 and CCVAE against the same
mathematics written by hand in PyTorch. Writes models.csv and models.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import tyro

from benchmarks.all_models import MODELS, measure_models
from benchmarks.contestants import (
    HIDDEN,
    PIXELS,
    Step,
    library_step,
    networks,
    plain,
    rows_of_a_kind,
    textbook,
)
from benchmarks.timing import alternate, matrix_flops, matrix_speed, ratios, write_table
from pyro_ssl.infer.devices import keep_freed_memory, resolve_device
from pyro_ssl.models import M2, MLPClassifier, RaoBlackwellM2, SSLModel


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    models: Literal["peers", "all"] = "peers"
    """M2 and its peers, or every model."""
    batch_size: int = 200
    """Rows of a batch."""
    num_classes: int = 10
    """Classes of M2 and its peers."""
    rounds: int = 12
    """Rounds; in each every contestant makes six steps, of which five count."""
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    """Precisions to time."""
    kinds: tuple[str, ...] = ("unlabelled", "labelled")
    """Kinds of rows to time, of M2 and its peers."""
    device: str = "auto"
    """Device: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def contestants(config: Config, kind: str, device: torch.device) -> dict[str, Step]:
    """Return the steps to time on one batch of `kind` rows."""
    torch.manual_seed(0)
    k = config.num_classes
    xs = torch.rand(config.batch_size, 1, 28, 28, device=device).bernoulli()
    ys = torch.arange(len(xs), device=device) % k if kind == "labelled" else None
    steps: dict[str, Step] = {
        "textbook Pyro, float32": textbook(xs, ys, k, torch.nn.ReLU),
        "textbook Pyro with softplus, float32": textbook(xs, ys, k, torch.nn.Softplus),
    }
    models: dict[str, Callable[[], SSLModel]] = {"M2": lambda: M2(**networks(k))}
    if kind == "unlabelled":
        models["RaoBlackwellM2"] = lambda: RaoBlackwellM2(num_summed=1, **networks(k))
    else:
        models["MLPClassifier"] = lambda: MLPClassifier(
            (1, 28, 28), k, (HIDDEN,), batch_norm=False, input_dropout=0.0
        )
    ways = [("eager", False, False), ("compiled", True, False)]
    if device.type == "cuda":
        ways += [("CUDA graph", False, True), ("compiled, CUDA graph", True, True)]
    for precision in config.precisions:
        for way, compiled, captured in ways:
            if not captured:
                steps[f"by hand, {way}, {precision}"] = plain(xs, ys, k, precision, compiled)
            for name, make in models.items():
                steps[f"{name}, {way}, {precision}"] = library_step(
                    make().to(device), rows_of_a_kind(xs, ys), precision, compiled, captured
                )
    return steps


def measure(config: Config, device: torch.device) -> list[dict[str, object]]:
    """Return one row for each contestant and kind, ratios first."""
    shape = (config.batch_size * config.num_classes, HIDDEN, PIXELS)
    speeds = {p: matrix_speed(p, device, shape) for p in config.precisions}
    rows: list[dict[str, object]] = []
    for kind in config.kinds:
        steps = contestants(config, kind, device)
        seconds = alternate(steps, config.rounds, device)
        for name in steps:
            model, *_, precision = name.split(", ")
            by_hand = seconds[[f"by hand, {way}, {precision}" for way in ("eager", "compiled")]]
            best = by_hand[by_hand.median().idxmin()]
            eager = name if model.startswith("textbook") else f"{model}, eager, {precision}"
            limit = matrix_flops(steps[eager]) / speeds[precision]
            median = seconds[name].median()
            rows.append(
                {
                    "rows": kind,
                    "step": name,
                    **ratios(seconds, name, "textbook Pyro, float32"),
                    "times_by_hand": (seconds[name] / best).median(),
                    "times_by_hand_compiled": (seconds[name] / by_hand.iloc[:, 1]).median(),
                    "times_arithmetic_limit": median / limit,
                    "ms": 1e3 * median,
                    "ms_min": 1e3 * seconds[name].min(),
                    "ms_max": 1e3 * seconds[name].max(),
                    "arithmetic_limit_ms": 1e3 * limit,
                    "gigaflop_per_second": speeds[precision] / 1e9,
                }
            )
    return rows


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    keep_freed_memory()
    device = resolve_device(config.device)
    if config.models == "peers":
        write_table(measure(config, device), "step", config.results_root, device)
        return
    options = config.batch_size, config.rounds, config.precisions
    table = measure_models(*options, device, tuple(MODELS))
    write_table(table, "models", config.results_root, device, "step --models all")


if __name__ == "__main__":
    main()
