"""A command looks at its text once; what changes meanwhile counts from the next one on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.corpus import pack
from pipeline.corpus.one_look import one_look
from pipeline.corpus.pack import open_corpus, pack_corpus
from pipeline.corpus.read import fingerprint
from pipeline.embedded.tokenizer import train_tokenizer
from pipeline.study.config import CorpusConfig, ModelConfig
from pipeline.workspace import Workspace

Looks = list[CorpusConfig]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Each look at the text's files."""
    seen: Looks = []

    def counted(config: CorpusConfig) -> str:
        seen.append(config)
        return fingerprint(config)

    monkeypatch.setattr(pack, "fingerprint", counted)
    return seen


@pytest.fixture
def make(tmp_path: Path) -> Callable[[], ModelConfig]:
    """A model whose corpus is a folder of texts; each call adds a text."""
    model, folder = tmp_path / "model", tmp_path / "texts"
    train_tokenizer(["some words to merge " * 4], vocab_size=280).save_pretrained(model)
    (model / "config.json").write_text("{}")
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.txt").write_text(f"document {number} " + "some words " * 20)

    def made() -> ModelConfig:
        number = len(list(folder.iterdir()))
        (folder / f"{number}.txt").write_text(f"document {number}")
        corpus = CorpusConfig(
            kind="text", path=str(folder), held_out_share=0.2, calibration_share=0.2
        )
        return ModelConfig(path=str(model), context=16, corpus=corpus)

    return made


def test_a_command_looks_once_and_the_next_one_sees_what_changed(
    make: Callable[[], ModelConfig], looks: Looks, tmp_path: Path
) -> None:
    workspace, config = Workspace.open(tmp_path / "workspace"), make()
    with one_look():
        assert open_corpus(workspace, "lm", config) is None
        packed = pack_corpus(workspace, "lm", config)
        before = len(looks)
        with one_look():
            assert open_corpus(workspace, "lm", config).hash == packed.hash
        make()
        for _ in range(10):
            assert open_corpus(workspace, "lm", config).hash == packed.hash
        assert len(looks) == before + 1
    with one_look():
        assert open_corpus(workspace, "lm", config) is None
        assert pack_corpus(workspace, "lm", config).hash != packed.hash


def test_another_corpus_or_workspace_is_looked_at_by_itself(
    make: Callable[[], ModelConfig], tmp_path: Path
) -> None:
    workspace, config = Workspace.open(tmp_path / "workspace"), make()
    with one_look():
        pack_corpus(workspace, "lm", config)
        assert open_corpus(workspace, "lm", config) is not None
        assert open_corpus(Workspace.open(tmp_path / "other"), "lm", config) is None
        assert open_corpus(workspace, "other", config) is None
        wider = config.model_copy(update={"context": 32})
        assert open_corpus(workspace, "lm", wider) is None


def test_outside_of_a_command_every_call_looks(
    make: Callable[[], ModelConfig], looks: Looks, tmp_path: Path
) -> None:
    workspace, config = Workspace.open(tmp_path / "workspace"), make()
    pack_corpus(workspace, "lm", config)
    make()
    assert open_corpus(workspace, "lm", config) is None
