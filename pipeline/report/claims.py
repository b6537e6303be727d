"""The section on the field's claims: what the SAEs of the page say about each."""

from __future__ import annotations

from html import escape

from pipeline.report import html
from pipeline.report.answers import Answers

_HEAD = ["claim", "verdict", "effect", "holds above", "seeds", "on"]


def claims(answers: Answers) -> str:
    """HTML of the section: verdicts first, then what was not measured and how to measure it."""
    measured = [row for row in answers.rows["claims"] if row["n"] is not None]
    others = [row for row in answers.rows["claims"] if row["n"] is None]
    rows = [
        [
            html.with_note(row["statement"], f"{row['measures']}; {row['reference']}"),
            f"<b>{escape(row['verdict'])}</b>",
            html.with_interval(
                {
                    "effect": row["effect"],
                    "effect_ci_low": row["ci_low"],
                    "effect_ci_high": row["ci_high"],
                },
                "effect",
            ),
            html.number(row["threshold"]),
            html.with_note(html.number(row["n"]), _budget(row["tokens"])),
            html.breakable(f"{row['source']}/{row['recipe']}"),
        ]
        for row in measured
    ]
    missing = "".join(
        f"<li>{escape(row['statement'])} Run <code>{escape(row['study'])}</code>.</li>"
        for row in others
    )
    return (
        "<p>Thresholds were stated before anything was measured. A verdict needs at least 5 seeds "
        "and is about these models and budgets.</p>"
        f"{html.table('Claims that were measured here', _HEAD, rows, numbers=(2, 3, 4))}"
        + (html.details(f"{len(others)} not measured yet", f"<ul>{missing}</ul>") if others else "")
        + html.details("The SQL behind this", html.code(answers.sql["claims"]))
    )


def _budget(tokens: int | None) -> str:
    """An SAE's training tokens; an imported one may not say them."""
    return "tokens not known" if tokens is None else f"{tokens:,} tokens"
