"""What k latents say of labelled tokens, beside what neurons, all of x and the token itself say.

It fills the table `probes`. Codes are kept of the labelled tokens alone: 12 bytes per active
latent, 100 MB at most; beyond that every second place is left out, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np
    import torch

    from sae_core.labelled_tokens import LabelledTokens
    from sae_core.probe_columns import SparseColumns
    from sae_core.probing import Probe

MOST = 2**23
_SEED = 0
_BLOCK = 4096
_REFERENCE = (
    "Gurnee et al., Finding Neurons in a Haystack: Case Studies with Sparse Probing (2023), "
    "arXiv 2305.01610; Karvonen et al., SAEBench (2025), arXiv 2503.09532"
)


class _Tally:
    """Active latents of labelled tokens: the token's number, the latent, its activation."""

    def __init__(self, subject: Subject) -> None:
        self.n_latents = len(subject.dictionary)
        self.text = subject.probe_text
        self.parts: list[tuple[torch.Tensor, ...]] = []
        self.n_entries, self.stride = 0, 1

    def add(self, seen: Seen) -> None:
        if self.text is None:
            return
        code = seen.reconstruction.code
        known, numbers = self.text.labelled.find(seen.places.cpu())
        here = known.to(code.indices.device)
        self.text.take(numbers, seen.reconstruction.x[here])
        indices, values = code.indices[here].cpu(), code.values[here].cpu().float()
        fired = values > 0
        tokens = numbers.unsqueeze(1).expand_as(fired)[fired]
        self._keep((tokens.int(), indices[fired].int(), values[fired]))

    def _keep(self, part: tuple[torch.Tensor, ...]) -> None:
        self.parts.append(self._thinned(part))
        self.n_entries += len(self.parts[-1][0])
        while self.n_entries > MOST:
            self.stride *= 2
            self.parts = [self._thinned(one) for one in self.parts]
            self.n_entries = sum(len(one[0]) for one in self.parts)

    def _thinned(self, part: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        kept = self._is_kept(part[0].long())
        return tuple(column[kept] for column in part)

    def _is_kept(self, tokens: torch.Tensor) -> torch.Tensor:
        assert self.text is not None
        return self.text.labelled.places[tokens] % self.stride == 0

    def result(self) -> Mapping[str, np.ndarray]:
        """A column per fact of a probe, and the resamples of the numbers; see `probe_arrays`."""
        import torch

        from sae_core.probe_arrays import mean_arrays, probe_arrays

        if self.text is None:
            return {}
        shared = self.text
        kept = shared.seen.nonzero().squeeze(1)
        kept = kept[self._is_kept(kept)]
        text, x = shared.labelled.only(kept), shared.x[kept]
        columns = self._code(kept)
        n_active = max(1, round(len(columns.tokens) / max(len(kept), 1)))
        key = (self.stride, len(kept))
        with torch.inference_mode():
            probes = [
                *_of_code(columns, text),
                *shared.once(key, lambda: _of_activations(x, text)),
                *shared.once(
                    (*key, self.n_latents, n_active),
                    lambda: _of_random_directions(x, self.n_latents, n_active, text),
                ),
            ]
        return probe_arrays(probes, text) | mean_arrays(probes, text, _NUMBERS)

    def _code(self, kept: torch.Tensor) -> SparseColumns:
        import torch

        from sae_core.probe_columns import SparseColumns

        empty = (torch.zeros(0, dtype=torch.int32),) * 2 + (torch.zeros(0),)
        joined = zip(empty, *self.parts, strict=True)
        tokens, latents, values = (torch.cat(column) for column in joined)
        return SparseColumns(
            torch.searchsorted(kept, tokens.long()), latents, values, len(kept), self.n_latents
        )


def _of_code(columns: SparseColumns, text: LabelledTokens) -> list[Probe]:
    from sae_core.probing import sparse_probes, with_shuffled_labels

    shuffled = with_shuffled_labels(text, seed=_SEED)
    return [
        *sparse_probes("latents", columns, columns.n_latents, text),
        *sparse_probes("shuffled_labels", columns, columns.n_latents, shuffled),
    ]


def _of_activations(x: torch.Tensor, text: LabelledTokens) -> list[Probe]:
    from sae_core.probe_columns import DenseColumns
    from sae_core.probing import dense_probes, identity_probes, sparse_probes

    return [
        *sparse_probes("neurons", DenseColumns(x), x.shape[1], text),
        *dense_probes(x, text),
        *identity_probes(text),
    ]


def _of_random_directions(
    x: torch.Tensor, n_latents: int, n_active: int, text: LabelledTokens
) -> list[Probe]:
    """Of a dictionary of as many random directions, the strongest n_active kept per token."""
    import torch
    from sae_kernels import linear_topk

    from sae_core.probe_columns import SparseColumns
    from sae_core.probing import sparse_probes

    generator = torch.Generator().manual_seed(_SEED)
    directions = torch.randn(n_latents, max(x.shape[1], 1), generator=generator)
    directions = torch.nn.functional.normalize(directions)
    train = x[~text.is_test]
    centre = train.double().mean(0).float() if len(train) else torch.zeros(x.shape[1])
    parts, bias = [], torch.zeros(n_latents)
    for start in range(0, len(x), _BLOCK):
        indices, values = linear_topk(
            x[start : start + _BLOCK] - centre, directions, bias, min(n_active, n_latents)
        )
        row, place = (values > 0).nonzero(as_tuple=True)
        parts.append((row + start, indices[row, place], values[row, place]))
    none = torch.zeros(0, dtype=torch.int64)
    tokens, latents, values = (
        torch.cat(column) for column in zip((none, none, torch.zeros(0)), *parts, strict=True)
    )
    columns = SparseColumns(tokens, latents, values, len(x), n_latents)
    return list(sparse_probes("random_dictionary", columns, n_latents, text))


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    n = int(arrays["n_labels"]) if "n_labels" in arrays else 0
    if not n:
        reason = "no label has enough tokens of both kinds on both sides"
        return dict.fromkeys(_NUMBERS, Measured(None, n=0, reason=reason))
    return {name: Measured(float(arrays[f"value/{name}"]), n=n) for name in _NUMBERS}


# A number is a mean AUC over labels, less another one.
_LATENT, _TOKEN, _NEURON = ("latents", 1), ("token", None), ("neurons", 1)
_NUMBERS = {
    "probe_auc_1": (_LATENT, None),
    "probe_auc_1_over_token": (_LATENT, _TOKEN),
    "probe_auc_1_over_neurons": (_LATENT, _NEURON),
}
_RULE = (
    "the latent of largest |correlation| with the label on probe-train documents, judged on "
    "probe-test documents; exclusive ors of labels are left out"
)

METRIC = TallyMetric(
    definitions=(
        MetricDefinition(
            name="probe_auc_1",
            version=1,
            unit="AUC",
            better="higher",
            formula="mean over labels of P(a(t₊) > a(t₋)) + ½ P(a(t₊) = a(t₋)), a the best latent",
            reference=_REFERENCE,
            description=f"How well single latents tell labelled tokens: {_RULE}. A token's "
            "identity alone may tell as much: see probe_auc_1_over_token. n counts labels.",
        ),
        MetricDefinition(
            name="probe_auc_1_over_token",
            version=1,
            unit="AUC",
            better="higher",
            formula="probe_auc_1 − mean over labels of the AUC of the label's share among "
            "probe-train tokens of the same id",
            reference=_REFERENCE,
            description="What single latents tell beyond the token they stand on. Below 0: a "
            "table of tokens does better. n counts labels.",
        ),
        MetricDefinition(
            name="probe_auc_1_over_neurons",
            version=1,
            unit="AUC",
            better="higher",
            formula="probe_auc_1 − the same of single coordinates of x",
            reference=_REFERENCE,
            description="What single latents tell beyond single coordinates of the activation, "
            "chosen by the same rule. n counts labels.",
        ),
    ),
    version=2,
    start=_start,
    of="code",
    values=_values,
    labelled=True,
)
