"""The operations that training and comparing SAEs spend their time in.

Each operation is a folder: its signature, `reference.py` (plain torch, the judge) and, where the
plain form is slow, `cpu.py` and `fused.py` (Triton; same mathematics, deterministic, sparse
backward). The tensor's device decides which one runs: dispatch.py.
"""

from __future__ import annotations

from sae_kernels.adam_rows import AdamSettings, adam_rows, gradient_norms
from sae_kernels.code_sort import CodeSort
from sae_kernels.firing_statistics import FiringStatistics, firing_statistics
from sae_kernels.fvu import Fvu, fvu
from sae_kernels.jumprelu import JumpRelu, jumprelu
from sae_kernels.linear_batch_topk import linear_batch_topk
from sae_kernels.linear_masked_topk import linear_masked_topk
from sae_kernels.linear_threshold import linear_threshold
from sae_kernels.linear_topk import linear_topk
from sae_kernels.max_cosine import MaxCosine, max_cosine
from sae_kernels.nested_decode_loss import nested_decode_loss, nested_errors
from sae_kernels.ragged import RaggedCode
from sae_kernels.ragged_decode import ragged_decode
from sae_kernels.ragged_nested_decode_loss import ragged_nested_decode_loss
from sae_kernels.sparse_decode import sparse_decode
from sae_kernels.sparse_outer import sparse_outer

__all__ = [
    "AdamSettings",
    "CodeSort",
    "FiringStatistics",
    "Fvu",
    "JumpRelu",
    "MaxCosine",
    "RaggedCode",
    "adam_rows",
    "firing_statistics",
    "fvu",
    "gradient_norms",
    "jumprelu",
    "linear_batch_topk",
    "linear_masked_topk",
    "linear_threshold",
    "linear_topk",
    "max_cosine",
    "nested_decode_loss",
    "nested_errors",
    "ragged_decode",
    "ragged_nested_decode_loss",
    "sparse_decode",
    "sparse_outer",
]
