"""Labels from a user's file: JSON lines of documents, labels and spans of characters."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.corpus.documents import Document
from pipeline.errors import UserError
from pipeline.labels.labeller import Labeller, Span, Spans

VERSION = 1
_HOW = (
    'Each line is {"document": name, "label": name, "start": first character, "stop": the one '
    'after the last}; {"document": name} alone says that a document is labelled and has no label.'
)


def from_file(path: Path) -> Labeller:
    """The labeller of a file. Documents that it does not name are left out, not taken as negative.

    A document's name is the corpus': the path below its folder, or `file:row`, as in the packed
    corpus. Raises UserError where the file is missing or a line is not understood.
    """
    found: dict[str, dict[str, list[Span]]] = {}
    labels: set[str] = set()
    for number, line in enumerate(existing(str(path)).read_text("utf-8").splitlines(), start=1):
        if line.strip():
            document, label, span = _read(line, f"{path}, line {number}")
            mine = found.setdefault(document, {})
            if label is not None and span is not None:
                labels.add(label)
                mine.setdefault(label, []).append(span)
    if not labels:
        raise UserError(f"{path} holds no label. {_HOW}")

    def spans(document: Document) -> Spans | None:
        return found.get(document.name)

    return Labeller("file", VERSION, tuple(sorted(labels)), spans)


def existing(labels: str) -> Path:
    """The file of labels that a study names. Raises UserError where there is none."""
    path = Path(labels).expanduser()
    if not path.is_file():
        raise UserError(
            f"evaluation.labels is {labels!r}, but there is no such file. {_HOW} Or set it to "
            "'auto'."
        )
    return path


def _read(line: str, where: str) -> tuple[str, str | None, Span | None]:
    try:
        record = json.loads(line)
        document, label = record["document"], record.get("label")
        if label is None and set(record) == {"document"}:
            return str(document), None, None
        start, stop = int(record["start"]), int(record["stop"])
        if label is None or not 0 <= start < stop:
            raise ValueError(f"label {label!r}, start {start}, stop {stop}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} is no label ({error!r}). {_HOW}") from error
    return str(document), str(label), (start, stop)
