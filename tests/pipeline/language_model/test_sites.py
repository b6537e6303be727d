"""Every kind of site at every layer, on families named here and on families named nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import SiteError
from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import KINDS, find_layout
from pipeline.study.names import Site
from tests.pipeline.language_model.families import (
    LAYERS,
    some_tokens,
    tiny_model,
    unnamed_families,
)

# family -> blocks, attention as added, MLP as added, MLP's last linear map
BY_HAND = {
    "gpt_neox": ("gpt_neox.layers", "attention", "mlp", "mlp.dense_4h_to_h"),
    "gpt2": ("transformer.h", "attn", "mlp", "mlp.c_proj"),
    "llama": ("model.layers", "self_attn", "mlp", "mlp.down_proj"),
    "qwen2": ("model.layers", "self_attn", "mlp", "mlp.down_proj"),
    "qwen3": ("model.layers", "self_attn", "mlp", "mlp.down_proj"),
    "gemma": ("model.layers", "self_attn", "mlp", "mlp.down_proj"),
    "gemma2": (
        "model.layers",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        "mlp.down_proj",
    ),
}
# Sums of another form: written in place, inside a submodule, scaled, normalised after adding.
OTHER_FORMS = ("falcon", "bloom", "openai-gpt", "opt")


def opened(model: nn.Module) -> LanguageModel:
    return LanguageModel(model, None, frozenset({0, 1, 2}), find_layout(model))


def everywhere(lm: LanguageModel, tokens: Tensor) -> dict[Site, Tensor]:
    return capture(lm, tokens, lm.layout.sites())


def check_all_sites(family: str) -> None:
    """Each site against the model's own hidden states and the sums and products it must obey."""
    lm = opened(tiny_model(family))
    assert lm.layout.sites() == [Site(kind, i) for i in range(LAYERS) for kind in KINDS]
    tokens = some_tokens()
    read = everywhere(lm, tokens)
    states = lm.model(tokens, use_cache=False, output_hidden_states=True).hidden_states
    for i, layer in enumerate(lm.layout.layers):
        at = {kind: read[Site(kind, i)] for kind in KINDS}
        assert all(at[kind].shape == (*tokens.shape, lm.layout.width(Site(kind, i))) for kind in at)
        assert torch.equal(at["resid_pre"], states[i])
        if i + 1 < LAYERS:  # the last hidden state has the model's final norm on it
            assert torch.equal(at["resid_post"], states[i + 1])
        if layer.stream_scale is not None:
            summed = layer.stream_scale * at["resid_pre"] + at["attn_out"] + at["mlp_out"]
            torch.testing.assert_close(at["resid_post"], summed, rtol=1e-4, atol=1e-5)
        check_mlp(lm, i, at)


