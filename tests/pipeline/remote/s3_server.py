"""An S3 server on the loopback address: moto's, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    with (
        tempfile.NamedTemporaryFile() as log,
        subprocess.Popen(
            [*command, "-p", "0"],
            env=os.environ | checked,
            stdout=subprocess.DEVNULL,
            stderr=log,
        ) as server,
    ):
        try:
            yield _address(server, Path(log.name))
        finally:
            server.kill()


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """What the server's log says it listens on; it logs every request, so a pipe would fill."""
    for _ in range(600):
        text = log.read_text()
        if found := re.search(r"Running on (http://[0-9.:]+)", text):
            return found[1]
        assert server.poll() is None, text
        time.sleep(0.1)
    raise AssertionError(f"the server does not say where it listens: {text}")


def make_bucket(address: str, name: str = BUCKET) -> None:
    """A bucket of its own for a test."""
    server = fs.S3FileSystem(
        endpoint_override=address, allow_bucket_creation=True, request_timeout=60
    )
    server.create_dir(name)
