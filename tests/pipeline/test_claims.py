"""Verdicts follow their rule, and a workspace's SAEs reach the claims they are about."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from scipy.stats import t as student

from pipeline.catalog.warehouse import query, refresh
from pipeline.catalog.write import write_run
from pipeline.claims import claims
from pipeline.claims.claim import Claim
from pipeline.claims.view import view_sql
from pipeline.cli.app import main
from pipeline.study.config import Study
from pipeline.study.read import load_study
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import metric, sae
from tests.pipeline.catalog.rows import row as row_of
from tests.test_experiments import hundredth, ran

ROOT = Path(__file__).parents[2]
EFFECTS = (0.3, 0.5, 0.4, 0.6, 0.2)
CLAIM = Claim("small", "It is large.", "nobody", "none.yaml", "the effect", 0.0, "")


def told(effects: tuple[float | None, ...], threshold: float, overlap: float = 1.0) -> dict:
    """The row of a claim whose replicates have these effects."""
    rows = ", ".join(f"({i}, {'NULL' if e is None else e})" for i, e in enumerate(effects))
    sql = (
        f"SELECT 'lm' AS source, 'mine' AS recipe, seed, 1000 AS tokens, effect "
        f"FROM (VALUES {rows or '(0, NULL)'}) AS t(seed, effect)"
    )
    claim = replace(CLAIM, sql=sql, threshold=threshold, overlap=overlap)
    answer = duckdb.sql(view_sql([claim]))
    (row,) = answer.fetchall()
    return dict(zip(answer.columns, row, strict=True))


def test_the_interval_is_students_and_overlap_widens_it() -> None:
    half = student.ppf(0.975, 4) * (0.025 / 5) ** 0.5
    for overlap in (1.0, 2.0):
        row = told(EFFECTS, 0.0, overlap)
        assert row["effect"] == pytest.approx(0.4)
        assert row["ci_high"] - row["effect"] == pytest.approx(overlap * half, rel=1e-3)
        assert row["effect"] - row["ci_low"] == pytest.approx(overlap * half, rel=1e-3)
    # t is a table in SQL: with many replicates the last entry stands for more
    many = told(EFFECTS * 6, 0.0)
    assert many["n"] == 30
    assert many["ci_high"] - many["effect"] > 0


@pytest.mark.parametrize(
    ("effects", "threshold", "verdict"),
    [
        (EFFECTS, 0.1, "supported"),
        (EFFECTS, 0.4, "inconclusive"),
        (EFFECTS, 0.7, "not supported"),
        ((0.5,) * 5, 0.5, "not supported"),  # at the threshold is not above it
        (EFFECTS[:4], -100.0, "inconclusive"),  # too few seeds for any verdict
        ((0.4,), 0.1, "inconclusive"),
        ((*EFFECTS[:4], None), -100.0, "inconclusive"),  # a seed without a value does not count
        ((), 0.1, "not measured yet"),
        ((None, None), 0.1, "not measured yet"),
    ],
)
def test_the_verdict_follows_from_the_interval(
    effects: tuple[float | None, ...], threshold: float, verdict: str
) -> None:
    assert told(effects, threshold)["verdict"] == verdict


def test_every_claim_is_a_file_of_its_name_and_its_study_has_enough_seeds() -> None:
    assert len(claims()) >= 14
    for claim in claims():
        assert (ROOT / "pipeline" / "claims" / f"{claim.name}.py").exists()
        text = (ROOT / claim.study).read_text()
        assert "mallest effect" in text
        if claim.is_study:
            assert len(load_study(ROOT / claim.study).seeds) >= 5
        else:
            assert int(re.search(r"--seeds.*default=(\d+)", text)[1]) >= 5


def test_recipes_that_a_claim_names_are_in_its_study() -> None:
    named = {
        "auxk": ("dead-neither", "dead-auxk"),
        "encoder_transpose": ("enc-transpose", "enc-independent"),
        "progressive_code": ("code-topk", "code-multi-topk"),
        "topk_frontier": ("l1-against-topk8", "l1-low"),
        "feature_shrinkage": ("l1-against-topk8", "l1-low"),
        "jumprelu_frontier": ("front-topk-8", "front-jumprelu-1"),
        "jumprelu_bandwidth": ("kde-plain", "kde-wide"),
    }
    for claim in claims():
        for recipe in named.get(claim.name, ()):
            assert recipe in load_study(ROOT / claim.study).recipes
        if claim.name == "shuffling":
            assert set(load_study(ROOT / claim.study).models) == {
                "pylm-shuffled",
                "pylm-in-order",
            }


def test_a_run_reaches_the_claims_that_it_is_about(world: tuple[Workspace, Study]) -> None:
    rows = {row["claim"]: row for row in query(world[0], "FROM claims").to_pylist()}
    assert set(rows) == {claim.name for claim in claims()}
    measured = rows["trained_against_random"]
    sql = """SELECT avg(r.fvu - t.fvu) AS effect FROM evaluations AS t JOIN evaluations AS r
    USING (recipe, seed) WHERE t.weights = 'trained' AND r.weights = 'random'"""
    (expected,) = query(world[0], sql).to_pylist()
    assert measured["effect"] == pytest.approx(expected["effect"])
    assert measured["n"] == 2
    assert measured["tokens"] == 8192
    assert measured["verdict"] == "inconclusive"
    assert rows["encoder_transpose"]["verdict"] == "not measured yet"
    assert rows["encoder_transpose"]["effect"] is None


def measured(
    workspace: Workspace, values: dict[str, dict[str, float]], architectures: dict[str, str]
) -> dict[str, list[dict]]:
    """The view's rows by claim, for SAEs `recipe.s<seed>` with these metrics."""
    saes, metrics = [], []
    for name, numbers in values.items():
        full = f"m.trained.resid_post.0/{name}"
        architecture = architectures[name.split(".s")[0]]
        saes.append(sae(full, architecture=architecture, tokens=1000))
        metrics += [metric(full, of, value) for of, value in numbers.items()]
    write_run(workspace, "r1", {"saes": saes, "metrics": metrics}, kind="evaluation")
    refresh(workspace)
    rows: dict[str, list[dict]] = {}
    for row in query(workspace, "FROM claims").to_pylist():
        rows.setdefault(row["claim"], []).append(row)
    return rows


