"""What a command's texts choose from a study."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StudyError
from pipeline.study.config import Study
from pipeline.study.read import parse_study
from pipeline.study.selection import Selection, parse_names, parse_numbers

TEXT = """
study: tiny
models: {lm: {path: embedded}, other: {path: embedded}}
sites: [resid_post.1, mlp_out.2]
weights: [trained, random]
recipes:
  topk: {architecture: topk, n_latents: 64, k: 2, tokens: 2000}
seeds: [0, 1]
"""


@pytest.fixture(scope="module")
def study() -> Study:
    return parse_study(TEXT, "test")


def sources(selection: Selection, study: Study) -> list[str]:
    return [str(source) for source in selection.sources(study)]


def test_nothing_given_means_the_study_itself(study: Study) -> None:
    everything = Selection.parse()
    assert everything.sources(study) == study.sources()
    assert everything.keys(study) == study.keys()


def test_layers_are_taken_for_every_kind_of_the_study(study: Study) -> None:
    chosen = Selection.parse(layers="0,2-3", models="lm", weights="trained")
    assert sources(chosen, study) == [
        f"lm.trained.{kind}.{layer}" for kind in ("resid_post", "mlp_out") for layer in (0, 2, 3)
    ]


def test_kinds_are_taken_at_the_layers_of_the_study(study: Study) -> None:
    chosen = Selection.parse(kinds="attn_out", models="lm", weights="random@1")
    assert sources(chosen, study) == ["lm.random@1.attn_out.1", "lm.random@1.attn_out.2"]


def test_seeds_replace_the_studys(study: Study) -> None:
    assert [str(key) for key in Selection.parse(seeds="3").keys(study)] == ["topk.s3"]
    assert [key.seed for key in Selection.parse(seeds="0").keys(study)] == [0]


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-1", "-1", "1-", "0-99999999", "1.5"])
def test_numbers_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(StudyError, match="--layers"):
        parse_numbers(text, "--layers")


@pytest.mark.parametrize(
    ("option", "text", "sentence"),
    [
        ("kinds", "resid post", "A site is a kind and a layer"),
        ("weights", "tranied", "Did you mean 'trained'"),
        ("weights", "trained@1", "are not drawn"),
        ("recipes", "topk,", "--recipes"),
    ],
)
def test_names_that_nobody_knows_are_refused(option: str, text: str, sentence: str) -> None:
    with pytest.raises(StudyError, match=sentence):
        Selection.parse(**{option: text})


@given(st.lists(st.integers(0, 500), min_size=1, unique=True))
def test_written_numbers_are_read_back(numbers: list[int]) -> None:
    assert parse_numbers(",".join(map(str, numbers)), "--seeds") == tuple(numbers)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_range_has_both_ends(low: int, length: int) -> None:
    assert parse_numbers(f"{low}-{low + length}", "--seeds") == tuple(range(low, low + length + 1))


def test_names_are_taken_once() -> None:
    assert parse_names("a, b,a", "--model") == ("a", "b")
