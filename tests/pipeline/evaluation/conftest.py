"""Every test here runs on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pipeline.evaluation.held_out import HeldOut
from pipeline.language_model.model import LanguageModel
from tests.pipeline.evaluation.scene import held_out_text, tiny_lm
from tests.pipeline.evaluation.world import World, build


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def lm() -> LanguageModel:
    return tiny_lm()


@pytest.fixture(scope="session")
def held_out(lm: LanguageModel) -> HeldOut:
    return held_out_text(lm)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return build(tmp_path, monkeypatch.setattr)
