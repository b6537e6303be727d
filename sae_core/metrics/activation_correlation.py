"""Whether matched latents of two seeds fire together, not only point the same way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sae_core.metrics.definition import Measured, MetricDefinition
from sae_core.metrics.match_metric import MatchMetric, MatchSeen
from sae_core.over_seeds import mean_over_others


def _values(variant: str, matches: Sequence[MatchSeen]) -> Mapping[str, Measured]:
    name = "activation_correlation_other_seed"
    seen = [match.correlation for match in matches if match.pair == "other_seed"]
    known = [value for value in seen if value is not None]
    if known:
        return {name: mean_over_others(known, "the other seeds")}
    if seen:
        reason = "no matched latents both vary on the tokens that both SAEs keep"
    else:
        reason = "no other seed of this recipe has been evaluated yet"
    return {name: Measured(None, n=0, reason=reason)}


METRIC = MatchMetric(
    definitions=(
        MetricDefinition(
            name="activation_correlation_other_seed",
            version=2,
            unit="correlation",
            better="higher",
            formula="mean over other seeds of mean_i ρ(a_i, b_m(i)), m(i) the latent of largest "
            "cosine, ρ over common held-out tokens, zeros counted",
            reference="Bricken et al., Towards Monosemanticity (2023), on universality: activation "
            "similarity",
            description=(
                "Correlation of a latent's activation with that of its best match by direction in "
                "another seed, mean over living latents whose match varies there too. Common "
                "tokens are every fourth place, or every 2^j-th where that keeps more than 2^20 "
                "activations: see n_common_tokens in dictionary_matches. Latents that fire a few "
                "times there have noisy correlations. n counts the other seeds."
            ),
        ),
    ),
    values=_values,
)
