from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import pipeline.evaluation.work as work
from pipeline.errors import DiskFullError, StudyError
from pipeline.evaluation.run import evaluate_cells, evaluation_state
from sae_core.metrics import definitions, metrics
from sae_core.metrics.definition import MetricDefinition
from sae_core.metrics.token_metric import TokenMetric, columns
from tests.pipeline.evaluation.scene import constant_sae, identity_sae
from tests.pipeline.evaluation.world import World, drawn_sae


def test_every_number_becomes_a_row(world: World) -> None:
    cell = world.put(world.cell(), drawn_sae(0))
    (result,) = world.evaluate(cell)
    assert not result.reused
    rows = {row["metric"]: row for row in world.rows("SELECT * FROM metrics")}
    assert rows.keys() == {d.name for d in definitions()} == result.metrics.keys()
    for name, row in rows.items():
        measured = result.metrics[name]
        assert (row["value"], row["n"], row["reason"]) == (
            measured.value,
            measured.n,
            measured.reason,
        )
        assert (None in (row["value"], row["ci_low"], row["ci_high"])) <= bool(row["reason"]), name
        assert (row["sae"], row["sae_hash"]) == (result.sae, result.sae_hash)
        assert row["evaluation_hash"] == result.evaluation_hash
    assert rows["dead_train"]["value"] == 0.5
    assert rows["fvu"]["ci_low"] < rows["fvu"]["value"] < rows["fvu"]["ci_high"]


def test_latents_become_rows(world: World) -> None:
    (result,) = world.evaluate(world.put(world.cell(), drawn_sae(0)))
    rows = world.rows("SELECT * FROM latents ORDER BY latent")
    assert [row["latent"] for row in rows] == list(range(32))
    assert [row["firing_frequency"] for row in rows] == result.firing_frequency.tolist()
    assert [row["is_dead_train"] for row in rows] == [False, True] * 16
    assert all((row["n_fires"] == 0) == row["is_dead_eval"] for row in rows)
    assert all(row["mean_activation"] <= row["max_activation"] for row in rows if row["n_fires"])


def test_any_ratio_can_be_made_again_from_sums_per_document(world: World) -> None:
    (result,) = world.evaluate(world.put(world.cell(), drawn_sae(0)))
    (row,) = world.rows(
        "SELECT count(*) AS documents, sum(ce_spliced) / sum(n_predictions) AS ce_spliced, "
        "(sum(ce_zero) - sum(ce_spliced)) / (sum(ce_zero) - sum(ce_clean)) AS recovered, "
        "(sum(ce_unigram) - sum(ce_spliced)) / (sum(ce_unigram) - sum(ce_clean)) AS unigram, "
        "sum(kl) / sum(n_predictions) AS kl, sum(n_same_top1) / sum(n_predictions) AS top1, "
        "sum(squared_error) / sum(n_tokens) AS mse, sum(n_active) / sum(n_tokens) AS l0, "
        "sum(n_tokens)::BIGINT AS n FROM document_sums"
    )
    numbers = result.metrics
    assert row["documents"] > 10
    assert row["n"] == numbers["fvu"].n
    names = {
        "ce_spliced": "ce_spliced",
        "recovered": "loss_recovered_zero",
        "kl": "kl_nats",
        "top1": "top1_agreement",
        "mse": "mse",
        "l0": "l0",
    }
    for column, metric in names.items():
        assert row[column] == pytest.approx(numbers[metric].value, rel=1e-9), column
    unigram = numbers["loss_recovered_unigram"]
    if unigram.value is not None:
        assert row["unigram"] == pytest.approx(unigram.value)


def test_what_is_measured_is_reused(world: World) -> None:
    cell = world.put(world.cell(), drawn_sae(0))
    assert evaluation_state(world.workspace, cell) == "missing"
    first = world.evaluate(cell)[0]
    assert evaluation_state(world.workspace, cell) == "done"
    again = world.evaluate(cell)[0]
    assert again.reused
    assert again.metrics == first.metrics
    assert again.firing_frequency.tolist() == first.firing_frequency.tolist()
    assert world.loaded == ["trained"]
    assert world.rows("SELECT count(*) AS n FROM commits WHERE kind = 'evaluation'") == [{"n": 1}]


def test_seeds_of_a_source_share_one_sweep(world: World) -> None:
    cells = [world.put(world.cell(seed=i), drawn_sae(i)) for i in range(3)]
    together = world.evaluate(*cells)
    assert world.loaded == ["trained"]
    # 9 rows of 32 tokens hold 256 plain ones; curves go over so small a text once more
    assert sum(world.whole_passes) == 2 * 9
    assert [result.sae for result in together] == [cell.sae_id for cell in cells]


