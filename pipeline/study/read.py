"""Studies read from YAML, with paths made absolute: a later reader may stand in another folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import StudyError
from pipeline.labels import is_file
from pipeline.study.config import ModelConfig, Study
from pipeline.study.explain import validated
from pipeline.study.yaml_text import read_yaml


def load_study(path: Path) -> Study:
    """The study of a YAML file; paths in it that start with '.' are relative to the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{path} cannot be read as a study ({error}). Give the path of a YAML file; "
            "`sae init` writes one to start from."
        ) from error
    return parse_study(text, str(path), folder=path.resolve().parent)


def parse_study(text: str, origin: str, *, folder: Path | None = None) -> Study:
    """The study of a YAML text; `origin` names it in errors.

    Raises StudyError: unknown keys with the nearest valid one, bad values with what is allowed.
    """
    data = read_yaml(text, origin)
    folder = folder or Path.cwd()
    study = validated(Study, data, origin, context={"folder": folder})
    models = {name: _local(config, folder) for name, config in study.models.items()}
    labels = study.evaluation.labels
    path = _absolute(labels, folder) if is_file(labels) else labels
    evaluation = study.evaluation.model_copy(update={"labels": path})
    return study.model_copy(update={"models": models, "evaluation": evaluation})


def _local(config: ModelConfig, folder: Path) -> ModelConfig:
    """The same with local paths made absolute: who reads it later may stand elsewhere."""
    corpus = config.corpus.model_copy(update={"path": _absolute(config.corpus.path, folder)})
    update: dict[str, Any] = {"corpus": corpus}
    if config.path.startswith((".", "/", "~")) or (folder / config.path).is_dir():
        update["path"] = _absolute(config.path, folder)
    update["pretraining_curve"] = _absolute(config.pretraining_curve, folder)
    return config.model_copy(update=update)


def _absolute(path: str | None, folder: Path) -> str | None:
    return None if path is None else str((folder / Path(path).expanduser()).resolve())
