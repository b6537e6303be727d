"""A mixture of experts beside dense SAEs, all put there by hand."""

from __future__ import annotations

import pytest
import torch

from pipeline.overview.expert_geometry import expert_geometry
from sae_core.architectures import build, config_class
from sae_core.sae import Sae
from tests.pipeline.evaluation.scene import WIDTH, identity_sae
from tests.pipeline.evaluation.world import World, drawn_sae

EYE = torch.eye(WIDTH)


def mixture() -> Sae:
    """An always-on expert and three routed ones: expert j looks along e_j, its router row too.

    Directions: every expert has e_0, the second latent of each is an axis of its own, and the other
    six are the rest of the axes, which experts share.
    """
    config = config_class("switch")(
        n_latents=32, n_experts=4, k=2, tokens=1000, always_on=True, balance_weight=0
    )
    sae = build(config, width=WIDTH)
    blocks = [torch.stack([EYE[0], EYE[1 + j], *EYE[10:16]]) for j in range(4)]
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat(blocks))
        sae.W_enc.copy_(EYE[:4].repeat_interleave(8, 0))
        sae.W_router.copy_(3 * EYE[1:4])
    return sae


def dense() -> Sae:
    """x̂ = x, with an encoder that is longest along e_1, e_2 and e_5."""
    sae = identity_sae()
    with torch.no_grad():
        for axis in (1, 2, 5):
            for row in (axis, WIDTH + axis):
                sae.W_enc[row] *= 2
                sae.W_dec[row] /= 2
    return sae


@pytest.mark.parametrize("first", ["mixture", "narrow"])
def test_whichever_is_evaluated_later_makes_the_row(world: World, first: str) -> None:
    saes = {"mixture": mixture(), "narrow": dense()}
    other = next(name for name in saes if name != first)
    for recipe in (first, other):
        assert world.rows("SELECT * FROM expert_geometry") == []
        world.evaluate(world.put(world.cell(recipe=recipe), saes[recipe]))
    (row,) = world.rows("SELECT * FROM expert_geometry")
    assert row["sae_experts"].endswith("/mixture.s0")
    assert row["sae_dense"].endswith("/narrow.s0")
    assert (row["n_experts"], row["n_routed"]) == (4, 3)
    assert row["duplicates_across_experts"] == pytest.approx(28 / 32)
    assert row["cosine_across_experts"] == pytest.approx(28 / 32)
    assert (row["duplicates_in_dense"], row["cosine_in_dense"]) == (0, 0)
    assert row["router_own_cosine"] == pytest.approx(1.0)
    assert row["router_other_cosine"] == pytest.approx(0.0)
    assert row["router_in_down_projection"] == pytest.approx(2 / 3)
    assert row["router_in_down_projection_chance"] == pytest.approx(3 / WIDTH)
    assert 0 < row["code_cka"] < 1
    assert row["code_cka_shuffled"] < row["code_cka"]
    assert 20 < row["n_common_tokens"] < 256 / 2
    assert row["reason"] is None
    (shown,) = expert_geometry(world.workspace)
    assert shown.items() <= row.items()


def test_pairs_are_of_one_source_and_seed_and_of_experts_with_none(world: World) -> None:
    cells = [
        world.put(world.cell(recipe="mixture"), mixture()),
        world.put(world.cell(recipe="narrow"), drawn_sae(0)),
        world.put(world.cell(recipe="wide"), drawn_sae(1, 48)),
        world.put(world.cell(recipe="narrow", seed=1), drawn_sae(2)),
    ]
    world.evaluate(*cells)
    world.evaluate(world.put(world.cell("random", recipe="mixture"), mixture()))
    found = world.rows("SELECT sae_experts, sae_dense FROM expert_geometry ORDER BY sae_dense")
    assert [row["sae_dense"].split("/")[1] for row in found] == ["narrow.s0", "wide.s0"]
    assert {row["sae_experts"] for row in found} == {cells[0].sae_id}
    assert len(world.rows("SELECT * FROM dictionary_matches WHERE sae_a LIKE '%mixture%'")) >= 1
