"""Every architecture in every format: the same codes and reconstructions there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.errors import ExchangeError
from pipeline.exchange.cannot_hold import CannotHold
from pipeline.exchange.foreign import About
from pipeline.exchange.formats import format_named, format_of, names, written_names
from pipeline.exchange.hosts import own_sae
from tests.pipeline.exchange import oracles
from tests.pipeline.exchange.some_saes import ALL, activations, both, random_sae

ABOUT = About({"sae": "m.trained.resid_post.1/r.s0"}, "gpt2", "resid_post", 1, 64, "text", k=5)
# What cannot be held exactly. Everything else must be.
NOT_EXACT = {
    "saelens": {"group_max", "skip_transcoder"},
    "dictionary_learning": {"group_max", "skip_transcoder", "topk_token_norm"},
    "sparsify": {
        "batch_topk",
        "matryoshka",
        "meta_sae",
        "jumprelu",
        "jumprelu_kde",
        "gated",
        "topk_token_norm",
    },
}
NOT_PLAIN = {"switch", "crosscoder", "topk_crosscoder"}
PAIRS = [
    (name, architecture)
    for name in written_names()
    for architecture in sorted(set(ALL) - NOT_PLAIN - NOT_EXACT[name])
]


def written(name: str, sae, folder: Path) -> Path:
    module = format_named(name)
    folder.mkdir(parents=True, exist_ok=True)
    provenance = {**ABOUT.provenance, "config": sae.config.model_dump(mode="json")}
    about = replace(ABOUT, provenance=provenance)
    for file, data in module.files(module.fitted(sae.plain()), about).items():
        (folder / file).write_bytes(data)
    return folder


def close(ours: tuple, theirs: tuple) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_formats_are_found_by_their_files() -> None:
    assert names() == ["dictionary_learning", "openai", "sae_foundry", "saelens", "sparsify"]
    assert written_names() == sorted(NOT_EXACT)


@pytest.mark.parametrize(("name", "architecture"), PAIRS)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_written_gives_the_same_there_and_read_back(
    name: str, architecture: str, seed: int, tmp_path: Path
) -> None:
    sae, x = random_sae(architecture, seed=seed), activations(seed=seed)
    ours = both(sae, x)
    assert (ours[0] > 0).any(1).sum() > 10
    folder = written(name, sae, tmp_path)
    close(ours, getattr(oracles, name)(folder, x))
    assert format_of(folder).__name__.endswith(f".{name}")
    foreign = format_of(folder).read(folder)
    assert foreign.format == name
    code = foreign.plain.encode(x)
    close(ours, (code, foreign.plain.reconstruct(x, code)))
    for scale in (1.0, 2.5):
        site = "mlp_out" if foreign.is_transcoder else None
        close(ours, both(own_sae(foreign, write_site=site, scale=scale), x))


@pytest.mark.parametrize(
    ("name", "architecture"), [(n, a) for n, found in NOT_EXACT.items() for a in sorted(found)]
)
def test_what_cannot_be_held_is_refused_with_its_reason(name: str, architecture: str) -> None:
    with pytest.raises(CannotHold, match=r"no |none|not|fixed number|one width"):
        format_named(name).fitted(random_sae(architecture).plain())


@pytest.mark.parametrize("name", ["saelens", "sparsify"])
def test_relu_transcoders_of_any_shape_are_held_where_the_format_has_them(
    name: str, tmp_path: Path
) -> None:
    written_width = 12 if name == "sparsify" else 9
    sae = random_sae("skip_transcoder", k=40, written=written_width)
    x = activations()
    folder = written(name, sae, tmp_path)
    close(both(sae, x), getattr(oracles, name)(folder, x))
    back = own_sae(format_of(folder).read(folder), write_site="mlp_out")
    assert back.config.architecture == "skip_transcoder"
    close(both(sae, x), both(back, x))


@pytest.mark.parametrize("name", sorted(NOT_EXACT))
def test_a_transcoder_of_equal_widths_is_not_taken_for_an_sae_of_what_it_reads(
    name: str, tmp_path: Path
) -> None:
    sae = random_sae("transcoder")
    folder = written(name, sae, tmp_path)
    foreign = format_of(folder).read(folder)
    with pytest.raises(ExchangeError, match=r"reads 12 .* writes 12, and is a transcoder"):
        own_sae(foreign)
    back = own_sae(foreign, write_site="mlp_out")
    assert back.config.architecture == "transcoder"
    close(both(sae, activations()), both(back, activations()))


def test_an_sae_that_does_not_subtract_its_bias_stays_one_where_that_makes_a_transcoder(
    tmp_path: Path,
) -> None:
    sae = random_sae("relu_april")
    folder = written("sparsify", sae, tmp_path)
    foreign = format_of(folder).read(folder)
    assert foreign.settings["transcode"] is True
    close(both(sae, activations()), both(own_sae(foreign), activations()))


def test_a_transcoder_that_has_no_counterpart_is_not_advised_to_be_an_sae(tmp_path: Path) -> None:
    folder = written("saelens", random_sae("jumprelu"), tmp_path)
    path = folder / "cfg.json"
    config = json.loads(path.read_text()) | {"architecture": "jumprelu_transcoder", "d_out": 12}
    del config["metadata"]["sae_foundry"]  # as a package writes it that is not ours
    path.write_text(json.dumps(config))
    foreign = format_of(folder).read(folder)
    for site in (None, "mlp_out"):
        with pytest.raises(ExchangeError, match=r"no counterpart here\. .*or ReLU\.$"):
            own_sae(foreign, write_site=site)


def test_architectures_come_back_as_what_they_are(tmp_path: Path) -> None:
    back = {
        "saelens": {"batch_topk": "batch_topk", "gated": "gated", "topk": "topk", "relu": "relu"},
        "dictionary_learning": {"matryoshka": "matryoshka", "batch_topk": "batch_topk"},
        "sparsify": {"group_max": "group_max", "multi_topk": "topk"},
    }
    for name, wanted in back.items():
        for architecture, expected in wanted.items():
            folder = written(name, random_sae(architecture), tmp_path / name / architecture)
            sae = own_sae(format_of(folder).read(folder))
            assert sae.config.architecture == expected
    folder = tmp_path / "dictionary_learning/matryoshka"
    matryoshka = own_sae(format_of(folder).read(folder))
    assert matryoshka.config.group_sizes == (10, 30)


def openai_file(
    folder: Path, *, activation: str = "TopK", width: int = 12, n_latents: int = 40
) -> Path:
    draws = torch.Generator().manual_seed(3)
    state = {
        "pre_bias": torch.randn(width, generator=draws),
        "latent_bias": torch.randn(n_latents, generator=draws),
        "encoder.weight": 0.3 * torch.randn(n_latents, width, generator=draws),
        "decoder.weight": 0.3 * torch.randn(width, n_latents, generator=draws),
        "stats_last_nonzero": torch.zeros(n_latents, dtype=torch.long),
        "activation": activation,
        "activation_state_dict": {"k": 5, "postact_fn": "ReLU"},
    }
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "autoencoder.pt")
    return folder


@pytest.mark.parametrize("activation", ["TopK", "ReLU"])
def test_openai_files_give_their_codes_in_raw_units(activation: str, tmp_path: Path) -> None:
    folder, x = openai_file(tmp_path / "v5", activation=activation), activations()
    for place in (folder, folder / "autoencoder.pt"):
        sae = own_sae(format_of(place).read(place), scale=1.3)
        close(oracles.openai(folder, x), both(sae, x))
    expected = "topk_token_norm" if activation == "TopK" else "relu"
    assert sae.config.architecture == expected


def test_a_pickled_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"encoder.weight": Bomb()}, tmp_path / "x.pt")
    with pytest.raises(ExchangeError, match="nothing but tensors"):
        format_of(tmp_path).read(tmp_path)
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ExchangeError, match="nothing but tensors"):
        format_of(tmp_path).read(tmp_path)
    assert not (tmp_path / "ran").exists()
