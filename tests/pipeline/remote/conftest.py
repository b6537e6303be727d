"""A remote place of each kind: a folder, and a bucket on an S3 server of this machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.remote.objects import objects_at
from tests.pipeline.remote.s3_server import is_installed, make_bucket, s3_server
from tests.pipeline.remote.world import machine
from tests.pipeline.small_world import texts

KEYS = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    if not is_installed():
        pytest.skip("moto, which gives the S3 server, is not installed (make s3-server)")
    with s3_server() as address:
        yield address


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts(tmp_path_factory.mktemp("library") / "texts")


@pytest.fixture(scope="session")
def made_before(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Path:
    """The folder of a workspace in which everything was made without a remote place."""
    made = machine(tmp_path_factory.mktemp("before") / "workspace", library)
    made.harvest()
    made.train()
    return made.workspace.root


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    objects_at.cache_clear()
    yield
    objects_at.cache_clear()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    name = f"bucket-{secrets.token_hex(4)}"
    make_bucket(server, name)
    return name


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.long)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        (tmp_path / "shared").mkdir()
        return f"file://{tmp_path / 'shared'}"
    return f"s3://{request.getfixturevalue('bucket')}/some/prefix"
