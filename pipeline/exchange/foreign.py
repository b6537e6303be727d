"""What formats are told of an SAE that they write, and what they tell of one that they read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ExchangeError
from sae_core.plain import PlainSae
from sae_core.sae import Sae


@dataclass(frozen=True)
class About:
    """What is known of an SAE that is written, besides its weights.

    `provenance`: plain data that rides along. `model` the hub id or name of the language model,
    `kind` and `layer` of the site, `context` tokens of a row, `corpus` the text; None where the
    SAE's folder does not say. `k`: active latents, where its recipe fixes them.
    """

    provenance: Mapping[str, Any]
    model: str | None = None
    kind: str | None = None
    layer: int | None = None
    context: int | None = None
    corpus: str | None = None
    k: int | None = None
    lr: float | None = None
    steps: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Foreign:
    """An SAE as it was read: plain data, or our own where it is one.

    `architecture` by their name; `settings` their configuration as it stands; `tokens` that it was
    trained on, where they say; `notes` what a person should know; `writes_elsewhere`: whether its
    files say that it reconstructs another site than it reads.
    """

    format: str
    package: str
    architecture: str
    settings: Mapping[str, Any]
    plain: PlainSae | None = None
    sae: Sae | None = None
    tokens: int | None = None
    notes: tuple[str, ...] = field(default=())
    writes_elsewhere: bool = False

    @property
    def is_transcoder(self) -> bool:
        """Whether its files or its shapes say so; our own know for themselves."""
        plain = self.plain
        if plain is None:
            return False
        return (
            self.writes_elsewhere or plain.W_skip is not None or plain.width != plain.written_width
        )


def writes_elsewhere(provenance: object, *, otherwise: bool) -> bool:
    """Whether an SAE's recipe has a site that it writes; `otherwise` for one that is not ours.

    Formats do not keep it for all: a transcoder of equal widths is written as an SAE for some, and
    an SAE that does not subtract its bias as a transcoder for others.
    """
    config = provenance.get("config") if isinstance(provenance, Mapping) else None
    return "write_site" in config if isinstance(config, Mapping) else otherwise


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; raises ExchangeError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExchangeError(
            f"{path} cannot be read as JSON ({error}). Fetch the folder again."
        ) from error
    if not isinstance(found, dict):
        raise ExchangeError(f"{path} holds no mapping of settings. Fetch the folder again.")
    return found


def setting(settings: Mapping[str, Any], name: str, path: Path) -> Any:
    """A setting that must be there; raises ExchangeError where it is not."""
    if name not in settings:
        raise ExchangeError(
            f"{path} lacks the setting {name!r}; it has: {', '.join(sorted(settings)) or 'none'}. "
            "Save the SAE again with its package, or add the setting."
        )
    return settings[name]


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; raises ExchangeError where it cannot be read."""
    import safetensors
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise ExchangeError(
            f"{path} cannot be read as safetensors ({error}). Fetch the file again."
        ) from error


def read_pickled(path: Path) -> dict[str, Any]:
    """The state of a pickled file, read without running code; raises ExchangeError otherwise."""
    import pickle
    import warnings

    try:
        with warnings.catch_warnings():
            # Whether a pickle's protocol is a usual one is not for whoever imports an SAE.
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExchangeError(
            f"{path} cannot be read as a file of tensors alone ({first}). Pickled files can run "
            "code, so nothing but tensors and plain values is accepted. Save the state_dict again."
        ) from error
    if not isinstance(found, dict):
        raise ExchangeError(f"{path} holds no state_dict. Save the SAE's state_dict.")
    return found


class Tensors:
    """The tensors of one file, taken by name with the shape that they must have, as float32."""

    def __init__(self, tensors: Mapping[str, Any], path: Path) -> None:
        self._tensors, self._path = tensors, path
        self._missing_is = f"Allowed: files with it; this one has {', '.join(sorted(tensors))}"

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def take(self, name: str, *shape: int | None) -> torch.Tensor:
        """The tensor of a name; a None in the shape is any size. Raises ExchangeError."""
        found = self._tensors.get(name)
        if not isinstance(found, torch.Tensor):
            raise ExchangeError(f"{self._path} lacks the tensor {name!r}. {self._missing_is}.")
        fits = len(shape) == found.ndim and all(
            wanted in (None, size) for wanted, size in zip(shape, found.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ExchangeError(
                f"{self._path}: {name} has shape {tuple(found.shape)}. Allowed: ({wanted}), as "
                "its other tensors and its configuration say."
            )
        if not bool(torch.isfinite(found.float()).all()):
            raise ExchangeError(
                f"{self._path}: {name} holds values that are not finite. Such an SAE encodes "
                "nothing. Take another checkpoint."
            )
        return found.detach().float().contiguous()
