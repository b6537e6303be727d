"""A study of examples/ as a page shows it: question, notes, the settings its arms differ in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.study.config import Study
from pipeline.study.read import load_study
from pipeline.study.yaml_text import read_yaml

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Example:
    """A study file: its path from the repository's root, first paragraph, others, and study."""

    path: str
    question: str
    notes: tuple[str, ...]
    study: Study

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem

    @property
    def command(self) -> str:
        """What runs it."""
        return f"sae run {self.path}"


def read_example(path: str) -> Example:
    """The study of a path from the repository's root; raises StudyError for what is none."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.split("\nstudy:")[0].splitlines()
    told = [line[1:] for line in lines if line.startswith("#")]
    # Lines that stand further in are commands, which a page gives by itself.
    kept = "\n".join("" if re.match(r" {3,}\S", line) else line.strip() for line in told)
    first, *others = [" ".join(part.split()) for part in re.split(r"\n{2,}", kept) if part.strip()]
    return Example(path, first, tuple(others), load_study(ROOT / path))


def arms(example: Example) -> tuple[str, list[dict[str, str]]]:
    """What all arms have in common as text, and a row per arm of the settings that differ.

    Arms are recipes; where the study has several models, these stand before them.
    """
    whole = read_yaml((ROOT / example.path).read_text(encoding="utf-8"), example.path)
    recipes, models = whole["recipes"], {n: _flat(m) for n, m in whole["models"].items()}
    shared, rows = _compared(recipes, "recipe")
    if len(models) > 1:
        shared_models, model_rows = _compared(models, "model")
        shared, rows = {**shared_models, **shared}, [*model_rows, *rows]
    return ", ".join(f"{name} {value}" for name, value in shared.items()), rows


def _compared(
    settings: Mapping[str, Mapping[str, Any]], kind: str
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    names = list(dict.fromkeys(name for one in settings.values() for name in one))
    values = {name: [str(one.get(name, "")) for one in settings.values()] for name in names}
    differ = [name for name in names if len(set(values[name])) > 1]
    rows = [
        {"arm": f"{kind} `{arm}`"} | {"settings": ", ".join(_told(one, differ)) or "as it is"}
        for arm, one in settings.items()
    ]
    return {name: values[name][0] for name in names if name not in differ}, rows


def _told(one: Mapping[str, Any], names: list[str]) -> list[str]:
    return [f"{name} {one[name]}" for name in names if name in one]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sections within settings as `section.name`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": deeper for inner, deeper in _flat(value).items()}
        else:
            found[name] = value
    return found
