"""One descriptor that is readable when any of thousands is, or when a timer expires.

An epoll descriptor can itself be polled, so gevent waits for this one descriptor
and the thousand sockets behind it cost it nothing (the reason a listener pool is one
Locust user). A timerfd inside wakes to the microsecond, where libev and
epoll_wait round up to the next millisecond.
"""

import ctypes
import os
import sys
import time

EPOLLIN = 0x001
EPOLLOUT = 0x004

_TFD_TIMER_ABSTIME = 1
_CLOCK_MONOTONIC = 1
_NS = 1_000_000_000

GATHER_NS = 1_000_000
"""How long to gather events before a wake-up: one wake-up each costs more than reading an event."""


def _real_epoll() -> type:
    # gevent removes select.epoll from the module when it patches; the original still works.
    if "gevent.monkey" in sys.modules:
        from gevent.monkey import get_original

        return get_original("select", "epoll")  # type: ignore[no-any-return]
    import select

    return select.epoll


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Timer:
    """A timerfd on the monotonic clock. Raises OSError when the kernel has none to give."""

    def __init__(self) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)

    def set(self, due_monotonic_ns: int) -> None:
        """Become readable at that time; at once when it is past."""
        value = self._spec.value
        # Zero seconds and nanoseconds would disarm the timer.
        value.seconds, value.nanoseconds = divmod(max(due_monotonic_ns, 1), _NS)
        _libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)


class Readiness:
    """An epoll set with a timer in it. `fileno()` is what an outer loop waits for."""

    def __init__(self) -> None:
        self._epoll = _real_epoll()()
        # A second set around the first, so that the sockets can be ignored while gathering.
        self._outer = _real_epoll()()
        self._timer = Timer()
        self._outer.register(self._timer.fd, EPOLLIN)
        self._outer.register(self._epoll.fileno(), EPOLLIN)
        self._gathers = False
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.poll = self._epoll.poll

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return int(self._outer.fileno())

    def rest(self, due_ns: int, *, gather: bool) -> None:
        """Be readable when a socket is, and from `due_ns` (monotonic) on.

        `gather`: what becomes ready in the next GATHER_NS is taken together at their end.
        """
        if gather:
            due_ns = min(due_ns, time.monotonic_ns() + GATHER_NS)
        self._timer.set(due_ns)
        if gather != self._gathers:
            self._gathers = gather
            self._outer.modify(self._epoll.fileno(), 0 if gather else EPOLLIN)

    def close(self) -> None:
        """Close the set and its timer, not the sockets in it."""
        self._outer.close()
        self._epoll.close()
        self._timer.close()
