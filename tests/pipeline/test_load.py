"""Three lines load an SAE and encode; everything else is an error that says what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import load
from pipeline.errors import CheckpointError
from sae_core.architectures.topk import TopKConfig
from sae_core.checkpoint import sae_to_bytes
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = Superposition(width=8).sample(256, step=0)
    config = TopKConfig(n_latents=16, k=3, tokens=64, batch_size=64)
    trainee = Trainee(config, name="toy", statistics=statistics_of(x), seed=0)
    trainee.step(x[:64])
    made = tmp_path / "key" / "0123abcd"
    made.mkdir(parents=True)
    (made / "sae.safetensors").write_bytes(sae_to_bytes(trainee.sae))
    return made


def test_three_lines_encode_and_decode(folder: Path) -> None:
    x = Superposition(width=8).sample(32, step=1)
    sae = load(folder)
    code = sae.encode(x)
    x_hat = sae.decode(code)
    assert code.indices.shape == (32, 3)
    assert x_hat.shape == x.shape
    assert torch.equal(x_hat, sae(x))


@pytest.mark.parametrize("part", ["", "sae.safetensors", ".."])
def test_a_folder_its_file_or_the_folder_above_are_the_same_sae(folder: Path, part: str) -> None:
    assert torch.equal(load(str(folder / part)).W_dec, load(folder).W_dec)


def test_a_path_of_the_tables_is_found_in_the_workspace(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = "key/0123abcd"
    monkeypatch.chdir(tmp_path.parent)
    assert torch.equal(load(path, workspace=tmp_path).W_dec, load(folder).W_dec)
    with pytest.raises(CheckpointError, match=r"default-workspace.*SAE_WORKSPACE"):
        load(path)
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path))
    assert torch.equal(load(path).W_dec, load(folder).W_dec)


def test_from_here_comes_before_from_the_workspace(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "here" / "key" / "0123abcd"
    other.mkdir(parents=True)
    (other / "sae.safetensors").write_bytes(b"not an SAE")
    monkeypatch.setenv("SAE_WORKSPACE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(CheckpointError, match=r"key/0123abcd/sae.safetensors cannot be read"):
        load("key/0123abcd")
    assert load("key/0123abcd", workspace=tmp_path).n_latents == 16


def test_several_saes_in_one_folder_are_listed(folder: Path) -> None:
    other = folder.parent / "89abcdef"
    other.mkdir()
    (other / "sae.safetensors").write_bytes((folder / "sae.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="0123abcd, 89abcdef"):
        load(folder.parent)


def test_a_truncated_file_is_an_error_that_names_it(folder: Path) -> None:
    path = folder / "sae.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="delete the folder") as caught:
        load(folder)
    assert str(path) in str(caught.value)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="has not finished"):
        load(tmp_path)


def test_the_function_is_there_whatever_was_imported_before() -> None:
    code = (
        "import sys, pipeline; assert 'torch' not in sys.modules\n"
        "import pipeline.load_sae\n"
        "from pipeline import load\n"
        "assert callable(load)\n"
        "try:\n    pipeline.nothing\nexcept AttributeError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "nothing" in result.stdout
