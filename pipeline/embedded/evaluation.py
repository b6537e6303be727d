"""What the shipped model is measured on: held-out loss, its n-gram baseline, its layers' use."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.atomic import write_json
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.embedded.text import Stream

FILE = "evaluation.json"
NGRAM_ORDER = 5


@dataclass(frozen=True)
class Evaluation:
    """The numbers the model card shows, as measured once and stored beside the weights.

    Losses in nats per token on held-out documents; text_sha256 names the text they hold for.
    sample_*: the same on a fixed part of the documents, quick enough to be measured again often.
    mlp_ablations_nats: rise of the loss when layer i's mlp_out is zeroed.
    flops_parameters: parameters that multiply an activation, the N of 6 N tokens.
    documents: per held-out document its predicted tokens and nats per token, so that a Python
    whose standard library has only some of them can be held against the same documents.
    """

    held_out_loss_nats: float
    bits_per_byte: float
    n_tokens: int
    n_bytes: int
    text_sha256: str
    sample_loss_nats: float
    sample_n_tokens: int
    sample_text_sha256: str
    kneser_ney_nats: float
    kneser_ney_order: int
    mlp_ablations_nats: list[float]
    parameters: int
    flops_parameters: int
    tokens_seen: int
    unique_tokens: int
    train_text_sha256: str
    epochs: float
    python: str
    documents: dict[str, list[float]]

    @property
    def below_kneser_ney(self) -> float:
        """1 - loss / Kneser-Ney loss: the share by which the model is better."""
        return 1 - self.held_out_loss_nats / self.kneser_ney_nats


def write_evaluation(folder: Path, *, seen: int, train: Stream, held_out: Stream) -> Evaluation:
    """Measure the model in folder and store the numbers beside it.

    seen: tokens the model was trained on. train, held_out: the streams, under its tokenizer.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pipeline.embedded.architecture import multiplied_parameters, parameter_count
    from pipeline.embedded.measure import (
        bits_per_byte,
        document_losses,
        loss_nats,
        mlp_ablations_nats,
    )
    from pipeline.embedded.text import builtin_split, held_out_sample, stream

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    documents = builtin_split("held_out")
    sample = stream(held_out_sample(documents), tokenizer)
    loss = loss_nats(model, held_out.tokens)
    evaluation = Evaluation(
        held_out_loss_nats=loss,
        bits_per_byte=bits_per_byte(loss, held_out),
        n_tokens=len(held_out.tokens),
        n_bytes=held_out.n_bytes,
        text_sha256=held_out.text_sha256,
        sample_loss_nats=loss_nats(model, sample.tokens),
        sample_n_tokens=len(sample.tokens),
        sample_text_sha256=sample.text_sha256,
        kneser_ney_nats=kneser_ney_nats(train, held_out, vocab=model.config.vocab_size),
        kneser_ney_order=NGRAM_ORDER,
        mlp_ablations_nats=mlp_ablations_nats(model, held_out.tokens),
        parameters=parameter_count(model),
        flops_parameters=multiplied_parameters(model),
        tokens_seen=seen,
        unique_tokens=len(train.tokens),
        train_text_sha256=train.text_sha256,
        epochs=seen / len(train.tokens),
        python=platform.python_version(),
        documents={
            name: list(one) for name, one in document_losses(model, documents, tokenizer).items()
        },
    )
    write_json(folder / FILE, asdict(evaluation))
    return evaluation


def kneser_ney_nats(train: Stream, held_out: Stream, *, vocab: int) -> float:
    """Held-out loss of the interpolated Kneser-Ney model counted on the same training tokens."""
    from pipeline.embedded.kneser_ney import KneserNey

    return KneserNey(train.tokens, vocab=vocab, order=NGRAM_ORDER).loss_nats(held_out.tokens)


def read_evaluation(folder: Path) -> Evaluation:
    """The stored numbers of a model folder.

    Raises UserError where the folder has none.
    """
    path = folder / FILE
    if not path.exists():
        raise UserError(
            f"{folder} has no {FILE}; a folder made by `python -m pipeline.embedded.pretrain "
            "--out FOLDER` has one: run that, or give such a folder."
        )
    return Evaluation(**json.loads(path.read_text()))
