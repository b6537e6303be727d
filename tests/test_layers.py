"""The house's walls: assets → pipeline → sae_core → kernels, and who may import what."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEVEL = {"sae_kernels": 0, "sae_core": 1, "pipeline": 2, "assets": 3}
FOLDER = {"sae_kernels": "kernels/sae_kernels"}
PIPELINE_ONLY = {"transformers", "zarr", "pyarrow", "duckdb", "typer", "huggingface_hub"}


def imports_of(tree: ast.AST) -> set[str]:
    """The absolute module names that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def violations(place: str, file: str, modules: set[str]) -> list[str]:
    """What a file of a room may not import."""
    bad = []
    for module in sorted(modules):
        top = module.split(".")[0]
        upward = LEVEL.get(top, -1) > LEVEL[place]
        dagster = top.startswith("dagster") and not (
            place == "assets" or file.startswith("pipeline/orchestrate")
        )
        library = top in PIPELINE_ONLY and place != "pipeline"
        triton = top == "triton" and not file.endswith("fused.py")
        if upward or dagster or library or triton:
            bad.append(f"{file} imports {module}")
    return bad


def test_no_file_imports_upward_or_a_library_of_another_room() -> None:
    bad = []
    for place in LEVEL:
        for path in sorted((ROOT / FOLDER.get(place, place)).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            bad += violations(place, file, imports_of(ast.parse(path.read_text())))
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("place", "file", "line"),
    [
        ("sae_core", "sae_core/x.py", "from pipeline.errors import UserError"),
        ("pipeline", "pipeline/x.py", "import dagster as dg"),
        ("sae_core", "sae_core/x.py", "import transformers"),
        ("sae_kernels", "kernels/sae_kernels/x/__init__.py", "import triton"),
        ("pipeline", "pipeline/x.py", "import assets.definitions"),
    ],
)
def test_a_planted_violation_is_found(place: str, file: str, line: str) -> None:
    assert violations(place, file, imports_of(ast.parse(line)))


def test_kernels_is_no_package_of_its_own() -> None:
    # A distribution called `kernels` exists and transformers looks for it by that name.
    assert not (ROOT / "kernels" / "__init__.py").exists()
