"""Reading sites against the bare forward pass: what the hooks and the early stop cost.

The bare pass is the model cut after the block in question, its final norm taken out, called
without any hook. Nothing is written: what storing costs is the harvest's own benchmark.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from interleaved import interleave, ratio, save
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import find_layout
from pipeline.study.names import Site

WIDTH, LAYERS, VOCAB = 512, 4, 2048
ROWS, CONTEXT = 8, 256
ALLOWED = {"one site": 1.05, "resid_post everywhere": 1.10}


def models() -> dict[str, nn.Module]:
    """Untrained models of d 512: sequential blocks with LayerNorm, gated ones with RMSNorm."""
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 8,
        "max_position_embeddings": CONTEXT,
    }
    return {
        "neox": GPTNeoXForCausalLM(GPTNeoXConfig(intermediate_size=4 * WIDTH, **shape)),
        "llama": LlamaForCausalLM(LlamaConfig(intermediate_size=3 * WIDTH, **shape)),
    }


def bare(model: nn.Module, n_blocks: int) -> nn.Module:
    """The trunk with its first blocks alone and no final norm."""
    trunk = copy.deepcopy(model.base_model)
    trunk.layers = trunk.layers[:n_blocks]
    for name in ("norm", "final_layer_norm"):
        if hasattr(trunk, name):
            setattr(trunk, name, nn.Identity())
    return trunk


def contenders(model: nn.Module) -> dict[str, Callable[[], object]]:
    """The bare passes, and the same passes with sites read."""
    model = model.eval().requires_grad_(False)
    lm = LanguageModel(model, None, frozenset(), find_layout(model))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(VOCAB, (ROWS, CONTEXT), generator=generator)
    cut, whole = bare(model, LAYERS // 2), bare(model, LAYERS)

    def run(trunk: nn.Module) -> object:
        with torch.inference_mode():
            return trunk(input_ids=tokens, use_cache=False)

    middle = [Site("resid_post", LAYERS // 2 - 1)]
    everywhere = [Site("resid_post", layer) for layer in range(LAYERS)]
    return {
        "bare, half": lambda: run(cut),
        "one site": lambda: capture(lm, tokens, middle),
        "bare, whole": lambda: run(whole),
        "resid_post everywhere": lambda: capture(lm, tokens, everywhere),
    }


def main() -> None:
    """Prints and saves the ratios, each with the one that is promised."""
    figures = {}
    print(f"{torch.get_num_threads()} threads, d {WIDTH}, {LAYERS} layers, {ROWS} x {CONTEXT}")
    for family, model in models().items():
        seconds = interleave(contenders(model), rounds=15, warm_up=2)
        for label, floor in (("one site", "bare, half"), ("resid_post everywhere", "bare, whole")):
            measured = ratio(seconds, label, to=floor)
            best = min(seconds[label])
            figures[f"{family}/{label}"] = {
                "ratio": round(measured, 3),
                "best_of_rounds_ratio": round(best / min(seconds[floor]), 3),
                "allowed": ALLOWED[label],
                "tokens_per_second": round(ROWS * CONTEXT / best),
            }
            print(
                f"  {family:6} {label:22} {measured:6.3f} x (allowed {ALLOWED[label]:.2f})  "
                f"{ROWS * CONTEXT / best:10,.0f} tokens/s"
            )
    print(f"saved {save('capture', figures)}")


if __name__ == "__main__":
    main()
