"""Timing contestants alternately, and tables of the results."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.engine.tables import to_markdown
from pyro_ssl.files import write_text
from pyro_ssl.infer.devices import describe_device
from pyro_ssl.versions import environment

Step = Callable[[], object]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def alternate(
    steps: Mapping[str, Step], rounds: int, device: torch.device, block: int = 5
) -> pd.DataFrame:
    """Return seconds per step, one row per round and one column per contestant.

    In every round, each contestant makes one untimed step, to fill the caches with its data, and
    then `block` steps, whose mean time is recorded. Other load on the machine therefore affects all
    contestants alike.

    Args:
        steps: the contestants.
        rounds: number of rounds.
        device: device of the contestants; a timing ends when its queue is empty.
        block: number of timed steps per round.
    """
    for step in steps.values():
        for _ in range(5):
            step()
    rows = []
    for _ in range(rounds):
        row = {}
        for name, step in steps.items():
            step()
            _wait(device)
            started = time.perf_counter()
            for _ in range(block):
                step()
            _wait(device)
            row[name] = (time.perf_counter() - started) / block
        rows.append(row)
    return pd.DataFrame(rows)


def matrix_flops(step: Step) -> int:
    """Return the floating-point operations of a step's matrix products, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def matrix_speed(
    precision: str, device: torch.device, shape: tuple[int, int, int], rounds: int = 20
) -> float:
    """Return the operations per second of a matrix product `[a, b] x [b, c]`, in the best round."""
    rows, inner, columns = shape
    first = torch.randn(rows, inner, device=device, dtype=PRECISIONS[precision])
    second = torch.randn(inner, columns, device=device, dtype=PRECISIONS[precision])
    seconds = alternate({"mm": lambda: first @ second}, rounds, device)["mm"].min()
    return 2 * rows * inner * columns / seconds


def ratios(seconds: pd.DataFrame, name: str, reference: str) -> dict[str, float]:
    """Return how many times faster than `reference` a contestant is: median and spread.

    Args:
        seconds: seconds per step, as returned by `alternate`.
        name: the contestant.
        reference: the other contestant.
    """
    faster = seconds[reference] / seconds[name]
    low, middle, high = faster.quantile([0.1, 0.5, 0.9])
    return {"times_faster": middle, "times_faster_low": low, "times_faster_high": high}


def write_table(
    rows: list[dict[str, object]], name: str, root: str, device: torch.device, command: str = ""
) -> None:
    """Write a table as CSV and Markdown, with the machine and versions, and print it.

    Args:
        rows: the table.
        name: name of the files.
        root: folder of the files.
        device: where it was measured.
        command: the benchmark and its options; that of this name without options if "".
    """
    table = pd.DataFrame(rows)
    known = {"device": describe_device(device), **environment()}
    for key, value in known.items():
        table[key] = str(value)
    folder = Path(root)
    write_text(table.to_csv(index=False), folder / f"{name}.csv")
    shown = table.drop(columns=list(known))
    shown = shown.map(lambda x: f"{x:.3g}" if isinstance(x, float) else x).fillna("")
    note = f"Written by `python -m benchmarks.{command or name}`. " + ", ".join(
        f"{key}: {value}" for key, value in known.items()
    )
    write_text(f"{note}\n\n{to_markdown(shown)}", folder / f"{name}.md")
    print(shown.to_string(index=False))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
