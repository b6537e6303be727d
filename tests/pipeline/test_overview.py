"""Comparisons over many SAEs: what is warned of, what is shown."""

from __future__ import annotations

import struct
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query
from pipeline.overview import dictionary_matches as dictionaries
from pipeline.overview import random_baselines as baselines
from pipeline.overview.dictionary_matches import Match, summary
from pipeline.overview.pictures import baselines_picture, matches_picture
from pipeline.overview.random_baselines import Comparison, warnings
from pipeline.workspace import Workspace


def comparison(
    metric: str, better: str | None, difference: float, low: float | None, high: float | None
) -> Comparison:
    return Comparison(
        sae="lm.trained.resid_post.1/topk.s0",
        twin="random",
        metric=metric,
        better=better,
        trained=1.0 + difference,
        random=1.0,
        difference=difference,
        ci_low=low,
        ci_high=high,
        level="documents (given these seeds)",
        reason=None,
    )


def match(pair: str, there: float, back: float) -> Match:
    return Match(pair, "a", "b", there, back, 0.2, 10, 10)


def test_a_clearly_better_trained_sae_warns_of_nothing() -> None:
    better = comparison("fvu", "lower", -0.2, -0.3, -0.1)
    assert warnings([better, comparison("cosine", "higher", 0.2, 0.1, 0.3)]) == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (comparison("fvu", "lower", -0.01, -0.1, 0.1), "cannot be told from"),
        (comparison("fvu", "lower", 0.2, 0.1, 0.3), "is worse than"),
        (comparison("cosine", "higher", -0.2, -0.3, -0.1), "is worse than"),
    ],
)
def test_random_weights_that_do_as_well_are_warned_of(found: Comparison, what: str) -> None:
    (line,) = warnings([found])
    assert what in line
    assert found.metric in line


def test_a_metric_that_does_not_judge_or_has_no_interval_warns_of_nothing() -> None:
    without = [
        comparison("l0", "lower", 0.0, 0.0, 0.0),
        comparison("ce_increase_nats", "lower", 5.0, 4.0, 6.0),
        comparison("fvu", "lower", 0.0, None, None),
    ]
    assert warnings(without) == []


def test_the_summary_has_a_row_per_kind_of_pair() -> None:
    rows = summary([match("other_seed", 0.8, 0.6), match("other_seed", 1.0, 0.8), match("x", 0, 0)])
    assert [row["pair"] for row in rows] == ["other seed", "x"]
    assert rows[0]["mean MMCS"] == pytest.approx(0.8)
    assert rows[0]["lowest"] == 0.6
    assert rows[0]["random directions"] == pytest.approx(0.2)


def test_pictures_fit_the_page() -> None:
    found = [
        comparison("fvu", "lower", -0.2, -0.3, -0.1),
        comparison("l0", "neither", 1.0, 0.5, 2.0),
    ]
    for png in (
        baselines_picture(found),
        baselines_picture([]),
        matches_picture([match("other_seed", 0.8, 0.6)]),
        matches_picture([]),
    ):
        assert png.startswith(b"\x89PNG")
        width = struct.unpack(">I", png[16:20])[0]
        assert 200 < width <= 550


def test_the_queries_give_what_the_rows_hold(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    for sql, row in ((baselines.QUERY, Comparison), (dictionaries.QUERY, Match)):
        assert query(workspace, sql).column_names == [field.name for field in fields(row)]
    assert baselines.comparisons(workspace) == []
    assert dictionaries.matches(workspace) == []
