"""The tables of SAEs trained on made-up data whose truth is known."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns

_ABSORPTION = Table(
    "absorption",
    "Absorption on a toy hierarchy of features that imply each other, whose truth is known: one "
    "row per recipe, seed and budget. `examples/absorption.py` writes it.",
    columns(
        "recipe v name of the recipe in examples/absorption.py",
        "architecture v architecture of the recipe",
        "seed b seed of the hierarchy, the data and the SAE",
        "n_latents b f: number of latents",
        "k b active latents per token",
        "tokens b training tokens seen",
        "absorbed d share of tokens with a child feature on which its latent has taken over the "
        "parent's direction",
        "missed_alone d share of tokens with a parent and none of its children on which the "
        "parent's latent is silent: what it misses where nothing can absorb it",
    ),
    ("recipe", "seed", "tokens"),
)
TOY_TABLES = (_ABSORPTION,)
