"""The bound of a corpus' tokens holds, and is not claimed where nothing proves it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus.bound import check_bound, most_tokens
from pipeline.embedded import EMBEDDED_MODEL_DIR
from pipeline.errors import StudyError, UserError
from pipeline.study.config import CorpusConfig, ModelConfig


def model(**corpus: str) -> ModelConfig:
    return ModelConfig(corpus=CorpusConfig(**corpus))


def tokens(text: str) -> int:
    from pipeline.language_model.load import load_tokenizer

    return len(load_tokenizer(ModelConfig())(text)["input_ids"])


def test_odd_text_makes_no_more_tokens_than_the_bound(tmp_path: Path) -> None:
    texts = ["\ufdfa\u1d15e\U0001f9d1" * 9, "\x00\x01\u200b\ufeff", "x", "  \t ", "é\u0301" * 40]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
        assert tokens(text) <= len(text.encode()) + 1
    most = most_tokens(model(kind="text", path=str(tmp_path)))
    assert most == sum(len(text.encode()) for text in texts) + len(texts)
    assert sum(map(tokens, texts)) <= most


def test_lines_of_json_are_no_shorter_than_their_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": "é" * n}) + "\n" for n in range(5)))
    assert most_tokens(model(kind="jsonl", path=str(path))) == path.stat().st_size


@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_empty_files_are_told_before_packing(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"a.{'txt' if kind == 'text' else kind}").write_text("")
    with pytest.raises(StudyError, match=r"models.lm, .*holds no text: its files are empty"):
        check_bound("lm", model(kind=kind, path=str(tmp_path)))


@pytest.mark.parametrize(
    ("kind", "field", "says"),
    [
        ("jsonl", "txt", "line 1: there is no field 'txt'; its fields: n, text. Set text_field"),
        ("jsonl", "n", "line 1: field 'n' holds a int, not text"),
        ("parquet", "txt", "there is no field 'txt'; its fields: n, text. Set text_field"),
        ("parquet", "n", "row 0: field 'n' holds a int, not text"),
    ],
)
def test_a_wrong_text_field_is_told_before_packing(
    tmp_path: Path, kind: str, field: str, says: str
) -> None:
    row = {"n": 1, "text": "some text"}
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(row) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), path)
    config = model(kind=kind, path=str(path))
    check_bound("lm", config)
    wrong = config.corpus.model_copy(update={"text_field": field})
    with pytest.raises(UserError, match=says):
        check_bound("lm", config.model_copy(update={"corpus": wrong}))


def test_the_builtin_corpus_is_bounded_by_the_library(tmp_path: Path) -> None:
    most = most_tokens(model(kind="builtin"))
    assert most is not None
    assert most > 10_000_000


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("parquet", {}),
        ("text", {"normalizer": {"type": "NFKC"}}),
        ("text", {"pre_tokenizer": {"type": "Metaspace"}}),
        ("text", {"pre_tokenizer": None}),
    ],
)
def test_nothing_is_claimed_without_proof(tmp_path: Path, kind: str, changes: dict) -> None:
    described = json.loads((EMBEDDED_MODEL_DIR / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(described | changes))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / f"a.{'txt' if kind == 'text' else kind}").write_bytes(b"text")
    config = model(kind=kind, path=str(tmp_path)).model_copy(update={"path": str(tmp_path)})
    assert most_tokens(config) is None
