"""`sae import`: an SAE from elsewhere is an SAE of a source: in the tables, evaluated, matched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline import load
from pipeline.catalog.warehouse import query, refresh
from pipeline.cli.app import main
from pipeline.errors import ExchangeError, StudyError
from pipeline.evaluation.run import evaluate_cells
from pipeline.exchange.export import export
from pipeline.exchange.place import located
from pipeline.exchange.take_in import read_arrival, take_in
from pipeline.study.config import Study
from pipeline.study.names import Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Cell, Registry, register
from pipeline.training.run import train_cells
from pipeline.workspace import Workspace
from tests.pipeline.exchange.some_saes import both
from tests.pipeline.exchange.test_formats import openai_file

Kinds = tuple[Workspace, Study]
SOURCE = Source.parse("pylm.trained.resid_post.1")


def taken(
    workspace: Workspace, folder: Path, name: str, *, write_site: str | None = None
) -> tuple[Cell, bool]:
    registry, place = Registry.load(workspace), located(str(folder))
    arrival = read_arrival(registry, place, SOURCE, name=name, write_site=write_site)
    return take_in(workspace, arrival)


def test_an_sae_that_left_and_came_back_has_the_same_numbers(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    export(workspace, f"{SOURCE}/topk.s0", "saelens", out=tmp_path / "there")
    cell, is_new = taken(workspace, tmp_path / "there", "returned")
    assert is_new
    registry = Registry.load(workspace)
    first = registry.cell(SOURCE, registry.check_key("topk.s0"))
    results = evaluate_cells(workspace, [first, cell])
    for name in ("fvu", "l0", "ce_increase_nats", "dead_eval", "description_bits"):
        ours, theirs = (result.metrics[name] for result in results)
        assert theirs.value == pytest.approx(ours.value, rel=1e-5, abs=1e-6)
    refresh(workspace)
    rows = query(workspace, "FROM evaluations WHERE recipe IN ('topk', 'returned') ORDER BY recipe")
    returned, original = rows.to_pylist()
    assert returned["architecture"] == original["architecture"] == "topk"
    assert returned["fvu"] == pytest.approx(original["fvu"], rel=1e-5)
    assert returned["dead_train"] is None
    (row,) = query(workspace, "FROM saes WHERE recipe = 'returned'").to_pylist()
    assert row["tokens"] is None
    assert row["seconds"] is None
    origin = json.loads(row["config_json"])["imported"]
    assert origin["package"] == "sae-lens 6.54.12"
    assert origin["settings"]["metadata"]["sae_foundry"]["sae"] == f"{SOURCE}/topk.s0"
    x = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))
    sae = load(row["path"], workspace=workspace.root)
    for a, b in zip(both(sae, x), both(load(workspace.saes / original["sae"]), x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_an_imported_sae_is_matched_with_ours_of_the_same_width(
    kinds: Kinds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = kinds
    export(workspace, f"{SOURCE}/topk.s0", "dictionary_learning", out=tmp_path / "there")
    cell, _ = taken(workspace, tmp_path / "there", "visitor")
    registry = Registry.load(workspace)
    own = registry.cell(SOURCE, registry.check_key("topk.s0"))
    evaluate_cells(workspace, [own, cell])
    refresh(workspace)
    with pytest.raises(SystemExit, match="0"):
        main(["--workspace", str(workspace.root), "match", cell.sae_id, own.sae_id, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["pair"], {told["sae_a"], told["sae_b"]}) == (
        "requested",
        {own.sae_id, cell.sae_id},
    )
    assert told["mmcs_ab"] == pytest.approx(1, abs=1e-5)
    assert told["shared_90"] == 1.0
    found = query(workspace, f"FROM latent_matches WHERE sae_a = '{cell.sae_id}'").to_pylist()
    assert found
    assert all(row["latent_a"] == row["partner"] for row in found)


def test_taking_in_the_same_files_again_changes_nothing(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    export(workspace, f"{SOURCE}/gated.s0", "dictionary_learning", out=tmp_path / "there")
    (cell, first), (again, second) = (taken(workspace, tmp_path / "there", "g") for _ in range(2))
    assert (first, second) == (True, False)
    assert cell.sae_id == again.sae_id
    assert len(list((workspace.saes / cell.sae_id).iterdir())) == 1
    export(workspace, f"{SOURCE}/topk.s0", "dictionary_learning", out=tmp_path / "other")
    with pytest.raises(StudyError, match=r"'g' is taken by the SAE from there.*--as"):
        taken(workspace, tmp_path / "other", "g")


KINDS = {
    "batch": ("saelens", "batch_topk"),
    "gated": ("dictionary_learning", "gated"),
    "groups": ("sparsify", "group_max"),
    "normal": ("saelens", "topk_token_norm"),
    "skip": ("sparsify", "skip_transcoder"),
}


def test_each_kind_is_evaluated_like_the_one_it_was(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    cells = {}
    for recipe, (format, architecture) in KINDS.items():
        export(workspace, f"{SOURCE}/{recipe}.s0", format, out=tmp_path / recipe)
        site = "mlp_out" if recipe == "skip" else None
        back, _ = taken(workspace, tmp_path / recipe, f"{recipe}-back", write_site=site)
        assert back.recipe.architecture == architecture
        registry = Registry.load(workspace)
        cells[recipe] = (registry.cell(SOURCE, registry.check_key(f"{recipe}.s0")), back)
    everything = [cell for pair in cells.values() for cell in pair]
    results = {one.sae: one.metrics for one in evaluate_cells(workspace, everything)}
    for own, back in cells.values():
        ours, theirs = results[own.sae_id], results[back.sae_id]
        for name in ("fvu", "l0", "ce_increase_nats"):
            assert theirs[name].value == pytest.approx(ours[name].value, rel=1e-4)
    normal = results[cells["normal"][0].sae_id]
    assert 0 < normal["fvu"].value < 1


@pytest.mark.parametrize("recipe", ["switch", "cross", "skip"])
def test_our_own_files_are_taken_in_whatever_the_architecture(kinds: Kinds, recipe: str) -> None:
    workspace, _ = kinds
    (folder,) = (workspace.saes / f"{SOURCE}/{recipe}.s0").iterdir()
    cell, _ = taken(workspace, folder, f"{recipe}-own")
    (there,) = (workspace.saes / cell.sae_id).iterdir()
    ours, theirs = load(folder).state_dict(), load(there).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert cell.recipe.architecture == load(folder).config.architecture
    again, is_new = taken(workspace, folder, f"{recipe}-own")
    assert (again.sae_id, is_new) == (cell.sae_id, False)


def test_openai_sae_of_the_right_width_is_taken_in(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    folder = openai_file(tmp_path / "gpt", width=128, n_latents=64)
    cell, _ = taken(workspace, folder, "openai")
    (result,) = evaluate_cells(workspace, [cell])
    assert result.metrics["l0"].value <= 5
    assert result.metrics["fvu"].value > 0
    reasons = {name: one.reason for name, one in result.metrics.items() if one.value is None}
    assert "training recorded no counters" in reasons["dead_train"]


def test_an_imported_recipe_is_not_trained_elsewhere(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    export(workspace, f"{SOURCE}/topk.s0", "sparsify", out=tmp_path / "there")
    taken(workspace, tmp_path / "there", "frozen")
    registry = Registry.load(workspace)
    cell = registry.cell(SOURCE, registry.check_key("frozen.s1"))
    with pytest.raises(StudyError, match=r"cannot be trained: .* came from there .*sae import"):
        train_cells(workspace, [cell])


def test_a_study_file_may_name_an_imported_recipe(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    export(workspace, f"{SOURCE}/topk.s0", "saelens", out=tmp_path / "there")
    taken(workspace, tmp_path / "there", "named")
    (path,) = workspace.studies.glob("*import-named*.yaml")
    again = parse_study(path.read_text(), "copy")
    register(workspace, again, yaml_text=path.read_text())
    assert again.recipes["named"] == Registry.load(workspace).recipes["named"]


SETTINGS = Callable[[dict], object]


def edited(folder: Path, file: str, edit: SETTINGS) -> Path:
    config = json.loads((folder / file).read_text())
    edit(config)
    (folder / file).write_text(json.dumps(config))
    return folder


def test_what_cannot_be_read_is_told_with_what_is_allowed(kinds: Kinds, tmp_path: Path) -> None:
    workspace, _ = kinds
    made = export(workspace, f"{SOURCE}/topk.s0", "saelens", out=tmp_path / "there").folder

    def error(edit: SETTINGS, file: str = "cfg.json") -> str:
        folder = Path(shutil.copytree(made, tmp_path / "copy", dirs_exist_ok=True))
        with pytest.raises(ExchangeError) as told:
            taken(workspace, edited(folder, file, edit), "x")
        return str(told.value)

    assert "'temporal' has no counterpart here. Allowed: standard, topk" in error(
        lambda c: c.update(architecture="temporal")
    )
    assert "lacks the setting 'k'" in error(lambda c: c.pop("k"))
    assert "W_enc has shape (128, 64). Allowed: (128, 65)" in error(lambda c: c.update(d_sae=65))
    assert "lacks the tensor 'threshold'" in error(lambda c: c.update(architecture="jumprelu"))
    assert "before 6.0" in error(lambda c: c["metadata"].pop("sae_lens_version"))
    assert "'constant_norm_rescale'" in error(
        lambda c: c.update(normalize_activations="constant_norm_rescale")
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExchangeError, match=r"holds no SAE of a known format.*Formats: dict"):
        taken(workspace, tmp_path / "empty", "x")
    with pytest.raises(ExchangeError, match="neither a folder nor a hub id"):
        located("nothing here")
    weights = made / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ExchangeError, match="cannot be read as safetensors"):
        taken(workspace, made, "x")


def test_another_width_and_a_transcoder_without_its_site_are_refused(
    kinds: Kinds, tmp_path: Path
) -> None:
    workspace, _ = kinds
    with pytest.raises(ExchangeError, match=r"width 12, and pylm.* has width 128"):
        taken(workspace, openai_file(tmp_path / "narrow"), "x")
    export(workspace, f"{SOURCE}/skip.s0", "sparsify", out=tmp_path / "skip")
    with pytest.raises(ExchangeError, match="--write-site mlp_out"):
        taken(workspace, tmp_path / "skip", "x")


@pytest.mark.parametrize(
    "evaluate",
    [False, pytest.param(True, marks=pytest.mark.long)],
)
def test_the_command_imports_evaluates_and_tells(
    kinds: Kinds, tmp_path: Path, capsys: pytest.CaptureFixture[str], evaluate: bool
) -> None:
    workspace, _ = kinds
    place, out, name = ["--workspace", str(workspace.root)], str(tmp_path / "there"), "typed"
    name += "-evaluated" if evaluate else ""
    wanted = "--evaluate" if evaluate else "--no-evaluate"

    def told(*command: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as ended:
            main([*place, *command, "--json"])
        assert ended.value.code == 0
        return json.loads(capsys.readouterr().out)

    made = told("export", f"{SOURCE}/topk.s0", "--format", "saelens", "--out", out)
    assert made["nearness"] is None
    answer = told("import", out, "--source", str(SOURCE), "--as", name, wanted)
    assert answer["sae"] == f"{SOURCE}/{name}.s0"
    assert answer["new"]
    (row,) = query(workspace, f"FROM evaluations WHERE recipe = '{name}'").to_pylist()
    assert (row["fvu"] is not None) == evaluate
