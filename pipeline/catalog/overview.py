"""What a workspace holds, counted; what runs in it, told by the locks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pipeline.catalog.warehouse import connect
from pipeline.failures import failures
from pipeline.locks import Holder, device_holder, runs
from pipeline.remote.sent import sent
from pipeline.workspace import Workspace

_COUNTS = """
SELECT
  (SELECT count(DISTINCT study) FROM studies),
  (SELECT count(DISTINCT source) FROM sources),
  (SELECT count(*) FROM internal.current_saes),
  (SELECT count(DISTINCT m.sae) FROM metrics AS m
   JOIN internal.current_saes AS s ON m.sae = s.sae AND m.sae_hash = s.sae_hash)"""
_DIVERGED = "SELECT sae, divergence FROM internal.current_saes WHERE status <> 'ok' ORDER BY sae"


def overview(workspace: Workspace) -> dict[str, Any]:
    """Counts of studies, sources, SAEs and evaluated SAEs; runs alive and died; plain data."""
    with connect(workspace) as connection:
        counts = connection.execute(_COUNTS).fetchone()
        diverged = connection.execute(_DIVERGED).fetchall()
    names = ("studies", "sources", "saes", "evaluations")
    known = [(run, holder, alive) for run, (holder, alive) in runs(workspace).items()]
    device, remote = device_holder(workspace), sent(workspace)
    return {
        "workspace": str(workspace.root),
        **dict(zip(names, counts or (), strict=True)),
        "remote": asdict(remote) if remote else None,
        "running": [_run(run, holder) for run, holder, alive in known if alive],
        "device": str(device) if device else None,
        "failed": [asdict(one) for one in failures(workspace)],
        "diverged": [{"sae": sae, "why": why} for sae, why in diverged],
        "died": [_run(run, holder) for run, holder, alive in known if not alive],
    }


def _run(run: str, holder: Holder | None) -> dict[str, str | None]:
    return {
        "run": run,
        "holder": str(holder) if holder else None,
        "since": holder.since if holder else None,
    }
