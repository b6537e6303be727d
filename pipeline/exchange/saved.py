"""A saved SAE that leaves the workspace: its weights, and all that is known of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CheckpointError, StudyError, did_you_mean
from pipeline.exchange.foreign import About, read_json
from pipeline.hashing import file_hash
from pipeline.load_sae import load, sae_file
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Cell, Registry
from pipeline.training.record import CONFIG_FILE
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from sae_core.sae import Sae


@dataclass(frozen=True)
class Saved:
    """An SAE with its file, what config.json beside it says, and its cell where a study names it.

    `name`: its id, or the folder's name where there is no config.json.
    """

    name: str
    file: Path
    sae: Sae
    record: Mapping[str, Any]
    cell: Cell | None

    @property
    def about(self) -> About:
        """What formats are told of it."""
        cell, config = self.cell, self.sae.config
        source = cell.source if cell else _source(self.record)
        return About(
            provenance=self.provenance,
            model=_model(cell, source),
            kind=source and source.site.kind,
            layer=source and source.site.layer,
            context=cell and cell.model.context,
            corpus=cell and corpus_text(cell),
            k=getattr(config, "k", None),
            lr=config.learning_rate,
            steps=-(-config.tokens // config.batch_size),
            seed=self.record.get("seed"),
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """Plain data: the SAE's name, hashes, configuration and study, the commit, the data."""
        config = self.sae.config
        known = ("sae_hash", "source", "source_hash", "recipe", "seed", "data_seed", "study")
        found = {name: self.record.get(name) for name in known}
        begun = self.record.get("begun_by") or {}
        return {
            "sae": self.name,
            **found,
            "architecture": config.architecture,
            "config": self.record.get("config") or config.model_dump(mode="json"),
            "weights_sha256": file_hash(self.file),
            "commit": begun.get("commit"),
            "package_version": begun.get("package_version"),
            "model": _model(self.cell, self.cell and self.cell.source),
            "model_revision": self.cell and self.cell.model.revision,
            "weights": self.cell and str(self.cell.source.weights),
            "data": self.cell and corpus_text(self.cell),
        }


def open_saved(workspace: Workspace, name: str) -> Saved:
    """The SAE of an id, as in the table `saes`, or of a path.

    Raises CheckpointError where there is none, with the nearest id.
    """
    by_id = workspace.saes / name
    path = by_id if by_id.is_dir() else Path(name).expanduser()
    if path is not by_id and not path.exists() and not (workspace.root / name).exists():
        raise CheckpointError(
            f"{name!r} is neither an SAE of this workspace nor a path. "
            f"{did_you_mean(name, sae_ids(workspace))} "
            '`sae sql "select sae from saes"` lists them.'
        )
    file = sae_file(path) if path.exists() else sae_file(name, workspace=workspace.root)
    beside = file.parent / CONFIG_FILE
    record = read_json(beside) if beside.exists() else {}
    known = record.get("sae") or file.parent.name
    return Saved(known, file, load(file), record, _cell(workspace, record))


def sae_ids(workspace: Workspace) -> list[str]:
    """The ids of the SAEs that have a folder in the workspace."""
    return sorted(folder.relative_to(workspace.saes).as_posix() for folder in _folders(workspace))


def corpus_text(cell: Cell) -> str:
    """The text that the SAE was trained on, in a few words and without this machine's paths."""
    corpus = cell.model.corpus
    if corpus.kind == "builtin":
        return "the Python standard library"
    named = corpus.dataset or (Path(corpus.path).name if corpus.path else "unknown")
    return f"{named} ({corpus.kind})"


def _folders(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.saes.glob("*/*") if path.is_dir()]


def _source(record: Mapping[str, Any]) -> Source | None:
    text = record.get("source")
    return Source.parse(text) if text else None


def _cell(workspace: Workspace, record: Mapping[str, Any]) -> Cell | None:
    """The cell that the record names, where a study of this workspace still does."""
    if not record.get("source") or not record.get("recipe"):
        return None
    try:
        key = SaeKey(record["recipe"], record["seed"])
        return Registry.load(workspace).cell(Source.parse(record["source"]), key)
    except StudyError:
        return None


def _model(cell: Cell | None, source: Source | None) -> str | None:
    """The hub id, or the name where the model is embedded or lies in a local folder."""
    if cell is None:
        return source and source.model
    is_local = cell.model.path == "embedded" or Path(cell.model.path).is_absolute()
    return cell.source.model if is_local else cell.model.path
