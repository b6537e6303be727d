"""Pairs of SAEs put there by hand: firing together, classes between widths, stitching."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from pipeline.evaluation.matches import match
from pipeline.evaluation.neighbours import Neighbours
from sae_core.dictionary_match import Directions
from sae_core.firing_together import CodeSample
from sae_core.sae import Sae
from tests.pipeline.evaluation.scene import WIDTH, empty_sae
from tests.pipeline.evaluation.world import World, drawn_sae


def sample(dense: np.ndarray) -> CodeSample:
    rows, latents = np.nonzero(dense)
    return CodeSample(np.arange(len(dense)), rows, latents, dense[rows, latents], dense.shape[1])


def directions(rows: torch.Tensor) -> Directions:
    return Directions(normalize(rows), normalize(rows), torch.ones(len(rows), dtype=torch.bool))


def test_a_child_that_swallows_its_parent_is_absorbed_with_its_evidence():
    """Narrow: parent e0 and e1. Wide: parent silent where the child e0 + e2 fires; e1; novel e3."""
    eye = torch.eye(4)
    narrow, wide = eye[:2], torch.stack([eye[0], eye[0] + eye[2], eye[1], eye[3]])
    draw = np.random.default_rng(0)
    parent, child = np.ones(400), draw.random(400) < 0.2
    other, novel = draw.random(400) < 0.5, draw.random(400) < 0.5
    parent[:100] = 0
    child &= parent > 0
    codes = {
        "narrow": sample(np.c_[parent, other].astype(float)),
        "wide": sample(np.c_[parent * ~child, child, other, novel].astype(float)),
    }
    sides = {name: SimpleNamespace(sae=name, sae_hash=name) for name in codes}
    rows = {"narrow": directions(narrow), "wide": directions(wide)}
    found = match(
        Neighbours("other_width", sides["narrow"], sides["wide"]),
        lambda one: rows[one.sae],
        lambda one: codes[one.sae],
    )
    there, back = (table.to_pylist() for table in found.latent_rows())
    assert [row["width_class"] for row in there] == [None, None]
    assert [row["width_class"] for row in back] == ["shared", "absorbed", "shared", "novel"]
    swallowed = back[1]
    assert (swallowed["rival"], swallowed["rival_cosine"]) == (0, pytest.approx(1.0))
    assert (swallowed["fires_with_best"], swallowed["fires_with_rival"]) == (1.0, 0.0)
    assert swallowed["n_fires_common"] == child.sum()
    assert back[2]["activation_correlation"] == pytest.approx(1.0)
    assert back[0]["rival"] is None
    assert found.row["n_common_tokens"] == 400
    assert 0 < found.row["activation_correlation_ab"] < 1


def test_without_samples_firing_is_unknown_and_directions_still_match():
    eye = directions(torch.eye(4))
    sides = [SimpleNamespace(sae=name, sae_hash=name) for name in "ab"]
    found = match(Neighbours("other_seed", *sides), lambda _: eye, lambda _: None)
    assert found.row["mmcs_ab"] == pytest.approx(1.0)
    assert found.row["n_common_tokens"] is None
    rows = [row for table in found.latent_rows() for row in table.to_pylist()]
    assert {row["activation_correlation"] for row in rows} == {None}
    assert {row["n_fires_common"] for row in rows} == {None}


def test_a_permuted_seed_fires_together_with_its_match(world: World) -> None:
    sae, permuted = drawn_sae(0), drawn_sae(0)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        permuted.W_enc.copy_(sae.W_enc[order])
        permuted.W_dec.copy_(sae.W_dec[order])
    cells = [world.put(world.cell(seed=i), one) for i, one in enumerate((sae, permuted))]
    (result, _) = world.evaluate(*cells)
    name = "activation_correlation_other_seed"
    assert result.metrics[name].value == pytest.approx(1.0)
    assert world.evaluate(cells[1])[0].metrics[name].value == pytest.approx(1.0)
    (row,) = world.rows("SELECT * FROM dictionary_matches")
    assert row["activation_correlation_ab"] == pytest.approx(1.0)
    assert 20 < row["n_common_tokens"] < 256 / 2


def axes(n_latents: int, n_axes: int) -> Sae:
    """x̂ = x in the first axes, bit for bit: one latent per direction ±e_i; the others are dead."""
    sae = empty_sae(n_latents, WIDTH)
    eye = torch.eye(WIDTH)[:n_axes]
    with torch.no_grad():
        sae.b_enc.fill_(-1.0)
        for weight in (sae.W_enc, sae.W_dec):
            weight[:] = torch.ones(WIDTH)
            weight[: 2 * n_axes] = torch.cat([eye, -eye])
        sae.b_enc[: 2 * n_axes] = 0.0
        sae.W_enc[2 * n_axes :] = 0.0
    return sae


def test_novel_latents_help_a_narrow_sae_and_those_that_it_has_do_not(world: World) -> None:
    """The narrow SAE sees half of the axes, the wide one all: together with the novel x̂ = x."""
    saes = {"narrow": axes(32, WIDTH // 2), "wide": axes(48, WIDTH)}
    narrow, _ = world.evaluate(*(world.put(world.cell(recipe=n), s) for n, s in saes.items()))
    classes = world.rows(
        "SELECT width_class, count(*) AS n FROM latent_matches WHERE sae_a LIKE '%/wide.s0' "
        "GROUP BY width_class"
    )
    found = {row["width_class"]: row["n"] for row in classes}
    assert found == {"shared": WIDTH, "novel": WIDTH}
    rows = {row["added"]: row for row in world.rows("SELECT * FROM stitching")}
    alone, novel, again = rows["nothing"], rows["novel"], rows["reconstruction"]
    assert alone["fvu"] == pytest.approx(narrow.metrics["fvu"].value, rel=1e-6)
    cost = narrow.metrics["ce_increase_nats"].value
    assert alone["ce_increase_nats"] == pytest.approx(cost, rel=1e-6)
    assert (alone["n_tokens"], alone["n_added"]) == (narrow.metrics["fvu"].n, 0)
    assert (alone["fvu_change"], alone["ce_change"]) == (0.0, 0.0)
    assert (novel["n_added"], novel["fvu"], novel["ce_increase_nats"]) == (WIDTH, 0.0, 0.0)
    assert novel["fvu_change_ci_low"] < novel["fvu_change"] < novel["fvu_change_ci_high"] < 0
    assert novel["ce_change"] == pytest.approx(-cost, rel=1e-6)
    assert novel["ce_change_ci_low"] <= novel["ce_change"] <= novel["ce_change_ci_high"] < 0
    assert again["n_added"] == WIDTH
    assert again["fvu_change_ci_low"] > 0.2
    assert again["ce_change"] == pytest.approx(again["ce_increase_nats"] - cost, rel=1e-6)
    assert again["ce_change"] > novel["ce_change_ci_high"]
    assert rows["absorbed"]["fvu"] is None
    assert rows["absorbed"]["reason"] == "no latent is of this class"
