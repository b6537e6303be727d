"""The page: a template filled with sections, style and script; one file, nothing outside it."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

from pipeline.report import html
from pipeline.report.answers import Answers
from pipeline.report.latents import Latents
from pipeline.report.left_out import left_out
from pipeline.report.what_was_run import what_was_run

_RESULTS = {
    "l0": "L0",
    "fvu": "FVU",
    "loss_recovered_zero": "loss recovered",
    "ce_increase_nats": "CE increase, nats",
    "compute_recovered": "compute recovered",
    "dead_eval": "dead share",
    "mmcs_other_seed": "MMCS other seed",
    "mmcs_random_twin": "MMCS random twin",
}
_TWINS = {
    "sae_trained": "SAE",
    "random_weights": "twin's weights",
    "metric": "metric",
    "trained": "trained",
    "random": "random",
    "difference": "difference",
    "ci_low": "95 % from",
    "ci_high": "to",
    "level": "resampled",
}


def page(answers: Answers, latents: Latents, *, made_at: datetime.datetime) -> str:
    """The whole HTML text."""
    room = files("pipeline.report")
    sections = [
        ("runs", "What was run", what_was_run(answers)),
        ("quality", "How good the dictionaries are", _quality(answers)),
        ("training", "Training", _training(answers)),
        ("frequencies", "How often latents fire", _frequencies(answers)),
        ("matches", "Do seeds and weights agree", _matches(answers)),
        ("latents", "Latents", _latents(latents)),
        ("left-out", "What is left out", left_out(answers, latents)),
    ]
    title = f"Report on study {answers.study}" if answers.study else "Report on the workspace"
    return Template(room.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        style=room.joinpath("style.css").read_text(encoding="utf-8"),
        script=room.joinpath("script.js").read_text(encoding="utf-8"),
        lead=_lead(answers, made_at),
        links="".join(
            f'<li><a href="#{name}">{escape(head)}</a></li>' for name, head, _ in sections
        ),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-head">'
            f'<h2 id="{name}-head">{escape(head)}</h2>{body}</section>'
            for name, head, body in sections
        ),
        data="".join(
            f'<script type="application/octet-stream" data-sae="{escape(sae)}">{data}</script>'
            for sae, data in latents.by_sae.items()
        ),
    )


def _lead(answers: Answers, made_at: datetime.datetime) -> str:
    saes = answers.rows["saes"]
    commits = sorted({row["commit"] for row in saes if row["commit"]})
    code = ", ".join(one[:10] for one in commits) or "outside a clone"
    counts = [
        (len({row["study"] for row in answers.rows["studies"]}), "studies"),
        (len({row["source"] for row in answers.rows["sources"]}), "sources"),
        (len(saes), "SAEs"),
        (sum(row["n_latents"] for row in saes), "latents"),
    ]
    told = "".join(f"<li><b>{n:,}</b> {what}</li>" for n, what in counts)
    return (
        f'<ul class="counts">{told}</ul><p class="note">Made {made_at:%Y-%m-%d %H:%M} UTC by '
        f"sae-foundry {version('sae-foundry')}; the SAEs' code: {escape(code)}. "
        "Numbers are of held-out text unless they say otherwise.</p>"
    )


def _made_by(answers: Answers, names: Sequence[str]) -> str:
    """The queries behind a section, closed at first."""
    boxes = "".join(html.code(answers.sql[name]) for name in names)
    return html.details("The SQL behind this" if len(names) == 1 else "The SQL behind these", boxes)


def _quality(answers: Answers) -> str:
    rows = [
        [escape(row["sae"]), *(html.with_interval(row, metric) for metric in _RESULTS)]
        for row in answers.rows["results"]
    ]
    results = html.table("SAEs on held-out text, 95 % intervals", ["SAE", *_RESULTS.values()], rows)
    twins = html.records(
        "Trained minus random, paired on the same documents", answers.rows["twins"], _TWINS
    )
    return (
        f"{results}{_explained(answers, list(_RESULTS))}"
        "<h3>FVU against L0</h3><p>Each mark is an SAE with its 95 % intervals over documents; "
        "lines join the SAEs of one source that no other beats in both.</p>"
        f"{html.figures(answers.figures['fvu_l0'][1])}"
        "<h3>Loss recovered against L0</h3><p>Share of the zero-ablation loss that splicing the "
        "SAE in recovers. SAEs without a value are not drawn; the last section says why.</p>"
        f"{html.figures(answers.figures['loss_recovered_l0'][1])}"
        f"<h3>Beside random weights</h3>{twins}"
        f"{_made_by(answers, ['results', 'frontier', 'twins'])}"
    )


def _explained(answers: Answers, metrics: Sequence[str]) -> str:
    known = {row["metric"]: row for row in answers.rows["definitions"]}
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(known[name]['description'])} "
        f"Unit: {escape(known[name]['unit'])}. Better: {escape(known[name]['better'])}.</dd>"
        for name in metrics
        if name in known
    )
    return html.details("What these metrics mean", f"<dl>{lines}</dl>")


def _training(answers: Answers) -> str:
    return (
        "<p>On training batches, one line per SAE.</p>"
        f"{html.figures(answers.figures['curve_fvu'][1])}"
        f"{html.figures(answers.figures['curve_dead'][1])}{_made_by(answers, ['curves'])}"
    )


def _frequencies(answers: Answers) -> str:
    return (
        "<p>One outline per SAE; dots at the left: latents that never fired on the held-out "
        "tokens. Where outlines on random weights look like those on trained ones, the histogram "
        "says nothing about what the language model learned.</p>"
        f"{html.figures(answers.figures['frequency'][1])}{_made_by(answers, ['frequencies'])}"
    )


def _matches(answers: Answers) -> str:
    rows = answers.rows["matches"]
    chance = [row["mmcs_null_ab"] for row in rows if row["mmcs_null_ab"] is not None]
    told = (
        f"Random directions would score {min(chance):.2f} to {max(chance):.2f}." if chance else ""
    )
    names = {
        "sae_a": "a",
        "sae_b": "b",
        "pair": "differ in",
        "mmcs_ab": "MMCS a → b",
        "mmcs_ba": "b → a",
        "mmcs_null_ab": "random directions",
        "shared_70": "shared at 0.7",
    }
    table = html.details(
        f"All {len(rows)} matched pairs", html.records("Matched dictionaries", rows, names)
    )
    return (
        "<p>MMCS, mean max cosine similarity: each living latent's best cosine in the other "
        f"dictionary, averaged. Many latents may share a match. {told}</p>"
        f"{html.figures(answers.figures['mmcs'][1])}{table}{_made_by(answers, ['matches'])}"
    )


def _latents(latents: Latents) -> str:
    names = json.dumps(list(latents.by_sae)).replace("<", "\\u003c")
    return (
        '<noscript><p class="empty">The latent browser needs JavaScript; all else does not.</p>'
        f'</noscript><div id="browser" hidden></div><script type="application/json" id="saes">'
        f"{names}</script>"
    )
