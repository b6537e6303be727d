"""How alike the codes of two SAEs are as representations of the same tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sae_core.draws import generator
from sae_core.firing_together import CodeSample, in_common

MOST_TOKENS = 2048
_DRAWS = 10


@dataclass(frozen=True)
class CodeSimilarity:
    """Linear CKA of two codes on `n_tokens` tokens, and with one side's tokens permuted."""

    cka: float
    cka_shuffled: float
    n_tokens: int


def code_similarity(a: CodeSample, b: CodeSample, *, seed: int = 0) -> CodeSimilarity | None:
    """Linear CKA of two codes (n, f) and (n, g) on the tokens that both samples hold.

    With K = H A Aᵀ H, L = H B Bᵀ H, H centring: ⟨K, L⟩ / (‖K‖ ‖L‖), in [0, 1], 1 where one code is
    the other rotated and scaled. It equals `expert_geometry.linear_cka` of the dense codes; n × n
    products of sparse ones are made instead, so at most 2,048 tokens count, evenly spread.
    `cka_shuffled` is the mean over ten draws of the same with B's tokens permuted: what so few
    tokens give by chance. None where fewer than two tokens are common or a code does not vary.
    Reference: Kornblith et al., "Similarity of neural network representations revisited" (2019).
    """
    places = in_common(a, b)[0].places
    places = places[:: -(-max(1, len(places)) // MOST_TOKENS)]
    if len(places) < 2:
        return None
    k, l_ = (_centred_gram(sample.at(places)) for sample in (a, b))
    size = float(torch.linalg.matrix_norm(k) * torch.linalg.matrix_norm(l_))
    if not size > 0:
        return None
    shuffled = []
    for draw in range(_DRAWS):
        order = torch.randperm(len(places), generator=generator(seed, "code similarity", step=draw))
        shuffled.append(float((k * l_[order][:, order]).sum()) / size)
    return CodeSimilarity(float((k * l_).sum()) / size, float(np.mean(shuffled)), len(places))


def _centred_gram(sample: CodeSample) -> torch.Tensor:
    """H A Aᵀ H (n, n) in float64; exactly 0 where all tokens have one code."""
    from scipy.sparse import csr_array

    size = (len(sample.places), sample.n_latents)
    code = csr_array((sample.values, (sample.rows, sample.latents)), shape=size)
    gram = torch.from_numpy((code @ code.T).toarray())
    largest = gram.diagonal().amax()
    gram = gram - gram.mean(0)
    centred = gram - gram.mean(1, keepdim=True)
    # Centring leaves rounding errors of a gram that is the same everywhere.
    return centred if centred.abs().amax() > 1e-9 * largest else torch.zeros_like(centred)
