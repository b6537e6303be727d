from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from pipeline.errors import StudyError
from pipeline.language_model.sites import find_layout
from pipeline.language_model.weights import VARIANTS, apply_weights
from pipeline.study.names import Weights
from pipeline.study.variants import VARIANTS as KNOWN_TO_STUDIES
from tests.pipeline.language_model.families import tiny_model

FAMILIES = ("gpt_neox", "gpt2", "llama")
DRAWN = ("random", "random_except_embeddings", "permuted")


def parameters(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return dict(model.named_parameters())


def same(a: PreTrainedModel, b: PreTrainedModel) -> bool:
    left, right = parameters(a), parameters(b)
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


def test_studies_know_exactly_the_variants_there_are() -> None:
    assert set(VARIANTS) == set(KNOWN_TO_STUDIES)


def test_trained_is_the_model_itself(model: PreTrainedModel) -> None:
    assert apply_weights(model, Weights("trained")) is model


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_variant_is_a_function_of_its_seed_and_leaves_all_else_alone(
    model: PreTrainedModel, name: str
) -> None:
    before = {n: p.clone() for n, p in parameters(model).items()}
    torch.manual_seed(123)
    state = torch.get_rng_state()
    first = apply_weights(model, Weights(name, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[n], p) for n, p in parameters(model).items())
    torch.manual_seed(7)
    assert same(first, apply_weights(model, Weights(name, 1)))
    assert not same(first, apply_weights(model, Weights(name, 0)))
    assert not same(first, model)
    assert {n: p.shape for n, p in parameters(first).items()} == {
        n: p.shape for n, p in before.items()
    }
    assert not first.training
    assert not any(p.requires_grad for p in first.parameters())


def test_no_seed_means_seed_zero(model: PreTrainedModel) -> None:
    named = apply_weights(model, Weights.parse("random"))
    assert same(named, apply_weights(model, Weights("random", 0)))


def test_random_draws_from_the_models_own_init() -> None:
    model = tiny_model("gpt_neox", hidden_size=64, intermediate_size=256, initializer_range=0.3)
    drawn = apply_weights(model, Weights("random", 0)).gpt_neox.layers[0]
    assert drawn.mlp.dense_4h_to_h.weight.std() == pytest.approx(0.3, rel=0.05)
    assert drawn.input_layernorm.weight.eq(1).all()


@pytest.mark.parametrize("tied", [True, False])
def test_random_except_embeddings_keeps_embeddings_and_head_only(tied: bool) -> None:
    model = tiny_model("llama", tie_word_embeddings=tied)
    drawn = apply_weights(model, Weights("random_except_embeddings", 2))
    random = apply_weights(model, Weights("random", 2))
    kept = {n for n, p in parameters(drawn).items() if torch.equal(p, parameters(model)[n])}
    assert kept == {"model.embed_tokens.weight"} | (set() if tied else {"lm_head.weight"})
    assert torch.equal(drawn.lm_head.weight, model.lm_head.weight)
    others = parameters(drawn).keys() - kept
    assert all(torch.equal(parameters(drawn)[n], parameters(random)[n]) for n in others)


def test_permuted_keeps_every_tensors_values_in_another_order(model: PreTrainedModel) -> None:
    shuffled = apply_weights(model, Weights("permuted", 0))
    for name, parameter in parameters(shuffled).items():
        given = parameters(model)[name]
        assert torch.equal(parameter.flatten().sort().values, given.flatten().sort().values)
        assert not torch.equal(parameter, given)


def test_permuted_tensors_of_one_shape_get_different_orders() -> None:
    model = tiny_model("llama")
    model.model.layers[0].mlp.up_proj.weight.copy_(model.model.layers[0].mlp.gate_proj.weight)
    mlp = apply_weights(model, Weights("permuted", 0)).model.layers[0].mlp
    assert not torch.equal(mlp.up_proj.weight, mlp.gate_proj.weight)


def test_tied_tensors_stay_tied_and_are_permuted_once() -> None:
    model = tiny_model("gpt2")
    shuffled = apply_weights(model, Weights("permuted", 0))
    assert shuffled.lm_head.weight is shuffled.transformer.wte.weight


@pytest.mark.parametrize("name", DRAWN)
def test_variants_have_the_sites_of_the_trained_model(name: str) -> None:
    model = tiny_model("gpt_neox")
    assert find_layout(apply_weights(model, Weights(name, 0))) == find_layout(model)


def test_variants_keep_the_models_dtype() -> None:
    model = tiny_model("gpt_neox").to(torch.bfloat16)
    for name in DRAWN:
        drawn = apply_weights(model, Weights(name, 0))
        assert {p.dtype for p in drawn.parameters()} == {torch.bfloat16}


def test_a_checkpoint_is_a_matter_of_loading() -> None:
    model = tiny_model("gpt_neox")
    assert apply_weights(model, Weights("revision:step8")) is model


def test_an_unknown_variant_is_refused_with_the_nearest() -> None:
    with pytest.raises(StudyError, match="Did you mean 'permuted'"):
        apply_weights(tiny_model("gpt_neox"), Weights("permutd"))