def test_an_l1_sae_is_compared_with_topk_at_its_own_l0_and_seed(tmp_path: Path) -> None:
    values = {}
    for seed in range(5):
        values[f"l1-against-topk8.s{seed}"] = {
            "l0": 8.0,
            "fvu": 0.4 + seed,
            "relative_reconstruction_bias": 1.0,
        }
        values[f"l1-against-topk32.s{seed}"] = {
            "l0": 32.0,
            "fvu": 0.2 + seed,
            "relative_reconstruction_bias": 0.98,
        }
        values[f"l1-low.s{seed}"] = {
            "l0": 16.0,  # midway in log2: TopK would lose 0.3 there
            "fvu": 0.35 + seed + 0.001 * seed,
            "relative_reconstruction_bias": 0.9,
        }
        values[f"l1-high.s{seed}"] = {"l0": 4.0, "fvu": 0.9, "relative_reconstruction_bias": 0.95}
    architectures = {"l1-low": "relu", "l1-high": "relu"}
    architectures |= {"l1-against-topk8": "topk", "l1-against-topk32": "topk"}
    found = measured(Workspace.open(tmp_path), values, architectures)
    (row,) = found["topk_frontier"]  # an L0 of 4 lies outside all k
    assert row["recipe"] == "l1-low"
    assert row["effect"] == pytest.approx(0.052)
    assert row["n"] == 5
    assert row["verdict"] == "supported"
    high, low = found["feature_shrinkage"]
    assert (high["recipe"], low["recipe"]) == ("l1-high", "l1-low")
    assert low["effect"] == pytest.approx(0.09)
    assert low["verdict"] == "supported"
    assert high["effect"] == pytest.approx(0.04)


