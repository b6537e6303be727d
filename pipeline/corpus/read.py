"""Documents of a corpus, whatever they come from, in an order that does not change."""

from __future__ import annotations

import glob
import json
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.corpus.documents import Document
from pipeline.errors import UserError
from pipeline.hashing import content_hash
from pipeline.study.config import CorpusConfig

_SUFFIXES = {"text": ("*.txt",), "jsonl": ("*.jsonl", "*.json"), "parquet": ("*.parquet",)}
_WILD = frozenset("*?[")


def read_documents(config: CorpusConfig) -> Iterator[Document]:
    """The documents of a corpus, empty ones left out, at most max_documents of them.

    text: a file, a folder (its *.txt, at any depth) or a glob; a document is a file, named by
    its path below the folder. jsonl, parquet: the same with *.jsonl or *.parquet; a document is a
    row, named `file:row` from 0. hf: rows of a dataset on the hub, or of a folder that holds one as
    the hub does or as `save_to_disk` wrote it, named `dataset:row`.

    Raises UserError where there is no text, or a file cannot be read as what it should be.
    """
    read = (d for d in _READERS[config.kind](config) if d.text.strip())
    documents = islice(read, config.max_documents)
    first = next(documents, None)
    if first is None:
        where = config.path or config.dataset or config.kind
        raise UserError(
            f"the corpus {where!r} (kind {config.kind}) holds no text: every document is empty. "
            "Check the path, and text_field where documents have fields."
        )
    yield first
    yield from documents


def held_out_texts(config: CorpusConfig, names: Collection[str]) -> Iterator[Document]:
    """The held-out documents of these names, in the order in which they are read."""
    if config.kind == "builtin":
        from pipeline.corpus.builtin import held_out_documents

        yield from held_out_documents(names)
        return
    wanted = set(names)
    yield from (document for document in read_documents(config) if document.name in wanted)


def fingerprint(config: CorpusConfig) -> str:
    """A hash that changes when the corpus may have changed: names, sizes and dates of its files.

    For the builtin corpus the Python and its folder stand for the files; a dataset of the hub is
    taken to stay as it is, one that lies here is not.
    """
    state: list[Any] = [config.model_dump(mode="json")]
    if config.kind == "builtin":
        state += [sys.version, sysconfig.get_path("stdlib")]
    else:
        files = corpus_files(config) if config.kind != "hf" else _dataset_files(config)
        for name, path in files:
            status = path.stat()
            state.append([name, status.st_size, status.st_mtime_ns])
    return content_hash(state)


def _dataset_files(config: CorpusConfig) -> list[tuple[str, Path]]:
    folder = Path(config.dataset or "")
    if not folder.is_dir():
        return []
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in files)


def _builtin(config: CorpusConfig) -> Iterator[Document]:
    from pipeline.corpus.builtin import builtin_documents

    return builtin_documents()


def _text(config: CorpusConfig) -> Iterator[Document]:
    for name, path in corpus_files(config):
        yield Document(name, _decoded(path, path.read_bytes()))


def _jsonl(config: CorpusConfig) -> Iterator[Document]:
    for name, path in corpus_files(config):
        with path.open("rb") as file:
            for row, raw in enumerate(file):
                if raw.strip():
                    yield Document(f"{name}:{row}", _json_text(config, path, row=row, raw=raw))


def _json_text(config: CorpusConfig, path: Path, *, row: int, raw: bytes) -> str:
    line = f"{path}, line {row + 1}"
    try:
        record = json.loads(_decoded(path, raw))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{line}: not JSON ({error.msg}). A jsonl file holds one JSON object per line."
        ) from error
    if not isinstance(record, dict):
        raise UserError(
            f"{line}: a {type(record).__name__}, not an object. Each line of a jsonl file is an "
            f"object whose field {config.text_field!r} holds the text."
        )
    return _field(record.get(config.text_field), sorted(record), config=config, where=line)


