"""SAEs of drawn activations: measured where no language model is needed, else NULL with why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.measuring import DRAWN
from pipeline.harvest.gaussian import drawn_rows, write_gaussian
from pipeline.store.layout import StoreFolder
from sae_core.gaussian import Gaussian, matched_gaussian
from sae_core.metrics import metrics
from sae_core.metrics.token_metric import TokenMetric
from tests.pipeline.evaluation.scene import (
    CONTEXT,
    SITE,
    SPECIAL,
    WIDTH,
    activations,
    constant_sae,
    held_out_text,
)
from tests.pipeline.evaluation.world import World, drawn_sae


@pytest.fixture
def gaussian(world: World) -> Gaussian:
    lm = world.models["trained"]
    found = matched_gaussian([activations(lm, held_out_text(lm))])
    write_gaussian(StoreFolder(world.workspace.root / "store"), SITE, found)
    return found


def test_what_needs_the_language_model_is_null_with_its_reason(
    world: World, gaussian: Gaussian
) -> None:
    cell = world.put(world.cell("gaussian"), drawn_sae(0))
    (result,) = world.evaluate(cell)
    losses = {
        d.name
        for m in metrics().values()
        if isinstance(m, TokenMetric) and m.of == "losses"
        for d in m.definitions
    }
    assert {"ce_clean", "ce_increase_nats", "kl_nats", "compute_recovered"} <= losses
    for name in losses:
        assert (result.metrics[name].value, result.metrics[name].reason) == (None, DRAWN)
    for name in ("fvu", "l0", "token_entropy", "latents_above_10pct", "dead_eval"):
        assert result.metrics[name].value is not None
    assert world.whole_passes == []
    assert world.evaluate(cell)[0].reused
    rows = world.rows("SELECT * FROM document_sums")
    assert all(row["ce_clean"] is None and row["n_predictions"] is None for row in rows)
    assert sum(row["n_tokens"] for row in rows) > 0
    for table in ("frequency_cuts", "progressive_code"):
        for row in world.rows(f"SELECT * FROM {table}"):
            assert row["fvu"] is not None
            assert (row["ce_spliced"], row["reason"]) == (None, DRAWN)


def test_held_out_rows_are_drawn_by_their_own_numbers(world: World, gaussian: Gaussian) -> None:
    cell = world.cell("gaussian@1")
    (result,) = world.evaluate(world.put(cell, constant_sae(torch.zeros(WIDTH))))
    text = held_out_text(world.models["trained"])
    places = _packed_rows(text, 256)
    draw = drawn_rows(gaussian, cell.source.weights, SITE, context=CONTEXT)
    x = draw("held_out", places.tolist()).double()[torch.from_numpy(text.tokens[places] != SPECIAL)]
    assert result.metrics["mse"].value == pytest.approx(float(x.square().sum(1).mean()), rel=1e-6)
    assert result.metrics["mse"].n == len(x)


def _packed_rows(text: HeldOut, tokens: int) -> np.ndarray:
    """Numbers of the rows, spread evenly, of which the fewest hold so many tokens."""
    n_rows = len(text.tokens)
    spread = [np.arange(n) * n_rows // n for n in range(1, n_rows + 1)]
    return next(p for p in spread if (text.tokens[p] != SPECIAL).sum() >= tokens)


def test_a_trained_sae_is_compared_where_both_have_a_number(
    world: World, gaussian: Gaussian
) -> None:
    trained = world.put(world.cell(), drawn_sae(0))
    twin = world.put(world.cell("gaussian"), drawn_sae(0))
    world.evaluate(trained)
    world.evaluate(twin)
    rows = {row["metric"]: row for row in world.rows("SELECT * FROM comparisons")}
    assert rows["fvu"]["sae_a"] == trained.sae_id
    assert rows["fvu"]["ci_low"] <= rows["fvu"]["difference"] <= rows["fvu"]["ci_high"]
    lost = rows["ce_increase_nats"]
    assert (lost["difference"], lost["reason"]) == (None, f"b: {DRAWN}")
