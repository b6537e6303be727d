"""Recipes with further inputs, from a study through the DAG to SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from pipeline.catalog.warehouse import query
from pipeline.evaluation.run import evaluate_cells
from pipeline.orchestrate.cells import cell_request
from pipeline.orchestrate.harvesting import harvest_requested
from pipeline.orchestrate.inputs import make_inputs
from pipeline.orchestrate.partitions import cell_key
from pipeline.plan import Plan, make_plan, pack_corpora
from pipeline.progress import silent
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from tests.pipeline.small_world import STUDY, texts

SMALL = "n_latents: 64, tokens: 8192, batch_size: 256, lr: 0.003"
RECIPES = f"""
  transcoder: {{architecture: transcoder, k: 8, write_site: mlp_out, {SMALL}}}
  skip: {{architecture: skip_transcoder, k: 8, write_site: mlp_out, {SMALL}}}
  crosscoder: {{architecture: crosscoder, sites: [resid_pre, mlp_out], {SMALL}}}
  topk_crosscoder:
    {{architecture: topk_crosscoder, k: 8, sites: [resid_pre.1, resid_post.1], {SMALL}}}
  meta: {{architecture: meta_sae, dictionary: topk8.s1, k: 3, n_latents: 16, tokens: 4096}}
  end_to_end:
    {{architecture: end_to_end, later_sites: [resid_post.1, resid_post.3], l1: 0.01, {SMALL}}}
