"""A training checkpoint is whole or not there, and says so when it is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pipeline import atomic
from pipeline.errors import CheckpointError
from pipeline.training.checkpoint import (
    Standing,
    TrainingCheckpoint,
    read_checkpoint,
    read_standing,
    state_digest,
    write_checkpoint,
)
from pipeline.training.curve import Curve
from pipeline.training.record import CHECKPOINT_FILE

HASH = "b" * 64


def made(step: int = 7) -> TrainingCheckpoint:
    draws = torch.Generator().manual_seed(step)
    state = {
        "sae.W_enc": torch.randn(5, 3, generator=draws),
        "adam.count": torch.tensor(float(step)),
        "since_fired": torch.randint(0, 9, (5,), generator=draws),
    }
    curve = Curve().extended(step, 64 * step, {"fvu": 0.1, "l0": float("nan")})
    curve = curve.extended(step + 1, 64 * step + 64, {"fvu": 1 / 3, "wait_share": 0.0})
    return TrainingCheckpoint(Standing(HASH, step, 64 * step, 1.5, 0.25), state, curve)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    given = made()
    write_checkpoint(tmp_path, given)
    found = read_checkpoint(tmp_path, HASH)
    assert found is not None
    assert found.standing == given.standing == read_standing(tmp_path, HASH)
    assert state_digest(found.state) == state_digest(given.state)
    assert str(found.curve.rows) == str(given.curve.rows)


def test_a_folder_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, HASH) is None
    assert read_standing(tmp_path, HASH) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.7, 0.99])
def test_a_truncated_checkpoint_is_an_error_that_names_file_and_mend(
    tmp_path: Path, share: float
) -> None:
    write_checkpoint(tmp_path, made())
    path = tmp_path / CHECKPOINT_FILE
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"cannot be read.*delete the folder") as caught:
        read_checkpoint(tmp_path, HASH)
    assert str(path) in str(caught.value)


def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, made())
    path = tmp_path / CHECKPOINT_FILE
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="digest"):
        read_checkpoint(tmp_path, HASH)


def test_a_checkpoint_of_another_sae_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, made())
    with pytest.raises(CheckpointError, match="belongs to SAE"):
        read_checkpoint(tmp_path, "c" * 64)


def test_the_digest_sees_every_bit_name_and_shape() -> None:
    state = made().state
    digest = state_digest(state)
    flipped = {name: tensor.clone() for name, tensor in state.items()}
    flipped["sae.W_enc"].view(torch.int32)[2, 1] ^= 1
    renamed = {name.upper(): tensor for name, tensor in state.items()}
    reshaped = state | {"sae.W_enc": state["sae.W_enc"].reshape(3, 5)}
    assert len({digest, *map(state_digest, (flipped, renamed, reshaped))}) == 4


@pytest.mark.parametrize("place", ["flush", "replace"])
def test_a_write_that_dies_leaves_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    write_checkpoint(tmp_path, made(7))

    def die(*arguments: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(os if place == "replace" else atomic, place, die)
    with pytest.raises(RuntimeError):
        write_checkpoint(tmp_path, made(8))
    standing = read_standing(tmp_path, HASH)
    assert standing is not None
    assert standing.step == 7
