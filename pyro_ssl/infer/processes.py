"""Training by several processes at once, such as those that `torchrun` starts.

If `torch.distributed` is initialised in every process, all processes share one run: each takes its
share of every minibatch, `DistributedDataParallel` averages gradients, and only the first process,
rank 0, reads and writes files. In a single process these functions change nothing.
"""

import gc
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pyro_ssl.infer.batches import Share

T = TypeVar("T")


def process_share() -> Share:
    """Return this process's share of the rows: all of them, unless several processes train."""
    if distributed.is_available() and distributed.is_initialized():
        return Share(distributed.get_rank(), distributed.get_world_size())
    return Share()


def is_main() -> bool:
    """Return whether this process reads and writes the files."""
    return process_share().rank == 0


def shared_gradients(objective: nn.Module) -> nn.Module:
    """Return the objective as a module whose gradients are means over processes."""
    if process_share().processes == 1:
        return objective
    return DistributedDataParallel(objective)


def mean_over_processes(values: Tensor) -> Tensor:
    """Return the mean of each value over processes."""
    share = process_share()
    if share.processes > 1:
        values = values.clone()
        distributed.all_reduce(values)
        values /= share.processes
    return values


def copy_buffers_from_main(module: nn.Module) -> None:
    """Give every process the buffers (statistics of batch norm) of the first one."""
    if process_share().processes > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def run_in_main_process(function: Callable[[], T]) -> T:
    """Call `function` in the main process only; all processes get its result or its error."""
    if process_share().processes == 1:
        return function()
    outcome: list[Any] = [None]
    if is_main():
        try:
            outcome = [function()]
        except Exception as error:
            # Otherwise the other processes would wait for one that has stopped.
            outcome = [error]
    distributed.broadcast_object_list(outcome, 0)
    result = outcome.pop()
    if isinstance(result, Exception):
        try:
            raise result
        finally:
            # Its traceback refers to this frame; a reference from here would make a cycle.
            del result
    return result


def leave_processes() -> None:
    """Leave the group of processes, after all of them have called this function."""
    # An object that still refers to the group, and is collected only at the end of the process,
    # would be destroyed after the group and abort the process.
    gc.collect()
    distributed.barrier()
    distributed.destroy_process_group()


def gather(value: T) -> list[T]:
    """Return every process's value, in the order of ranks."""
    share = process_share()
    if share.processes == 1:
        return [value]
    values: list[Any] = [None] * share.processes
    distributed.all_gather_object(values, value)
    return values
