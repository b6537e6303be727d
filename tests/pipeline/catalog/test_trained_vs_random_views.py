"""Trained beside random: single numbers, and latents as populations."""

from __future__ import annotations

import pytest

from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import A, B, R, ask, metric, row, sae


def test_trained_beside_random_shows_both_values(workspace: Workspace) -> None:
    comparison = row(
        "comparisons",
        sae_a=A,
        sae_a_hash="h",
        sae_b=R,
        sae_b_hash="h",
        metric="fvu",
        difference=-0.5,
    )
    rows = {
        "saes": [sae(A), sae(R)],
        "metrics": [metric(A, "fvu", 0.25), metric(R, "fvu", 0.75)],
        "comparisons": [comparison, comparison | {"sae_b_hash": "gone"}],
    }
    write_run(workspace, "r1", rows, kind="x")
    (found,) = ask(workspace, "FROM trained_vs_random")
    assert (found["trained"], found["random"], found["difference"]) == (0.25, 0.75, -0.5)
    assert (found["trained_weights"], found["random_weights"]) == ("trained", "random")


def test_trained_beside_random_has_all_seeds_together(workspace: Workspace) -> None:
    """Trained 1 and 3; random@0 10, random@1 20 and 40: each weights seed counts alike."""
    site = "resid_post.0"
    values = {
        A: 1.0,
        B: 3.0,
        R: 10.0,
        f"m.random@1.{site}/t.s0": 20.0,
        f"m.random@1.{site}/t.s1": 40.0,
    }
    group = f"m.trained.{site}/t.s*"
    rows = {
        "saes": [sae(name) for name in values],
        "metrics": [metric(name, "fvu", value) for name, value in values.items()],
        "comparisons": [
            row("comparisons", sae_a=group, sae_b=f"m.{of}.{site}/t.s*", metric="fvu", level="all")
            for of in ("random@1", "random@*")
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    found = ask(workspace, "FROM trained_vs_random ORDER BY random_weights")
    assert [(one["trained"], one["random"], one["random_weights"]) for one in found] == [
        (2.0, 20.0, "random@*"),
        (2.0, 30.0, "random@1"),
    ]
    assert {(one["seed"], one["recipe"], one["site"], one["layer"]) for one in found} == {
        (None, "t", site, 0)
    }
    assert {one["sae_trained"] for one in found} == {group}


def latents(name: str, *told: tuple[int, float | None, float | None]) -> list[dict[str, object]]:
    """Rows of `latents` over 1,000 tokens: fires, token entropy and share of the top token."""
    return [
        row(
            "latents",
            sae=name,
            sae_hash="h",
            latent=i,
            n_fires=fires,
            firing_frequency=fires / 1000,
            token_entropy=entropy,
            top_token_share=share,
        )
        for i, (fires, entropy, share) in enumerate(told)
    ]


def test_latents_stand_beside_their_twins_as_populations(workspace: Workspace) -> None:
    rows = {
        "saes": [sae(A), sae(B), sae(R)],
        "latents": [
            # Dead; too rare for its tokens to count; of one token; dense.
            *latents(A, (0, None, None), (2, 0.0, 1.0), (20, 0.3, 0.95), (101, 2.1, 0.2)),
            *latents(B, (100, 1.0, 0.5)),
            *latents(R, (500, 3.0, 0.1), (400, 3.2, 0.1)),
        ],
    }
    write_run(workspace, "r1", rows, kind="x")
    (pair,) = ask(workspace, "FROM latents_vs_random")
    assert (pair["sae_trained"], pair["sae_random"], pair["random_weights"]) == (A, R, "random")
    assert (pair["trained_n_latents"], pair["random_n_latents"]) == (4, 2)
    assert (pair["trained_alive_share"], pair["random_alive_share"]) == (0.75, 1.0)
    assert (pair["trained_above_1pct"], pair["trained_above_10pct"]) == (0.5, 0.25)
    assert (pair["random_above_1pct"], pair["random_above_10pct"]) == (1.0, 1.0)
    assert pair["trained_frequency_median"] == 0.02
    assert pair["trained_single_token_share"] == 0.5
    assert pair["trained_entropy_mean"] == pytest.approx(1.2)
    assert pair["random_entropy_mean"] == pytest.approx(3.1)
    # Exactly 10 % of the tokens is not more than 10 %.
    assert ask(workspace, f"SELECT above_10pct FROM latent_profiles WHERE sae = '{B}'") == [
        {"above_10pct": 0.0}
    ]


def test_histograms_hold_every_living_latent_once(workspace: Workspace) -> None:
    rows = {
        "saes": [sae(A)],
        "latents": latents(A, (0, None, None), (2, 0.0, 1.0), (20, 0.3, 0.9), (1000, 2.1, 0.2)),
    }
    write_run(workspace, "r1", rows, kind="x")
    found = ask(
        workspace,
        "SELECT quantity, low, high, n_in_bin, share FROM latent_histograms ORDER BY quantity, low",
    )
    assert [tuple(one.values()) for one in found] == [
        ("firing_frequency", -2.75, -2.5, 1, 0.25),
        ("firing_frequency", -1.75, -1.5, 1, 0.25),
        ("firing_frequency", 0.0, 0.25, 1, 0.25),
        ("token_entropy", 0.0, 0.5, 1, 0.25),
        ("token_entropy", 2.0, 2.5, 1, 0.25),
    ]


def test_the_views_count_latents_as_the_metrics_do() -> None:
    from pipeline.catalog import baseline_summaries
    from sae_core.metrics import token_statistics

    assert baseline_summaries.MIN_FIRES == token_statistics.MIN_FIRES
    assert baseline_summaries.SINGLE == token_statistics.SINGLE
