"""What a signal does to a long command: all of its processes end at once, with one line and the shell's exit status.

Python runs a handler between two steps of the main thread, which may be seconds away, deep inside a library. A thread that
reads the signal's number from a pipe does not wait for that.

Source: https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def ended_by_signals(what_stays: str) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM end this process and all that it started, with status 128 and the signal's number.

    Args:
        what_stays: the end of the line that is printed: what the reader can do next.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may take signals
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handlers = {number: signal.signal(number, _do_nothing) for number in SIGNALS}
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_on_signal, args=(reading, what_stays), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writing)  # the thread reads the end of the pipe, and ends


def _do_nothing(*_: object) -> None:
    """A handler: without one the signal would end this process before the thread could end the others."""


def _end_on_signal(reading: int, what_stays: str) -> None:
    while number := os.read(reading, 1):
        if number[0] in SIGNALS:
            end_children()
            print(f"stopped by {signal.Signals(number[0]).name}; {what_stays}", file=sys.stderr, flush=True)
            os._exit(128 + number[0])
    os.close(reading)


def end_children() -> None:
    """Kills the processes that this one has started, and theirs: one that is stopped would not heed a milder signal."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
