"""Questions about ten million latents (100 SAEs of 100,000), asked through the views.

Target: under a second each, opening the views apart. Wall clock is told, and CPU seconds of all
threads, which a busy machine changes less. The workspace is made in a temporary folder, or taken
from --workspace where an earlier run made it.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from interleaved import save, verdict

from pipeline.catalog.questions_page import questions
from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import connect, refresh
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace

TARGET = 1.0
_SAE: dict[str, object] = {column.name: None for column in TABLES["saes"].columns}
QUESTIONS = {
    "how often latents fire, by SAE": "SELECT sae, avg(firing_frequency) FROM latents GROUP BY sae",
    "the most frequent latents of one SAE": "SELECT latent, firing_frequency FROM latents "
    "WHERE sae = 'm.trained.resid_post.0/r0.s0' ORDER BY firing_frequency DESC LIMIT 10",
    "dead latents by recipe": "SELECT recipe, sum(dead) FROM (SELECT sae, sae_hash, "
    "count(*) FILTER (is_dead_eval) AS dead FROM latents GROUP BY ALL) JOIN saes "
    "USING (sae, sae_hash) GROUP BY recipe",
    "the same, joined row by row": "SELECT recipe, count(*) FILTER (is_dead_eval) FROM latents "
    "JOIN saes USING (sae, sae_hash) GROUP BY recipe",
    "latent_histograms": "FROM latent_histograms",
    "latent_profiles": "FROM latent_profiles",
    "how stable the latents of one SAE are": "FROM latent_stability "
    "WHERE sae = 'm.trained.resid_post.0/r0.s0' ORDER BY mean_cosine DESC LIMIT 10",
}


def filled(workspace: Workspace, n_saes: int, f: int) -> None:
    """Writes drawn latents of SAEs of five recipes and four sites, and matches of some of them."""
    draw = np.random.default_rng(0)
    every = [_told(number) for number in range(n_saes)]
    for number, told in enumerate(every):
        rows = {"latents": _latents(draw, told, f), "saes": [_SAE | told]}
        # The first four seeds of each recipe's first site are matched with the next.
        if number % 4 == 0 and number % 20 < 16:
            rows["latent_matches"] = _matches(draw, told, every[number + 4], f)
        write_run(workspace, f"r{number}", rows, kind="evaluation")
    refresh(workspace)


def _of_the_page() -> dict[str, str]:
    """What docs/sql.md asks of two million latents at once: those that other seeds might find."""
    return {one.title: one.sql for one in questions() if "FROM latent_stability" in one.sql}


def _told(number: int) -> dict[str, object]:
    recipe, seed, source = (
        f"r{number // 20}",
        number % 20 // 4,
        f"m.trained.resid_post.{number % 4}",
    )
    sae = f"{source}/{recipe}.s{seed}"
    digest = hashlib.sha256(sae.encode()).hexdigest()
    told = {"sae": sae, "sae_hash": digest, "recipe": recipe, "seed": seed, "source": source}
    return told | {"weights": "trained", "n_latents": 100_000}


def _latents(draw: np.random.Generator, told: dict[str, object], f: int) -> pa.Table:
    fires = draw.geometric(1e-3, f) - 1
    counts = pa.array(list(draw.geometric(0.1, (1000, 12)))).take(draw.integers(0, 1000, f))
    known = {
        "sae": pa.array([told["sae"]] * f),
        "sae_hash": pa.array([told["sae_hash"]] * f),
        "evaluation_hash": pa.array([told["sae_hash"]] * f),
        "latent": np.arange(f),
        "n_fires": fires,
        "firing_frequency": fires / 1e5,
        "is_dead_eval": fires == 0,
        "is_dead_train": fires == 0,
        "activation_counts": counts,
    }
    return _drawn("latents", known, draw, f)


def _matches(
    draw: np.random.Generator, a: dict[str, object], b: dict[str, object], f: int
) -> pa.Table:
    known = {
        "sae_a": pa.array([a["sae"]] * f),
        "sae_a_hash": pa.array([a["sae_hash"]] * f),
        "sae_b": pa.array([b["sae"]] * f),
        "sae_b_hash": pa.array([b["sae_hash"]] * f),
        "latent_a": np.arange(f),
        "width_class": pa.nulls(f, pa.string()),
    }
    return _drawn("latent_matches", known, draw, f)


def _drawn(name: str, known: dict[str, object], draw: np.random.Generator, f: int) -> pa.Table:
    """Columns that are not known are drawn: indices of latents, and shares."""
    drawn = {"BIGINT": lambda: draw.integers(0, f, f), "DOUBLE": lambda: draw.random(f)}
    return pa.table(
        {
            column.name: pa.array(known[column.name])
            if column.name in known
            else pa.array(drawn[column.type]())
            for column in TABLES[name].columns
        }
    )


def main() -> None:
    """Prints and saves the seconds of every question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latents", type=int, default=100_000, help="of each of 100 SAEs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workspace", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(given.workspace or Path(folder))
        if not (workspace.tables / "latents").exists():
            filled(workspace, 100, given.latents)
        rows = []
        for name, sql in (QUESTIONS | _of_the_page()).items():
            wall, cpu = zip(*(asked(workspace, sql) for _ in range(given.rounds)), strict=True)
            best = {"question": name, "wall": round(min(wall), 2), "cpu": round(min(cpu), 2)}
            rows.append(best)
            print(
                f"{name:44.44} {best['wall']:6.2f} s wall, {best['cpu']:6.2f} CPU s "
                f"{verdict(best['wall'], TARGET)}",
                flush=True,
            )
    figures = {"latents": 100 * given.latents, "target_wall": TARGET, "rows": rows}
    print(f"saved {save('latents_sql', figures)}")


def asked(workspace: Workspace, sql: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of one answer."""
    with connect(workspace) as connection:
        wall, cpu = time.perf_counter(), time.process_time()
        connection.sql(sql).to_arrow_table()
        return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
