from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.catalog import parts
from pipeline.workspace import Workspace


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = Workspace.open(tmp_path_factory.mktemp("laid_out"))
    parts.lay_out(workspace)
    return workspace.root


@pytest.fixture
def workspace(laid_out: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(laid_out, tmp_path / "workspace"))
