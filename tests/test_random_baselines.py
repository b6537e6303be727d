"""The study of random baselines: whole, asked in SQL, and run on a hundredth of its budget."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.catalog.warehouse import query, refresh
from pipeline.study.read import load_study
from pipeline.workspace import Workspace
from tests.pipeline.small_world import texts
from tests.test_experiments import ran

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDY = EXAMPLES / "random_baselines.yaml"
QUESTION = (EXAMPLES / "random_baselines.sql").read_text()
PER_WEIGHTS = ("fire on > 10 % of tokens", "fire on one token", "FVU", "L0")


def test_the_study_has_what_its_question_asks_about() -> None:
    study = load_study(STUDY)
    assert {recipe.architecture for recipe in study.recipes.values()} == {"relu", "topk"}
    for recipe in study.recipes:
        assert f"'{recipe}'" in QUESTION
    assert {"trained", "random", "random_except_embeddings"} <= set(study.weights)
    for site in study.sites:
        assert site.startswith("mlp_out.")
        assert f"'{site}'" in QUESTION
    assert len(study.seeds) >= 3


def test_an_empty_workspace_has_no_answer(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    refresh(workspace)
    assert query(workspace, QUESTION).num_rows == 0


def small(folder: Path) -> str:
    """The study with a hundredth of its tokens, two seeds, an eighth of the latents."""
    study = yaml.safe_load(STUDY.read_text())
    model = study["models"]["pylm"]
    corpus = {"kind": "text", "path": str(texts(folder / "texts"))}
    model |= {"corpus": corpus | {"held_out_share": 0.2, "calibration_share": 0.2}, "context": 64}
    model["harvest"] = {"tokens": 3932, "calibration_tokens": 1024}
    for recipe in study["recipes"].values():
        recipe |= {"tokens": recipe["tokens"] // 100, "batch_size": 256}
        recipe["n_latents"] //= 8
    study["seeds"] = study["seeds"][:2]
    study["evaluation"] = {"tokens": 512, "curve_tokens": 256, "bootstrap": 100}
    return yaml.safe_dump(study)


@pytest.mark.long
def test_a_hundredth_of_it_answers_every_question(tmp_path: Path) -> None:
    study = load_study(STUDY)
    workspace = ran(small(tmp_path), tmp_path)
    rows = query(workspace, QUESTION).to_pylist()
    found = {(row["quantity"], row["recipe"], row["weights"]): row for row in rows}
    others = [weights for weights in study.weights if weights != "trained"]
    for recipe in study.recipes:
        for weights in study.weights:
            assert found["MMCS between seeds", recipe, weights]["n"] == 1
            for quantity in PER_WEIGHTS:
                assert found[quantity, recipe, weights]["n"] == 2
        for weights in others:
            assert found["MMCS, trained to this", recipe, weights]["n"] == 2
    stated = re.findall(r"\('([^']+)', '([\w-]+)', '(\w+)', '", QUESTION)
    assert len(stated) == 7
    for key in stated:
        assert found[key]["expected"]
        assert found[key]["source"]
    check_language_model(workspace)
    check_latents(workspace)


def check_language_model(workspace: Workspace) -> None:
    """Losses of drawn activations are NULL with why; shuffled text is harder and said to be so."""
    rows = query(workspace, "SELECT * FROM evaluations ORDER BY sae").to_pylist()
    clean = {
        weights: {r["ce_clean"] for r in rows if r["weights"] == weights}
        for weights in {r["weights"] for r in rows}
    }
    assert clean["gaussian"] == {None}
    (trained,), (shuffled,) = clean["trained"], clean["shuffled_text"]
    assert shuffled > trained + 0.5
    sql = "SELECT DISTINCT reason FROM metrics WHERE sae LIKE '%.{}.%' AND metric = '{}'"
    (drawn,) = query(workspace, sql.format("gaussian", "ce_clean")).to_pylist()
    assert "drawn from a Gaussian" in drawn["reason"]
    (curve,) = query(workspace, sql.format("shuffled_text", "compute_recovered")).to_pylist()
    assert "not shuffled" in curve["reason"]
    documents = query(
        workspace,
        """
        SELECT DISTINCT a.document FROM document_sums AS a JOIN document_sums AS b
        ON a.document = b.document AND a.sae LIKE '%.trained.%' AND b.sae LIKE '%.shuffled_text.%'
        WHERE a.n_predictions <> b.n_predictions OR a.n_tokens < 1""",
    )
    assert documents.num_rows == 0


def check_latents(workspace: Workspace) -> None:
    """The view of twins agrees with the metrics, and every pair is there."""
    rows = query(
        workspace,
        """
        SELECT l.*, a.dead_eval, a.latents_above_10pct, a.single_token_latents, a.token_entropy
        FROM latents_vs_random AS l JOIN evaluations AS a ON a.sae = l.sae_random""",
    ).to_pylist()
    assert len(rows) == 4 * 2 * 2
    for row in rows:
        assert row["random_alive_share"] == pytest.approx(1 - row["dead_eval"])
        assert row["random_above_10pct"] == pytest.approx(row["latents_above_10pct"])
        for mine, metric in (
            ("random_single_token_share", "single_token_latents"),
            ("random_entropy_mean", "token_entropy"),
        ):
            assert row[mine] == (None if row[metric] is None else pytest.approx(row[metric]))
