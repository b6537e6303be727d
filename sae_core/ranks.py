"""Several processes that train one SAE together, and what they must tell each other.

Everything is made of two exchanges, and every sum is taken in the order of the ranks: all ranks get
the same bits, and a run repeated on as many ranks repeats its bits. One rank alone is the identity
in every function here, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


_PIECE = 2**25  # numbers


class Ranks(Protocol):
    """The processes that take part: this one's `index`, 0 to `size` − 1, and two exchanges.

    Both are called by all ranks in the same order, with tensors of one shape and type.
    """

    index: int
    size: int

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        """What every rank gave, (size, *shape), in the order of the ranks."""
        ...

    def exchanged(self, tensor: torch.Tensor) -> torch.Tensor:
        """Of (size, m): row r goes to rank r, and row r of what comes back is from rank r."""
        ...


class Alone:
    """One process: what it gathers is its own."""

    index = 0
    size = 1

    def gathered(self, tensor: torch.Tensor) -> torch.Tensor:
        """What it gave, (1, *shape)."""
        return tensor.unsqueeze(0)

    def exchanged(self, tensor: torch.Tensor) -> torch.Tensor:
        """What it gave."""
        return tensor


ALONE = Alone()


class Share(NamedTuple):
    """A rank's rows (m, d) of a batch of n tokens; all ranks' rows one after another are it."""

    rows: torch.Tensor
    n: int


def share_of(batch: torch.Tensor, ranks: Ranks) -> Share:
    """This rank's rows of a batch (n, d): ranks' shares are equal but for one row.

    Raises ValueError for a batch of fewer rows than ranks.
    """
    n = len(batch)
    if n < ranks.size:
        raise ValueError(
            f"a batch of {n} tokens is to be divided among {ranks.size} ranks. Allowed: at least "
            "one token each. Raise batch_size or use fewer ranks."
        )
    first, last = (n * index // ranks.size for index in (ranks.index, ranks.index + 1))
    return Share(batch[first:last], n)


def check_divisible(config: SaeConfig, ranks: Ranks) -> None:
    """Nothing where batches can be divided among ranks; raises ValueError otherwise."""
    if ranks.size > 1 and config.one_rank_only:
        raise ValueError(
            f"architecture {config.architecture!r} is to be trained by {ranks.size} ranks that "
            f"divide its batches, and {config.one_rank_only}. Allowed: one process. Train it with "
            "launch 'local'."
        )
    if config.batch_size < ranks.size:
        raise ValueError(
            f"batch_size {config.batch_size} is to be divided among {ranks.size} ranks. Allowed: "
            "at least one token each. Raise batch_size or use fewer ranks."
        )


def as_share(batch: torch.Tensor | Share) -> Share:
    """The batch itself, the whole of it where it is a tensor."""
    return batch if isinstance(batch, Share) else Share(batch, len(batch))


def summed(tensor: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Σ over ranks; for small tensors: all ranks' are in memory at once."""
    if ranks.size == 1:
        return tensor
    return _in_order(ranks.gathered(tensor))


def summed_in_pieces(
    tensors: Sequence[torch.Tensor], ranks: Ranks, *, weight: float = 1.0
) -> list[torch.Tensor]:
    """Σ over ranks of weight · tensor for each of these, of one type; for large ones.

    Each rank sums one piece of all and hands it round: a rank sends 2 (R − 1) / R of the bytes, as
    a ring does. Tensors go in pieces of at most 128 MiB (float32), so that beside what is given and
    what comes back a few of those are held.
    """
    small = [i for i, tensor in enumerate(tensors) if tensor.numel() <= _PIECE]
    made = [torch.empty_like(tensor).contiguous() for tensor in tensors]
    if small:
        flat = torch.cat([tensors[i].reshape(-1) for i in small])
        parts = _summed_flat(flat * weight, ranks).split([tensors[i].numel() for i in small])
        for i, part in zip(small, parts, strict=True):
            made[i] = part.view(tensors[i].shape)
    for tensor, total in zip(tensors, made, strict=True):
        if tensor.numel() > _PIECE:
            for piece, out in zip(
                tensor.reshape(-1).split(_PIECE), total.view(-1).split(_PIECE), strict=True
            ):
                out.copy_(_summed_flat(piece * weight, ranks))
    return made


def _summed_flat(flat: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    size = -(-len(flat) // ranks.size)
    filled = torch.nn.functional.pad(flat, (0, size * ranks.size - len(flat)))
    own = _in_order(ranks.exchanged(filled.view(ranks.size, size)))
    return ranks.gathered(own).view(-1)[: len(flat)]


def any_of(flags: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Where a rank's bool is true."""
    if ranks.size == 1:
        return flags
    return ranks.gathered(flags.to(torch.uint8)).amax(0).bool()


def least(value: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """The smallest over ranks."""
    return value if ranks.size == 1 else ranks.gathered(value).amin(0)


def one_after_another(rows: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """All ranks' rows (m_r, ...) of any number each, rank 0's first."""
    if ranks.size == 1:
        return rows
    own = torch.tensor([len(rows)], device=rows.device)
    sizes = ranks.gathered(own).view(-1).tolist()
    longest = max(sizes)
    filled = rows.new_zeros(longest, *rows.shape[1:])
    filled[: len(rows)] = rows
    parts = ranks.gathered(filled)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def from_first(flag: bool, ranks: Ranks, *, device: torch.device | str = "cpu") -> bool:
    """What rank 0 said."""
    if ranks.size == 1:
        return flag
    return bool(ranks.gathered(torch.tensor([flag], dtype=torch.uint8, device=device))[0, 0])


def _in_order(stacked: torch.Tensor) -> torch.Tensor:
    total = stacked[0].clone()
    for other in stacked[1:]:
        total += other
    return total
