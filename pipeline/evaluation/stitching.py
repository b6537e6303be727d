"""Stitching: what a narrow SAE gains from latents of a wider one, class by class, on held-out text.

x̂ = x̂_narrow + Σ_(i ∈ S) a_i d_i, where S are the wide SAE's latents of some classes. If novel
latents carry what the narrow dictionary lacks, adding them lowers error and loss; what shared and
split latents add is there already and comes twice. Measured on the tokens of curves.
Reference: Leask et al., Sparse Autoencoders Do Not Find Canonical Units of Analysis (2025),
arXiv 2502.04878.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from pipeline.evaluation.edited_batch import EditedBatch, Place, edited_batch
from pipeline.evaluation.forwards import Forwards
from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.matches import Match
from pipeline.evaluation.rows import Row
from pipeline.language_model.model import LanguageModel
from pipeline.progress import Progress, Report
from sae_core.bootstrap import interval, resample_counts
from sae_core.code import SparseCode
from sae_core.metrics.token_metric import columns, sums_per_document
from sae_core.sae import Sae

NOTHING = "nothing"
ADDED = {
    "novel": ("novel",),
    "absorbed": ("absorbed",),
    "reconstruction": ("shared", "split"),
}


@dataclass
class _Pair:
    """A narrow and a wide SAE, which latents (f,) of the wide one join, and sums per document.

    `losses` (D, 1 + 2): predictions, clean and spliced loss; `errors` (D, 1): squared error.
    """

    match: Match
    sides: tuple[Sae, Sae]
    joining: Mapping[str, torch.Tensor]
    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    errors: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, begun: EditedBatch, x: torch.Tensor, codes: Codes, n_documents: int) -> None:
        """Splices in what the narrow SAE gives alone, and with each group of latents."""
        narrow, wide = self.sides
        alone, code = narrow.decode(codes(narrow)), codes(wide)
        for name, latents in self.joining.items():
            x_hat = alone if name == NOTHING else alone + contribution(wide, code, latents)
            error = (x.double() - x_hat.double()).square().sum(1)
            assert begun.clean is not None
            spliced = begun.losses(x_hat).loss[begun.keep]
            losses = columns(begun.clean.loss[begun.keep], spliced)
            self._more(self.losses, name, losses, begun.predicted, n_documents)
            self._more(self.errors, name, columns(error.cpu()), begun.documents, n_documents)

    @staticmethod
    def _more(
        sums: dict[str, torch.Tensor],
        name: str,
        per_token: torch.Tensor,
        documents: torch.Tensor,
        n_documents: int,
    ) -> None:
        new = sums_per_document(per_token, documents.cpu(), n_documents)
        sums[name] = sums[name] + new if name in sums else new


Codes = Callable[[Sae], SparseCode]


def contribution(sae: Sae, code: SparseCode, latents: torch.Tensor) -> torch.Tensor:
    """What some of an SAE's latents (f,) bool add to reconstructions (n, d)."""
    values = code.values.masked_fill(~latents.to(code.indices.device)[code.indices], 0.0)
    nothing = code._replace(indices=code.indices[:1, :1], values=torch.zeros_like(values[:1, :1]))
    return sae.decode(code._replace(values=values)) - sae.decode(nothing)


def stitch(
    lm: LanguageModel,
    place: Place,
    matches: Sequence[Match],
    saes: Callable[[Path], Sae],
    held_out: HeldOut,
    *,
    batch_rows: int,
    report: Report,
) -> list[Row]:
    """Rows of `stitching` for matches of one source whose second side is the wider SAE.

    `saes` gives the SAE of a folder.
    """
    pairs = [
        _Pair(match, (saes(match.neighbours.a.folder), saes(match.neighbours.b.folder)), joining)
        for match in matches
        if (joining := _joining(match))
    ]
    if not pairs:
        return []
    variance = torch.zeros(len(held_out.documents), 2 + len(place.mean), dtype=torch.float64)
    settings = pairs[0].match.neighbours.a.cell.evaluation
    part, forwards, done = held_out.thinned(settings.curve_tokens), Forwards(lm, place.site), 0
    with torch.inference_mode():
        for batch in part.batches(batch_rows):
            begun = edited_batch(forwards, place, batch, held_out, losses=True)
            if begun.edited.any():
                variance += _spread(begun.rows, begun.documents, place, len(variance))
                _add(pairs, begun, len(variance))
            done += batch.tokens.numel()
            report(Progress("stitching", done, part.tokens.size, "tokens", str(place.site)))
    counts = resample_counts(len(variance), settings.bootstrap, seed=settings.bootstrap_seed)
    return [row for pair in pairs for row in _rows(pair, variance.numpy(), counts)]


