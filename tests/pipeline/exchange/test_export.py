"""`sae export` on a workspace in which a study was run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline import atomic
from pipeline.catalog.warehouse import query
from pipeline.errors import CheckpointError, DiskFullError, ExchangeError
from pipeline.exchange.export import export, write_folder
from pipeline.exchange.formats import format_of
from pipeline.exchange.hosts import own_sae
from pipeline.load_sae import load
from pipeline.study.config import Study
from pipeline.workspace import Workspace
from tests.pipeline.exchange import oracles
from tests.pipeline.exchange.some_saes import both

World = tuple[Workspace, Study]
SAE = "pylm.trained.resid_post.1/topk8.s0"


def activations() -> torch.Tensor:
    return torch.randn(32, 128, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["saelens", "dictionary_learning", "sparsify"])
def test_a_trained_sae_is_the_same_in_every_format(world: World, tmp_path: Path, name: str) -> None:
    workspace, _ = world
    made = export(workspace, SAE, name, out=tmp_path / "there")
    assert made.nearness is None
    assert sorted(path.name for path in made.folder.iterdir()) == list(made.files)
    ours, x = load(workspace.saes / SAE), activations()
    for a, b in zip(both(ours, x), getattr(oracles, name)(made.folder, x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    back = own_sae(format_of(made.folder).read(made.folder))
    assert back.config.architecture == "topk"


def test_where_an_sae_came_from_rides_along(world: World, tmp_path: Path) -> None:
    workspace, study = world
    (row,) = query(workspace, f"FROM saes WHERE sae = '{SAE}'").to_pylist()
    places = {
        "saelens": ("cfg.json", ("metadata", "sae_foundry")),
        "dictionary_learning": ("config.json", ("sae_foundry",)),
        "sparsify": ("cfg.json", ("sae_foundry",)),
    }
    for name, (file, path) in places.items():
        made = export(workspace, SAE, name, out=tmp_path / name)
        found = json.loads((made.folder / file).read_text())
        for key in path:
            found = found[key]
        assert found["sae"] == SAE
        assert found["sae_hash"] == row["sae_hash"]
        assert found["study"] == study.study
        assert found["source_hash"] == row["source_hash"]
        assert found["commit"] == row["commit"]
        assert found["data"] == "texts (text)"
        assert str(workspace.root) not in json.dumps(found)
    lens = json.loads((tmp_path / "saelens/cfg.json").read_text())
    assert lens["metadata"]["hook_name"] == "blocks.1.hook_resid_post"


def test_nothing_is_written_over_something(world: World, tmp_path: Path) -> None:
    workspace, _ = world
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ExchangeError, match="holds something already"):
        export(workspace, SAE, "saelens", out=tmp_path)
    with pytest.raises(ExchangeError, match="holds something already"):
        export(workspace, SAE, "saelens", out=tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_unknown_names_are_told_with_the_nearest(world: World, tmp_path: Path) -> None:
    workspace, _ = world
    with pytest.raises(ExchangeError, match=r"Did you mean 'saelens'\?"):
        export(workspace, SAE, "sae_lens", out=tmp_path / "x")
    with pytest.raises(ExchangeError, match=r"not a format that is written.*Allowed: dictionary"):
        export(workspace, SAE, "openai", out=tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"Did you mean 'pylm\.trained.*topk8\.s[01]'\?"):
        export(workspace, SAE[:-1] + "7", "saelens", out=tmp_path / "x")


def test_a_folder_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = atomic.write_bytes, []

    def full_disk_at_the_second(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == 2:
            raise DiskFullError("no space left")
        write(path, data)

    monkeypatch.setattr(atomic, "write_bytes", full_disk_at_the_second)
    with pytest.raises(DiskFullError):
        write_folder(tmp_path / "there", {"a": b"1", "b": b"2"})
    assert not list(tmp_path.iterdir())
    write_folder(tmp_path / "there", {"a": b"1", "b": b"2"})
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a", "b"]
