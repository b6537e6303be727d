"""The section on what the page does not show, and why."""

from __future__ import annotations

from html import escape

from pipeline.report import html
from pipeline.report.answers import Answers
from pipeline.report.latents import Latents
from pipeline.report.questions import MOST_CURVE_POINTS

_NULLS = {"metric": "metric", "reason": "reason", "n_saes": "SAEs", "example": "such as"}
_UNEVALUATED = {"sae": "SAE", "status": "status"}


def left_out(answers: Answers, latents: Latents) -> str:
    """HTML of the section."""
    notes = [
        "Shading is in 255 steps of a latent's largest activation; latent_examples has the values.",
        f"Training curves are thinned to {MOST_CURVE_POINTS} points per SAE and quantity.",
        "The latent browser's floats are rounded to single precision; tables in text to 4 digits.",
        *latents.left_out,
    ]
    unevaluated = answers.rows["unevaluated"]
    missing = html.records("SAEs without an evaluation", unevaluated, _UNEVALUATED)
    nulls = answers.rows["nulls"]
    return (
        f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"
        f"{missing if unevaluated else '<p>Every SAE was evaluated.</p>'}"
        f"{html.records('Values that cannot be told', nulls, _NULLS) if nulls else ''}"
    )
