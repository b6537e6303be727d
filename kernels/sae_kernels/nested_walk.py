"""The walk along the nested reconstructions of a code, forward and back, on the CPU.

A node is an error that has a weight; the latents between two nodes are decoded in one sum. Tokens
may have different numbers of nodes: they are taken in blocks, those with most first, so that the
tokens that still have a t-th node are the first rows of their block. The walking errors, their
suffix sums and one decoded row per token are all that a block holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.autograd.function import FunctionCtx, once_differentiable

from sae_kernels.row_sums import bag_sums, row_dots, transposed_sums

_BLOCK_ENTRIES = 2**19
_FEW_NODES = 12  # per token: their suffix sums are kept, to be added to the dictionary in one pass


class Ragged(NamedTuple):
    """Active latents in order of token: `counts` (n,), `columns` (m,), `values` (m,)."""

    counts: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor


class _Nodes(NamedTuple):
    """M nodes in order of token: `counts` (n,) of them; `slots` (M,) among the n + m weights.

    The latents of node i are the `lengths` (M,) ones from `starts` (M,) on.
    """

    counts: torch.Tensor
    slots: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor


class _Level(NamedTuple):
    """The t-th nodes of a block's first b tokens, and the latents that lead to them.

    `columns`, `values` (e,) in order of token, those of token r from `starts[r]` on, and `rows`
    (e,) their tokens; `nodes` and `places`: where the nodes and latents are among all of the
    block. `one_each` where every token has one latent here.
    """

    columns: torch.Tensor
    values: torch.Tensor
    starts: torch.Tensor
    rows: torch.Tensor
    nodes: slice
    places: slice
    one_each: bool


class _Block(NamedTuple):
    """`tokens` (b,) and their `levels`; `nodes` and `places`: the block's, level by level."""

    tokens: torch.Tensor
    levels: list[_Level]
    nodes: torch.Tensor
    places: torch.Tensor


class NestedLoss(torch.autograd.Function):
    """Σ_j w_nj ‖e_nj‖² (n,), from `weights` (n + m,): of a token's bias alone, then its latents."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: torch.Tensor,
        counts: torch.Tensor,
        columns: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        bias: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        code, nodes = Ragged(counts, columns, values), _nodes(counts, weights != 0)
        ctx.blocks = list(_blocks(nodes, code, x.shape[1]))
        squares, last = _walk(x, dictionary, bias, ctx.blocks)
        ctx.save_for_backward(last, columns, values, dictionary, weights, *nodes)
        tokens = torch.arange(len(x)).repeat_interleave(nodes.counts)
        return x.new_zeros(len(x)).index_add_(0, tokens, weights[nodes.slots] * squares)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        last, columns, values, dictionary, weights, *parts = ctx.saved_tensors
        nodes = _Nodes(*parts)
        tokens = torch.arange(len(last)).repeat_interleave(nodes.counts)
        back = _Gradients(
            last,
            values,
            dictionary.contiguous(),
            weights=2 * grad[tokens] * weights[nodes.slots],
            to_values=ctx.needs_input_grad[3],
            to_dictionary=ctx.needs_input_grad[4],
        )
        for block in ctx.blocks:
            back.walk(last[block.tokens], block)
        back.finish(nodes, columns, values)
        d_bias = back.d_x.sum(0).neg_() if ctx.needs_input_grad[5] else None
        d_x = back.d_x if ctx.needs_input_grad[0] else None
        return d_x, None, None, back.d_values, back.d_dictionary, d_bias, None


def nested_squares(
    x: torch.Tensor, code: Ragged, dictionary: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """‖e_nj‖² (n + m,): of each token's bias alone, then after each of its latents."""
    every = torch.ones(len(x) + len(code.columns), dtype=torch.bool)
    blocks = _blocks(_nodes(code.counts, every), code, x.shape[1])
    return _walk(x, dictionary, bias, list(blocks))[0]


def _walk(
    x: torch.Tensor, dictionary: torch.Tensor, bias: torch.Tensor, blocks: list[_Block]
) -> tuple[torch.Tensor, torch.Tensor]:
    """‖e‖² at every node (M,) and each token's error at its last node (n, d)."""
    dictionary = dictionary.contiguous()
    squares = x.new_empty(sum(len(block.nodes) for block in blocks))
    last = torch.empty(x.shape, dtype=x.dtype)
    for block in blocks:
        error = x[block.tokens] - bias
        norms = torch.empty(len(block.nodes), dtype=x.dtype)
        for level in block.levels:
            rows = error[: len(level.starts)]
            rows.sub_(_decoded(dictionary, level))
            torch.linalg.vector_norm(rows, dim=1, out=norms[level.nodes])
        squares[block.nodes] = norms.square_()
        last[block.tokens] = error
    return squares, last


