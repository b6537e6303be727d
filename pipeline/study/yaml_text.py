"""Reading YAML: plain data only, no key twice, errors with line and column."""

from __future__ import annotations

import re
from typing import Any

import yaml

from pipeline.errors import StudyError

# YAML 1.1 takes 1e6 for a text; people mean a number.
_EXPONENT = ("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"))


def read_yaml(text: str, origin: str) -> dict[str, Any]:
    """The mapping a YAML text holds; raises StudyError that names line and column."""
    try:
        # The loader is a subclass of SafeLoader: it makes plain data and nothing else.
        data = yaml.load(text, Loader=_UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or error.context
        raise StudyError(f"{origin}{where}: this is not valid YAML: {problem}. Mend it.") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{origin}: this is not valid YAML: {error}. Mend it.") from error
    if not isinstance(data, dict):
        given = "nothing" if data is None else f"a {type(data).__name__}"
        raise StudyError(
            f"{origin}: a study is a mapping of keys such as 'study:' and 'models:'; the file "
            f"holds {given}. `sae init` writes one to start from."
        )
    return data


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice: YAML itself would silently keep the last."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        **yaml.SafeLoader.yaml_implicit_resolvers,
        **{
            first: [*yaml.SafeLoader.yaml_implicit_resolvers.get(first, ()), _EXPONENT]
            for first in "-+0123456789"
        },
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            if isinstance(key, (str, int, float, bool)):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)
