"""On which tokens each latent fires: latents of one token, and how spread out the others are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.tally_metric import Seen, Subject, Tally, TallyMetric

if TYPE_CHECKING:
    import numpy as np
    import torch

# With fewer fires nearly every latent looks like one of a single token.
MIN_FIRES = 16
SINGLE = 0.9
_PENDING = 2**20


class _Tally:
    """Counts fires by (latent, token, group of documents): 16 bytes per distinct one."""

    def __init__(self, subject: Subject) -> None:
        import torch

        from sae_core.group_jackknife import n_groups

        self.f, self.v = len(subject.dictionary), subject.vocabulary
        self.groups = n_groups(subject.n_documents)
        self.keys = torch.zeros(0, dtype=torch.int64)
        self.counts = torch.zeros(0, dtype=torch.int64)
        self.pending: list[torch.Tensor] = []

    def add(self, seen: Seen) -> None:
        code = seen.reconstruction.code
        fired = code.fired.cpu()
        inner = seen.tokens.cpu() * self.groups + seen.documents.cpu() % self.groups
        latents = code.indices.cpu()[fired]
        inner = inner.unsqueeze(1).expand_as(fired)[fired]
        self.pending.append(latents * (self.v * self.groups) + inner)
        if sum(map(len, self.pending)) > _PENDING:
            self._merge()

    def _merge(self) -> None:
        import torch

        new, counts = torch.cat(self.pending).unique(return_counts=True)
        keys, place = torch.cat([self.keys, new]).unique(return_inverse=True)
        self.counts = torch.zeros_like(keys).index_add_(0, place, torch.cat([self.counts, counts]))
        self.keys, self.pending = keys, []

    def result(self) -> Mapping[str, np.ndarray]:
        """`n_fires`, `token_entropy`, `top_token`, `top_token_share`, each (f,).

        `left_out/<number>` (G,): each number without each group of documents.
        """
        import numpy as np
        import torch

        if self.pending:
            self._merge()
        groups = self.keys % self.groups
        pairs, place = (self.keys // self.groups).unique(return_inverse=True)
        counts = self.counts.double()
        totals = torch.zeros(len(pairs), dtype=torch.float64).index_add_(0, place, counts)
        arrays = self._arrays(pairs, totals)
        without: dict[str, list[float]] = {d.name: [] for d in METRIC.definitions}
        for group in range(self.groups):
            mine = groups == group
            rest = totals.index_add(0, place[mine], counts[mine], alpha=-1)
            for name, measured in _values(self._arrays(pairs, rest)).items():
                without[name].append(np.nan if measured.value is None else measured.value)
        return arrays | {f"left_out/{name}": np.array(values) for name, values in without.items()}

    def _arrays(self, pairs: torch.Tensor, counts: torch.Tensor) -> dict[str, np.ndarray]:
        """Of pairs latent · v + token, ascending, and how often each occurs."""
        import torch

        latents = pairs // self.v
        fires = torch.zeros(self.f, dtype=torch.float64).index_add_(0, latents, counts)
        share = (counts / fires[latents]).nan_to_num(0.0)
        entropy = torch.zeros_like(fires).index_add_(0, latents, -torch.xlogy(share, share))
        largest = torch.zeros_like(fires).scatter_reduce_(0, latents, share, "amax")
        # Pairs ascend, so written from the back the lowest of equally frequent tokens stays.
        top = ((share == largest[latents]) & (counts > 0)).nonzero().flip(0).squeeze(1)
        token = torch.full((self.f,), -1, dtype=torch.int64)
        token[latents[top]] = pairs[top] % self.v
        return {
            "n_fires": fires.long().numpy(),
            "token_entropy": entropy.clamp_min(0).numpy(),
            "top_token": token.numpy(),
            "top_token_share": largest.numpy(),
        }


def _start(subject: Subject) -> Tally:
    return _Tally(subject)


def _values(arrays: Mapping[str, np.ndarray]) -> Mapping[str, Measured]:
    counted = arrays["n_fires"] >= MIN_FIRES
    n = int(counted.sum())
    if not n:
        missing = Measured(None, n=0, reason=f"no latent fires on {MIN_FIRES} tokens or more")
        return dict.fromkeys(("token_entropy", "single_token_latents"), missing)
    single = arrays["top_token_share"][counted] >= SINGLE
    return {
        "token_entropy": Measured(float(arrays["token_entropy"][counted].mean()), n=n),
        "single_token_latents": Measured(float(single.mean()), n=n),
    }


METRIC = TallyMetric(
    definitions=(
        MetricDefinition(
            name="token_entropy",
            version=1,
            unit="nats",
            better="neither",
            formula="mean over latents i of −Σ_v q_i(v) ln q_i(v), q_i(v) the share of i's fires "
            f"on token v; latents with ≥ {MIN_FIRES} fires",
            reference="Heap et al., Automated Interpretability Metrics Do Not Distinguish Trained "
            "and Random Transformers (2025), arXiv 2501.17727",
            description="How many different tokens a latent fires on: 0 for a latent of one "
            "token. It grows with the number of tokens searched. n counts latents.",
        ),
        MetricDefinition(
            name="single_token_latents",
            version=1,
            unit="share of latents",
            better="neither",
            formula=f"#{{i : max_v q_i(v) ≥ {SINGLE}}} / #{{i}}, q_i(v) the share of i's fires on "
            f"token v; latents with ≥ {MIN_FIRES} fires",
            reference="Heap et al. (2025), arXiv 2501.17727; Bricken et al., Towards "
            "Monosemanticity (2023), on token-level features",
            description=f"Share of latents with at least {SINGLE:.0%} of their fires on one and "
            "the same token. n counts latents.",
        ),
    ),
    version=1,
    start=_start,
    of="code",
    values=_values,
)