class _Gradients:
    """`d_x`, `d_values` and `d_dictionary`, gathered by walking from the last errors to the first.

    `weights` (M,) of the nodes, times 2 and the gradient of their tokens' loss. Where nodes are
    few, their suffix sums are kept, and `finish` gives them to values and rows in one pass.
    """

    def __init__(
        self,
        last: torch.Tensor,
        values: torch.Tensor,
        dictionary: torch.Tensor,
        *,
        weights: torch.Tensor,
        to_values: bool,
        to_dictionary: bool,
    ) -> None:
        self.dictionary, self.weights, self._to_dictionary = dictionary, weights, to_dictionary
        self.d_x = torch.empty_like(last)
        self.d_values = torch.zeros_like(values) if to_values else None
        few = len(weights) <= _FEW_NODES * len(last)
        self._kept = last.new_empty(len(weights), last.shape[1]) if few else None
        scattered = to_dictionary and not few
        self.d_dictionary = torch.zeros_like(dictionary) if scattered else None

    def walk(self, error: torch.Tensor, block: _Block) -> None:
        """From the block's last errors (b, d), which are changed, to its first."""
        suffix, pulled = torch.zeros_like(error), torch.empty_like(error)
        weights = self.weights[block.nodes].unsqueeze(1)
        dots = torch.empty(len(block.places), dtype=error.dtype)
        for level in reversed(block.levels):
            b = len(level.starts)
            rows, sums = error[:b], suffix[:b]
            sums.addcmul_(rows, weights[level.nodes])
            if self._kept is None:
                dots[level.places] = _dots(sums, self.dictionary, level)
                self._pull(sums, level, pulled[:b])
            else:
                self._kept[block.nodes[level.nodes]] = sums
            rows.add_(_decoded(self.dictionary, level))
        if self._kept is None and self.d_values is not None:
            self.d_values[block.places] = dots.neg_()
        self.d_x[block.tokens] = suffix

    def _pull(self, sums: torch.Tensor, level: _Level, pulled: torch.Tensor) -> None:
        """Adds −a_j S_j to the rows of a level's latents."""
        if self.d_dictionary is not None:
            steps = level.values.neg().unsqueeze(1)
            if level.one_each:
                torch.mul(sums, steps, out=pulled)
            else:
                pulled = sums[level.rows].mul_(steps)
            self.d_dictionary.index_add_(0, level.columns, pulled)

    def finish(self, nodes: _Nodes, columns: torch.Tensor, values: torch.Tensor) -> None:
        """What suffix sums that were kept give to values and rows."""
        if self._kept is None:
            return
        places, _ = _places(nodes.starts, nodes.lengths)
        rows = torch.arange(len(nodes.slots)).repeat_interleave(nodes.lengths)
        columns, values = columns[places], values[places]
        if self.d_values is not None:
            self.d_values[places] = row_dots(self._kept, self.dictionary, rows, columns).neg_()
        if self._to_dictionary:
            self.d_dictionary = transposed_sums(
                self._kept, rows, columns, values.neg_(), n_columns=len(self.dictionary)
            )


def _decoded(dictionary: torch.Tensor, level: _Level) -> torch.Tensor:
    return bag_sums(dictionary, level.columns, level.values, starts=level.starts)


def _dots(sums: torch.Tensor, dictionary: torch.Tensor, level: _Level) -> torch.Tensor:
    """Each latent's row times its token's suffix sum, (e,)."""
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        sums, dictionary, level.columns, level.starts, level.rows, 0, -1
    )


def _nodes(counts: torch.Tensor, weighted: torch.Tensor) -> _Nodes:
    """The nodes of tokens with `counts` (n,) latents, where slots (n + m,) are `weighted`."""
    n = len(counts)
    slots = weighted.nonzero().view(-1)
    tokens = torch.arange(n).repeat_interleave(counts + 1)[slots]
    # The latents before a slot are the slots before it, less one bias slot a token.
    stops = slots - tokens
    first = torch.ones_like(tokens, dtype=torch.bool)
    first[1:] = tokens[1:] != tokens[:-1]
    starts = torch.where(first, (counts.cumsum(0) - counts)[tokens], stops.roll(1))
    return _Nodes(torch.bincount(tokens, minlength=n), slots, starts, stops - starts)


def _places(starts: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The numbers starts_i, ..., starts_i + lengths_i − 1 for all i, and where each i begins."""
    begins = lengths.cumsum(0) - lengths
    shifts = (starts - begins).repeat_interleave(lengths)
    return torch.arange(len(shifts)) + shifts, begins


def _blocks(nodes: _Nodes, code: Ragged, width: int) -> Iterator[_Block]:
    order = nodes.counts.argsort(descending=True, stable=True)
    first = nodes.counts.cumsum(0) - nodes.counts
    for tokens in order.split(max(1, _BLOCK_ENTRIES // max(1, width))):
        yield _block(nodes, code, tokens, first[tokens])


def _block(nodes: _Nodes, code: Ragged, tokens: torch.Tensor, first: torch.Tensor) -> _Block:
    """The block of these tokens, whose nodes begin at `first` (b,), their numbers falling."""
    counts = nodes.counts[tokens]
    t = torch.arange(int(counts.max()) if len(counts) else 0).unsqueeze(1)
    there = t < counts
    chosen = (t + first)[there]
    lengths = nodes.lengths[chosen]
    places, begins = _places(nodes.starts[chosen], lengths)
    row_of_node = torch.arange(len(tokens)).expand(there.shape)[there]
    rows = row_of_node.repeat_interleave(lengths)
    columns, values = code.columns[places], code.values[places]
    levels, node, place = [], 0, 0
    of_node = torch.zeros(there.shape, dtype=torch.int64).masked_scatter_(there, lengths)
    uneven = ((of_node != 1) & there).any(1)
    for n_nodes, n_places, bad in zip(there.sum(1), of_node.sum(1), uneven, strict=True):
        at = slice(node, node + int(n_nodes))
        of = slice(place, place + int(n_places))
        starts = begins[at] - place
        levels.append(_Level(columns[of], values[of], starts, rows[of], at, of, not bad))
        node, place = at.stop, of.stop
    return _Block(tokens, levels, chosen, places)
