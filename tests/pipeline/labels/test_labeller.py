"""From characters to tokens, and the other labellers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.corpus.documents import Document
from pipeline.embedded import EMBEDDED_MODEL_DIR
from pipeline.errors import StudyError, UserError
from pipeline.labels import labeller, labellers, labels_version
from pipeline.labels.labeller import deciding, token_labels
from pipeline.study.config import EvaluationConfig


def test_the_first_character_that_is_no_space_decides_else_the_last() -> None:
    text = "a b\n    c"
    offsets = [(0, 1), (1, 3), (3, 8), (8, 9)]
    assert [text[i] for i in deciding(text, offsets)] == ["a", "b", " ", "c"]
    assert deciding(text, offsets).tolist() == [0, 2, 7, 8]


def test_offsets_that_leave_whitespace_out_mean_the_same() -> None:
    text = "a b\n    c"
    trimmed = [(0, 1), (2, 3), (8, 8), (8, 9)]
    assert deciding(text, trimmed).tolist() == [0, 2, 7, 8]


def test_parts_of_one_character_share_its_label() -> None:
    offsets = [(0, 1), (1, 2), (1, 2), (1, 2), (2, 3)]
    found = token_labels("a€b", offsets, {"euro": [(1, 2)]}, ["euro", "none"])
    assert found.tolist() == [[False] * 2, *[[True, False]] * 3, [False] * 2]


def test_tokens_of_the_embedded_tokenizer_lie_where_their_text_does() -> None:
    """Labels of tokens, brought back to bytes, are the labels of the bytes' characters."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL_DIR)
    text = 'def größe(x):\n    """Maß: 5 €, 漢字 🎉."""\n    return "ü" + f(y=x)  # ß\n'
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = labellers()["python"].spans(Document("a", text))
    names = ["in_string", "in_comment", "keyword_argument", "definition_name"]
    found = token_labels(text, encoded["offset_mapping"], spans, names)
    tokens = [tokenizer.decode([i]) for i in encoded["input_ids"]]
    assert len(tokens) > len(text) / 4
    for column, name in enumerate(names):
        pieces = [i for i, has in zip(encoded["input_ids"], found[:, column], strict=True) if has]
        shown = tokenizer.decode(pieces).replace(" ", "").replace("\n", "")
        wanted = "".join(text[a:b] for a, b in spans[name]).replace(" ", "").replace("\n", "")
        assert wanted in shown, name
        assert len(shown) <= len(wanted) + 4, f"{name}: tokens that reach beyond the span"


def test_lexical_labels_of_a_line() -> None:
    text = 'He saw NASA (once) "in 1999".\nAgain, again!'
    found = labellers()["lexical"].spans(Document("a", text))
    shown = {label: [text[a:b] for a, b in where] for label, where in found.items()}
    assert shown["digit"] == ["1999"]
    assert shown["capitalised"] == ["He", "Again"]
    assert shown["all_capitals"] == ["NASA"]
    assert shown["punctuation"] == ["(", ")", '"', '".', ",", "!"]
    assert shown["line_start"] == ["He", "Again,"]
    assert shown["line_end"] == ['1999".', "again!"]
    assert shown["in_quotes"] == ["in 1999"]
    assert shown["in_round_brackets"] == ["once"]
    assert shown["repeated_word"] == ["again"]


def written(path: Path, *records: object) -> str:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return str(path)


def test_a_file_labels_the_documents_that_it_names(tmp_path: Path) -> None:
    one = {"document": "a.txt", "label": "name", "start": 2, "stop": 5}
    name = written(tmp_path / "l.jsonl", one, {"document": "b.txt"})
    found = labeller(name, "text")
    assert found.labels == ("name",)
    assert found.spans(Document("a.txt", "x yyy")) == {"name": [(2, 5)]}
    assert found.spans(Document("b.txt", "x")) == {}
    assert found.spans(Document("c.txt", "x")) is None


def test_a_files_version_is_its_content(tmp_path: Path) -> None:
    one = {"document": "a", "label": "l", "start": 0, "stop": 1}
    name = written(tmp_path / "l.jsonl", one)
    before = labels_version(name, "text")
    written(tmp_path / "l.jsonl", one | {"stop": 2})
    assert labels_version(name, "text") != before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1 is no label"),
        ('{"document": "a", "label": "l", "start": 3, "stop": 3}', "start 3, stop 3"),
        ('{"label": "l", "start": 0, "stop": 3}', "'document'"),
        ('{"document": "a"}', "holds no label"),
        ("[1]", "line 1 is no label"),
    ],
)
def test_a_file_that_is_not_right_is_refused(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "l.jsonl").write_text(line)
    with pytest.raises(UserError, match=told):
        labeller(str(tmp_path / "l.jsonl"), "text")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        labels_version(str(tmp_path / "none.jsonl"), "text")


def test_auto_is_python_for_the_builtin_corpus_and_lexical_for_others() -> None:
    assert labeller("auto", "builtin").name == "python"
    assert labeller("auto", "text").name == "lexical"


def test_a_labeller_that_there_is_not_is_refused_with_those_there_are() -> None:
    with pytest.raises((StudyError, ValueError), match=r"lexical, python"):
        EvaluationConfig(labels="pyhton")
