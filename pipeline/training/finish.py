"""The end of SAEs' training: calibration, weights, curve, rows in the tables, done.json."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.atomic import write_bytes
from pipeline.catalog.provenance import code_commit, package_version
from pipeline.catalog.write import new_run_id, write_run
from pipeline.study.registry import Cell
from pipeline.training.crew import Crew
from pipeline.training.data import TrainingData
from pipeline.training.group import Member
from pipeline.training.identity import Run
from pipeline.training.record import (
    SAE_FILE,
    Done,
    finite_values,
    write_curve,
    write_done,
)
from pipeline.workspace import Workspace
from sae_core.checkpoint import sae_to_bytes


def finish_group(
    workspace: Workspace, members: Sequence[Member], store: TrainingData, crew: Crew
) -> None:
    """Makes the SAEs of members that end together exist: files, rows in one run, then done.json.

    A process killed in between leaves runs that the next command finishes from their last
    checkpoints; rows written twice show once.
    """
    done = [_done(member, store) for member in members]
    # Every rank has a part in a result; the first one has the files.
    saes = [
        m.trainee.result() if d.status == "ok" else None for m, d in zip(members, done, strict=True)
    ]
    if not crew.writes:
        return
    for member, sae in zip(members, saes, strict=True):
        if sae is not None:
            sae.calibrate(x.to(sae.b_dec.device) for x in store.calibration())
            write_bytes(member.run.folder / SAE_FILE, sae_to_bytes(sae))
        write_curve(member.run.folder, member.curve)
    rows = {
        "saes": [
            _sae_row(m, record, store) | {"path": workspace.relative(m.run.folder)}
            for m, record in zip(members, done, strict=True)
        ],
        "training_curve": [row for member in members for row in _curve_rows(member)],
    }
    write_run(workspace, new_run_id("training"), rows, kind="training")
    for member, record in zip(members, done, strict=True):
        write_done(member.run.folder, record)


def _done(member: Member, store: TrainingData) -> Done:
    trainee = member.trainee
    dead = trainee.all_since_fired() >= trainee.config.dead_window
    final = member.curve.last() | {"dead_train": float(dead.double().mean())}
    return Done(
        sae=member.run.name,
        sae_hash=member.run.sae_hash,
        status="ok" if trainee.diverged is None else "diverged",
        step=trainee.step_count,
        tokens=trainee.tokens_seen,
        epochs=store.epochs_for(trainee.tokens_seen),
        seconds=member.seconds,
        wait_seconds=member.wait_seconds,
        final=finite_values(final),
        diverged_at=trainee.diverged,
        last_good_step=member.saved_step,
        diverged_in=trainee.diverged_in,
        ways=member.ways,
    )


def identity_row(run: Run) -> dict[str, object]:
    """What a row of `saes` says of an SAE before it is trained."""
    cell = run.cell
    source, recipe = cell.source, cell.recipe
    return {
        "sae": run.name,
        "sae_hash": run.sae_hash,
        "source": str(source),
        "source_hash": run.source_hash,
        "model": source.model,
        "weights": str(source.weights),
        "weights_seed": source.weights.seed,
        "site": str(source.site),
        "layer": source.site.layer,
        "further_inputs": _further_inputs(cell),
        "recipe": cell.key.recipe,
        "architecture": recipe.architecture,
        "seed": cell.key.seed,
        "data_seed": cell.data_seed,
        "n_latents": recipe.n_latents,
        "k": getattr(recipe, "k", None),
        "config_json": recipe.model_dump_json(),
        "commit": code_commit(),
        "package_version": package_version(),
    }


def _sae_row(member: Member, done: Done, store: TrainingData) -> dict[str, object]:
    return identity_row(member.run) | {
        "width": store.width,
        "tokens": done.tokens,
        "epochs": done.epochs,
        "batch_size": member.run.cell.recipe.batch_size,
        "seconds": done.seconds,
        "tokens_per_second": done.tokens_per_second,
        "wait_share": done.wait_share,
        "dead_train": done.final["dead_train"],
        "status": done.status,
        "divergence": done.divergence if done.status == "diverged" else None,
        "trained_on": ", then ".join(done.ways),
    }


def _further_inputs(cell: Cell) -> str | None:
    if cell.dictionary is not None:
        return cell.dictionary.sae_id
    sites = [source.site for source in cell.further_sources] or cell.later_sites
    return ", ".join(map(str, sites)) or None


def _curve_rows(member: Member) -> list[dict[str, object]]:
    about = {"sae": member.run.name, "sae_hash": member.run.sae_hash}
    return [about | row._asdict() for row in member.curve.rows]
