from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import SiteError
from pipeline.language_model.capture import capture, read_sites
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import find_layout
from pipeline.study.names import Site
from tests.pipeline.language_model.families import some_tokens, tiny_model

LAYERS = 3


@pytest.fixture
def lm() -> LanguageModel:
    model = tiny_model("gpt_neox")
    return LanguageModel(model, None, frozenset({0}), find_layout(model))


def counted(module: nn.Module) -> list[int]:
    """A list that grows by one with every call of a module that runs to its end."""
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_all_sites_come_from_one_forward_pass_without_the_head(lm: LanguageModel) -> None:
    started: list[int] = []
    lm.trunk.register_forward_pre_hook(lambda *_: started.append(1))
    heads = counted(lm.model.get_output_embeddings())
    read = capture(lm, some_tokens(), lm.layout.sites())
    assert len(read) == 5 * LAYERS
    assert len(started) == 1
    assert not heads


@pytest.mark.parametrize("deepest", range(LAYERS))
def test_the_pass_stops_after_the_deepest_site(lm: LanguageModel, deepest: int) -> None:
    blocks = [counted(block) for block in lm.model.gpt_neox.layers]
    norm = counted(lm.model.gpt_neox.final_layer_norm)
    capture(lm, some_tokens(), [Site("resid_post", deepest), Site("resid_pre", 0)])
    assert [len(calls) for calls in blocks] == [1] * (deepest + 1) + [0] * (LAYERS - deepest - 1)
    assert not norm


def test_a_site_inside_a_block_stops_the_pass_inside_it(lm: LanguageModel) -> None:
    inside = counted(lm.model.gpt_neox.layers[1].attention)
    behind = counted(lm.model.gpt_neox.layers[1].mlp)
    capture(lm, some_tokens(), [Site("attn_out", 1)])
    assert len(inside) == 1
    assert not behind


def test_sites_read_together_equal_sites_read_alone(lm: LanguageModel) -> None:
    tokens = some_tokens()
    together = capture(lm, tokens, lm.layout.sites())
    for site in lm.layout.sites():
        assert torch.equal(capture(lm, tokens, [site])[site], together[site])


@pytest.mark.parametrize("family", ["falcon", "gpt2", "bloom"])
def test_what_was_read_stays_when_the_pass_goes_on(family: str) -> None:
    model = tiny_model(family)
    lm = LanguageModel(model, None, frozenset({0}), find_layout(model))
    tokens = some_tokens()
    together = capture(lm, tokens, lm.layout.sites())
    for site in lm.layout.sites():
        assert torch.equal(capture(lm, tokens, [site])[site], together[site]), site


@pytest.mark.parametrize("family", ["falcon", "gpt2", "bloom"])
def test_what_is_taken_at_once_is_what_is_captured(family: str) -> None:
    model = tiny_model(family)
    lm = LanguageModel(model, None, frozenset({0}), find_layout(model))
    sites, tokens = lm.layout.sites(), some_tokens()
    copies: dict[Site, torch.Tensor] = {}

    def take(site: Site, value: torch.Tensor) -> None:
        assert site not in copies
        copies[site] = value.clone()

    read_sites(lm, tokens, sites, take)
    captured = capture(lm, tokens, sites)
    assert set(copies) == set(sites)
    assert all(torch.equal(copies[site], captured[site]) for site in sites)


def test_rows_do_not_depend_on_their_batch(lm: LanguageModel) -> None:
    tokens = some_tokens(rows=4)
    site = Site("mlp_act", 2)
    whole = capture(lm, tokens, [site])[site]
    torch.testing.assert_close(capture(lm, tokens[2:], [site])[site], whole[2:])


def test_nothing_asked_nothing_run(lm: LanguageModel) -> None:
    calls: list[int] = []
    lm.trunk.register_forward_pre_hook(lambda *_: calls.append(1))
    assert capture(lm, some_tokens(), []) == {}
    assert not calls


def test_no_hook_stays_behind(lm: LanguageModel) -> None:
    capture(lm, some_tokens(), lm.layout.sites())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in lm.model.modules())
    with pytest.raises(IndexError):
        capture(lm, some_tokens() + 10_000, lm.layout.sites())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in lm.model.modules())


def test_a_site_the_model_lacks_is_refused_before_anything_runs(lm: LanguageModel) -> None:
    with pytest.raises(SiteError, match="The model's sites"):
        capture(lm, some_tokens(), [Site("resid_post", 7)])
