from __future__ import annotations

import numpy as np
import pytest
import torch

from sae_core.architectures import build, config_class
from sae_core.code import SparseCode
from sae_core.metrics.frequency_cuts import STATED
from sae_core.metrics.latent_examples import AFTER, BEFORE
from tests.pipeline.evaluation.scene import (
    SPECIAL,
    WIDTH,
    activations,
    constant_sae,
    identity_sae,
    numbers_of,
    swept,
)
from tests.pipeline.evaluation.world import World, drawn_sae


@pytest.fixture
def sae():
    """Half of its latents fire; the bias lets some fire far more often than others."""
    sae = drawn_sae(0)
    with torch.no_grad():
        sae.b_enc.copy_(torch.linspace(-0.6, 0.1, 32))
        sae.b_dec.copy_(torch.linspace(-0.2, 0.2, 16))
    return sae


def test_the_whole_code_costs_on_the_curves_what_it_costs_in_the_sweep(lm, held_out, sae) -> None:
    tables = swept(lm, held_out, sae)[0]
    spliced = numbers_of(tables)["ce_spliced"]
    cuts, prefixes = tables.tallies["frequency_cuts"], tables.tallies["progressive_code"]
    last = str(max(int(name.split("/")[1]) for name in prefixes if name.startswith("losses/")))
    for table in (cuts["losses/1.0"], prefixes[f"losses/{last}"]):
        n, clean, with_sae, zero = table.sum(0)
        assert n == spliced.n
        assert with_sae / n == pytest.approx(spliced.value, rel=1e-6)
        assert clean / n == pytest.approx(numbers_of(tables)["ce_clean"].value, rel=1e-6)
        assert zero / n == pytest.approx(numbers_of(tables)["ce_zero"].value, rel=1e-6)


def test_a_cut_costs_what_an_sae_without_the_latents_costs(lm, held_out, sae) -> None:
    tables = swept(lm, held_out, sae)[0]
    frequency = tables.tallies["frequency_cuts"]["frequency"]
    tau = 0.2
    assert 5 < (frequency > tau).sum() < 27

    def encode(x: torch.Tensor, whole=sae.encode) -> SparseCode:
        code = whole(x)
        dropped = torch.from_numpy(frequency > tau)[code.indices]
        return code._replace(values=code.values.masked_fill(dropped, 0.0))

    sae.encode = encode  # type: ignore[method-assign]
    found = numbers_of(swept(lm, held_out, sae)[0])
    cut = tables.tallies["frequency_cuts"]
    table = cut[f"losses/{tau}"].sum(0)
    assert table[2] / table[0] == pytest.approx(found["ce_spliced"].value, rel=1e-6)
    error, l0 = cut["documents"][STATED.index(tau)].sum(0)
    assert l0 / cut["n_tokens"] == found["l0"].value
    variance = _variance(lm, held_out)
    assert error / variance == pytest.approx(found["fvu"].value, rel=1e-5)


def _variance(lm, held_out) -> float:
    x = activations(lm, held_out)
    return float((x - x.mean(0)).square().sum())


def test_losses_on_curves_are_measured_on_a_part_spread_over_the_rows(lm, held_out, sae) -> None:
    part = swept(lm, held_out, sae, curve_tokens=100)[0].tallies["frequency_cuts"]
    rows = held_out.thinned(100)
    assert len(rows.tokens) == 4  # every third of 12 rows of 32 tokens
    plain = rows.tokens != SPECIAL
    together = plain[:, :-1] & plain[:, 1:]
    same = rows.document_index[:, :-1] == rows.document_index[:, 1:]
    assert part["losses/1.0"][:, 0].sum() == (together & same).sum()
    whole = swept(lm, held_out, sae)[0].tallies["frequency_cuts"]
    assert np.array_equal(part["steps"], whole["steps"])


def test_the_batches_do_not_matter(lm, held_out, sae) -> None:
    one, other = (
        swept(lm, held_out, sae, curve_tokens=150, batch_rows=rows)[0].tallies for rows in (3, 12)
    )
    context = held_out.tokens.shape[1]
    for metric, arrays in one.items():
        assert arrays.keys() == other[metric].keys()
        for name, array in arrays.items():
            of = np.ones_like(array, dtype=bool)
            if name.endswith("_window"):  # beyond the row of text a batch may hold other rows
                places = arrays[name.replace("window", "place")][..., None]
                of = (places + np.arange(-BEFORE, AFTER + 1)) // context == places // context
            alike = np.isclose(
                array, other[metric][name], rtol=1e-4, atol=1e-4, equal_nan=name.endswith("_window")
            )
            assert alike[of].all(), (metric, name)


def test_a_silent_sae_has_curves_of_one_point(lm, held_out) -> None:
    tallies = swept(lm, held_out, constant_sae(torch.zeros(16)))[0].tallies
    assert tallies["progressive_code"]["errors"].shape[1] == 1
    assert not any(name.startswith("losses/") for name in tallies["progressive_code"])


