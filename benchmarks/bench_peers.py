"""Whole TopK training steps of other SAE packages against the floor, and ours in the same run.

Each package runs in its own environment (`peer_environments`): a process trains it by its own
public loop, one step at a time, in turn with the floor of bench_topk_step.py, the encoder's product
into a reused buffer and torch.topk. Forward, loss, backward, optimizer and whatever the loop does
per step are in it; reading activations and logging are not. What is called:

- ours: `Trainee.step`;
- sparsify: `Trainer.fit`, its hook on a module that gives the rows;
- dictionary_learning: `trainSAE` with `TopKTrainer`;
- SAELens: `SAETrainer.fit` with `TopKTrainingSAE`.

`topk`: no latent is dead. `topk_auxk`: one latent in four is dead and stays so, k_aux = d / 2, as
all of them choose it. CPU seconds, one thread, medians over rounds of a step's time by the floor's
in the same round; both allocator settings of bench_topk_step.py. A package that is not installed
is named with the command that installs it; nothing is installed here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from bench_topk_step import ALLOCATORS, N_TOKENS, SHAPES
from interleaved import ratio, save
from peer_environments import installed_python_of

from sae_core.toy import Superposition

HERE = Path(__file__).parent
OURS = "sae-foundry"
PEERS = ("eai-sparsify", "dictionary-learning", "sae-lens")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
Row = dict[str, Any]


def main() -> int:
    """Prints and, where asked, saves the table; gives the number of packages that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["small"])
    parser.add_argument("--packages", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--allocators", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true", help="write the figures to results/")
    given = parser.parse_args()
    figures: list[Row] = []
    for shape in given.shapes:
        width, n_latents, k = SHAPES[shape]
        print(
            f"{shape}: d {width}, f {n_latents}, k {k}, {N_TOKENS} tokens; CPU, 1 thread",
            flush=True,
        )
        for allocator in given.allocators:
            rows = measured(shape, allocator, given)
            print(f"allocator: {allocator}\n{table(rows)}", flush=True)
            figures += [{"shape": shape, "allocator": allocator} | row for row in rows]
    if given.save:
        print(f"saved {save('peers', figures)}")
    return sum("failed" in row for row in figures)


def measured(shape: str, allocator: str, given: argparse.Namespace) -> list[Row]:
    """The rows of ours and of every chosen package at one shape."""
    width, n_latents, k = SHAPES[shape]
    toy = Superposition(n_features=n_latents // 2, width=width, density=k / n_latents)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, toy.sample(N_TOKENS, step=1).numpy())
        for package in (OURS, *given.packages):
            python = sys.executable if package == OURS else installed_python_of(package)
            if python is None:
                rows.append({"package": package, "missing": install_command(package)})
                continue
            arguments = [str(file), str(n_latents), str(k), str(given.rounds)]
            rows += told(package, python, arguments, ALLOCATORS[allocator])
    return rows


def install_command(package: str) -> str:
    """The command that makes a package's environment; `make test-peers` makes them all."""
    return f"{sys.executable} -m benchmarks.peer_environments {package}"


def told(package: str, python: str | Path, arguments: list[str], allocator: str) -> list[Row]:
    """Runs a package's script in its environment; its rows, or one that says how it failed."""
    script = HERE / "peer_scripts" / f"steps_of_{package.replace('-', '_')}.py"
    own = (
        ONE_THREAD
        | {"PYTHONPATH": str(HERE)}
        | ({"GLIBC_TUNABLES": allocator} if allocator else {})
    )
    command = [str(python), str(script), *arguments]
    done = subprocess.run(
        command, env=os.environ | own, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return [{"package": package, "failed": (done.stderr.splitlines() or ["no word"])[-1]}]
    one = json.loads(done.stdout.splitlines()[-1])
    return rows_of(package, one["version"], one["seconds"])


def rows_of(package: str, version: str, seconds: Mapping[str, list[float]]) -> list[Row]:
    """One row per step of a package, from the seconds of every round; `floor` is one of them."""
    return [
        {
            "package": package,
            "version": version,
            "step": label,
            "ratio": round(ratio(seconds, label, to="floor"), 3),
            "median_ms": round(median(times) * 1e3, 1),
            "floor_ms": round(median(seconds["floor"]) * 1e3, 1),
        }
        for label, times in seconds.items()
        if label != "floor"
    ]


def table(rows: list[Row]) -> str:
    """The rows as text. `x ours`: the ratio to the floor by that of our step of the same kind."""
    ours = {row["step"]: row["ratio"] for row in rows if row["package"] == OURS and "step" in row}
    lines = [f"  {'package':20}{'version':10}{'step':16}{'x floor':>8}{'x ours':>8}"]
    lines[0] += f"{'median ms':>11}{'floor ms':>10}"
    for row in rows:
        if "missing" in row:
            lines.append(f"  {row['package']:20}not installed here; to install: {row['missing']}")
        elif "failed" in row:
            lines.append(f"  {row['package']:20}FAILED: {row['failed']}")
        else:
            mine = ours.get(row["step"].removesuffix("_adam"))
            against = f"{row['ratio'] / mine:8.1f}" if mine else f"{'':8}"
            lines.append(
                f"  {row['package']:20}{row['version']:10}{row['step']:16}{row['ratio']:8.2f}"
                f"{against}{row['median_ms']:11.1f}{row['floor_ms']:10.1f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