def test_a_later_seed_makes_the_pair_and_completes_the_earlier_one(world: World) -> None:
    sae = drawn_sae(0)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    permuted = drawn_sae(0)
    with torch.no_grad():
        permuted.W_enc.copy_(sae.W_enc[order])
        permuted.W_dec.copy_(sae.W_dec[order])
    first, second = world.put(world.cell(), sae), world.put(world.cell(seed=1), permuted)
    assert world.evaluate(first)[0].metrics["mmcs_other_seed"].value is None
    assert world.evaluate(second)[0].metrics["mmcs_other_seed"].value == pytest.approx(1, abs=1e-5)
    assert world.evaluate(first)[0].metrics["mmcs_other_seed"].value == pytest.approx(1, abs=1e-5)
    rows = world.rows("SELECT value FROM metrics WHERE metric = 'mmcs_other_seed'")
    assert [row["value"] for row in rows] == pytest.approx([1, 1], abs=1e-5)
    (match,) = world.rows("SELECT * FROM dictionary_matches")
    assert (match["pair"], match["sae_a"], match["sae_b"]) == (
        "other_seed",
        first.sae_id,
        second.sae_id,
    )
    alive = match["n_alive_a"]
    assert alive == match["n_alive_b"] > 10
    latents = world.rows(f"SELECT * FROM latent_matches WHERE sae_a = '{first.sae_id}'")
    assert len(latents) == alive
    assert all(order[row["latent_b"]] == row["latent_a"] for row in latents)
    assert all(row["partner"] == row["latent_b"] for row in latents)
    assert all(row["encoder_cosine"] == pytest.approx(1, abs=1e-5) for row in latents)
    assert (match["is_exact"], match["shared_90"], match["shared_90_at_most"]) == (True, 1, 1)
    assert match["mmcs_abs_ab"] == pytest.approx(1, abs=1e-5)
    assert match["mmcs_null_z_ab"] > 2
    shared = world.rows("SELECT value FROM metrics WHERE metric = 'shared_other_seed'")
    assert [row["value"] for row in shared] == [1, 1]


def test_each_pair_is_matched_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [world.put(world.cell(seed=i), drawn_sae(i)) for i in range(3)]
    world.evaluate(*cells[:2])
    before = world.rows("SELECT run FROM dictionary_matches")
    world.evaluate(cells[2])
    after = world.rows("SELECT run FROM dictionary_matches")
    assert len(before) == 1
    assert len(after) == 3
    assert before[0] in after


def test_pairs_are_seeds_widths_and_twins(world: World) -> None:
    for weights in ("trained", "random", "random@1"):
        cells = [
            world.put(world.cell(weights, recipe, seed), drawn_sae(seed, n_latents))
            for recipe, n_latents in (("narrow", 32), ("wide", 48))
            for seed in (0, 1)
        ]
        world.evaluate(*cells)
    found = world.rows("SELECT pair, sae_a, sae_b FROM dictionary_matches")
    pairs = {(row["pair"], row["sae_a"], row["sae_b"]) for row in found}
    assert len(pairs) == len(found)
    counts = {kind: sum(pair[0] == kind for pair in pairs) for kind, *_ in pairs}
    assert counts == {"other_seed": 6, "other_width": 6, "other_weights": 8}
    site = "resid_post.1"
    assert (
        "other_weights",
        f"lm.trained.{site}/wide.s1",
        f"lm.random@1.{site}/wide.s1",
    ) in pairs
    assert ("other_width", f"lm.random.{site}/narrow.s0", f"lm.random.{site}/wide.s0") in pairs


def test_a_twin_is_compared_on_the_same_documents(world: World) -> None:
    trained = world.put(world.cell(), identity_sae())
    twin = world.put(world.cell("random"), drawn_sae(0))
    world.evaluate(twin)
    (result,) = world.evaluate(trained)
    assert result.metrics["mmcs_random_twin"].n == 1
    rows = {row["metric"]: row for row in world.rows("SELECT * FROM comparisons")}
    assert {(row["sae_a"], row["sae_b"]) for row in rows.values()} == {
        (trained.sae_id, twin.sae_id)
    }
    values = dict(
        (row["sae"], row["value"])
        for row in world.rows("SELECT sae, value FROM metrics WHERE metric = 'fvu'")
    )
    assert values[trained.sae_id] == 0.0
    assert rows["fvu"]["difference"] == pytest.approx(-values[twin.sae_id])
    assert rows["fvu"]["ci_high"] < 0
    lost = rows["loss_recovered_zero"]
    assert lost["difference"] is None
    assert "no loss to recover" in lost["reason"]


def test_three_seeds_on_both_sides_make_a_row_over_seeds(world: World) -> None:
    for weights in ("trained", "random"):
        world.evaluate(*(world.put(world.cell(weights, seed=i), drawn_sae(i)) for i in range(3)))
    rows = world.rows("SELECT * FROM comparisons WHERE sae_a LIKE '%.s*' AND metric = 'l0'")
    (row,) = rows
    assert row["level"] == "SAE seeds and documents (given these weights)"
    assert row["sae_b"] == "lm.random.resid_post.1/narrow.s*"
    single = world.rows("SELECT difference FROM comparisons WHERE sae_a_hash IS NOT NULL")
    assert len(single) > 3


