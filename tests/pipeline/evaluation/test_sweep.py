from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.evaluation.sweep import rows_per_forward
from pipeline.language_model.splice import next_token_loss, scored, spliced_losses
from pipeline.study.names import Site
from sae_core.metrics.token_metric import Setting
from tests.pipeline.evaluation.scene import (
    SITE,
    SPECIAL,
    UNIGRAM,
    VOCABULARY,
    activations,
    constant_sae,
    empty_sae,
    identity_sae,
    numbers_of,
    swept,
    tiny_lm,
)

SITES = (
    "resid_pre.0",
    "resid_pre.2",
    "resid_post.0",
    "resid_post.2",
    "attn_out.1",
    "mlp_out.2",
)


@pytest.mark.parametrize("site", SITES)
def test_the_identity_costs_nothing_at_any_site(lm, held_out, site) -> None:
    found = numbers_of(swept(lm, held_out, identity_sae(), site=Site.parse(site))[0])
    assert found["fvu"].value == 0.0
    assert found["ce_increase_nats"].value == 0.0
    assert found["kl_nats"].value == 0.0
    assert found["loss_recovered_zero"].value == 1.0
    assert found["compute_recovered"].value == 1.0


def test_the_identity_recovers_the_loss(lm, held_out) -> None:
    found = numbers_of(swept(lm, held_out, identity_sae())[0])
    assert found["loss_recovered_zero"].value == 1.0
    assert found["loss_recovered_mean"].value == 1.0
    assert found["cosine"].value == pytest.approx(1.0, abs=1e-12)


def test_the_mean_predictor_has_fvu_1_and_recovers_nothing_over_the_mean(lm, held_out) -> None:
    mean = activations(lm, held_out).mean(0)
    found = numbers_of(swept(lm, held_out, constant_sae(mean.float()))[0])
    assert found["fvu"].value == pytest.approx(1.0, abs=1e-6)
    assert found["ce_spliced"].value == pytest.approx(found["ce_mean"].value, abs=1e-5)
    assert found["loss_recovered_mean"].value == pytest.approx(0.0, abs=1e-4)
    assert found["l0"].value == 0.0
    assert found["dead_eval"].value == 1.0


def test_the_zero_predictor_recovers_nothing_over_zero(lm, held_out) -> None:
    found = numbers_of(swept(lm, held_out, constant_sae(torch.zeros(16)))[0])
    assert found["ce_spliced"].value == found["ce_zero"].value
    assert found["loss_recovered_zero"].value == pytest.approx(0.0, abs=1e-12)


def test_a_random_network_has_no_loss_to_recover(held_out) -> None:
    """Drawn as transformers draws it: whatever a site says, the predictions stay the same."""
    random = tiny_lm(spread=0.02)
    setting = Setting(None, uniform_loss=math.log(VOCABULARY))
    found = numbers_of(swept(random, held_out, identity_sae())[0], setting)
    for name in ("loss_recovered_zero", "loss_recovered_mean"):
        assert found[name].value is None
        assert "no loss to recover" in found[name].reason
    assert found["ce_increase_nats"].value == 0.0


def test_losses_are_those_of_the_model(lm, held_out) -> None:
    tokens = torch.from_numpy(held_out.tokens.astype(np.int64))
    documents = torch.from_numpy(held_out.document_index)
    counted = scored(tokens, documents, {SPECIAL})
    x_hat = torch.linspace(-1, 1, 16)

    def loss(edit) -> float:
        logits = spliced_losses(lm, tokens, SITE, edit, tokens == SPECIAL)
        return next_token_loss(logits, tokens)[counted].double().mean().item()

    found = numbers_of(swept(lm, held_out, constant_sae(x_hat))[0])
    assert found["ce_clean"].value == pytest.approx(loss(lambda x: x), rel=1e-6)
    assert found["ce_zero"].value == pytest.approx(loss(torch.zeros_like), rel=1e-6)
    spliced = loss(lambda x: x_hat.expand_as(x))
    assert found["ce_spliced"].value == pytest.approx(spliced, rel=1e-6)
    assert found["ce_spliced"].n == int(counted.sum())
    assert found["ce_unigram"].value == pytest.approx(UNIGRAM[tokens[:, 1:][counted]].mean().item())
    assert found["fvu"].n == int((tokens != SPECIAL).sum())


