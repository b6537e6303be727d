"""Recipes of SAEs that were trained elsewhere: an architecture's configuration and its origin.

Such a recipe is not trained: its SAE exists on the source it was imported for, with seed 0. Of its
training settings only those are known that `imported.settings` states.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict, Field, create_model

from pipeline.errors import StudyError

if TYPE_CHECKING:
    from sae_core.config import SaeConfig

IMPORTED = "imported"


class Origin(BaseModel):
    """Where an SAE came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = Field(description="format it was read from: a file in exchange/formats/")
    package: str = Field(description="package and version that the format is of")
    architecture: str = Field(description="its architecture by that package's name")
    place: str = Field(description="hub id, or name of the folder")
    revision: str | None = Field(None, description="commit on the hub; none: local files")
    sha256: str = Field(description="hash of the weights' file")
    source: str = Field(description="source it was imported for")
    tokens: int | None = Field(None, description="tokens it was trained on, where it is said")
    settings: dict[str, Any] = Field(description="its configuration as it stood in its files")


@cache
def imported_class(own: type[SaeConfig]) -> type[SaeConfig]:
    """An architecture's configuration with the field `imported`, an Origin, besides its own."""
    made = create_model(
        f"Imported{own.__name__}",
        __base__=own,
        __doc__=own.__doc__,
        imported=(Origin, Field(description="Where the SAE came from; it is not trained here.")),
    )
    return cast("type[SaeConfig]", made)


def origin_of(recipe: SaeConfig) -> Origin | None:
    """Where a recipe's SAE came from; None for one that is trained here."""
    return getattr(recipe, IMPORTED, None)


def refuse_training(name: str, recipe: SaeConfig) -> None:
    """Raises StudyError for a recipe whose SAE was trained elsewhere and is not here."""
    origin = origin_of(recipe)
    if origin is None:
        return
    raise StudyError(
        f"{name} cannot be trained: its recipe says that it came from {origin.place} "
        f"({origin.package}), for {origin.source}. It exists on that source alone, with seed 0. "
        f"Import it there again: `sae import {origin.place} --source {origin.source} "
        f"--as {name.split('/')[-1].rsplit('.', 1)[0]}`, or leave this cell out."
    )
