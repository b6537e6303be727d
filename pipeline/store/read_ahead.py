"""Shards read by a thread while the consumer works on the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Job = TypeVar("Job")
Buffer = TypeVar("Buffer")


class ReadAhead(Generic[Job, Buffer]):
    """Fills buffers with jobs, one ahead of the consumer; memory is that of `buffers`.

    `fill(job, buffer)` runs in the thread; what it raises is raised where the consumer takes.
    A buffer may be reused once the consumer asks for the next.
    """

    def __init__(
        self,
        jobs: Iterator[Job],
        buffers: list[Buffer],
        *,
        fill: Callable[[Job, Buffer], None],
    ) -> None:
        self._jobs, self._fill = jobs, fill
        self._free: SimpleQueue[Buffer | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[Job, Buffer] | BaseException | None] = SimpleQueue()
        for buffer in buffers:
            self._free.put(buffer)
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead[Job, Buffer]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._free.put(None)
        self._thread.join()

    def __iter__(self) -> Iterator[tuple[Job, Buffer]]:
        while (item := self._ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            self._free.put(item[1])

    def _run(self) -> None:
        try:
            for job in self._jobs:
                buffer = self._free.get()
                if buffer is None:
                    return
                self._fill(job, buffer)
                self._ready.put((job, buffer))
            self._ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self._ready.put(error)
