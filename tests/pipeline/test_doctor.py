from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.doctor import PACKAGES, Findings, slow

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
