"""The embedded model's shape, and the optimisers it is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.embedded.tokenizer import CONTEXT, VOCAB_SIZE

if TYPE_CHECKING:
    import torch
    from transformers import GPTNeoXForCausalLM


@dataclass(frozen=True)
class Shape:
    """Width, layers, heads, width inside the MLP and vocabulary of the model."""

    d: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 768
    vocab: int = VOCAB_SIZE


@dataclass(frozen=True)
class Rates:
    """Peak learning rates: Muon for the layers' matrices, AdamW for the rest."""

    muon: float = 0.012
    adamw: float = 0.012
    muon_weight_decay: float = 0.05


def build_model(shape: Shape, seed: int) -> GPTNeoXForCausalLM:
    """A freshly initialised GPT-NeoX model with sequential residuals and its own output head."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(seed)
    config = GPTNeoXConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.d,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.mlp,
        max_position_embeddings=CONTEXT,
        use_parallel_residual=False,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPTNeoXForCausalLM(config)


def build_optimisers(model: GPTNeoXForCausalLM, rates: Rates) -> list[torch.optim.Optimizer]:
    """Muon over the layers' matrices and fused AdamW over embeddings, head, norms and biases.

    Reference: Jordan 2024, "Muon: An optimizer for hidden layers in neural networks".
    """
    import torch

    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = ".layers." in name and parameter.ndim == 2
        (matrices if inside else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=rates.muon, weight_decay=rates.muon_weight_decay),
        torch.optim.AdamW(others, lr=rates.adamw, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def parameter_count(model: torch.nn.Module) -> int:
    """All parameters, embeddings and head included."""
    return sum(parameter.numel() for parameter in model.parameters())


def multiplied_parameters(model: GPTNeoXForCausalLM) -> int:
    """Parameters that multiply an activation: all but the token embeddings, which are looked up."""
    return parameter_count(model) - model.get_input_embeddings().weight.numel()
