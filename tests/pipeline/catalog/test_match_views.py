"""Views over matches: stability between seeds, and classes between widths."""

from __future__ import annotations

import pytest

from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import A, B, R, ask, match, row, sae


def test_seed_stability_counts_a_pair_once_whichever_way_it_is_written(
    workspace: Workspace,
) -> None:
    third = "m.trained.resid_post.0/t.s2"
    matches = [
        match(A, B, 0.8),
        match(B, A, 0.8),
        match(A, third, 0.4),
        match(A, R, 0.1, pair="other_weights"),
    ]
    rows = {"saes": [sae(A), sae(B), sae(third), sae(R)], "dictionary_matches": matches}
    write_run(workspace, "r1", rows, kind="x")
    (found,) = ask(workspace, "FROM seed_stability")
    assert (found["recipe"], found["n_pairs"]) == ("t", 2)
    assert found["mean_mmcs"] == pytest.approx(0.6)
    assert found["min_mmcs"] == 0.4
    assert (found["n_seeds"], found["mmcs_ci_low"], found["shared_70_ci_high"]) == (3, None, None)
    assert found["reason"] == "some pairs of seeds are not matched yet"


def test_the_interval_of_seed_stability_leaves_out_a_seed_with_all_its_pairs(
    workspace: Workspace,
) -> None:
    third = "m.trained.resid_post.0/t.s2"
    matches = [match(A, B, 0.8), match(A, third, 0.4), match(B, third, 0.6)]
    rows = {"saes": [sae(A), sae(B), sae(third)], "dictionary_matches": matches}
    write_run(workspace, "r1", rows, kind="x")
    (found,) = ask(workspace, "FROM seed_stability")
    # Means without A, without B, without the third: 0.6, 0.4, 0.8; t with 2 degrees: 4.303.
    half = 4.303 * (2 / 3 * (0.0**2 + 0.2**2 + 0.2**2)) ** 0.5
    assert found["mmcs_ci_low"] == pytest.approx(0.6 - half)
    assert found["mmcs_ci_high"] == pytest.approx(0.6 + half)
    assert found["reason"] is None


def test_two_seeds_have_no_interval_and_say_why(workspace: Workspace) -> None:
    rows = {"saes": [sae(A), sae(B)], "dictionary_matches": [match(A, B, 0.8)]}
    write_run(workspace, "r1", rows, kind="x")
    (found,) = ask(workspace, "FROM seed_stability")
    assert (found["n_seeds"], found["mean_mmcs"], found["mmcs_ci_low"]) == (2, 0.8, None)
    assert "takes 3" in found["reason"]


def test_a_latents_stability_is_over_the_other_seeds_of_its_recipe(workspace: Workspace) -> None:
    third, other = "m.trained.resid_post.0/t.s2", "m.trained.resid_post.0/u.s0"

    def found(b: str, latent: int, cosine: float, partner: float | None) -> dict[str, object]:
        return row(
            "latent_matches",
            sae_a=A,
            sae_a_hash="h",
            latent_a=latent,
            sae_b=b,
            sae_b_hash="h",
            latent_b=0,
            cosine=cosine,
            encoder_cosine=cosine / 2,
            partner_cosine=partner,
        )

    matches = [
        found(B, 0, 0.9, 0.9),
        found(third, 0, 0.8, 0.5),
        found(B, 1, 0.2, None),
        found(other, 0, 1.0, 1.0),
        found(R, 0, 1.0, 1.0),
    ]
    latent = row("latents", sae=A, sae_hash="h", latent=0, firing_frequency=0.1, token_entropy=2.0)
    saes = [sae(name) for name in (A, B, third, other, R)]
    rows = {"saes": saes, "latents": [latent], "latent_matches": matches}
    write_run(workspace, "r1", rows, kind="x")
    first, second = ask(workspace, "FROM latent_stability ORDER BY latent")
    assert (first["n_seeds"], first["found_by"], first["min_cosine"]) == (2, 0.5, 0.8)
    assert first["mean_cosine"] == pytest.approx(0.85)
    assert first["mean_encoder_cosine"] == pytest.approx(0.425)
    assert (first["firing_frequency"], first["token_entropy"]) == (0.1, 2.0)
    assert (second["n_seeds"], second["found_by"], second["firing_frequency"]) == (1, 0.0, None)


def test_latents_of_a_wider_dictionary_have_a_class_and_its_evidence(workspace: Workspace) -> None:
    wide = "m.trained.resid_post.0/w.s0"
    pair = {"sae_a": wide, "sae_a_hash": "h", "sae_b": A, "sae_b_hash": "h"}
    told = ["shared", "split", "absorbed", None]
    matches = [
        row("latent_matches", **pair, latent_a=i, latent_b=7, cosine=0.5, width_class=one, rival=i)
        for i, one in enumerate(told)
    ]
    back = {"sae_a": A, "sae_a_hash": "h", "sae_b": wide, "sae_b_hash": "h"}
    matches.append(row("latent_matches", **back, latent_a=0, latent_b=0, cosine=0.95))
    saes = [sae(A, n_latents=8), sae(wide, n_latents=16)]
    write_run(workspace, "r1", {"saes": saes, "latent_matches": matches}, kind="x")
    found = ask(workspace, "FROM width_classes ORDER BY latent")
    assert [one["class"] for one in found] == told
    assert {(one["sae_narrow"], one["sae_wide"], one["best_latent"]) for one in found} == {
        (A, wide, 7)
    }
    assert [one["rival"] for one in found] == [0, 1, 2, 3]
