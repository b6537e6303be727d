"""Where a language model's files are: shipped with the package, in a folder, or on the hub."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import CheckpointError, UserError
from pipeline.hashing import content_hash, file_hash
from pipeline.language_model.hub import hub_folder
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights

EMBEDDED = "embedded"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TRAINED = Weights("trained")


@dataclass(frozen=True)
class ModelFiles:
    """A folder that holds a model. commit: the hub commit, None for local files."""

    folder: Path
    commit: str | None


def model_files(config: ModelConfig, weights: Weights = _TRAINED) -> ModelFiles:
    """The folder of a model's files, downloaded where it lies on the hub.

    A hub id without a revision means the commit that the cache holds, else the newest one, which
    then stays: `pinned` tells which. `revision:NAME` is a hub revision, or a subfolder of a local
    folder.

    Raises UserError where there is no such model, and CheckpointError for damaged or refused
    weight files.
    """
    revision = config.revision
    if weights.variant.startswith("revision:"):
        revision = weights.variant.removeprefix("revision:")
    local = _local_folder(config.path)
    if local is not None:
        found = ModelFiles(_checkpoint(local, revision) if revision else local, None)
    else:
        folder = hub_folder(
            config.path,
            revision,
            safetensors_only=config.safetensors_only,
            remote_code=config.trust_remote_code,
        )
        found = ModelFiles(folder, folder.name)
    if not (found.folder / "config.json").is_file():
        raise UserError(
            f"{found.folder} holds no config.json. A model folder holds config.json, "
            "*.safetensors and tokenizer files, as transformers' save_pretrained writes them."
        )
    return found


def pinned(config: ModelConfig) -> ModelConfig:
    """The same model with its hub revision as a commit; local models stay as they are."""
    commit = model_files(config).commit
    return config if commit is None else config.model_copy(update={"revision": commit})


def model_hash(config: ModelConfig, weights: Weights = _TRAINED) -> str:
    """The content hash of a model's configuration, weights and tokenizer files.

    For hub models it is that of id and commit. Needs no torch.
    """
    files = model_files(config, weights)
    if files.commit is not None:
        return content_hash({"hub": config.path, "commit": files.commit})
    paths = [files.folder / "config.json", *weight_files(config, files), *_tokenizer_files(files)]
    return content_hash({path.name: _hashed(path) for path in paths})


def tokenizer_hash(config: ModelConfig) -> str:
    """The content hash of a model's tokenizer files. Raises UserError where it has none."""
    files = model_files(config)
    return content_hash({path.name: _hashed(path) for path in _tokenizer_files(files)})


def weight_files(config: ModelConfig, files: ModelFiles) -> list[Path]:
    """The weight files of a folder, checked for being complete; sorted by name.

    Raises CheckpointError where they are missing, truncated or pickled without leave.
    """
    found = sorted(files.folder.glob("*.safetensors"))
    index = files.folder / "model.safetensors.index.json"
    if found and index.is_file():
        named = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        missing = [name for name in named if not (files.folder / name).is_file()]
        if missing:
            raise CheckpointError(
                f"{index} names weight files that are not there: {', '.join(missing)}. "
                "Copy them into the folder."
            )
        found = [files.folder / name for name in named]
    for path in found:
        _check_safetensors(path)
    pickled = sorted(path for pattern in _PICKLED for path in files.folder.glob(pattern))
    if not found and pickled and not config.safetensors_only:
        return pickled
    if not found:
        there = ", ".join(path.name for path in pickled) or "no weights at all"
        raise CheckpointError(
            f"{files.folder} holds no *.safetensors, but {there}. Convert the weights with "
            "save_pretrained, or allow pickled files, which can run code, with "
            "safetensors_only: false."
        )
    return found


def _tokenizer_files(files: ModelFiles) -> list[Path]:
    found = [files.folder / name for name in _TOKENIZER_FILES if (files.folder / name).is_file()]
    if not found:
        raise UserError(
            f"{files.folder} holds no tokenizer; one of these files is needed: "
            f"{', '.join(_TOKENIZER_FILES)}. Save the model's tokenizer there with "
            "tokenizer.save_pretrained(folder)."
        )
    extra = ("tokenizer_config.json", "special_tokens_map.json", "merges.txt")
    return found + [files.folder / name for name in extra if (files.folder / name).is_file()]


def _local_folder(path: str) -> Path | None:
    from pipeline.embedded import EMBEDDED_MODEL_DIR

    if path == EMBEDDED:
        return EMBEDDED_MODEL_DIR
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(path) or path.endswith((".safetensors", ".bin", ".json")):
        raise UserError(
            f"model path {path!r} is no folder. Allowed: 'embedded', a local folder with "
            "config.json and weights, or a hub id such as 'owner/name'. Check the path."
        )
    return None


def _checkpoint(folder: Path, revision: str) -> Path:
    chosen = folder / revision
    if chosen.is_dir() and chosen.resolve().is_relative_to(folder.resolve()):
        return chosen
    there = sorted(path.parent.name for path in folder.glob("*/config.json"))
    raise UserError(
        f"{folder} has no checkpoint {revision!r}. The checkpoints of a local model are its "
        f"subfolders; there are: {', '.join(there) or 'none'}."
    )


def _check_safetensors(path: Path) -> None:
    """Raises CheckpointError where a file is shorter or longer than its header says."""
    size = path.stat().st_size
    wanted = None
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if size >= 8 and header_size <= size - 8:
            try:
                header = json.loads(file.read(header_size))
                ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
                wanted = 8 + header_size + max(ends, default=0)
            except (ValueError, TypeError, KeyError, AttributeError, IndexError):
                wanted = None
    if wanted is None:
        raise CheckpointError(
            f"{path} ({size} bytes) has no readable safetensors header: it is truncated, or not "
            "a safetensors file. Copy or download it again."
        )
    if wanted != size:
        raise CheckpointError(
            f"{path} has {size} bytes, its header promises {wanted}: it is "
            f"{'truncated' if size < wanted else 'damaged'}. Copy or download it again."
        )


def _hashed(path: Path) -> str:
    state = path.stat()
    return _file_hash(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _file_hash(path: Path, size: int, changed: int) -> str:
    return file_hash(path)
