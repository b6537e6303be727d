"""Loss recovered as other packages define it, so that their numbers can be compared.

Read in the code of SAELens 6.54.12, SAEBench 0.6.0 and 0.1.0, dictionary_learning 0.1.0 and
sparsify 1.3.3.
They differ from `loss_recovered_zero` and from each other in which tokens are replaced and which
predictions count; none leaves out predictions across a document's border. Where a package averages
the ratios of batches, all tokens are one batch here. Tokens whose activation training would mask
are replaced wherever special ones are. Measured on the part of the text that losses along curves
are measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.loss_recovered import around, no_loss, without_clue
from sae_core.metrics.token_metric import EveryPrediction, Setting, TokenMetric, Values, columns

if TYPE_CHECKING:
    import torch

# Which columns of the totals a score is made of: count, clean, spliced and zero-ablated loss.
_SCORES = {
    "ce_score_sae_lens": (2, 3, 4, 6),
    "ce_score_sae_bench": (2, 3, 5, 6),
    "frac_recovered_dictionary_learning": (7, 8, 9, 10),
}


def _per_token(batch: EveryPrediction) -> torch.Tensor:
    source, target = (~batch.from_special).double(), (~batch.of_special).double()
    everywhere = (batch.spliced_everywhere, batch.zero_everywhere)
    by_source = (batch.clean, batch.spliced, *everywhere)
    by_target = (batch.clean, *everywhere)
    return columns(
        batch.spliced_everywhere,
        source,
        *(loss * source for loss in by_source),
        target,
        *(loss * target for loss in by_target),
    )


def _values(totals: Any, setting: Setting) -> Values:
    return {
        "ce_sparsify": totals[..., 1] / totals[..., 0],
        **{
            name: (totals[..., zero] - totals[..., spliced])
            / (totals[..., zero] - totals[..., clean])
            for name, (_, clean, spliced, zero) in _SCORES.items()
        },
    }


def _reasons(totals: Any, replicates: Any, setting: Setting) -> Mapping[str, str]:
    clueless = without_clue(totals[2:], replicates[:, 2:], setting)
    if clueless:
        return dict.fromkeys(_SCORES, clueless)
    reasons = {}
    for name, (n, clean, _, zero) in _SCORES.items():
        cost = (replicates[:, zero] - replicates[:, clean]) / replicates[:, n]
        point = (totals[zero] - totals[clean]) / totals[n]
        reason = no_loss("zero ablation", point, *around(point, cost))
        if reason:
            reasons[name] = reason
    return reasons


def _score(name: str, reference: str, replaced: str, counted: str) -> MetricDefinition:
    return MetricDefinition(
        name=name,
        version=1,
        unit="share",
        better="higher",
        formula="(L(0) − L(x̂)) / (L(0) − L(x)), each a mean over predictions",
        reference=reference,
        description=f"{replaced} {counted} Zero ablation replaces every token, special ones too. "
        "NULL as loss_recovered_zero is. n counts predictions.",
    )


_FROM_PLAIN = "Predictions from special tokens do not count, those of special tokens do."

METRIC = TokenMetric(
    definitions=(
        _score(
            "ce_score_sae_lens",
            "SAELens 6.54.12, evals.py, ce_loss_score; SAEBench 0.6.0 with "
            "exclude_special_tokens_from_reconstruction",
            "Special tokens are left as they are under the SAE.",
            _FROM_PLAIN,
        ),
        _score(
            "ce_score_sae_bench",
            "SAEBench 0.6.0 and 0.1.0 (legacy), evals/core/main.py, ce_loss_score as the functions "
            "have it by default",
            "Every token is replaced under the SAE, special ones too.",
            _FROM_PLAIN,
        ),
        _score(
            "frac_recovered_dictionary_learning",
            "dictionary_learning 0.1.0, evaluation.py, frac_recovered",
            "Every token is replaced under the SAE, special ones too.",
            "Predictions of special tokens do not count, those from special tokens do: the package "
            "leaves out predictions of the padding token, and its nnsight makes that the token "
            "that ends texts.",
        ),
        MetricDefinition(
            name="ce_sparsify",
            version=1,
            unit="nats per token",
            better="lower",
            formula="mean over predictions of L(x̂)",
            reference="sparsify 1.3.3, trainer.py, ce_loss of loss_fn ce",
            description="Loss with every token replaced, special ones too; every prediction "
            "counts. The package has no score of loss recovered. n counts predictions.",
        ),
    ),
    of="every_prediction",
    per_token=_per_token,
    values=_values,
    reasons=_reasons,
)
