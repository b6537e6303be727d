"""Packing a corpus: documents become full rows of tokens, split by document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import atomic
from pipeline.corpus.documents import Document, corpus_hash, split_of
from pipeline.corpus.one_look import found
from pipeline.corpus.packed import DOCUMENTS, MANIFEST, SPLITS, PackedCorpus
from pipeline.corpus.read import fingerprint, read_documents
from pipeline.corpus.split_rows import SplitRows
from pipeline.errors import UserError
from pipeline.hashing import content_hash, short
from pipeline.language_model.files import model_files, tokenizer_hash
from pipeline.language_model.load import load_tokenizer, special_ids
from pipeline.progress import Progress, Report, silent
from pipeline.study.config import ModelConfig
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

__all__ = ["VERSION", "PackedCorpus", "open_corpus", "pack_corpus", "separators"]

VERSION = 1
_BATCH = 64
_COLUMNS = ("document", "name", "split", "n_tokens", "n_bytes")


def open_corpus(workspace: Workspace, name: str, config: ModelConfig) -> PackedCorpus | None:
    """The packed corpus of a model where it exists and its text has not changed since.

    Cheap: looks at names, sizes and dates of the text's files, once per command (see `one_look`).
    None where it must be packed.
    """
    known, wanted = found(), f"{workspace.root} {name} {config.model_dump_json()}"
    if wanted not in known:
        mark = _mark(config)
        for folder in sorted(workspace.corpus.glob(f"{name}.*")):
            if (folder / mark).is_file() and (folder / MANIFEST).is_file():
                known[wanted] = PackedCorpus.read(folder)
                break
    return known.get(wanted)


def pack_corpus(
    workspace: Workspace, name: str, config: ModelConfig, *, report: Report = silent
) -> PackedCorpus:
    """The packed corpus of a model, made where it does not exist yet.

    Each split's documents follow one another, a separator token before each, cut into rows of
    `context` tokens; what does not fill a row at the end is left out. The separator is the token
    that the tokenizer itself puts first, else its end-of-text token; where the tokenizer puts a
    token first, every row begins with it. Special tokens written out in a text are packed as
    plain text. Documents are taken until max_tokens is reached: in the order of the files and rows,
    the builtin corpus in an order drawn from hashes of the names.

    hash = content hash of the text, the corpus settings, the tokenizer, the context and VERSION.

    Raises UserError where the corpus holds no text, or a split does not fill one row.
    """
    existing = open_corpus(workspace, name, config)
    if existing is not None:
        return existing
    mark = _mark(config)
    commit = model_files(config).commit
    if commit is not None and config.revision != commit:
        note = f"{config.path} stays at commit {commit}; write it as revision to say so"
        report(Progress("corpus", 0, 1, "documents", note))
    corpus = _Text(config)
    identity = content_hash(
        {
            "text": corpus.hash(report),
            "settings": config.corpus.model_dump(
                mode="json", include={"max_tokens", "held_out_share", "calibration_share"}
            ),
            "tokenizer": tokenizer_hash(config),
            "context": config.context,
            "version": VERSION,
        }
    )
    folder = workspace.corpus / f"{name}.{short(identity)}"
    if not (folder / MANIFEST).is_file():
        _write(folder, identity, config=config, corpus=corpus, report=report)
    atomic.write_json(folder / mark, {})
    return PackedCorpus.read(folder)


def _mark(config: ModelConfig) -> str:
    state = [fingerprint(config.corpus), tokenizer_hash(config), config.context, VERSION]
    return f"packed-{short(content_hash(state))}.json"


class _Text:
    """A corpus that is read twice: to be named by its hash, and to be packed."""

    def __init__(self, config: ModelConfig) -> None:
        self._config = config.corpus
        # Cleaning the builtin corpus costs more than holding its text; and where max_tokens cuts
        # it, what is left should be all of the library, not the letter a.
        builtin = config.corpus.kind == "builtin"
        self._held = sorted(read_documents(config.corpus), key=_drawn) if builtin else []
        self.n_documents = len(self._held)

    def documents(self) -> Iterable[Document]:
        return self._held or read_documents(self._config)

    def hash(self, report: Report) -> str:
        def counted() -> Iterator[Document]:
            self.n_documents = 0
            for document in self.documents():
                self.n_documents += 1
                if self.n_documents % 1000 == 0:
                    note = f"reading {document.name}"
                    report(Progress("corpus", 0, self.n_documents, "documents", note))
                yield document

        return corpus_hash(counted())


def _drawn(document: Document) -> bytes:
    """An order without meaning, independent of the split, which hashes the bare name."""
    return hashlib.sha256(f"order {document.name}".encode()).digest()


def _write(
    folder: Path, identity: str, *, config: ModelConfig, corpus: _Text, report: Report
) -> None:
    tokenizer = load_tokenizer(config)
    special = special_ids(tokenizer)
    first, separator = separators(tokenizer)
    table: dict[str, list[Any]] = {column: [] for column in _COLUMNS}
    with ExitStack() as files:
        rows = {
            split: files.enter_context(
                SplitRows(folder / f"{split}.parquet", config.context, special=special, first=first)
            )
            for split in SPLITS
        }
        total = 0
        for number, (document, ids) in enumerate(_tokenised(tokenizer, corpus.documents())):
            split = _split(config, document.name)
            rows[split].add(number, np.concatenate([[separator], ids]))
            total += len(ids)
            described = (number, document.name, split, len(ids), len(document.text.encode()))
            for column, value in zip(table.values(), described, strict=True):
                column.append(value)
            if number % _BATCH == 0:
                note = f"{total:,} tokens"
                report(Progress("corpus", number, corpus.n_documents, "documents", note))
            if config.corpus.max_tokens is not None and total >= config.corpus.max_tokens:
                break
        _check_filled(config, table, rows)
    done = len(table["name"])
    report(Progress("corpus", done, done, "documents", f"{total:,} tokens"))
    with atomic.writing(folder / DOCUMENTS) as path:
        pq.write_table(pa.table(table), path, compression="zstd")
    splits = {split: {"rows": r.n_rows, "tokens": r.n_tokens} for split, r in rows.items()}
    atomic.write_json(
        folder / MANIFEST,
        _manifest(config, tokenizer, separator=separator)
        | {"hash": identity, "special_ids": sorted(special), "splits": splits},
    )


def _manifest(
    config: ModelConfig, tokenizer: PreTrainedTokenizerBase, *, separator: int
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "context": config.context,
        "separator": separator,
        "vocab_size": len(tokenizer),
        "model": config.path,
        "commit": model_files(config).commit,
        "corpus": config.corpus.model_dump(mode="json"),
    }


def _split(config: ModelConfig, name: str) -> str:
    return split_of(
        name,
        config.corpus.held_out_share,
        calibration_share=config.corpus.calibration_share,
    )


def _tokenised(
    tokenizer: PreTrainedTokenizerBase, documents: Iterable[Document]
) -> Iterator[tuple[Document, np.ndarray]]:
    waiting = iter(documents)
    while batch := list(islice(waiting, _BATCH)):
        encoded = tokenizer(
            [document.text for document in batch],
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        for document, ids in zip(batch, encoded["input_ids"], strict=True):
            if ids:
                yield document, np.asarray(ids, np.int32)


def separators(tokenizer: PreTrainedTokenizerBase) -> tuple[int | None, int]:
    """The token that the tokenizer puts first by itself, if any, and the one between documents."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    if tokenizer.bos_token_id is not None and dressed[: -len(bare)][:1] == [tokenizer.bos_token_id]:
        return tokenizer.bos_token_id, tokenizer.bos_token_id
    for separator in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.sep_token_id):
        if separator is not None:
            return None, separator
    raise UserError(
        "the tokenizer has neither an end-of-text, a begin-of-text nor a separator token: "
        "documents cannot be told apart. Set its eos_token and save it again."
    )


def _check_filled(
    config: ModelConfig, table: dict[str, list[Any]], rows: dict[str, SplitRows]
) -> None:
    for split in SPLITS:
        if rows[split].filled() == 0:
            n_documents = table["split"].count(split)
            cut = config.corpus.max_tokens
            more = f"Raise max_tokens, which is {cut:,}, give" if cut else "Give"
            raise UserError(
                f"the corpus has {len(table['split'])} documents with {sum(table['n_tokens']):,} "
                f"tokens; its {split} split got {n_documents} of them, which do not fill one row "
                f"of {config.context} tokens. {more} more or smaller documents, raise "
                f"held_out_share or calibration_share, or lower context."
            )
