"""Where a language model's sites are: for each site the module that holds it, and its width."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import SiteError
from pipeline.study.names import Site

KINDS = ("resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_act")


@dataclass(frozen=True)
class Tap:
    """How to read one site from a forward pass: site = scale * (input or output of a module).

    module: dotted name inside the causal LM. where: which side of the module.
    slot: position or keyword of the tensor among the inputs or outputs; None for an output that
    is the bare tensor. width: d of the site. scale: what the model multiplies the module's output
    by before adding it to the residual stream. mutated: the model later writes into the tensor,
    so a reader must copy it.
    """

    module: str
    where: Literal["input", "output"]
    slot: int | str | None
    width: int
    scale: float = 1.0
    mutated: bool = False


@dataclass(frozen=True)
class LayerSites:
    """One decoder block: its taps by kind, and why the other kinds are missing.

    stream_scale: c in resid_post = c * resid_pre + attn_out + mlp_out, None where the block is
    not such a sum (a norm after the addition, a third contribution).
    """

    block: str
    taps: Mapping[str, Tap]
    missing: Mapping[str, str]
    stream_scale: float | None


@dataclass(frozen=True)
class SiteLayout:
    """All sites of a language model.

    trunk: dotted name of the model without its output head; "" where it cannot be told apart.
    d_model: width of the residual stream.
    """

    trunk: str
    d_model: int
    layers: tuple[LayerSites, ...]

    @property
    def n_layers(self) -> int:
        """How many decoder blocks the model runs."""
        return len(self.layers)

    def sites(self) -> list[Site]:
        """Every site of the model, block by block, in the order of KINDS."""
        return [
            Site(kind, number)
            for number, layer in enumerate(self.layers)
            for kind in KINDS
            if kind in layer.taps
        ]

    def tap(self, site: Site) -> Tap:
        """How to read a site. Raises SiteError where the model does not have it."""
        self.check(site)
        return self.layers[site.layer].taps[site.kind]

    def width(self, site: Site) -> int:
        """d of a site. Raises SiteError where the model does not have it."""
        return self.tap(site).width

    def check(self, site: Site) -> None:
        """Raises SiteError, with the sites there are, where the model does not have this one."""
        if site.kind not in KINDS:
            near = difflib.get_close_matches(site.kind, KINDS, n=1, cutoff=0.5)
            offer = f"Did you mean '{near[0]}.{site.layer}'? " if near else ""
            raise SiteError(f"unknown site {str(site)!r}. {offer}{self._listing()}")
        if site.layer >= self.n_layers:
            raise SiteError(
                f"site {str(site)!r} lies beyond the model's depth: it has {self.n_layers} layers, "
                f"0 to {self.n_layers - 1}. {self._listing()}"
            )
        layer = self.layers[site.layer]
        if site.kind not in layer.taps:
            raise SiteError(
                f"site {str(site)!r} does not exist in this model: {layer.missing[site.kind]}. "
                f"{self._listing()}"
            )

    def _listing(self) -> str:
        parts = []
        for kind in KINDS:
            layers = [i for i, layer in enumerate(self.layers) if kind in layer.taps]
            if layers:
                parts.append(f"{kind}.{_ranges(layers)}")
        return "The model's sites: " + ", ".join(parts) + "."


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as text: [0, 1, 2, 5] gives '0-2,5'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