def plant(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """One metric more: the largest activation's mean."""
    definition = MetricDefinition("planted", version, "u", "lower", "f", "r", "d.")
    metric = TokenMetric(
        definitions=(definition,),
        of="reconstruction",
        per_token=lambda batch: columns(batch.x.amax(1) * version),
        values=lambda totals, setting: {"planted": totals[..., 1] / totals[..., 0]},
    )
    every = {**metrics(), "planted": metric}
    known = [d for m in every.values() for d in m.definitions]
    for module in ("measuring", "comparisons"):
        monkeypatch.setattr(f"pipeline.evaluation.{module}.metrics", lambda: every)
    for module in ("identity", "rows", "measuring"):
        monkeypatch.setattr(f"pipeline.evaluation.{module}.definitions", lambda: known)


def test_a_new_metric_evaluates_only_itself(world: World) -> None:
    cell = world.put(world.cell(), drawn_sae(0))
    before = world.evaluate(cell)[0]
    passes = len(world.whole_passes)
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, version=1)
        assert evaluation_state(world.workspace, cell) == "missing"
        after = world.evaluate(cell)[0]
        assert len(world.whole_passes) == passes, "the language model's head was run"
        assert after.metrics["planted"].value is not None
        assert {n: m for n, m in after.metrics.items() if n != "planted"} == before.metrics
        assert world.evaluate(cell)[0].reused
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, version=2)
        raised = world.evaluate(cell)[0]
    assert raised.metrics["planted"].value == pytest.approx(2 * after.metrics["planted"].value)


def test_a_diverged_sae_has_reasons_instead_of_numbers(world: World) -> None:
    sound = world.put(world.cell(seed=1), drawn_sae(1))
    diverged = world.put(world.cell(), drawn_sae(0), status="diverged")
    result, other = world.evaluate(diverged, sound)
    (reason,) = {m.reason for m in result.metrics.values()}
    assert reason.startswith("training diverged at step 7")
    assert len(result.firing_frequency) == 0
    assert other.metrics["fvu"].value is not None
    assert world.rows("SELECT count(*) AS n FROM dictionary_matches") == [{"n": 0}]
    assert world.evaluate(diverged)[0].reused


def test_an_sae_that_is_not_trained_is_refused(world: World) -> None:
    with pytest.raises(StudyError, match="not trained yet"):
        world.evaluate(world.cell())


def test_cells_of_several_sources_are_refused(world: World) -> None:
    with pytest.raises(ValueError, match="cells of one source"):
        evaluate_cells(world.workspace, [world.cell(), world.cell("random")])


def test_work_that_stopped_before_its_record_is_finished_without_the_model(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [world.put(world.cell(seed=i), drawn_sae(i)) for i in (0, 1)]

    def full(*_: object) -> None:
        raise DiskFullError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "write_record", full)
        with pytest.raises(DiskFullError):
            world.evaluate(*cells)
    assert evaluation_state(world.workspace, cells[0]) == "missing"
    results = world.evaluate(*cells)
    assert world.loaded == ["trained"]
    assert [result.reused for result in results] == [False, False]
    rows = world.rows("SELECT sae, metric FROM metrics")
    assert len(rows) == len({tuple(row.values()) for row in rows}) == 2 * len(definitions())
    assert world.rows("SELECT count(*) AS n FROM dictionary_matches") == [{"n": 1}]


def test_nothing_shows_of_an_evaluation_that_failed(world: World) -> None:
    cell = world.put(world.cell(), drawn_sae(0))

    def full(*_: object, **__: object) -> None:
        raise DiskFullError("no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.catalog.write.commit", full)
        with pytest.raises(DiskFullError):
            world.evaluate(cell)
    assert world.rows("SELECT count(*) AS n FROM metrics") == [{"n": 0}]
    assert evaluation_state(world.workspace, cell) == "missing"


def test_no_latent_alive_leaves_matches_without_a_number(world: World) -> None:
    silent = constant_sae(torch.zeros(16))
    cells = [world.put(world.cell(seed=i), silent) for i in (0, 1)]
    result = world.evaluate(*cells)[0]
    assert result.metrics["mmcs_other_seed"].value is None
    assert "alive" in result.metrics["mmcs_other_seed"].reason
    (match,) = world.rows("SELECT mmcs_ab, n_alive_a, mmcs_null_ab FROM dictionary_matches")
    assert match == {"mmcs_ab": None, "n_alive_a": 0, "mmcs_null_ab": None}


def test_the_state_of_a_cell_is_told_without_torch() -> None:
    code = (
        "import sys, pipeline.evaluation.run; "
        "heavy = {'torch', 'transformers', 'zarr', 'pyarrow', 'duckdb'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
