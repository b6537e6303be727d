"""The one folder where all results live."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline import atomic
from pipeline.errors import WorkspaceError

FORMAT = 1
VARIABLE = "SAE_WORKSPACE"
_MARK = "workspace.json"


@dataclass(frozen=True)
class Workspace:
    """A workspace folder; `root` is absolute."""

    root: Path

    @classmethod
    def open(cls, root: Path | str | None = None) -> Workspace:
        """The workspace at `root`, made where missing.

        None means the folder named by the variable SAE_WORKSPACE, else `workspace` beside the
        project. Raises WorkspaceError for a newer format or a path that cannot be used.
        """
        workspace = cls(Path(root or default_root()).expanduser().resolve())
        mark = workspace.root / _MARK
        try:
            if mark.exists():
                _check_format(workspace.root, mark.read_text())
            else:
                atomic.write_json(mark, {"format": FORMAT, "written_by": version("sae-foundry")})
        except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            raise WorkspaceError(
                f"{workspace.root} cannot be used as a workspace ({error.strerror}: "
                f"{error.filename}). A workspace is a folder that you may write to. "
                f"Choose another with --workspace or the variable {VARIABLE}."
            ) from error
        return workspace

    def relative(self, path: Path) -> str:
        """A path inside the workspace as the tables name it: from `root`, with forward slashes.

        It stays right when the workspace is moved.
        """
        return path.relative_to(self.root).as_posix()

    @property
    def studies(self) -> Path:
        """The studies that were registered."""
        return self.root / "studies"

    @property
    def corpus(self) -> Path:
        """Packed token rows."""
        return self.root / "corpus"

    @property
    def activations(self) -> Path:
        """Activation stores."""
        return self.root / "activations"

    @property
    def saes(self) -> Path:
        """Trained SAEs and their checkpoints."""
        return self.root / "saes"

    @property
    def tables(self) -> Path:
        """Parquet parts, one folder per table."""
        return self.root / "tables"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file of views over `tables`."""
        return self.root / "warehouse.duckdb"

    @property
    def locks(self) -> Path:
        """Lock files."""
        return self.root / "locks"

    @property
    def dagster(self) -> Path:
        """Dagster's own state."""
        return self.root / ".dagster"


def default_root() -> Path:
    """Where the workspace is when nobody says: $SAE_WORKSPACE, else beside the project."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    project = Path(__file__).resolve().parents[1]
    return (project if (project / "pyproject.toml").exists() else Path.cwd()) / "workspace"


def _check_format(root: Path, text: str) -> None:
    try:
        mark = json.loads(text)
        written, by = int(mark["format"]), str(mark.get("written_by", "unknown"))
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{root / _MARK} cannot be read ({error}). It should hold "
            f'{{"format": {FORMAT}, "written_by": "<version>"}}. '
            "Restore it, or choose another folder with --workspace."
        ) from error
    if written > FORMAT:
        raise WorkspaceError(
            f"The workspace {root} has format {written}, written by sae-foundry {by}; "
            f"this is sae-foundry {version('sae-foundry')}, which knows formats up to {FORMAT}. "
            f"Update this installation to {by} or later, or choose another folder with --workspace."
        )
