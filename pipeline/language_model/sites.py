"""Finding a causal language model's sites from what it computes, not from what it is called."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.language_model.layout import KINDS, LayerSites, SiteLayout, Tap
from pipeline.language_model.probe import (
    POSITIONS,
    ROWS,
    BlockCall,
    Call,
    Value,
    find_blocks,
    trace_blocks,
)
from pipeline.language_model.provenance import Point, Provenance, Terms, proportional

__all__ = ["KINDS", "LayerSites", "SiteLayout", "Tap", "find_layout"]

_CELLS = ROWS * POSITIONS
_JUDGED = 3


@dataclass(frozen=True)
class _Block:
    """A block taken apart: the terms its modules add to the stream, mixers and pointwise ones."""

    mixing: Terms
    pointwise: Terms
    scale: float | None
    unclear: bool


def find_layout(model: nn.Module) -> SiteLayout:
    """The sites of a causal language model, found by one tiny forward pass.

    resid_pre is a decoder block's input, resid_post its output. Every block is written as the
    sum it forms, resid_post = c * resid_pre + contributions; a contribution that reads other
    positions than its own is attn_out (self-attention or what stands in its place), one that
    does not is mlp_out (dense or mixture of experts). Both are taken as they are added: after a
    norm behind the sublayer and after a constant multiplier, where the model has them. mlp_act
    is the input of the last linear map inside mlp_out. Where a block normalises the sum, the
    contributions are those inside the norm.

    Raises SiteError for models without a single residual stream.
    """
    trunk_name, trunk = _trunk(model)
    n_ids = model.get_input_embeddings().weight.shape[0]
    names = find_blocks(trunk, n_ids)
    provenance, blocks = trace_blocks(trunk, names, n_ids=n_ids)
    counts: dict[int, int] = {}
    for block in blocks:
        for call in block.calls:
            counts[id(call.module)] = counts.get(id(call.module), 0) + 1
    prefix = f"{trunk_name}." if trunk_name else ""
    layers = []
    for block in blocks:
        block.calls = [call for call in block.calls if counts[id(call.module)] == 1]
        layers.append(_layer(provenance, block, prefix))
    return SiteLayout(trunk_name, layers[0].taps["resid_pre"].width, tuple(layers))


def _trunk(model: nn.Module) -> tuple[str, nn.Module]:
    trunk = getattr(model, "base_model", model)
    names = {id(module): name for name, module in model.named_modules()}
    return (names[id(trunk)], trunk) if id(trunk) in names else ("", model)


def _layer(provenance: Provenance, block: BlockCall, prefix: str) -> LayerSites:
    entered = block.own.before[0]
    width = entered.tensor.shape[-1]
    left = next(v for v in block.own.after if v.tensor.shape == entered.tensor.shape)
    taps = {
        "resid_pre": _tap(prefix, block.own, "input", entered),
        "resid_post": _tap(prefix, block.own, "output", left),
    }
    missing: dict[str, str] = {}
    parts = _take_apart(provenance, block, left.terms)
    found: dict[str, Tap] = {}
    for kind, terms in (("attn_out", parts.mixing), ("mlp_out", parts.pointwise)):
        what = "mixes positions" if kind == "attn_out" else "works on each position alone"
        if not terms:
            missing[kind] = f"the block adds nothing that {what}"
            continue
        tap = _holder(block, terms, width, prefix)
        if tap is None:
            missing[kind] = f"what {what} is not the output of one module there"
        else:
            found[kind] = tap
    if "mlp_out" in found:
        down = _last_linear(block, parts.pointwise)
        if down is None:
            missing["mlp_act"] = "its mlp_out has no single last linear map (mixture of experts)"
        else:
            found["mlp_act"] = _tap(prefix, down, "input", down.before[0])
    else:
        missing["mlp_act"] = missing["mlp_out"]
    whole = len(found.keys() & {"attn_out", "mlp_out"}) == bool(parts.mixing) + bool(
        parts.pointwise
    )
    scale = parts.scale if whole and not parts.unclear else None
    return LayerSites(prefix + block.name, taps | found, missing, scale)


def _take_apart(provenance: Provenance, block: BlockCall, terms: Terms) -> _Block:
    entered = block.own.before[0]
    origin = next(iter(entered.terms))
    streams = {origin}
    scale = terms.get(origin)
    contributions = {a: c for a, c in terms.items() if a != origin and c}
    if scale is None:
        contributions = _inside_norms(block, terms, streams)
        contributions.pop(origin, None)
    stream = [Point.of(block.leaf)] + [
        point
        for point, sum_terms in _in_order(provenance, streams - {origin})
        if streams & sum_terms.keys()
    ]
    mixing, pointwise, unclear = {}, {}, False
    for atom, factor in contributions.items():
        mixes = _mixes_positions(provenance.atoms[atom], stream)
        if mixes is None:
            unclear = True
        else:
            (mixing if mixes else pointwise)[atom] = factor
    return _Block(mixing, pointwise, scale, unclear)


def _in_order(provenance: Provenance, norms: set[int]) -> list[tuple[Point, Terms]]:
    """Norm outputs that carry the stream, then the sums; later ones may read earlier ones."""
    return [(provenance.atoms[atom], {atom: 1.0}) for atom in sorted(norms)] + provenance.sums


def _inside_norms(block: BlockCall, terms: Terms, streams: set[int]) -> Terms:
    """Contributions of a block that normalises its sums, with the norms' outputs as streams."""
    found: Terms = {}
    for atom, factor in terms.items():
        inner = next(
            (
                call.before[0].terms
                for call in block.calls
                if _is_norm(call.module)
                and len(call.before) == 1
                and (len(call.before[0].terms) > 1 or streams & call.before[0].terms.keys())
                and any(value.terms == {atom: 1.0} for value in call.after)
            ),
            None,
        )
        if inner is None:
            found[atom] = factor
        else:
            streams.add(atom)
            found |= _inside_norms(block, inner, streams)
    return found


