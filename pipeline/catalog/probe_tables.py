"""The table of probes."""

from __future__ import annotations

from pipeline.catalog.columns import Table, columns

_PROBES = Table(
    "probes",
    "How well labelled tokens are told by k latents of an SAE, and by what they must be held "
    "against: one row per SAE, probe, label and k. Fitted on tokens of some held-out documents, "
    "judged on those of others.",
    columns(
        "sae v",
        "sae_hash v",
        "evaluation_hash v",
        "probe v what is read: latents (the SAE's); neurons (coordinates of x); random_dictionary "
        "(as many random directions, as many of them active per token); shuffled_labels (latents, "
        "with labels dealt anew); dense (ridge regression on all of x); token (the token's id "
        "alone); bigram (with the id before it)",
        "label v what is true of a token, known from the text alone",
        "is_xor o whether the label is the exclusive or of two others",
        "k b columns that the probe reads; NULL for dense, token and bigram",
        "chosen l these columns, the most correlated with the label on probe-train first: latents "
        "of the SAE for latents and shuffled_labels",
        "auc d chance that a token with the label scores above one without, on probe-test",
        "auc_ci_low d lower end of its 95 % interval (bootstrap over documents)",
        "auc_ci_high d upper end of its 95 % interval (bootstrap over documents)",
        "balanced_accuracy d mean of the shares of tokens with and without the label that are told "
        "rightly on probe-test, by the threshold that is best on probe-train",
        "balanced_accuracy_ci_low d lower end of its 95 % interval (bootstrap over documents)",
        "balanced_accuracy_ci_high d upper end of its 95 % interval (bootstrap over documents)",
        "f1 d harmonic mean of precision and recall at that threshold",
        "f1_ci_low d lower end of its 95 % interval (bootstrap over documents)",
        "f1_ci_high d upper end of its 95 % interval (bootstrap over documents)",
        "n_train b tokens of probe-train",
        "n_test b tokens of probe-test",
        "n_positive_train b of these, tokens that have the label",
        "n_positive_test b of these, tokens that have the label",
        "n_documents b held-out documents whose tokens are labelled",
        "n_left_out b held-out documents that could not be labelled, such as Python that does not "
        "parse",
        "reason v",
    ),
    ("sae", "sae_hash"),
    is_long=True,
)

PROBE_TABLES = (_PROBES,)
