from __future__ import annotations

import pytest
import torch

from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import KINDS, find_layout
from pipeline.language_model.splice import (
    next_token_loss,
    scored,
    special_positions,
    spliced_losses,
    token_losses,
)
from pipeline.study.names import Site
from tests.pipeline.language_model.families import some_tokens, tiny_model


def opened(family: str, **changes: object) -> LanguageModel:
    model = tiny_model(family, **changes)
    return LanguageModel(model, None, frozenset({0, 1, 2}), find_layout(model))


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return opened("gpt_neox")


TOKENS = some_tokens()
NOWHERE = torch.zeros(TOKENS.shape, dtype=torch.bool)


def test_clean_logits_and_losses_are_the_models_own(lm: LanguageModel) -> None:
    out = lm.model(TOKENS, labels=TOKENS)
    clean = token_losses(lm, TOKENS)
    assert torch.equal(clean.logits, out.logits)
    assert clean.loss.shape == (TOKENS.shape[0], TOKENS.shape[1] - 1)
    torch.testing.assert_close(clean.loss.mean(), out.loss)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "gemma2", "falcon", "bloom"])
def test_replacing_a_site_by_itself_changes_nothing(family: str, kind: str) -> None:
    model = opened(family)
    clean = token_losses(model, TOKENS).logits
    same = spliced_losses(model, TOKENS, Site(kind, 1), lambda x: x.clone(), NOWHERE)
    other = spliced_losses(model, TOKENS, Site(kind, 1), lambda x: x.flip(-1), NOWHERE)
    torch.testing.assert_close(same, clean)
    assert not torch.allclose(other, clean, atol=1e-3)


def test_an_edit_gets_what_capture_gives(lm: LanguageModel) -> None:
    for kind in KINDS:
        site, seen = Site(kind, 2), []
        spliced_losses(lm, TOKENS, site, lambda x, seen=seen: seen.append(x) or x, NOWHERE)
        assert torch.equal(seen[0], capture(lm, TOKENS, [site])[site])


def test_a_scaled_contribution_is_edited_in_the_streams_units() -> None:
    lm = opened("granite", residual_multiplier=0.25)
    block = lm.model.model.layers[1]
    site = Site("mlp_out", 1)
    shifted = spliced_losses(lm, TOKENS, site, lambda x: x + 1.0, NOWHERE)
    block.register_forward_hook(lambda module, args, output: output + 1.0)
    torch.testing.assert_close(shifted, token_losses(lm, TOKENS).logits, rtol=1e-4, atol=1e-5)


def test_kept_positions_stay_and_edits_reach_only_what_follows(lm: LanguageModel) -> None:
    clean = token_losses(lm, TOKENS).logits
    everywhere = ~NOWHERE
    kept = spliced_losses(lm, TOKENS, Site("resid_post", 1), torch.zeros_like, everywhere)
    assert torch.equal(kept, clean)
    keep = everywhere.clone()
    keep[:, 6] = False
    edited = spliced_losses(lm, TOKENS, Site("resid_post", 1), torch.zeros_like, keep)
    assert torch.equal(edited[:, :6], clean[:, :6])
    assert not torch.allclose(edited[:, 6:], clean[:, 6:])


def test_zeroing_the_last_residual_leaves_the_heads_constant(lm: LanguageModel) -> None:
    logits = spliced_losses(lm, TOKENS, Site("resid_post", 2), torch.zeros_like, NOWHERE)
    torch.testing.assert_close(logits, logits[:1, :1].expand_as(logits))


def test_a_prediction_counts_inside_one_document_between_plain_tokens() -> None:
    #                         sep  a  b  sep  c  d  e
    tokens = torch.tensor([[0, 5, 6, 0, 7, 8, 9]])
    documents = torch.tensor([[3, 3, 3, 4, 4, 4, 5]])
    assert scored(tokens, documents, {0}).tolist() == [[False, True, False, False, True, False]]
    assert special_positions(tokens, {0}).tolist() == [[True, False, False, True] + [False] * 3]


def test_without_special_tokens_only_documents_decide() -> None:
    tokens, documents = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 1, 2]])
    assert scored(tokens, documents, frozenset()).tolist() == [[True, False]]


def test_losses_are_computed_in_float32(lm: LanguageModel) -> None:
    logits = torch.randn(1, 4, 50, generator=torch.Generator().manual_seed(0)) * 9
    tokens = torch.tensor([[3, 49, 0, 7]])
    by_hand = -logits[0, :3].double().log_softmax(-1)[range(3), tokens[0, 1:]]
    low = next_token_loss(logits.to(torch.bfloat16), tokens)
    assert low.dtype == torch.float32
    torch.testing.assert_close(next_token_loss(logits, tokens)[0].double(), by_hand)
