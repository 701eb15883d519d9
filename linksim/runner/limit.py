"""A time limit on what a plug-in does."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from linksim.errors import TimeLimitError


class _Expired(BaseException):
    """Raised inside what takes too long; no plug-in's ``except Exception`` holds it up."""


@contextlib.contextmanager
def time_limit(seconds: float | None, what: str = "") -> Iterator[None]:
    """End the ``with`` block after ``seconds``; None: never. Args: what: is said beside the time.

    In the main thread of a process on a POSIX system everything that Python can interrupt is ended there and then, a
    sleep too. In other threads (those of worker processes) it ends at the next Python instruction.

    Raises: TimeLimitError.
    """
    if seconds is None:
        yield
        return
    by_signal = hasattr(signal, "setitimer") and (
        threading.current_thread() is threading.main_thread()
    )
    try:
        with _alarm(seconds) if by_signal else _interruption(seconds):
            yield
    except _Expired:
        raise TimeLimitError(f"took longer than {seconds:g} s {what}".rstrip()) from None


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def expire(_number: int, _frame: FrameType | None) -> None:
        raise _Expired

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _interruption(seconds: float) -> Iterator[None]:
    thread = ctypes.c_ulong(threading.get_ident())
    lock, over = threading.Lock(), False

    def expire() -> None:
        with lock:
            if not over:
                raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
                raise_in(thread, ctypes.py_object(_Expired))

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
