"""The example about absorption: what it prints, writes, and how it runs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

SCRIPT = Path(__file__).parents[1] / "examples" / "absorption.py"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    """The script as a module; the number of threads is as before afterwards."""
    spec = importlib.util.spec_from_file_location("absorption_example", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_its_small_steps_run_on_one_thread_and_its_rows_reach_the_workspace(
    example: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An eightieth of the budget, so that the numbers mean nothing here."""
    threads, measured = [], example.measured

    def small(seed: int) -> dict[str, object]:
        threads.append(torch.get_num_threads())
        return measured(seed, tokens=example.TOKENS // 80)

    monkeypatch.setattr(example, "measured", small)
    monkeypatch.setattr(sys, "argv", ["absorption", "--seeds", "2", "--workspace", str(tmp_path)])
    torch.set_num_threads(2)
    example.main()
    assert threads == [1, 1]
    told = capsys.readouterr().out
    assert "matryoshka - topk: " in told
    assert "matryoshka - batch_topk: " in told
    rows = query(Workspace.open(tmp_path), "FROM absorption").to_pylist()
    assert {(row["recipe"], row["seed"]) for row in rows} == {
        (name, seed) for name in example.RECIPES for seed in range(2)
    }
    assert all(0 <= row["absorbed"] <= 1 and 0 <= row["missed_alone"] <= 1 for row in rows)
