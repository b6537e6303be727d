"""Columns and tables as data, and the comments that several tables share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMP", "BIGINT[]", "DOUBLE[]"]


@dataclass(frozen=True)
class Column:
    """One column: its name, its DuckDB type and what it holds."""

    name: str
    type: Type
    comment: str


@dataclass(frozen=True)
class Table:
    """One table; `key` are the columns of which views show the newest run only.

    `is_long`: a run writes many rows of one key, and its key columns are never NULL.
    """

    name: str
    comment: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    is_long: bool = False


_COMMENTS = {
    "sae": "id of the SAE: <source>/<recipe>.s<seed>",
    "sae_hash": "content hash of the SAE: its config, its inputs and the stages' versions",
    "sae_a": "id of the first SAE",
    "sae_a_hash": "content hash of the first SAE",
    "sae_b": "id of the second SAE",
    "sae_b_hash": "content hash of the second SAE",
    "source": "what the SAE is trained on: <model>.<weights>.<site>",
    "source_hash": "content hash of the source's activations",
    "model": "name of the language model",
    "weights": "weights variant: trained, random@1, gaussian, shuffled_text, ...",
    "weights_seed": "seed of a drawn weights variant; NULL for weights that are not drawn",
    "site": "where activations are read: resid_post.3",
    "layer": "layer of the site, from 0",
    "width": "d: dimensions of one activation",
    "evaluation_hash": "content hash of the evaluation: SAE, held-out text, settings, versions",
    "metric": "name of the metric, explained in metric_definitions",
    "metric_version": "version of the metric's definition",
    "value": "the value; NULL where it cannot be told, with the reason",
    "ci_low": "lower end of the 95 % interval (bootstrap over documents)",
    "ci_high": "upper end of the 95 % interval (bootstrap over documents)",
    "reason": "why a value is NULL, or what to bear in mind",
    "seconds": "wall-clock seconds, waiting for the device left out",
    "tokens_per_second": "rate over `seconds`",
    "package_version": "version of this package",
    "commit": "git commit of the code; NULL outside a clone",
}

_TYPES: dict[str, Type] = {
    "b": "BIGINT",
    "d": "DOUBLE",
    "t": "TIMESTAMP",
    "o": "BOOLEAN",
    "v": "VARCHAR",
    "l": "BIGINT[]",
    "m": "DOUBLE[]",
}


def columns(*specs: str) -> tuple[Column, ...]:
    """Columns of specs `name type-letter comment`; without a comment the shared one is meant."""
    found = []
    for spec in specs:
        name, letter, *words = spec.split(" ")
        comment = " ".join(words) or _COMMENTS[name]
        found.append(Column(name, _TYPES[letter], comment))
    return tuple(found)
