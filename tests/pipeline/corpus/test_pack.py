from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from tokenizers.processors import TemplateProcessing

from pipeline.corpus import pack
from pipeline.corpus.documents import split_of
from pipeline.corpus.pack import open_corpus, pack_corpus
from pipeline.corpus.packed import ROWS_PER_GROUP, SPLITS, PackedCorpus
from pipeline.embedded.tokenizer import END_OF_TEXT, train_tokenizer
from pipeline.errors import StoreError, UserError
from pipeline.progress import Progress
from pipeline.study.config import CorpusConfig, ModelConfig
from pipeline.workspace import Workspace

CONTEXT = 16
N_DOCUMENTS = 60


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as far as packing looks at it: config and tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    train_tokenizer(["some words to merge " * 4], vocab_size=280).save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(N_DOCUMENTS):
        words = rng.choice(["some", "words", "to", "merge", "\n", "é"], int(rng.integers(1, 40)))
        (folder / f"{i:02}.txt").write_text(f"document {i}: " + " ".join(words))
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture
def config(model_folder: Path, texts: Path) -> ModelConfig:
    corpus = CorpusConfig(kind="text", path=str(texts), held_out_share=0.2, calibration_share=0.15)
    return ModelConfig(path=str(model_folder), context=CONTEXT, corpus=corpus)


def with_corpus(config: ModelConfig, **changes: object) -> ModelConfig:
    return config.model_copy(update={"corpus": config.corpus.model_copy(update=changes)})


def everything(corpus: PackedCorpus, split: str) -> tuple[np.ndarray, np.ndarray]:
    return corpus.tokens(split, 0, corpus.n_rows(split))


def streams(corpus: PackedCorpus, config: ModelConfig, texts: Path) -> dict[str, list[int]]:
    """What each split should hold before it is cut into rows, made document by document."""
    from pipeline.language_model.load import load_tokenizer

    tokenizer = load_tokenizer(config)
    made: dict[str, list[int]] = {split: [] for split in SPLITS}
    for path in sorted(texts.iterdir()):
        split = split_of(path.name, 0.2, calibration_share=0.15)
        ids = tokenizer(path.read_text(), add_special_tokens=False)["input_ids"]
        made[split] += [tokenizer.eos_token_id, *ids]
    return made


