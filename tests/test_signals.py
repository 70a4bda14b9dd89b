import os
import signal

import pytest

from pyro_ssl.signals import Terminated, exit_code, termination_interrupts


def ask_to_end():
    os.kill(os.getpid(), signal.SIGTERM)
    # Handlers run between two steps of the interpreter.
    return sum(range(100))


def test_termination_interrupts_and_the_former_handler_is_back():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt) as end, termination_interrupts():
        ask_to_end()
    assert exit_code(end.value) == 143
    assert exit_code(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_somebody_else_does_about_it_stays():
    seen = []
    former = signal.signal(signal.SIGTERM, lambda *_: seen.append(True))
    try:
        with termination_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert seen == [True]
    assert issubclass(Terminated, KeyboardInterrupt)
