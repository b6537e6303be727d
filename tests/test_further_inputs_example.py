"""The example of recipes with further inputs: whole, and run on a small part of its budget."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.catalog.warehouse import query
from pipeline.study.read import load_study
from pipeline.workspace import Workspace
from sae_core.architectures import config_class, names
from tests.pipeline.small_world import texts
from tests.pipeline.test_further_inputs import made

STUDY = Path(__file__).parents[1] / "examples" / "further_inputs.yaml"


def test_the_example_has_every_architecture_that_needs_more_than_its_source() -> None:
    study = load_study(STUDY)
    shown = {recipe.architecture for recipe in study.recipes.values()}
    assert shown - {"topk"} == {name for name in names() if config_class(name).inputs != "source"}
    (dictionary,) = study.recipes["further-meta"].named_inputs
    assert dictionary.split(".s")[0] in study.recipes


def small(folder: Path) -> str:
    """The study with a thirty-second of its tokens and an eighth of the latents, on some files."""
    study = yaml.safe_load(STUDY.read_text())
    model = study["models"]["pylm"]
    corpus = {"kind": "text", "path": str(texts(folder / "texts"))}
    model |= {"corpus": corpus | {"held_out_share": 0.2, "calibration_share": 0.2}, "context": 64}
    model["harvest"] = {"tokens": 4096, "calibration_tokens": 2048}
    for recipe in study["recipes"].values():
        recipe |= {"tokens": recipe["tokens"] // 32, "batch_size": 256}
        recipe["n_latents"] //= 8
    study["evaluation"] = {"tokens": 512, "curve_tokens": 256, "bootstrap": 100}
    return yaml.safe_dump(study)


@pytest.mark.long
def test_a_small_part_of_it_makes_what_is_missing_and_measures_everything(tmp_path: Path) -> None:
    text = small(tmp_path)
    keys = [f"{recipe}.s0" for recipe in yaml.safe_load(text)["recipes"]]
    workspace = Workspace.open(tmp_path / "workspace")
    made(workspace, text, "pylm.trained.resid_pre.2", keys)
    rows = {row["recipe"]: row for row in query(workspace, "SELECT * FROM evaluations").to_pylist()}
    assert {f"{recipe}.s0" for recipe in rows} == set(keys)
    assert all(0 < row["fvu"] < 1.5 for row in rows.values())
    of_text = [row for recipe, row in rows.items() if recipe != "further-meta"]
    assert all(row["ce_increase_nats"] is not None for row in of_text)
    sources = query(workspace, "SELECT source FROM sources").to_pylist()
    assert {row["source"].split(".", 2)[2] for row in sources} == {
        "resid_pre.2",
        "mlp_out.2",
        "resid_post.2",
    }
