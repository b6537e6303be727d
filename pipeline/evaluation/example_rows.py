"""Rows of `latent_examples`: the text around the places where latents fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.rows import repeated
from pipeline.evaluation.tables import DocumentTables
from pipeline.evaluation.token_starts import token_starts
from sae_core.metrics.latent_examples import AFTER, BEFORE, QUANTILES

if TYPE_CHECKING:
    import pyarrow
    from transformers import PreTrainedTokenizerBase


def example_rows(
    evaluation: Evaluation,
    found: DocumentTables,
    held_out: HeldOut,
    tokenizer: PreTrainedTokenizerBase,
) -> pyarrow.Table:
    """Eight rows at most per latent that fires: the 5 strongest places, and 3 by quantile.

    The text is the token with the 12 before and the 4 after it, where they belong to the same
    packed row and document; each of them with where it begins and the latent's activation there.
    """
    import pyarrow as pa

    tally = found.tallies["latent_examples"]
    places = np.concatenate([tally["top_place"], tally["quantile_place"]], axis=1)
    values = np.concatenate([tally["top_value"], tally["quantile_value"]], axis=1)
    around = np.concatenate([tally["top_window"], tally["quantile_window"]], axis=1)
    latents, columns = np.nonzero(places >= 0)
    n_top = tally["top_place"].shape[1]
    is_top = columns < n_top
    at, document, inside, windows, offsets = _windows(places[latents, columns], held_out)
    texts = _texts(tokenizer, windows)
    return pa.table(
        {
            **repeated(evaluation, len(latents)),
            "latent": pa.array(latents, pa.int64()),
            "kind": pa.array(np.where(is_top, "top", "quantile").tolist(), pa.string()),
            "rank": pa.array(np.where(is_top, columns, columns - n_top), pa.int64()),
            "quantile": pa.array(
                np.array(QUANTILES)[np.maximum(columns - n_top, 0)], pa.float64(), mask=is_top
            ),
            "activation": pa.array(values[latents, columns].astype(np.float64), pa.float64()),
            "document": pa.array(document, pa.int64()),
            "token": pa.array(_texts(tokenizer, [[token] for token in at.tolist()]), pa.string()),
            "text": pa.array(texts, pa.string()),
            "token_ids": pa.array(windows, pa.list_(pa.int64())),
            "starts": pa.array(token_starts(tokenizer, windows, texts), pa.list_(pa.int64())),
            "activations": _lists(around[latents, columns], inside),
            "offset": pa.array(offsets, pa.int64()),
            "n_searched": pa.array([int(tally["n_tokens"])] * len(latents), pa.int64()),
        }
    )


def _windows(
    places: np.ndarray, held_out: HeldOut
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[list[int]], np.ndarray]:
    """Of places (m,): the tokens, the corpus' documents, which tokens around are shown, and those.

    The last are the places of the tokens among those that are shown.
    """
    context = held_out.tokens.shape[1]
    rows, columns = np.divmod(places, context)
    reach = np.arange(-BEFORE, AFTER + 1)
    around = columns[:, None] + reach
    inside = (around >= 0) & (around < context)
    at = (rows[:, None], around.clip(0, context - 1))
    index = held_out.document_index
    inside &= index[at] == index[rows, columns][:, None]
    ids = held_out.tokens[at]
    windows = [ids[i, kept].tolist() for i, kept in enumerate(inside)]
    offsets = inside[:, :BEFORE].sum(1)
    return (
        held_out.tokens[rows, columns],
        held_out.documents[index[rows, columns]],
        inside,
        windows,
        offsets,
    )


def _lists(values: np.ndarray, inside: np.ndarray) -> pyarrow.Array:
    """Of each row of values (m, w) those inside, as a list; NaN becomes NULL."""
    import pyarrow as pa

    ends = np.concatenate([[0], inside.sum(1).cumsum()])
    flat = values[inside].astype(np.float64)
    return pa.ListArray.from_arrays(
        pa.array(ends, pa.int32()), pa.array(flat, pa.float64(), mask=np.isnan(flat))
    )


def _texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[list[int]]) -> list[str]:
    """The text of each list of ids, as it stands: no tidying of spaces."""
    known = {tuple(one): tokenizer.decode(one, clean_up_tokenization_spaces=False) for one in ids}
    return [known[tuple(one)] for one in ids]
