"""The studies of a workspace: its names for models and recipes, and what a cell is.

Models and recipes are workspace-wide names: the same name with the same content is shared.
Registrations are appended, never changed; later ones decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import atomic
from pipeline.errors import StudyError, did_you_mean
from pipeline.hashing import short
from pipeline.launch.config import LaunchConfig
from pipeline.locks import turn
from pipeline.model_shape import known_site_listing
from pipeline.study.config import EvaluationConfig, ModelConfig, Study, study_hash
from pipeline.study.inputs import check_cycles, check_rows, check_start, inputs_of
from pipeline.study.names import SaeKey, Site, Source
from pipeline.study.recipes import recipe as recipe_of
from pipeline.study.variants import UnknownSiteError, parse_site, parse_weights
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


@dataclass(frozen=True)
class Cell:
    """One SAE to be: a source and a key with everything that determines the result.

    `dictionary` is the SAE whose decoder rows it is trained on, where its recipe names one.
    `launch` is where it is made, which determines nothing: cells that differ in it are equal.
    """

    source: Source
    key: SaeKey
    model: ModelConfig
    recipe: SaeConfig
    data_seed: int
    evaluation: EvaluationConfig
    study: str
    dictionary: Cell | None = None
    launch: LaunchConfig = field(default=LaunchConfig(), compare=False)

    @property
    def further_sources(self) -> tuple[Source, ...]:
        """The sources whose activations stand beside its own in a batch."""
        return inputs_of(self.source, self.recipe).sites

    @property
    def later_sites(self) -> tuple[Site, ...]:
        """The sites that are compared while it is trained through the language model."""
        return inputs_of(self.source, self.recipe).later_sites

    @property
    def sae_id(self) -> str:
        """`<source>/<key>`, such as `pylm.trained.resid_post.3/topk16.s0`."""
        return f"{self.source}/{self.key}"


@dataclass(frozen=True)
class Registration:
    """One study as it was registered: plain data, with the text it came from."""

    study: str
    study_hash: str
    registered_at: str
    yaml: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Registry:
    """What a workspace knows; made by `Registry.load`."""

    registrations: tuple[Registration, ...]

    @classmethod
    def load(cls, workspace: Workspace) -> Registry:
        """The registry of a workspace; empty before any study ran."""
        paths = sorted(workspace.studies.glob("*.json"))
        return cls(tuple(Registration(**json.loads(path.read_text())) for path in paths))

    @cached_property
    def models(self) -> dict[str, ModelConfig]:
        """Model name -> configuration."""
        return {n: ModelConfig.model_validate(c) for n, c in self._contents("models").items()}

    @cached_property
    def recipes(self) -> dict[str, SaeConfig]:
        """Recipe name -> configuration; loads the architectures' modules, which need torch."""
        return {name: recipe_of(name, fields) for name, fields in self._contents("recipes").items()}

    @cached_property
    def studies(self) -> dict[str, Study]:
        """Study name -> its newest registration."""
        return {r.study: Study.model_validate(r.content) for r in self.registrations}

    def launch_of(self, model: str) -> LaunchConfig:
        """Where the newest study that names a model says that work runs."""
        owners = [r for r in self._newest if model in r.content["models"]]
        return _launch_of(owners[-1]) if owners else LaunchConfig()

    def check_source(self, source: Source | str) -> Source:
        """The source itself; raises StudyError where its model, weights or site are unknown."""
        source = Source.parse(source) if isinstance(source, str) else source
        self._check("model", source.model, self._contents("models"))
        parse_weights(str(source.weights))
        try:
            parse_site(str(source.site))
        except UnknownSiteError as error:
            listing = known_site_listing({source.model: self.models[source.model]}, Path.cwd())
            raise StudyError(f"{error} {listing}".rstrip()) from error
        return source

    def check_key(self, key: SaeKey | str) -> SaeKey:
        """The key itself; raises StudyError where its recipe is unknown."""
        key = SaeKey.parse(key) if isinstance(key, str) else key
        self._check("recipe", key.recipe, self._contents("recipes"))
        return key

    def cell(self, source: Source, key: SaeKey) -> Cell:
        """The cell of a source and a key, by the newest study that names both."""
        self.check_source(source)
        self.check_key(key)
        owner = self._owner(source.model, key.recipe)
        check_cycles(self.recipes)
        recipe, model = self.recipes[key.recipe], self.models[source.model]
        check_rows(key.recipe, recipe, model=source.model, context=model.context)
        rows = model.harvest.calibration_tokens
        check_start(key.recipe, recipe, model=source.model, rows=rows)
        wanted = inputs_of(source, recipe).dictionary
        return Cell(
            source=source,
            key=key,
            model=model,
            recipe=recipe,
            data_seed=owner.content["data_seed"],
            evaluation=EvaluationConfig.model_validate(owner.content["evaluation"]),
            study=owner.study,
            dictionary=None if wanted is None else self.cell(*wanted),
            launch=_launch_of(owner),
        )

    def _owner(self, model: str, recipe_name: str) -> Registration:
        for registration in reversed(self._newest):
            content = registration.content
            if model in content["models"] and recipe_name in content["recipes"]:
                return registration
        pairs = [f"{r.study}: {', '.join(r.content['recipes'])}" for r in self._newest]
        raise StudyError(
            f"No study names both the model {model!r} and the recipe {recipe_name!r}. "
            f"Studies and their recipes: {'; '.join(pairs)}. Add the recipe to a study of "
            f"{model!r} and run it, or choose one of its recipes."
        )

    @cached_property
    def _newest(self) -> list[Registration]:
        """Each study's newest registration, oldest first."""
        newest = {registration.study: registration for registration in self.registrations}
        return [r for r in self.registrations if newest[r.study] is r]

    def _contents(self, kind: str) -> dict[str, Any]:
        """Name -> plain content of `models` or `recipes`; later registrations decide."""
        merged: dict[str, Any] = {}
        for registration in self.registrations:
            merged.update(registration.content[kind])
        return merged

    def _check(self, what: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        if not names:
            raise StudyError(
                f"{what} {name!r}: this workspace has no studies yet. Run one first: `sae run`."
            )
        if name not in names:
            raise StudyError(
                f"{name!r} is not a {what} of this workspace. {did_you_mean(name, names)} "
                "Names come from the studies that were run; `sae run` adds a study."
            )

    def refuse_conflicts(self, study: Study) -> None:
        """Raises StudyError where a study gives taken names another content."""
        conflicts = self.conflicts(study)
        if conflicts:
            raise StudyError(
                f"Study {study.study!r} gives taken names another content:\n  "
                + "\n  ".join(conflicts)
                + "\nModels and recipes are names of the whole workspace, so that results under "
                "one name can be compared. Choose a new name for what differs, or pass --replace "
                "to give the old name the new content from now on."
            )

    def conflicts(self, study: Study) -> list[str]:
        """What a study says differently under names that are taken, one line each."""
        content = study.model_dump(mode="json")
        lines = []
        for kind, configs in (("models", self.models), ("recipes", self.recipes)):
            # Dumped anew, so that a field that has come since has its default on both sides.
            known = {name: config.model_dump(mode="json") for name, config in configs.items()}
            for name, given in content[kind].items():
                if name in known and known[name] != given:
                    lines += [f"{kind}.{name}.{d}" for d in _differences(known[name], given)]
        for registration in self._newest:
            if _share_a_cell(registration.content, content):
                was, now = registration.content["data_seed"], content["data_seed"]
                if was != now:
                    lines.append(f"data_seed: {was} in study {registration.study!r}, {now} here")
        return lines


def needed_by(cells: Iterable[Cell]) -> tuple[list[Source], list[Cell]]:
    """The further sources that cells need and the SAEs whose dictionaries they read.

    With what those need in turn; an SAE stands behind the ones it needs. Sources and cells may be
    among those that are asked for anyway.
    """
    sources: dict[Source, None] = {}
    saes: dict[str, Cell] = {}

    def visit(cell: Cell) -> None:
        sources.update(dict.fromkeys(cell.further_sources))
        if cell.dictionary is not None and cell.dictionary.sae_id not in saes:
            visit(cell.dictionary)
            sources[cell.dictionary.source] = None
            saes[cell.dictionary.sae_id] = cell.dictionary

    for cell in cells:
        visit(cell)
    return list(sources), list(saes.values())


def register(workspace: Workspace, study: Study, *, yaml_text: str, replace: bool = False) -> None:
    """Makes a study's names known in the workspace; nothing happens where they already are.

    Raises StudyError where a name is taken with other content, unless `replace`.
    """
    with turn(workspace, "studies"):
        registry = Registry.load(workspace)
        current = {r.study: r for r in registry._newest}.get(study.study)
        if not replace:
            registry.refuse_conflicts(study)
        conflicts = registry.conflicts(study)
        known = current is not None and current.study_hash == study_hash(study)
        if known and not conflicts and _launch_of(current) == study.launch:
            return
        _append(workspace, study, yaml_text)


def _append(workspace: Workspace, study: Study, yaml_text: str) -> None:
    from pipeline.catalog.write import new_run_id, write_run

    now = datetime.now(UTC)
    full = study_hash(study)
    registration = {
        "study": study.study,
        "study_hash": full,
        "registered_at": now.isoformat(),
        "yaml": yaml_text,
        "content": study.model_dump(mode="json"),
    }
    stem = f"{now:%Y%m%dT%H%M%S.%f}-{study.study}-{short(full)}"
    atomic.write_bytes(workspace.studies / f"{stem}.yaml", yaml_text.encode())
    atomic.write_json(workspace.studies / f"{stem}.json", registration)
    row = {k: registration[k] for k in ("study", "study_hash", "yaml")}
    rows = {"studies": [{**row, "registered_at": now.replace(tzinfo=None)}]}
    write_run(workspace, new_run_id("study"), rows, kind="study")


def _launch_of(registration: Registration) -> LaunchConfig:
    """Where its work runs; registrations of older versions say nothing of it."""
    return LaunchConfig.model_validate(registration.content.get("launch", {}))


def _share_a_cell(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(
        one["models"].keys() & other["models"].keys()
        and one["recipes"].keys() & other["recipes"].keys()
    )


def _differences(was: Any, now: Any, path: str = "") -> list[str]:
    """`path: old in the workspace, new here` for every leaf that differs."""
    if isinstance(was, dict) and isinstance(now, dict):
        keys = [*was, *(key for key in now if key not in was)]
        return [
            line
            for key in keys
            if was.get(key) != now.get(key)
            for line in _differences(was.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    return [f"{path}: {was!r} in the workspace, {now!r} here"]
