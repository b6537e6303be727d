"""The model card of an SAE: what it is, its numbers with intervals and beside random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.catalog.warehouse import query
from pipeline.exchange.formats import format_named
from pipeline.exchange.saved import Saved, corpus_text
from pipeline.workspace import Workspace

SHOWN = (
    "fvu",
    "l0",
    "ce_increase_nats",
    "loss_recovered_mean",
    "loss_recovered_zero",
    "kl_nats",
    "dead_eval",
    "compute_recovered",
)


def model_card(
    workspace: Workspace,
    saved: Saved,
    *,
    repository: str,
    subfolder: str = "",
    format: str = "sae_foundry",
    licence: str | None = None,
    lost: str | None = None,
) -> str:
    """The card in Markdown with the hub's header; `lost`: what its format could not hold."""
    parts = [
        _header(saved, format, licence),
        _what(saved),
        _numbers(workspace, saved),
        _loading(repository, subfolder, format),
        *([f"## What this format lost\n\nNot exact: {lost}."] if lost else []),
        _provenance(saved, licence),
    ]
    return "\n\n".join(parts) + "\n"


def _header(saved: Saved, format: str, licence: str | None) -> str:
    tags = ["sparse-autoencoder", "interpretability", "sae-foundry"]
    library = {"saelens": "saelens"}.get(format, format)
    lines = ["---", *([f"license: {licence}"] if licence else []), f"library_name: {library}"]
    model = saved.about.model
    lines += [f"base_model: {model}"] if model and "/" in model else []
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _what(saved: Saved) -> str:
    sae, about = saved.sae, saved.about
    config = sae.config
    k = getattr(config, "k", None)
    of = f"{about.kind} of layer {about.layer} of {about.model}" if about.kind else "activations"
    active = f", k {k}" if k else ""
    return (
        f"# {saved.name}\n\n"
        f"A sparse autoencoder ({config.architecture}, {config.n_latents:,} latents{active}, width "
        f"{sae.width}) of {of}, by [SAE Foundry](https://pypi.org/project/sae-foundry/)."
    )


def _numbers(workspace: Workspace, saved: Saved) -> str:
    own = _metrics(workspace, [saved.name]).get(saved.name, {})
    head = "## Numbers\n\n"
    if not own:
        return head + "It was not evaluated in the workspace that it comes from."
    twins = _twins(workspace, saved.name)
    random = _metrics(workspace, twins)
    lines = [
        f"On held-out text ({saved.cell and corpus_text(saved.cell)}), with 95 % intervals from "
        "resampling documents.",
        "",
        f"| metric | this SAE | {_said(twins)} |",
        "| --- | --- | --- |",
    ]
    for name in SHOWN:
        if name in own:
            beside = [random[twin][name] for twin in twins if name in random.get(twin, {})]
            lines.append(f"| {name} | {_value(own[name])} | {_beside(beside)} |")
    if not twins:
        lines += [
            "",
            "No SAE of the same recipe on random weights was evaluated: whether a random network "
            "would give the same is not known.",
        ]
    return head + "\n".join(lines)


def _metrics(workspace: Workspace, saes: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not saes:
        return {}
    listed = ", ".join(_quoted(sae) for sae in saes)
    rows = query(workspace, f"FROM metrics WHERE sae IN ({listed})").to_pylist()
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["sae"], {})[row["metric"]] = row
    return found


def _twins(workspace: Workspace, sae: str) -> list[str]:
    """SAEs of the same recipe, seed and site on drawn weights that were evaluated."""
    text = (
        "SELECT b.sae FROM evaluations a, evaluations b WHERE a.sae = "
        f"{_quoted(sae)} AND (a.model, a.site, a.recipe, a.seed) = "
        "(b.model, b.site, b.recipe, b.seed) AND a.weights <> b.weights "
        "AND b.weights_seed IS NOT NULL AND b.fvu IS NOT NULL ORDER BY b.sae"
    )
    return [row["sae"] for row in query(workspace, text).to_pylist()]


def _said(twins: Sequence[str]) -> str:
    variants = [twin.split("/")[0].split(".")[1] for twin in twins]
    return f"the same on weights {', '.join(variants)}" if variants else "random baseline"


def _value(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return f"none ({row['reason']})"
    if row["ci_low"] is None:
        return f"{row['value']:.4g}"
    return f"{row['value']:.4g} ({row['ci_low']:.4g} to {row['ci_high']:.4g})"


def _beside(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(_value(row) for row in rows) or "not measured"


def _loading(repository: str, subfolder: str, format: str) -> str:
    loads = format_named(format).LOADS
    inside = f" + {'/' + subfolder!r}" if subfolder else ""
    first, *rest = loads
    return "\n".join(
        [
            "## Loading",
            "",
            "```python",
            "from huggingface_hub import snapshot_download",
            first,
            f"folder = snapshot_download({repository!r}){inside}",
            *rest,
            "```",
            "",
            f"Or with its numbers, in a workspace: `sae import {repository}"
            f"{'/' + subfolder if subfolder else ''} --source <model>.<weights>.<site>`.",
        ]
    )


def _provenance(saved: Saved, licence: str | None) -> str:
    shown = {name: value for name, value in saved.provenance.items() if value is not None}
    shown.pop("config")
    stated = licence or "none is stated; ask its owner"
    return (
        f"## Where it comes from\n\nLicence: {stated}. Data: {shown.get('data', 'not known')}. "
        f"Commit of the code: {shown.get('commit', 'not known')}.\n\n"
        f"```json\n{json.dumps(shown, indent=2)}\n```"
    )


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
