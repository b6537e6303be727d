"""The tables of SAEs that write several sites."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns

_SITE_METRICS = Table(
    "site_metrics",
    "Held-out reconstruction at each site of an SAE that writes several: one row per SAE, site and "
    "metric.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "site v one of the sites that the SAE reconstructs",
        "metric v",
        "metric_version b",
        "value d",
        "ci_low d",
        "ci_high d",
        "n b tokens the value rests on",
        "reason v",
    ),
    ("sae", "sae_hash", "site", "metric"),
)
_LATENT_SITES = Table(
    "latent_sites",
    "How strongly each latent of an SAE that writes several sites writes to each of them.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "latent b index of the latent, from 0",
        "site v one of the sites that the SAE reconstructs",
        "decoder_norm d norm of its direction there, in units in which all sites have equal size",
        "relative_decoder_norm d its share in the sum of the latent's norms over all sites",
    ),
    ("sae", "sae_hash"),
)

SITE_TABLES = (_SITE_METRICS, _LATENT_SITES)
