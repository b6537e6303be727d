"""Tiny models of any family: a family's default configuration, shrunk by field names."""

from __future__ import annotations

import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

ROOT = Path(__file__).parents[3]
VOCAB = 160
LAYERS = 3
SIZES = {
    ("vocab_size",): VOCAB,
    ("hidden_size", "n_embd", "d_model"): 32,
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers"): LAYERS,
    ("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads"): 4,
    ("num_key_value_heads",): 2,
    ("head_dim",): 8,
    ("intermediate_size", "n_inner", "ffn_dim", "decoder_ffn_dim", "ffn_hidden_size"): 64,
    ("moe_intermediate_size",): 16,
    ("num_experts", "n_routed_experts", "num_local_experts"): 4,
    ("num_experts_per_tok",): 2,
    ("max_position_embeddings", "n_positions"): 64,
    ("encoder_layers", "encoder_attention_heads"): 1,
    ("pad_token_id",): 0,
    ("bos_token_id",): 1,
    ("eos_token_id",): 2,
}
# Not the plain dense decoder of which all five kinds of site are promised at every layer.
UNUSUAL = ("expert", "moe", "ssm", "mamba", "conv", "linear_", "recurren", "encoder_layers")

# What default configurations and models raise when sizes that belong together are shrunk apart.
UNFIT = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError),
    *(RuntimeError, AssertionError, ImportError, OSError, StrictDataclassError),
)


def tiny_config(family: str, **changes: object) -> PretrainedConfig:
    """A family's default configuration with every size that has a known name made small."""
    kind = CONFIG_MAPPING[family]
    fields = kind().to_dict()
    small = {
        name: value
        for names, value in SIZES.items()
        for name in names
        if type(fields.get(name, "absent")) in (int, type(None))
    }
    return kind(**(small | changes))


def tiny_model(family: str, *, seed: int = 0, **changes: object) -> PreTrainedModel:
    """A tiny model whose parameters are all moved: no zero, no one stays where init put it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family, **changes))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def some_tokens(rows: int = 2, length: int = 10, *, seed: int = 0) -> torch.Tensor:
    """Token ids (rows, length) int64 without the special ones."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (rows, length), generator=generator)


@cache
def unnamed_families(count: int) -> tuple[str, ...]:
    """Families that no file of the project names, whose default configuration can be shrunk.

    Taken in the order of the hash of their names: nobody chose them.
    """
    text = _project_text()
    order = sorted(
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, key=lambda f: hashlib.sha256(f.encode()).hexdigest()
    )
    found: list[str] = []
    for family in order:
        if not _is_named(family, text) and _is_dense_decoder(family) and _runs(family):
            found.append(family)
            if len(found) == count:
                return tuple(found)
    raise AssertionError(f"only {found} can be shrunk")


def _project_text() -> str:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kinds = {".py", ".md", ".yaml", ".yml", ".toml", ".txt", ".ipynb", ""}
    files = [ROOT / name for name in names.splitlines() if Path(name).suffix in kinds]
    return "\n".join(f.read_text(errors="replace") for f in files if f.is_file()).lower()


def _is_named(family: str, text: str) -> bool:
    spelling = re.sub(r"[-_]", "[-_ ]?", family.lower())
    return re.search(rf"(?<![a-z0-9]){spelling}(?![a-z])", text) is not None


def _is_dense_decoder(family: str) -> bool:
    try:
        fields = tiny_config(family).to_dict()
    except UNFIT:
        return False
    sized = {"hidden_size", "n_embd", "d_model"} & fields.keys()
    return bool(sized) and not any(word in name for name in fields for word in UNUSUAL)


def _runs(family: str) -> bool:
    try:
        model = tiny_model(family)
        out = model(some_tokens(), use_cache=True, output_hidden_states=True)
    except UNFIT:
        return False
    small = sum(p.numel() for p in model.parameters()) < 1_000_000
    decodes = out.get("past_key_values") is not None
    return small and decodes and len(out.hidden_states) == LAYERS + 1
