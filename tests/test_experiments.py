"""The experiments in examples/: their studies are whole, and each runs at 1 % of its budget."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import duckdb
import pytest
import yaml

from pipeline.catalog.warehouse import query, refresh
from pipeline.study.config import Study
from pipeline.study.read import load_study, parse_study
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


def arms(study: Study, compared: set[str]) -> set[str]:
    """The recipes; those of one arm that differ in their number alone as that arm."""
    families = {name: re.sub(r"-\d+$", "", name) for name in study.recipes}
    return {family if family in compared else name for name, family in families.items()}


@each_study
def test_every_arm_is_compared_with_enough_seeds_and_effects_stated_beforehand(path):
    study, text = load_study(path), path.read_text()
    assert len(study.seeds) >= 5
    compared = {name for b, t, *_ in contrasts(path.stem) for name in (b, t)}
    assert compared == (set(study.models) if len(study.models) > 1 else arms(study, compared))
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


def by_hand(evaluations: list[tuple[str, str, float, float]]) -> dict[tuple[str, ...], tuple]:
    """Difference and verdict of contrasts by arms and metric, given five seeds' worth of (model,
    recipe, l0, fvu); its L2 ratio is 1 - fvu and the loss at the end 100 times fvu."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE evaluations (model TEXT, recipe TEXT, l0 DOUBLE, fvu DOUBLE, seed INT, "
        "sae TEXT, weights TEXT DEFAULT 'trained', site TEXT DEFAULT 'a.0', l2_ratio DOUBLE, "
        "ce_increase_nats DOUBLE, dead_train DOUBLE);"
        "CREATE TABLE progressive_code (sae TEXT, k INT, fvu DOUBLE);"
        "CREATE TABLE training_curve (sae TEXT, tokens INT, metric TEXT, value DOUBLE);"
    )
    for model, recipe, l0, fvu in evaluations:
        for seed in range(5):
            sae = f"{model} {recipe} {seed}"
            connection.execute(
                "INSERT INTO evaluations (model, recipe, l0, fvu, seed, sae, l2_ratio) "
                "VALUES (?, ?, ?, ?, ?, ?, 1 - ?)",
                [model, recipe, l0, fvu, seed, sae, fvu],
            )
            for tokens, loss in ((90, 1e6), (95, 90 * fvu), (100, 110 * fvu)):
                connection.execute(
                    "INSERT INTO training_curve VALUES (?, ?, 'loss', ?)", [sae, tokens, loss]
                )
    rows = connection.execute(VERDICTS).fetchall()
    return {(row[1], row[2], row[3]): (row[6], row[-1]) for row in rows}


def test_arms_of_several_sparsities_are_compared_on_lines_through_their_two_nearest():
    found = by_hand(
        [("pylm", f"front-topk-{k}", k, fvu) for k, fvu in ((8, 0.9), (16, 0.2), (32, 0.9))]
        + [("pylm", f"front-relu-{i}", l0, fvu) for i, l0, fvu in ((1, 8, 0.5), (2, 32, 0.3))]
        + [("pylm", f"front-gated-{i}", l0, 0.3) for i, l0 in ((1, 17), (2, 32))]
    )
    difference, verdict = found["front-topk", "front-relu", "fvu_at_l0_16"]
    assert (difference, verdict) == (pytest.approx(0.2), "higher")
    assert found["front-relu", "front-topk", "l2_ratio_at_l0_16"][0] == pytest.approx(0.2)
    assert found["front-relu", "front-gated", "fvu_at_l0_16"][1] == "L0 of 16 not reached"


def test_lost_doublings_are_at_the_best_learning_rates_and_losses_of_the_last_tenth():
    runs = {"half-1": 0.9, "half-2": 0.4, "whole-1": 0.3, "whole-2": 0.31}
    none = {"half-1": 0.5, "half-2": 0.9, "whole-1": 0.9, "whole-2": 0.35}
    found = by_hand(
        [("order-global", f"order-{name}", 16, fvu) for name, fvu in runs.items()]
        + [("order-none", f"order-{name}", 16, fvu) for name, fvu in none.items()]
        + [("pylm", "kde-plain", 16, 0.3), ("pylm", "kde-persistent", 16, 0.2)]
    )
    lost = found["order-global", "order-none", "lost_doublings"]
    assert lost == (pytest.approx(0.5), "higher")
    assert found["kde-plain", "kde-persistent", "loss_at_end"][0] == pytest.approx(-10)


def hundredth(path: Path, folder: Path) -> str:
    """The study's text with 1 % of its tokens, five seeds, a quarter of the latents, some files as
    its corpus, and one recipe of those that differ in their learning rate alone."""
    study = yaml.safe_load(path.read_text())
    corpus = {"kind": "text", "path": str(texts(folder / "texts"))}
    shares = {"held_out_share": 0.2, "calibration_share": 0.2}
    for model in study["models"].values():
        model |= {"corpus": corpus | shares, "context": 64}
        tokens = model["harvest"]["tokens"] // 100
        model["harvest"] |= {"tokens": tokens, "calibration_tokens": 2048}
    for recipe in study["recipes"].values():
        recipe |= {"tokens": recipe["tokens"] // 100, "batch_size": 256}
        recipe["n_latents"] //= 4
    alike = {str(recipe | {"lr": None}): name for name, recipe in study["recipes"].items()}
    study["recipes"] = {name: study["recipes"][name] for name in alike.values()}
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
