"""Tables with one row per latent, and with one per text on which a latent fires."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns

LATENTS = Table(
    "latents",
    "Every latent of every SAE, measured on held-out text.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "latent b index of the latent, from 0",
        "firing_frequency d share of held-out tokens on which it is active",
        "n_fires b held-out tokens on which it is active",
        "mean_activation d mean over the tokens on which it is active, in raw units",
        "max_activation d largest activation, in raw units",
        "is_dead_eval o never active on the held-out tokens",
        "is_dead_train o not active within the dead window at the end of training",
        "decoder_norm d norm of its decoder row",
        "encoder_decoder_cosine d cosine of its encoder and decoder rows; NULL in a transcoder",
        "token_entropy d entropy in nats of the tokens it fires on; grows with n_fires",
        "top_token b id of the token it fires on most often",
        "top_token_share d share of its fires on that token: near 1 for a single-token latent",
        "max_cosine d largest cosine with another decoder row of the same dictionary",
        "nearest_latent b the latent of that row",
        "min_cosine d cosine with the most opposing decoder row of the same dictionary",
        "opposing_latent b the latent of that row",
        "activation_counts l histogram of its activations: fires per half octave",
        "activation_from d lower end of the first of these bins, in raw units; each next bin "
        "begins at sqrt(2) times the former",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
LATENT_EXAMPLES = Table(
    "latent_examples",
    "Text on which each latent fires: its strongest places, and places spread over all its fires.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "latent b index of the latent, from 0",
        "kind v top: the strongest; quantile: of 16 fires drawn evenly from all of them",
        "rank b 0 for the strongest or the lowest quantile",
        "quantile d for kind quantile: share of the drawn fires that are weaker; NULL for top",
        "activation d activation at that token, in raw units",
        "document b number of the document in the packed corpus",
        "token v the token's text",
        "text v the tokens around it in the same document, as text",
        "token_ids l the ids of these tokens",
        "starts l where in text each of these tokens begins, in characters from 0",
        "activations m activation at each of these tokens, in raw units; NULL: not measured there",
        "offset b place of the token in token_ids, from 0",
        "n_searched b held-out tokens that were searched",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)
