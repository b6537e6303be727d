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
from pipeline.report.claims import claims
from pipeline.report.latents import Latents
from pipeline.report.left_out import left_out
from pipeline.report.panel import Panel
from pipeline.report.what_was_run import what_was_run

_MOST_ROWS_OPEN = 16
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
    "fvu": "FVU",
    "l0": "L0",
    "dead_eval": "dead share",
    "token_entropy": "token entropy, nats",
    "ce_increase_nats": "CE increase, nats",
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
        ("claims", "What the field claims", claims(answers)),
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
        (len({row["study"] for row in answers.rows["studies"]}), "study", "studies"),
        (len({row["source"] for row in answers.rows["sources"]}), "source", "sources"),
        (len(saes), "SAE", "SAEs"),
        (sum(row["n_latents"] for row in saes), "latent", "latents"),
    ]
    told = "".join(f"<li><b>{n:,}</b> {one if n == 1 else all}</li>" for n, one, all in counts)
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
        [html.breakable(row["sae"]), *(html.with_interval(row, metric) for metric in _RESULTS)]
        for row in answers.rows["results"]
    ]
    results = html.table(
        "SAEs on held-out text, 95 % intervals",
        ["SAE", *_RESULTS.values()],
        rows,
        numbers=range(1, 9),
    )
    n = len(rows)
    return (
        "<p>Each mark is an SAE with its 95 % intervals over documents; weights variants that "
        "share an L0 are drawn a little apart. Lines join the SAEs of one source that no other "
        "beats in both. FVU is MSE over the activations' variance: it compares across weights, "
        "MSE within one source only. Loss recovered is the share of the zero-ablation loss; SAEs "
        "without a value are not drawn, and the last section says why.</p>"
        f"{html.figures(_together(answers, 'fvu_l0', 'mse_l0', 'loss_recovered_l0'))}"
        f"{results if n <= _MOST_ROWS_OPEN else html.details(f'The numbers of {n} SAEs', results)}"
        f"{_explained(answers, list(_RESULTS))}"
        "<h3>Beside random weights</h3><p>Trained minus random, paired on the same documents, "
        f"with 95 % intervals.</p>{_twins(answers)}"
        f"{_made_by(answers, ['results', 'frontier', 'twins'])}"
    )


def _together(answers: Answers, *kinds: str) -> list[Panel]:
    """Panels of several kinds, those of one site beside each other."""
    made = [answers.figures[kind][1] for kind in kinds]
    places = dict.fromkeys(p.name.split(".", 1)[1] for panels in made for p in panels)
    return [
        p for place in places for panels in made for p in panels if p.name.endswith(f".{place}")
    ]


def _twins(answers: Answers) -> str:
    """A row per SAE and twin, a column per metric."""
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    levels: dict[tuple[str, str], str] = {}
    for row in answers.rows["twins"]:
        told = {
            "difference": row["difference"],
            "difference_ci_low": row["ci_low"],
            "difference_ci_high": row["ci_high"],
        }
        pair = pairs.setdefault((row["sae_trained"], row["random_weights"]), {})
        pair[row["metric"]] = html.with_interval(told, "difference")
        levels[row["sae_trained"], row["random_weights"]] = row["level"] or ""
    rows = [
        [
            html.breakable(sae),
            html.with_note(twin, levels[sae, twin]),
            *(cells.get(name, "") for name in _TWINS),
        ]
        for (sae, twin), cells in pairs.items()
    ]
    head = ["SAE", "less its twin on; resampled", *_TWINS.values()]
    return html.table("Trained minus random", head, rows, numbers=range(2, 7))


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
        f"{html.figures(_together(answers, 'curve_fvu', 'curve_dead'))}"
        f"{_made_by(answers, ['curves'])}"
    )


def _frequencies(answers: Answers) -> str:
    return (
        "<p>A line is the mean over the SAEs of one weights variant, the band around it reaches "
        "from the lowest to the highest of them; dots at the left: latents that never fired on "
        "the held-out tokens. Where lines on random weights look like those on trained ones, the "
        "histogram says nothing about what the language model learned.</p>"
        f"{html.figures(answers.figures['frequency'][1])}{_made_by(answers, ['frequencies'])}"
    )


def _matches(answers: Answers) -> str:
    rows = answers.rows["matches"]
    chance = [row["mmcs_null_ab"] for row in rows if row["mmcs_null_ab"] is not None]
    ends = dict.fromkeys(f"{end(chance):.2f}" for end in (min, max)) if chance else ()
    told = f"Random directions would score {' to '.join(ends)}." if ends else ""
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
