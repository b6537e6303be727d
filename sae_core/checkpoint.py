"""SAEs and training states as bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import safetensors
import safetensors.torch
import torch

from sae_core.architectures import build, config_class
from sae_core.sae import Sae
from sae_core.trainee import Trainee

FORMAT = 1
_KEY = "sae_foundry"


def sae_to_bytes(sae: Sae) -> bytes:
    """The SAE as a safetensors file: its tensors, with configuration and width in the metadata."""
    width, *further = sae.widths
    about = {"kind": "sae", "width": width, "config": sae.config.model_dump(mode="json")}
    about |= {"further_widths": further} if further else {}
    return _to_bytes(sae.state_dict(), about)


def sae_from_bytes(data: bytes) -> Sae:
    """The SAE of such bytes, on the CPU; raises ValueError where they are damaged or another's."""
    tensors, about = _from_bytes(data, kind="sae")
    fields = about["config"]
    config = config_class(fields["architecture"])(**fields)
    further = tuple(about.get("further_widths", ()))
    sae = build(config, width=about["width"], further=further)
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in sae.state_dict().items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    if found != expected:
        raise _unreadable("its tensors do not fit its configuration")
    sae.load_state_dict(tensors)
    return sae


def trainee_to_bytes(trainee: Trainee) -> bytes:
    """The trainee's state as a safetensors file, with its configuration in the metadata."""
    about = {"kind": "trainee", "config": trainee.config.model_dump(mode="json")}
    return _to_bytes(trainee.state(), about)


def restore_trainee(trainee: Trainee, data: bytes) -> None:
    """Puts a trainee into the state of such bytes.

    Raises ValueError where they are damaged or of another configuration; the trainee is unchanged.
    """
    tensors, about = _from_bytes(data, kind="trainee")
    config = trainee.config.model_dump(mode="json")
    differing = sorted(name for name in config if about["config"].get(name) != config[name])
    if differing:
        raise ValueError(
            f"this training state was made with another configuration: {', '.join(differing)} "
            "differ. Allowed: the same configuration. Remove the checkpoint to start over."
        )
    trainee.load_state(tensors)


def _to_bytes(tensors: Mapping[str, torch.Tensor], about: dict[str, Any]) -> bytes:
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT} | about, sort_keys=True)
    # One metadata entry: the order of several is not fixed, and equal SAEs shall be equal bytes.
    return safetensors.torch.save(plain, metadata={_KEY: f"{_digest(plain, text)} {text}"})


def _from_bytes(data: bytes, *, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8 : 8 + length])["__metadata__"][_KEY]
        digest, text = entry.split(" ", 1)
        about = json.loads(text)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _unreadable(f"it is truncated or not such a file ({error})") from error
    if digest != _digest(tensors, text):
        raise _unreadable("its contents do not match their digest: the file is damaged")
    if about["format"] > FORMAT:
        raise ValueError(
            f"this checkpoint has format {about['format']}. Allowed: up to {FORMAT}. Update the "
            "package."
        )
    if about["kind"] != kind:
        raise _unreadable(f"it holds a {about['kind']}, not a {kind}")
    return tensors, about


def _digest(tensors: Mapping[str, torch.Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unreadable(why: str) -> ValueError:
    return ValueError(
        f"this checkpoint cannot be used: {why}. Allowed: a file written by this package. Remove "
        "it and train again."
    )