def test_curves_become_rows(world: World) -> None:
    cell = world.put(world.cell(), identity_sae())
    (result,) = world.evaluate(cell)
    rows = world.rows("SELECT * FROM progressive_code ORDER BY k")
    assert [row["k"] for row in rows] == list(range(17))
    assert rows[-1]["fvu"] == pytest.approx(0, abs=1e-12)
    assert rows[-1]["l0"] == result.metrics["l0"].value
    errors = [row["fvu"] for row in rows]
    assert errors == sorted(errors, reverse=True)
    assert rows[4]["fvu_ci_low"] < rows[4]["fvu"] < rows[4]["fvu_ci_high"]
    with_loss = [row["k"] for row in rows if row["ce_spliced"] is not None]
    assert with_loss == [1, 2, 4, 8, 16]
    assert rows[16]["loss_recovered_zero"] == pytest.approx(1.0)
    assert rows[16]["ce_increase_nats"] == pytest.approx(0.0, abs=1e-6)

    cuts = world.rows("SELECT * FROM frequency_cuts WHERE is_stated ORDER BY tau DESC")
    assert [cut["tau"] for cut in cuts] == list(STATED)
    assert (cuts[0]["n_dropped"], cuts[0]["l0"]) == (0, result.metrics["l0"].value)
    assert cuts[0]["fvu"] == pytest.approx(0, abs=1e-12)
    assert cuts[-1]["n_dropped"] == 32  # every latent fires on about half of the tokens
    assert cuts[-1]["l0"] == 0
    assert cuts[-1]["loss_recovered_zero"] == pytest.approx(0, abs=1e-6)
    every = world.rows("SELECT * FROM frequency_cuts WHERE NOT is_stated ORDER BY tau")
    assert (every[0]["n_dropped"], every[-1]["n_dropped"]) == (32, 0)
    assert all(row["fvu_ci_low"] is None and row["ce_spliced"] is None for row in every)


def test_examples_become_rows_with_their_text(world: World) -> None:
    (result,) = world.evaluate(world.put(world.cell(), drawn_sae(0)))
    rows = world.rows("SELECT * FROM latent_examples ORDER BY latent, kind, rank")
    latents = {row["latent"]: row for row in world.rows("SELECT * FROM latents")}
    assert {row["latent"] for row in rows} == {i for i, row in latents.items() if row["n_fires"]}
    for row in rows:
        assert 1 <= len(row["token_ids"]) <= 17
        assert row["token"] in row["text"]
        assert row["n_searched"] == result.metrics["fvu"].n
        assert row["token_ids"][row["offset"]] != SPECIAL
        assert row["text"][row["starts"][row["offset"]] :].startswith(row["token"])
        assert len(row["starts"]) == len(row["activations"]) == len(row["token_ids"])
        assert row["activations"][row["offset"]] == row["activation"]
        shown = zip(row["activations"], row["token_ids"], strict=True)
        assert all((value is None) == (token == SPECIAL) for value, token in shown)
        strongest = latents[row["latent"]]["max_activation"]
        if (row["kind"], row["rank"]) == ("top", 0):
            assert row["activation"] == pytest.approx(strongest)
        assert row["activation"] <= strongest * (1 + 1e-6)
    for latent in latents.values():
        assert sum(latent["activation_counts"] or []) == latent["n_fires"]
        if latent["n_fires"]:
            ends = 2 ** (len(latent["activation_counts"]) / 2) * latent["activation_from"]
            assert latent["activation_from"] <= latent["mean_activation"]
            assert ends / 2**0.5 <= latent["max_activation"] * (1 + 1e-6)
            assert latent["max_activation"] < ends * (1 + 1e-6)
    fires = latents[0]["n_fires"]
    assert len([r for r in rows if r["latent"] == 0 and r["kind"] == "top"]) == min(5, fires)


def test_latents_know_their_tokens_and_their_neighbours(world: World) -> None:
    world.evaluate(world.put(world.cell(), identity_sae()))
    rows = world.rows("SELECT * FROM latents ORDER BY latent")
    assert all(row["min_cosine"] == pytest.approx(-1) for row in rows)
    assert [row["opposing_latent"] for row in rows] == [(i + 16) % 32 for i in range(32)]
    assert all(row["max_cosine"] == pytest.approx(0, abs=1e-6) for row in rows)
    assert all(0 < row["top_token_share"] <= 1 for row in rows if row["n_fires"])
    opposing = world.rows("SELECT value FROM metrics WHERE metric = 'opposing_pairs_90'")
    assert opposing == [{"value": 16.0}]


def test_a_switch_sae_tells_how_many_directions_its_experts_share(world: World) -> None:
    settings = {"n_latents": 32, "tokens": 1000, "k": 4, "n_experts": 4}
    sae = build(config_class("switch")(**settings), width=WIDTH)
    own = torch.eye(WIDTH)
    with torch.no_grad():
        sae.W_dec.copy_(torch.cat([own[:8], own[:8], own[:8], own[8:16]]))
    world.evaluate(world.put(world.cell(), sae))
    found = world.rows("SELECT value FROM metrics WHERE metric LIKE '%across_experts'")
    assert [row["value"] for row in found] == pytest.approx([0.75, 0.75])
