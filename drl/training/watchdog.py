"""No progress for too long is an error that says where the program stood."""

from __future__ import annotations

import faulthandler
import signal
import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import Any, Self

from drl.errors import StepError

_GRACE_S = 15.0


class Watchdog:
    """Interrupts the main thread with a StepError when :meth:`beat` was not called for ``timeout_s``.

    A thread watches the clock and sends the process a signal, whose handler raises where the main thread
    stands: in Python code, in a sleep or in a system call. Code that neither returns nor lets a signal
    through (a C extension in an endless loop) is ended hard 15 s later, after every thread's stack was
    written to standard error.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._last = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="drl-watchdog", daemon=True)
        self._previous: Any = None

    def beat(self) -> None:
        """Say that something was done."""
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Start watching; must be called in the main thread, where signals are handled."""
        if threading.current_thread() is not threading.main_thread():
            raise StepError(
                "training was called outside the main thread, where a stall cannot be interrupted",
                remedy="call train() in the main thread of a process",
            )
        self._previous = signal.signal(signal.SIGUSR1, self._raise)
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching and give the signal back."""
        self._stop.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGUSR1, self._previous)

    def _watch(self) -> None:
        tick = min(1.0, self._timeout_s / 4)
        while not self._stop.wait(tick):
            if time.monotonic() - self._last < self._timeout_s:
                faulthandler.dump_traceback_later(
                    self._timeout_s + _GRACE_S, exit=True, file=sys.__stderr__ or sys.stderr
                )
            else:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                self._stop.wait(_GRACE_S / 3)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._last < self._timeout_s:
            return
        where = "".join(traceback.format_stack(frame, limit=12))
        raise StepError(
            f"no progress for {self._timeout_s:g} s; the program stood here:\n{where}",
            remedy="mend what blocks there, or raise training.stall_timeout_s if it is only slow",
        )
