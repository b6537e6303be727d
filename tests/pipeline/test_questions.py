"""The questions of docs/sql.md are answered in a small workspace, and the page shows them."""

from __future__ import annotations

import re

import pytest

from pipeline.catalog.questions import Question, broken, read_questions
from pipeline.catalog.questions_page import (
    DOCS,
    answer_of,
    answers_on,
    questions,
    questions_page,
)
from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace
from tests.pipeline.small_world import STUDY, small_world

RECIPES = """
  topk16: {architecture: topk, n_latents: 64, k: 16, tokens: 8192, batch_size: 256, lr: 0.003}
  wide16: {architecture: topk, n_latents: 128, k: 16, tokens: 8192, batch_size: 256, lr: 0.003}
  too-fast: {architecture: topk, n_latents: 64, k: 16, tokens: 8192, batch_size: 256, lr: 1.0e+30}
seeds: [0, 1, 2]
"""
each_question = pytest.mark.parametrize("question", questions(), ids=lambda q: q.title)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three seeds, two widths, one recipe that diverges, a twin on random weights for each."""
    recipes, evaluation = "  topk8: {", "bootstrap: 100}"
    assert recipes in STUDY
    assert evaluation in STUDY
    text = re.sub(r"  topk8: .*\nseeds: .*", RECIPES.strip("\n"), STUDY)
    text = text.replace(evaluation, "curve_tokens: 256, bootstrap: 100}")
    return small_world(tmp_path_factory.mktemp("asked"), text)[0]


@each_question
def test_the_answer_has_what_is_expected_of_it(asked: Workspace, question: Question) -> None:
    assert question.expected
    assert question.remark
    assert broken(question, query(asked, question.sql).to_pylist()) == []


@each_question
def test_the_page_shows_the_columns_of_the_answer(asked: Workspace, question: Question) -> None:
    shown = answers_on((DOCS / "sql.md").read_text())[questions().index(question)]
    header, rule, *rows = shown.splitlines()
    assert header.split() == query(asked, question.sql).column_names
    assert set(rule) == {"-", " "}
    assert re.fullmatch(r"\(.*[1-9]\d* rows?\)", rows[-1])


def test_the_page_is_the_one_that_the_questions_make() -> None:
    """Apart from the answers, which need the workspace of `examples/questions.yaml`."""
    page = (DOCS / "sql.md").read_text()
    shown = iter(answers_on(page))
    assert page == questions_page(lambda _: next(shown))
    assert len(questions()) == 22


def test_an_answer_on_the_page_ends_with_its_number_of_rows(asked: Workspace) -> None:
    many = Question("", "", "SELECT * FROM range(30) AS t(i)", ())
    assert answer_of(asked, many).splitlines()[-1] == "(15 of 30 rows)"
    assert answer_of(asked, many).splitlines()[-2].strip() == "14"


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        ("ascending x", "x is not ascending"),
        ("x in [0, 2]", "x is outside"),
        ("y in [0, 2]", "y is outside"),
    ],
)
def test_an_answer_that_breaks_an_expectation_is_told(expectation: str, told: str) -> None:
    rows = [{"x": 3, "y": None}, {"x": 1, "y": 1.0}]
    assert broken(Question("", "", "", ("descending x", "y in [0, 2] or null")), rows) == []
    (line,) = broken(Question("", "", "", (expectation,)), rows)
    assert line.startswith(told)
    assert broken(Question("", "", "", ()), []) == ["there are no rows"]


def test_what_is_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with"):
        read_questions("SELECT 1;")
    with pytest.raises(ValueError, match="ends with"):
        read_questions("-- # What?\n-- A remark.\nSELECT 1\n")
    with pytest.raises(ValueError, match="not understood"):
        broken(Question("", "", "", ("x is fine",)), [{"x": 1}])


def test_the_tutorials_questions_are_answered_with_the_columns_that_it_prints(
    asked: Workspace,
) -> None:
    blocks = r'```\nsae sql "(.*?)"\n```\n```\n(.*?)\n'
    found = re.findall(blocks, (DOCS / "tutorial.md").read_text(), re.DOTALL)
    assert len(found) == 5
    for sql, header in found:
        assert query(asked, sql).column_names == header.split()
