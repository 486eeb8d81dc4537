"""An interrupt is taken up at a safe point; a second one leaves at once."""

import signal
import subprocess
import sys

import pytest

from ctr_pipeline.engines.interrupt import INTERRUPTED, Interrupt
from tests.house.project import ROOT

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TWICE = """
import signal
from ctr_pipeline.engines.interrupt import Interrupt

interrupt = Interrupt()
with interrupt.listening(), interrupt.deferred():
    try:
        signal.raise_signal(signal.SIGINT)
        print("went on", flush=True)
        signal.raise_signal(signal.SIGTERM)
    finally:
        print("tidied up", flush=True)
"""


@pytest.mark.parametrize("number", _SIGNALS)
def test_a_deferred_interrupt_waits_for_the_next_check(number: signal.Signals) -> None:
    interrupt, passed = Interrupt(), []
    with interrupt.listening(), interrupt.deferred():
        interrupt.check()
        signal.raise_signal(number)
        passed.append("the signal")
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert passed == ["the signal"]


@pytest.mark.parametrize("number", _SIGNALS)
def test_an_interrupt_that_need_not_wait_is_raised_at_once_and_remembered(number: signal.Signals) -> None:
    interrupt = Interrupt()
    with interrupt.listening(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    # The import system may have swallowed the first.
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


def test_the_second_interrupt_leaves_at_once() -> None:
    shown = subprocess.run([sys.executable, "-c", _TWICE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout) == (INTERRUPTED, "went on\n")
    assert shown.stderr == "interrupted: ending the run; once more to leave at once\n"


def test_the_callers_handling_comes_back_and_what_it_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interrupt().listening():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
