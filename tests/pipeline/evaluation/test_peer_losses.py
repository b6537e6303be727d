"""Loss recovered in other packages' definitions: against slow forwards, and as they told it.

RECORDED: sae-lens 6.54.12, sae-bench 0.6.0 and 0.1.0 (get_downstream_reconstruction_metrics on the
HookedProxyLM of their SAELens), dictionary-learning 0.1.0 (loss_recovered), eai-sparsify 1.3.3's
trainer's loss, on the tiny model and the SAE of this file, with torch 2.13.0; recorded on
2026-11-24 and 25 by `make test-peers`, which runs them again.
"""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.splice import next_token_loss, spliced_losses
from sae_core.metrics.token_metric import Setting
from sae_core.sae import Sae
from tests.pipeline.evaluation.scene import (
    SITE,
    SPECIAL,
    VOCABULARY,
    WIDTH,
    held_out_text,
    identity_sae,
    numbers_of,
    swept,
    tiny_lm,
)

NAMES = (
    "ce_score_sae_lens",
    "ce_score_sae_bench",
    "frac_recovered_dictionary_learning",
    "ce_sparsify",
)
RECORDED = {
    "ce_score_sae_lens": 0.695995503353273,
    "ce_score_sae_bench": 0.697923264987084,
    "frac_recovered_dictionary_learning": 0.742112517356873,
    "ce_sparsify": 3.57368540763855,
}


def drawn_sae() -> Sae:
    """The identity with thresholds and a noisy decoder: splicing it in costs something."""
    sae, draw = identity_sae(), torch.Generator().manual_seed(3)
    with torch.no_grad():
        sae.W_dec.mul_(0.9).add_(torch.randn(2 * WIDTH, WIDTH, generator=draw) * 0.1)
        sae.b_enc.sub_(torch.rand(2 * WIDTH, generator=draw) * 0.2)
    return sae


def scores(tables: DocumentTables) -> dict[str, float | None]:
    """The numbers of this file's metric."""
    found = numbers_of(tables)
    return {name: found[name].value for name in NAMES}


def slowly(lm, text, sae: Sae) -> dict[str, float]:
    """The same from whole forward passes and loops over predictions."""
    tokens = torch.from_numpy(text.tokens).long()
    special = tokens == SPECIAL
    nowhere = torch.zeros_like(special)

    def losses(edit, keep) -> torch.Tensor:
        logits = spliced_losses(lm, tokens, SITE, edit, keep)
        return next_token_loss(logits, tokens).double()

    def spliced(x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1])
        return sae.reconstruct(flat, sae.encode(flat)).view_as(x)

    clean = losses(lambda x: x, nowhere)
    kept, everywhere = losses(spliced, special), losses(spliced, nowhere)
    zero = losses(torch.zeros_like, nowhere)
    sums = {name: [0.0, 0.0, 0.0, 0] for name in NAMES}
    for row in range(len(tokens)):
        for at in range(tokens.shape[1] - 1):
            told = {"ce_sparsify": everywhere}
            if not special[row, at + 1]:
                told["frac_recovered_dictionary_learning"] = everywhere
            if not special[row, at]:
                told |= {"ce_score_sae_lens": kept, "ce_score_sae_bench": everywhere}
            for name, loss in told.items():
                for place, one in enumerate((clean, loss, zero)):
                    sums[name][place] += float(one[row, at])
                sums[name][3] += 1
    found = {name: (z - s) / (z - c) for name, (c, s, z, _) in sums.items()}
    found["ce_sparsify"] = sums["ce_sparsify"][1] / sums["ce_sparsify"][3]
    return found


@pytest.fixture(scope="module")
def told() -> tuple[dict[str, float], dict[str, float]]:
    lm = tiny_lm()
    text = held_out_text(lm)
    return scores(swept(lm, text, drawn_sae())[0]), slowly(lm, text, drawn_sae())


def test_scores_are_those_of_whole_forwards_and_loops(told) -> None:
    found, expected = told
    assert found == pytest.approx(expected, rel=1e-5)
    assert len({round(value, 4) for value in found.values()}) == 4  # no two definitions agree here


def test_scores_are_those_that_the_packages_give(told) -> None:
    assert told[0] == pytest.approx(RECORDED, rel=1e-4)


def test_the_identity_recovers_everything_in_every_definition(lm, held_out) -> None:
    found = scores(swept(lm, held_out, identity_sae())[0])
    for name in NAMES[:3]:
        assert found[name] == pytest.approx(1.0, abs=1e-6)


def test_they_are_measured_on_the_rows_of_curves(lm, held_out) -> None:
    (tables,) = swept(lm, held_out, drawn_sae(), curve_tokens=held_out.tokens.size // 3)
    rows = len(held_out.thinned(held_out.tokens.size // 3).tokens)
    assert rows < len(held_out.tokens)
    n = tables.tables["peer_losses"].sum(0)[0]
    assert n == rows * (held_out.tokens.shape[1] - 1)
    assert f"on {held_out.tokens.size // 3}" in tables.versions["peer_losses"]


def test_a_random_network_has_no_score(held_out) -> None:
    random = tiny_lm(spread=0.02)
    setting = Setting(None, uniform_loss=math.log(VOCABULARY))
    found = numbers_of(swept(random, held_out, drawn_sae())[0], setting)
    for name in NAMES[:3]:
        assert found[name].value is None
        assert "no loss to recover" in found[name].reason
    assert found["ce_sparsify"].value == pytest.approx(math.log(VOCABULARY), rel=0.05)
