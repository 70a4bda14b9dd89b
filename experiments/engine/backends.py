"""Where the runs of a sweep are computed: in processes here, or on a cluster, through joblib."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config

from experiments.engine.options import RunOptions
from pyro_ssl.errors import ConfigError


def side_by_side(config: RunOptions) -> bool:
    """Return whether runs are computed elsewhere than in this process."""
    return config.jobs > 1 or config.backend != "processes"


def compute(run: Callable[[Any], None], tasks: Sequence[Any], config: RunOptions) -> None:
    """Call `run` on each task, where the options say; the order is not that of the tasks.

    Raises:
        ConfigError: if the backend is not installed.
    """
    with _backend(config) as workers:
        Parallel(n_jobs=workers)(delayed(run)(task) for task in tasks)


def for_workers(config: RunOptions) -> dict[str, Any]:
    """Return the options with which a run gives the same anywhere, and can be begun twice.

    Paths do not depend on the working folder. A run that a lost worker began goes on from its
    checkpoint: that nothing unfinished lay there before has to be checked by the caller.
    """
    from pyro_ssl.data import data_root

    return {
        "data_root": str(data_root(config.data_root).resolve()),
        "results_root": str(Path(config.results_root).resolve()),
        "overwrite": False,
        "resume": True,
        "quiet": True,
    }


def check_backend(config: RunOptions) -> None:
    """Check that options of where to compute fit together.

    Raises:
        ConfigError: naming the option.
    """
    if config.address is not None and config.backend == "processes":
        raise ConfigError(f"address is {config.address!r}, but there is no cluster: add --backend")


@contextmanager
def _backend(config: RunOptions) -> Iterator[int]:
    """Choose joblib's backend, and give the number of tasks at once; -1 for all workers."""
    if config.backend == "processes":
        # Each process has its share of the cores from joblib.
        yield config.jobs
    elif config.backend == "dask":
        client = _installed("distributed", "dask[distributed]").Client
        with client(config.address, set_as_default=True), parallel_config("dask"):
            yield -1
    else:
        ray = _installed("ray", "ray")
        ray.init(config.address, ignore_reinit_error=True)
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
