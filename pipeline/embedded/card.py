"""The model card, written from the stored numbers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.atomic import write_bytes
from pipeline.corpus.builtin import SHINGLE_LINES
from pipeline.corpus.documents import CALIBRATION_SHARE, HELD_OUT_SHARE
from pipeline.embedded import CurvePoint, pretraining_curve
from pipeline.embedded.evaluation import Evaluation, read_evaluation
from pipeline.embedded.tokenizer import CONTEXT


def write_card(folder: Path) -> None:
    """Replace the folder's README.md by the card of what lies in the folder."""
    write_bytes(folder / "README.md", card(folder).encode())


def card(folder: Path) -> str:
    """The model card as Markdown: every number in it comes from the folder's JSON files."""
    evaluation, curve = read_evaluation(folder), pretraining_curve(folder)
    parts = [
        _head(json.loads((folder / "config.json").read_text())),
        _data(),
        _training(evaluation),
        _held_out(evaluation),
        _ablations(evaluation),
        _curve(evaluation, curve),
        _LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(config: dict[str, Any]) -> str:
    return f"""
---
license: psf-2.0
language: code
library_name: transformers
pipeline_tag: text-generation
---

# pylm

A small causal language model of Python source, trained by this project, so that every part of
the pipeline runs on a real trained model with no network and no GPU. It is a subject for
interpretability work, not an assistant and not a tool for writing code.

- Family: GPT-NeoX in Hugging Face format, sequential residuals, rotary positions, own output head;
  {config["num_hidden_layers"]} layers, width {config["hidden_size"]}, MLP width \
{config["intermediate_size"]}, {config["num_attention_heads"]} heads, context \
{config["max_position_embeddings"]} tokens, {config["dtype"]} weights.
- Tokenizer: byte-level BPE of {config["vocab_size"]:,} entries, trained on the train split alone.
  `<|endoftext|>` (id {config["bos_token_id"]}) stands before every document.
"""


def _data() -> str:
    return f"""
## Data and licences

The text is the standard library of the Python that ran the training, read from where it is
installed and not contained here. It is copyright of the Python Software Foundation and others and
licensed under the PSF License Agreement (version 2); parts of it carry the further licences listed
under "Licenses and Acknowledgements for Incorporated Software" in the Python documentation.
Tables (the codecs' maps, help texts, named characters, files that are mostly numbers), installed
packages, generated files and files that are not utf-8 are left out. Documents are split by hash of
their path: held-out {HELD_OUT_SHARE:.0%}, calibration {CALIBRATION_SHARE:.0%}, the rest train.
Lines that stand in a run of {SHINGLE_LINES} lines which a held-out file contains too are removed
from the train files, so that no such run is shared.
"""


def _training(e: Evaluation) -> str:
    return f"""
## Training

    python -m pipeline.embedded.pretrain --out pipeline/embedded/pylm

{e.parameters:,} parameters; {e.tokens_seen:,} tokens seen ({e.tokens_seen / e.parameters:.1f} per
parameter), {e.unique_tokens:,} of them unique ({e.epochs:.2f} epochs). Muon for the layers'
matrices, AdamW for the rest, constant rate after warm-up, linear decay to 0 over the end. Made on
Python {e.python}; sha256 of the training text:
`{e.train_text_sha256}`.
"""


def _held_out(e: Evaluation) -> str:
    return f"""
## Held-out loss

| | nats per token | bits per byte |
|---|---|---|
| this model | {e.held_out_loss_nats:.4f} | {e.bits_per_byte:.4f} |
| interpolated Kneser-Ney {e.kneser_ney_order}-gram, same training tokens \
| {e.kneser_ney_nats:.4f} | {e.bits_per_byte * e.kneser_ney_nats / e.held_out_loss_nats:.4f} |

{100 * e.below_kneser_ney:.1f} % below the n-gram. Measured in float32 on {e.n_tokens:,} tokens
({e.n_bytes:,} bytes) in windows of {CONTEXT} predicted tokens that do not overlap; sha256 of the
text:
`{e.text_sha256}`.
On the fixed sample of {e.sample_n_tokens:,} tokens that the default tests read, the loss is
{e.sample_loss_nats:.4f}; its sha256:
`{e.sample_text_sha256}`.
"""


def _ablations(e: Evaluation) -> str:
    rows = [f"| {layer} | +{cost:.4f} |" for layer, cost in enumerate(e.mlp_ablations_nats)]
    return "\n".join(
        [
            "## Every layer is used",
            "",
            "Rise of the held-out loss when one layer's `mlp_out` is zeroed at every position:",
            "",
            "| layer | nats per token |",
            "|---|---|",
            *rows,
        ]
    )


def _curve(e: Evaluation, curve: list[CurvePoint]) -> str:
    rows = [
        f"| {point.tokens:,} | {point.flops:.3g} | {point.held_out_loss_nats:.4f} |"
        for point in curve
    ]
    intro = f"""
## Pre-training curve

Each row is a model of its own: a branch off the constant-rate run whose rate decays to 0. Tokens
and FLOPs include the branch; FLOPs = 6 N tokens, N = {e.flops_parameters:,} parameters that
multiply an activation. The last row is the shipped model.

| tokens | FLOPs | held-out nats per token |
|---|---|---|
"""
    return intro.strip() + "\n" + "\n".join(rows)


_LIMITS = """
## Limits

It knows Python source as the standard library writes it, and no other text. It repeats names and
phrases of that library; what it writes is not correct code. It has seen each training file several
times. Its figures hold for the text named by the hash: another Python's standard library gives
other text and a slightly different loss.
"""
