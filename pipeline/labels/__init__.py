"""Labels of text: what is true of each character, known from the text alone.

Every file beside this one that has a LABELLER is found, so one file adds a labeller; in it, a label
is a function from a prepared text to spans of characters.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path

from pipeline.hashing import file_hash, short
from pipeline.labels.labeller import Labeller

AUTO = "auto"


@cache
def labellers() -> dict[str, Labeller]:
    """Every labeller by its name, sorted."""
    found: dict[str, Labeller] = {}
    for module in pkgutil.iter_modules(__path__):
        one = getattr(importlib.import_module(f"{__name__}.{module.name}"), "LABELLER", None)
        if one is not None:
            found[one.name] = one
    return dict(sorted(found.items()))


def is_file(labels: str) -> bool:
    """Whether a study's `evaluation.labels` names a file."""
    return labels.startswith((".", "/", "~"))


def chosen(labels: str, corpus_kind: str) -> str:
    """What `evaluation.labels` means for a corpus: `auto` is python for builtin, else lexical."""
    if labels != AUTO:
        return labels
    return "python" if corpus_kind == "builtin" else "lexical"


def labels_version(labels: str, corpus_kind: str) -> str:
    """A text that changes when labels may; of a file, its content. Cheap."""
    name = chosen(labels, corpus_kind)
    if is_file(name):
        from pipeline.labels.label_file import VERSION, existing

        return f"file {VERSION} {short(file_hash(existing(name)))}"
    return f"{name} {labellers()[name].version}"


def labeller(labels: str, corpus_kind: str) -> Labeller:
    """The labeller of a study's `evaluation.labels` for a corpus.

    Raises UserError for a file that is not there or no file of labels.
    """
    name = chosen(labels, corpus_kind)
    if is_file(name):
        from pipeline.labels.label_file import from_file

        return from_file(Path(name))
    return labellers()[name]
