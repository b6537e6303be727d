"""Runs that say they are alive, and the sensor that ends those whose process died."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from pipeline.orchestrate.liveness import hold_run, reap
from pipeline.orchestrate.session import current_workspace


@dg.resource(description="Held by every run: a lock file that the system frees when it dies.")
def run_lock(context: dg.InitResourceContext) -> Iterator[None]:
    """Holds the run's lock from the first step to the last."""
    run = context.run
    if run is None:
        yield
        return
    owner = " ".join(
        [*sorted(key.to_user_string() for key in run.asset_selection or ()), "in the UI"]
    )
    with hold_run(current_workspace(), run.run_id, owner=owner):
        yield


@dg.sensor(minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Marks runs whose process died as failed, so that they hold nothing back."""
    dead = reap(context.instance, current_workspace())
    return dg.SkipReason(f"ended: {', '.join(dead)}" if dead else "every run has its process")
