"""From a command line to a run: errors, interrupts, and the processes of torchrun."""

import io
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Protocol, TypeVar

from experiments.devices import joined_processes, launched_by_torchrun, resolve_device
from experiments.options import RunOptions
from pyro_ssl.errors import PyroSSLError
from pyro_ssl.infer.processes import is_main

Options = TypeVar("Options", bound=RunOptions)


class Runnable(Protocol):
    """An experiment with its options."""

    def run(self) -> None:
        """Do it all."""


def run_guarded(
    name: str,
    experiment: Callable[[Options], Runnable],
    config: Options,
    args: Sequence[str] | None,
) -> int:
    """Run an experiment; turn its errors into a line on the screen and an exit status.

    Args:
        name: the module's name.
        experiment: makes the experiment of its options.
        config: its options.
        args: the command line they came from, `sys.argv`'s if None.
    """
    try:
        with joined_processes(resolve_device(config.device)):
            if is_main():
                experiment(config).run()
            else:
                _run_beside(experiment, config)
    except (PyroSSLError, OSError) as error:
        if _speaks():
            print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        given = sys.argv[1:] if args is None else args
        kept = [a for a in given if a not in ("--overwrite", "--resume")]
        command = [*_launcher(), "-m", f"experiments.{name}", *kept, "--resume"]
        if _speaks():
            print(f"\ninterrupted. Go on with:\n  {shlex.join(command)}", file=sys.stderr)
        return 130
    return 0


def _speaks() -> bool:
    """Return whether this process is the one to tell the user: the only or the first one."""
    return not launched_by_torchrun() or os.environ["RANK"] == "0"


def _launcher() -> list[str]:
    if launched_by_torchrun():
        return ["torchrun", f"--nproc-per-node={os.environ['LOCAL_WORLD_SIZE']}"]
    return [sys.executable]


def _run_beside(experiment: Callable[[Options], Runnable], config: Options) -> None:
    """Take part in the training of `torchrun`'s first process, whose files alone are kept."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        experiment(replace(config, results_root=folder, quiet=True)).run()
