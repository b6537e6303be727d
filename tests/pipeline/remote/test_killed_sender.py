"""A sender that dies leaves nothing that a reader believes, and goes on where it stopped."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.remote.objects import Objects
from tests.pipeline.remote.world import machine

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[3]


def test_a_store_whose_sender_was_killed_is_sent_to_its_end(
    tmp_path: Path, library: Path, made_before: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(made_before, tmp_path / "first")
    command = [sys.executable, "-m", "tests.pipeline.remote.killed_sender"]
    died = subprocess.run([*command, str(folder), str(library), url], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    keys = Objects(url).keys("")
    assert [key for key in keys if "/train/" in key and ".partial-" not in key]
    assert not [key for key in keys if key.endswith("manifests/resid_post.0.json")]

    sent: list[str] = []
    whole = Objects.put

    def noting(self: Objects, path: Path, key: str) -> None:
        sent.append(key)
        whole(self, path, key)

    monkeypatch.setattr(Objects, "put", noting)
    first = machine(folder, library, url)
    first.harvest()
    numbers = [key.split("/c/")[1] for key in sent if "/train/resid_post.0/c/" in key]
    assert numbers == ["2/0", "3/0"]
    other = machine(tmp_path / "second", library, url)
    assert other.harvest().reused
    other.store().verify()
    for key in Objects(url).keys(""):
        if ".partial-" not in key:
            assert Objects(url).read(key) == (folder / key).read_bytes()


def test_an_upload_that_was_cut_off_is_no_object(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(30_000_000))
    url = f"s3://{bucket}"
    code = f"""
import os, signal
from pathlib import Path
from pipeline.remote import objects
whole = objects._blocks
def dying(file):
    for number, block in enumerate(whole(file)):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield block
objects._blocks = dying
objects.Objects({url!r}).put(Path({str(big)!r}), "big")
"""
    died = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    assert Objects(url).size("big") is None

    def failing(file: object) -> object:
        yield b"a"
        raise OSError("the disk is gone")

    monkeypatch.setattr("pipeline.remote.objects._blocks", failing)
    with pytest.raises(ValueError, match="the disk is gone"):
        Objects(url).put(big, "big")
    assert Objects(url).size("big") is None
    monkeypatch.undo()
