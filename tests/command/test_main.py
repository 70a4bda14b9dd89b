import os
import re
import signal
import subprocess
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path

import pytest

import pyro_ssl
from pyro_ssl.command import main as command
from pyro_ssl.errors import DataError

ROOT = Path(pyro_ssl.__file__).parent.parent


def python(*args, **options):
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, cwd=ROOT, **options
    )


@pytest.mark.parametrize("name", command._MODULES)
def test_help_imports_nothing_slow(name):
    slow = "{'torch', 'pandas', 'sklearn', 'pyro', 'numpy', 'pyarrow'}"
    code = (
        "import sys\nfrom pyro_ssl.command.main import main\n"
        f"try:\n    main(['{name}', '--help'])\n"
        f"except SystemExit as end:\n    print(end.code, {slow} & set(sys.modules))"
    )
    shown = python("-c", code).stdout
    assert f"usage: pyro-ssl {name}" in shown
    assert shown.strip().endswith("0 set()")


def test_the_module_and_the_script_run_main():
    shown = python("-m", "pyro_ssl", "--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in command._MODULES)
    script = re.search(r'^pyro-ssl = "(.+):(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)
    assert script is not None
    module, name = script.groups()
    assert getattr(import_module(module), name) is command.main


@pytest.mark.parametrize(
    "args", [[], ["guess"], ["fit", "a.csv"], ["fit", "a.csv", "-o", "m", "--seed", "x"]]
)
def test_a_command_line_that_makes_no_sense_is_code_2(args, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(args)
    assert end.value.code == 2
    assert not capsys.readouterr().out


def running(monkeypatch, function):
    monkeypatch.setattr(command, "_runner", lambda _: function)
    return command.main(["describe", "x.csv"])


def test_errors_are_one_line_and_code_1(monkeypatch, capsys):
    def fail(_):
        raise DataError("one\ntwo")

    assert running(monkeypatch, fail) == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "pyro-ssl: error: one two\n")


def test_an_interrupt_is_code_130(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    assert running(monkeypatch, interrupt) == 130
    assert capsys.readouterr().err == "pyro-ssl: error: interrupted\n"


def test_termination_unwinds_and_the_former_handler_is_back(monkeypatch, capsys):
    former, unwound = signal.getsignal(signal.SIGTERM), []

    def terminated(_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            unwound.append(True)

    with pytest.raises(SystemExit) as end:
        running(monkeypatch, terminated)
    assert end.value.code == 143
    assert unwound
    assert capsys.readouterr().err == "pyro-ssl: error: terminated\n"
    assert signal.getsignal(signal.SIGTERM) is former


def test_faults_of_ours_keep_their_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        running(monkeypatch, lambda _: 1 / 0)


def test_each_warning_is_one_line_said_once(monkeypatch, capsys):
    def warn(_):
        for _ in range(2):
            warnings.warn("odd\nentry", stacklevel=1)
        warnings.warn("other", stacklevel=1)

    assert running(monkeypatch, warn) == 0
    assert capsys.readouterr().err == ("pyro-ssl: warning: odd entry\npyro-ssl: warning: other\n")
