"""What an SAE's content hash covers."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from pipeline.hashing import content_hash
from pipeline.study.names import Source
from pipeline.study.registry import Cell
from pipeline.training.identity import VERSION, identify, identify_all
from pipeline.workspace import Workspace
from sae_core.architectures import config_class
from tests.pipeline.training.scene import ARCHITECTURES, ToyStore, cell


@pytest.fixture
def hashes(store: ToyStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each source's hash is said to be."""
    said: dict[str, str] = {}

    def of(workspace: Workspace, model: str, config: object, source: Source) -> str:
        return said.get(str(source), f"hash of {source}")

    monkeypatch.setattr(importlib.import_module("pipeline.harvest.run"), "source_hash", of)
    return said


def transcoder(write_site: str = "mlp_out") -> Cell:
    fields = {"n_latents": 48, "k": 4, "tokens": 640, "batch_size": 64}
    recipe = config_class("transcoder")(**fields, write_site=write_site)
    return replace(cell(), recipe=recipe)


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "transcoder"])
def test_an_sae_of_its_source_alone_is_what_it_always_was(
    workspace: Workspace, hashes: dict[str, str], architecture: str
) -> None:
    one = cell(architecture)
    run = identify(workspace, one)
    content = {
        "stage": "training",
        "version": VERSION,
        "recipe": one.recipe.model_dump(mode="json"),
        "seed": 0,
        "data_seed": 0,
        "source_hash": f"hash of {one.source}",
    }
    assert run.sae_hash == content_hash(content)
    assert (run.further, run.dictionary) == ((), None)


def test_a_further_sites_activations_enter_the_hash(
    workspace: Workspace, hashes: dict[str, str]
) -> None:
    before = identify(workspace, transcoder())
    assert before.further == ((Source.parse("toy.trained.mlp_out.1"), before.further[0][1]),)
    hashes["toy.trained.mlp_out.1"] = "another"
    after = identify(workspace, transcoder())
    assert after.source_hash == before.source_hash
    assert after.sae_hash != before.sae_hash
    assert after.draws_seed != before.draws_seed


def test_the_same_site_by_two_names_has_two_recipes_and_one_input(
    workspace: Workspace, hashes: dict[str, str]
) -> None:
    one, other = identify_all(workspace, [transcoder("mlp_out"), transcoder("mlp_out.1")])
    assert one.further == other.further
