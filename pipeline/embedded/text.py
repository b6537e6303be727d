"""Token streams of the splits, and the batches cut from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.corpus.builtin import builtin_documents
from pipeline.corpus.documents import Document, Split, corpus_hash, split_of
from pipeline.embedded.tokenizer import CONTEXT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Share of the held-out documents that the quick re-measurement reads.
SAMPLE_SHARE = 0.35


@dataclass(frozen=True)
class Stream:
    """Documents as one row of tokens, an end-of-text token before each.

    tokens: (n,) int32. n_bytes: utf-8 bytes of the documents. text_sha256: `corpus_hash` of them.
    """

    tokens: np.ndarray
    n_bytes: int
    text_sha256: str


def builtin_split(split: Split) -> list[Document]:
    """The documents of one split of the builtin corpus, in the order they are read in training."""
    documents = [d for d in builtin_documents() if split_of(d.name) == split]
    return sorted(documents, key=lambda d: _draw("order", d.name))


def held_out_sample(documents: Iterable[Document]) -> list[Document]:
    """A fixed share of the documents, chosen by hash of name: enough for a quick measurement."""
    limit = int(SAMPLE_SHARE * 2**64)
    return [d for d in documents if int.from_bytes(_draw("sample", d.name)[:8], "big") < limit]


def stream(documents: list[Document], tokenizer: PreTrainedTokenizerFast) -> Stream:
    """The documents' token stream under a tokenizer."""
    texts = [document.text for document in documents]
    encoded = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    parts = [np.array([tokenizer.bos_token_id, *one.ids], dtype=np.int32) for one in encoded]
    return Stream(
        tokens=np.concatenate(parts) if parts else np.zeros(0, np.int32),
        n_bytes=sum(len(text.encode("utf-8")) for text in texts),
        text_sha256=corpus_hash(documents),
    )


def rows_per_epoch(tokens: np.ndarray) -> int:
    """How many rows of CONTEXT predicted tokens an epoch yields."""
    return len(tokens) // CONTEXT - 1


def batch(tokens: np.ndarray, number: int, *, rows: int, seed: int) -> np.ndarray:
    """Training batch `number`: (rows, CONTEXT + 1) tokens, a function of seed and number alone.

    Epoch e cuts the stream at a drawn offset into rows and draws their order; the batches of an
    epoch are disjoint, and rows that do not fill its last batch are left out of it.
    """
    available = rows_per_epoch(tokens)
    if available < rows:
        raise ValueError(
            f"the training text has {available} rows of {CONTEXT} tokens, a batch takes {rows}: "
            "give more text or a smaller batch."
        )
    epoch, within = divmod(number, available // rows)
    draws = np.random.default_rng((seed, epoch))
    offset = int(draws.integers(CONTEXT))
    order = draws.permutation(available)[within * rows : (within + 1) * rows]
    starts = offset + order * CONTEXT
    return tokens[starts[:, None] + np.arange(CONTEXT + 1)]


def _draw(purpose: str, name: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{name}".encode()).digest()
