"""What a sweep adds up for one SAE, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch

from pipeline.evaluation.tables import DocumentTables, LatentSums, version_text
from sae_core.code import SparseCode
from sae_core.group_jackknife import n_groups
from sae_core.metrics.tally_metric import Seen, SplicingTally, Subject, Tally, TallyMetric
from sae_core.metrics.token_metric import (
    EveryPrediction,
    Losses,
    Reconstruction,
    TokenMetric,
    columns,
    sums_per_document,
)
from sae_core.probe_text import ProbeText
from sae_core.sae import Sae

_KINDS = {
    Reconstruction: "reconstruction",
    Losses: "losses",
    EveryPrediction: "every_prediction",
}


@dataclass(frozen=True)
class Candidate:
    """An SAE to be measured: its id, the metrics that are wanted, its dead latents.

    `calibration_frequency()` (f,): share of the calibration tokens on which each latent fires.
    `curve_tokens`: how many held-out tokens codes other than the SAE's own are spliced in on.
    `labels_version` says what labels `probe_text` holds, which all SAEs of a sweep share.
    """

    name: str
    sae: Sae
    metrics: Mapping[str, TokenMetric | TallyMetric]
    dead_train: np.ndarray | None
    calibration_frequency: Callable[[], torch.Tensor]
    curve_tokens: int
    labels_version: str = ""
    probe_text: ProbeText | None = None

    @property
    def needs_losses(self) -> bool:
        """Whether the language model must be run to its end."""
        metrics = self.metrics.values()
        return any(isinstance(m, TokenMetric) and m.of == "losses" for m in metrics)

    @property
    def needs_every_prediction(self) -> bool:
        """Whether the SAE is also spliced in as other packages do."""
        metrics = self.metrics.values()
        return any(isinstance(m, TokenMetric) and m.of == "every_prediction" for m in metrics)

    @property
    def needs_labels(self) -> bool:
        """Whether labels of the text are asked for."""
        metrics = self.metrics.values()
        return any(isinstance(m, TallyMetric) and m.labelled for m in metrics)

    def subject(self, n_documents: int, vocabulary: int) -> Subject:
        """What tallies are told of the SAE."""
        sae, where = self.sae, self.sae.W_dec.device
        nothing = torch.zeros(1, 1, device=where)
        empty = SparseCode(nothing.long(), nothing, sae.n_latents)
        return Subject(
            dictionary=sae.W_dec.detach(),
            bias=sae.decode(empty)[0].detach(),
            input_scale=float(sae.written_scale.view(-1)[0]),
            n_documents=n_documents,
            vocabulary=vocabulary,
            calibration_frequency=self.calibration_frequency,
            n_experts=sae.n_experts,
            probe_text=self.probe_text,
        )


@dataclass
class Sums:
    """Running sums of one candidate over D documents of a vocabulary of v tokens."""

    candidate: Candidate
    n_documents: int
    vocabulary: int
    tables: dict[str, torch.Tensor] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    spliced: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)
    n_tokens: int = 0

    def __post_init__(self) -> None:
        f = self.candidate.sae.n_latents
        self.n_fires = torch.zeros(f, dtype=torch.int64)
        self.sum_values = torch.zeros(f, dtype=torch.float64)
        self.max_value = torch.zeros(f, dtype=torch.float64)
        self.n_groups = n_groups(self.n_documents)
        self.group_fires = torch.zeros(self.n_groups, f, dtype=torch.int32)
        self.group_l0 = torch.zeros(self.n_groups, f + 1, dtype=torch.int64)
        subject = self.candidate.subject(self.n_documents, self.vocabulary)
        for name, metric in self.candidate.metrics.items():
            if isinstance(metric, TallyMetric):
                self.tallies[name] = metric.start(subject)

    def add(
        self, batch: Reconstruction | Losses | EveryPrediction, documents: torch.Tensor
    ) -> None:
        """Adds a batch's columns; `documents` (n,) numbers the documents of its tokens."""
        kind = _KINDS[type(batch)]
        for name, metric in self.candidate.metrics.items():
            if isinstance(metric, TokenMetric) and metric.of == kind:
                per_token = metric.per_token(batch).cpu()
                self.tables[name] = self._more(self.tables.get(name), per_token, documents)

    def add_part(
        self, part: Reconstruction, documents: torch.Tensor, names: Mapping[str, str]
    ) -> None:
        """Adds the columns of some metrics on a part of what is reconstructed, by other names."""
        for name, metric in self.candidate.metrics.items():
            if name in names and isinstance(metric, TokenMetric):
                own, per_token = names[name], metric.per_token(part).cpu()
                self.tables[own] = self._more(self.tables.get(own), per_token, documents)

    def add_seen(self, seen: Seen) -> None:
        """Adds a batch to every tally, and what fired to the latents' sums."""
        self._add_code(seen.reconstruction.code, seen.documents.cpu() % self.n_groups)
        for tally in self.tallies.values():
            tally.add(seen)

    def splicing(self) -> Iterator[tuple[str, SplicingTally]]:
        """The tallies that ask for losses of other codes, by metric."""
        for name, metric in self.candidate.metrics.items():
            if isinstance(metric, TallyMetric) and metric.splices:
                yield name, cast(SplicingTally, self.tallies[name])

    def add_spliced(
        self, metric: str, code: str, losses: tuple[torch.Tensor, ...], documents: torch.Tensor
    ) -> None:
        """Adds clean, spliced and zero-ablated losses (n,) of predictions with another code."""
        mine = self.spliced.setdefault(metric, {})
        mine[code] = self._more(mine.get(code), columns(*losses), documents)

    def _more(
        self, before: torch.Tensor | None, per_token: torch.Tensor, documents: torch.Tensor
    ) -> torch.Tensor:
        sums = sums_per_document(per_token, documents.cpu(), self.n_documents)
        return sums if before is None else before + sums

    def _add_code(self, code: SparseCode, groups: torch.Tensor) -> None:
        fired = code.fired.cpu()
        latents, values = code.indices.cpu()[fired], code.values.cpu()[fired].double()
        f = len(self.n_fires)
        self.n_tokens += len(fired)
        self.n_fires += torch.bincount(latents, minlength=f)
        self.sum_values.index_add_(0, latents, values)
        self.max_value.scatter_reduce_(0, latents, values, "amax")
        where = groups.unsqueeze(1).expand_as(fired)[fired] * f + latents
        self.group_fires += torch.bincount(where, minlength=self.n_groups * f).view(-1, f).int()
        active = groups * (f + 1) + fired.sum(1)
        counts = torch.bincount(active, minlength=self.n_groups * (f + 1))
        self.group_l0 += counts.view(-1, f + 1)

    def result(self, documents: np.ndarray) -> DocumentTables:
        """The sums as they are kept beside the SAE; `documents` (D,) are the corpus' numbers."""
        one = self.candidate
        return DocumentTables(
            documents=documents,
            tables={name: table.numpy() for name, table in self.tables.items()},
            versions={
                name: version_text(metric, one.curve_tokens, one.labels_version)
                for name, metric in one.metrics.items()
            },
            latents=self._latents(),
            tallies={name: self._arrays(name) for name in self.tallies},
        )

    def _arrays(self, metric: str) -> dict[str, np.ndarray]:
        losses = self.spliced.get(metric, {})
        return {
            **self.tallies[metric].result(),
            **{f"losses/{code}": table.numpy() for code, table in losses.items()},
        }

    def _latents(self) -> LatentSums:
        l0_histogram = self.group_l0.sum(0)
        seen = int(l0_histogram.nonzero().max()) + 1 if self.n_tokens else 1
        sae = self.candidate.sae
        cosine = torch.full((sae.n_latents,), torch.nan)  # not where other sites are written
        if sae.reads == sae.writes:
            cosine = torch.nn.functional.cosine_similarity(sae.W_enc.detach(), sae.W_dec.detach())
        return LatentSums(
            n_tokens=self.n_tokens,
            n_fires=self.n_fires.numpy(),
            sum_values=self.sum_values.numpy(),
            max_value=self.max_value.numpy(),
            l0_histogram=l0_histogram[:seen].numpy(),
            group_fires=self.group_fires.numpy(),
            group_l0=self.group_l0[:, :seen].numpy(),
            decoder_norm=sae.W_dec.detach().double().norm(dim=1).cpu().numpy(),
            encoder_decoder_cosine=cosine.double().cpu().numpy(),
            dead_train=self.candidate.dead_train,
        )
