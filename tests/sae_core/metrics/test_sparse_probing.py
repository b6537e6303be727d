"""The tally of probes: what it keeps, and that batches and other SAEs play no part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from sae_core.bootstrap import resample_counts
from sae_core.code import SparseCode
from sae_core.labelled_tokens import LabelledTokens
from sae_core.metrics import metrics, sparse_probing
from sae_core.probe_text import ProbeText
from tests.sae_core.metrics.tallies import drawn_code, subject, tallied

N, F, D = 640, 12, 6


def labelled(n: int = N) -> LabelledTokens:
    """Every token shown is labelled: 20 documents, labels `half` and `third`."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.rand(n, generator=generator) < share for share in (0.5, 0.3)], 1)
    documents = torch.arange(n) * 20 // n
    return LabelledTokens(
        names=("half", "third"),
        is_xor=(False, True),
        places=torch.arange(n) * 3,
        labels=labels,
        tokens=torch.arange(n) % 7,
        previous=torch.arange(-1, n - 1) % 7,
        is_test=documents % 2 == 1,
        clusters=documents // 2,
        resamples=resample_counts(10, 100, seed=0),
        n_documents=20,
        n_left_out=3,
    )


def planted(labels: torch.Tensor) -> SparseCode:
    """Three active latents per token of 12; the last, 11, is the label `half`."""
    code = drawn_code(len(labels), 3, F - 1)
    indices = torch.cat([code.indices, torch.full((len(labels), 1), F - 1)], 1)
    return SparseCode(indices, torch.cat([code.values, labels[:, :1].float()], 1), F)


def activations() -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(5)).double()


def arrays_of(text: ProbeText | None, **more: int) -> Mapping[str, np.ndarray]:
    of = subject(torch.eye(F, D), probe_text=text)
    code = planted(labelled().labels)
    return tallied("sparse_probing", of, code, x=activations(), **more)[1]


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f") for name in a
    )


def test_a_planted_latent_is_found_and_counts_alone_in_the_number() -> None:
    arrays = arrays_of(ProbeText(labelled()))
    latents = (arrays["probe"] == "latents") & (arrays["k"] == 1)
    half = latents & (arrays["label"] == "half")
    assert arrays["columns"][half][0].tolist() == [F - 1, -1, -1, -1, -1]
    assert arrays["auc"][half] == [1.0]
    found = metrics()["sparse_probing"].values(arrays)
    assert found["probe_auc_1"].value == 1.0
    assert found["probe_auc_1"].n == 1, "an exclusive or is left out"
    assert 0.3 < found["probe_auc_1_over_token"].value < 0.7
    assert 0.3 < found["probe_auc_1_over_neurons"].value < 0.7
    assert int(arrays["n_left_out"]) == 3
    assert (arrays["n_positive_train"] + arrays["n_positive_test"])[half] == labelled().labels[
        :, 0
    ].sum().item()


def test_batches_play_no_part() -> None:
    whole = arrays_of(ProbeText(labelled()))
    assert same(whole, arrays_of(ProbeText(labelled()), batch=97))


def test_saes_share_activations_and_the_probes_of_them_alone() -> None:
    text = ProbeText(labelled())
    alone = arrays_of(ProbeText(labelled()))
    assert same(alone, arrays_of(text))
    assert same(alone, arrays_of(text))
    assert torch.equal(text.x, activations().float())


def test_too_many_activations_leave_out_places_and_those_left_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse_probing, "MOST", 900)
    thinned = arrays_of(ProbeText(labelled()), batch=50)
    assert int(thinned["n_train"]) + int(thinned["n_test"]) == N / 2
    monkeypatch.setattr(sparse_probing, "MOST", 2**23)
    every = labelled()
    part = ProbeText(every.only((every.places % 2 == 0).nonzero().squeeze(1)))
    assert same(thinned, arrays_of(part))


def test_tokens_without_labels_are_passed_by() -> None:
    every = labelled()
    text = ProbeText(every.only(torch.arange(0, N, 2)))
    arrays = arrays_of(text)
    assert int(arrays["n_train"]) + int(arrays["n_test"]) == N / 2
    assert text.seen.all()


@pytest.mark.parametrize("text", [None, ProbeText(labelled().only(torch.zeros(0).long()))])
def test_where_nothing_is_labelled_numbers_have_a_reason(text: ProbeText | None) -> None:
    arrays = arrays_of(text)
    for measured in metrics()["sparse_probing"].values(arrays).values():
        assert measured.value is None
        assert measured.reason == "no label has enough tokens of both kinds on both sides"
    assert all(arrays.get("reason", np.array(["yes"])))
