"""A recipe: a named SAE configuration, checked by the architecture it names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.errors import StudyError, did_you_mean
from pipeline.study.explain import shown, validated
from pipeline.study.imported import IMPORTED, imported_class, origin_of
from pipeline.study.inputs import check_names

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
    own = architectures.config_class(given)
    if IMPORTED in fields:
        own = imported_class(own)
    for field in fields:
        if field not in own.model_fields:
            _refuse_foreign(where, str(field), given, shown(fields[field]))
    made = validated(own, dict(fields), "", path=(where,))
    check_names(name, made)
    _check_batch(where, made)
    return made


def _check_batch(where: str, made: SaeConfig) -> None:
    # A budget below the default batch is one step; imported SAEs take none.
    own = made.batch_size != type(made).model_fields["batch_size"].default
    if own and made.batch_size > made.tokens and origin_of(made) is None:
        raise StudyError(
            f"{where}.batch_size: {made.batch_size} tokens a step are more than the budget, tokens "
            f"{made.tokens}. Allowed: 1 to {made.tokens}. Lower batch_size or raise tokens."
        )


def _refuse_foreign(where: str, field: str, given: str, value: str) -> None:
    """Raises StudyError where other architectures have the field, or this one says why not."""
    from sae_core import architectures

    configs = {name: architectures.config_class(name) for name in architectures.names()}
    owners = [name for name, config in configs.items() if field in config.model_fields]
    why = configs[given].refused.get(field)
    if not owners and not why:
        return
    reason = f": {why}" if why else ""
    mend = f"It is a setting of {', '.join(owners)}. " if owners else ""
    choice = ", or choose one of these" if owners else ""
    raise StudyError(
        f"{where}.{field}: {value} was given, and architecture {given!r} has no {field!r}{reason}. "
        f"{mend}Remove it{choice}."
    )
