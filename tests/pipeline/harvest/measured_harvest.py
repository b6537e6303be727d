"""Harvests the embedded model twice; prints the second's bytes and what it added to the memory.

    python -m tests.pipeline.harvest.measured_harvest FOLDER TEXTS TOKENS MEMORY_MB

The first, small harvest loads libraries, model and text; then the kernel forgets the peak so far
(Linux alone can), so that the peak after the second is the second's.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import torch

from pipeline.harvest.run import harvest
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace

SMALL = 8192
STUDY = """
study: measured
models:
  pylm:
    path: embedded
    context: 64
    corpus: {{kind: text, path: {texts}, held_out_share: 0.05, calibration_share: 0.05}}
    harvest:
      tokens: {tokens}
      calibration_tokens: 2048
      shard_rows: 4096
      memory_mb: {memory_mb}
weights: [trained]
sites: [mlp_act.0, mlp_act.1, mlp_act.2, mlp_act.3]
recipes:
  topk8: {{architecture: topk, n_latents: 64, k: 8, tokens: 8192}}
seeds: [0]
"""


def harvested(folder: Path, texts: str, tokens: int, memory_mb: str) -> int:
    """Harvests into a workspace of its own; bytes on disk."""
    workspace = Workspace.open(folder)
    text = STUDY.format(texts=texts, tokens=tokens, memory_mb=memory_mb)
    study = parse_study(text, "measured")
    register(workspace, study, yaml_text=text)
    config = Registry.load(workspace).models["pylm"]
    sources = study.sources()
    harvest(workspace, "pylm", config, sources[0].weights, [source.site for source in sources])
    return sum(p.stat().st_size for p in workspace.activations.rglob("*") if p.is_file())


def status(field: str) -> int:
    """VmRSS, or VmHWM: its peak; in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def main(folder: str, texts: str, tokens: str, memory_mb: str) -> None:
    """Prints the figures."""
    torch.set_num_threads(1)
    harvested(Path(folder, "small"), texts, SMALL, memory_mb)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    stored = harvested(Path(folder, "large"), texts, int(tokens), memory_mb)
    print(stored, status("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
