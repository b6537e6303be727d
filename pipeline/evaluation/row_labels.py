"""Labels of packed held-out rows: each document's spans of characters, brought to its tokens.

They are made once per text, labeller and choice of rows, and kept beside the packed corpus.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from pipeline.atomic import write_bytes
from pipeline.corpus.pack import separators
from pipeline.corpus.read import held_out_texts
from pipeline.errors import CheckpointError, StoreError, UserError
from pipeline.evaluation.held_out import SPLIT, HeldOut
from pipeline.hashing import content_hash, short
from pipeline.labels import labeller, labels_version
from pipeline.labels.labeller import Labeller, token_labels
from pipeline.language_model.load import load_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.corpus.packed import PackedCorpus
    from pipeline.study.config import EvaluationConfig, ModelConfig

VERSION = 1


@dataclass(frozen=True)
class RowLabels:
    """Labels (r, t, L) bool of packed rows as they were packed, by `names` (L,).

    `known` (r, t): tokens of documents that the labeller could read; separators are not. `left_out`
    counts the documents that it could not.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    known: np.ndarray
    left_out: int


def row_labels(
    corpus: PackedCorpus, model: ModelConfig, part: HeldOut, settings: EvaluationConfig
) -> RowLabels:
    """The labels of held-out rows, read where they lie or made and kept.

    Raises UserError for a tokenizer that tells no offsets or a file of labels that is not right,
    StoreError where the text is not the one that was packed, CheckpointError for a damaged file.
    """
    key = [
        VERSION,
        labels_version(settings.labels, model.corpus.kind),
        hashlib.sha256(part.packed_rows.astype("<i8").tobytes()).hexdigest(),
    ]
    path = corpus.path / f"labels-{short(content_hash(key))}.npz"
    if path.exists():
        return _read(path)
    found = _made(corpus, model, part, labeller(settings.labels, model.corpus.kind))
    _write(path, found)
    return found


def _made(corpus: PackedCorpus, model: ModelConfig, part: HeldOut, chosen: Labeller) -> RowLabels:
    tokenizer = load_tokenizer(model)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {model.path!r} does not say where its tokens lie in the text, which "
            "labels need. Convert it to a fast tokenizer, or set evaluation.probe_tokens to 0."
        )
    first, _ = separators(tokenizer)
    shift = int(first is not None)
    starts, names = corpus.stream_starts(SPLIT), corpus.document_names(SPLIT)
    wanted = {names[int(number)]: int(number) for number in part.documents}
    labels = np.zeros((*part.tokens.shape, len(chosen.labels)), dtype=bool)
    known = np.zeros(part.tokens.shape, dtype=bool)
    packed = np.stack(list(_packed(corpus, part.packed_rows)))
    stream = part.packed_rows[:, None] * (corpus.context - shift) + np.arange(corpus.context)
    stream -= shift
    left_out = 0
    for document in held_out_texts(model.corpus, wanted):
        number = wanted.pop(document.name)
        encoded = tokenizer(
            document.text,
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
            verbose=False,
        )
        own = part.documents[part.document_index] == number
        at = stream - starts[number] - 1
        own &= at >= 0  # neither the separator nor the token that begins a row
        own[:, :shift] = False
        ids = np.asarray(encoded["input_ids"])
        if at[own].max(initial=-1) >= len(ids) or (ids[at[own]] != packed[own]).any():
            _changed(corpus, document.name)
        spans = chosen.spans(document)
        if spans is None:
            left_out += bool(own.any())
            continue
        mine = token_labels(document.text, encoded["offset_mapping"], spans, chosen.labels)
        labels[own], known[own] = mine[at[own]], True
    if wanted:
        _changed(corpus, next(iter(wanted)))
    return RowLabels(chosen.labels, labels, known, left_out)


def _packed(corpus: PackedCorpus, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The ids of rows as they were packed, whatever order the text is read in."""
    for row in rows.tolist():
        ids = corpus.tokens(SPLIT, row, row + 1)[0][0]
        restored = np.empty_like(ids)
        restored[corpus.packed_positions(SPLIT, row)] = ids
        yield restored


def _changed(corpus: PackedCorpus, name: str) -> None:
    raise StoreError(
        f"the held-out document {name!r} is not the text that was packed in {corpus.path}. Run the "
        "study again, which packs the text anew."
    )


def _write(path: Path, found: RowLabels) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        names=np.array(found.names, dtype=np.str_),
        labels=np.packbits(found.labels),
        shape=np.array(found.labels.shape),
        known=np.packbits(found.known),
        left_out=np.array(found.left_out),
    )
    write_bytes(path, buffer.getvalue())


def _read(path: Path) -> RowLabels:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            shape = tuple(file["shape"].tolist())
            known = np.unpackbits(file["known"], count=shape[0] * shape[1])
            labels = np.unpackbits(file["labels"], count=int(np.prod(shape)))
            return RowLabels(
                tuple(file["names"].tolist()),
                labels.reshape(shape).astype(bool),
                known.reshape(shape[:2]).astype(bool),
                int(file["left_out"]),
            )
    except (OSError, ValueError, KeyError, BadZipFile, EOFError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete this one file: the next evaluation labels "
            "the text again."
        ) from error
