"""Held-out tokens with labels: which label each has, and on which side of a probe it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.evaluation.held_out import SPLIT, HeldOut
from pipeline.evaluation.row_labels import row_labels
from sae_core.bootstrap import resample_counts
from sae_core.labelled_tokens import LabelledTokens
from sae_core.xor_labels import least_linear_pairs

if TYPE_CHECKING:
    from pipeline.corpus.packed import PackedCorpus
    from pipeline.study.config import EvaluationConfig, ModelConfig

MAX_CLUSTERS = 128
N_XORS = 2


def labelled_tokens(
    corpus: PackedCorpus, model: ModelConfig, held_out: HeldOut, settings: EvaluationConfig
) -> LabelledTokens:
    """The held-out tokens that probes are fitted and judged on, with their labels.

    Every m-th token of `held_out`, so that about `settings.probe_tokens` are left: neighbours say
    much the same, and so every document has its share. Documents,
    in an order drawn from their names, go each to the side that holds fewer tokens: probe-train or
    probe-test. Labels go with their tokens where the text is read in another order. Two exclusive
    ors of labels join them, those furthest from linear on probe-train (see `least_linear_pairs`).
    Raises UserError for a tokenizer that tells no offsets or a file of labels that is not right,
    StoreError where the text is not the one that was packed.
    """
    found = row_labels(corpus, model, held_out, settings)
    order = np.stack([corpus.packed_positions(SPLIT, int(row)) for row in held_out.packed_rows])
    labels = np.take_along_axis(found.labels, order[..., None], axis=1)
    known = np.take_along_axis(found.known, order, axis=1)
    places = np.arange(held_out.tokens.size).reshape(held_out.tokens.shape)
    same = held_out.document_index[:, 1:] == held_out.document_index[:, :-1]
    ordinary = ~np.isin(held_out.tokens, sorted(held_out.special_ids))
    previous = np.where(same & ordinary[:, :-1], held_out.tokens[:, :-1], -1)
    previous = np.pad(previous, ((0, 0), (1, 0)), constant_values=-1)
    known &= ordinary & (places % max(1, places.size // settings.probe_tokens) == 0)
    documents = held_out.document_index[known]
    names = corpus.document_names(SPLIT)
    is_test = _is_test(documents, [names[int(number)] for number in held_out.documents])
    clusters, n_clusters = _clusters(documents, is_test)
    bootstrap, seed = settings.bootstrap, settings.bootstrap_seed
    tokens = LabelledTokens(
        names=found.names,
        is_xor=(False,) * len(found.names),
        places=torch.from_numpy(places[known].astype(np.int64)),
        labels=torch.from_numpy(labels[known]),
        tokens=torch.from_numpy(held_out.tokens[known].astype(np.int64)),
        previous=torch.from_numpy(previous[known].astype(np.int64)),
        is_test=torch.from_numpy(is_test[documents]),
        clusters=torch.from_numpy(clusters[documents]),
        resamples=resample_counts(max(n_clusters, 1), bootstrap, seed=seed),
        n_documents=len(np.unique(documents)),
        n_left_out=found.left_out,
    )
    return _with_xors(tokens)


def _with_xors(text: LabelledTokens) -> LabelledTokens:
    pairs = least_linear_pairs(text.labels[~text.is_test], N_XORS)
    added = [text.labels[:, [a]] ^ text.labels[:, [b]] for a, b in pairs]
    return replace(
        text,
        names=(*text.names, *(f"{text.names[a]} xor {text.names[b]}" for a, b in pairs)),
        is_xor=(*text.is_xor, *(True for _ in pairs)),
        labels=torch.cat([text.labels, *added], 1),
    )


def _is_test(documents: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Which documents (D,) are on the side of probe-test; documents (m,) of the tokens."""
    sizes = np.bincount(documents, minlength=len(names))
    drawn = [hashlib.sha256(f"probe {name}".encode()).digest() for name in names]
    is_test = np.zeros(len(names), dtype=bool)
    n_train = n_test = 0
    for number in sorted(range(len(names)), key=drawn.__getitem__):
        is_test[number] = n_test < n_train
        n_test += int(sizes[number]) * bool(is_test[number])
        n_train += int(sizes[number]) * (not is_test[number])
    return is_test


def _clusters(documents: np.ndarray, is_test: np.ndarray) -> tuple[np.ndarray, int]:
    """A number for each document (D,), ascending over the test documents with tokens."""
    seen = np.zeros(len(is_test), dtype=bool)
    seen[documents] = True
    judged = np.flatnonzero(seen & is_test)
    found = np.zeros(len(is_test), dtype=np.int64)
    found[judged] = np.arange(len(judged)) % MAX_CLUSTERS
    return found, min(len(judged), MAX_CLUSTERS)
