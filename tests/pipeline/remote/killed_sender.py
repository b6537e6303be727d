"""A process that sends a store and is killed in the middle of its third train shard.

python -m tests.pipeline.remote.killed_sender WORKSPACE LIBRARY URL
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.remote import objects
from tests.pipeline.remote.world import machine


def main(folder: str, library: str, url: str) -> None:
    seen = 0

    def dying(file: BinaryIO) -> Iterator[bytes]:
        nonlocal seen
        seen += "/train/resid_post.0/c/" in str(file.name)
        data = file.read()
        yield data[: len(data) // 2]
        if seen == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield data[len(data) // 2 :]

    objects._blocks = dying
    machine(Path(folder), Path(library), url).harvest()


if __name__ == "__main__":
    main(*sys.argv[1:])
