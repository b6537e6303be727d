"""Rows of made-up results, as the pipeline writes them."""

from __future__ import annotations

from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

# Two seeds of one recipe on trained weights, and the first one's twin.
A, B, R = "m.trained.resid_post.0/t.s0", "m.trained.resid_post.0/t.s1", "m.random.resid_post.0/t.s0"


def ask(workspace: Workspace, sql: str) -> list[dict[str, object]]:
    """The rows of an answer."""
    return query(workspace, sql).to_pylist()


def row(table: str, **values: object) -> dict[str, object]:
    """A row of a table: what is not given is NULL."""
    return {column.name: None for column in TABLES[table].columns} | values


def sae(name: str, *, digest: str = "h", **values: object) -> dict[str, object]:
    """A row of `saes`, told by its id."""
    source, key = name.split("/")
    model, weights, kind, layer = source.split(".")
    recipe, seed = key.split(".s")
    told = {
        "sae": name,
        "sae_hash": digest,
        "source": source,
        "model": model,
        "weights": weights,
        "site": f"{kind}.{layer}",
        "layer": int(layer),
        "recipe": recipe,
        "architecture": "topk",
        "seed": int(seed),
        "path": f"saes/{name}/{digest}",
        "status": "ok",
    }
    return row("saes", **(told | values))


def metric(name: str, of: str, value: float | None, **values: object) -> dict[str, object]:
    """A row of `metrics` for metric `of`."""
    told = {"sae": name, "sae_hash": "h", "evaluation_hash": "e", "metric": of}
    return row("metrics", **(told | {"metric_version": 1, "value": value} | values))


def match(a: str, b: str, mmcs: float, **values: object) -> dict[str, object]:
    """A row of `dictionary_matches`."""
    told = {"sae_a": a, "sae_a_hash": "h", "sae_b": b, "sae_b_hash": "h", "pair": "other_seed"}
    both = {"mmcs_ab": mmcs, "mmcs_ba": mmcs}
    return row("dictionary_matches", **(told | both | values))
