"""Examples for the latent browser: texts cut into tokens, and how strongly each token counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.packed import NO_INDEX
from pipeline.report.table_columns import floats, integers, lists
from pipeline.report.token_place import token_place

if TYPE_CHECKING:
    import pyarrow

FULL = 255
_LONGEST = 2**16 - 1

Cut = tuple[int, ...]


def is_shaded(rows: pyarrow.Table) -> bool:
    """Whether the rows know the activation on every token; of one SAE, all or none do."""
    return bool(rows.column("starts").null_count == 0)


def example_columns(
    rows: pyarrow.Table,
    latents: Mapping[str, np.ndarray],
    vocabulary: Mapping[int, str],
    texts: dict[str, Any],
) -> dict[str, np.ndarray]:
    """Columns of an SAE's examples; each text is stored once, in `texts`, with its cut.

    `text.pieces` how many pieces each text is cut into, `text.lengths` their lengths in units of
    UTF-16; `example.piece` the piece that is the firing token, −1 where unknown; `example.shades`
    for each piece of each example the activation there, in 1/255 of the latent's largest.
    """
    shaded = is_shaded(rows)
    cuts, piece, activations = _by_token(rows) if shaded else _around_one(rows, vocabulary)
    shown = list(zip(rows.column("text").to_pylist(), cuts, strict=True))
    known = {one: number for number, one in enumerate(dict.fromkeys(shown))}
    texts["texts"] = [text for text, _ in known]
    texts["shaded"] = shaded
    texts["n_searched"] = rows.column("n_searched")[0].as_py()
    is_top = rows.column("kind").to_numpy(zero_copy_only=False) == "top"
    largest = dict(zip(latents["latent"].tolist(), latents["max_activation"], strict=True))
    of = np.array([largest.get(one, np.nan) for one in rows.column("latent").to_pylist()])
    return {
        "example.latent": integers(rows, "latent"),
        "example.is_top": is_top.astype(np.int64),
        "example.quantile": floats(rows, "quantile"),
        "example.activation": floats(rows, "activation"),
        "example.document": integers(rows, "document"),
        "example.text": np.array([known[one] for one in shown], dtype=np.int64),
        "example.piece": piece,
        "example.shades": _shades(activations, np.repeat(of, [len(cut) for cut in cuts])),
        "text.pieces": np.array([len(cut) for _, cut in known], dtype=np.uint16),
        "text.lengths": np.array([n for _, cut in known for n in cut], dtype=np.uint16),
    }


def _by_token(rows: pyarrow.Table) -> tuple[list[Cut], np.ndarray, np.ndarray]:
    """Cuts at every token."""
    known: dict[tuple[str, Cut], Cut] = {}
    cuts = []
    shown = (rows.column(name).to_pylist() for name in ("text", "starts"))
    for text, starts in zip(*shown, strict=True):
        key = (text, tuple(starts))
        if key not in known:
            known[key] = _lengths(text, [*starts, len(text)])
        cuts.append(known[key])
    return cuts, integers(rows, "offset"), lists(rows, "activations")[1]


def _around_one(
    rows: pyarrow.Table, vocabulary: Mapping[int, str]
) -> tuple[list[Cut], np.ndarray, np.ndarray]:
    """Cuts before and after the firing token, where its place can be told."""
    cuts: list[Cut] = []
    piece, activations = [], []
    names = ("text", "token", "token_ids", "offset", "activation")
    for text, token, ids, offset, activation in zip(
        *(rows.column(name).to_pylist() for name in names), strict=True
    ):
        found = token_place(text, token, ids, offset, vocabulary)
        piece.append(NO_INDEX if found is None else 1)
        cuts.append(_lengths(text, [0, *(found or ()), len(text)]))
        activations += [0.0] if found is None else [0.0, activation, 0.0]
    return cuts, np.array(piece), np.array(activations)


def _lengths(text: str, places: Sequence[int]) -> Cut:
    """Lengths between places in a text, counted as JavaScript counts: in units of UTF-16."""
    if not text.isascii():
        places = [len(text[:at].encode("utf-16-le", "surrogatepass")) // 2 for at in places]
    return tuple(min(b - a, _LONGEST) for a, b in pairwise(places))


def _shades(activations: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Shares of the largest as whole numbers up to 255; what fires at all is at least 1."""
    share = np.nan_to_num(np.nan_to_num(activations) / np.maximum(largest, 1e-30))
    return np.where(share > 0, np.clip(np.rint(FULL * share), 1, FULL), 0).astype(np.uint8)