def _parquet(config: CorpusConfig) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, path in corpus_files(config):
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                if config.text_field not in names:
                    _field(None, names, config=config, where=str(path))
                row = 0
                for batch in file.iter_batches(batch_size=1024, columns=[config.text_field]):
                    for value in batch.column(0).to_pylist():
                        text = "" if value is None else value
                        where = f"{path}, row {row}"
                        yield Document(
                            f"{name}:{row}", _field(text, names, config=config, where=where)
                        )
                        row += 1
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{path} cannot be read as Parquet ({error}). Write it again, or set the kind "
                "that fits."
            ) from error


def _hub_dataset(config: CorpusConfig) -> Iterator[Document]:
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "a corpus of kind 'hf' needs the package 'datasets', which is not installed. Install "
            "it with: make datasets. Local files need no such package: kinds text, jsonl, parquet."
        ) from error
    folder = Path(config.dataset or "")
    try:
        if (folder / "state.json").is_file():
            rows = datasets.load_from_disk(str(folder))
        elif (folder / "dataset_dict.json").is_file():
            rows = datasets.load_from_disk(str(folder / config.dataset_split))
        else:
            rows = datasets.load_dataset(
                config.dataset,
                config.dataset_config,
                split=config.dataset_split,
                streaming=config.max_documents is not None,
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"the dataset {config.dataset!r} (config {config.dataset_config}, split "
            f"{config.dataset_split!r}) cannot be loaded: {error}. Check its name, config and "
            "split, the network, and HF_TOKEN for a gated one."
        ) from error
    # A document's name decides its split: it must not depend on where a folder lies.
    name = folder.name if folder.is_dir() else config.dataset
    for row, record in enumerate(rows):
        where = f"{config.dataset}, row {row}"
        text = _field(record.get(config.text_field), sorted(record), config=config, where=where)
        yield Document(f"{name}:{row}", text)


_READERS: dict[str, Callable[[CorpusConfig], Iterator[Document]]] = {
    "builtin": _builtin,
    "text": _text,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "hf": _hub_dataset,
}


def _field(value: object, names: list[str], *, config: CorpusConfig, where: str) -> str:
    if isinstance(value, str):
        return value
    if config.text_field in names:
        raise UserError(
            f"{where}: field {config.text_field!r} holds a {type(value).__name__}, not text. "
            "Set text_field to a field that holds text, or mend the row."
        )
    raise UserError(
        f"{where}: there is no field {config.text_field!r}; its fields: "
        f"{', '.join(names) or 'none'}. Set text_field to the one that holds the text."
    )


def _decoded(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not utf-8 (byte {error.start}: {raw[error.start : error.start + 4].hex()}"
            f"). Convert it, for instance: iconv -f latin1 -t utf-8 {path.name} > new.txt; or "
            "leave it out with a narrower path."
        ) from error


def corpus_files(config: CorpusConfig) -> list[tuple[str, Path]]:
    """The corpus' files with their names below the given folder, sorted by name."""
    given = str(Path(config.path or "").expanduser())
    folder, patterns = Path(given), _SUFFIXES[config.kind]
    if folder.is_file():
        return [(folder.name, folder)]
    if folder.is_dir():
        found = [path for pattern in patterns for path in folder.rglob(pattern)]
    else:
        folder = Path(*_before_wildcards(Path(given)))
        found = (
            [Path(path) for path in glob.glob(given, recursive=True)] if _WILD & set(given) else []
        )
    files = sorted((p.relative_to(folder).as_posix(), p) for p in set(found) if p.is_file())
    if not files:
        raise UserError(
            f"the corpus path {config.path!r} (kind {config.kind}) leads to no file. Give a file, "
            f"a folder that holds {' or '.join(patterns)}, or a glob such as 'notes/**/*.md'."
        )
    return files


def _before_wildcards(path: Path) -> Iterator[str]:
    for part in path.parts:
        if _WILD & set(part):
            return
        yield part
