"""What a sweep adds up for one SAE, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from pipeline.evaluation.tables import DocumentTables, LatentSums, version_text
from sae_core.code import SparseCode
from sae_core.metrics.token_metric import Losses, Reconstruction, TokenMetric, sums_per_document
from sae_core.sae import Sae


@dataclass(frozen=True)
class Candidate:
    """An SAE to be measured: its id, the metrics over tokens that are wanted, its dead latents."""

    name: str
    sae: Sae
    metrics: Mapping[str, TokenMetric]
    dead_train: np.ndarray | None

    @property
    def needs_losses(self) -> bool:
        """Whether the language model must be run to its end."""
        return any(metric.of == "losses" for metric in self.metrics.values())


@dataclass
class Sums:
    """Running sums of one candidate over D documents."""

    candidate: Candidate
    n_documents: int
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    n_tokens: int = 0

    def __post_init__(self) -> None:
        f = self.candidate.sae.n_latents
        self.n_fires = torch.zeros(f, dtype=torch.int64)
        self.sum_values = torch.zeros(f, dtype=torch.float64)
        self.max_value = torch.zeros(f, dtype=torch.float64)
        self.l0_histogram = torch.zeros(f + 1, dtype=torch.int64)

    def add(self, batch: Reconstruction | Losses, documents: torch.Tensor) -> None:
        """Adds a batch's columns; `documents` (n,) numbers the documents of its tokens."""
        kind = "losses" if isinstance(batch, Losses) else "reconstruction"
        for name, metric in self.candidate.metrics.items():
            if metric.of == kind:
                per_token = metric.per_token(batch).cpu()
                sums = sums_per_document(per_token, documents.cpu(), self.n_documents)
                self.tables[name] = self.tables[name] + sums if name in self.tables else sums

    def add_code(self, code: SparseCode) -> None:
        """Adds what fired on a batch."""
        fired = code.fired.cpu()
        latents, values = code.indices.cpu()[fired], code.values.cpu()[fired].double()
        f = len(self.n_fires)
        self.n_tokens += len(fired)
        self.n_fires += torch.bincount(latents, minlength=f)
        self.sum_values.index_add_(0, latents, values)
        self.max_value.scatter_reduce_(0, latents, values, "amax")
        self.l0_histogram += torch.bincount(fired.sum(1), minlength=f + 1)

    def result(self, documents: np.ndarray) -> DocumentTables:
        """The sums as they are kept beside the SAE; `documents` (D,) are the corpus' numbers."""
        seen = int(self.l0_histogram.nonzero().max()) + 1 if self.n_tokens else 1
        sae = self.candidate.sae
        cosine = torch.nn.functional.cosine_similarity(sae.W_enc.detach(), sae.W_dec.detach())
        return DocumentTables(
            documents=documents,
            tables={name: table.numpy() for name, table in self.tables.items()},
            versions={n: version_text(m.definitions) for n, m in self.candidate.metrics.items()},
            latents=LatentSums(
                n_tokens=self.n_tokens,
                n_fires=self.n_fires.numpy(),
                sum_values=self.sum_values.numpy(),
                max_value=self.max_value.numpy(),
                l0_histogram=self.l0_histogram[:seen].numpy(),
                decoder_norm=sae.W_dec.detach().double().norm(dim=1).cpu().numpy(),
                encoder_decoder_cosine=cosine.double().cpu().numpy(),
                dead_train=self.candidate.dead_train,
            ),
        )
