"""The corpus that is always there: the running Python's standard library."""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from pipeline.corpus.documents import Document, corpus_hash, split_of

__all__ = [
    "builtin_documents",
    "corpus_hash",
    "held_out_documents",
    "is_table",
    "shingle_overlap",
    "shingles",
    "without_overlap",
]

SHINGLE_LINES = 5

# Folders that hold other people's packages, generated files, or text that is broken on purpose.
_SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__", "lib-dynload"})
_SKIPPED_PREFIXES = (
    "lib2to3/tests/data/",
    "test/test_lib2to3/data/",
    "config-",
    "_sysconfigdata",
    "sitecustomize",
)

# Tables kept as Python source: the codecs' maps, the help texts, the named characters.
_TABLE_PREFIXES = ("encodings/", "pydoc_data/", "html/entities.py")
# Above this share of characters inside numbers and escapes, a file is a table, not a program.
_TABLE_SHARE = 0.25
_NUMBERS_AND_ESCAPES = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[0-7]{1,3})"
    r"|\b0[xX][0-9a-fA-F_]+|\b\d[\d_.]*|\b[0-9a-fA-F]{8,}\b"
)


def builtin_documents(root: Path | None = None) -> Iterator[Document]:
    """The standard library's Python files as documents, sorted by name.

    Left out: installed packages, generated configuration, files that are not utf-8, empty
    files, tables (`is_table`). Lines that a train or calibration file shares with a held-out
    file are removed from it (`without_overlap`); what has lost more than half of its lines
    is dropped whole.

    root: the folder to read instead of the running Python's standard library.
    Raises ValueError where the folder holds no Python source.
    """
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    documents = list(_read_sources(root))
    if not documents:
        raise ValueError(
            f"{root} holds no Python source; the builtin corpus needs a Python whose standard "
            "library lies there as *.py files: use another Python, or a local text corpus."
        )
    yield from without_overlap(documents)


def held_out_documents(names: Collection[str], root: Path | None = None) -> Iterator[Document]:
    """Held-out files of the standard library by name, sorted: much quicker than all of it.

    They are the documents of that name in `builtin_documents`, which cuts train and calibration
    files only.
    """
    root = Path(sysconfig.get_path("stdlib")) if root is None else root
    yield from _read_sources(root, names)


def is_table(name: str, text: str) -> bool:
    """True where a file is a table written as Python: named as one, or mostly numbers.

    share = characters inside numbers and escapes / characters that are not blank; a table
    where share > 0.25.
    """
    if name.startswith(_TABLE_PREFIXES):
        return True
    inside = sum(len(match) for match in _NUMBERS_AND_ESCAPES.findall(text))
    return inside > _TABLE_SHARE * max(1, len(text) - sum(map(text.count, " \n\t")))


def shingles(text: str) -> set[str]:
    """Every run of 5 consecutive non-empty lines, stripped, joined by newlines."""
    lines = [line for _, line in _solid_lines(text)]
    return {_shingle(lines, start) for start in range(len(lines) - SHINGLE_LINES + 1)}


def shingle_overlap(train: Iterable[Document], held_out: Iterable[Document]) -> float:
    """Share of the held-out documents' distinct shingles that occur in train, in [0, 1]."""
    judged: set[str] = set().union(*(shingles(document.text) for document in held_out))
    seen: set[str] = set()
    for document in train:
        seen |= shingles(document.text) & judged
    return len(seen) / max(1, len(judged))


def without_overlap(documents: list[Document]) -> Iterator[Document]:
    """The documents in order, train and calibration cleared of what held-out files contain.

    Cutting brings lines together that were apart, so a document is cut until nothing is found.
    """
    held_out = [d for d in documents if split_of(d.name) == "held_out"]
    forbidden: set[str] = set().union(*(shingles(document.text) for document in held_out))
    for document in documents:
        if split_of(document.name) == "held_out":
            yield document
            continue
        text = _cleared(document.text, forbidden)
        if 2 * len(_solid_lines(text)) >= len(_solid_lines(document.text)):
            yield Document(document.name, text)


def _cleared(text: str, forbidden: set[str]) -> str:
    while True:
        solid = _solid_lines(text)
        lines = [line for _, line in solid]
        shared: set[int] = set()
        for start in range(len(lines) - SHINGLE_LINES + 1):
            if _shingle(lines, start) in forbidden:
                shared.update(solid[start + i][0] for i in range(SHINGLE_LINES))
        if not shared:
            return text
        kept = [
            line
            for number, line in enumerate(text.splitlines(keepends=True))
            if number not in shared
        ]
        text = "".join(kept)


def _solid_lines(text: str) -> list[tuple[int, str]]:
    stripped = ((number, line.strip()) for number, line in enumerate(text.splitlines()))
    return [(number, line) for number, line in stripped if line]


def _shingle(lines: list[str], start: int) -> str:
    return "\n".join(lines[start : start + SHINGLE_LINES])


def _read_sources(root: Path, names: Collection[str] | None = None) -> Iterator[Document]:
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    for name in sorted(paths if names is None else paths.keys() & set(names)):
        if _SKIPPED_FOLDERS.intersection(name.split("/")) or name.startswith(_SKIPPED_PREFIXES):
            continue
        if paths[name].is_symlink() or not paths[name].is_file():
            continue
        try:
            text = paths[name].read_bytes().decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError:
            continue
        if text.strip() and not is_table(name, text):
            yield Document(name, text)
