"""Fetching a model repository from the hub, at one commit, without anything that is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import CheckpointError, UserError

_NEEDED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
_PICKLED = ("*.bin",)
_CODE = ("*.py",)
_SUBFOLDERS = "*/*"
_SAFETENSORS = ".safetensors"


def hub_folder(
    repository: str, revision: str | None, *, safetensors_only: bool, remote_code: bool
) -> Path:
    """The local snapshot of a model repository; the folder's name is its commit.

    What the cache already holds for this revision is used without asking the network, so that a
    branch stays at the commit it had when first used. A token for gated models is read from
    HF_TOKEN, or from the hub client's saved login.

    Raises UserError where the repository or revision cannot be reached, and CheckpointError
    where it has only pickled weights and those are not allowed.
    """
    allowed = list(_NEEDED) + (list(_CODE) if remote_code else [])
    cached = _cached(repository, revision, allowed)
    if cached is not None:
        return cached
    from huggingface_hub import HfApi, snapshot_download

    with explained(repository, revision):
        info = HfApi().model_info(repository, revision=revision)
        names = [file.rfilename for file in info.siblings or [] if "/" not in file.rfilename]
        if not any(name.endswith(_SAFETENSORS) for name in names):
            _check_pickled(repository, names, safetensors_only=safetensors_only)
            allowed += _PICKLED
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=allowed,
                ignore_patterns=[_SUBFOLDERS],
            )
        )


def _cached(repository: str, revision: str | None, allowed: list[str]) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=allowed,
                ignore_patterns=[_SUBFOLDERS],
                local_files_only=True,
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    whole = (folder / "config.json").is_file() and any(folder.glob("*" + _SAFETENSORS))
    return folder if whole else None


def _check_pickled(repository: str, names: list[str], *, safetensors_only: bool) -> None:
    if safetensors_only or not any(name.endswith(".bin") for name in names):
        raise CheckpointError(
            f"{repository} holds no safetensors weights; its files: "
            f"{', '.join(sorted(names)) or 'none'}. Choose a revision or a copy that has them, or "
            "allow pickled *.bin files, which can run code, with safetensors_only: false."
        )


@contextmanager
def explained(
    repository: str, revision: str | None, *, what: str = "model", need: str = "read"
) -> Iterator[None]:
    """Turns what the hub's client raises in the block into UserErrors about a repository.

    `what` it should hold; `need`: the access that a token must give.
    """
    from huggingface_hub import errors

    where = f"{repository} at {revision}" if revision else repository
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{where} is gated: the hub wants to know who downloads it. Accept its terms on its "
            f"page, then put a token with {need} access into the variable HF_TOKEN."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{repository} has no revision {revision!r}. A revision is a branch, a tag or a "
            f"commit of its repository; check the {what}'s page."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{repository!r} is neither a local folder nor a {what} that the hub shows you. Check "
            f"the spelling; for a private {what} put a token into the variable HF_TOKEN."
        ) from error
    except errors.HFValidationError as error:
        raise UserError(
            f"{repository!r} is no hub id ({error}). Allowed: 'owner/name'. Check the spelling."
        ) from error
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise UserError(
                f"the hub does not let you {need} {where}. Put a token with {need} access to it "
                "into the variable HF_TOKEN, or choose a repository of your own."
            ) from error
        raise UserError(_unreachable(where, error)) from error
    except (errors.OfflineModeIsEnabled, OSError) as error:
        raise UserError(_unreachable(where, error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"httpx", "httpx2", "httpcore"}:
            raise
        raise UserError(_unreachable(where, error)) from error


def _unreachable(where: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()
    return (
        f"{where} is not in the local cache, and the hub cannot be reached "
        f"({reason[0] if reason else type(error).__name__}). Connect, unset HF_HUB_OFFLINE, or "
        "give a local folder."
    )
