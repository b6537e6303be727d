"""`make bench`: every benchmark in turn; each prints its table. Arguments: names to choose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.threads import wait_briefly


def main(chosen: list[str]) -> int:
    """Runs `bench_<name>.py` for the chosen names, or all; gives the number that failed."""
    every = sorted(Path(__file__).parent.glob("bench_*.py"))
    names = {path.stem.removeprefix("bench_"): path for path in every}
    unknown = [name for name in chosen if name not in names]
    if unknown:
        sys.exit(f"error: no benchmark {', '.join(unknown)}. Allowed: {', '.join(names)}.")
    wait_briefly()
    failed = 0
    for name in chosen or names:
        print(f"\n== {name}", flush=True)
        failed += subprocess.run([sys.executable, names[name]], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
