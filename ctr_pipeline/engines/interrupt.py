"""Ctrl-C and a scheduler's kill, taken up where nothing is torn apart.

Python raises `KeyboardInterrupt` wherever the main thread happens to be, also inside the import system: a lock that
stays taken there hangs every thread that imports. A signal is therefore written down and asked for at safe points.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

INTERRUPTED: Final = 130
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TOLD: Final = b"interrupted: ending the run; once more to leave at once\n"
# A progress bar may have hidden it.
_SHOW_CURSOR: Final = b"\x1b[?25h"


class Interrupt:
    """Whether the user, or a scheduler, wants the run to end.

    A caller that never enters `listening` keeps Python's own handling of signals.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        # A plain value: the lock of a threading.Event could be taken when the handler comes.
        self._asked = False
        self._deferred = False

    def check(self) -> None:
        """Come to a safe point.

        Raises:
            KeyboardInterrupt: the run is to end.
        """
        if self._asked:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP within the block; the second one leaves the process at once.

        One that was ignored before stays ignored. Only the main thread may enter.
        """
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in taken:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, before[number])

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block, where other threads work, an interrupt waits for the next `check`."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _take(self, _: int, __: FrameType | None) -> None:
        if self._asked:
            _tell(_SHOW_CURSOR if sys.stderr.isatty() else b"")
            os._exit(INTERRUPTED)
        self._asked = True
        _tell(_TOLD)
        if not self._deferred:
            raise KeyboardInterrupt


def _tell(words: bytes) -> None:
    # Past Python's buffers, which the interrupted code may be writing to.
    os.write(2, words)
