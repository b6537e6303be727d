"""Taking in an SAE from elsewhere: it becomes an SAE of a source, in folder and tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.atomic import write_bytes
from pipeline.errors import ExchangeError, StudyError
from pipeline.exchange.foreign import Foreign
from pipeline.exchange.formats import format_named, format_of
from pipeline.exchange.hosts import own_sae
from pipeline.exchange.place import Place
from pipeline.hashing import content_hash, file_hash
from pipeline.locks import cell_lock
from pipeline.model_shape import check_layer, model_shape
from pipeline.remote.where_named import keep_saes
from pipeline.study.config import EvaluationConfig, Study
from pipeline.study.imported import IMPORTED, Origin, imported_class, origin_of
from pipeline.study.inputs import inputs_of, site_named
from pipeline.study.names import SaeKey, Source, check_name
from pipeline.study.registry import Cell, Registry, register
from pipeline.training.curve import Curve
from pipeline.training.identity import Run, identify
from pipeline.training.record import (
    CHECKPOINT_FILE,
    SAE_FILE,
    Done,
    read_done,
    write_config,
    write_curve,
    write_done,
)
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from sae_core.config import SaeConfig

SEED = 0
_WEIGHTS = ("*.safetensors", "*.pt")
# Columns of `saes` that a training here fills.
_OF_TRAINING = (
    "epochs",
    "batch_size",
    "seconds",
    "tokens_per_second",
    "wait_share",
    "dead_train",
    "divergence",
    "trained_on",
)


@dataclass(frozen=True)
class Arrival:
    """An SAE that was read and is to be an SAE of `source`, as recipe `name`."""

    place: Place
    foreign: Foreign
    source: Source
    name: str
    write_site: str | None

    @property
    def key(self) -> SaeKey:
        """`<name>.s0`."""
        return SaeKey(self.name, SEED)

    @property
    def further_sources(self) -> tuple[Source, ...]:
        """The sources of the further sites that it reads or reconstructs."""
        if self.foreign.sae is not None:
            return inputs_of(self.source, self.foreign.sae.config).sites
        if self.write_site is None:
            return ()
        site = site_named(self.write_site, self.source.site.layer)
        return (replace(self.source, site=site),)


def read_arrival(
    registry: Registry,
    place: Place,
    source: Source,
    *,
    name: str | None = None,
    format: str | None = None,
    write_site: str | None = None,
) -> Arrival:
    """What lies at a place, read and checked against the source; changes nothing.

    Raises ExchangeError for what cannot be read or does not fit, StudyError for unknown names.
    """
    registry.check_source(source)
    check_layer(registry.models[source.model], source)
    module = format_named(format) if format else format_of(place.path)
    if format and not module.recognises(place.path):
        raise ExchangeError(f"{place.name} is not of format {format}. Leave --format out.")
    foreign = module.read(place.path)
    chosen = check_name(name or _name_of(place), "recipe")
    arrival = Arrival(place, foreign, source, chosen, write_site)
    _check_widths(registry, arrival)
    return arrival


def take_in(workspace: Workspace, arrival: Arrival) -> tuple[Cell, bool]:
    """Makes the SAE exist, in its folder and in the tables: its cell, and whether it is new.

    The source must be harvested. Taking in the same files again changes nothing. Raises StudyError
    where the recipe's name is taken by another one, RemoteError, DiskFullError.
    """
    from sae_core.checkpoint import sae_to_bytes

    foreign = arrival.foreign
    sae = own_sae(foreign, write_site=arrival.write_site, scale=_scale(workspace, arrival))
    recipe = _recipe(sae.config, arrival)
    inputs_of(arrival.source, recipe)
    registry = Registry.load(workspace)
    _check_name_is_free(registry, arrival.name, recipe)
    study = _study(registry, arrival, recipe)
    register(workspace, study, yaml_text=_yaml(study))
    cell = Registry.load(workspace).cell(arrival.source, arrival.key)
    run = identify(workspace, cell)
    with cell_lock(workspace, f"training {run.name}"):
        if read_done(run.folder, run.sae_hash) is not None:
            return cell, False
        write_config(run)
        write_bytes(run.folder / SAE_FILE, sae_to_bytes(sae))
        write_curve(run.folder, Curve(()))
        _write_rows(workspace, run, sae.width)
        write_done(run.folder, _done(run))
    keep_saes(workspace, [run])
    return cell, True


def _name_of(place: Place) -> str:
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", place.name.split("@")[0]).strip("-_")
    return cleaned[-64:].lstrip("-_") or "imported"


def _check_widths(registry: Registry, arrival: Arrival) -> None:
    foreign, source = arrival.foreign, arrival.source
    shape = model_shape(registry.models[source.model])
    wanted = shape.site_width(source.site)
    width = foreign.plain.width if foreign.plain else foreign.sae.W_enc.shape[1]
    several = foreign.sae is not None and len(foreign.sae.reads) > 1
    if wanted is not None and wanted != width and not several:
        raise ExchangeError(
            f"{arrival.place.name} reads activations of width {width}, and {source} has width "
            f"{wanted}. An SAE fits the model and the site it was trained on alone. Choose the "
            "source it was trained on."
        )


def _scale(workspace: Workspace, arrival: Arrival) -> float:
    """s of the source, E‖s x‖² = d, in which our SAEs keep their biases and thresholds."""
    from pipeline.harvest.run import source_hash
    from pipeline.store.activation_store import ActivationStore
    from sae_core.statistics import input_scale

    source = arrival.source
    config = Registry.load(workspace).models[source.model]
    stored = source_hash(workspace, source.model, config, source)
    return input_scale(ActivationStore.open(workspace, source, stored).statistics)


def _recipe(config: SaeConfig, arrival: Arrival) -> SaeConfig:
    foreign, place = arrival.foreign, arrival.place
    origin = Origin(
        format=foreign.format,
        package=foreign.package,
        architecture=foreign.architecture,
        place=place.name,
        revision=place.revision,
        sha256=_weights_hash(place.path),
        source=str(arrival.source),
        tokens=foreign.tokens,
        settings=dict(foreign.settings),
    )
    fields = config.model_dump(mode="json") | {IMPORTED: origin.model_dump(mode="json")}
    return imported_class(type(config))(**fields)


def _weights_hash(path: Path) -> str:
    """The hash of a file, or of a folder's files of weights, by their names."""
    if path.is_file():
        return file_hash(path)
    files = [file for kind in _WEIGHTS for file in sorted(path.glob(kind))]
    files = [file for file in files if file.name != CHECKPOINT_FILE]
    return content_hash({file.name: file_hash(file) for file in files})


