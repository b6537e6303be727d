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
