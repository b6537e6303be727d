"""Make the embedded model again: `python -m pipeline.embedded.pretrain --out FOLDER`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.atomic import sweep_leftovers, write_json
from pipeline.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from pipeline.embedded.text import Stream
    from pipeline.embedded.trainer import Settings, Trainer

TOKENS = 35_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Tokenizer, training, curve, evaluation and card; resumes where the folder's state stands."""
    options = _parse(arguments)
    options.workdir.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(options.workdir)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch

    torch.set_num_threads(options.threads)
    tokenizer, train, held_out = prepare(options.workdir)
    settings = settings_for(
        options.tokens, rows=options.rows, seed=options.seed, precision=options.precision
    )
    refuse_other_run(options.workdir, settings, train)
    print(f"{len(train.tokens):,} train tokens, {len(held_out.tokens):,} held out", flush=True)
    from pipeline.embedded.trainer import Trainer

    trainer = Trainer(
        settings,
        options.workdir,
        train=train.tokens,
        held_out=held_out.tokens,
        say=lambda line: print(line, flush=True),
    )
    rows = trainer.run()
    export(trainer, tokenizer, folder=options.out, rows=rows)
    from pipeline.embedded.card import write_card
    from pipeline.embedded.evaluation import write_evaluation

    write_evaluation(options.out, seen=rows[-1]["tokens"], train=train, held_out=held_out)
    write_card(options.out)


def prepare(workdir: Path) -> tuple[PreTrainedTokenizerFast, Stream, Stream]:
    """The tokenizer (trained once, then read from workdir), the train and the held-out stream."""
    from transformers import AutoTokenizer

    from pipeline.embedded.text import builtin_split, stream
    from pipeline.embedded.tokenizer import train_tokenizer

    folder = workdir / "tokenizer"
    train = builtin_split("train")
    if not (folder / "tokenizer_config.json").exists():
        train_tokenizer(document.text for document in train).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer, stream(train, tokenizer), stream(builtin_split("held_out"), tokenizer)


def settings_for(tokens: int, *, rows: int, seed: int, precision: str) -> Settings:
    """Settings whose last model has seen `tokens` tokens, its decay included."""
    from pipeline.embedded.schedule import Schedule
    from pipeline.embedded.tokenizer import CONTEXT
    from pipeline.embedded.trainer import Settings

    batches = tokens // (rows * CONTEXT)
    schedule = Schedule(batches=batches, first_point=max(1, batches // 130))
    return Settings(schedule=schedule, rows=rows, seed=seed, precision=precision)


def refuse_other_run(workdir: Path, settings: Settings, train: Stream) -> None:
    """Raise UserError where workdir holds another run's state: other settings or other text."""
    wanted = {**asdict(settings), "text_sha256": train.text_sha256}
    path = workdir / "run.json"
    if not path.exists():
        write_json(path, wanted)
        return
    found = json.loads(path.read_text())
    differing = sorted(key for key in wanted if found.get(key) != wanted[key])
    if differing:
        raise UserError(
            f"{workdir} holds a run with other {', '.join(differing)}: resume with the same "
            "options on the same Python, or give another --workdir."
        )


def export(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerFast,
    *,
    folder: Path,
    rows: list[dict[str, float]],
) -> None:
    """Write model, tokenizer and curve to a folder that the usual loaders read."""
    trainer.model.float().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    write_json(folder / "pretraining_curve.json", rows)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.embedded.pretrain", description=main.__doc__
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder that receives the finished model")
    add("--workdir", type=Path, default=Path(".pretrain"), help="checkpoints; resumed where found")
    add("--tokens", type=int, default=TOKENS, help="tokens the final model sees")
    add("--rows", type=int, default=16, help="rows of 256 tokens in a batch")
    add("--seed", type=int, default=0, help="initialisation and data order")
    add("--threads", type=int, default=2, help="CPU threads; bits are equal only at equal threads")
    add("--precision", choices=("bf16", "fp32"), default="bf16", help="of the matrix products")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
