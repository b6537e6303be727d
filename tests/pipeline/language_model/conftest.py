from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers.utils import logging

from pipeline.embedded.tokenizer import train_tokenizer
from tests.pipeline.language_model.families import tiny_model

WORDS = "def return import class self for in range print value name list of text and other words"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _quiet_transformers() -> Iterator[None]:
    """Shrunk configurations keep default token ids that lie beyond their vocabulary."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
    logging.set_verbosity(before)


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model and its tokenizer, never written to by tests."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = train_tokenizer([WORDS] * 3, vocab_size=300)
    model = tiny_model("gpt_neox", vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
