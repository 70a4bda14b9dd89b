"""Reads the command line, runs a command, and turns errors into exit codes.

Exit codes: 0 for success; 1 for invalid data, options or files, with one line on standard error; 2
for an invalid command line; 130 if interrupted; 143 if terminated.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any, Union

import tyro
from tyro.conf import subcommand

from pyro_ssl.command import options
from pyro_ssl.errors import PyroSSLError, one_line
from pyro_ssl.signals import Terminated, exit_code, termination_interrupts

# The module of each command; imported when the command runs, since torch takes seconds.
_MODULES = {
    "fit": "fitting",
    "predict": "predicting",
    "sample": "drawing",
    "impute": "imputing",
    "evaluate": "evaluating",
    "describe": "describing",
}
_NAME = "pyro-ssl"
# They make --help simpler; the oldest supported versions of tyro lack them.
_MARKERS = tuple(
    marker
    for name in ("FlagCreatePairsOff", "DisallowNone")
    if (marker := getattr(tyro.conf, name, None)) is not None
)
_ABOUT = (
    "Classify rows of which few are labelled: fit a model to a file, then predict, sample, impute "
    "or evaluate. pyro-ssl COMMAND --help says more."
)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command of a command line (`sys.argv` if None); return the exit code.

    Raises:
        SystemExit: with code 2, if the command line is invalid; with 0, after `--help`; with 143,
            if the process is terminated, after temporary files are deleted.
    """
    command = tyro.cli(
        _commands(), prog=_NAME, description=_ABOUT, args=args, config=_MARKERS or None
    )
    run = _runner(command)
    with warnings.catch_warnings(), termination_interrupts():
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = _show_warning()
        try:
            run(command)
            sys.stdout.flush()
        except Terminated as termination:
            raise SystemExit(_failed("terminated", exit_code(termination))) from None
        except KeyboardInterrupt:
            return _failed("interrupted", 130)
        except BrokenPipeError:
            # The reader of our output, such as `head`, has ended.
            _drop_output()
            return 1
        except PyroSSLError as error:
            return _failed(str(error), 1)
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                # Otherwise the rest of the output would fail once more at the end of the process.
                _drop_output()
            # Errors about our own files name the path; errors about standard output do not.
            at = "" if error.filename else "the standard output cannot be written: "
            return _failed(f"{at}{one_line(error)}", 1)
        except MemoryError:
            return _failed("out of memory: give less data, or a lower --max-rows", 1)
    return 0


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _commands() -> Any:
    kinds = []
    for name in _MODULES:
        kind = getattr(options, name.capitalize())
        about = str(kind.__doc__).partition("\n")[0]
        kinds.append(Annotated[kind, subcommand(name, prefix_name=False, description=about)])
    return Union[tuple(kinds)]  # noqa: UP007


def _runner(command: Any) -> Callable[[Any], None]:
    name = type(command).__name__.lower()
    found: Callable[[Any], None] = import_module(f"pyro_ssl.command.{_MODULES[name]}").run
    return found


def _failed(text: str, code: int) -> int:
    print(f"{_NAME}: error: {_one_line(text)}", file=sys.stderr)
    return code


def _show_warning() -> Callable[..., None]:
    """Return a function that prints a warning as one line, each text only once."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = _one_line(str(message))
        if text not in said:
            said.add(text)
            print(f"{_NAME}: warning: {text}", file=sys.stderr)

    return show


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()
