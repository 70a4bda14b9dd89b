"""Versions and git commit, to record which code produced a result."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Folders and files in which uncommitted changes may change results.
_CODE = ("pyro_ssl", "experiments", "benchmarks", "pyproject.toml")


def environment() -> dict[str, Any]:
    """Return versions and git commit as a flat mapping, for a results file."""
    packages = ("torch", "torchvision", "pyro-ppl", "numpy", "scikit-learn")
    return {
        "commit": _git_commit(),
        "version_pyro_ssl": version("pyro_ssl"),
        "version_python": sys.version.split()[0],
        **{f"version_{p}": version(p) for p in packages},
    }


def _git_commit() -> str | None:
    """Return the commit of this source tree, with `-dirty` if code was changed since."""
    tree = Path(__file__).parent.parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(tree), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        dirty = git("status", "--porcelain", "--", *_CODE)
        return git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return None
