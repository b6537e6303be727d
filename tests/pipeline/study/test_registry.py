from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.catalog.warehouse import query
from pipeline.errors import StudyError
from pipeline.study.config import Study
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace

STUDY = """
study: one
models: {pylm: {context: 64}}
sites: [resid_post.0]
recipes: {topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 1000}}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path)


def _register(workspace: Workspace, text: str, *, replace: bool = False) -> Study:
    study = parse_study(text, "study.yaml")
    register(workspace, study, yaml_text=text, replace=replace)
    return study


def test_a_registered_study_comes_back_whole(workspace: Workspace) -> None:
    study = _register(workspace, STUDY)
    registry = Registry.load(workspace)
    assert registry.studies == {"one": study}
    assert registry.models == study.models
    assert registry.recipes == study.recipes
    rows = query(workspace, "SELECT study, yaml FROM studies").to_pylist()
    assert rows == [{"study": "one", "yaml": STUDY}]


def test_registering_the_same_content_again_changes_nothing(workspace: Workspace) -> None:
    _register(workspace, STUDY)
    files = sorted(workspace.studies.iterdir())
    _register(workspace, STUDY + "# only a comment\n")
    assert sorted(workspace.studies.iterdir()) == files


def test_a_study_may_grow(workspace: Workspace) -> None:
    _register(workspace, STUDY)
    _register(workspace, STUDY.replace("[resid_post.0]", "[resid_post.0-2]"))
    assert len(Registry.load(workspace).studies["one"].sites) == 3


def test_two_studies_share_a_name_with_the_same_content(workspace: Workspace) -> None:
    _register(workspace, STUDY)
    _register(workspace, STUDY.replace("study: one", "study: two"))
    assert set(Registry.load(workspace).studies) == {"one", "two"}


@pytest.mark.parametrize(
    ("was", "now", "line"),
    [
        ("k: 8", "k: 9", "recipes.topk8.k: 8 in the workspace, 9 here"),
        ("context: 64", "context: 32", "models.pylm.context: 64 in the workspace, 32 here"),
        ("sites:", "data_seed: 5\nsites:", "data_seed: 0 in study 'one', 5 here"),
    ],
)
def test_a_taken_name_with_other_content_is_refused_until_replaced(
    workspace: Workspace, was: str, now: str, line: str
) -> None:
    _register(workspace, STUDY)
    other = STUDY.replace("study: one", "study: two").replace(was, now)
    with pytest.raises(StudyError) as caught:
        _register(workspace, other)
    assert line in str(caught.value)
    assert "--replace" in str(caught.value)
    assert set(Registry.load(workspace).studies) == {"one"}
    study = _register(workspace, other, replace=True)
    registry = Registry.load(workspace)
    assert registry.models == study.models
    assert registry.recipes == study.recipes
    cell = registry.cell(Source.parse("pylm.trained.resid_post.0"), SaeKey("topk8", 0))
    assert cell.data_seed == study.data_seed


def test_a_cell_takes_its_settings_from_the_newest_study_that_names_both(
    workspace: Workspace,
) -> None:
    _register(workspace, STUDY)
    later = STUDY.replace("study: one", "study: two") + "evaluation: {tokens: 1234}\n"
    _register(workspace, later)
    cell = Registry.load(workspace).cell(
        Source.parse("pylm.random@3.mlp_out.7"), SaeKey.parse("topk8.s5")
    )
    assert (cell.study, cell.evaluation.tokens) == ("two", 1234)
    assert cell.sae_id == "pylm.random@3.mlp_out.7/topk8.s5"
    assert cell.recipe.k == 8


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("pylmm.trained.resid_post.0", "'pylmm' is not a model.*'pylm'"),
        ("pylm.trainde.resid_post.0", "'trainde' is not a weights variant"),
        ("pylm.trained.resid_pots.0", "unknown kind 'resid_pots'"),
        ("pylm.trained.resid_post", "is not a source"),
        ("pylm|x.trained.resid_post.0", "cannot be used as a name"),
        ("a...b", "is not a source"),
        ("pylm.trained.resid_post.0\n", "is not a site"),
        ("x" * 300, "is not a source"),
        ("", "is not a source"),
    ],
)
def test_a_malformed_source_typed_by_a_person_is_told(
    workspace: Workspace, source: str, text: str
) -> None:
    _register(workspace, STUDY)
    registry = Registry.load(workspace)
    assert str(registry.check_source("pylm.trained.resid_post.9")) == "pylm.trained.resid_post.9"
    with pytest.raises(StudyError, match=text):
        registry.check_source(source)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("topk9.s0", "'topk9' is not a recipe.*'topk8'"),
        ("topk8", "is not an SAE key"),
        ("topk8.s-1", "is not an SAE key"),
        ("topk8.s0|x", "is not an SAE key"),
        ("topk8.s0...topk8.s3", "is not an SAE key"),
        ("topk8.s01", "is not an SAE key"),
    ],
)
def test_a_malformed_key_typed_by_a_person_is_told(
    workspace: Workspace, key: str, text: str
) -> None:
    _register(workspace, STUDY)
    registry = Registry.load(workspace)
    assert registry.check_key("topk8.s3") == SaeKey("topk8", 3)
    with pytest.raises(StudyError, match=text):
        registry.check_key(key)


def test_an_empty_workspace_says_to_run_a_study_first(workspace: Workspace) -> None:
    with pytest.raises(StudyError, match="no studies yet"):
        Registry.load(workspace).check_source("pylm.trained.resid_post.0")


def test_a_model_and_a_recipe_of_different_studies_make_no_cell(workspace: Workspace) -> None:
    _register(workspace, STUDY)
    _register(workspace, STUDY.replace("one", "two").replace("pylm", "b").replace("topk8", "t"))
    with pytest.raises(StudyError, match="No study names both"):
        Registry.load(workspace).cell(Source.parse("b.trained.mlp_out.0"), SaeKey("topk8", 0))
