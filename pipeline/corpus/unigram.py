"""What token frequencies of the training text alone predict."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.corpus.packed import ROWS_PER_GROUP, PackedCorpus

_MOST_TOKENS = 2**22


def unigram_losses(corpus: PackedCorpus, vocabulary: int) -> torch.Tensor:
    """−ln p(v) of every token v in nats, (v,) float64; p(v) = (c_v + 1) / (Σ c + V).

    Counted on the train split without special tokens; of a large corpus on groups of rows that
    are spread evenly and hold about 4 M tokens.
    """
    counts = np.zeros(vocabulary, np.int64)
    n_rows = corpus.n_rows("train")
    step = max(1, n_rows * corpus.context // _MOST_TOKENS) * ROWS_PER_GROUP
    for start in range(0, n_rows, step):
        tokens, _ = corpus.tokens("train", start, min(start + ROWS_PER_GROUP, n_rows))
        counts += np.bincount(tokens.ravel(), minlength=vocabulary)
    counts[sorted(corpus.special_ids)] = 0
    share = (counts + 1) / (counts.sum() + vocabulary)
    return torch.from_numpy(-np.log(share))
