"""Whether Ctrl-C came: Dagster ends the run it hits, and then the signal is gone."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STOPPING = {int(signal.SIGINT), int(signal.SIGTERM)}


@contextmanager
def noticed_interrupts() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether SIGINT or SIGTERM arrived since the block began.

    Whoever has installed a handler, the interpreter also writes the signal's number to this pipe.
    Outside the main thread signals do not arrive: the answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    came = False

    def interrupted() -> bool:
        nonlocal came
        try:
            came = came or bool(_STOPPING & set(os.read(reader, 4096)))
        except BlockingIOError:
            return came
        return came

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
