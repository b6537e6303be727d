"""The tables that evaluations fill."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns
from pipeline.catalog.latent_tables import LATENT_EXAMPLES, LATENTS

_DEVIATIONS = "deviations of these draws by which"
_FEW_ROWS = (
    "a draw is judged on at most 1,024 of the latents, spread evenly, so that of f more its "
    "deviation is larger, and z smaller, by up to sqrt(f / 1024)"
)


def _nulls(name: str, way: str) -> list[str]:
    """Columns of what chance gives for an MMCS."""
    of, end = f"{name}_{way}", _DEVIATIONS
    other = "b" if way == "ab" else "a"
    return [
        f"{name}_null_{way} d {of} expected for random directions in place of {other}",
        f"{name}_null_z_{way} d standard {end} {of} lies above them",
        f"{name}_permuted_{way} d {of} expected for {other} with its coordinates permuted",
        f"{name}_permuted_z_{way} d standard {end} {of} lies above them",
    ]


def _shared_nulls(percent: int) -> list[str]:
    """Columns of what chance gives at most for a shared fraction."""
    of = f"shared_{percent}"
    least = "at least so many standard deviations of these draws lies"
    return [
        f"{of}_null_at_most d mean bound of {of} for random directions in place of one side",
        f"{of}_null_z d {least} {of} above them; NULL where they do not differ",
        f"{of}_permuted_at_most d mean bound of {of} for permuted coordinates of one side",
        f"{of}_permuted_z d {least} {of} above them; NULL where they do not differ",
    ]


METRICS = Table(
    "metrics",
    "Held-out metrics, long form: one row per SAE and metric.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "metric v",
        "metric_version b",
        "value d",
        "ci_low d",
        "ci_high d",
        "n b tokens, latents or pairs the value rests on",
        "reason v",
    ),
    ("sae", "sae_hash", "metric"),
)
DOCUMENT_SUMS = Table(
    "document_sums",
    "Sums per held-out document, from which any mean, ratio or bootstrap can be made again.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "document b number of the document in the packed corpus",
        "n_predictions b scored predictions in the document; the next six are sums over them",
        "ce_clean d loss of the untouched LM in nats",
        "ce_spliced d loss with the SAE spliced in",
        "ce_zero d loss under zero ablation",
        "ce_mean d loss under mean ablation",
        "ce_unigram d loss of the training text's token frequencies",
        "kl d KL divergence from clean to spliced predictions",
        "n_same_top1 b predictions whose most likely token splicing leaves as it was",
        "n_tokens b tokens whose reconstruction is measured; the next two are sums over them",
        "squared_error d squared error of the reconstruction",
        "n_active b active latents",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
FREQUENCY_CUTS = Table(
    "frequency_cuts",
    "What an SAE is worth without the latents that fire on more than a share of the tokens.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "tau d latents that fire on more than this share of the calibration tokens are dropped",
        "is_stated o whether tau is a stated cut; the others are all that differ, at most 500",
        "n_dropped b latents dropped",
        "fvu d fraction of variance unexplained without them, on held-out text",
        "fvu_ci_low d lower end of its 95 % interval; at stated cuts",
        "fvu_ci_high d upper end of its 95 % interval; at stated cuts",
        "l0 d mean active latents per token that are left",
        "ce_spliced d LM loss in nats with what is left spliced in; at stated cuts",
        "ce_increase_nats d ce_spliced less the untouched model's loss on the same tokens",
        "loss_recovered_zero d share of the zero-ablation loss recovered on the same tokens",
        "loss_recovered_zero_ci_low d lower end of its 95 % interval",
        "loss_recovered_zero_ci_high d upper end of its 95 % interval",
        "n_tokens b held-out tokens behind fvu and l0",
        "n_predictions b predictions behind the losses",
        "reason v",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
PROGRESSIVE_CODE = Table(
    "progressive_code",
    "What an SAE is worth when each token keeps only its k strongest latents.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "k b latents kept per token, the strongest first; 0 is the decoder bias alone",
        "fvu d fraction of variance unexplained",
        "fvu_ci_low d lower end of its 95 % interval",
        "fvu_ci_high d upper end of its 95 % interval",
        "l0 d mean active latents per token that are left",
        "ce_spliced d LM loss in nats with the kept latents spliced in; at powers of two",
        "ce_increase_nats d ce_spliced less the untouched model's loss on the same tokens",
        "loss_recovered_zero d share of the zero-ablation loss recovered on the same tokens",
        "loss_recovered_zero_ci_low d lower end of its 95 % interval",
        "loss_recovered_zero_ci_high d upper end of its 95 % interval",
        "n_tokens b held-out tokens behind fvu and l0",
        "n_predictions b predictions behind the losses",
        "reason v",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
DICTIONARY_MATCHES = Table(
    "dictionary_matches",
    "How alike two dictionaries are: mean max cosine similarity (MMCS), both ways.",
    columns(
        "sae_a v",
        "sae_a_hash v",
        "sae_b v",
        "sae_b_hash v",
        "pair v other_seed, other_weights or other_width: in what the two differ; or "
        "requested: a pair that `sae match` was asked for",
        "mmcs_ab d mean over a's live latents of the best cosine in b",
        "mmcs_ba d mean over b's live latents of the best cosine in a",
        "mmcs_all_ab d the same over all latents of a",
        "mmcs_all_ba d the same over all latents of b",
        "mmcs_all_abs_ab d mean over all latents of a of the best absolute cosine in all of b",
        "mmcs_all_abs_ba d the same from b to a",
        "n_alive_a b live latents of a",
        "n_alive_b b live latents of b",
        "mmcs_abs_ab d mean over a's live latents of the best absolute cosine in b",
        "mmcs_abs_ba d the same from b to a",
        "mmcs_encoder_ab d mmcs_ab of the encoder rows",
        "mmcs_encoder_ba d mmcs_ba of the encoder rows",
        "mmcs_null_ab d mmcs_ab expected for random directions in place of b, mean of 10 draws",
        f"mmcs_null_z_ab d standard {_DEVIATIONS} mmcs_ab lies above them; {_FEW_ROWS}",
        "mmcs_permuted_ab d mmcs_ab expected for b with its coordinates permuted, mean of 10 draws",
        f"mmcs_permuted_z_ab d standard {_DEVIATIONS} mmcs_ab lies above them; {_FEW_ROWS}",
        *_nulls("mmcs", "ba"),
        *_nulls("mmcs_all", "ab"),
        *_nulls("mmcs_all", "ba"),
        "is_exact o whether the one-to-one pairs have the largest sum of cosines there is; else "
        "they are taken greedily, the closest first",
        "paired_cosine d sum of the one-to-one pairs' cosines over the live latents of the side "
        "that has fewer",
        "paired_cosine_at_most d no one-to-one pairing can exceed this",
        "shared_50 d one-to-one pairs of cosine >= 0.5 over live latents of the side with fewer",
        "shared_70 d the same at 0.7",
        "shared_90 d the same at 0.9",
        "shared_50_at_most d no one-to-one pairing can exceed this",
        "shared_70_at_most d no one-to-one pairing can exceed this",
        "shared_90_at_most d no one-to-one pairing can exceed this",
        *_shared_nulls(50),
        *_shared_nulls(70),
        *_shared_nulls(90),
        "n_common_tokens b held-out tokens on which both codes were kept and compared",
        "activation_correlation_ab d mean over a's live latents of the correlation of activations "
        "with the best match's, where both vary on these tokens",
        "activation_correlation_ba d the same from b to a",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash", "pair"),
)
LATENT_MATCHES = Table(
    "latent_matches",
    "Each latent's best match in another dictionary.",
    columns(
        "sae_a v",
        "sae_a_hash v",
        "latent_a b index of the latent",
        "sae_b v",
        "sae_b_hash v",
        "latent_b b index of its best match",
        "cosine d cosine of the two directions",
        "encoder_cosine d cosine of the two latents' encoder rows",
        "partner b its partner among b's live latents, one to one; NULL for none",
        "partner_cosine d cosine with that partner",
        "activation_correlation d correlation of latent_a's and latent_b's activations on common "
        "held-out tokens, zeros counted; NULL where one of them does not vary there",
        "n_fires_common b common tokens on which latent_a fires: what the shares rest on",
        "fires_with_best d share of these on which latent_b fires as well",
        "rival b the latent of a that is latent_b's one-to-one partner; NULL for none or latent_a",
        "rival_cosine d cosine of the rival with latent_b",
        "fires_with_rival d share of latent_a's fires on which the rival fires as well",
        "width_class v for a wider a of the same source: shared, absorbed, split or novel, by the "
        "rule in width_classes",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash"),
    is_long=True,
)
STITCHING = Table(
    "stitching",
    "What a narrow SAE gains when latents of a wider one join its reconstruction, by their class "
    "in width_classes, on the held-out tokens of curves.",
    columns(
        "sae_narrow v id of the SAE of fewer latents",
        "sae_narrow_hash v its content hash",
        "sae_wide v id of the SAE of more latents, same source and seed",
        "sae_wide_hash v its content hash",
        "added v which latents of the wide SAE join: nothing, novel, absorbed, or reconstruction "
        "(shared and split)",
        "n_added b how many these are",
        "fvu d fraction of variance unexplained by the narrow SAE with them",
        "fvu_change d fvu less that of the narrow SAE alone: below 0 they help",
        "fvu_change_ci_low d lower end of its 95 % interval",
        "fvu_change_ci_high d upper end of its 95 % interval",
        "ce_increase_nats d what splicing this in costs the LM",
        "ce_change d ce_increase_nats less that of the narrow SAE alone: below 0 they help",
        "ce_change_ci_low d lower end of its 95 % interval",
        "ce_change_ci_high d upper end of its 95 % interval",
        "n_tokens b held-out tokens behind fvu",
        "n_predictions b predictions behind the losses",
        "reason v",
    ),
    ("sae_narrow", "sae_narrow_hash", "sae_wide", "sae_wide_hash"),
    is_long=True,
)
COMPARISONS = Table(
    "comparisons",
    "Trained against random, paired on the same documents: a (trained) minus b (random).",
    columns(
        "sae_a v",
        "sae_a_hash v",
        "sae_b v",
        "sae_b_hash v",
        "metric v",
        "difference d value of a minus value of b",
        "ci_low d",
        "ci_high d",
        "n b documents resampled",
        "level v what was resampled: documents (given these seeds), ...",
        "reason v",
    ),
    ("sae_a", "sae_a_hash", "sae_b", "sae_b_hash", "metric"),
)

EVALUATION_TABLES = (
    METRICS,
    DOCUMENT_SUMS,
    LATENTS,
    LATENT_EXAMPLES,
    FREQUENCY_CUTS,
    PROGRESSIVE_CODE,
    DICTIONARY_MATCHES,
    LATENT_MATCHES,
    STITCHING,
    COMPARISONS,
)
