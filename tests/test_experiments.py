"""The experiments in examples/: their studies are whole, and each runs at 1 % of its budget."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from pipeline.catalog.warehouse import query, refresh
from pipeline.study.config import load_study, parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace
from tests.pipeline.small_world import texts

FOLDER = Path(__file__).parents[1] / "examples" / "experiments"
STUDIES = sorted(FOLDER.glob("*.yaml"))
VERDICTS = (FOLDER / "verdicts.sql").read_text()
CONTRAST = re.compile(r"\('(\w+)', '([\w-]+)', '([\w-]+)', '(\w+)', ([\d.]+)\)")
each_study = pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)


def contrasts(experiment: str) -> list[tuple[str, str, str, float]]:
    """Baseline, treated, metric and smallest effect of an experiment's contrasts."""
    return [(b, t, m, float(s)) for e, b, t, m, s in CONTRAST.findall(VERDICTS) if e == experiment]


@each_study
def test_every_arm_is_compared_with_enough_seeds_and_effects_stated_beforehand(path):
    study, text = load_study(path), path.read_text()
    assert len(study.seeds) >= 5
    compared = {name for b, t, *_ in contrasts(path.stem) for name in (b, t)}
    assert compared == set(study.recipes)
    comment = "".join(line[1:] for line in text.splitlines() if line.startswith("#"))
    assert "Smallest effects" in comment
    for *_, smallest in contrasts(path.stem):
        assert str(smallest) in comment
    assert f"| `{path.stem}` |" in (FOLDER / "README.md").read_text()


def test_every_contrast_belongs_to_a_study_and_names_are_shared_by_none():
    assert {match[0] for match in CONTRAST.findall(VERDICTS)} == {path.stem for path in STUDIES}
    names = [name for path in STUDIES for name in load_study(path).recipes]
    assert len(set(names)) == len(names)


def test_verdicts_of_an_empty_workspace_are_empty(tmp_path):
    workspace = Workspace.open(tmp_path)
    refresh(workspace)
    assert query(workspace, VERDICTS).num_rows == 0


def hundredth(path: Path, folder: Path) -> str:
    """The study's text with 1 % of its tokens, five seeds, a quarter of the latents, and some
    files as its corpus."""
    study = yaml.safe_load(path.read_text())
    corpus = {"kind": "text", "path": str(texts(folder / "texts"))}
    corpus |= {"held_out_share": 0.2, "calibration_share": 0.2}
    for model in study["models"].values():
        model |= {"corpus": corpus, "context": 64}
        model["harvest"] |= {"tokens": 5242, "calibration_tokens": 2048}
    for recipe in study["recipes"].values():
        recipe |= {"tokens": recipe["tokens"] // 100, "batch_size": 256}
        recipe["n_latents"] //= 4
    study["seeds"] = study["seeds"][:5]
    study["evaluation"] = {"tokens": 512, "bootstrap": 100}
    return yaml.safe_dump(study)


def ran(text: str, folder: Path) -> Workspace:
    """The workspace in which the study was harvested, trained and evaluated."""
    from pipeline.evaluation.run import evaluate_cells
    from pipeline.harvest.run import harvest
    from pipeline.training.run import train_cells

    workspace, study = Workspace.open(folder / "workspace"), parse_study(text, "experiment")
    register(workspace, study, yaml_text=text)
    registry, keys = Registry.load(workspace), study.keys()
    for source in study.sources():
        config = registry.models[source.model]
        harvest(workspace, source.model, config, source.weights, [source.site])
        cells = [registry.cell(source, key) for key in keys]
        train_cells(workspace, cells)
        evaluate_cells(workspace, cells)
    refresh(workspace)
    return workspace


@pytest.mark.long
@each_study
def test_each_runs_at_a_hundredth_of_its_budget_and_reaches_a_verdict(path, tmp_path):
    workspace = ran(hundredth(path, tmp_path), tmp_path)
    rows = query(workspace, VERDICTS).to_pylist()
    found = {(row["baseline"], row["treated"], row["metric"]) for row in rows}
    assert found == {(b, t, m) for b, t, m, _ in contrasts(path.stem)}
    for row in rows:
        assert row["seeds"] == 5
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert row["verdict"] != "too few seeds"
    spec = importlib.util.spec_from_file_location("experiments_plot", FOLDER / "plot.py")
    plot = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plot)
    (picture,) = plot.pictures(workspace, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
