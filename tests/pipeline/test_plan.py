"""The plan says the truth before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.errors import SiteError, StudyError, UserError
from pipeline.estimate import ASSUMED_FLOPS_PER_SECOND
from pipeline.model_shape import check_context, model_shape
from pipeline.plan import Plan, make_plan, pack_corpora
from pipeline.plan_text import plan_json, plan_lines
from pipeline.progress import silent
from pipeline.study.config import CorpusConfig, HarvestConfig, ModelConfig
from pipeline.study.names import SaeKey, Site, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Cell, Registry, register
from pipeline.workspace import Workspace

STUDY = """
study: tiny
models:
  lm: {path: embedded, harvest: {tokens: 4000, calibration_tokens: 1000}}
sites: [resid_post.0-3]
weights: [trained, random]
recipes:
  short: {architecture: topk, n_latents: 64, k: 2, tokens: 2000}
  long: {architecture: topk, n_latents: 64, k: 2, tokens: 10000}
seeds: [0, 1]
"""
WIDTH = model_shape(ModelConfig(path="embedded")).width
States = dict[str, str]


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> States:
    """What each source or SAE is said to be; missing where nothing is said."""
    said: States = {}
    corpus = SimpleNamespace(n_tokens=lambda split: 5000)

    def of_source(workspace: Workspace, name: str, config: ModelConfig, source: Source) -> str:
        return said.get(str(source), "missing")

    def of_sae(workspace: Workspace, cell: Cell) -> str:
        return said.get(cell.sae_id, "missing")

    def of_evaluation(workspace: Workspace, cell: Cell) -> str:
        return said.get(f"evaluation {cell.sae_id}", "missing")

    monkeypatch.setattr("pipeline.corpus.pack.open_corpus", lambda *_: corpus)
    monkeypatch.setattr("pipeline.harvest.run.harvest_state", of_source)
    monkeypatch.setattr("pipeline.training.run.training_state", of_sae)
    monkeypatch.setattr("pipeline.evaluation.run.evaluation_state", of_evaluation)
    return said


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    opened = Workspace.open(tmp_path)
    register(opened, parse_study(STUDY, "test"), yaml_text=STUDY)
    return opened


@pytest.fixture
def planned(workspace: Workspace) -> Callable[..., Plan]:
    def make(*, sources: int | None = None, keys: int | None = None) -> Plan:
        study = parse_study(STUDY, "test")
        registry = Registry.load(workspace)
        return make_plan(workspace, registry, study.sources()[:sources], study.keys()[:keys])

    return make


def test_a_fresh_plan_makes_everything(states: States, planned: Callable[..., Plan]) -> None:
    plan = planned()
    assert (len(plan.sources), len(plan.cells)) == (8, 32)
    assert len(plan.missing_cells) == 32
    assert [len(works) for _, works in plan.passes()] == [4, 4]


def test_what_exists_costs_nothing(states: States, planned: Callable[..., Plan]) -> None:
    plan = planned()
    for work in plan.sources:
        states[str(work.source)] = "done"
    for cell in plan.cells:
        states[cell.cell.sae_id] = states[f"evaluation {cell.cell.sae_id}"] = "done"
    done = planned()
    assert (done.bytes, done.seconds) == (0, 0.0)
    assert done.missing_cells == ()
    assert "work   nothing: all of it exists" in plan_lines(done)


def test_bytes_are_rows_times_width_times_the_storage_type(
    states: States, planned: Callable[..., Plan]
) -> None:
    plan = planned(sources=1, keys=1)
    weights_and_checkpoint = 4 * 4 * 2 * WIDTH * 64
    assert plan.bytes == (4000 + 1000) * WIDTH * 2 + weights_and_checkpoint


def test_seconds_are_operations_over_the_assumed_rate(
    states: States, planned: Callable[..., Plan]
) -> None:
    states["lm.trained.resid_post.0"] = "done"
    states["lm.trained.resid_post.0/short.s0"] = "missing"
    states["evaluation lm.trained.resid_post.0/short.s0"] = "done"
    plan = planned(sources=1, keys=1)
    assert plan.seconds == pytest.approx(2000 * 12 * WIDTH * 64 / ASSUMED_FLOPS_PER_SECOND)
    assert "rough" in plan_lines(plan)[-1]


def test_a_budget_beyond_the_rows_is_said_in_epochs(
    states: States, planned: Callable[..., Plan]
) -> None:
    lines = "\n".join(plan_lines(planned()))
    assert "long on lm: 10 k tokens are 2.5 epochs over the rows" in lines
    assert "short on lm" not in lines


def test_held_out_text_shorter_than_asked_for_is_said(
    states: States, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(held_out: int) -> list[str]:
        corpus = SimpleNamespace(n_tokens={"train": 5000, "held_out": held_out}.__getitem__)
        monkeypatch.setattr("pipeline.corpus.pack.open_corpus", lambda *_: corpus)
        return [text for text in plan_lines(planned()) if "held-out" in text]

    assert line(65_536) == []
    assert line(3000) == [
        "work   evaluation on lm takes all 3,000 held-out tokens, fewer than the 65,536 of "
        "evaluation.tokens: give more text, or a larger held_out_share"
    ]


def test_a_harvest_beyond_the_corpus_is_refused(
    states: States, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SimpleNamespace(n_tokens=lambda split: 3999)
    monkeypatch.setattr("pipeline.corpus.pack.open_corpus", lambda *_: small)
    with pytest.raises(StudyError, match=r"harvest.tokens is 4,000.* 3,999 train tokens"):
        planned()


def test_an_unpacked_corpus_is_packed_first_and_asks_for_no_states(
    states: States, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_hash_yet(workspace: Workspace, cell: Cell) -> str:
        raise AssertionError("asked before the corpus is packed")

    monkeypatch.setattr("pipeline.corpus.pack.open_corpus", lambda *_: None)
    monkeypatch.setattr("pipeline.training.run.training_state", no_hash_yet)
    plan = planned()
    assert plan.unpacked == ("lm",)
    assert (
        "work   the corpus of lm is packed first, and says how many tokens there are; whether "
        "they are the 4,000 of harvest.tokens is checked then, not now" in plan_lines(plan)
    )


def test_a_harvest_beyond_what_the_files_can_hold_is_refused_before_packing(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packing(*_: object, **__: object) -> None:
        raise AssertionError("packed a corpus that cannot be enough")

    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.txt").write_text("x" * 100)
    corpus = CorpusConfig(kind="text", path=str(folder))
    model = ModelConfig(corpus=corpus, harvest=HarvestConfig(tokens=2021))
    study = parse_study(STUDY, "test").model_copy(update={"study": "poor", "models": {"p": model}})
    register(workspace, study, yaml_text="")
    registry = Registry.load(workspace)
    said = r"models.p.harvest.tokens is 2,021, but .* fewer than 2,020 tokens"
    monkeypatch.setattr("pipeline.corpus.pack.pack_corpus", packing)
    with pytest.raises(StudyError, match=said):
        make_plan(workspace, registry, study.sources(), study.keys())
    with pytest.raises(StudyError, match=said):
        pack_corpora(workspace, registry, study.sources(), report=silent)


def test_unknown_sites_list_those_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps({"n_layer": 3, "n_embd": 8}))
    text = STUDY.replace("resid_post.0-3", "resid_pots.0").replace("embedded", "./mine")
    with pytest.raises(StudyError, match=r"'resid_post'.* 'lm': resid_pre.0-2, resid_post.0-2,"):
        parse_study(text, "test", folder=tmp_path)


@pytest.mark.parametrize("source", ["lm.trained.mlp_ou.0", "lm.trained.mlp_out.4"])
def test_unknown_sites_of_a_partition_list_those_of_its_model(
    workspace: Workspace, source: str
) -> None:
    with pytest.raises(UserError, match=r"The sites of 'lm': .*mlp_out.0-3, mlp_act.0-3\."):
        make_plan(workspace, Registry.load(workspace), [Source.parse(source)], [])


def test_a_diverged_sae_is_neither_trained_nor_evaluated_again(
    states: States, planned: Callable[..., Plan]
) -> None:
    states["lm.trained.resid_post.0/short.s0"] = "diverged"
    work = planned(sources=1, keys=1).cells[0]
    assert (work.to_train, work.to_evaluate, work.exists) == (False, False, False)
    assert "diverged: short.s0" in "\n".join(plan_lines(planned(sources=1, keys=1)))


def test_the_json_plan_names_every_cell_and_pass(
    states: States, planned: Callable[..., Plan]
) -> None:
    plan = plan_json(planned(sources=2, keys=1))
    assert [cell["sae"] for cell in plan["cells"]] == [
        "lm.trained.resid_post.0/short.s0",
        "lm.trained.resid_post.1/short.s0",
    ]
    assert plan["passes"] == [
        {"model": "lm", "weights": "trained", "sites": ["resid_post.0", "resid_post.1"]}
    ]


def test_a_context_beyond_the_models_positions_is_refused_before_packing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def packing(*_: object, **__: object) -> None:
        raise AssertionError("packed rows that the model cannot read")

    long = {"p": ModelConfig(context=257)}
    study = parse_study(STUDY, "test").model_copy(update={"study": "long", "models": long})
    register(workspace, study, yaml_text="")
    registry = Registry.load(workspace)
    said = r"context 257 is longer than the 256 positions that 'embedded' knows.* at most 256"
    monkeypatch.setattr("pipeline.corpus.pack.pack_corpus", packing)
    with pytest.raises(StudyError, match=said):
        make_plan(workspace, registry, study.sources(), study.keys())
    with pytest.raises(StudyError, match=said):
        pack_corpora(workspace, registry, study.sources(), report=silent)


@pytest.mark.parametrize("name", ["max_position_embeddings", "n_positions"])
def test_positions_are_read_from_the_models_own_config(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {name: 64}}))
    check_context(ModelConfig(path=str(tmp_path), context=64))
    with pytest.raises(StudyError, match="64 positions"):
        check_context(ModelConfig(path=str(tmp_path), context=65))


@pytest.mark.parametrize(
    "config",
    [
        {"num_hidden_layers": 3, "hidden_size": 8, "intermediate_size": 20},
        {"n_layer": 3, "n_embd": 8, "n_inner": 20},
        {"text_config": {"num_hidden_layers": 3, "hidden_size": 8, "intermediate_size": 20}},
    ],
)
def test_shape_is_read_from_the_models_own_config(tmp_path: Path, config: dict) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = model_shape(ModelConfig(path=str(tmp_path)))
    assert (shape.n_layers, shape.width) == (3, 8)
    assert shape.site_width(Site("mlp_act", 0)) == 20
    assert shape.flops_per_token(1) == 2 * (4 * 8**2 + 2 * 8 * 20)


def test_unknown_seeds_are_new_partitions_not_errors(states: States, workspace: Workspace) -> None:
    source = Source.parse("lm.trained.resid_post.0")
    plan = make_plan(workspace, Registry.load(workspace), [source], [SaeKey("short", 99)])
    assert plan.cells[0].cell.key.seed == 99


def planned_with(workspace: Workspace, recipes: str, sources: list[str], keys: list[str]) -> Plan:
    text = STUDY.replace("study: tiny", "study: more").replace("recipes:\n", f"recipes:\n{recipes}")
    register(workspace, parse_study(text, "test"), yaml_text=text)
    registry = Registry.load(workspace)
    chosen = [Source.parse(source) for source in sources]
    return make_plan(workspace, registry, chosen, [SaeKey.parse(key) for key in keys])


TRANSCODER = "  tc: {architecture: transcoder, n_latents: 9, k: 2, tokens: 99, write_site: SITE}\n"


def test_a_site_that_a_recipe_writes_is_harvested_in_the_same_pass(
    states: States, workspace: Workspace
) -> None:
    recipes = TRANSCODER.replace("SITE", "mlp_out")
    plan = planned_with(workspace, recipes, ["lm.trained.resid_pre.1"], ["tc.s0", "short.s0"])
    ((variant, works),) = plan.passes()
    assert variant == ("lm", "trained")
    assert [str(work.source.site) for work in works] == ["resid_pre.1", "mlp_out.1"]
    assert [work.cell.sae_id for work in plan.cells] == [
        "lm.trained.resid_pre.1/tc.s0",
        "lm.trained.resid_pre.1/short.s0",
    ]
    text = "\n".join(plan_lines(plan))
    assert "2 cells on 2 sources, with what recipes need besides" in text
    assert "lm.trained.mlp_out.1: to harvest; read by SAEs of other sites" in text


def test_a_layer_to_write_beyond_the_depth_is_refused(states: States, workspace: Workspace) -> None:
    recipes = TRANSCODER.replace("SITE", "mlp_out.9")
    with pytest.raises(SiteError, match=r"mlp_out\.9.*Allowed: 0 to 3"):
        planned_with(workspace, recipes, ["lm.trained.resid_pre.1"], ["tc.s0"])


def test_training_through_the_model_costs_passes_of_the_model(
    states: States, workspace: Workspace
) -> None:
    recipes = "  e2e: {architecture: end_to_end, n_latents: 64, tokens: 2048}\n"
    recipes += "  relu: {architecture: relu, n_latents: 64, tokens: 2048}\n"
    through, plain = (
        planned_with(workspace, recipes, ["lm.trained.resid_pre.1"], [key]).seconds
        for key in ("e2e.s0", "relu.s0")
    )
    shape = model_shape(ModelConfig(path="embedded"))
    flops = 4 * 2048 * shape.flops_per_token(shape.n_layers)
    assert through - plain == pytest.approx(flops / ASSUMED_FLOPS_PER_SECOND)
