"""Ratios worth believing: every contender runs in turn, round after round, in one process."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path

# SAE_BENCHMARK_RESULTS names another folder for result files: tests write none to the project's.
RESULTS = Path(os.environ.get("SAE_BENCHMARK_RESULTS", Path(__file__).parent / "results"))


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 7,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    before: Callable[[], object] | None = None,
) -> dict[str, list[float]]:
    """Seconds of every contender in every round, A B C A B C, after `warm_up` unmeasured rounds.

    Interleaving spreads a slow spell of a shared machine over all of them. `clock` gives seconds:
    wall time, or `time.process_time` for the CPU time of all threads of this process. `before`
    runs before each contender, unmeasured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name, run in contenders.items():
            if before is not None:
                before()
            start = clock()
            run()
            if turn >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, *, to: str) -> float:
    """The median over rounds of `name`'s time divided by `to`'s in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[to], strict=True))


def verdict(found: float, target: float | None, *, at_least: bool = False) -> str:
    """How a ratio stands to its target, at most or at least that, in words for a table."""
    if target is None:
        return ""
    missed = found < target if at_least else found > target
    return f"(target {target:.2f}{': MISSED' if missed else ''})"


def hardware() -> str:
    """A short name of this machine: processor and cores."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores"


def save(benchmark: str, figures: object) -> Path:
    """Writes figures with hardware, date and commit to `benchmarks/results/`."""
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    path = RESULTS / f"{benchmark}_{platform.machine()}_{date.today()}.json"
    record = {
        "benchmark": benchmark,
        "hardware": hardware(),
        "date": str(date.today()),
        "python": platform.python_version(),
        "torch": version("torch"),
        "load": round(os.getloadavg()[0], 2),
        "commit": commit,
        "figures": figures,
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path
