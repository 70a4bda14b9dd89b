"""Independent tasks, computed by processes here or by the workers of a cluster, with joblib."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from joblib import Parallel, delayed, parallel_config
from tqdm import tqdm

from pyro_ssl.errors import ConfigError, WorkerError

BACKENDS = ("processes", "dask", "ray")
# Seconds between two checks whether the parent process still exists.
_PATIENCE = 0.2


def compute(
    function: Callable[[Any], None],
    tasks: Sequence[Any],
    jobs: int = 1,
    backend: str = "processes",
    address: str | None = None,
) -> None:
    """Call a function on each task, in any order; a cluster restarts the task of a lost worker.

    Processes on this machine end when the calling process ends, for whatever reason. The workers of
    a cluster finish their present task.

    Args:
        function: the function, called for its side effects.
        tasks: its arguments.
        jobs: number of processes, which share the cores; a cluster uses all of its workers.
        backend: one of `BACKENDS`.
        address: address of the cluster, such as tcp://HOST:8786; None to start one on this machine.

    Raises:
        ConfigError: if there is no such backend, or it is not installed.
        WorkerError: if a process died, or a cluster repeatedly lost the workers of a task.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    parent = os.getpid() if backend == "processes" else None
    with _backend(jobs, backend, address) as (workers, lost):
        try:
            Parallel(n_jobs=workers)(delayed(_call)(function, task, parent) for task in tasks)
        except lost as error:
            raise WorkerError(
                "a process that computed a part of this died, killed or out of memory (fewer "
                "--jobs need less)"
            ) from error


def _call(function: Callable[[Any], None], task: Any, parent: int | None) -> None:
    """Call a function on a task, in a process that ends with its parent if it has one."""
    if parent is not None and parent != os.getpid():
        end_with_parent(parent)
        # Replaces tqdm's own lock, a semaphore: a killed process would leave a warning about it.
        tqdm.set_lock(threading.RLock())
    function(task)


@cache
def end_with_parent(parent: int) -> None:
    """Let this process, a child of process `parent`, end as soon as that one has ended."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # An orphan gets another parent at once, so that a later process with the same number is never
    # mistaken for the parent.
    while os.getppid() == parent:
        time.sleep(_PATIENCE)
    os._exit(1)


@contextmanager
def _backend(
    jobs: int, backend: str, address: str | None
) -> Iterator[tuple[int, tuple[type[Exception], ...]]]:
    """Choose joblib's backend; yield the number of workers, and the errors of lost workers."""
    if backend == "processes":
        yield jobs, (BrokenExecutor,)
    elif backend == "dask":
        distributed = _installed("distributed", "dask[distributed]")
        # All workers: -1.
        with distributed.Client(address, set_as_default=True), parallel_config("dask"):
            yield -1, (distributed.KilledWorker, distributed.comm.CommClosedError)
    else:
        ray = _installed("ray", "ray")
        ray.init(address, ignore_reinit_error=True)
        import_module("ray.util.joblib").register_ray()
        with parallel_config("ray"):
            yield -1, ()


def _installed(module: str, requirement: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"--backend wants {requirement}, which is not installed ({error}): "
            f"pip install '{requirement}'"
        ) from error