"""
SOURCE = "pylm.trained.resid_pre.1"
KEYS = tuple(
    f"{recipe}.s0"
    for recipe in ("meta", "transcoder", "skip", "crosscoder", "topk_crosscoder", "end_to_end")
)


@dataclass
class World:
    """A workspace in which only the SAEs with further inputs were asked for."""

    workspace: Workspace
    first_plan: Plan

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return query(self.workspace, sql).to_pylist()


def planned(workspace: Workspace) -> Plan:
    return plan_of(workspace, SOURCE, KEYS)


def plan_of(workspace: Workspace, source: str, keys: Sequence[str]) -> Plan:
    registry, parsed = Registry.load(workspace), [SaeKey.parse(key) for key in keys]
    return make_plan(workspace, registry, [Source.parse(source)], parsed)


def made(workspace: Workspace, text: str, source: str, keys: Sequence[str]) -> Plan:
    """What was planned at first; made by the calls that the assets make, in their order."""
    register(workspace, parse_study(text, "here"), yaml_text=text)
    pack_corpora(workspace, Registry.load(workspace), [Source.parse(source)], report=silent)
    plan = plan_of(workspace, source, keys)
    requested = [str(work.source) for work in plan.sources]
    harvest_requested(workspace, requested, requested, report=silent)
    for work in plan.cells:
        others = [str(cell_key(w.cell.source, w.cell.key)) for w in plan.cells]
        own = str(cell_key(work.cell.source, work.cell.key))
        request = cell_request(workspace, own, others)
        make_inputs(workspace, request.own, report=silent)
        request.made_by(lambda cells: train_cells(workspace, cells))
        request.made_by(lambda cells: evaluate_cells(workspace, cells))
    return plan


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("further")
    text = STUDY.replace("TEXTS", str(texts(folder / "texts")))
    text = text.replace("[resid_post.1]", "[resid_pre.1]")
    text = text.replace("recipes:\n", f"recipes:{RECIPES}")
    workspace = Workspace.open(folder / "workspace")
    yield World(workspace, made(workspace, text, SOURCE, KEYS))
    torch.set_num_threads(threads)


def test_everything_was_made_and_nothing_is_left_to_do(world: World) -> None:
    again = planned(world.workspace)
    assert not again.missing_cells
    assert not again.missing_sources
    assert world.first_plan.missing_cells == world.first_plan.cells


def test_one_pass_of_the_model_stored_every_site(world: World) -> None:
    (rows,) = world.rows("select count(distinct run) as runs, count(*) as n from sources")
    assert rows["n"] == len(world.first_plan.sources)
    ((_, works),) = world.first_plan.passes()
    assert len(works) == rows["n"]


def test_sql_names_what_is_read_besides_the_source(world: World) -> None:
    rows = world.rows("select recipe, site, further_inputs, status from saes")
    found = {row["recipe"]: row["further_inputs"] for row in rows}
    assert found["transcoder"] == found["skip"] == "mlp_out.1"
    assert {row["status"] for row in rows} == {"ok"}


def test_a_transcoder_has_every_number_at_the_site_it_writes(world: World) -> None:
    rows = world.rows("select * from evaluations where architecture like '%transcoder'")
    assert len(rows) == 2
    for row in rows:
        assert 0 < row["fvu"] < 1.2
        assert row["ce_clean"] < row["ce_spliced"] < row["ce_zero"]
        assert 0 < row["loss_recovered_zero"] < 1


def test_a_crosscoder_has_numbers_over_all_sites_and_at_each(world: World) -> None:
    rows = world.rows("select * from evaluations where architecture like '%crosscoder'")
    assert len(rows) == 2
    assert all(0 < row["fvu"] < 1.2 and row["ce_clean"] < row["ce_spliced"] for row in rows)
    rows = world.rows("select * from site_metrics where sae like '%/topk_crosscoder.s0'")
    at = {(row["site"], row["metric"]): row for row in rows}
    assert {site for site, _ in at} == {"resid_pre.1", "resid_post.1"}
    (whole,) = world.rows("select * from evaluations where recipe = 'topk_crosscoder'")
    both = at["resid_pre.1", "mse"]["value"] + at["resid_post.1", "mse"]["value"]
    assert both == pytest.approx(whole["mse"])
    for row in rows:
        assert row["ci_low"] < row["value"] < row["ci_high"]
        assert row["n"] == at["resid_pre.1", "fvu"]["n"]


def test_each_latent_of_a_crosscoder_says_where_it_lives(world: World) -> None:
    rows = world.rows(
        "select sae, latent, sum(relative_decoder_norm) as share, count(*) as n, "
        "sum(decoder_norm ** 2) as square from latent_sites group by all"
    )
    assert len(rows) == 2 * 64
    assert all(row["n"] == 2 for row in rows)
    assert all(row["share"] == pytest.approx(1) for row in rows)
    assert all(row["square"] == pytest.approx(1, abs=1e-5) for row in rows)


def test_the_sae_whose_dictionary_is_read_was_made_first(world: World) -> None:
    assert world.first_plan.cells[0].cell.sae_id == f"{SOURCE}/topk8.s1"
    (row,) = world.rows("select * from saes where recipe = 'meta'")
    assert row["further_inputs"] == f"{SOURCE}/topk8.s1"
    assert row["epochs"] == pytest.approx(4096 / 64)
    assert len(world.rows("select * from saes where recipe = 'topk8'")) == 1


def test_a_meta_sae_is_measured_on_rows_and_says_so(world: World) -> None:
    rows = {
        row["metric"]: row for row in world.rows("select * from metrics where sae like '%/meta.s0'")
    }
    assert rows["fvu"]["n"] == 64
    assert 0 < rows["fvu"]["value"] < 1.2
    assert rows["fvu"]["ci_low"] < rows["fvu"]["ci_high"]
    assert "rows of the dictionary" in rows["fvu"]["reason"]
    for name in ("ce_clean", "ce_increase_nats", "kl_nats", "loss_recovered_zero"):
        assert rows[name]["value"] is None
        assert "reads no activations" in rows[name]["reason"]
    assert all(row["value"] is not None or row["reason"] for row in rows.values())


def test_an_end_to_end_sae_learns_what_the_model_says_with_it(world: World) -> None:
    (row,) = world.rows("select * from saes where recipe = 'end_to_end'")
    assert row["further_inputs"] == "resid_post.1, resid_post.3"
    curve = world.rows(
        "select metric, first(value order by step) as first, last(value order by step) as last "
        "from training_curve where sae like '%/end_to_end.s0' group by metric"
    )
    values = {row["metric"]: (row["first"], row["last"]) for row in curve}
    for term in ("kl", "later", "reconstruction"):
        first, last = values[term]
        assert last < first, term
    (row,) = world.rows("select * from evaluations where recipe = 'end_to_end'")
    assert row["ce_clean"] < row["ce_spliced"] < row["ce_zero"]
