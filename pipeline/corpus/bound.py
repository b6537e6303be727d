"""What is wrong with a corpus, as far as its files tell before it is packed.

How many tokens it can have at most is known from their sizes; what its documents look like, from
the first of them.
"""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from pipeline.corpus.read import corpus_files, read_documents
from pipeline.errors import StudyError
from pipeline.language_model.files import model_files
from pipeline.study.config import CorpusConfig, ModelConfig


def most_tokens(config: ModelConfig) -> int | None:
    """An upper bound of all splits' tokens; None where files' sizes prove none.

    A byte-level tokenizer makes at most one token of a byte, and one more where it puts a space
    before a document. Another tokenizer may lengthen the text first, a Parquet file is compressed
    and a hub's dataset lies elsewhere: they prove nothing.
    """
    sizes = _sizes(config.corpus)
    if sizes is None or not _is_byte_level(config):
        return None
    documents = len(sizes)
    if config.corpus.kind == "jsonl":
        # A line has at least two bytes that are no text: they count for the space.
        documents = 0
    return sum(sizes) + documents


def check_bound(name: str, config: ModelConfig) -> None:
    """Raises StudyError for files without text, and for a harvest budget that they cannot hold.

    Raises what reading the first document of local files raises, such as a text_field that it does
    not have.
    """
    sizes, wanted = _sizes(config.corpus), config.harvest.tokens
    if sizes is not None and sum(sizes) == 0:
        raise StudyError(
            f"the corpus of models.{name}, {config.corpus.path!r}, holds no text: its files are "
            "empty. Give files with text."
        )
    if config.corpus.path is not None:
        next(read_documents(config.corpus))
    most = None if wanted is None else most_tokens(config)
    if wanted is not None and most is not None and wanted > most:
        raise StudyError(
            f"models.{name}.harvest.tokens is {wanted:,}, but the text of its corpus holds fewer "
            f"than {most:,} tokens, the held-out ones among them. Lower the budget, leave it out "
            "for all train tokens, or give more text; SAEs with a larger budget read the rows "
            "several times."
        )


def _sizes(corpus: CorpusConfig) -> list[int] | None:
    if corpus.kind == "builtin":
        files = Path(sysconfig.get_path("stdlib")).rglob("*.py")
        return [path.stat().st_size for path in files if path.is_file()]
    if corpus.kind in ("text", "jsonl"):
        return [path.stat().st_size for _, path in corpus_files(corpus)]
    return None


def _is_byte_level(config: ModelConfig) -> bool:
    path = model_files(config).folder / "tokenizer.json"
    if not path.is_file():
        return False
    described = json.loads(path.read_text(encoding="utf-8"))
    steps = described.get("pre_tokenizer") or {}
    kinds = {step.get("type") for step in [steps, *steps.get("pretokenizers", [])]}
    return described.get("normalizer") is None and "ByteLevel" in kinds