def test_jumprelu_is_compared_with_topk_at_its_own_l0_and_windows_with_each_other(
    tmp_path: Path,
) -> None:
    values = {}
    for seed in range(5):
        for k, fvu in ((8, 0.4), (32, 0.2)):
            values[f"front-topk-{k}.s{seed}"] = {"l0": float(k), "fvu": fvu + seed}
        values[f"front-jumprelu-2.s{seed}"] = {"l0": 16.0, "fvu": 0.305 + seed + 0.001 * seed}
        values[f"kde-plain.s{seed}"] = {"fvu": 0.3 + seed}
        values[f"kde-wide.s{seed}"] = {"fvu": 0.302 + seed + 0.0001 * seed}
    names = {name.split(".s")[0] for name in values}
    found = measured(Workspace.open(tmp_path), values, dict.fromkeys(names, "topk"))
    (row,) = found["jumprelu_frontier"]
    assert (row["recipe"], row["n"]) == ("front-jumprelu-2", 5)
    assert row["effect"] == pytest.approx(-0.007)
    assert row["verdict"] == "supported"  # at most 0.01 worse
    (row,) = found["jumprelu_bandwidth"]
    assert row["effect"] == pytest.approx(0.0022)
    assert row["verdict"] == "not supported"


def test_absorption_is_paired_by_seed_and_told_against_each_other_sae(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    rates = {"topk": 0.4, "batch_topk": 0.13, "matryoshka": 0.1}
    rows = [
        row_of(
            "absorption",
            recipe=name,
            architecture=name,
            seed=seed,
            tokens=1000,
            absorbed=rate + 0.1 * seed + (0.001 * seed if name == "topk" else 0),
        )
        for name, rate in rates.items()
        for seed in range(5)
    ]
    write_run(workspace, "r1", {"absorption": rows}, kind="absorption")
    refresh(workspace)
    sql = "FROM claims WHERE claim = 'matryoshka_absorption'"
    batch, plain = query(workspace, sql).to_pylist()
    assert batch["recipe"] == "matryoshka against batch_topk"
    assert batch["effect"] == pytest.approx(0.03)
    assert batch["verdict"] == "not supported"
    assert plain["effect"] == pytest.approx(0.302)
    assert (plain["verdict"], plain["n"], plain["source"]) == ("supported", 5, "toy hierarchy")


def test_random_twins_of_several_weights_seeds_count_as_their_mean(tmp_path: Path) -> None:
    saes, metrics = [], []
    for seed in range(5):
        for weights, fvu in (("trained", 0.3), ("random", 0.1), ("random@1", 0.2)):
            name = f"m.{weights}.resid_post.0/t.s{seed}"
            saes.append(sae(name, tokens=1000))
            metrics.append(metric(name, "fvu", fvu + 0.001 * seed))
    workspace = Workspace.open(tmp_path)
    write_run(workspace, "r1", {"saes": saes, "metrics": metrics}, kind="evaluation")
    refresh(workspace)
    (row,) = query(workspace, "FROM claims WHERE claim = 'trained_against_random'").to_pylist()
    assert row["n"] == 5
    assert row["effect"] == pytest.approx(-0.15)
    assert row["verdict"] == "not supported"


@pytest.mark.long
@pytest.mark.parametrize("study", ["shuffling", "trained_against_random"])
def test_a_study_at_a_hundredth_of_its_budget_reaches_a_verdict(study: str, tmp_path: Path) -> None:
    path = ROOT / "examples" / "claims" / f"{study}.yaml"
    workspace = ran(hundredth(path, tmp_path), tmp_path)
    (row,) = query(workspace, f"FROM claims WHERE claim = '{study}'").to_pylist()
    assert row["n"] == 5
    assert row["verdict"] in ("supported", "not supported", "inconclusive")
    assert row["ci_low"] <= row["effect"] <= row["ci_high"]


def test_the_command_shows_every_claim_and_what_to_run(
    world: tuple[Workspace, Study], capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(world[0].root)]
    with pytest.raises(SystemExit) as ended:
        main(["claims", *place])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for claim in claims():
        assert f"\n{claim.name}\n" in f"\n{text}"
    assert "not measured: run examples/experiments/encoder_init.yaml" in text
    assert "2 seeds, 8,192 tokens" in text
    with pytest.raises(SystemExit):
        main(["claims", "--json", *place])
    rows = json.loads(capsys.readouterr().out)
    assert {row["claim"] for row in rows} == {claim.name for claim in claims()}
