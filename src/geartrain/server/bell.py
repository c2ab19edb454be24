"""A timer that is a file descriptor (timerfd_create(2)), so that a poller can wait for it.

Set once, it stays set however often the poller is asked; a timeout given to each
poll would be armed and disarmed by the kernel every time, which costs more than a
small read does.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
#: Longest wait; whoever waits longer is rung in between, and asks again.
_MOST_SECONDS = 86_400.0


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Bell:
    """Becomes readable when its time has come."""

    def __init__(self) -> None:
        if sys.version_info >= (3, 13):
            self._number = os.timerfd_create(time.CLOCK_MONOTONIC, flags=_TFD_NONBLOCK_CLOEXEC)
            return
        # Python learned of timerfd in 3.13; before that the C library is asked.
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._number = self._libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._number < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return int(self._number)

    def ring_in(self, seconds: float) -> None:
        """Ring after so many seconds, and not when it was to ring before."""
        # An epoch job may be due in a million years; a timer can only wait for so long.
        left = min(max(seconds, 1e-6), _MOST_SECONDS)
        if sys.version_info >= (3, 13):
            os.timerfd_settime(self._number, initial=left)
            return
        spec = _TimerSpec()
        spec.value.seconds = int(left)
        spec.value.nanoseconds = int((left - int(left)) * 1e9)
        if self._libc.timerfd_settime(self._number, 0, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def hush(self) -> None:
        """Take note that it rang; it is set no more."""
        try:
            os.read(self._number, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._number)
