"""The `launch` section of a study: where work runs. It changes no name and no hash."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import StudyError, did_you_mean

if TYPE_CHECKING:
    from sae_core.config import SaeConfig

ENGINES = ("local", "torchrun", "ray")


class LaunchConfig(BaseModel):
    """How a study's work is spread over processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal[ENGINES] = Field(
        "local",
        description="local: this process; torchrun: several processes of this machine; ray: "
        "harvests and evaluations as tasks of a Ray cluster, training in this process",
    )
    ranks: int | None = Field(
        None, ge=1, description="processes; none: one for each GPU, without a GPU two"
    )
    address: str | None = Field(
        None, description="the Ray cluster; none: the one of this machine or of RAY_ADDRESS"
    )
    split: Literal["tokens", "latents"] = Field(
        "tokens", description="what ranks divide: every batch, or the SAE's latents"
    )
    max_restarts: int = Field(
        3, ge=0, description="how often all ranks start again after one has died"
    )

    @model_validator(mode="after")
    def _fits_the_engine(self) -> LaunchConfig:
        if self.engine == "local" and self.ranks not in (None, 1):
            raise ValueError(
                f"ranks {self.ranks} with engine 'local', which is one process. Allowed there: "
                "none. Set engine to 'torchrun', or remove ranks"
            )
        if self.address is not None and self.engine != "ray":
            raise ValueError(
                f"address {self.address!r} with engine {self.engine!r}. Allowed: with 'ray' alone. "
                "Remove address"
            )
        if self.engine == "ray" and importlib.util.find_spec("ray") is None:
            raise ValueError(
                "engine 'ray' needs the package ray, which is not installed. Install the extra: "
                "pip install 'sae-foundry[ray]', or use 'local' or 'torchrun'"
            )
        return self


def given_launch(text: str, section: LaunchConfig) -> LaunchConfig:
    """What `--launch` asks for, before the section: `local`, `torchrun[:RANKS]`, `ray[:RANKS]`.

    Raises StudyError for anything else.
    """
    engine, _, ranks = text.partition(":")
    if engine not in ENGINES:
        raise StudyError(
            f"--launch {text!r} is not known. {did_you_mean(engine, ENGINES)} A number of "
            "processes may follow, such as torchrun:2."
        )
    if ranks and not ranks.isdecimal():
        raise StudyError(
            f"--launch {text!r}: {ranks!r} is no number of processes. Give a whole number, such as "
            f"{engine}:2."
        )
    fields = section.model_dump() | {"engine": engine}
    if ranks or engine == "local":
        fields["ranks"] = int(ranks) if ranks else None
    if engine != "ray":
        fields["address"] = None
    try:
        return LaunchConfig(**fields)
    except ValidationError as error:
        said = "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())
        raise StudyError(f"--launch {text!r}: {said}.") from error


def check_launch(launch: LaunchConfig, recipes: Mapping[str, SaeConfig]) -> None:
    """Nothing where every recipe can be trained this way; raises StudyError otherwise."""
    if launch.engine != "torchrun":
        return
    from sae_core.latent_shards import why_not_sharded

    for name, recipe in recipes.items():
        tokens = launch.split == "tokens"
        why = recipe.one_rank_only if tokens else why_not_sharded(recipe, launch.ranks)
        if why:
            divided = "batches are" if tokens else "latents are"
            raise StudyError(
                f"Recipe {name!r} cannot be trained by launch {launch.engine!r}, where its "
                f"{divided} divided among ranks: {why}. Allowed: launch 'local' (--launch local). "
                "Use that, or put the recipe into a study of its own."
            )
