"""Probes on cases that are solved by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from sae_core.bootstrap import interval, resample_counts
from sae_core.detection import best_threshold, detection, wins_by_cluster
from sae_core.labelled_tokens import LabelledTokens
from sae_core.logistic import balanced, logistic_weights
from sae_core.probe_columns import DenseColumns, SparseColumns, strongest
from sae_core.probing import (
    Probe,
    dense_probes,
    identity_probes,
    sparse_probes,
    with_shuffled_labels,
)
from sae_core.xor_labels import least_linear_pairs

N, CLUSTERS = 1200, 10


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def text_of(
    labels: Mapping[str, torch.Tensor], tokens: torch.Tensor | None = None
) -> LabelledTokens:
    """Tokens of 20 documents, every second one judged."""
    n = len(next(iter(labels.values())))
    documents = torch.arange(n) * 2 * CLUSTERS // n
    return LabelledTokens(
        names=tuple(labels),
        is_xor=(False,) * len(labels),
        places=torch.arange(n),
        labels=torch.stack(list(labels.values()), 1),
        tokens=torch.zeros(n, dtype=torch.int64) if tokens is None else tokens,
        previous=torch.full((n,), -1),
        is_test=documents % 2 == 1,
        clusters=documents // 2,
        resamples=resample_counts(CLUSTERS, 200, seed=0),
        n_documents=2 * CLUSTERS,
        n_left_out=0,
    )


def sparse(dense: torch.Tensor) -> SparseColumns:
    tokens, latents = dense.nonzero(as_tuple=True)
    return SparseColumns(tokens, latents, dense[tokens, latents], *dense.shape)


def auc(probes: list[Probe], label: str, k: int | None = None) -> float:
    (one,) = (probe for probe in probes if (probe.label, probe.k) == (label, k))
    assert one.detected is not None, one.reason
    return one.detected["auc"].value


def ends(probes: list[Probe], label: str, k: int | None = None) -> tuple[float, float]:
    (one,) = (probe for probe in probes if (probe.label, probe.k) == (label, k))
    assert one.detected is not None
    low, high = interval(one.detected["auc"].replicates)
    return float(low), float(high)


def test_a_latent_that_is_the_label_tells_it_wholly() -> None:
    label = drawn(N) < 0.3
    code = torch.where(drawn(N, 8, seed=1) < 0.2, drawn(N, 8, seed=2), torch.zeros(N, 8))
    code[:, 5] = label * (1 + drawn(N, seed=3))
    probes = list(sparse_probes("latents", sparse(code), 8, text_of({"l": label})))
    for k in (1, 2, 5):
        assert auc(probes, "l", k) == 1
        assert ends(probes, "l", k) == (1, 1)
    for probe in probes:
        assert probe.columns[0] == 5
        assert probe.detected["balanced_accuracy"].value == 1
        assert probe.detected["f1"].value == 1


def test_a_latent_that_is_silent_on_the_label_tells_it_too() -> None:
    label = drawn(N) < 0.3
    code = (~label).float().unsqueeze(1) * (1 + drawn(N, 1, seed=3))
    probes = list(sparse_probes("latents", sparse(code), 1, text_of({"l": label})))
    assert [probe.k for probe in probes] == [1], "there is one latent, so no probe of two"
    assert auc(probes, "l", 1) == 1


def test_independent_latents_tell_nothing() -> None:
    """Of 20 labels: intervals of 95 % from 10 documents hold 0.5 nearly as often as they say."""
    labels = {f"l{i}": drawn(N, seed=10 + i) < 0.5 for i in range(20)}
    code = torch.where(drawn(N, 8, seed=1) < 0.4, drawn(N, 8, seed=2), torch.zeros(N, 8))
    probes = list(sparse_probes("latents", sparse(code), 8, text_of(labels)))
    for k in (1, 2, 5):
        intervals = np.array([ends(probes, label, k) for label in labels])
        holds = (intervals[:, 0] <= 0.5) & (intervals[:, 1] >= 0.5)
        assert holds.sum() >= 16
        assert np.mean([auc(probes, label, k) for label in labels]) == pytest.approx(0.5, abs=0.02)


def test_an_exclusive_or_is_hidden_from_a_linear_probe_and_not_from_its_latent() -> None:
    a, b = drawn(N) < 0.5, drawn(N, seed=1) < 0.5
    x = torch.stack([a.float(), b.float()], 1) + 0.01 * drawn(N, 2, seed=2)
    text = text_of({"a": a, "xor": a ^ b})
    dense = list(dense_probes(x, text))
    assert auc(dense, "a") == 1
    low, high = ends(dense, "xor")
    assert low < 0.5 < high
    planted = torch.cat([x, (a ^ b).float().unsqueeze(1)], 1)
    assert auc(list(sparse_probes("latents", sparse(planted), 3, text)), "xor", 1) == 1


def test_two_latents_add_up_where_each_has_half() -> None:
    which = drawn(N)
    label = which < 0.4
    code = torch.zeros(N, 6)
    code[:, 1], code[:, 4] = (which < 0.2).float(), ((which >= 0.2) & label).float()
    probes = list(sparse_probes("latents", sparse(code), 6, text_of({"l": label})))
    assert 0.6 < auc(probes, "l", 1) < 0.9
    assert auc(probes, "l", 2) == 1
    assert {frozenset(p.columns) for p in probes if p.k == 2} == {frozenset({1, 4})}


def test_a_token_that_is_its_label_is_told_by_its_id() -> None:
    tokens = (drawn(N) * 5).long()
    text = text_of({"odd": tokens % 2 == 1, "coin": drawn(N, seed=1) < 0.5}, tokens)
    probes = [probe for probe in identity_probes(text) if probe.name == "token"]
    assert auc(probes, "odd") == 1
    low, high = ends(probes, "coin")
    assert low < 0.5 < high


def test_the_token_before_counts_in_pairs_alone() -> None:
    tokens = (drawn(N) * 3).long()
    previous = torch.cat([torch.tensor([-1]), tokens[:-1]])
    text = text_of({"after 0": previous == 0}, tokens)
    text = LabelledTokens(**{**vars(text), "previous": previous})
    by_name = {probe.name: [probe] for probe in identity_probes(text)}
    assert auc(by_name["bigram"], "after 0") == 1
    assert 0.4 < auc(by_name["token"], "after 0") < 0.6


def test_shuffled_labels_are_as_many_and_hidden_from_the_latent_that_was_the_label() -> None:
    label = drawn(N) < 0.3
    text = text_of({"l": label})
    shuffled = with_shuffled_labels(text, seed=0)
    for side in (text.is_test, ~text.is_test):
        assert shuffled.labels[side].sum() == text.labels[side].sum()
    code = sparse(label.float().unsqueeze(1))
    low, high = ends(list(sparse_probes("shuffled", code, 1, shuffled)), "l", 1)
    assert low < 0.5 < high
    assert torch.equal(shuffled.labels, with_shuffled_labels(text, seed=0).labels)
    assert not torch.equal(shuffled.labels, with_shuffled_labels(text, seed=1).labels)


def test_a_label_without_probes_has_no_control_either() -> None:
    lonely = torch.zeros(N, dtype=torch.bool)
    lonely[:120] = True  # in both sides' first documents; dealt anew it would stand in all
    text = text_of({"lonely": lonely, "coin": drawn(N) < 0.5})
    shuffled = with_shuffled_labels(text, seed=0)
    assert torch.equal(shuffled.labels[:, 0], text.labels[:, 0])
    assert not torch.equal(shuffled.labels[:, 1], text.labels[:, 1])
    for probe in sparse_probes("shuffled", sparse(drawn(N, 6)), 6, shuffled):
        assert (probe.detected is None) == (probe.label == "lonely")


def test_what_is_judged_has_no_part_in_the_choice() -> None:
    label = drawn(N) < 0.4
    code = torch.where(drawn(N, 8, seed=1) < 0.4, drawn(N, 8, seed=2), torch.zeros(N, 8))
    text = text_of({"l": label})
    code[:, 2] = (
        label * ~text.is_test
    )  # the label itself, where probes are fitted, and silent after
    code[:, 6] = label * text.is_test
    probes = list(sparse_probes("latents", sparse(code), 8, text))
    assert all(probe.columns[0] == 2 and 6 not in probe.columns[:2] for probe in probes)
    assert auc(probes, "l", 1) == 0.5


def test_a_label_of_few_tokens_or_documents_has_a_reason() -> None:
    rare, lonely = torch.zeros(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)
    rare[:30] = True  # all in one document, on the side of probe-train
    lonely[:120] = True  # in both sides' first documents
    text = text_of({"rare": rare, "lonely": lonely, "coin": drawn(N) < 0.5})
    for probes in (
        list(sparse_probes("l", sparse(drawn(N, 6)), 6, text)),
        list(dense_probes(drawn(N, 6), text)),
        list(identity_probes(text)),
    ):
        reasons = {probe.label: probe.reason for probe in probes}
        assert reasons["rare"].startswith("0 of 600 probe-test tokens have the label")
        assert reasons["lonely"].startswith("the label stands in 1 probe-test documents")
        assert reasons["coin"] is None
        assert all((probe.detected is None) == (probe.label != "coin") for probe in probes)


def test_auc_and_its_resamples_are_those_of_all_pairs() -> None:
    """Against counting pairs one by one, with ties, in every resample."""
    n, clusters = 60, 4
    scores, positive = (drawn(n) * 8).floor(), drawn(n, seed=1) < 0.4
    where = (drawn(n, seed=2) * clusters).long()
    counts = resample_counts(clusters, 20, seed=3)
    found = detection(scores, positive, threshold=3.5, clusters=where, resamples=counts)
    for b, drawn_counts in enumerate(counts):
        rows = np.repeat(np.arange(n), drawn_counts[where.numpy()].astype(int))
        s, p = scores.numpy()[rows], positive.numpy()[rows]
        pairs = s[p][:, None] - s[~p][None]
        assert found["auc"].replicates[b] == pytest.approx(
            ((pairs > 0) + 0.5 * (pairs == 0)).mean()
        )
        recall, specificity = (s[p] > 3.5).mean(), (s[~p] <= 3.5).mean()
        accuracy = found["balanced_accuracy"].replicates[b]
        assert accuracy == pytest.approx((recall + specificity) / 2)
        precision = p[s > 3.5].mean()
        f1 = 2 * precision * recall / (precision + recall)
        assert found["f1"].replicates[b] == pytest.approx(f1)
    pairs = wins_by_cluster(scores, positive, where, clusters)
    assert pairs.sum() / (positive.sum() * (~positive).sum()) == pytest.approx(found["auc"].value)


def test_a_resample_without_a_class_is_undefined() -> None:
    scores, positive = torch.tensor([1.0, 0.0]), torch.tensor([True, False])
    where = torch.tensor([0, 1])
    resamples = np.array([[2.0, 0.0], [1.0, 1.0]])
    found = detection(scores, positive, threshold=0.5, clusters=where, resamples=resamples)
    assert np.isnan(found["auc"].replicates).tolist() == [True, False]
    assert found["auc"].value == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    scores, positive = (drawn(40, seed=seed) * 10).floor(), drawn(40, seed=seed + 50) < 0.4

    def accuracy(threshold: float) -> float:
        called = scores > threshold
        return float(called[positive].double().mean() + (~called[~positive]).double().mean()) / 2

    found = accuracy(best_threshold(scores, positive))
    assert found == pytest.approx(max(accuracy(t) for t in [-1.0, *(scores + 0.5).tolist()]))


def test_a_threshold_needs_both_classes() -> None:
    with pytest.raises(ValueError, match="needs both classes"):
        best_threshold(torch.zeros(3), torch.ones(3, dtype=torch.bool))


def test_logistic_regression_is_where_its_gradient_vanishes() -> None:
    """Against autograd on the stated loss, for problems of different balance, one separable."""
    columns = torch.randn(3, 200, 4, generator=torch.Generator().manual_seed(0)).double()
    targets = torch.stack([columns[0, :, 0] > 0, drawn(200) < 0.2, columns[2, :, 1] > -0.4])
    columns[2, :, 1] += 0.5 * drawn(200, seed=4)
    weights = logistic_weights(columns, targets).requires_grad_()
    sign = 2.0 * targets.double() - 1.0
    scores = (columns @ weights[:, :-1].unsqueeze(2)).squeeze(2) + weights[:, -1:]
    terms = balanced(targets.double()) * torch.log1p(torch.exp(-sign * scores))
    loss = terms.sum() + 0.5 * weights[:, :-1].square().sum()
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.abs().max() < 1e-3
    alone = torch.cat([logistic_weights(columns[[i]], targets[[i]]) for i in range(3)])
    torch.testing.assert_close(alone, weights.detach(), atol=1e-4, rtol=1e-4)


def test_one_class_alone_gives_no_weights() -> None:
    found = logistic_weights(drawn(1, 30, 2), torch.zeros(1, 30, dtype=torch.bool))
    assert found.abs().max() == 0


def test_correlations_are_pearsons_for_sparse_and_dense_columns_alike() -> None:
    dense = torch.where(drawn(300, 7) < 0.3, drawn(300, 7, seed=1), torch.zeros(300, 7))
    dense[:, 3], dense[:, 4] = 0.0, 2.5
    labels, rows = drawn(300, 3, seed=2) < 0.4, drawn(300, seed=3) < 0.7
    labels[:, 2] = True
    found = sparse(dense).correlations(labels, rows)
    torch.testing.assert_close(found, DenseColumns(dense).correlations(labels, rows))
    both = torch.cat([dense[rows].double(), labels[rows].double()], 1)
    wanted = np.zeros((7, 3))
    for i in (0, 1, 2, 5, 6):
        for j in (0, 1):
            wanted[i, j] = np.corrcoef(both[:, i], both[:, 7 + j])[0, 1]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    picked = torch.tensor([6, 0])
    torch.testing.assert_close(sparse(dense).pick(picked), dense[:, picked].double())
    assert strongest(torch.tensor([[0.1], [-0.9], [0.9], [0.0]]), 3).tolist() == [[1, 2, 0]]


def test_the_xor_chosen_is_the_one_furthest_from_linear() -> None:
    a, b, rare = drawn(2000) < 0.5, drawn(2000, seed=1) < 0.5, drawn(2000, seed=2) < 0.02
    inside = a & (drawn(2000, seed=3) < 0.5)
    labels = torch.stack([inside, rare, a, b], 1)
    assert least_linear_pairs(labels, 1) == [(2, 3)]
    assert (2, 3) not in least_linear_pairs(labels[:, :3], 3)
    assert len({i for pair in least_linear_pairs(labels, 2) for i in pair}) == 4
    assert least_linear_pairs(torch.stack([a, ~a, a], 1), 3) == []
    assert least_linear_pairs(labels[:1], 2) == []
