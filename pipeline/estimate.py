"""What work costs: operations, bytes and seconds, from what this workspace has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pipeline.model_shape import ModelShape
from pipeline.study.config import HarvestConfig
from pipeline.study.names import Site
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from sae_core.config import SaeConfig

# A laptop's two cores reach about this; used only until something was measured here.
ASSUMED_FLOPS_PER_SECOND = 3e10
_STORED_BYTES = {"auto": 2, "float16": 2, "bfloat16": 2, "float32": 4}
_RATES = """
SELECT 'train' AS stage, tokens_per_second * 12 * width * n_latents AS flops_per_second FROM saes
WHERE tokens_per_second > 0
"""
_PASSES = """
SELECT model, weights, max(layer) AS layer, arg_max(tokens_per_second, layer) AS rate FROM sources
WHERE tokens_per_second > 0 AND NOT starts_with(weights, 'gaussian') GROUP BY model, weights
"""


@dataclass(frozen=True)
class Rates:
    """Operations per second of each stage; `measured` counts the earlier runs they rest on."""

    harvest: float
    train: float
    measured: int

    @property
    def origin(self) -> str:
        """Where the rates come from, as words for a plan."""
        if self.measured:
            return f"from {self.measured} earlier runs in this workspace"
        return f"rough: nothing measured here yet, {ASSUMED_FLOPS_PER_SECOND:.0e} FLOP/s assumed"


def measured_rates(workspace: Workspace, shapes: dict[str, ModelShape]) -> Rates:
    """The median rates of what ran before; assumed ones where nothing did."""
    from pipeline.catalog.warehouse import query

    training = [row["flops_per_second"] for row in query(workspace, _RATES).to_pylist()]
    passes = []
    for row in query(workspace, _PASSES).to_pylist():
        shape = shapes.get(row["model"])
        flops = shape.flops_per_token(row["layer"] + 1) if shape else None
        if flops:
            passes.append(row["rate"] * flops)
    return Rates(
        harvest=median(passes) if passes else ASSUMED_FLOPS_PER_SECOND,
        train=median(training) if training else ASSUMED_FLOPS_PER_SECOND,
        measured=len(training) + len(passes),
    )


def store_bytes(rows: int, width: int, config: HarvestConfig) -> int:
    """Bytes of one source's store: rows and the calibration rows, in the storage type."""
    return (rows + config.calibration_tokens) * width * _STORED_BYTES[config.dtype]


def sae_bytes(width: int, recipe: SaeConfig) -> int:
    """Bytes of one SAE's folder: weights, and a checkpoint with weights and two moments."""
    return 4 * (4 * 2 * width * recipe.n_latents)


def training_seconds(width: int, recipe: SaeConfig, rates: Rates) -> float:
    """Seconds to train: 12 d f FLOPs per token (encoder and decoder, forward and backward)."""
    return recipe.tokens * 12 * width * recipe.n_latents / rates.train


def through_model_seconds(recipe: SaeConfig, shape: ModelShape, rates: Rates) -> float | None:
    """Seconds that the language model takes of a training through it, 0 where there is none.

    A clean pass, a spliced one, and the gradient of that, which costs two.
    """
    if recipe.inputs != "token_rows":
        return 0.0
    flops = shape.flops_per_token(shape.n_layers or 1)
    return None if flops is None else recipe.tokens * 4 * flops / rates.harvest


def pass_seconds(rows: int, sites: Sequence[Site], shape: ModelShape, rates: Rates) -> float | None:
    """Seconds of one forward pass over `rows` tokens down to the deepest site."""
    flops = shape.flops_per_token(max(site.layer for site in sites) + 1)
    return None if flops is None else rows * flops / rates.harvest


def evaluation_seconds(tokens: int, n_saes: int, shape: ModelShape, rates: Rates) -> float | None:
    """Seconds of an evaluation: the clean, zero and mean passes are shared, one more per SAE."""
    flops = shape.flops_per_token(shape.n_layers or 1)
    return None if flops is None else tokens * (3 + n_saes) * flops / rates.harvest
