"""What the latent browser shows: one packed text per SAE, and what did not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.progress import Progress, Report
from pipeline.report import questions
from pipeline.report.ask import Ask
from pipeline.report.examples import example_columns, is_shaded
from pipeline.report.packed import packed
from pipeline.report.table_columns import floats, integers, lists

if TYPE_CHECKING:
    import pyarrow

MOST_LATENTS = 262_144
MOST_EXAMPLES = 300_000

FLOATS = (
    "firing_frequency",
    "mean_activation",
    "max_activation",
    "decoder_norm",
    "encoder_decoder_cosine",
    "token_entropy",
    "top_token_share",
    "max_cosine",
    "min_cosine",
    "mean_cosine",
    "found_by",
    "activation_from",
)
INTEGERS = (
    "latent",
    "n_fires",
    "is_dead_eval",
    "is_dead_train",
    "top_token",
    "nearest_latent",
    "opposing_latent",
    "n_seeds",
)


@dataclass(frozen=True)
class Latents:
    """Packed latents by SAE, and sentences about what is not in them."""

    by_sae: Mapping[str, str]
    left_out: Sequence[str]


def latents(ask: Ask, saes: Sequence[Mapping[str, Any]], *, report: Report) -> Latents:
    """Latents of as many SAEs as fit, those on trained weights first, with their examples.

    `saes` are rows of the query `saes`.
    """
    shown, left_out = _that_fit(saes)
    if not shown:
        return Latents({}, left_out)
    rows = _by_sae(ask(questions.about(questions.LATENTS, shown)), "sae")
    matches = _by_sae(ask(questions.about(questions.LATENT_MATCHES, shown)), "sae_a")
    kept, dropped = _kept_examples(ask, shown)
    examples = _by_sae(ask(questions.about(questions.EXAMPLES.format(kept=kept), shown)), "sae")
    vocabularies: dict[str, dict[int, str]] = {}
    for row in ask(questions.about(questions.VOCABULARY, shown)).to_pylist():
        vocabularies.setdefault(row["model"], {})[row["id"]] = row["token"]
    made = {}
    for done, sae in enumerate(sae for sae in shown if sae in rows):
        report(Progress("latents", done, len(rows), "SAEs", sae))
        vocabulary = vocabularies.get(sae.split(".")[0], {})
        made[sae] = _packed(rows[sae], matches.get(sae), examples.get(sae), vocabulary)
    silent = [sae for sae in shown if sae not in rows]
    left_out += [f"{sae} has no rows in latents: it was not evaluated." for sae in silent]
    return Latents(made, left_out + dropped + _unshaded(examples))


def _that_fit(saes: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    shown, over, total = [], [], 0
    for row in sorted(saes, key=lambda row: row["weights"] != "trained"):
        fits = total + row["n_latents"] <= MOST_LATENTS
        (shown if fits else over).append(row["sae"])
        total += row["n_latents"] if fits else 0
    if not over:
        return shown, []
    names = ", ".join(over[:5]) + (", ..." if len(over) > 5 else "")
    return shown, [
        f"The latent browser holds at most {MOST_LATENTS:,} latents: {len(over)} SAEs are not in "
        f"it ({names}). Name a study with --study, or ask the view latents."
    ]


def _by_sae(rows: pyarrow.Table, column: str) -> dict[str, pyarrow.Table]:
    """SAE -> its rows; the table is sorted by the column."""
    names = rows.column(column).to_numpy(zero_copy_only=False)
    if not len(names):
        return {}
    starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    ends = np.r_[starts[1:], len(names)]
    return {names[a]: rows.slice(a, b - a) for a, b in zip(starts, ends, strict=True)}


def _kept_examples(ask: Ask, saes: Sequence[str]) -> tuple[str, list[str]]:
    """SQL for the examples that fit, the strongest first; a sentence about the others."""
    found = ask(questions.about(questions.EXAMPLE_COUNTS, saes)).to_pylist()
    found.sort(key=lambda row: (row["rank"], row["kind"] != "top"))
    kept, over, total = [], [], 0
    for row in found:
        fits = not over and total + row["n"] <= MOST_EXAMPLES
        (kept if fits else over).append(row)
        total += row["n"] if fits else 0
    pairs = [f"('{row['kind']}', {row['rank']})" for row in kept]
    condition = f"(x.kind, x.rank) IN ({', '.join(pairs)})" if pairs else "false"
    if not over:
        return condition, []
    names = ", ".join(f"{row['kind']} {row['rank']}" for row in over)
    n = sum(row["n"] for row in over)
    return condition, [
        f"{n:,} of {total + n:,} examples are not on the page, which holds at most "
        f"{MOST_EXAMPLES:,} (kind and rank: {names}). The view latent_examples has them."
    ]


def _unshaded(examples: Mapping[str, pyarrow.Table]) -> list[str]:
    n = sum(1 for rows in examples.values() if not is_shaded(rows))
    if not n:
        return []
    return [
        f"{n} of {len(examples)} SAEs were evaluated by a version that kept the activation at the "
        "firing token only: the other tokens of their examples are not shaded."
    ]


def _packed(
    rows: pyarrow.Table,
    matches: pyarrow.Table | None,
    examples: pyarrow.Table | None,
    vocabulary: Mapping[int, str],
) -> str:
    columns = {name: floats(rows, name) for name in FLOATS}
    columns |= {name: integers(rows, name) for name in INTEGERS}
    columns["activation_bins"], columns["activation_counts"] = lists(rows, "activation_counts")
    seen = {int(i) for i in np.unique(columns["top_token"])}
    texts: dict[str, Any] = {
        "vocabulary": {str(i): vocabulary[i] for i in sorted(seen) if i in vocabulary},
        "matches": [],
        "texts": [],
    }
    for place, (other, found) in enumerate(_by_other(matches).items()):
        texts["matches"].append(other)
        for name in ("latent_a", "latent_b", "partner"):
            columns[f"match{place}.{name}"] = integers(found, name)
        for name in ("cosine", "partner_cosine"):
            columns[f"match{place}.{name}"] = floats(found, name)
    if examples is not None:
        columns |= example_columns(examples, columns, vocabulary, texts)
    return packed(columns, texts)


def _by_other(matches: pyarrow.Table | None) -> dict[str, pyarrow.Table]:
    return {} if matches is None else _by_sae(matches, "sae_b")
