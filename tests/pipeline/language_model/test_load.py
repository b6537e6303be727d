from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import CheckpointError, UserError
from pipeline.language_model.files import model_files, model_hash, pinned
from pipeline.language_model.load import load_language_model, load_tokenizer
from pipeline.study.config import ModelConfig
from pipeline.study.names import Weights

TRAINED = Weights("trained")


@pytest.fixture
def folder(saved_model: Path, tmp_path: Path) -> Path:
    """A copy of the saved model that a test may spoil."""
    return Path(shutil.copytree(saved_model, tmp_path / "model"))


def config(folder: Path, **changes: object) -> ModelConfig:
    return ModelConfig(path=str(folder), context=32, device="cpu", **changes)


def test_a_folder_becomes_a_readable_model(saved_model: Path) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    lm = load_language_model(config(saved_model), TRAINED)
    assert torch.equal(torch.get_rng_state(), state)
    assert (lm.n_layers, lm.width, lm.device.type) == (3, 32, "cpu")
    assert lm.special_ids == {0}
    assert lm.commit is None
    assert not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())
    stored = load_file(saved_model / "model.safetensors")
    loaded = lm.trunk.state_dict(prefix="gpt_neox.")
    assert len(loaded) > 30
    assert all(torch.equal(value, stored[name]) for name, value in loaded.items())


def test_the_dtype_is_the_one_asked_for(saved_model: Path) -> None:
    lm = load_language_model(config(saved_model, dtype="bfloat16"), Weights("random", 1))
    assert {p.dtype for p in lm.model.parameters()} == {torch.bfloat16}


def test_the_hash_follows_the_content_not_the_place(saved_model: Path, folder: Path) -> None:
    assert model_hash(config(folder)) == model_hash(config(saved_model))
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert model_hash(config(folder)) != model_hash(config(saved_model))


def test_local_models_need_no_pin(saved_model: Path) -> None:
    assert pinned(config(saved_model)) == config(saved_model)


def test_a_checkpoint_of_a_local_model_is_its_subfolder(folder: Path) -> None:
    shutil.copytree(folder, folder / "step8")
    tensors = load_file(folder / "step8/model.safetensors")
    save_file(
        {n: t * 0 for n, t in tensors.items()}, folder / "step8/model.safetensors", {"format": "pt"}
    )
    lm = load_language_model(config(folder), Weights("revision:step8"))
    assert all((p == 0).all() for p in lm.model.parameters())
    with pytest.raises(UserError, match=r"no checkpoint 'step9'.*there are: step8"):
        load_language_model(config(folder), Weights("revision:step9"))


def test_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"holds no tokenizer.*save_pretrained"):
        load_tokenizer(config(folder))
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_language_model(config(folder), TRAINED)


def test_an_unreadable_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer in .* cannot be read"):
        load_tokenizer(config(folder))


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_weights_are_named(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*truncated"):
        load_language_model(config(folder), TRAINED)


def test_missing_tensors_are_not_drawn_in_silence(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["gpt_neox.layers.1.mlp.dense_4h_to_h.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack 1 of the model's tensors.*layers\.1\.mlp"):
        load_language_model(config(folder), TRAINED)


def test_tensors_of_another_shape_are_refused(folder: Path) -> None:
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(fields | {"intermediate_size": 48}))
    with pytest.raises(UserError, match="cannot be loaded as a causal language model"):
        load_language_model(config(folder), TRAINED)


def test_pickled_weights_are_refused_unless_allowed(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors, but pytorch_model\.bin"):
        load_language_model(config(folder), TRAINED)
    lm = load_language_model(config(folder, safetensors_only=False), TRAINED)
    name = "gpt_neox.embed_in.weight"
    assert torch.equal(lm.model.state_dict()[name], tensors[name])


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model-00001.safetensors", "b": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"not there: model-00001\.safetensors"):
        model_hash(config(folder))


def test_a_context_beyond_the_models_positions_is_refused(saved_model: Path) -> None:
    with pytest.raises(UserError, match="context 65 is longer than the 64 positions"):
        load_language_model(config(saved_model).model_copy(update={"context": 65}), TRAINED)


def test_a_tokenizer_larger_than_the_model_is_refused(folder: Path) -> None:
    tokenizer = load_tokenizer(config(folder))
    tokenizer.add_tokens([f"<new{i}>" for i in range(9)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="do not belong together"):
        load_language_model(config(folder), TRAINED)


@pytest.mark.parametrize("path", ["./nowhere", "/no/such/model", "a b", "models/x/y"])
def test_a_path_that_is_no_folder_and_no_hub_id_is_refused(path: str) -> None:
    with pytest.raises(UserError, match="is no folder"):
        model_files(ModelConfig(path=path))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        model_files(config(tmp_path))


def test_a_device_that_is_not_there_is_refused(saved_model: Path) -> None:
    absent = "cuda:7" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(UserError, match=rf"device '{absent}' is not on this machine.*cpu"):
        load_language_model(config(saved_model).model_copy(update={"device": absent}), TRAINED)
