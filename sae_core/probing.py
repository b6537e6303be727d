"""Probes of labelled tokens: from k columns, from all of x, and from the token's identity alone.

Every probe is chosen and fitted on tokens of some documents and judged on tokens of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from sae_core.detection import Detected, best_threshold, detection
from sae_core.labelled_tokens import LabelledTokens
from sae_core.logistic import balanced, logistic_weights
from sae_core.probe_columns import Columns, strongest

KS = (1, 2, 5)
MIN_TOKENS = 20  # of either class, on either side: below, a statistic is noise
MIN_CLUSTERS = 5  # of documents in which probe-test tokens have the label
RIDGE = 1e-4


@dataclass(frozen=True)
class Probe:
    """One probe's result: which label, its k columns, what it detects; or the reason for nothing.

    `name` says what it reads; `k` is None and `columns` empty where it reads no chosen columns.
    """

    name: str
    label: str
    k: int | None
    columns: tuple[int, ...]
    detected: dict[str, Detected] | None
    reason: str | None = None


def sparse_probes(
    name: str, columns: Columns, n_columns: int, text: LabelledTokens
) -> Iterator[Probe]:
    """Probes of k = 1, 2 and 5 columns for every label, as far as there are so many.

    The k columns of largest |Pearson correlation| with the label on probe-train tokens, then a
    logistic regression on them (standardised there), classes weighted equally.
    Reference: Gurnee et al., Finding Neurons in a Haystack: Case Studies with Sparse Probing
    (2023), arXiv 2305.01610.
    """
    train, reasons = ~text.is_test, why_not(text)
    if all(reasons):
        for k in KS[: sum(k <= n_columns for k in KS)]:
            yield from _nothing(name, k, text, reasons)
        return
    order = strongest(columns.correlations(text.labels, train), max(KS))
    used, place = order.unique(return_inverse=True)
    values = columns.pick(used)
    mean, scale = values[train].mean(0), values[train].std(0, correction=0)
    values = (values - mean) / torch.where(scale > 0, scale, torch.ones_like(scale))
    for k in KS:
        if k > n_columns:
            return
        picked = values.T[place[:, :k]].mT  # (L, n, k)
        weights = _weights(picked[:, train], text.labels[train].T)
        for i, label in enumerate(text.names):
            if reasons[i]:
                yield Probe(name, label, k, (), None, reasons[i])
                continue
            scores = picked[i] @ weights[i]
            yield Probe(name, label, k, tuple(order[i, :k].tolist()), _judged(scores, text, i))


def dense_probes(x: torch.Tensor, text: LabelledTokens) -> Iterator[Probe]:
    """Ridge regression of each label on all of x (n, d), penalty 1e-4 of x's mean variance.

    Without a penalty its direction is Fisher's discriminant: the best linear probe where both
    classes spread alike. Reference: Hastie, Tibshirani and Friedman (2009), 3.4.1 and 4.3.
    """
    train, reasons = ~text.is_test, why_not(text)
    rows = train.nonzero().squeeze(1)
    if all(reasons):
        yield from _nothing("dense", None, text, reasons)
        return
    mean, d = x[rows].double().mean(0), x.shape[1]
    gram = torch.zeros(d, d, dtype=torch.float64)
    moments = torch.zeros(d, len(text.names), dtype=torch.float64)
    for chosen in rows.split(4096):
        part = x[chosen].double() - mean
        gram += part.T @ part
        moments += part.T @ text.labels[chosen].double()
    penalty = RIDGE * gram.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny)
    weights = torch.linalg.solve(gram + penalty * torch.eye(d, dtype=torch.float64), moments)
    scores = torch.cat([(part.double() - mean) @ weights for part in x.split(4096)])
    for i, label in enumerate(text.names):
        detected = None if reasons[i] else _judged(scores[:, i], text, i)
        yield Probe("dense", label, None, (), detected, reasons[i])


def identity_probes(text: LabelledTokens) -> Iterator[Probe]:
    """What the token alone tells, and the token with the one before it: no activation is read.

    token: p(t) = (n₊(t) + p̄) / (n(t) + 1), p̄ the label's share, counted on probe-train tokens;
    bigram: (n₊(u, t) + p(t)) / (n(u, t) + 1) of the previous token u.
    """
    reasons = why_not(text)
    share = text.labels[~text.is_test].double().mean(0)
    token = _rates(text.tokens, share.expand(len(text.tokens), -1), text)
    pairs = text.previous * (int(text.tokens.max()) + 1 if len(text.tokens) else 1) + text.tokens
    bigram = _rates(pairs, token, text)
    for name, scores in (("token", token), ("bigram", bigram)):
        for i, label in enumerate(text.names):
            detected = None if reasons[i] else _judged(scores[:, i], text, i)
            yield Probe(name, label, None, (), detected, reasons[i])


def with_shuffled_labels(text: LabelledTokens, *, seed: int) -> LabelledTokens:
    """The same with labels dealt anew among the tokens of each side: whatever finds them cheats.

    A label that cannot be probed stays where it is: dealt among more documents than it stands in
    it could be, and a control would stand beside nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    probed = torch.tensor([reason is None for reason in why_not(text)])
    labels = text.labels.clone()
    for side in (text.is_test, ~text.is_test):
        where = side.nonzero().squeeze(1)
        dealt = text.labels[where[torch.randperm(len(where), generator=generator)]]
        labels[where] = torch.where(probed, dealt, labels[where])
    return LabelledTokens(**{**vars(text), "labels": labels})


