"""Turns a validation error into text: where, what was given, what is allowed, what to do."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import StudyError, nearest

Model = TypeVar("Model", bound=BaseModel)
_MOST = 8


def validated(
    model: type[Model],
    data: Mapping[str, Any],
    origin: str,
    *,
    path: tuple[str, ...] = (),
    context: dict[str, Any] | None = None,
) -> Model:
    """`model` made of plain data; raises StudyError with one line per thing to mend.

    `origin` names the file, `path` the place of `data` in it; `context` is for its validators.
    """
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        # A key misspelt is often also a key missing: the offer of the right name comes first.
        found = sorted(error.errors(include_url=False), key=lambda e: e["type"] == "missing")
        lines = [_line(model, item, path) for item in found[:_MOST]]
        more = len(found) - len(lines)
        if more > 0:
            lines.append(f"... and {more} more.")
        prefix = f"{origin}: " if origin else ""
        each = [prefix + line for text in lines for line in text.splitlines()]
        raise StudyError("\n".join(each)) from error


def refuse(text: str) -> NoReturn:
    """Raises the error that a validator raises for a value it does not take."""
    raise ValueError(text)


def _line(model: type[BaseModel], error: Mapping[str, Any], path: tuple[str, ...]) -> str:
    cause = error.get("ctx", {}).get("error")
    location = tuple(str(part) for part in error["loc"])
    where = _joined(path + location)
    if isinstance(cause, StudyError):
        text = str(cause)
        return text if text.startswith("recipes.") else f"{where}: {text}"
    if error["type"] == "extra_forbidden":
        return _unknown_key(_model_at(model, error["loc"][:-1]), location[-1], where)
    if error["type"] == "missing":
        return f"{where} is missing{_meaning(model, error['loc'])}. Add it."
    if cause is not None:
        return f"{where or 'the study'}: {str(cause).rstrip('.')}."
    given, meaning = shown(error["input"]), _meaning(model, error["loc"])
    allowed = _allowed(model, error["loc"]) or _reworded(error["msg"])
    offer = _nearest(error["input"], _choices(model, error["loc"]))
    return f"{where}: {given} was given{meaning}.{offer} Allowed: {allowed}. Mend it."


def _reworded(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("a valid ")
    text = text.partition(", unable to parse")[0].replace("dictionary", "mapping of names")
    return "a whole number" if text == "integer" else text


def _unknown_key(owner: type[BaseModel] | None, key: str, where: str) -> str:
    names = list(owner.model_fields) if owner else []
    offer = _nearest(key, names)
    return f"{where}: unknown key {key!r}.{offer} Valid keys here: {', '.join(names)}."


def _nearest(given: object, names: Sequence[str]) -> str:
    """The sentence that offers the nearest name, behind a space; empty where none is near."""
    offer = nearest(given, names) if isinstance(given, str) else ""
    return f" {offer}" if offer else ""


def _meaning(model: type[BaseModel], location: tuple[Any, ...]) -> str:
    """What a field is, in brackets, from its description; empty when there is nothing."""
    owner = _model_at(model, location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner and location else None
    return f" ({field.description.rstrip('. ')})" if field and field.description else ""


def _allowed(model: type[BaseModel], location: tuple[Any, ...]) -> str:
    """The values a number or a choice may have, from the field's schema; else empty."""
    texts = [_choice(part) for part in _schemas(model, location)]
    return "" if "" in texts else " or ".join(texts)


def _choices(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The words among which a field chooses; none where it takes others, too."""
    parts = _schemas(model, location)
    return [value for part in parts for value in part.get("enum", []) if isinstance(value, str)]


def _schemas(model: type[BaseModel], location: tuple[Any, ...]) -> list[Mapping[str, Any]]:
    """The schema of each form that the field at a place may have; none where there is no field."""
    owner = _model_at(model, location[:-1])
    if owner is None or not location or str(location[-1]) not in owner.model_fields:
        return []
    field = owner.model_json_schema()["properties"][str(location[-1])]
    return field.get("anyOf", [field])


def _choice(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        return ", ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        inner = _choice(schema.get("items", {}))
        return f"a list, each item {inner}" if inner else ""
    kinds = {"integer": "a whole number", "number": "a number", "null": "null (left out)"}
    kinds |= {"boolean": "true or false", "string": "a text"}
    text = kinds.get(schema.get("type", ""), "")
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if key in schema
    ]
    return f"{text} {' and '.join(bounds)}".rstrip() if text else ""


def _model_at(model: type[BaseModel], location: tuple[Any, ...]) -> type[BaseModel] | None:
    """The model class at a place inside `model`, through mappings, lists and unions."""
    current: Any = model
    for part in location:
        current = _inside(current, str(part))
    return current if _is_model(current) else None


def _inside(annotation: Any, part: str) -> Any:
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (dict, list, tuple) and arguments:
        return arguments[-1]
    found = (_inside(argument, part) for argument in arguments)
    return next((value for value in found if value is not None), None)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _joined(parts: tuple[str, ...]) -> str:
    return ".".join(part for part in parts if part)


def shown(value: Any) -> str:
    """A value as a study file would have it, cut short where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
