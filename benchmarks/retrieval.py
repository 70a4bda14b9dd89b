"""Times retrieval by packed codes (precision at 100 for each query) against bits kept as floats.

The alternative keeps each bit as a float, as models return them, and finds the nearest codes by a
matrix product and torch's topk. Codes are random, which does not change the time. Writes
retrieval.csv and retrieval.md to RESULTS_ROOT.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import tyro

from benchmarks.timing import alternate, ratios, write_table
from pyro_ssl.metrics.retrieval import pack_codes, precision_at

_NEAREST = 100
_GROUPS = 20


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    codes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Numbers of codes to search."""
    bits: tuple[int, ...] = (16, 64)
    """Number of bits of a code."""
    rounds: int = 10
    """Rounds of the contestants, in alternation."""
    results_root: str = "results/benchmarks"
    """Folder of the tables."""


def contestants(number: int, bits: int) -> dict[str, Callable[[], float]]:
    """Return both ways to compute the precision of one query among random codes."""
    rng = np.random.default_rng(0)
    codes, labels = rng.random((number, bits)) < 0.5, rng.integers(0, _GROUPS, number)
    query = rng.random((1, bits)) < 0.5
    packed, packed_query = pack_codes(codes), pack_codes(query)
    signs = torch.from_numpy(2.0 * codes - 1).float()
    wanted, groups = torch.from_numpy(2.0 * query[0] - 1).float(), torch.from_numpy(labels)

    def by_packed_codes() -> float:
        return precision_at(_NEAREST, packed, labels, packed_query, labels[:1])

    def by_floats() -> float:
        nearest = (signs @ wanted).topk(_NEAREST).indices
        return (groups[nearest] == groups[0]).double().mean().item()

    return {"packed": by_packed_codes, "floats": by_floats}


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark with command-line arguments, `sys.argv`'s if None."""
    config = tyro.cli(Config, args=args, description=__doc__)
    device = torch.device("cpu")
    rows: list[dict[str, object]] = []
    for number in config.codes:
        for bits in config.bits:
            seconds = alternate(contestants(number, bits), config.rounds, device)
            rows.append(
                {
                    "codes": number,
                    "bits": bits,
                    "ms_a_query": 1e3 * seconds["packed"].median(),
                    "ms_by_floats": 1e3 * seconds["floats"].median(),
                    **ratios(seconds, "packed", "floats"),
                    "mib": 8 * number * -(-bits // 64) / 2**20,
                    "mib_of_floats": 4 * number * bits / 2**20,
                }
            )
    write_table(rows, "retrieval", config.results_root, device)


if __name__ == "__main__":
    main()
