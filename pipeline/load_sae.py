"""A trained SAE from its folder or file, ready to encode."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import CheckpointError
from pipeline.training.record import DONE_FILE, SAE_FILE
from pipeline.workspace import VARIABLE, default_root

if TYPE_CHECKING:
    from sae_core.sae import Sae


def load(path: str | Path, *, workspace: str | Path | None = None) -> Sae:
    """The SAE of a folder, or of its sae.safetensors, on the CPU.

    A relative path is taken from the current folder and, where nothing lies there, from the
    workspace: so `path` of the table `saes` is one, wherever the workspace was moved to. The
    workspace is $SAE_WORKSPACE, else the one beside the project; with `workspace` given, a relative
    path is taken from that folder alone.

    `s3://bucket/prefix/saes/<source>/<recipe>.s<seed>/<hash8>` is read from there.

    Then `code = sae.encode(x)` for x (n, d) in raw units, and `x_hat = sae.decode(code)` (n, d).
    Raises CheckpointError for a file that cannot be read, and for a training run that has not
    finished or diverged.
    """
    from sae_core.checkpoint import sae_from_bytes

    if isinstance(path, str) and path.startswith("s3://"):
        from pipeline.remote.saes import remote_sae

        return sae_from_bytes(remote_sae(path))
    file = sae_file(path, workspace=workspace)
    try:
        return sae_from_bytes(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The SAE file {file} cannot be read ({error}). Its bytes were damaged after it was "
            f"written. Put back a copy, or delete the folder {file.parent} and run the study "
            "again to train this SAE from the start."
        ) from error


def sae_file(path: str | Path, *, workspace: str | Path | None = None) -> Path:
    """The sae.safetensors that `load` reads for a path; raises CheckpointError where none is."""
    return _file_of(_resolved(Path(path).expanduser(), workspace))


def _resolved(path: Path, workspace: str | Path | None) -> Path:
    if path.is_absolute() or (workspace is None and path.exists()):
        return path
    root = Path(workspace or default_root()).expanduser().resolve()
    return root / path


def _file_of(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(
            f"{path} does not exist. Give the folder of a trained SAE (column `path` of the table "
            '`saes`: `sae sql "select sae, path from saes"`) or its sae.safetensors; a relative '
            f"path is taken from the current folder, then from the workspace: {VARIABLE} or the "
            "argument workspace names another one."
        )
    found = (
        [path]
        if (path / SAE_FILE).exists()
        else sorted(p.parent for p in path.glob(f"*/{SAE_FILE}"))
    )
    if len(found) == 1:
        return found[0] / SAE_FILE
    if found:
        listing = ", ".join(folder.name for folder in found)
        raise CheckpointError(
            f"{path} holds several SAEs: {listing}. Give the folder of one of them."
        )
    raise CheckpointError(f"{path} holds no {SAE_FILE}: {_why_missing(path)}")


def _why_missing(folder: Path) -> str:
    if (folder / DONE_FILE).exists():
        return (
            "its training diverged, so there is no finished SAE. See status in the table `saes` "
            "and the reasons in the table `metrics`; a smaller learning rate in the recipe is the "
            "usual cure."
        )
    return (
        "its training has not finished, or this is no SAE folder. Run the study again to finish "
        'it, or take a path from `sae sql "select sae, path from saes"`.'
    )
