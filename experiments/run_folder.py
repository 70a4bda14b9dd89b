"""Where a run's results lie on disk, written so that a kill never leaves half a file."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_ssl.errors import ResultsError


def write_atomic(path: Path, text: str) -> None:
    """Replace the file `path` by `text` in one step.

    Raises:
        ResultsError: if the folder cannot be written.
    """
    # Several processes may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError as error:
        raise ResultsError(
            f"{path} cannot be written ({error}): choose another folder with --results-root"
        ) from error


class RunFolder:
    """The results of one model under one configuration, one set of files a seed.

    Args:
        path: `results/<experiment>/<model>-<dataset>-<labels>[-<tag>]`.
        config: what decides the results; another configuration needs another folder.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = path
        self.config = json.loads(json.dumps(config))

    def claim(self, seeds: Sequence[int], overwrite: bool) -> None:
        """Make the folder this configuration's; a folder without any seed's files is free.

        Args:
            seeds: the seeds about to run.
            overwrite: remove what these seeds left there before, of whatever configuration.

        Raises:
            ResultsError: if the folder holds results of another configuration that are not to
                be replaced, or cannot be written.
        """
        if overwrite:
            for seed in seeds:
                self._remove(seed)
        config_file = self.path / "config.json"
        if config_file.exists() and any(self.path.glob("seed_*")):
            theirs = _read_json(config_file)
            keys = {**self.config, **theirs}
            differing = [k for k in keys if theirs.get(k) != self.config.get(k)]
            if differing:
                changes = ", ".join(
                    f"{k} ({theirs.get(k)} there, {self.config.get(k)} now)" for k in differing
                )
                raise ResultsError(
                    f"{self.path} holds results of another configuration: {changes}. Give this "
                    "one a folder of its own with --tag NAME, or replace all seeds that lie "
                    "there with --overwrite"
                )
        write_atomic(config_file, json.dumps(self.config, indent=2) + "\n")

    def check_replaceable(self, seeds: Sequence[int]) -> None:
        """Check that overwriting `seeds` under this configuration would orphan no other seed.

        Raises:
            ResultsError: if other seeds of another configuration lie in the folder.
        """
        config_file = self.path / "config.json"
        if not config_file.exists() or _read_json(config_file) == self.config:
            return
        # A run of stages has no CSV before its end.
        there = {int(re.split("[._]", f.name)[1]) for f in self.path.glob("seed_*")}
        others = sorted(there - set(seeds))
        if others:
            raise ResultsError(
                f"{self.path} also holds seeds {others} of another configuration, which this run "
                "would not replace: name them in --seeds too, or use --tag NAME"
            )

    def file(self, seed: int, suffix: str) -> Path:
        """Return the path of a seed's file, e.g. `suffix` `.csv` for `seed_0.csv`."""
        return self.path / f"seed_{seed}{suffix}"

    def begin(self, seed: int, resume: bool) -> bool:
        """Return whether a seed is still to be run, False if it is finished already.

        Raises:
            ResultsError: if an unfinished run lies there that is not to be resumed.
        """
        if self.file(seed, ".json").exists():
            return False
        if self.file(seed, ".pt").exists() and not resume:
            raise ResultsError(
                f"{self.file(seed, '.pt')} is an unfinished run: go on with --resume, or start "
                "again with --overwrite"
            )
        return True

    def _remove(self, seed: int) -> None:
        for file in self.path.glob(f"seed_{seed}[._]*"):
            file.unlink()

    def log(self, seed: int, message: str) -> None:
        """Append a line with the time to the seed's log file."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self.file(seed, ".log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def write(self, seed: int, suffix: str, text: str) -> None:
        """Replace a seed's file by `text` in one step."""
        write_atomic(self.file(seed, suffix), text)

    def results(self, seed: int) -> dict[str, Any]:
        """Return the content of a finished seed's JSON file."""
        return _read_json(self.file(seed, ".json"))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ResultsError(f"{path} is damaged ({error}): delete it") from error


def environment() -> dict[str, Any]:
    """Return versions and git commit, flat, for a results file."""
    from importlib.metadata import version

    packages = ("torch", "torchvision", "pyro-ppl", "numpy", "scikit-learn")
    return {
        "commit": _git_commit(),
        "version_pyro_ssl": version("pyro_ssl"),
        "version_python": sys.version.split()[0],
        **{f"version_{p}": version(p) for p in packages},
    }


def _git_commit() -> str | None:
    """Return the commit of this source tree, with `-dirty` if code was changed since."""
    here = Path(__file__).parent.parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(here), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = git(
            "status", "--porcelain", "--", "pyro_ssl", "experiments", "benchmarks", "pyproject.toml"
        )
        return git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return None