def _add(pairs: Sequence[_Pair], begun: EditedBatch, n_documents: int) -> None:
    x, known = begun.rows, {}

    def codes(sae: Sae) -> SparseCode:
        if id(sae) not in known:
            known[id(sae)] = sae.encode(x)
        return known[id(sae)]

    for pair in pairs:
        pair.add(begun, x, codes, n_documents)


def _joining(match: Match) -> dict[str, torch.Tensor]:
    """The latents of each group that has any, by its name; empty where there are no classes."""
    way = match.ways[1] if match.ways and match.neighbours.pair == "other_width" else None
    if way is None or way.classes is None or way.with_best is None:
        return {}
    found = {NOTHING: torch.zeros(len(way.with_best.n_fires), dtype=torch.bool)}
    for name, classes in ADDED.items():
        latents = torch.zeros_like(found[NOTHING])
        latents[torch.from_numpy(way.latents[np.isin(way.classes, classes)])] = True
        if latents.any():
            found[name] = latents
    return found


def _spread(x: torch.Tensor, documents: torch.Tensor, place: Place, n: int) -> torch.Tensor:
    """Per document: tokens, Σ‖x − c‖² and Σ(x − c), from which any variance comes."""
    centred = x.cpu().double() - place.mean.cpu()
    square = centred.square().sum(1)
    return sums_per_document(columns(square, *centred.T), documents.cpu(), n)


def _rows(pair: _Pair, spread: np.ndarray, counts: np.ndarray) -> Iterator[Row]:
    a, b = pair.match.neighbours.a, pair.match.neighbours.b
    ids = {
        "sae_narrow": a.sae,
        "sae_narrow_hash": a.sae_hash,
        "sae_wide": b.sae,
        "sae_wide_hash": b.sae_hash,
    }
    everything = np.concatenate([np.ones((1, len(spread))), counts])
    variance = _variance(everything @ spread)
    fvu = {name: everything @ sums.numpy()[:, 1] / variance for name, sums in pair.errors.items()}
    cost = {name: _increase(everything @ sums.numpy()) for name, sums in pair.losses.items()}
    several = len(spread) > 1
    for name in (NOTHING, *ADDED):
        row: Row = {**ids, "added": name, "n_added": 0, "n_tokens": int(spread[:, 0].sum())}
        row["n_predictions"] = int(pair.losses[NOTHING][:, 0].sum())
        if name not in pair.joining:
            yield {**row, **dict.fromkeys(_MEASURED), "reason": "no latent is of this class"}
            continue
        row["n_added"] = int(pair.joining[name].sum())
        yield {
            **row,
            "fvu": float(fvu[name][0]),
            **_change("fvu", fvu[name] - fvu[NOTHING], several),
            "ce_increase_nats": float(cost[name][0]),
            **_change("ce", cost[name] - cost[NOTHING], several),
            "reason": None,
        }


_MEASURED = (
    "fvu",
    "fvu_change",
    "fvu_change_ci_low",
    "fvu_change_ci_high",
    "ce_increase_nats",
    "ce_change",
    "ce_change_ci_low",
    "ce_change_ci_high",
)


def _variance(totals: np.ndarray) -> np.ndarray:
    return totals[..., 1] - (totals[..., 2:] ** 2).sum(-1) / totals[..., 0]


def _increase(totals: np.ndarray) -> np.ndarray:
    return (totals[..., 2] - totals[..., 1]) / totals[..., 0]


def _change(name: str, changes: np.ndarray, several: bool) -> Row:
    low, high = interval(changes[1:]) if several else (np.nan, np.nan)
    ends = {"low": float(low), "high": float(high)}
    return {f"{name}_change": float(changes[0])} | {
        f"{name}_change_ci_{end}": value if np.isfinite(value) else None
        for end, value in ends.items()
    }
