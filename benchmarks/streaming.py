"""A table larger than the memory it may use: a million rows from a Parquet file, in parts.

Two processes fit `SemiSupervisedVAEClassifier` with its defaults to the same file, one in parts by
`fit_parts`, the other one after reading all of it. For each, a row of streaming.csv has the
seconds, the peak resident memory of the process, and the SHA-256 of the predictions.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

_PART = 20_000
_CLASSES = ("a", "b", "c")
_PREDICTED = 2_000


@dataclass(frozen=True)
class Options:
    """Options of the benchmark.

    Attributes:
        rows: number of rows of the table.
        labels: share of the rows with known labels.
        output: folder of `streaming.csv`.
    """

    rows: int = 1_000_000
    labels: float = 0.001
    output: Path = Path("results/benchmarks")


def write_table(file: Path, rows: int, labels: float, seed: int = 0) -> None:
    """Write 20 columns, real, count and categorical, 5 % of one missing, and the column `label`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.normal(size=(3, 18))
    writer = None
    for first in range(0, rows, _PART):
        count = min(_PART, rows - first)
        ys = rng.integers(3, size=count)
        values = rng.normal(size=(count, 18)) + centres[ys]
        values[rng.random(count) < 0.05, 0] = np.nan
        frame = pd.DataFrame(values, columns=[f"x{n}" for n in range(18)])
        frame["events"] = rng.poisson(2 + ys)
        frame["kind"] = np.array(["u", "v", "w"])[(ys + (rng.random(count) < 0.5)) % 3]
        known = rng.random(count) < labels
        frame["label"] = pd.Series(np.array(_CLASSES)[ys], dtype=object).where(known, None)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def parts(file: Path) -> Iterator[tuple[pd.DataFrame, pd.Series]]:
    """Yield rows and labels of a Parquet file in parts, of which only a few are in memory."""
    from pyarrow import dataset

    data = dataset.dataset(file)
    for batch in data.to_batches(batch_size=_PART, batch_readahead=1, fragment_readahead=1):
        yield _split(batch.to_pandas())


def measure(file: Path, how: str) -> dict[str, Any]:
    """Fit in parts or at once; return time, memory, and the digest of the predictions."""
    import torch

    from pyro_ssl import SemiSupervisedVAEClassifier
    from pyro_ssl.versions import environment

    classifier = SemiSupervisedVAEClassifier(random_state=0)
    start = time.perf_counter()
    if how == "parts":
        classifier.fit_parts(parts(file))
    else:
        classifier.fit(*_split(pd.read_parquet(file)))
    seconds, peak = time.perf_counter() - start, _peak()
    said = classifier.predict_proba(next(parts(file))[0][:_PREDICTED])
    return {
        "how": how,
        "file_mb": round(file.stat().st_size / 2**20),
        "seconds": round(seconds, 1),
        "peak_mb": round(peak),
        "predictions": hashlib.sha256(said.tobytes()).hexdigest()[:16],
        "threads": torch.get_num_threads(),
        "commit": environment()["commit"],
    }


def main(options: Options) -> None:
    """Write the table, fit in both ways, write `streaming.csv` and print it."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        write_table(file, options.rows, options.labels)
        for how in ("parts", "at once"):
            command = [sys.executable, "-m", "benchmarks.streaming", "--one", str(file), how]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            found.append({"rows": options.rows, "columns": 20, **row})
            print(found[-1], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(found).to_csv(options.output / "streaming.csv", index=False)
    if found[0]["predictions"] != found[1]["predictions"]:
        sys.exit("the two classifiers predict different probabilities")


def _split(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    return frame.drop(columns="label"), frame["label"]


def _peak() -> float:
    """Return the peak resident memory of this process so far, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(Path(sys.argv[2]), sys.argv[3])))
    else:
        main(tyro.cli(Options, description=__doc__))
