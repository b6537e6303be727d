from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.doctor import PACKAGES, Findings, slow
from pipeline.remote.objects import objects_at
from pipeline.remote.place import set_remote
from pipeline.workspace import Workspace

QUIET = Findings(
    workspace="/w",
    package="1",
    commit=None,
    python="3.11",
    packages=dict.fromkeys(PACKAGES, "1"),
    gpu="a GPU",
    gpu_gb=80.0,
    cores=8,
    threads=8,
    load=0.5,
    disk_free_gb=100.0,
    most_parts=3,
    most_parts_table="saes",
    package_index="https://pypi.org/simple (pip's own)",
    hub="https://huggingface.co",
    remote=None,
    remote_problem=None,
)


def test_a_quiet_machine_with_a_gpu_has_nothing_slow() -> None:
    assert slow(QUIET) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpu": None}, "no CUDA device"),
        ({"packages": QUIET.packages | {"triton": None}}, "Install triton"),
        ({"threads": 1}, "1 of 8 cores"),
        ({"load": 20.0}, "load 20 on 8"),
        ({"disk_free_gb": 1.5}, "1.5 GB are free"),
        ({"most_parts": 5000}, "The table saes lies in 5,000 parts"),
    ],
)
def test_each_cause_is_told_alone_with_its_number(change: dict[str, object], words: str) -> None:
    (told,) = slow(replace(QUIET, **change))
    assert words in told


def test_the_command_tells_people_and_scripts_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--workspace", str(tmp_path), *more])
        assert ended.value.code == 0
        shown.append(capsys.readouterr().out)
    found = json.loads(shown[1])
    assert found["workspace"] == str(tmp_path)
    assert f"torch {found['packages']['torch']}" in shown[0]
    assert f"{found['cores']} cores, {found['threads']} threads" in shown[0]


def test_the_remote_place_is_named_with_what_is_wrong_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shared").mkdir()
    place, workspace = f"file://{tmp_path / 'shared'}", Workspace.open(tmp_path / "workspace")
    set_remote(workspace, place)
    given = ["doctor", "--workspace", str(workspace.root)]
    for there, told in (
        (True, f"remote       {place}: it answers"),
        (False, "shared is no folder here"),
    ):
        if not there:
            (tmp_path / "shared").rmdir()
            objects_at.cache_clear()
        with pytest.raises(SystemExit, match="0"):
            main(given)
        (line,) = [s for s in capsys.readouterr().out.splitlines() if s.startswith("remote")]
        assert told in line


def test_a_damaged_name_of_the_remote_place_is_told_with_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (Workspace.open(tmp_path).root / "remote.json").write_text("{")
    with pytest.raises(SystemExit, match="0"):
        main(["doctor", "--workspace", str(tmp_path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["remote"] is None
    assert "Name the remote place again" in found["remote_problem"]
