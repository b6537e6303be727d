"""A pre-training curve from step checkpoints, each measured on the held-out text of evaluations.

The losses are `ce_clean` of every checkpoint: the same tokens, the same scored predictions. What
comes out goes into the JSON file that `models.<name>.pretraining_curve` names. Checkpoints from
the middle of a schedule are not annealed: a run that was meant to end there would reach the same
loss with less compute, so a curve of them overstates `compute_recovered`. Only a curve of runs
that were each annealed to their end does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from pipeline.atomic import write_json
from pipeline.corpus.pack import PackedCorpus
from pipeline.errors import StudyError
from pipeline.evaluation.held_out import HeldOut, read_held_out
from pipeline.evaluation.sweep import rows_per_forward
from pipeline.language_model.load import load_language_model
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.splice import scored, token_losses
from pipeline.progress import Progress, Report, silent
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights
from sae_core.pretraining_curve import PretrainingCurve


def write_revision_curve(
    path: Path,
    config: ModelConfig,
    corpus: PackedCorpus,
    flops: Mapping[str, float],
    *,
    n_tokens: int,
    report: Report = silent,
) -> PretrainingCurve:
    """Measures a model's revisions and writes their curve; the last one must be the model itself.

    `flops`: pre-training compute by revision, or by folder for models on disk. Losses are means in
    nats over the scored predictions of `n_tokens` held-out tokens. Raises StudyError for a curve
    that cannot be used, what loading raises for a revision that is not there.
    """
    held_out, points = read_held_out(corpus, n_tokens), []
    for done, (revision, compute) in enumerate(sorted(flops.items(), key=lambda one: one[1])):
        lm = load_language_model(_at(config, revision), Weights.parse("trained"))
        loss = mean_loss(lm, held_out, batch_rows=config.batch_rows)
        points.append({"revision": revision, "flops": compute, "held_out_loss_nats": loss})
        report(Progress("pre-training curve", done + 1, len(flops), "revisions", revision))
    losses = tuple(point["held_out_loss_nats"] for point in points)
    try:
        curve = PretrainingCurve(tuple(point["flops"] for point in points), losses)
    except ValueError as error:
        raise StudyError(
            f"the revisions {', '.join(flops)} give no usable curve: {error}"
        ) from error
    write_json(path, points)
    return curve


def mean_loss(lm: LanguageModel, held_out: HeldOut, *, batch_rows: int) -> float:
    """`ce_clean` of a language model on the whole held-out text, in nats per prediction."""
    vocabulary = int(lm.model.get_input_embeddings().weight.shape[0])
    total, n = torch.zeros((), dtype=torch.float64), 0
    for batch in held_out.batches(
        rows_per_forward(batch_rows, held_out.tokens.shape[1], vocabulary)
    ):
        keep = scored(batch.tokens, batch.documents, held_out.special_ids)
        losses = token_losses(lm, batch.tokens.to(lm.device)).loss.cpu().double()
        total, n = total + losses[keep].sum(), n + int(keep.sum())
    return float(total) / n


def _at(config: ModelConfig, revision: str) -> ModelConfig:
    is_folder = Path(revision).is_dir()
    place = {"path": revision, "revision": None} if is_folder else {"revision": revision}
    return config.model_copy(update=place)
