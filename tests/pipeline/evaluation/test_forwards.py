from __future__ import annotations

import pytest
import torch

from pipeline.evaluation.forwards import Forwards
from pipeline.language_model.capture import capture
from pipeline.language_model.splice import spliced_losses, token_losses
from pipeline.study.names import Site
from tests.pipeline.evaluation.scene import CONTEXT, LAYERS, VOCABULARY, tiny_lm


def tokens_of(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (3, CONTEXT), generator=generator)


@pytest.mark.parametrize("kind", ["resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_act"])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_resumed_passes_are_whole_passes(lm, kind, layer) -> None:
    site = Site(kind, layer)
    forwards = Forwards(lm, site)
    for seed in (0, 1):
        tokens = tokens_of(seed)
        x, logits = forwards.clean(tokens)
        assert torch.equal(x, capture(lm, tokens, [site])[site])
        assert torch.equal(logits, token_losses(lm, tokens).logits)
        keep = tokens % 3 == 0
        replacement = x.flip(0) * 0.5
        whole = spliced_losses(lm, tokens, site, lambda _, r=replacement: r, keep)
        for _ in range(2):
            assert torch.equal(forwards.spliced(tokens, replacement, keep), whole)
    assert torch.equal(token_losses(lm, tokens).logits, logits), "the model was left changed"


def test_blocks_before_the_site_run_once() -> None:
    lm = tiny_lm()
    runs = [0] * LAYERS
    for i, block in enumerate(lm.model.base_model.layers):
        inner = block.attention

        def count(*_: object, i: int = i) -> None:
            runs[i] += 1

        inner.register_forward_hook(count)
    forwards = Forwards(lm, Site("resid_pre", 2))
    tokens = tokens_of(0)
    x, _ = forwards.clean(tokens)
    runs[:] = [0] * LAYERS
    forwards.spliced(tokens, x, torch.zeros(tokens.shape, dtype=torch.bool))
    assert runs == [0, 0, 1]


def test_a_model_whose_blocks_share_more_than_hidden_states_runs_whole() -> None:
    """Here the last block adds what the first one has put aside."""
    lm = tiny_lm()
    layers = lm.model.base_model.layers
    aside: list[torch.Tensor] = []

    def put(module, args, output) -> None:
        aside[:] = [output if torch.is_tensor(output) else output[0]]

    def take(module, args) -> tuple:
        extra = aside.pop() if aside else torch.zeros_like(args[0])
        return (args[0] + extra, *args[1:])

    layers[0].attention.register_forward_hook(put)
    layers[2].register_forward_pre_hook(take)
    forwards = Forwards(lm, Site("resid_post", 1))
    tokens = tokens_of(0)
    x, logits = forwards.clean(tokens)
    nowhere = torch.zeros(tokens.shape, dtype=torch.bool)
    assert torch.equal(forwards.spliced(tokens, x, nowhere), logits)
