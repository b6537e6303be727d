"""Mean max cosine similarity: how much of a dictionary another dictionary found as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.match_metric import MatchMetric, MatchSeen
from sae_core.over_seeds import mean_over_others

REFERENCE = (
    "Sharkey, Braun and Millidge, Taking features out of superposition with sparse "
    "autoencoders (2022)"
)
PAIRS_REFERENCE = (
    "Paulo and Belrose, Sparse Autoencoders Trained on the Same Data Learn Different Features "
    "(2025), arXiv 2501.16615"
)


def _other_seed(variant: str, match: MatchSeen) -> bool:
    return match.pair == "other_seed"


def _random_twin(variant: str, match: MatchSeen) -> bool:
    return match.pair == "other_weights" and match.other_variant == "random"


_SEEDS = (_other_seed, "the other seeds", "no other seed of this recipe has been evaluated yet")
_TWINS = (_random_twin, "the twins", "no twin on `random` weights has been evaluated yet")
_WANTED: dict[str, tuple[Callable[[str, MatchSeen], bool], str, str]] = {
    "mmcs_other_seed": _SEEDS,
    "mmcs_random_twin": _TWINS,
    "shared_other_seed": _SEEDS,
    "shared_random_twin": _TWINS,
}


def _values(variant: str, matches: Sequence[MatchSeen]) -> Mapping[str, Measured]:
    found = {}
    for name, (wanted, others, missing) in _WANTED.items():
        if name.endswith("random_twin") and variant != "trained":
            found[name] = Measured(None, reason="asked of SAEs on trained weights only")
            continue
        of = "shared" if name.startswith("shared") else "mmcs"
        seen = [getattr(match, of) for match in matches if wanted(variant, match)]
        known = [value for value in seen if value is not None]
        if known:
            found[name] = mean_over_others(known, others)
        else:
            reason = "no latents are alive on one of the sides" if seen else missing
            found[name] = Measured(None, n=0, reason=reason)
    return found


METRIC = MatchMetric(
    definitions=(
        MetricDefinition(
            name="mmcs_other_seed",
            version=2,
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
            version=2,
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
        MetricDefinition(
            name="shared_other_seed",
            version=2,
            unit="share of latents",
            better="higher",
            formula="mean over other seeds of #{one-to-one pairs of cosine ≥ 0.7} / min(f', g'), "
            "f', g' the living latents",
            reference=PAIRS_REFERENCE,
            description=(
                "Share of living latents that another seed found as well, where each may serve "
                "one partner only: MMCS lets many share a match. n counts the other seeds."
            ),
        ),
        MetricDefinition(
            name="shared_random_twin",
            version=2,
            unit="share of latents",
            better="neither",
            formula="mean over twins of #{one-to-one pairs of cosine ≥ 0.7} / min(f', g'), "
            "f', g' the living latents",
            reference=f"{PAIRS_REFERENCE}; random twins: Heap et al. (2025), arXiv 2501.17727",
            description=(
                "The same with the recipe and seed trained on the LM with `random` weights. "
                "n counts the twins."
            ),
        ),
    ),
    values=_values,
)
