"""Training checkpoints: one file per SAE that holds everything an exact resume needs.

`checkpoint.safetensors` carries the trainee's state (weights, optimiser, counters, generator),
the curve so far and where the run stands. It is one file on purpose: it is replaced by a single
rename, so that a process killed at any moment leaves either the previous checkpoint or the new
one. The last one stays after training: it is the final optimiser state, from which a run can be
compared or continued.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from pipeline.atomic import write_bytes
from pipeline.errors import CheckpointError
from pipeline.training.curve import Curve
from pipeline.training.record import CHECKPOINT_FILE

_FORMAT = 1
_STATE = "state/"
_CURVE = "curve/"


@dataclass(frozen=True)
class Standing:
    """Where a run stands: batches and tokens seen, seconds spent, those spent waiting for data,
    and on what it has been trained so far, in order."""

    sae_hash: str
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    ways: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A run's standing, its trainee's state by name, and its curve."""

    standing: Standing
    state: dict[str, torch.Tensor]
    curve: Curve


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """The sha256 of names, types, shapes and bytes: equal when two states are bit for bit equal."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_checkpoint(folder: Path, checkpoint: TrainingCheckpoint) -> None:
    """Replaces the folder's checkpoint in one rename; DiskFullError leaves the previous one."""
    state = {name: t.detach().cpu().contiguous() for name, t in checkpoint.state.items()}
    columns, names = checkpoint.curve.to_tensors()
    tensors = {_STATE + name: tensor for name, tensor in state.items()}
    tensors |= {_CURVE + name: tensor for name, tensor in columns.items()}
    about = {
        "format": _FORMAT,
        "standing": vars(checkpoint.standing),
        "metrics": names,
        "digest": state_digest(tensors),
    }
    write_bytes(folder / CHECKPOINT_FILE, save(tensors, metadata={"training": json.dumps(about)}))


def read_standing(folder: Path, sae_hash: str) -> Standing | None:
    """Where the folder's run stands, from the file's header alone; None before the first one."""
    path = folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return _standing(path, file.metadata(), sae_hash)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, str(error)) from error


def read_checkpoint(folder: Path, sae_hash: str) -> TrainingCheckpoint | None:
    """The folder's checkpoint, verified against its digest; None before the first one.

    Raises CheckpointError for a file that is truncated, altered or of another SAE: training never
    starts over silently.
    """
    path = folder / CHECKPOINT_FILE
    standing = read_standing(folder, sae_hash)
    if standing is None:
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["training"])
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, str(error)) from error
    if state_digest(tensors) != about["digest"]:
        raise _unreadable(path, "its bytes do not match the digest it was written with")
    state = {n.removeprefix(_STATE): t for n, t in tensors.items() if n.startswith(_STATE)}
    columns = {n.removeprefix(_CURVE): t for n, t in tensors.items() if n.startswith(_CURVE)}
    return TrainingCheckpoint(standing, state, Curve.from_tensors(columns, about["metrics"]))


def _standing(path: Path, metadata: Mapping[str, str] | None, sae_hash: str) -> Standing:
    if not metadata or "training" not in metadata:
        raise _unreadable(path, "it carries no training metadata")
    try:
        about = json.loads(metadata["training"])
        fields = about["standing"]
        standing = Standing(**fields | {"ways": tuple(fields.get("ways", ()))})
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, f"its metadata is not what was written ({error})") from error
    if about["format"] > _FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {about['format']}; this version reads up to {_FORMAT}. "
            "Use the version of the project that wrote it, or a newer one."
        )
    if standing.sae_hash != sae_hash:
        raise CheckpointError(
            f"{path} belongs to SAE {standing.sae_hash}, but {sae_hash} is to be trained here. "
            f"Files were moved between folders: put them back, or delete {path.parent} to train "
            "this SAE from the start."
        )
    return standing


def _unreadable(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"The training checkpoint {path} cannot be read: {reason}. Checkpoints are replaced "
        "whole, so the file was damaged after it was written. Put back a copy, or delete the "
        f"folder {path.parent} to train this SAE again from the start."
    )