def _check_name_is_free(registry: Registry, name: str, recipe: SaeConfig) -> None:
    known = registry.recipes.get(name)
    if known is not None and known != recipe:
        origin = origin_of(known)
        what = f"the SAE from {origin.place} for {origin.source}" if origin else "a recipe of ours"
        raise StudyError(
            f"the recipe's name {name!r} is taken by {what}. Names are of the whole workspace, so "
            "that results under one name can be compared. Choose another with --as."
        )


def _study(registry: Registry, arrival: Arrival, recipe: SaeConfig) -> Study:
    """A study of the one SAE, with data seed and evaluation of the model's newest study."""
    source = arrival.source
    newest = [study for study in registry.studies.values() if source.model in study.models][-1]
    evaluation = EvaluationConfig.model_validate(newest.evaluation.model_dump())
    return Study(
        study=f"import-{arrival.name}"[:64],
        models={source.model: registry.models[source.model]},
        weights=[str(source.weights)],
        sites=[str(source.site)],
        recipes={arrival.name: recipe},
        seeds=[SEED],
        data_seed=newest.data_seed,
        evaluation=evaluation,
    )


def _yaml(study: Study) -> str:
    import yaml

    return yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False)


def _done(run: Run) -> Done:
    origin: Any = run.cell.recipe.imported
    return Done(
        sae=run.name,
        sae_hash=run.sae_hash,
        status="ok",
        step=0,
        tokens=origin.tokens or 0,
        epochs=0.0,
        seconds=0.0,
        wait_seconds=0.0,
        final={},
        diverged_at=None,
        last_good_step=None,
    )


def _write_rows(workspace: Workspace, run: Run, width: int) -> None:
    from pipeline.catalog.write import new_run_id, write_run
    from pipeline.training.finish import identity_row

    origin: Any = run.cell.recipe.imported
    row = identity_row(run) | {
        "width": width,
        "tokens": origin.tokens,
        **dict.fromkeys(_OF_TRAINING),
        "path": workspace.relative(run.folder),
        "status": "ok",
    }
    write_run(workspace, new_run_id("import"), {"saes": [row]}, kind="import")
