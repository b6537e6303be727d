"""A tiny forward pass through a language model that writes down what every module did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import SiteError
from pipeline.language_model.provenance import Provenance, Terms

ROWS, POSITIONS = 2, 6


@dataclass(frozen=True)
class Value:
    """A tensor that went into or came out of a module: its slot, and what it is a sum of."""

    slot: int | str | None
    tensor: Tensor
    terms: Terms
    version: int


@dataclass
class Call:
    """One module's forward call inside a block."""

    name: str
    module: nn.Module
    before: list[Value]
    after: list[Value] = field(default_factory=list)


@dataclass
class BlockCall:
    """One decoder block's call. leaf: its input, detached; calls: its modules, in order."""

    name: str
    leaf: Tensor | None = None
    own: Call | None = None
    calls: list[Call] = field(default_factory=list)


def find_blocks(trunk: nn.Module, n_ids: int) -> list[str]:
    """Names of the decoder blocks inside the trunk, in the order they run.

    Of all module lists whose members run once each, in order, from hidden states (b, t, d) to
    hidden states of the same shape, the one with most parameters.

    Raises SiteError where there is none.
    """
    ran: dict[nn.Module, list[tuple[int, bool]]] = {}
    clock = 0

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        nonlocal clock
        clock += 1
        shapes = [_hidden_shape(_inputs(args, kwargs)), _hidden_shape(_outputs(output))]
        ran.setdefault(module, []).append((clock, None not in shapes and shapes[0] == shapes[1]))

    lists = {name: m for name, m in trunk.named_modules() if isinstance(m, nn.ModuleList)}
    with _hooks() as handles, torch.no_grad():
        for member in {member for members in lists.values() for member in members}:
            handles.append(member.register_forward_hook(note, with_kwargs=True))
        run_trunk(trunk, n_ids)
    best: list[str] = []
    most = 0
    for name, members in lists.items():
        names = [f"{name}.{i}" for i, member in enumerate(members) if member in ran]
        calls = [ran[member] for member in members if member in ran]
        if not calls or any(len(c) != 1 or not c[0][1] for c in calls) or calls != sorted(calls):
            continue
        size = sum(p.numel() for member in members for p in member.parameters())
        if size > most:
            best, most = names, size
    if not best:
        raise SiteError(
            f"{type(trunk).__name__} has no list of blocks that run once each, one after the "
            "other, on hidden states of one shape (batch, tokens, d): its sites cannot be found. "
            "Use a causal language model with one residual stream."
        )
    return best


def trace_blocks(
    trunk: nn.Module, names: list[str], *, n_ids: int
) -> tuple[Provenance, list[BlockCall]]:
    """Run the trunk once more and record, per block, its modules' calls with provenance.

    Each block's input is cut from the graph, so that gradients stay inside one block.
    """
    provenance = Provenance()
    blocks = [BlockCall(name) for name in names]
    with _hooks() as handles:
        for block in blocks:
            _watch_block(trunk.get_submodule(block.name), block, provenance, handles)
        with torch.enable_grad(), provenance:
            run_trunk(trunk, n_ids)
    return provenance, blocks


def run_trunk(trunk: nn.Module, n_ids: int) -> None:
    """One forward pass on ROWS x POSITIONS made-up token ids."""
    device = next(trunk.parameters()).device
    ids = torch.arange(ROWS * POSITIONS, device=device).reshape(ROWS, POSITIONS)
    trunk(input_ids=(ids * 7 + 5) % n_ids, use_cache=False)


def _watch_block(
    module: nn.Module, block: BlockCall, provenance: Provenance, handles: list[Any]
) -> None:
    def cut(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        slot, hidden = next(
            (s, v) for s, v in _inputs(args, kwargs) if _hidden_shape([(s, v)]) is not None
        )
        block.leaf = hidden.detach().requires_grad_(True)
        entered = block.leaf.clone()
        provenance.mark(entered)
        block.own = Call(block.name, module, [_value(slot, entered, provenance)])
        if isinstance(slot, int):
            return (*args[:slot], entered, *args[slot + 1 :]), kwargs
        return args, {**kwargs, slot: entered}

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        block.own.after = [_value(s, v, provenance) for s, v in _outputs(output)]

    handles.append(module.register_forward_pre_hook(cut, with_kwargs=True))
    for name, inner in module.named_modules():
        if inner is not module:
            _watch_module(f"{block.name}.{name}", inner, block, provenance, handles)
    handles.append(module.register_forward_hook(leave))


def _watch_module(
    name: str, module: nn.Module, block: BlockCall, provenance: Provenance, handles: list[Any]
) -> None:
    pending: list[Call] = []

    def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
        before = [_value(s, v, provenance) for s, v in _inputs(args, kwargs)]
        pending.append(Call(name, module, before))

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        call = pending.pop()
        call.after = [_value(s, v, provenance) for s, v in _outputs(output)]
        block.calls.append(call)

    handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
    handles.append(module.register_forward_hook(leave))


def _value(slot: int | str | None, tensor: Tensor, provenance: Provenance) -> Value:
    return Value(slot, tensor, provenance.terms(tensor), tensor._version)


def _inputs(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[Any, Tensor]]:
    return [(s, v) for s, v in [*enumerate(args), *kwargs.items()] if _is_float(v)]


def _outputs(output: Any) -> list[tuple[Any, Tensor]]:
    if isinstance(output, (tuple, list)):
        return [(slot, value) for slot, value in enumerate(output) if _is_float(value)]
    return [(None, output)] if _is_float(output) else []


def _hidden_shape(values: list[tuple[Any, Tensor]]) -> torch.Size | None:
    shapes = (v.shape for _, v in values if v.ndim == 3 and v.shape[:2] == (ROWS, POSITIONS))
    return next(shapes, None)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


@contextmanager
def _hooks() -> Iterator[list[Any]]:
    handles: list[Any] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()
