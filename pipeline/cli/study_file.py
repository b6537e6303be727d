"""The study that a command works on, and the registry in which its names are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StudyError
from pipeline.study.config import ModelConfig, Study, study_hash
from pipeline.study.read import load_study
from pipeline.study.registry import Registration, Registry, register
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Proposal:
    """A study file that was read, and the registry as it will be once the study is registered."""

    study: Study
    registry: Registry
    yaml_text: str
    replace: bool

    def register(self, workspace: Workspace) -> None:
        """Makes the study's names known. Only for a study whose plan was found sound."""
        register(workspace, self.study, yaml_text=self.yaml_text, replace=self.replace)


def proposed(workspace: Workspace, path: Path, *, replace: bool) -> Proposal:
    """A study file's content, with nothing written: a study that is refused takes no names.

    Raises StudyError for a file that cannot be used, or that gives taken names another content.
    """
    known = Registry.load(workspace)
    study = pinned_study(load_study(path), known)
    text = path.read_text(encoding="utf-8")
    if not replace:
        known.refuse_conflicts(study)
    content = study.model_dump(mode="json")
    would_be = Registration(study.study, study_hash(study), "", text, content)
    return Proposal(study, Registry((*known.registrations, would_be)), text, replace)


def pinned_study(study: Study, registry: Registry) -> Study:
    """The study with the commit of every hub model whose revision it leaves open.

    A model that the workspace has pinned stays at that commit, whatever the hub holds by now.
    """
    from pipeline.language_model.files import pinned

    def pin(name: str, config: ModelConfig) -> ModelConfig:
        known = registry.models.get(name)
        if config.revision is not None:
            return config
        if known is not None and known.model_copy(update={"revision": None}) == config:
            return known
        return pinned(config)

    return study.model_copy(
        update={"models": {name: pin(name, config) for name, config in study.models.items()}}
    )


def newest(workspace: Workspace) -> tuple[Study, Registry]:
    """The study that was registered last."""
    registry = Registry.load(workspace)
    if not registry.registrations:
        raise StudyError(
            f"No study was given, and {workspace.root} has none yet. Give one: "
            "`sae backfill STUDY`; `sae init` writes one to start from."
        )
    return registry.studies[registry.registrations[-1].study], registry


def named(workspace: Workspace, name: str) -> tuple[Study, Registry]:
    """A registered study by its name; raises StudyError that lists the names there are."""
    registry = Registry.load(workspace)
    names = list(dict.fromkeys(registration.study for registration in registry.registrations))
    if name not in names:
        raise StudyError(
            f"{name!r} is neither a file nor a study of {workspace.root}. "
            f"Its studies: {', '.join(names) or 'none'}. Give the path of a study file."
        )
    return registry.studies[name], registry
