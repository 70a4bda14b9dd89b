"""Reads the command line, runs a command, and turns errors into exit codes.

Exit codes: 0 fine; 1 data, options or files cannot be used, with one line on the standard error
stream; 2 a command line that makes no sense; 130 interrupted; 143 terminated.
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

# Where each command is; imported when it is run, since torch takes seconds.
_MODULES = {
    "fit": "fitting",
    "predict": "predicting",
    "sample": "drawing",
    "impute": "imputing",
    "evaluate": "evaluating",
    "describe": "describing",
}
_NAME = "pyro-ssl"
# They make --help plainer; the oldest versions of tyro that we take have none.
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
    """Run the command of a command line, `sys.argv`'s if None; return the exit code.

    Raises:
        SystemExit: with code 2, if the command line makes no sense; with 0, after `--help`; with
            143, if the process is terminated, once temporary files are gone.
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
            # The reader of our output, such as `head`, has gone.
            _drop_output()
            return 1
        except PyroSSLError as error:
            return _failed(str(error), 1)
        except OSError as error:
            try:
                sys.stdout.flush()
            except OSError:
                # What is left to write would fail once more at the end of the process.
                _drop_output()
            # Of what we open, errors say the path; the system names no standard output.
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
    """Return what prints a warning as one line, each text once."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = _one_line(str(message))
        if text not in said:
            said.add(text)
            print(f"{_NAME}: warning: {text}", file=sys.stderr)

    return show


def _one_line(text: str) -> str:
    return " ".join(text.split("\n")).strip()