def check_mlp(lm: LanguageModel, i: int, at: dict[str, Tensor]) -> None:
    """mlp_out is mlp_act through the last linear map, and a norm where one stands behind it."""
    tap = lm.layout.tap(Site("mlp_out", i))
    down = lm.model.get_submodule(lm.layout.tap(Site("mlp_act", i)).module)
    made = down(at["mlp_act"])
    holder = lm.model.get_submodule(tap.module)
    if not any(p.ndim > 1 for p in holder.parameters()):
        made = holder(made)
    torch.testing.assert_close(made * tap.scale, at["mlp_out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", BY_HAND)
def test_every_site_of_every_layer_is_what_it_says(family: str) -> None:
    check_all_sites(family)


@pytest.mark.parametrize("which", range(4))
def test_families_that_no_file_names_work_too(which: int) -> None:
    check_all_sites(unnamed_families(4)[which])


@pytest.mark.parametrize("family", OTHER_FORMS)
def test_blocks_that_add_in_their_own_way_work_too(family: str) -> None:
    check_all_sites(family)


@pytest.mark.parametrize("family", BY_HAND)
def test_sites_equal_what_hooks_on_the_named_modules_see(family: str) -> None:
    lm = opened(tiny_model(family))
    blocks, attention, mlp, down = BY_HAND[family]
    seen: dict[Site, Tensor] = {}

    def keep(site: Site, side: Callable[..., object]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            value = side(inputs, output)
            seen[site] = (value[0] if isinstance(value, tuple) else value).clone()

        return hook

    for i, block in enumerate(lm.model.get_submodule(blocks)):
        for kind, name in (("attn_out", attention), ("mlp_out", mlp)):
            hook = keep(Site(kind, i), lambda inputs, output: output)
            block.get_submodule(name).register_forward_hook(hook)
        hook = keep(Site("mlp_act", i), lambda inputs, output: inputs)
        block.get_submodule(down).register_forward_hook(hook)
    tokens = some_tokens()
    lm.model(tokens, use_cache=False)
    read = everywhere(lm, tokens)
    assert seen
    assert all(torch.equal(read[site], value) for site, value in seen.items())


@pytest.mark.parametrize("parallel", [True, False])
def test_parallel_and_sequential_residuals_are_told_apart_by_what_they_compute(
    parallel: bool,
) -> None:
    lm = opened(tiny_model("gpt_neox", use_parallel_residual=parallel))
    read = everywhere(lm, some_tokens())
    for i, block in enumerate(lm.model.gpt_neox.layers):
        entered = read[Site("resid_pre", i)]
        if not parallel:
            entered = entered + read[Site("attn_out", i)]
        made = block.mlp(block.post_attention_layernorm(entered))
        torch.testing.assert_close(made, read[Site("mlp_out", i)])


def test_a_contribution_is_read_as_it_is_added_when_the_model_scales_it() -> None:
    lm = opened(tiny_model("granite", residual_multiplier=0.25))
    assert lm.layout.tap(Site("mlp_out", 1)).scale == pytest.approx(0.25)
    read = everywhere(lm, some_tokens())
    parts = [read[Site(kind, 1)] for kind in ("resid_pre", "attn_out", "mlp_out")]
    torch.testing.assert_close(read[Site("resid_post", 1)], sum(parts), rtol=1e-4, atol=1e-5)


def test_a_mixture_of_experts_has_mlp_out_and_says_why_it_has_no_mlp_act() -> None:
    lm = opened(tiny_model("mixtral"))
    read = everywhere(lm, some_tokens())
    parts = [read[Site(kind, 2)] for kind in ("resid_pre", "attn_out", "mlp_out")]
    torch.testing.assert_close(read[Site("resid_post", 2)], sum(parts), rtol=1e-4, atol=1e-5)
    with pytest.raises(SiteError, match="mixture of experts"):
        lm.layout.check(Site("mlp_act", 2))


def test_the_layout_does_not_depend_on_the_weights_or_their_type() -> None:
    wanted = find_layout(tiny_model("gemma2"))
    assert find_layout(tiny_model("gemma2", seed=1)) == wanted
    assert find_layout(tiny_model("gemma2").to(torch.bfloat16)) == wanted


def test_finding_sites_leaves_no_hooks_and_no_gradients_behind() -> None:
    model = tiny_model("llama")
    find_layout(model)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_an_unknown_kind_is_refused_with_the_nearest_and_all_sites() -> None:
    layout = find_layout(tiny_model("gpt2"))
    with pytest.raises(SiteError, match=r"Did you mean 'mlp_out\.1'\?.*resid_pre\.0-2.*mlp_act"):
        layout.check(Site("mlp_outt", 1))


def test_a_layer_beyond_the_depth_is_refused_with_the_depth() -> None:
    layout = find_layout(tiny_model("gpt2"))
    with pytest.raises(SiteError, match=r"3 layers, 0 to 2.*resid_post\.0-2"):
        layout.width(Site("resid_post", 3))


def test_a_model_without_one_residual_stream_is_refused() -> None:
    class NoBlocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 4)

        def get_input_embeddings(self) -> nn.Module:
            return self.embed

        def forward(self, input_ids: Tensor, use_cache: bool) -> Tensor:
            return self.embed(input_ids)

    with pytest.raises(SiteError, match="run once each"):
        find_layout(NoBlocks())
