"""Putting an SAE on the hub, with its model card."""

from __future__ import annotations

from pipeline.exchange.export import fitting
from pipeline.exchange.formats import format_named, written_format
from pipeline.exchange.hub import Uploaded, put
from pipeline.exchange.model_card import model_card
from pipeline.exchange.saved import Saved, open_saved
from pipeline.training.record import CONFIG_FILE, SAE_FILE
from pipeline.workspace import Workspace

OWN = "sae_foundry"


def upload(
    workspace: Workspace,
    name: str,
    repository: str,
    *,
    format: str = OWN,
    subfolder: str = "",
    private: bool = False,
    licence: str | None = None,
    near: bool = False,
) -> Uploaded:
    """Puts the SAE of an id or path into a repository, in one commit, with its model card.

    `format` and `near` as in an export; by default it is our own. Raises ExchangeError where the
    format cannot hold the SAE, UserError where the hub does not take it.
    """
    saved = open_saved(workspace, name)
    files, lost = _files(workspace, saved, format, near=near)
    card = model_card(
        workspace,
        saved,
        repository=repository,
        subfolder=subfolder,
        format=format,
        licence=licence,
        lost=lost,
    )
    inside = f"{subfolder.strip('/')}/" if subfolder else ""
    everything = {f"{inside}{file}": data for file, data in files.items()}
    everything[f"{inside}README.md"] = card.encode()
    return put(repository, everything, private=private, message=f"{saved.name} by SAE Foundry")


def _files(
    workspace: Workspace, saved: Saved, format: str, *, near: bool
) -> tuple[dict[str, bytes], str | None]:
    """The files by name, and what the format lost, if anything."""
    if format == OWN:
        own = {SAE_FILE: saved.file.read_bytes()}
        beside = saved.file.parent / CONFIG_FILE
        return own | ({CONFIG_FILE: beside.read_bytes()} if beside.exists() else {}), None
    module = written_format(format)
    plain, nearness = fitting(workspace, saved, module, near=near)
    lost = None if nearness is None else nearness.sentence
    return format_named(format).files(plain, saved.about), lost
