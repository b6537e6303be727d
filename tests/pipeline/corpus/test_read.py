from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import builtin
from pipeline.corpus.documents import Document
from pipeline.corpus.read import fingerprint, read_documents
from pipeline.errors import UserError
from pipeline.study.config import CorpusConfig


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """b.txt, a/a.txt and a/c.md below a folder, and an empty file."""
    folder = tmp_path / "notes"
    (folder / "a").mkdir(parents=True)
    (folder / "b.txt").write_text("second é", encoding="utf-8")
    (folder / "a/a.txt").write_text("first")
    (folder / "a/c.md").write_text("# other")
    (folder / "empty.txt").write_text(" \n")
    return folder


def read(kind: str, **fields: object) -> list[Document]:
    return list(read_documents(CorpusConfig(kind=kind, **fields)))


def test_a_folder_gives_its_text_files_by_relative_name(notes: Path) -> None:
    assert read("text", path=str(notes)) == [
        Document("a/a.txt", "first"),
        Document("b.txt", "second é"),
    ]


def test_a_glob_chooses_files_of_any_kind(notes: Path) -> None:
    assert read("text", path=f"{notes}/**/*.md") == [Document("a/c.md", "# other")]


def test_a_single_file_is_a_corpus(notes: Path) -> None:
    assert read("text", path=str(notes / "a/c.md")) == [Document("c.md", "# other")]


def test_names_do_not_depend_on_where_the_folder_lies(notes: Path, tmp_path: Path) -> None:
    moved = notes.rename(tmp_path / "elsewhere")
    assert [d.name for d in read("text", path=str(moved))] == ["a/a.txt", "b.txt"]


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert read("text", path=str(tmp_path))[0].text == "hello"


def test_jsonl_rows_are_documents(tmp_path: Path) -> None:
    lines = [json.dumps({"body": text, "id": 1}) for text in ("one", "", "three")]
    (tmp_path / "x.jsonl").write_text("\n".join([lines[0], "", *lines[1:]]))
    assert read("jsonl", path=str(tmp_path), text_field="body") == [
        Document("x.jsonl:0", "one"),
        Document("x.jsonl:3", "three"),
    ]


def test_parquet_rows_are_documents(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", None, "three"], "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert read("parquet", path=str(tmp_path)) == [
        Document("x.parquet:0", "one"),
        Document("x.parquet:2", "three"),
    ]


def test_max_documents_counts_documents_with_text(notes: Path) -> None:
    (notes / "0.txt").write_text("")
    assert len(read("text", path=str(notes), max_documents=1)) == 1


def test_the_builtin_corpus_goes_through_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document("a.py", "x = 1"), Document("b.py", ""), Document("c.py", "y = 2")]
    monkeypatch.setattr(builtin, "builtin_documents", lambda: iter(documents))
    assert read("builtin") == [documents[0], documents[2]]


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(UserError, match="holds no text"):
        read("text", path=str(tmp_path))


@pytest.mark.parametrize("path", ["nowhere", "*.md", "."])
def test_a_path_without_files_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match=r"leads to no file.*\*\.txt"):
        read("text", path=str(tmp_path / path))


def test_bytes_that_are_no_text_are_named_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("caf\u00e9".encode("latin1"))
    with pytest.raises(UserError, match=r"old\.txt is not utf-8 \(byte 3: e9\).*iconv"):
        read("text", path=str(tmp_path))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"line 2: not JSON"),
        ("[1]", r"line 2: a list, not an object"),
        ('{"body": "x"}', r"line 2: there is no field 'text'; its fields: body"),
        ('{"text": 3}', r"line 2: field 'text' holds a int, not text"),
    ],
)
def test_a_bad_jsonl_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(UserError, match=said):
        read("jsonl", path=str(tmp_path))


def test_a_bad_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"x\.parquet cannot be read as Parquet"):
        read("parquet", path=str(tmp_path))


@pytest.mark.parametrize("table", [{"body": ["x"]}, {"text": [3]}])
def test_a_parquet_file_without_text_in_its_field_is_named(
    tmp_path: Path, table: dict[str, list[object]]
) -> None:
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"x\.parquet.*field 'text'"):
        read("parquet", path=str(tmp_path))


def test_a_hub_dataset_is_read_through_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    package = types.ModuleType("datasets")

    def load_dataset(*names: object, **options: object) -> list[dict[str, object]]:
        asked.extend([names, options])
        return [{"body": "one"}, {"body": "  "}, {"body": "three"}]

    package.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", package)
    found = read("hf", dataset="lab/texts", dataset_config="en", text_field="body")
    assert found == [Document("lab/texts:0", "one"), Document("lab/texts:2", "three")]
    assert asked == [("lab/texts", "en"), {"split": "train", "streaming": False}]
    with pytest.raises(UserError, match="no field 'text'"):
        read("hf", dataset="lab/texts")


def test_without_the_extra_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="make datasets"):
        read("hf", dataset="lab/texts")


def test_a_dataset_that_cannot_be_loaded_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("datasets")

    def load_dataset(*names: object, **options: object) -> None:
        raise ValueError("Unknown split")

    package.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", package)
    with pytest.raises(UserError, match=r"split 'train'\) cannot be loaded: Unknown split"):
        read("hf", dataset="lab/texts")


def test_the_fingerprint_changes_with_the_files(notes: Path) -> None:
    config = CorpusConfig(kind="text", path=str(notes))
    before = fingerprint(config)
    assert fingerprint(config) == before
    (notes / "b.txt").write_text("longer than it was")
    changed = fingerprint(config)
    (notes / "new.txt").write_text("x")
    assert len({before, changed, fingerprint(config)}) == 3


def test_the_fingerprint_of_a_dataset_that_lies_here_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    config = CorpusConfig(kind="hf", dataset=str(tmp_path))
    before = fingerprint(config)
    (tmp_path / "train.jsonl").write_text('{"text": "more"}')
    assert fingerprint(config) != before
    assert fingerprint(CorpusConfig(kind="hf", dataset="lab/texts"))