def test_rows_are_the_splits_documents_one_after_the_other(
    workspace: Workspace, config: ModelConfig, texts: Path
) -> None:
    corpus = pack_corpus(workspace, "tiny", config)
    for split, stream in streams(corpus, config, texts).items():
        tokens, documents = everything(corpus, split)
        assert tokens.dtype == documents.dtype == np.int32
        assert tokens.shape == (len(stream) // CONTEXT, CONTEXT)
        assert tokens.ravel().tolist() == stream[: tokens.size]
        assert corpus.n_tokens(split) == int((tokens != 0).sum())


def test_every_token_knows_its_document_and_documents_keep_to_their_split(
    workspace: Workspace, config: ModelConfig
) -> None:
    corpus = pack_corpus(workspace, "tiny", config)
    for split in SPLITS:
        tokens, documents = everything(corpus, split)
        names = corpus.document_names(split)
        assert set(np.unique(documents)) <= names.keys()
        assert {split_of(n, 0.2, calibration_share=0.15) for n in names.values()} == {split}
        # A new document begins exactly at each separator.
        starts = np.flatnonzero(np.diff(documents.ravel(), prepend=-1))
        assert np.array_equal(starts, np.union1d([0], np.flatnonzero(tokens.ravel() == 0)))


def test_what_the_corpus_says_of_itself(workspace: Workspace, config: ModelConfig) -> None:
    corpus = pack_corpus(workspace, "tiny", config)
    assert corpus.path.parent == workspace.corpus
    assert corpus.path.name == f"tiny.{corpus.hash[:8]}"
    assert (corpus.context, corpus.special_ids, corpus.vocab_size) == (CONTEXT, {0}, 272)


def test_packing_twice_packs_once(
    workspace: Workspace, config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_corpus(workspace, "tiny", config) is None
    first = pack_corpus(workspace, "tiny", config)
    assert open_corpus(workspace, "tiny", config) == first
    monkeypatch.setattr(pack, "load_tokenizer", None)
    assert pack_corpus(workspace, "tiny", config) == first


def test_touched_files_are_read_again_but_not_packed_again(
    workspace: Workspace, config: ModelConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack_corpus(workspace, "tiny", config)
    os.utime(texts / "00.txt", (1, 1))
    assert open_corpus(workspace, "tiny", config) is None
    monkeypatch.setattr(pack, "load_tokenizer", None)
    assert pack_corpus(workspace, "tiny", config) == first
    assert open_corpus(workspace, "tiny", config) == first


def test_other_text_settings_or_context_are_another_corpus(
    workspace: Workspace, config: ModelConfig, texts: Path
) -> None:
    packed = [
        pack_corpus(workspace, "tiny", config),
        pack_corpus(workspace, "tiny", with_corpus(config, held_out_share=0.3)),
        pack_corpus(workspace, "tiny", config.model_copy(update={"context": 8})),
    ]
    (texts / "00.txt").write_text("now something else entirely")
    packed.append(pack_corpus(workspace, "tiny", config))
    assert len({corpus.hash for corpus in packed}) == 4


def test_the_hash_does_not_depend_on_places(
    workspace: Workspace, config: ModelConfig, texts: Path, tmp_path: Path
) -> None:
    first = pack_corpus(workspace, "tiny", config)
    moved = texts.rename(tmp_path / "moved")
    other = Workspace.open(tmp_path / "other")
    again = pack_corpus(other, "tiny", with_corpus(config, path=str(moved)))
    assert again.hash == first.hash
    for split in SPLITS:
        for left, right in zip(everything(first, split), everything(again, split), strict=True):
            assert np.array_equal(left, right)


def test_rows_read_in_any_cut_are_the_same(
    workspace: Workspace, config: ModelConfig, texts: Path
) -> None:
    (texts / "long.txt").write_text("many words to merge " * 9000)
    corpus = pack_corpus(workspace, "tiny", config)
    split = split_of("long.txt", 0.2, calibration_share=0.15)
    n = corpus.n_rows(split)
    assert n > 2 * ROWS_PER_GROUP
    whole = everything(corpus, split)
    cuts = [0, 1, ROWS_PER_GROUP - 1, ROWS_PER_GROUP, ROWS_PER_GROUP + 1, n - 1, n]
    for start in cuts:
        for stop in [c for c in cuts if c >= start]:
            for part, all_rows in zip(corpus.tokens(split, start, stop), whole, strict=True):
                assert np.array_equal(part, all_rows[start:stop])
    with pytest.raises(IndexError):
        corpus.tokens(split, 0, n + 1)


def test_max_tokens_ends_after_the_document_that_reaches_it(
    workspace: Workspace, config: ModelConfig
) -> None:
    limited = with_corpus(config, max_tokens=900)
    corpus = pack_corpus(workspace, "tiny", limited)
    whole = pack_corpus(workspace, "tiny", config)
    names = [name for split in SPLITS for name in corpus.document_names(split).values()]
    assert 0 < len(names) < N_DOCUMENTS
    assert sorted(names) == [f"{i:02}.txt" for i in range(len(names))]
    packed = sum(corpus.n_tokens(split) for split in SPLITS)
    assert packed <= 900 + 200 < sum(whole.n_tokens(split) for split in SPLITS)


def test_special_tokens_written_out_are_plain_text(
    workspace: Workspace, config: ModelConfig, texts: Path
) -> None:
    for path in texts.iterdir():
        path.write_text(path.read_text() + END_OF_TEXT)
    corpus = pack_corpus(workspace, "tiny", config)
    tokens, documents = everything(corpus, "train")
    starts = np.flatnonzero(np.diff(documents.ravel(), prepend=-1))
    assert np.array_equal(np.flatnonzero(tokens.ravel() == 0), starts)


def test_a_tokenizer_that_puts_a_token_first_has_it_first_in_every_row(
    workspace: Workspace, config: ModelConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "dressed"
    tokenizer = train_tokenizer(["some words to merge " * 4], vocab_size=280)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    first = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", first)]
    )
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    corpus = pack_corpus(workspace, "tiny", config.model_copy(update={"path": str(folder)}))
    tokens, documents = everything(corpus, "train")
    assert (tokens[:, 0] == first).all()
    assert (documents[:, 0] == documents[:, 1]).all()
    assert corpus.special_ids >= {first}
    bare = pack_corpus(workspace, "bare", config)
    ids, _ = everything(bare, "train")
    kept = tokens[tokens > 0]
    shared = min(kept[kept != first].size, ids[ids != 0].size)
    assert np.array_equal(kept[kept != first][:shared], ids[ids != 0][:shared])


def test_progress_is_reported(workspace: Workspace, config: ModelConfig) -> None:
    seen: list[Progress] = []
    pack_corpus(workspace, "tiny", config, report=seen.append)
    assert seen[-1].done == seen[-1].total == N_DOCUMENTS
    assert all(p.done <= p.total for p in seen)


def test_a_split_without_a_row_is_refused_with_numbers(
    workspace: Workspace, config: ModelConfig, texts: Path
) -> None:
    for path in sorted(texts.iterdir())[3:]:
        path.unlink()
    with pytest.raises(UserError, match=r"3 documents with .* split got \d of them"):
        pack_corpus(workspace, "tiny", config)
    assert open_corpus(workspace, "tiny", config) is None
    assert not list(workspace.corpus.rglob("*.partial-*"))


def test_where_max_tokens_left_a_split_without_a_row_it_is_named(
    workspace: Workspace, config: ModelConfig
) -> None:
    with pytest.raises(UserError, match=r"Raise max_tokens, which is 10, give more or smaller"):
        pack_corpus(workspace, "tiny", with_corpus(config, max_tokens=10))


def test_a_damaged_row_file_is_named(workspace: Workspace, config: ModelConfig) -> None:
    corpus = pack_corpus(workspace, "tiny", config)
    path = corpus.path / "held_out.parquet"
    raw = bytearray(path.read_bytes())
    raw[40] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"held_out\.parquet is missing or damaged"):
        everything(PackedCorpus.read(corpus.path), "held_out")
    path.unlink()
    with pytest.raises(StoreError, match=r"held_out\.parquet is missing or damaged"):
        everything(PackedCorpus.read(corpus.path), "held_out")
