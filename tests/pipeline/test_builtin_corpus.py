"""The standard library as a corpus: splits, tables, near-duplicates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.corpus import builtin
from pipeline.corpus.builtin import (
    builtin_documents,
    is_table,
    shingle_overlap,
    shingles,
    without_overlap,
)
from pipeline.corpus.documents import Document, corpus_hash, split_of


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return list(builtin_documents())


def _split(documents: list[Document], split: str) -> list[Document]:
    return [document for document in documents if split_of(document.name) == split]


def _name_in(split: str, stem: str = "file") -> str:
    return next(name for i in range(10_000) if split_of(name := f"{stem}{i}.py") == split)


def _lines(prefix: str, count: int) -> str:
    return "".join(f"{prefix} = value_of({prefix!r}, line={i})\n" for i in range(count))


def test_split_depends_on_the_name_alone_and_is_fixed():
    names = ["os.py", "asyncio/events.py", "traceback.py", "test/test_glob.py", "opcode.py"]
    assert [split_of(name) for name in names] == [
        "train",
        "train",
        "held_out",
        "held_out",
        "held_out",
    ]


def test_split_shares_are_kept():
    splits = [split_of(f"{i}.py") for i in range(20_000)]
    assert splits.count("held_out") / len(splits) == pytest.approx(0.06, abs=0.006)
    assert splits.count("calibration") / len(splits) == pytest.approx(0.04, abs=0.006)


def test_split_refuses_shares_that_leave_no_training_text():
    with pytest.raises(ValueError, match="below 1"):
        split_of("a.py", 0.6, calibration_share=0.5)


def test_all_three_splits_hold_text_and_share_no_document(documents):
    names = [{d.name for d in _split(documents, s)} for s in ("train", "calibration", "held_out")]
    assert all(names)
    assert len(set.union(*names)) == sum(map(len, names)) == len(documents)


def test_documents_are_sorted_and_not_installed_packages(documents):
    names = [document.name for document in documents]
    assert names == sorted(names)
    assert not any("site-packages" in name or "__pycache__" in name for name in names)
    assert "argparse.py" in names


def test_train_and_calibration_share_no_shingle_worth_a_percent_with_held_out(documents):
    held_out = _split(documents, "held_out")
    assert shingle_overlap(_split(documents, "train"), held_out) < 0.01
    assert shingle_overlap(_split(documents, "calibration"), held_out) < 0.01


def test_overlap_is_measured_where_it_exists():
    text = _lines("shared", 12)
    one, other = Document("a.py", text), Document("b.py", text)
    assert shingle_overlap([one], [other]) == 1.0
    assert shingle_overlap([Document("c.py", _lines("own", 12))], [other]) == 0.0
    half = Document("d.py", _lines("shared", 12)[: len(text) // 2])
    assert 0.0 < shingle_overlap([half], [other]) < 1.0


def test_shingles_ignore_indentation_and_blank_lines():
    text = _lines("x", 6)
    indented = "\n\n".join("    " + line for line in text.splitlines())
    assert shingles(text) == shingles(indented)
    assert len(shingles(text)) == 2


def test_shared_lines_leave_the_train_document_and_stay_in_the_held_out_one():
    block = _lines("shared", 7)
    train = Document(_name_in("train"), _lines("a", 20) + block + _lines("b", 20))
    held_out = Document(_name_in("held_out"), _lines("c", 9) + block)
    cleared = {d.name: d.text for d in without_overlap([train, held_out])}
    assert cleared[held_out.name] == held_out.text
    assert cleared[train.name] == _lines("a", 20) + _lines("b", 20)


def test_cutting_goes_on_until_no_shared_run_is_left():
    outer, inner = _lines("outer", 6), _lines("inner", 6)
    lines = outer.splitlines(keepends=True)
    nested = "".join(lines[:3]) + inner + "".join(lines[3:])
    train = Document(_name_in("train"), nested + _lines("own", 40))
    held_out = Document(_name_in("held_out"), outer + _lines("between", 6) + inner)
    cleared = list(without_overlap([train, held_out]))
    assert shingle_overlap(cleared[:1], [held_out]) == 0.0
    assert cleared[0].text == _lines("own", 40)


def test_a_document_that_stands_mostly_in_held_out_is_dropped():
    block = _lines("shared", 30)
    train = Document(_name_in("train"), block + _lines("own", 5))
    held_out = Document(_name_in("held_out"), block)
    assert [d.name for d in without_overlap([train, held_out])] == [held_out.name]


def test_tables_are_left_out(documents):
    names = {document.name for document in documents}
    assert not any(name.startswith(("encodings/", "pydoc_data/")) for name in names)
    assert "html/entities.py" not in names
    assert not any(is_table(document.name, document.text) for document in documents)


def test_a_table_is_told_from_a_program_by_its_numbers():
    table = "MAP = {\n" + "".join(f"    0x{i:04x}: '\\u{i:04x}',\n" for i in range(300)) + "}\n"
    assert is_table("maps.py", table)
    assert not is_table("argparse.py", Path(sys.modules["argparse"].__file__ or "").read_text())


def test_files_that_are_not_utf8_or_empty_are_left_out(tmp_path):
    (tmp_path / "good.py").write_text("print('yes')\n")
    (tmp_path / "empty.py").write_text("\n")
    (tmp_path / "latin.py").write_bytes("# caf\xe9\n".encode("latin-1"))
    package = tmp_path / "site-packages"
    package.mkdir()
    (package / "other.py").write_text("print('no')\n")
    assert [document.name for document in builtin_documents(tmp_path)] == ["good.py"]


def test_a_folder_without_source_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ValueError, match=r"holds no Python source.*local text corpus"):
        list(builtin_documents(tmp_path))


def test_corpus_hash_sees_names_texts_and_their_border():
    base = corpus_hash([Document("ab", "c")])
    assert base == corpus_hash([Document("ab", "c")])
    assert len({base, corpus_hash([Document("a", "bc")]), corpus_hash([Document("ab", "d")])}) == 3


def test_the_corpus_is_the_same_each_time(documents):
    assert corpus_hash(builtin_documents()) == corpus_hash(documents)


def test_reading_the_corpus_needs_no_torch():
    import subprocess

    code = f"import sys, {builtin.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