def why_not(text: LabelledTokens) -> list[str | None]:
    """Per label why it cannot be probed: too few tokens of a class on a side; None where it can."""
    found: list[str | None] = []
    for i in range(len(text.names)):
        few = None
        for side, rows in (("probe-train", ~text.is_test), ("probe-test", text.is_test)):
            n, positives = int(rows.sum()), int(text.labels[rows, i].sum())
            if min(positives, n - positives) < MIN_TOKENS:
                few = f"{positives} of {n} {side} tokens have the label: too few to tell"
        stands_in = text.clusters[text.is_test & text.labels[:, i]].unique()
        if few is None and len(stands_in) < min(MIN_CLUSTERS, text.resamples.shape[1]):
            few = f"the label stands in {len(stands_in)} probe-test documents: too few to tell"
        found.append(few)
    return found


def _weights(columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Weights (L, k) of columns (L, n, k); the intercept orders nothing."""
    if columns.shape[2] > 1:
        return logistic_weights(columns, targets)[:, :-1]
    # Of one column the regression tells the sign alone: that of the difference of the means.
    signs = balanced(targets.double()) * (2.0 * targets.double() - 1.0)
    return torch.einsum("pnk,pn->pk", columns, signs).sign()


def _nothing(
    name: str, k: int | None, text: LabelledTokens, reasons: list[str | None]
) -> Iterator[Probe]:
    for label, reason in zip(text.names, reasons, strict=True):
        yield Probe(name, label, k, (), None, reason)


def _rates(keys: torch.Tensor, prior: torch.Tensor, text: LabelledTokens) -> torch.Tensor:
    """Share (n, L) of probe-train tokens of each key that have the label, one prior token added."""
    _, group = keys.unique(return_inverse=True)
    n_groups, train = int(group.max()) + 1 if len(group) else 0, ~text.is_test
    counts = torch.bincount(group[train], minlength=n_groups).double()
    sums = torch.zeros(n_groups, text.labels.shape[1], dtype=torch.float64)
    sums.index_add_(0, group[train], text.labels[train].double())
    return (sums[group] + prior) / (counts[group] + 1.0).unsqueeze(1)


def _judged(scores: torch.Tensor, text: LabelledTokens, label: int) -> dict[str, Detected]:
    positive, test = text.labels[:, label], text.is_test
    return detection(
        scores[test],
        positive[test],
        threshold=best_threshold(scores[~test], positive[~test]),
        clusters=text.clusters[test],
        resamples=text.resamples,
    )
