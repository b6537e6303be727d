"""Labels of Python source against snippets labelled by hand."""

from __future__ import annotations

import pytest

from pipeline.corpus.documents import Document
from pipeline.labels.python_source import LABELLER, LABELS

SNIPPET = '''"""Doc é."""
import os, sys as s
@deco(x=1)
class A(Base, metaclass=M):
    """ü"""
    def f(self, a: int = (1, [2, 3])) -> str:
        # häh
        for i in x:
            if i:
                y = g("é(", b=f"a{c(1)}b").zed
        return 'x' "y"
    async def q(*args): pass
while n > 2: n = m.k(n)
'''
BY_HAND = {
    "in_string": ['"""Doc é."""', '"""ü"""', '"é("', 'f"a{c(1)}b"', "'x'", '"y"'],
    "in_docstring": ['"""Doc é."""', '"""ü"""'],
    "in_comment": ["# häh"],
    "in_brackets": [
        "x=1",
        "Base, metaclass=M",
        "self, a: int = (1, [2, 3])",
        '"é(", b=f"a{c(1)}b"',
        "*args",
        "n",
    ],
    "in_nested_brackets": ["1, [2, 3]"],
    "indentation": ["    ", "    ", " " * 8, " " * 12, " " * 16, " " * 8, "    "],
    "in_deep_block": ['if i:\n                y = g("é(", b=f"a{c(1)}b").zed\n'],
    "definition_name": ["A", "f", "q"],
    "parameter_name": ["self", "a", "args"],
    "keyword_argument": ["x", "metaclass", "b"],
    "attribute_name": ["zed", "k"],
    "called_name": ["deco", "g", "c", "k"],
    "assigned_name": ["i", "y", "n"],
    "in_import": ["import os, sys as s"],
    "in_decorator": ["deco(x=1)"],
    "in_return": ["return 'x' \"y\""],
    "in_condition": ["i", "n > 2"],
    "in_loop": ['if i:\n                y = g("é(", b=f"a{c(1)}b").zed', "n = m.k(n)"],
    "in_class": [SNIPPET[SNIPPET.index('"""ü') : SNIPPET.index("\nwhile")]],
}


def spans(text: str) -> dict[str, list[str]]:
    found = LABELLER.spans(Document("a.py", text))
    assert found is not None
    return {label: [text[a:b] for a, b in sorted(where)] for label, where in found.items()}


def test_every_label_of_a_snippet_is_where_a_person_sees_it() -> None:
    assert spans(SNIPPET) == BY_HAND
    assert set(BY_HAND) == set(LABELLER.labels)


def test_a_nested_definition_and_what_stands_around_it() -> None:
    text = "def a():\n  def b():\n    def c():\n      x = 1\n    y = 2\n  z = 3\n"
    found = spans(text)
    assert found["definition_name"] == ["a", "b", "c"]
    assert found["in_deep_block"] == ["x = 1\n"]


def test_a_class_body_begins_with_its_first_statements_decorator() -> None:
    text = "class A:\n    @b\n    def c(self):\n        return 1\n"
    assert spans(text)["in_class"] == ["b\n    def c(self):\n        return 1"]


def test_a_string_that_holds_quotes_hashes_and_brackets_is_one_string() -> None:
    found = spans('x = "# (no" # ("yes"\ny = (r"\\d" b"")\n'.replace('b""', '""'))
    assert found["in_comment"] == ['# ("yes"']
    assert found["in_string"] == ['"# (no"', 'r"\\d"', '""']
    assert found["in_brackets"] == ['r"\\d" ""']


def test_an_f_string_inside_an_f_strings_braces_is_part_of_the_outer() -> None:
    found = spans("x = f'{f\"{y}\"}' + 'z'\n")
    assert found["in_string"] == ["f'{f\"{y}\"}'", "'z'"]


@pytest.mark.parametrize(
    "text",
    ["print 'old'", "x = (", "def f():\nx = 1", "a\x00b", "  x = 1\n y = 2", "x = 1\ry = 2", '"""'],
)
def test_what_python_cannot_read_has_no_labels(text: str) -> None:
    assert LABELLER.spans(Document("a.py", text)) is None


def test_an_escape_that_python_warns_of_is_read() -> None:
    assert spans('x = "\\d"\n')["in_string"] == ['"\\d"']


def test_line_ends_of_windows_shift_nothing() -> None:
    text = "# a\r\nx = f(y=1)\r\n"
    assert spans(text)["keyword_argument"] == ["y"]


def test_every_label_says_what_it_is() -> None:
    assert all(label.__doc__ for label in LABELS)