def test_top1_agreement_compares_the_first_guesses(lm, held_out) -> None:
    assert numbers_of(swept(lm, held_out, identity_sae())[0])["top1_agreement"].value == 1.0
    tokens = torch.from_numpy(held_out.tokens.astype(np.int64))
    counted = scored(tokens, torch.from_numpy(held_out.document_index), {SPECIAL})
    zero = torch.zeros(16)
    guesses = [
        spliced_losses(lm, tokens, SITE, edit, tokens == SPECIAL)[:, :-1].argmax(2)[counted]
        for edit in (lambda x: x, torch.zeros_like)
    ]
    found = numbers_of(swept(lm, held_out, constant_sae(zero))[0])["top1_agreement"]
    assert found.value == pytest.approx((guesses[0] == guesses[1]).double().mean().item())
    assert 0 < found.value < 1


def test_sums_are_per_document(lm, held_out) -> None:
    tables = swept(lm, held_out, identity_sae())[0]
    flat = held_out.document_index[held_out.tokens != SPECIAL]
    assert tables.tables["fvu"][:, 0].tolist() == np.bincount(flat).tolist()
    x = activations(lm, held_out).square().sum(1).numpy()
    bias = tables.tables["relative_reconstruction_bias"]
    assert np.allclose(bias[:, 1], np.bincount(flat, weights=x), rtol=1e-12)
    assert tables.documents.tolist() == held_out.documents.tolist()


def test_together_is_alone_and_batches_do_not_matter(lm, held_out) -> None:
    saes = identity_sae(), constant_sae(torch.full((16,), 0.3))
    together = swept(lm, held_out, *saes)
    for sae, shared in zip(saes, together, strict=True):
        alone = swept(lm, held_out, sae)[0]
        other = swept(lm, held_out, sae, batch_rows=12)[0]
        for name, table in shared.tables.items():
            assert np.array_equal(table, alone.tables[name]), name
            assert np.allclose(table, other.tables[name], rtol=1e-4, atol=1e-4), name
        assert np.array_equal(shared.latents.n_fires, other.latents.n_fires)


def test_latents_are_counted(lm, held_out) -> None:
    latents = swept(lm, held_out, identity_sae())[0].latents
    x = activations(lm, held_out).numpy()
    code = np.concatenate([x, -x], axis=1).clip(min=0)
    assert latents.n_tokens == len(x)
    assert latents.n_fires.tolist() == (code > 0).sum(0).tolist()
    assert np.allclose(latents.sum_values, code.sum(0))
    assert np.allclose(latents.max_value, code.max(0))
    assert latents.l0_histogram.tolist() == np.bincount((code > 0).sum(1)).tolist()
    assert latents.group_fires.sum(0).tolist() == latents.n_fires.tolist()
    assert latents.group_l0.sum(0).tolist() == latents.l0_histogram.tolist()
    group = held_out.document_index[held_out.tokens != SPECIAL] % 20
    for number in (0, 7, 19):
        mine = (code[group == number] > 0).sum(0)
        assert latents.group_fires[number].tolist() == mine.tolist()
    assert np.allclose(latents.firing_frequency, (code > 0).mean(0))
    assert np.allclose(latents.decoder_norm, 1)
    assert np.allclose(latents.encoder_decoder_cosine, 1)


def test_tokens_that_training_masks_are_neither_edited_nor_measured(lm, held_out) -> None:
    norms = activations(lm, held_out).norm(dim=1)
    limit = norms.median().item()
    zero = torch.zeros(16)
    tables = swept(lm, held_out, constant_sae(zero), max_norm=limit)[0]
    assert tables.latents.n_tokens == int((norms <= limit).sum())
    assert tables.tables["fvu"][:, 0].sum() == tables.latents.n_tokens
    everywhere = numbers_of(swept(lm, held_out, constant_sae(zero))[0])
    found = numbers_of(tables)
    assert found["ce_zero"].n == everywhere["ce_zero"].n
    assert found["ce_zero"].value != everywhere["ce_zero"].value
    assert found["ce_clean"].value == everywhere["ce_clean"].value


def test_a_source_without_measurable_tokens_is_refused(lm, held_out) -> None:
    with pytest.raises(UserError, match=r"no held-out token of resid_post\.1 can be measured"):
        swept(lm, held_out, empty_sae(4, 16), max_norm=0.0)


def test_large_vocabularies_go_through_in_few_rows() -> None:
    assert rows_per_forward(16, 256, 2048) == 16
    assert rows_per_forward(16, 256, 150_000) == 1
    assert rows_per_forward(16, 4096, 250_000) == 1


def test_the_text_of_a_scene_has_special_tokens_inside_rows(held_out) -> None:
    special = held_out.tokens == SPECIAL
    assert special[:, 1:-1].any()
    assert special.sum() == held_out.tokens.size - held_out.n_tokens
