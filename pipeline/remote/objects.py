"""Objects below a URL: written whole, read whole, and errors that say what to look at.

On s3:// an upload becomes an object when its last part is acknowledged, so that a process killed
before leaves none (but parts, which a bucket's lifecycle rule for incomplete uploads removes). On
file:// a temporary file is renamed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from pyarrow import fs

from pipeline import atomic
from pipeline.errors import RemoteError

_BLOCK = 8 << 20
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_UNREACHABLE = r"NETWORK_CONNECTION|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|Timeout"
_BUCKET = r"NO_SUCH_BUCKET"
_KEYS = (
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE|"
    r"INVALID_CLIENT_TOKEN_ID|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|EXPIRED_TOKEN|"
    r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|HTTP status 40[13]"
)


class Objects:
    """The objects below a URL, by their key (a relative path). Raises RemoteError."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._local = parts.scheme == "file"
        self._system = fs.LocalFileSystem() if self._local else _s3()
        self._base = parts.path if self._local else f"{parts.netloc}{parts.path}"

    def put(self, path: Path, key: str) -> None:
        """Makes an object of a file's bytes; readers see the old one, or all of the new one."""
        size = path.stat().st_size
        with self._telling(key, "writing"), path.open("rb") as file:
            if self._local:
                place = Path(self._name(key))
                with atomic.writing(place, n_bytes=size) as temporary, temporary.open("wb") as out:
                    for block in _blocks(file):
                        out.write(block)
            else:
                self._upload(file, self._name(key))
        if (there := self.size(key)) != size:
            self._delete(key)
            raise RemoteError(
                f"{self.url}/{key} has {there} bytes after {size} were written. "
                "Repeat the command: it is sent again."
            )

    def get(self, key: str, path: Path) -> None:
        """Makes a file of an object's bytes, whole or not at all; FileNotFoundError for none."""
        size = self.size(key)
        if size is None:
            raise FileNotFoundError(f"{self.url}/{key}")
        with atomic.writing(path, n_bytes=size) as temporary:
            with (
                self._telling(key, "reading"),
                temporary.open("wb") as file,
                self._system.open_input_stream(self._name(key)) as stream,
            ):
                for block in _blocks(stream):
                    file.write(block)
            if (got := temporary.stat().st_size) != size:
                raise RemoteError(
                    f"{self.url}/{key} gave {got} of {size} bytes. Repeat the command."
                )

    def read(self, key: str) -> bytes | None:
        """The bytes of a small object; None where there is none."""
        if self.size(key) is None:
            return None
        with (
            self._telling(key, "reading"),
            self._system.open_input_stream(self._name(key)) as stream,
        ):
            return bytes(stream.read())

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        with self._telling(key, "looking for"):
            found = self._system.get_file_info(self._name(key))
        return int(found.size) if found.type is fs.FileType.File else None

    def keys(self, prefix: str) -> list[str]:
        """The keys of all objects in a folder and below."""
        selector = fs.FileSelector(self._name(prefix), allow_not_found=True, recursive=True)
        with self._telling(prefix, "listing"):
            found = self._system.get_file_info(selector)
        start = len(self._base) + 1
        return sorted(one.path[start:] for one in found if one.type is fs.FileType.File)

    def check(self) -> None:
        """Raises RemoteError where the place cannot be reached, or its bucket or folder is none."""
        with self._telling("", "listing"):
            if self._local and not Path(self._base).is_dir():
                raise RemoteError(f"{self.url} is no folder here. Make it, or mount the disk.")
            with suppress(FileNotFoundError):  # an empty prefix; a missing bucket is told
                self._system.get_file_info(fs.FileSelector(self._base))

    def _upload(self, file: BinaryIO, name: str) -> None:
        stream = self._system.open_output_stream(name)
        try:
            for block in _blocks(file):
                stream.write(block)
        except BaseException:
            # Closing is what makes the object; there is no other end for a stream.
            stream.close()
            self._system.delete_file(name)
            raise
        stream.close()

    def _delete(self, key: str) -> None:
        with self._telling(key, "removing"):
            self._system.delete_file(self._name(key))

    def _name(self, key: str) -> str:
        return f"{self._base}/{key}" if key else self._base

    @contextmanager
    def _telling(self, key: str, what: str) -> Iterator[None]:
        """Turns the system's errors inside the block into sentences."""
        try:
            yield
        except (FileNotFoundError, RemoteError):
            raise
        except OSError as error:
            if self._local:
                raise
            raise RemoteError(
                f"{what.capitalize()} {self.url}/{key} failed: {self._why(error)}"
            ) from error

    def _why(self, error: OSError) -> str:
        text = str(error)
        bucket = self._base.partition("/")[0]
        if re.search(_BUCKET, text):
            return (
                f"there is no bucket {bucket!r} at {_endpoint() or 'AWS'}. Make it (the pipeline "
                "makes no buckets), or name another with `sae remote URL`."
            )
        if re.search(_KEYS, text):
            return (
                f"{_endpoint() or 'AWS'} refuses the keys for bucket {bucket!r}. Set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN, AWS_PROFILE) to "
                "ones that may list, read and write there."
            )
        if re.search(_UNREACHABLE, text):
            return (
                f"{_endpoint() or 'AWS'} cannot be reached. Set AWS_ENDPOINT_URL (for a server "
                "that is not AWS) and AWS_REGION, see that the network is up, then repeat the "
                f"command: what was sent stays. ({_detail(text)})"
            )
        return f"{_detail(text)}. Nothing that was sent is lost; repeat the command."


@lru_cache(maxsize=8)
def objects_at(url: str) -> Objects:
    """The objects of a place, connected and checked once per process."""
    found = Objects(url)
    found.check()
    return found


def _s3() -> fs.S3FileSystem:
    return fs.S3FileSystem(
        endpoint_override=_endpoint(),
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        connect_timeout=10,
        request_timeout=60,
        # Data goes on while parts are sent; errors come with the close at the latest.
        background_writes=True,
    )


def _endpoint() -> str | None:
    return next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _detail(text: str) -> str:
    return text.rpartition("Details: ")[2].strip().rstrip(".")
