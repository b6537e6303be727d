"""Writing an SAE for another package."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pipeline import atomic
from pipeline.errors import ExchangeError
from pipeline.exchange.cannot_hold import CannotHold
from pipeline.exchange.formats import written_format
from pipeline.exchange.saved import Saved, open_saved
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.exchange.nearest import Nearness
    from sae_core.plain import PlainSae


@dataclass(frozen=True)
class Exported:
    """A folder that was written. `nearness`: what was lost, None where the SAE is held exactly."""

    sae: str
    format: str
    package: str
    folder: Path
    files: tuple[str, ...]
    nearness: Nearness | None


def export(
    workspace: Workspace, name: str, format: str, *, out: Path | None = None, near: bool = False
) -> Exported:
    """Writes the SAE of an id or path as a new folder in a format.

    Where the format cannot hold it exactly, an ExchangeError says why, what comes nearest and how
    far that is; with `near` that one is written. `out` is the folder; by default one beside here.
    Raises CheckpointError for an SAE that is not there, DiskFullError.
    """
    module = written_format(format)
    saved = open_saved(workspace, name)
    folder = out or Path.cwd() / f"{saved.name.replace('/', '-')}-{format}"
    _check_free(folder)
    plain, nearness = fitting(workspace, saved, module, near=near)
    files = module.files(plain, saved.about)
    write_folder(folder, files)
    package = f"{module.PACKAGE} {module.VERSION}"
    return Exported(saved.name, format, package, folder, tuple(sorted(files)), nearness)


def fitting(
    workspace: Workspace, saved: Saved, module: ModuleType, *, near: bool
) -> tuple[PlainSae, Nearness | None]:
    """The plain SAE that a format's module writes, and what is lost where that is not exact.

    Raises ExchangeError where it is not exact and `near` was not asked for, or nothing is near.
    """
    plain, why, rules = saved.sae.plain(), "", ()
    try:
        if plain is not None:
            return module.fitted(plain), None
        why, rules = _not_plain(saved)
        if saved.sae.near_plain() is not None:
            rules = _rules_of(module, saved)
    except CannotHold as error:
        why, rules = str(error), error.rules
    return _nearest(workspace, saved, module, why, rules, near=near)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes a new folder with these files: all of them are there, or the folder is not.

    Raises ExchangeError where the folder holds something, DiskFullError.
    """
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Named as temporary files are, so that what a killed process left is swept with them.
    temporary = folder.with_name(f"{folder.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        for name, data in files.items():
            atomic.write_bytes(temporary / name, data)
        os.replace(temporary, folder)
        atomic.flush(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExchangeError(
            f"{folder} holds something already. Allowed: a folder that is new or empty. Choose "
            "another with --out, or remove it."
        )


def _not_plain(saved: Saved) -> tuple[str, tuple[type, ...]]:
    return f"no format holds {saved.sae.config.architecture}: {saved.sae.not_plain}", ()


def _rules_of(module: ModuleType, saved: Saved) -> tuple[type, ...]:
    """The rule of the SAE that leaves out what is no rule, or those that the format has for it."""
    plain = saved.sae.near_plain()
    assert plain is not None
    try:
        module.fitted(plain)
    except CannotHold as error:
        return error.rules
    return (type(plain.rule),)


def _nearest(
    workspace: Workspace,
    saved: Saved,
    module: ModuleType,
    why: str,
    rules: tuple[type, ...],
    *,
    near: bool,
) -> tuple[PlainSae, Nearness | None]:
    """The nearest one that the format holds, or the error that tells of it."""
    from pipeline.exchange.held_out_rows import held_out_rows
    from pipeline.exchange.nearest import nearest

    begin = f"{saved.name} cannot be written for {module.PACKAGE} exactly: {why}."
    if not rules:
        raise ExchangeError(f"{begin} Nothing there comes near. Export it to another format.")
    if saved.cell is None:
        raise ExchangeError(
            f"{begin} How far the nearest one is cannot be measured: no study of this workspace "
            "names the SAE. Give it by its id, in the workspace it was trained in."
        )
    x, y = held_out_rows(workspace, saved.cell)
    found = nearest(saved.sae, rules, x, y)
    if found is None:
        raise ExchangeError(f"{begin} Nothing there comes near. Export it to another format.")
    plain, nearness = found
    if not near:
        raise ExchangeError(
            f"{begin} What comes nearest is {nearness.sentence}. --nearest writes that one."
        )
    return module.fitted(plain), nearness
