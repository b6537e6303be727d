from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.corpus import unigram
from pipeline.corpus.unigram import unigram_losses


def corpus(rows: np.ndarray) -> SimpleNamespace:
    def tokens(split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        assert split == "train"
        return rows[start:stop], rows[start:stop]

    return SimpleNamespace(
        context=rows.shape[1],
        special_ids=frozenset({0}),
        n_rows=lambda split: len(rows),
        tokens=tokens,
    )


def test_losses_are_those_of_smoothed_frequencies_without_special_tokens() -> None:
    rows = np.array([[0, 1, 1, 2], [3, 1, 1, 0]], np.int32)
    found = unigram_losses(corpus(rows), 5)
    expected = [1 / 11, 5 / 11, 2 / 11, 2 / 11, 1 / 11]
    assert found.tolist() == pytest.approx([-math.log(p) for p in expected])


def test_a_large_corpus_is_counted_on_a_part_spread_over_it(monkeypatch) -> None:
    monkeypatch.setattr(unigram, "_MOST_TOKENS", 2048)
    rows = np.arange(4 * 512, dtype=np.int32)[:, None].repeat(2, 1) // 512 + 1
    found = unigram_losses(corpus(rows), 6)
    counted = np.exp(-found.numpy()) * (2 * 1024 + 6) - 1
    assert counted == pytest.approx([0, 1024, 0, 1024, 0, 0])
