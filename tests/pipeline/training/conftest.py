"""Every test here trains on toy activations, on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.workspace import Workspace
from tests.pipeline.training.scene import ToyStore, install, workspace_at


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ToyStore:
    toy = ToyStore()
    install(monkeypatch.setattr, toy)
    return toy


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_at(tmp_path)
