"""The operations that training and comparing SAEs spend their time in.

Each operation is a folder: its signature and dispatch, `reference.py` (plain torch, the judge) and,
where the plain form is slow, `cpu.py` (same mathematics, deterministic, sparse backward).
"""

from __future__ import annotations

from sae_kernels.adam_rows import AdamSettings, adam_rows, gradient_norms
from sae_kernels.linear_batch_topk import linear_batch_topk
from sae_kernels.linear_topk import linear_topk
from sae_kernels.max_cosine import MaxCosine, max_cosine
from sae_kernels.nested_decode_loss import nested_decode_loss, nested_errors
from sae_kernels.ragged import RaggedCode
from sae_kernels.ragged_decode import ragged_decode
from sae_kernels.ragged_nested_decode_loss import ragged_nested_decode_loss
from sae_kernels.sparse_decode import sparse_decode

__all__ = [
    "AdamSettings",
    "MaxCosine",
    "RaggedCode",
    "adam_rows",
    "gradient_norms",
    "linear_batch_topk",
    "linear_topk",
    "max_cosine",
    "nested_decode_loss",
    "nested_errors",
    "ragged_decode",
    "ragged_nested_decode_loss",
    "sparse_decode",
]
