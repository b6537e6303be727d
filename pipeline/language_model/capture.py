"""Reading activations at sites, in one forward pass that stops where the last one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.language_model.layout import Tap
from pipeline.language_model.model import LanguageModel
from pipeline.study.names import Site


class _AllRead(Exception):
    """Ends a forward pass whose remaining work nobody asked for."""


def capture(lm: LanguageModel, tokens: Tensor, sites: Iterable[Site]) -> dict[Site, Tensor]:
    """Activations of all sites in one forward pass: site -> (b, t, d of the site).

    tokens: (b, t) int64. Values are in the model's dtype, on its device. Raises SiteError for a
    site that the model does not have.
    """
    found: dict[Site, Tensor] = {}

    def keep(site: Site, value: Tensor) -> None:
        tap = lm.layout.tap(site)
        found[site] = value.clone() if tap.mutated and tap.scale == 1.0 else value

    read_sites(lm, tokens, sites, keep)
    return found


def read_sites(
    lm: LanguageModel, tokens: Tensor, sites: Iterable[Site], take: Callable[[Site, Tensor], None]
) -> None:
    """One forward pass in which `take` gets each site's activations (b, t, d) once they are there.

    What `take` gets holds until it returns: the model may change it in place afterwards. So one
    site's activations are in memory at a time, not all sites' until the pass ends.

    tokens: (b, t) int64. The pass runs the model without its output head and ends at the deepest
    site. Values are in the model's dtype, on its device.

    Raises SiteError for a site that the model does not have.
    """
    taps = {site: lm.layout.tap(site) for site in sites}
    taken: set[Site] = set()
    if not taps:
        return

    def reader(site: Site, tap: Tap) -> Callable[[Tensor], None]:
        def read(value: Tensor) -> None:
            value = value.reshape(*tokens.shape, tap.width)
            take(site, value if tap.scale == 1.0 else value * tap.scale)
            taken.add(site)
            if len(taken) == len(taps):
                raise _AllRead

        return read

    with torch.inference_mode(), ExitStack() as hooks:
        for site, tap in taps.items():
            hooks.enter_context(tapped(lm.model, tap, reader(site, tap)))
        try:
            lm.trunk(input_ids=tokens.to(lm.device), use_cache=False)
        except _AllRead:
            return
    raise RuntimeError(f"the forward pass ended without reaching {set(taps) - taken}")


@contextmanager
def tapped(model: nn.Module, tap: Tap, visit: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Within the block, `visit` sees the tensor at a tap in every forward pass.

    What it returns takes the tensor's place; None leaves the tensor as it is.
    """

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        by_position = isinstance(tap.slot, int)
        new = visit(args[tap.slot] if by_position else kwargs[tap.slot])
        if new is None:
            return None
        if by_position:
            return (*args[: tap.slot], new, *args[tap.slot + 1 :]), kwargs
        return args, {**kwargs, tap.slot: new}

    def after(_: nn.Module, args: Any, output: Any) -> Any:
        new = visit(output if tap.slot is None else output[tap.slot])
        if new is None or tap.slot is None:
            return new
        return type(output)((*output[: tap.slot], new, *output[tap.slot + 1 :]))

    module = model.get_submodule(tap.module)
    if tap.where == "input":
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
