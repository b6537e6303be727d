"""Which store a source belongs to: content hashes, without loading a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.hashing import content_hash
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Weights

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

VERSION = 1  # raised by hand when the same inputs give other rows
_RESOURCES = {"memory_mb", "max_masked_share"}


@dataclass(frozen=True)
class StoreIdentity:
    """What a store is: its hash and what entered it."""

    store_hash: str
    model: str
    weights: Weights
    corpus_hash: str
    model_hash: str

    def source_hash(self, site: Site) -> str:
        """The content hash (64 hex digits) of one site of the store."""
        return content_hash({"store": self.store_hash, "site": str(site)})


def store_identity(
    model: str, config: ModelConfig, weights: Weights, *, corpus: PackedCorpus
) -> StoreIdentity:
    """The store of a model, a weights variant and the harvest settings.

    Covers the weights' files, the corpus, the type the model computes in, and every setting that
    changes rows or their order. Not covered: the memory allowed, the masked share allowed, and
    the batch rows and device, which the store records as it was begun.
    """
    from pipeline.language_model.load import model_hash

    weights_hash = model_hash(config, weights)
    store_hash = content_hash(
        {
            "stage": "harvest",
            "version": VERSION,
            "weights": str(weights),
            "model_hash": weights_hash,
            "corpus_hash": corpus.hash,
            "compute_dtype": config.dtype,
            "settings": config.harvest.model_dump(mode="json", exclude=_RESOURCES),
        }
    )
    return StoreIdentity(store_hash, model, weights, corpus.hash, weights_hash)
