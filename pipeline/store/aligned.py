"""Reading the activations of several sites at once: the same rows of each, side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch

from pipeline.errors import StoreError
from pipeline.store.activation_store import ActivationStore
from pipeline.store.batches import assemble
from pipeline.store.epoch_order import EpochOrder, Visit
from pipeline.store.read_ahead import ReadAhead
from sae_core.statistics import SourceStatistics


class AlignedStores:
    """Sites of one store, its first one the source's own; a row is one token at all of them.

    Batches (n, Σ d_l) hold the sites side by side, in the one order that each site alone has. A
    row that is masked at any of the sites is left out of all. `wait_seconds` is the time a
    consumer of `batches` has spent waiting for them so far.
    """

    def __init__(self, stores: Sequence[ActivationStore]) -> None:
        first = stores[0]
        for other in stores[1:]:
            if other.shared.store_hash != first.shared.store_hash:
                raise StoreError(
                    f"{other.source} and {first.source} lie in different stores, so their rows "
                    "are not the same tokens. Sites that are read together must be of one model, "
                    "weights variant and harvest. Run the study again."
                )
        self.stores = tuple(stores)
        self.wait_seconds = 0.0

    @property
    def hash(self) -> str:
        """The source hash of the first site."""
        return self.stores[0].hash

    @property
    def width(self) -> int:
        """d of the first site."""
        return self.stores[0].width

    @property
    def statistics(self) -> SourceStatistics:
        """What the calibration split says of the first site."""
        return self.stores[0].statistics

    @property
    def further_statistics(self) -> tuple[SourceStatistics, ...]:
        """What it says of the others, in their order."""
        return tuple(store.statistics for store in self.stores[1:])

    def epochs_for(self, tokens: int) -> float:
        """How often `tokens` rows go through the stores, by the site with the fewest rows left."""
        return max(store.epochs_for(tokens) for store in self.stores)

    def calibration(self, max_rows: int | None = None) -> Iterator[torch.Tensor]:
        """The calibration split in blocks (n, Σ d_l) fp32, without rows masked anywhere."""
        blocks = (store.calibration_blocks(max_rows) for store in self.stores)
        for parts in zip(*blocks, strict=True):
            ok = torch.stack([ok for _, ok in parts]).all(0)
            yield torch.cat([x for x, _ in parts], 1)[ok]

    def batches(self, *, batch_size: int, data_seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Batches (n, Σ d_l) fp32 from batch `start` on, endless, as `ActivationStore.batches`.

        Raises StoreError at a damaged shard, and at a batch of masked rows only.
        """
        train = self.stores[0].manifest.train
        shuffled = self.stores[0].is_shuffled
        order = EpochOrder(train.rows, train.shard_rows, data_seed, shuffled)
        buffers = [_AlignedShard(self.stores) for _ in range(2)]
        width = sum(store.width for store in self.stores)
        with ReadAhead(order.visits(start * batch_size), buffers, fill=_load) as shards:
            assembled = assemble(shards, batch_size=batch_size, width=width)
            while True:
                begun = time.perf_counter()
                batch = next(assembled)
                self.wait_seconds += time.perf_counter() - begun
                if not len(batch):
                    raise self.stores[0].only_masked(batch_size)
                yield batch


class _AlignedShard:
    """The same shard of every site in memory."""

    def __init__(self, stores: Sequence[ActivationStore]) -> None:
        self.parts = [(store, store.shard_buffer()) for store in stores]
        self.ok: torch.Tensor | None = None

    def copy_to(self, out: torch.Tensor, start: int, stop: int) -> None:
        """Slots start..stop of the order into `out` (stop - start, Σ d_l) fp32."""
        widths = [store.width for store, _ in self.parts]
        for (_, loaded), columns in zip(self.parts, out.split(widths, 1), strict=True):
            loaded.copy_to(columns, start, stop)


def _load(visit: Visit, shard: _AlignedShard) -> None:
    masks = []
    for store, loaded in shard.parts:
        store.load(visit, loaded)
        if loaded.ok is not None:
            masks.append(loaded.ok)
    shard.ok = torch.stack(masks).all(0) if masks else None
