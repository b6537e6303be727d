"""Questions about ten million latents (100 SAEs of 100,000), asked through the views.

Target: under a second each, opening the views apart. Wall clock is told, and CPU seconds of all
threads, which a busy machine changes less. The workspace is made in a temporary folder, or taken
from --workspace where an earlier run made it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from interleaved import save, verdict

from pipeline.catalog.tables import TABLES
from pipeline.catalog.warehouse import connect, refresh
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace

TARGET = 1.0
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
}


def filled(workspace: Workspace, n_saes: int, f: int) -> None:
    """Writes drawn latents of SAEs of five recipes and four sites."""
    draw = np.random.default_rng(0)
    for number in range(n_saes):
        told = {
            "sae": f"m.trained.resid_post.{number % 4}/r{number // 20}.s{number % 20}",
            "sae_hash": f"{number:064x}",
            "recipe": f"r{number // 20}",
        }
        fires = draw.geometric(1e-3, f) - 1
        columns = {"latent": np.arange(f), "n_fires": fires, "firing_frequency": fires / 1e5}
        columns["is_dead_eval"] = fires == 0
        rows = {
            column.name: pa.array([told[column.name]] * f)
            if column.name in told
            else pa.array(columns.get(column.name, draw.random(f)))
            if column.type != "VARCHAR"
            else pa.nulls(f, pa.string())
            for column in TABLES["latents"].columns
        }
        for column in TABLES["latents"].columns:
            if column.type in ("BIGINT", "BOOLEAN") and column.name not in columns:
                rows[column.name] = pa.nulls(f, pa.int64())
        sae = {column.name: None for column in TABLES["saes"].columns} | told
        write_run(
            workspace, f"r{number}", {"latents": pa.table(rows), "saes": [sae]}, kind="evaluation"
        )
    refresh(workspace)


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
        for name, sql in QUESTIONS.items():
            wall, cpu = zip(*(asked(workspace, sql) for _ in range(given.rounds)), strict=True)
            best = {"question": name, "wall": round(min(wall), 2), "cpu": round(min(cpu), 2)}
            rows.append(best)
            print(
                f"{name:40} {best['wall']:6.2f} s wall, {best['cpu']:6.2f} CPU s "
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
