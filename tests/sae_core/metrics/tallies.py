"""Tallies kept of codes that are given by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sae_core.code import SparseCode
from sae_core.metrics import metrics
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric
from sae_core.metrics.token_metric import Reconstruction
from sae_core.probe_text import ProbeText

DOCUMENTS, VOCABULARY = 4, 11


def subject(
    dictionary: torch.Tensor,
    frequency: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    input_scale: float = 1.0,
    n_experts: int | None = None,
    probe_text: ProbeText | None = None,
) -> Subject:
    """An SAE of this dictionary (f, d)."""
    f, d = dictionary.shape
    return Subject(
        dictionary=dictionary,
        bias=torch.zeros(d) if bias is None else bias,
        input_scale=input_scale,
        n_documents=DOCUMENTS,
        vocabulary=VOCABULARY,
        calibration_frequency=lambda: torch.zeros(f) if frequency is None else frequency,
        n_experts=n_experts,
        probe_text=probe_text,
    )


def tallied(
    name: str,
    of: Subject,
    code: SparseCode,
    *,
    x: torch.Tensor | None = None,
    tokens: torch.Tensor | None = None,
    x_hat: torch.Tensor | None = None,
    center: torch.Tensor | None = None,
    batch: int = 10**9,
) -> tuple[Tally, Mapping[str, np.ndarray]]:
    """A metric's tally of a code, shown in batches, and its arrays."""
    n, f = len(code.indices), len(of.dictionary)
    tokens = torch.arange(n) % VOCABULARY if tokens is None else tokens
    x = torch.zeros(n, of.dictionary.shape[1], dtype=torch.float64) if x is None else x
    documents = torch.arange(n) * DOCUMENTS // n
    if x_hat is None:
        parts = code.values.double().unsqueeze(2) * of.dictionary.double()[code.indices]
        x_hat = parts.sum(1) + of.bias.double()
    center = torch.zeros(x.shape[1], dtype=torch.float64) if center is None else center
    metric = metrics()[name]
    assert isinstance(metric, TallyMetric)
    tally = metric.start(of)
    for start in range(0, n, batch):
        part = slice(start, start + batch)
        seen = SparseCode(code.indices[part], code.values[part], f)
        norms = of.dictionary.double().norm(dim=1)
        one = Reconstruction(x[part], x_hat[part], seen, norms, center)
        tally.add(Seen(tokens[part], torch.arange(n)[part] * 3, documents[part], one))
    return tally, tally.result()


def drawn_code(n: int, k: int, f: int, seed: int = 0) -> SparseCode:
    """k different latents per token, about half of them active."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.rand(n, f, generator=generator).argsort(dim=1)[:, :k]
    values = torch.randn(n, k, generator=generator).clamp_min(0)
    return SparseCode(indices, values, f)


def drawn_dictionary(f: int, d: int, seed: int = 1) -> torch.Tensor:
    """Rows (f, d) of different lengths, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(f, d, generator=generator, dtype=torch.float64)
