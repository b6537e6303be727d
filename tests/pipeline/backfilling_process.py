"""A process that backfills one seed after the other: `python -m ... WORKSPACE STUDY STOP_FILE`.

Each is `sae backfill` as it stands; every fourth adds a weights variant, so that it harvests too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from pipeline.cli.app import main as sae


def backfill(workspace: str, *options: str) -> None:
    """Runs `sae backfill`; ends the process where it fails."""
    try:
        sae(["--workspace", workspace, "backfill", *options])
    except SystemExit as ended:
        if ended.code:
            raise


def main(workspace: str, study: str, stop: Path) -> None:
    """Backfills until the stop file is there; prints how many backfills that were."""
    done = 0
    while not stop.exists():
        weights = f"random@{done // 4}" if done % 4 == 3 else "trained"
        backfill(workspace, study, "--seeds", str(done), "--weights", weights)
        done += 1
    print(f"{done} backfills")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
