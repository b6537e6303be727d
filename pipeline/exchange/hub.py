"""SAEs on the hub: a repository, or a subfolder of one, at one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.language_model.hub import explained

_FILES = ("*.json", "*.safetensors", "*.pt", "README.md")


@dataclass(frozen=True)
class Uploaded:
    """Where an SAE was put: its repository, the commit that this made, its address."""

    repository: str
    commit: str
    url: str
    files: tuple[str, ...]


def downloaded(repository: str, subfolder: str, revision: str | None) -> tuple[Path, str]:
    """The local folder of a repository's SAE, and the commit it is of.

    Without a revision it is the newest commit. Only configurations and weights of the folder
    itself are fetched. A token is read from HF_TOKEN, or from the hub client's saved login.
    Raises UserError where the hub does not give it.
    """
    from huggingface_hub import HfApi, snapshot_download

    with explained(repository, revision, what="SAE"):
        commit = HfApi().model_info(repository, revision=revision).sha
        assert commit is not None
        wanted = [f"{subfolder}/{name}" for name in _FILES] if subfolder else list(_FILES)
        deeper = f"{subfolder}/*/*" if subfolder else "*/*"
        folder = Path(
            snapshot_download(
                repository, revision=commit, allow_patterns=wanted, ignore_patterns=[deeper]
            )
        )
    return folder / subfolder, commit


def put(repository: str, files: Mapping[str, bytes], *, private: bool, message: str) -> Uploaded:
    """Makes one commit with these files in a repository, which is made where it is missing.

    A token with write access is read from HF_TOKEN, or from the hub client's saved login.
    Raises UserError where the hub does not take them.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with explained(repository, None, what="SAE", need="write"):
        api.create_repo(repository, private=private, exist_ok=True)
        additions = [CommitOperationAdd(name, data) for name, data in files.items()]
        made = api.create_commit(repository, additions, commit_message=message)
    return Uploaded(repository, made.oid, made.commit_url, tuple(sorted(files)))