def _mixes_positions(contribution: Point, stream: list[Point]) -> bool | None:
    """Whether a contribution at one position reads the stream at others.

    Judged by gradients towards the last stream tensor it depends on: what it reads through
    earlier contributions does not count. None where it does not depend on the stream.
    """
    if contribution.shape.numel() % _CELLS or contribution.edge is None:
        return None
    place = {"device": contribution.device, "dtype": contribution.dtype}
    judge = torch.zeros(_CELLS, contribution.shape.numel() // _CELLS, **place)
    judge[_JUDGED] = torch.linspace(0.5, 1.5, judge.shape[1], **place)
    gradients = torch.autograd.grad(
        [contribution.edge],
        [point.edge for point in stream],
        grad_outputs=[judge.reshape(contribution.shape)],
        retain_graph=True,
        allow_unused=True,
    )
    for gradient in reversed(gradients):
        if gradient is not None and bool(gradient.any()):
            others = gradient.reshape(_CELLS, -1).any(dim=1)
            others[_JUDGED] = False
            return bool(others.any())
    return None


def _holder(block: BlockCall, terms: Terms, width: int, prefix: str) -> Tap | None:
    """The tap of the module whose output is the given sum, up to a factor."""
    candidates = [
        (value.slot is not None, call.name.count("."), call, value, factor)
        for call in block.calls
        for value in call.after
        if value.tensor.numel() == _CELLS * width
        and (factor := proportional(terms, value.terms)) is not None
    ]
    if not candidates:
        return None
    *_, call, value, factor = min(candidates, key=lambda candidate: candidate[:2])
    return _tap(prefix, call, "output", value, scale=factor)


def _last_linear(block: BlockCall, terms: Terms) -> Call | None:
    """The linear map whose output is mlp_out, directly or through one norm behind it."""
    wanted = [terms]
    for call in block.calls:
        if _is_norm(call.module) and any(proportional(terms, v.terms) for v in call.after):
            wanted += [value.terms for value in call.before]
    for call in block.calls:
        weight = getattr(call.module, "weight", None)
        if (
            isinstance(weight, Tensor)
            and weight.ndim == 2
            and len(call.before) == len(call.after) == 1
            and call.before[0].tensor.shape[-1] in weight.shape
            and call.before[0].tensor.numel() == _CELLS * call.before[0].tensor.shape[-1]
            and any(proportional(want, call.after[0].terms) for want in wanted)
        ):
            return call
    return None


def _is_norm(module: nn.Module) -> bool:
    """A module that can only rescale and shift: no weight with two or more dimensions."""
    return all(parameter.ndim <= 1 for parameter in module.parameters())


def _tap(prefix: str, call: Call, where: str, value: Value, *, scale: float = 1.0) -> Tap:
    return Tap(
        module=prefix + call.name,
        where=where,
        slot=value.slot,
        width=value.tensor.shape[-1],
        scale=scale,
        mutated=value.tensor._version != value.version,
    )
