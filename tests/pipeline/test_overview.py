"""Comparisons over many SAEs: what is warned of, what is shown."""

from __future__ import annotations

import struct
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query
from pipeline.catalog.write import write_run
from pipeline.overview import dictionary_matches as dictionaries
from pipeline.overview import latent_profiles, separation
from pipeline.overview import random_baselines as baselines
from pipeline.overview.dictionary_matches import Match, summary
from pipeline.overview.pictures import baselines_picture, histograms_picture, matches_picture
from pipeline.overview.random_baselines import Comparison, warnings
from pipeline.overview.separation import Likeness, alike, unseparated
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import match as sql_match
from tests.pipeline.catalog.rows import row, sae


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
    for sql, kind in (
        (baselines.QUERY, Comparison),
        (dictionaries.QUERY, Match),
        (latent_profiles.QUERY, latent_profiles.Profile),
        (latent_profiles.HISTOGRAMS, latent_profiles.Bin),
        (separation.QUERY, Likeness),
    ):
        assert query(workspace, sql).column_names == [field.name for field in fields(kind)]
    assert baselines.comparisons(workspace) == []
    assert dictionaries.matches(workspace) == []
    assert latent_profiles.profiles(workspace) == []
    assert latent_profiles.histograms(workspace) == []
    assert separation.likenesses(workspace) == []


def test_a_metric_that_cannot_tell_is_named_with_how_many_pairs() -> None:
    found = [
        comparison("l0", "neither", 0.1, -0.2, 0.3),
        comparison("l0", "neither", 0.5, 0.4, 0.6),
        comparison("latents_above_10pct", "lower", -0.2, -0.3, -0.1),
        comparison("token_entropy", "neither", 0.2, None, None),
        comparison("cosine", "higher", 0.0, -0.1, 0.1),
    ]
    (line,) = unseparated(found)
    assert line.startswith("l0 does not tell trained from random weights in 1 of 2 pairs")


def test_an_equal_l0_is_what_the_recipe_says_and_other_equal_values_are_warned_of() -> None:
    assert unseparated([comparison("l0", "neither", 0.0, 0.0, 0.0)]) == []
    (line,) = unseparated([comparison("single_token_latents", "lower", 0.0, 0.0, 0.0)] * 5)
    assert line.startswith("single_token_latents does not tell trained from random weights in 5 of")


@pytest.mark.parametrize(("twin", "warned"), [(0.3, False), (0.6, True), (None, False)])
def test_dictionaries_as_like_their_twins_as_like_other_seeds_are_warned_of(
    twin: float | None, warned: bool
) -> None:
    lines = alike([Likeness("lm.mlp_out.1/t", "random", 0.7, 0.6, twin, twin)])
    assert len(lines) == warned


def test_likeness_is_of_seeds_and_twins_of_one_recipe(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    a, b, twin = (
        f"m.{w}.resid_post.0/t.s{s}" for w, s in (("trained", 0), ("trained", 1), ("random@1", 0))
    )
    rows = {
        "saes": [sae(a), sae(b), sae(twin)],
        "dictionary_matches": [
            sql_match(a, b, 0.8),
            sql_match(a, twin, 0.3, pair="other_weights", mmcs_ba=0.5),
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    assert separation.likenesses(workspace) == [
        Likeness("m.resid_post.0/t", "random", 0.8, 0.8, 0.4, 0.4)
    ]


def test_histograms_of_seeds_are_averaged_and_drawn(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    names = [f"m.{w}.resid_post.0/t.s{s}" for w in ("trained", "random") for s in (0, 1)]
    rows = {
        "saes": [sae(name) for name in names],
        "latents": [
            row(
                "latents",
                sae=name,
                sae_hash="h",
                latent=i,
                n_fires=20 * (i + 1),
                firing_frequency=0.02 * (i + 1),
                token_entropy=1.0 + i,
                top_token_share=0.95,
            )
            for name in names
            for i in range(3 if name.endswith("s0") else 1)
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    bins = latent_profiles.histograms(workspace)
    for weights in ("trained", "random"):
        mine = [b for b in bins if b.weights == weights and b.quantity == "token_entropy"]
        assert [b.low for b in mine] == [1.0, 2.0, 3.0]
        assert [b.share for b in mine] == pytest.approx([(1 / 3 + 1) / 2, 1 / 6, 1 / 6])
    profiles = latent_profiles.profiles(workspace)
    assert [(p.weights, p.n_saes, p.single_token_share) for p in profiles] == [
        ("trained", 2, 1.0),
        ("random", 2, 1.0),
    ]
    for quantity in ("firing_frequency", "token_entropy"):
        for found in (bins, []):
            assert histograms_picture(found, quantity).startswith(b"\x89PNG")
