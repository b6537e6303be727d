"""Folders that the other packages saved, and what they computed from them: the same here.

recorded/about.json says by which command, with which versions and when; recorded/by holds the
folders as the packages' own saving left them, recorded/made their codes and reconstructions of
recorded/x.safetensors.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ExchangeError
from pipeline.exchange.foreign import About
from pipeline.exchange.formats import format_named, format_of, written_names
from pipeline.exchange.hosts import own_sae
from tests.pipeline.exchange import oracles
from tests.pipeline.exchange.some_saes import both

RECORDED = Path(__file__).parent / "recorded"
FOLDERS = sorted((RECORDED / "by").glob("*/*"))
# Kinds that the second readers do not know: what is written here is never of them.
NOT_WRITTEN = {"batchtopk", "batchtopk-norms", "topk-norms"}
HOSTS = {
    "saelens/standard": "relu",
    "saelens/standard-outside": "relu_april",
    "saelens/topk": "topk",
    "saelens/topk-norms": "topk",
    "saelens/topk-layer-norm": "topk_token_norm",
    "saelens/jumprelu": "jumprelu",
    "saelens/gated": "gated",
    "saelens/batchtopk": "batch_topk",
    "saelens/batchtopk-norms": "batch_topk",
    "saelens/batchtopk-inference": "jumprelu",
    "saelens/batchtopk-norms-inference": "jumprelu",
    "saelens/transcoder": "transcoder",
    "saelens/skip-transcoder": "skip_transcoder",
    "dictionary_learning/AutoEncoder": "relu",
    "dictionary_learning/AutoEncoderNew": "relu_april",
    "dictionary_learning/AutoEncoderTopK": "topk",
    "dictionary_learning/BatchTopKSAE": "batch_topk",
    "dictionary_learning/MatryoshkaBatchTopKSAE": "matryoshka",
    "dictionary_learning/GatedAutoEncoder": "gated",
    "dictionary_learning/JumpReluAutoEncoder": "jumprelu",
    "sparsify/topk": "topk",
    "sparsify/groupmax": "group_max",
    "sparsify/transcoder": "transcoder",
    "sparsify/skip-transcoder": "skip_transcoder",
}

each_folder = pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f"{f.parent.name}/{f.name}")


def close(ours: tuple, theirs: tuple) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def said(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    made = load_file(RECORDED / "made" / folder.parent.name / f"{folder.name}.safetensors")
    return made["code"], made["made"]


def rows() -> torch.Tensor:
    return load_file(RECORDED / "x.safetensors")["x"]


def test_every_recorded_folder_is_known_and_says_what_made_it() -> None:
    assert {f"{folder.parent.name}/{folder.name}" for folder in FOLDERS} == set(HOSTS)
    about = json.loads((RECORDED / "about.json").read_text())
    for name in written_names():
        module = format_named(name)
        assert f"{module.PACKAGE}=={module.VERSION}" in about["packages"]


@each_folder
def test_a_recorded_sae_is_the_same_as_one_of_ours(folder: Path) -> None:
    foreign = format_of(folder).read(folder)
    if foreign.is_transcoder:
        with pytest.raises(ExchangeError, match="--write-site mlp_out"):
            own_sae(foreign, scale=1.3)
    sae = own_sae(foreign, write_site="mlp_out" if foreign.is_transcoder else None, scale=1.3)
    assert sae.config.architecture == HOSTS[f"{folder.parent.name}/{folder.name}"]
    assert (said(folder)[0] > 0).any()
    close(said(folder), both(sae, rows()))


@each_folder
def test_the_second_readers_agree_with_the_packages(folder: Path) -> None:
    if folder.name in NOT_WRITTEN:
        return
    reader = getattr(oracles, folder.parent.name)
    close(said(folder), reader(folder, rows()))


def test_what_sparsify_saved_and_saelens_misreads_goes_through_here(tmp_path: Path) -> None:
    folder, lens = RECORDED / "by/sparsify/topk", format_named("saelens")
    plain = format_of(folder).read(folder).plain
    for name, data in lens.files(lens.fitted(plain), About({})).items():
        (tmp_path / name).write_bytes(data)
    close(said(folder), oracles.saelens(tmp_path, rows()))


@pytest.mark.parametrize("activation", ["TopK", "ReLU"])
def test_what_openais_own_code_saved_gives_its_codes(activation: str) -> None:
    folder = Path(__file__).parent / "recorded_openai" / activation
    answer = load_file(folder / "answer.safetensors")
    x, said = answer["x"], (answer["code"], answer["made"])
    assert (said[0] > 0).any()
    close(said, oracles.openai(folder, x))
    module, foreign = format_of(folder), format_of(folder).read(folder)
    about = json.loads((folder.parent / "about.json").read_text())
    assert about["package"] == f"{module.PACKAGE} {module.VERSION}"
    close(said, both(own_sae(foreign, scale=1.3), x))
