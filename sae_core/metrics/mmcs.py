"""Mean max cosine similarity: how much of a dictionary another dictionary found as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.match_metric import MatchMetric, MatchSeen

if TYPE_CHECKING:
    import torch

REFERENCE = (
    "Sharkey, Braun and Millidge, Taking features out of superposition with sparse "
    "autoencoders (2022)"
)
_NULL_ROWS, _NULL_BLOCK = 1024, 8192


@dataclass(frozen=True)
class DictionaryMatch:
    """How dictionary a (f, d) and b (g, d) match; living latents only, unless named `all`.

    `latent_a`, `best_in_b`, `cosine_ab`: each living latent of a, its best match among the living
    of b, and their cosine; the same from b to a. `null_ab`: what as many random directions as a
    has living latents (at most 4096) would score against b. None where a side has no latents left.
    """

    mmcs_ab: float | None
    mmcs_ba: float | None
    mmcs_all_ab: float
    mmcs_all_ba: float
    null_ab: float | None
    latent_a: torch.Tensor
    best_in_b: torch.Tensor
    cosine_ab: torch.Tensor
    latent_b: torch.Tensor
    best_in_a: torch.Tensor
    cosine_ba: torch.Tensor
    n_alive_a: int
    n_alive_b: int


def match_dictionaries(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    alive_a: torch.Tensor,
    alive_b: torch.Tensor,
    null_seed: int,
) -> DictionaryMatch:
    """Matches unit directions a (f, d) against b (g, d) both ways, never holding f × g.

    MMCS a→b = mean_i max_j a_i·b_j. `alive_a` (f,), `alive_b` (g,) bool.
    Raises ValueError where the widths d differ.
    Reference: Sharkey, Braun and Millidge (2022).
    """
    from sae_kernels import max_cosine

    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"dictionaries of width {a.shape[1]} and {b.shape[1]} cannot be matched: "
            "compare SAEs of one site."
        )
    everything = max_cosine(a, b)
    latent_a, latent_b = alive_a.nonzero().squeeze(1), alive_b.nonzero().squeeze(1)
    both = len(latent_a) > 0 and len(latent_b) > 0
    best = max_cosine(a[latent_a], b[latent_b]) if both else None
    none = latent_a[:0]
    return DictionaryMatch(
        mmcs_ab=float(best.value_ab.mean()) if best else None,
        mmcs_ba=float(best.value_ba.mean()) if best else None,
        mmcs_all_ab=float(everything.value_ab.mean()),
        mmcs_all_ba=float(everything.value_ba.mean()),
        null_ab=_null(a[latent_a], len(latent_b), seed=null_seed) if both else None,
        latent_a=latent_a if best else none,
        best_in_b=latent_b[best.index_ab] if best else none,
        cosine_ab=best.value_ab if best else a.new_zeros(0),
        latent_b=latent_b if best else none,
        best_in_a=latent_a[best.index_ba] if best else none,
        cosine_ba=best.value_ba if best else a.new_zeros(0),
        n_alive_a=len(latent_a),
        n_alive_b=len(latent_b),
    )


def _null(a: torch.Tensor, n_directions: int, *, seed: int) -> float:
    """By symmetry the same for every a: at most 1024 of its rows, directions drawn in blocks."""
    import torch
    from sae_kernels import max_cosine

    generator = torch.Generator().manual_seed(seed)
    best = None
    for start in range(0, n_directions, _NULL_BLOCK):
        shape = (min(_NULL_BLOCK, n_directions - start), a.shape[1])
        drawn = torch.randn(shape, generator=generator).to(a.device, a.dtype)
        value = max_cosine(a[:_NULL_ROWS], drawn).value_ab
        best = value if best is None else torch.maximum(best, value)
    return float(best.mean())


def _other_seed(variant: str, match: MatchSeen) -> bool:
    return match.pair == "other_seed"


def _random_twin(variant: str, match: MatchSeen) -> bool:
    return match.pair == "other_weights" and match.other_variant == "random"


_WANTED: dict[str, tuple[Callable[[str, MatchSeen], bool], str]] = {
    "mmcs_other_seed": (_other_seed, "no other seed of this recipe has been evaluated yet"),
    "mmcs_random_twin": (_random_twin, "no twin on `random` weights has been evaluated yet"),
}


def _values(variant: str, matches: Sequence[MatchSeen]) -> Mapping[str, Measured]:
    found = {}
    for name, (wanted, missing) in _WANTED.items():
        if name == "mmcs_random_twin" and variant != "trained":
            found[name] = Measured(None, reason="asked of SAEs on trained weights only")
            continue
        seen = [match.mmcs for match in matches if wanted(variant, match)]
        known = [value for value in seen if value is not None]
        if known:
            found[name] = Measured(sum(known) / len(known), n=len(known))
        else:
            reason = "no latents are alive on one of the sides" if seen else missing
            found[name] = Measured(None, n=0, reason=reason)
    return found


METRIC = MatchMetric(
    definitions=(
        MetricDefinition(
            name="mmcs_other_seed",
            version=1,
            unit="cosine",
            better="higher",
            formula="mean over other seeds of mean_i max_j d_i·g_j, d_i and g_j living directions",
            reference=REFERENCE,
            description=(
                "Mean max cosine similarity from this SAE to the same recipe and source trained "
                "with another seed: 1 means that the seeds agree. Latents alive on the evaluation "
                "tokens only. n counts the other seeds."
            ),
        ),
        MetricDefinition(
            name="mmcs_random_twin",
            version=1,
            unit="cosine",
            better="neither",
            formula="mean over twins of mean_i max_j d_i·g_j, d_i and g_j living directions",
            reference=f"{REFERENCE}; random twins: Heap et al. (2025), arXiv 2501.17727",
            description=(
                "Mean max cosine similarity from this SAE to the same recipe and seed trained on "
                "the LM with `random` weights; compare mmcs_null_ab in dictionary_matches. Latents "
                "alive on the evaluation tokens only. n counts the twins."
            ),
        ),
    ),
    values=_values,
)
