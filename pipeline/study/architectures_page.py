"""The documentation's page of architectures, generated from their modules and configurations."""

from __future__ import annotations

import inspect
import re
import types
import typing

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sae_core import architectures
from sae_core.config import SaeConfig

_INTRODUCTION = """# Architectures

Generated from `sae_core/architectures/` by `make docs`. In a study a recipe names one:
`recipes: {mine: {architecture: topk, n_latents: 4096, k: 32, tokens: 2_000_000}}`.

In all of them x (n, d) are activations, s one number with E‖s x‖² = d, z pre-activations (n, f), a
the code, x̂ the reconstruction, d_i the dictionary's rows. Weights of penalties, thresholds and
bandwidths are in units of s x. Each is compared with a second writing of its loss, for every
gradient, and has to recover known directions; `tests/sae_core/test_every_architecture.py`.
"""
_PARTS = ("Idea", "Formula", "Reference", "Ours differs")
_SIGNS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def architectures_page() -> str:
    """The page as Markdown: of each architecture idea, formula, reference, and its fields."""
    sections = [_section(name) for name in architectures.names()]
    shared = _table(SaeConfig.model_fields, without={"architecture"})
    return "\n".join([_INTRODUCTION, "## Fields of every architecture\n", shared, *sections])


def _section(name: str) -> str:
    config = architectures.config_class(name)
    text = inspect.getmodule(config).__doc__ or ""
    title, *parts = re.split(rf"^({'|'.join(_PARTS)}): ", text.strip(), flags=re.MULTILINE)
    named = zip(parts[::2], parts[1::2], strict=True)
    body = "\n\n".join(f"**{part}:** {_flowing(words)}" for part, words in named)
    own = {
        field: info
        for field, info in config.model_fields.items()
        if not _same(info, SaeConfig.model_fields.get(field))
    }
    fields = _table(own, without={"architecture"})
    return f"## {name}\n\n{_flowing(title)}\n\n{body}\n\n{fields}"


def _same(info: FieldInfo, shared: FieldInfo | None) -> bool:
    return shared is not None and (info.default, info.description) == (
        shared.default,
        shared.description,
    )


def _table(fields: dict[str, FieldInfo], *, without: set[str]) -> str:
    rows = [
        f"| `{name}` | {_default(info)} | {_allowed(info)} | {_flowing(info.description or '')} |"
        for name, info in fields.items()
        if name not in without
    ]
    if not rows:
        return "No fields of its own.\n"
    head = "| field | default | allowed | meaning |\n| --- | --- | --- | --- |"
    return "\n".join([head, *rows]) + "\n"


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "to be set"
    if isinstance(info.default, float):
        return f"{info.default:.4g}"
    return "none" if info.default is None else f"{info.default}".lower()


def _allowed(info: FieldInfo) -> str:
    choices = typing.get_args(info.annotation)
    if typing.get_origin(info.annotation) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in choices)
    union = typing.get_origin(info.annotation) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (choices if union else (info.annotation,)) if kind is not type(None)]
    bounds = [
        f"{words} {getattr(rule, sign):g}"
        for rule in info.metadata
        for sign, words in _SIGNS.items()
        if hasattr(rule, sign)
    ]
    text = " or ".join(_KINDS.get(kind, _flowing(str(kind))) for kind in kinds)
    return " ".join([text, *([", ".join(bounds)] if bounds else [])])


_KINDS = {int: "whole number", float: "number", bool: "true, false", str: "text"}


def _flowing(text: str) -> str:
    """Text as one paragraph, in which the formulas' stars and underscores stay themselves."""
    words = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(w if w.startswith("`") else re.sub(r"([*_<|])", r"\\\1", w) for w in words)
