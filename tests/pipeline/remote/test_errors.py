"""What a person reads when a remote place cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.errors import RemoteError
from pipeline.remote.objects import objects_at
from pipeline.remote.place import checked_url, remote_of, set_remote
from pipeline.workspace import Workspace
from tests.pipeline.remote.s3_server import s3_server


@pytest.mark.parametrize(
    "url", ["bucket/prefix", "s3://", "file://", "gs://bucket", "s3://bucket/a?b=c", ""]
)
def test_a_url_that_is_not_understood_says_what_is_allowed(url: str) -> None:
    with pytest.raises(RemoteError, match="Allowed: s3://bucket/prefix"):
        checked_url(url)


def test_the_command_names_a_place_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared, where = tmp_path / "shared", ["--workspace", str(tmp_path / "workspace")]
    shared.mkdir()
    assert run("remote", *where) == 0
    assert "no remote place" in capsys.readouterr().out
    assert run("remote", f"file://{shared}/", "--cache-gb", "2", "--json", *where) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "url": f"file://{shared}",
        "cache_gb": 2.0,
        "cached_bytes": 0,
        "sources": [],
        "saes": [],
    }
    assert run("remote", "--cache-gb", "3", *where) == 0
    assert "0.00 of 3 GB" in capsys.readouterr().out
    assert run("remote", f"file://{tmp_path}/none", *where) == 2
    assert "is no folder here" in capsys.readouterr().err
    remote = remote_of(Workspace.open(tmp_path / "workspace"))
    assert remote is not None
    assert (remote.url, remote.cache_gb) == (f"file://{shared}", 3.0)


def test_a_setting_that_is_damaged_is_told(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    set_remote(workspace, "s3://bucket")
    (tmp_path / "remote.json").write_text("{}")
    with pytest.raises(RemoteError, match="Name the remote place again"):
        remote_of(workspace)


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        objects_at("s3://bucket/prefix")


@pytest.mark.long
@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_not_there_is_told() -> None:
    with pytest.raises(RemoteError, match="there is no bucket 'none'"):
        objects_at("s3://none/prefix")


@pytest.mark.long
@pytest.mark.usefixtures("server")
def test_keys_that_are_refused_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(free_requests=0) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(RemoteError, match="refuses the keys for bucket 'any'"):
            objects_at("s3://any/prefix")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)
