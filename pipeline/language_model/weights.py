"""Weights variants: what a trained model is compared with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import StudyError, did_you_mean
from pipeline.hashing import content_hash
from pipeline.study.names import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Variant = Callable[["PreTrainedModel", int], "PreTrainedModel"]

VARIANTS: dict[str, Variant] = {}


def variant(make: Variant) -> Variant:
    """Declares a weights variant under its function's name."""
    VARIANTS[make.__name__] = make
    return make


def apply_weights(model: PreTrainedModel, weights: Weights) -> PreTrainedModel:
    """The model under a weights variant; the model given is never changed.

    What is drawn depends on the variant and the weights seed alone, not on the device; the
    global random state stays as it was. A checkpoint (`revision:NAME`) is a matter of loading:
    its model is returned as it is.

    Raises StudyError for an unknown variant.
    """
    if weights.variant.startswith("revision:"):
        return model
    if weights.variant not in VARIANTS:
        raise StudyError(
            f"{weights.variant!r} is not a weights variant. "
            f"{did_you_mean(weights.variant, VARIANTS)}"
        )
    return VARIANTS[weights.variant](model, weights.seed or 0)


@variant
def trained(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The model as it was trained."""
    return model


@variant
def random(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A fresh model of the same configuration, initialised by the model's own rule."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(_drawn("random", seed))
        fresh = type(model)(copy.deepcopy(model.config))
    return _like(fresh, model)


@variant
def random_except_embeddings(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """As `random` with the same seed, but token embeddings and output head stay as trained.

    Learned position embeddings are drawn anew.
    """
    fresh = random(model, seed)
    for kept, new in (
        (model.get_input_embeddings(), fresh.get_input_embeddings()),
        (model.get_output_embeddings(), fresh.get_output_embeddings()),
    ):
        if kept is not None and new is not None:
            new.load_state_dict(kept.state_dict())
    return fresh


@variant
def permuted(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The trained model with the entries of every parameter tensor in a drawn order.

    Each tensor keeps its values, hence its mean, variance and outliers; tied tensors stay tied.
    """
    import torch

    shuffled = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in shuffled.named_parameters():
            generator = torch.Generator().manual_seed(_drawn("permuted", seed, name))
            order = torch.randperm(parameter.numel(), generator=generator)
            parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return shuffled


@variant
def gaussian(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The trained model; what stands in for its activations is drawn (`harvest.gaussian`)."""
    return model


@variant
def shuffled_text(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The trained model; the text that it reads is shuffled (`corpus.shuffled`)."""
    return model


def _drawn(*key: str | int) -> int:
    return int(content_hash(list(key))[:15], 16)


def _like(fresh: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    fresh = fresh.to(device=model.device, dtype=model.dtype)
    return fresh.requires_grad_(False).train(model.training)
