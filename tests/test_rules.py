"""The house rules that a machine can read off the source."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("assets", "pipeline", "sae_core", "kernels/sae_kernels")
MAX_FILE, MAX_FUNCTION = 300, 50
HOT = (
    "kernels/sae_kernels",
    "sae_core/accumulation.py",
    "sae_core/engine.py",
    "sae_core/optim.py",
    "sae_core/reconstruction.py",
    "sae_core/resampling.py",
    "sae_core/trainee.py",
    "sae_core/training_context.py",
    "sae_core/weight_average.py",
)
HOST_CALLS = {"item", "cpu", "tolist", "numpy"}
COLD_CALLS = {"print", "open", "input", "breakpoint"}
DRAWERS = {"utils", "helpers", "common", "misc", "base", "managers"}


def sources() -> list[Path]:
    return [path for place in PACKAGES for path in sorted((ROOT / place).rglob("*.py"))]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_files_stay_under_the_budget() -> None:
    long = {name(p): n for p in sources() if (n := len(p.read_text().splitlines())) > MAX_FILE}
    assert not long


def test_functions_stay_under_the_budget() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name} {length}"
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_no_drawers() -> None:
    assert not [name(p) for p in sources() if p.stem in DRAWERS or p.parent.name in DRAWERS]


def host_syncs(tree: ast.AST) -> list[str]:
    """Calls that print, read files or make the device wait, as `line name`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = node.func
            if isinstance(call, ast.Attribute) and call.attr in HOST_CALLS:
                found.append(f"{node.lineno} .{call.attr}()")
            if isinstance(call, ast.Name) and call.id in COLD_CALLS:
                found.append(f"{node.lineno} {call.id}()")
    return found


def test_the_hot_path_neither_prints_nor_syncs() -> None:
    hot = [p for p in sources() if any(name(p).startswith(h) for h in HOT)]
    assert len(hot) > 5
    bad = [f"{name(p)}:{call}" for p in hot for call in host_syncs(parsed(p))]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("line", ["x.item()", "print(x)", "x.detach().cpu()"])
def test_a_planted_sync_is_found(line: str) -> None:
    assert host_syncs(ast.parse(line))


def test_no_error_is_swallowed() -> None:
    bad = [
        f"{name(path)}:{node.lineno}"
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bad


def test_nothing_happens_at_import() -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    guards = (ast.If,)  # `if TYPE_CHECKING:` and `if __name__ == "__main__":`
    bad = []
    for path in sources():
        for node in parsed(path).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            guard = isinstance(node, guards) and re.match(
                r"(TYPE_CHECKING|__name__ == '__main__'|sys\.platform)", ast.unparse(node.test)
            )
            if not (isinstance(node, allowed) or docstring or guard):
                bad.append(f"{name(path)}:{node.lineno} {ast.unparse(node)[:60]}")
    assert not bad, "\n".join(bad)


def test_every_config_field_is_read_somewhere() -> None:
    fields: dict[str, str] = {}
    for path in [*(ROOT / "sae_core").rglob("*.py"), ROOT / "pipeline/study/config.py"]:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Study")):
                fields |= {
                    item.target.id: f"{name(path)} {node.name}"
                    for item in node.body
                    if isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and "ClassVar" not in ast.unparse(item.annotation)
                    and item.target.id != "model_config"
                }
    read = {
        node.attr
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
    }
    assert len(fields) > 20
    assert not {f: where for f, where in fields.items() if f not in read}


def test_every_public_module_says_what_it_is() -> None:
    silent = [
        name(p) for p in sources() if p.read_text().strip() and not ast.get_docstring(parsed(p))
    ]
    assert not silent
