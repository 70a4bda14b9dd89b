"""Independent tasks, computed in processes here or by the workers of a cluster, through joblib."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from joblib import Parallel, delayed, parallel_config

from pyro_ssl.errors import ConfigError

BACKENDS = ("processes", "dask", "ray")


def compute(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    jobs: int = 1,
    backend: str = "processes",
    address: str | None = None,
) -> None:
    """Call a function on each task, in any order; a task of a lost worker is begun again.

    Args:
        function: what to call, for its effects.
        tasks: its arguments.
        jobs: processes, each with its share of the cores; a cluster has as many as it has workers.
        backend: one of `BACKENDS`.
        address: of the cluster, such as tcp://HOST:8786; None to start one on this machine.

    Raises:
        ConfigError: if there is no such backend, or it is not installed.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    with _backend(jobs, backend, address) as workers:
        Parallel(n_jobs=workers)(delayed(function)(task) for task in tasks)


@contextmanager
def _backend(jobs: int, backend: str, address: str | None) -> Iterator[int]:
    """Choose joblib's backend, and give the number of tasks at once; -1 for all workers."""
    if backend == "processes":
        yield jobs
    elif backend == "dask":
        client = _installed("distributed", "dask[distributed]").Client
        with client(address, set_as_default=True), parallel_config("dask"):
            yield -1
    else:
        ray = _installed("ray", "ray")
        ray.init(address, ignore_reinit_error=True)
        import_module("ray.util.joblib").register_ray()
        with parallel_config("ray"):
            yield -1


def _installed(module: str, requirement: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--backend wants {requirement}, which is not installed ({error}): "
            f"pip install '{requirement}'"
        ) from error
