"""The section on what was run: studies, sources, SAEs, with everything that leads back to them."""

from __future__ import annotations

from html import escape

from pipeline.report import html
from pipeline.report.answers import Answers

_SOURCES = {
    "source": "source",
    "shuffle": "shuffle",
    "dtype": "dtype",
    "n_rows": "token rows",
    "width": "width d",
    "n_nonfinite": "not finite",
    "n_high_norm": "high norm",
    "corpus_hash": "corpus hash",
    "model_hash": "model hash",
    "source_hash": "source hash",
}
_SAES = {
    "sae": "SAE",
    "architecture": "architecture",
    "n_latents": "latents f",
    "k": "k",
    "width": "width d",
    "seed": "seed",
    "data_seed": "data seed",
    "tokens": "training tokens",
    "batch_size": "batch",
    "seconds": "seconds",
    "dead_train": "dead at the end",
    "status": "status",
    "package_version": "version",
    "commit": "commit",
    "sae_hash": "SAE hash",
}
_STUDIES = {"study": "study", "registered_at": "registered", "study_hash": "study hash"}


def what_was_run(answers: Answers) -> str:
    """HTML of the section."""
    rows = answers.rows
    recipes = {row["recipe"]: row["config_json"] or "not known" for row in rows["saes"]}
    studies = "".join(
        html.details(f"The file of study {row['study']}", html.code(row["yaml"]))
        for row in rows["studies"]
    )
    configs = "".join(
        f"<p>{escape(name)}</p>{html.code(config)}" for name, config in sorted(recipes.items())
    )
    saes = html.records("SAEs", rows["saes"], _SAES)
    queries = html.code(answers.sql["sources"]) + html.code(answers.sql["saes"])
    return (
        f"{html.records('Studies, as registered', rows['studies'], _STUDIES)}{studies}"
        f"{html.records('Sources', rows['sources'], _SOURCES)}"
        f"{html.details('All SAEs', saes)}{html.details('Recipes in full', configs)}"
        f"{html.details('The SQL behind these', queries)}"
    )
