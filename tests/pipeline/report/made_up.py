"""A workspace of made-up results: SAEs of two weights variants and some seeds, with latents."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.catalog.tables import TABLES
from pipeline.catalog.write import new_run_id, write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import match, metric, row, sae

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
REASON = f"ablation changes nothing {HOSTILE}"
WORDS = ["self", " def", "\n", "    ", "return", "é", "𝒳", ".", "(", " import", HOSTILE]
WINDOW, OFFSET = 9, 6
N_TOP, N_SPREAD = 5, 3


def made_up(
    workspace: Workspace,
    *,
    n_latents: int = 16,
    seeds: Sequence[int] = (0, 1),
    weights: Sequence[str] = ("trained", "random"),
    recipe: str = "topk",
) -> list[str]:
    """Writes the results, and gives the SAEs' ids. The last latent of each never fires."""
    draw = np.random.default_rng(0)
    names = [f"lm.{w}.resid_post.1/{recipe}.s{seed}" for w in weights for seed in seeds]
    pairs = [
        (a, b) for a, b in permutations(names, 2) if _weights(a) == _weights(b) or a[-1] == b[-1]
    ]
    rows: dict[str, Any] = {
        "studies": [
            {
                "study": "invented",
                "study_hash": "c" * 64,
                "yaml": f"study: invented  # {HOSTILE}",
                "registered_at": datetime(2026, 1, 2, tzinfo=UTC),
            }
        ],
        "sources": [_source(w) for w in weights],
        "saes": [_sae(name, n_latents) for name in names],
        "metrics": [one for name in names for one in _metrics(name, draw)],
        "training_curve": [one for name in names for one in _curve(name)],
        "dictionary_matches": [_matched(a, b, draw) for a, b in pairs],
        "latents": pa.concat_tables([_latents(name, n_latents, draw) for name in names]),
        "latent_matches": pa.concat_tables([_matches(a, b, n_latents, draw) for a, b in pairs]),
        "latent_examples": pa.concat_tables([_examples(name, n_latents, draw) for name in names]),
    }
    write_run(workspace, new_run_id("invention"), rows, kind="invention")
    return names


def _weights(name: str) -> str:
    return name.split(".")[1]


def _source(weights: str) -> dict[str, object]:
    source = f"lm.{weights}.resid_post.1"
    told = {"source": source, "source_hash": "b" * 64, "model": "lm", "weights": weights}
    sizes = {"site": "resid_post.1", "layer": 1, "width": 32, "n_rows": 8192, "dtype": "float16"}
    hashes = {"corpus_hash": "d" * 64, "model_hash": "e" * 64}
    return row("sources", **told, **sizes, **hashes)


def _sae(name: str, n_latents: int) -> dict[str, object]:
    told = {"n_latents": n_latents, "k": 4, "width": 32, "tokens": 8192, "commit": "f" * 40}
    return sae(name, source_hash="b" * 64, config_json='{"k": 4}', **told)


def _metrics(name: str, draw: np.random.Generator) -> list[dict[str, object]]:
    made = []
    for of, value in (
        ("l0", 4.0),
        ("fvu", 0.2),
        ("mse", 3.0),
        ("dead_eval", 0.1),
        ("ce_increase_nats", 0.4),
    ):
        value *= 1 + 0.1 * draw.random()
        made.append(metric(name, of, value, ci_low=0.9 * value, ci_high=1.1 * value, n=1024))
    if _weights(name) == "trained":
        return [*made, metric(name, "loss_recovered_zero", 0.91, ci_low=0.9, ci_high=0.93)]
    return [*made, metric(name, "loss_recovered_zero", None, reason=REASON)]


def _curve(name: str) -> list[dict[str, object]]:
    return [
        row("training_curve", sae=name, sae_hash="h", step=i, tokens=8 * i, metric=of, value=value)
        for i in range(1, 1000)
        for of, value in (("fvu", 1 / (1 + i / 100)), ("dead_share", 0.0))
    ]


