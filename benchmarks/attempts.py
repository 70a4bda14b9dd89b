"""The fits of a comparison in several processes; some of them may fail."""

import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pyro_ssl.infer.clusters import end_with_parent
from pyro_ssl.versions import environment

Fit = TypeVar("Fit")
Rows = list[dict[str, Any]]


def attempts(
    run: Callable[[Fit, str | None], Rows], todo: list[Fit], jobs: int
) -> Iterator[tuple[Fit, Rows, str]]:
    """Yield each fit when it ends, with its rows, and its error if it failed; the others continue.

    Processes end when this one does, however that ends.

    Args:
        run: returns the rows of a fit; it is called with the fit and the commit.
        todo: the fits.
        jobs: number of processes.
    """
    from joblib import Parallel, delayed

    # Determined once, since the code that runs is the code that was imported.
    commit = environment()["commit"]
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from parallel(delayed(_attempt)(run, fit, commit, os.getpid()) for fit in todo)


def _attempt(
    run: Callable[[Fit, str | None], Rows], fit: Fit, commit: str | None, parent: int
) -> tuple[Fit, Rows, str]:
    if os.getpid() != parent:
        end_with_parent(parent)
    try:
        return fit, run(fit, commit), ""
    except Exception as error:
        return fit, [], f"{type(error).__name__}: {error}"
