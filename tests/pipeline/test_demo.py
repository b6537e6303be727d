"""The demo's study keeps its promises, and its table tells what SQL knows."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.catalog.warehouse import query
from pipeline.cli import app
from pipeline.cli.next_commands import after_demo, after_study
from pipeline.demo.results import Row, results, shortfalls
from pipeline.demo.table import table
from pipeline.plan import Plan
from pipeline.study.config import Study
from pipeline.study.read import parse_study
from pipeline.workspace import Workspace

NOTEBOOK = Path(__file__).parents[2] / "examples" / "explore.ipynb"
GOOD = Row("resid_post.1", "trained", 0, 32.0, 0.2, 0.19, 0.21, 0.95, 0.7, 0.1, 0.6, 0.3)


def study_text() -> str:
    return files("pipeline.demo").joinpath("study.yaml").read_text()


def test_the_study_covers_what_the_demo_promises() -> None:
    study = parse_study(study_text(), "demo")
    assert len(study.sites) >= 2
    assert {"trained", "random", "random_except_embeddings"} <= set(study.weights)
    assert len(study.seeds) >= 2
    assert all(recipe.tokens >= 500_000 for recipe in study.recipes.values())
    assert all(model.path == "embedded" for model in study.models.values())


def test_every_sae_has_a_row_of_numbers(world: tuple[Workspace, Study]) -> None:
    workspace, study = world
    saes = [f"{source}/{key}" for source, key in study.cells()]
    rows = results(workspace, saes, variants=study.weights)
    assert [(row.weights, row.seed) for row in rows] == [
        ("trained", 0),
        ("trained", 1),
        ("random", 0),
        ("random", 1),
    ]
    for row in rows:
        assert row.l0 is not None
        assert 0 < row.l0 <= 8
        assert row.fvu is not None
        assert row.dead_share is not None
        assert row.mmcs_seed is not None
    assert all(row.mmcs_random is not None for row in rows[:2])
    assert all(row.compute_recovered is None for row in rows[2:])


def test_good_rows_fall_short_of_nothing() -> None:
    random = replace(GOOD, weights="random", fvu=0.9, dead_share=0.9)
    assert shortfalls([GOOD, random]) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fvu": 0.31}, "FVU 0.310"),
        ({"dead_share": 0.4}, "dead share 0.400"),
        ({"fvu": None}, "not known"),
        ({"fvu": float("nan")}, "FVU nan"),
    ],
)
def test_a_trained_sae_that_is_not_good_enough_is_named(
    changed: dict[str, float | None], told: str
) -> None:
    (line,) = shortfalls([GOOD, replace(GOOD, seed=1, **changed)])
    assert told in line
    assert "resid_post.1 trained s1" in line


def test_no_trained_sae_is_not_good_enough() -> None:
    assert shortfalls([])
    assert shortfalls([replace(GOOD, weights="random")])


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_table_fits_the_terminal(columns: int) -> None:
    long = replace(GOOD, weights="random_except_embeddings", compute_recovered=None)
    lines = table([GOOD, long, replace(GOOD, site="resid_post.2")], columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(line.startswith("resid_post") for line in lines) == 2
    assert ("0.190-0.210" in "\n".join(lines)) == (columns >= 100)
    assert "–" in next(line for line in lines if "random_except" in line)


@pytest.mark.parametrize(("next_commands", "n_commands"), [(after_demo, 3), (after_study, 2)])
def test_next_commands_exist(
    tmp_path: Path, next_commands: Callable[[Workspace], list[str]], n_commands: int
) -> None:
    lines = next_commands(Workspace.open(tmp_path))
    assert len(lines) == n_commands
    for line in lines:
        words = shlex.split(line)
        assert shutil.which(words[0])
        assert words[1:3] == ["--workspace", str(tmp_path)]
        assert words[3] in app.COMMANDS
        if words[3] == "sql":
            query(Workspace.open(tmp_path), words[4])


@pytest.mark.parametrize(("largest", "code"), [(float("inf"), 0), (0.0, 1)])
def test_the_command_ends_with_the_table_and_says_whether_it_is_good(
    world: tuple[Workspace, Study],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    largest: float,
    code: int,
) -> None:
    workspace, _ = world
    made: list[Plan] = []
    newest = sorted(workspace.studies.glob("*.yaml"))[-1].read_bytes()
    small = SimpleNamespace(joinpath=lambda name: workspace.root / "small.yaml")
    (workspace.root / "small.yaml").write_bytes(newest)
    monkeypatch.setattr("pipeline.cli.demo.files", lambda package: small)
    monkeypatch.setattr(
        "pipeline.cli.execution.make", lambda w, plan, *, as_json: made.append(plan)
    )
    monkeypatch.setattr("pipeline.demo.results.MAX_FVU", largest)
    monkeypatch.setattr("pipeline.demo.results.MAX_DEAD_SHARE", largest)
    with pytest.raises(SystemExit) as ended:
        app.main(["demo", "--workspace", str(workspace.root)])
    assert ended.value.code == code
    assert made[0].missing_cells == ()
    told = capsys.readouterr()
    assert told.out.count("random_except") == 0
    assert "resid_post.1" in told.out
    assert told.out.splitlines()[-4] == "Next:"
    assert ("not good enough" in told.err) == bool(code)


def test_the_notebook_runs(
    world: tuple[Workspace, Study],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import matplotlib

    workspace, _ = world
    monkeypatch.setenv("SAE_WORKSPACE", str(workspace.root))
    matplotlib.use("Agg")
    namespace: dict[str, object] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), namespace)
    told = capsys.readouterr().out
    assert "FVU" in told
    assert "pylm.trained.resid_post.1/topk8.s0" in told


@pytest.mark.long
def test_a_kernel_runs_the_notebook_as_an_editor_would_and_shows_its_figures(
    world: tuple[Workspace, Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    workspace, _ = world
    monkeypatch.setenv("SAE_WORKSPACE", str(workspace.root))
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a kernel draws inline unless told otherwise
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    elsewhere = {"metadata": {"path": str(tmp_path)}}
    done = NotebookClient(notebook, timeout=300, resources=elsewhere).execute()
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("FVU" in output.get("text", "") for output in outputs)
