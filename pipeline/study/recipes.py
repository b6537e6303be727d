"""A recipe: a named SAE configuration, checked by the architecture it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import StudyError, did_you_mean
from pipeline.study.explain import validated

if TYPE_CHECKING:
    from sae_core.config import SaeConfig


def recipe(name: str, fields: Any) -> SaeConfig:
    """The configuration of one recipe's fields; raises StudyError with the nearest valid name.

    Loads the architecture's module, which needs torch.
    """
    from pydantic import BaseModel

    from sae_core import architectures

    if isinstance(fields, BaseModel):
        return fields
    where = f"recipes.{name}"
    if not isinstance(fields, Mapping):
        raise StudyError(f"{where}: a recipe is a mapping with the key 'architecture'.")
    given = fields.get("architecture")
    known = architectures.names()
    if given is None:
        raise StudyError(f"{where}.architecture is missing. Allowed: {', '.join(known)}. Add it.")
    if given not in known:
        raise StudyError(
            f"{where}.architecture: {given!r} is not an architecture. "
            f"{did_you_mean(str(given), known)}"
        )
    return validated(architectures.config_class(given), dict(fields), "", path=(where,))
