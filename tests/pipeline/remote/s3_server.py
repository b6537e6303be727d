"""An S3 server on the loopback address: moto's, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pyarrow import fs

BUCKET = "activations"
_NEEDED = "import moto, flask, flask_cors"


def is_installed() -> bool:
    """Whether moto and what its server needs are there."""
    done = subprocess.run([sys.executable, "-c", _NEEDED], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def s3_server(*, free_requests: int | None = None) -> Iterator[str]:
    """Its address. After `free_requests` requests keys are checked, and none is known."""
    checked = {} if free_requests is None else {"INITIAL_NO_AUTH_ACTION_COUNT": str(free_requests)}
    command = [sys.executable, "-u", "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "-p", "0"],
        env=os.environ | checked,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            yield next(
                match[0] for line in server.stderr if (match := re.search(r"http://[0-9.:]+", line))
            )
        finally:
            server.kill()


def make_bucket(address: str, name: str = BUCKET) -> None:
    """A bucket of its own for a test."""
    fs.S3FileSystem(endpoint_override=address, allow_bucket_creation=True).create_dir(name)
