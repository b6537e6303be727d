"""Errors meant for the person at the keyboard: what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Input that cannot be used; its text says what was given, what is allowed, what to do."""


class StudyError(UserError):
    """A study file, a recipe, a model entry or a key that cannot be used."""


class SiteError(UserError):
    """A site that the model does not have."""


class StoreError(UserError):
    """An activation store that is missing, damaged or incomplete."""


class WorkspaceError(UserError):
    """A workspace that is missing, in use, or of a newer format."""


class CheckpointError(UserError):
    """An SAE or training checkpoint that cannot be read."""


class ExchangeError(UserError):
    """An SAE that cannot be written for, or read from, another package."""


class RemoteError(UserError):
    """A remote place, s3:// or file://, that cannot be used, or an object in it that is damaged."""


class DiskFullError(UserError):
    """No space left where the pipeline writes."""


def nearest(given: str, allowed: Iterable[str]) -> str:
    """A sentence that offers the nearest allowed name; empty when none is near."""
    near = difflib.get_close_matches(given, list(allowed), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else ""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """A sentence that offers the nearest allowed name, or lists them all when none is near."""
    names = sorted(allowed)
    offer = nearest(given, names)
    listing = ", ".join(names) if names else "none"
    return f"{offer} Allowed: {listing}." if offer else f"Allowed: {listing}."
