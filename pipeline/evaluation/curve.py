"""Which pre-training curve belongs to a source's language model, or why there is none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from pipeline.errors import StudyError
from pipeline.study.config import ModelConfig
from pipeline.study.names import Source
from pipeline.study.variants import SHUFFLED_TEXT
from sae_core.metrics.token_metric import Setting
from sae_core.pretraining_curve import PretrainingCurve


def setting_of(source: Source, model: ModelConfig, *, vocab_size: int) -> Setting:
    """What metrics need to know of a source: its LM's curve, and how good a uniform guess is.

    Raises StudyError for a curve file that cannot be used.
    """
    return replace(_curve_of(source, model), uniform_loss=math.log(vocab_size))


def _curve_of(source: Source, model: ModelConfig) -> Setting:
    if source.weights.variant == SHUFFLED_TEXT:
        return Setting(None, "the pre-training curve is of text in its own order, not shuffled")
    if source.weights.variant != "trained":
        return Setting(None, f"weights variant '{source.weights}' is not what pre-training left")
    if model.pretraining_curve is not None:
        return Setting(_read(Path(model.pretraining_curve)))
    if model.path != "embedded":
        reason = "no pre-training curve is given for this model (models.<name>.pretraining_curve)"
        return Setting(None, reason)
    from pipeline.embedded import pretraining_curve

    points = pretraining_curve()
    if len(points) < 2:
        return Setting(None, "the model's pre-training curve has fewer than 2 points")
    return Setting(
        PretrainingCurve(
            tuple(point.flops for point in points),
            tuple(point.held_out_loss_nats for point in points),
        )
    )


def _read(path: Path) -> PretrainingCurve:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        points = sorted((float(row["flops"]), float(row["held_out_loss_nats"])) for row in rows)
        return PretrainingCurve(*(tuple(column) for column in zip(*points, strict=True)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path} cannot be used as a pre-training curve ({error}). It must be a JSON list of "
            'at least 2 points such as {"flops": 1e15, "held_out_loss_nats": 3.2}, the last one '
            "the model itself. Mend it, or remove models.<name>.pretraining_curve."
        ) from error