def _matched(a: str, b: str, draw: np.random.Generator) -> dict[str, object]:
    pair = "other_seed" if _weights(a) == _weights(b) else "other_weights"
    both = {"mmcs_ba": draw.random(), "mmcs_null_ab": 0.25}
    return match(a, b, draw.random()) | both | {"pair": pair}


def _filled(table: str, columns: dict[str, Any]) -> pa.Table:
    """The columns given as numpy arrays, lists or one value for all; the others NULL."""
    n = max(len(v) for v in columns.values() if not isinstance(v, str))
    whole = {}
    for column in TABLES[table].columns:
        value = columns.get(column.name)
        whole[column.name] = [value] * n if value is None or isinstance(value, str) else value
    return pa.table(whole)


def _latents(name: str, n: int, draw: np.random.Generator) -> pa.Table:
    frequency = 10 ** draw.uniform(-4, -0.5, n)
    frequency[-1] = 0
    fires = np.ceil(frequency * 1e5).astype(int)
    counts = [[one // 4, one - one // 4] if one else None for one in fires.tolist()]
    told = {"sae": name, "sae_hash": "h", "evaluation_hash": "e", "latent": np.arange(n)}
    return _filled(
        "latents",
        told
        | {"firing_frequency": frequency, "n_fires": fires, "is_dead_eval": fires == 0}
        | {"is_dead_train": fires == 0, "token_entropy": draw.uniform(0, 5, n)}
        | {"mean_activation": draw.uniform(1, 2, n), "max_activation": draw.uniform(2, 9, n)}
        | {"top_token": draw.integers(0, len(WORDS), n), "top_token_share": draw.random(n)}
        | {"decoder_norm": np.ones(n), "encoder_decoder_cosine": draw.random(n)}
        | {"max_cosine": draw.random(n), "nearest_latent": draw.integers(0, n, n)}
        | {"min_cosine": -draw.random(n), "opposing_latent": draw.integers(0, n, n)}
        | {"activation_counts": counts, "activation_from": np.where(fires > 0, 1.0, np.nan)},
    )


def _matches(a: str, b: str, n: int, draw: np.random.Generator) -> pa.Table:
    partner = pa.array(draw.permutation(n - 1), mask=draw.random(n - 1) < 0.3)
    told = {"sae_a": a, "sae_a_hash": "h", "sae_b": b, "sae_b_hash": "h"}
    return _filled(
        "latent_matches",
        told
        | {"latent_a": np.arange(n - 1), "latent_b": draw.integers(0, n - 1, n - 1)}
        | {"cosine": draw.random(n - 1), "encoder_cosine": draw.random(n - 1)}
        | {"partner": partner, "partner_cosine": draw.random(n - 1)},
    )


def _examples(name: str, n: int, draw: np.random.Generator) -> pa.Table:
    each = N_TOP + N_SPREAD
    ids = draw.integers(0, len(WORDS), (each * (n - 1), WINDOW)).tolist()
    values = draw.uniform(0.1, 2, len(ids))
    around = draw.random((len(ids), WINDOW)) * (draw.random((len(ids), WINDOW)) < 0.3)
    around[:, OFFSET] = values
    words = np.array([len(word) for word in WORDS])[np.array(ids)]
    starts = np.cumsum(words, axis=1) - words
    told = {"sae": name, "sae_hash": "h", "evaluation_hash": "e"}
    kinds = ["top"] * N_TOP + ["quantile"] * N_SPREAD
    ranks = [*range(N_TOP), *range(N_SPREAD)]
    quantile = [None] * N_TOP + [0.1, 0.5, 0.9]
    return _filled(
        "latent_examples",
        told
        | {"latent": np.repeat(np.arange(n - 1), each), "kind": kinds * (n - 1)}
        | {"rank": ranks * (n - 1), "quantile": quantile * (n - 1)}
        | {"activation": values, "document": [3] * len(ids)}
        | {"token": [WORDS[one[OFFSET]] for one in ids], "token_ids": ids}
        | {"starts": starts.tolist(), "activations": around.tolist()}
        | {"text": ["".join(WORDS[i] for i in one) for one in ids]}
        | {"offset": [OFFSET] * len(ids), "n_searched": [4096] * len(ids)},
    )
