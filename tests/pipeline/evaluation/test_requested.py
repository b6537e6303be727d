"""Pairs that are matched because somebody asks."""

from __future__ import annotations

import json

import pytest
import torch

from pipeline.cli.app import main
from pipeline.errors import UserError
from pipeline.evaluation.requested import match_requested
from pipeline.progress import silent
from sae_core.dictionary_match import directions_of, match_dictionaries
from tests.pipeline.evaluation.world import World, drawn_sae

NARROW, OTHER = "lm.trained.resid_post.1/narrow.s0", "lm.trained.resid_post.1/other.s0"
WIDE = "lm.trained.resid_post.1/wide.s1"


def evaluated(world: World) -> None:
    cells = [
        world.put(world.cell(recipe=recipe, seed=seed), drawn_sae(i, 48 if i == 2 else 32))
        for i, (recipe, seed) in enumerate((("narrow", 0), ("other", 0), ("wide", 1)))
    ]
    world.evaluate(*cells)


def test_two_recipes_of_one_width_are_matched_when_asked_for_and_only_once(world: World) -> None:
    evaluated(world)
    before = world.rows("SELECT * FROM metrics ORDER BY sae, metric")
    assert world.rows(f"FROM dictionary_matches WHERE sae_b = '{OTHER}'") == []
    pair, is_new = match_requested(world.workspace, OTHER, NARROW, report=silent)
    assert (pair.a.sae, pair.b.sae, is_new) == (NARROW, OTHER, True)
    (row,) = world.rows(f"FROM dictionary_matches WHERE sae_b = '{OTHER}'")
    latents = world.rows("SELECT sae, is_dead_eval FROM latents ORDER BY sae, latent")
    alive = [
        torch.tensor([not r["is_dead_eval"] for r in latents if r["sae"] == name])
        for name in (NARROW, OTHER)
    ]
    dictionaries = [directions_of(drawn_sae(i), alive[i]) for i in range(2)]
    found = match_dictionaries(*dictionaries, null_seed=0)
    assert (row["pair"], row["mmcs_ab"]) == ("requested", pytest.approx(found.mmcs_ab))
    assert row["n_common_tokens"] > 0
    both = f"FROM latent_matches WHERE '{OTHER}' IN (sae_a, sae_b)"
    assert len(world.rows(both)) == int(alive[0].sum() + alive[1].sum())
    assert {r["width_class"] for r in world.rows(both)} == {None}
    assert match_requested(world.workspace, NARROW, OTHER, report=silent)[1] is False
    # What is told of an SAE does not depend on which pairs somebody asked for.
    assert world.rows("SELECT * FROM metrics ORDER BY sae, metric") == before


def test_latents_of_a_wider_sae_of_another_seed_are_classed_too(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated(world)
    given = ["--workspace", str(world.workspace.root), "match", WIDE, NARROW]
    with pytest.raises(SystemExit, match="0"):
        main(given)
    assert f"{NARROW} (a) and {WIDE} (b): matched" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main([*given, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["pair"], told["reused"]) == ("requested", True)
    rows = world.rows("SELECT DISTINCT sae_a, sae_b FROM latent_matches WHERE width_class NOTNULL")
    assert rows == [{"sae_a": WIDE, "sae_b": NARROW}]


def test_what_cannot_be_matched_is_refused(world: World) -> None:
    evaluated(world)
    for other, told in (
        (NARROW, "given twice"),
        ("narrow", "is no id of an SAE"),
        ("lm.trained.resid_post.1/narrow.s1", "is not evaluated"),
    ):
        with pytest.raises(UserError, match=told):
            match_requested(world.workspace, NARROW, other, report=silent)
