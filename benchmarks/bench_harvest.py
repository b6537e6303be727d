"""A harvest with all its writing against the forward passes it cannot avoid.

A GPT-NeoX of pythia-70m's shape (d 512, 6 blocks, random weights). Contenders read the same
tokens: the bare forward stopped after a block (a copy of the model that ends there), the bare
trunk, the trunk and a raw write with fsync of as many bytes; and harvests of one site, of
resid_post at all layers and of other kinds, with shuffle, shards, checksums and fsync.
Calibration, a fixed number of tokens, is done before. Targets: one site 1.05 x the bare forward;
resid_post at all layers 1.10 x the trunk; other kinds 1.10 x trunk and raw write.
CPU time is all threads' of this process: what can be read off a busy machine. Before each
contender memory is touched and freed again: a virtual machine's host takes back what its guest
does not use, and getting it anew costs up to two seconds per GB, whoever asks first.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench_reader import CpuTimed
from interleaved import interleave, ratio, save, verdict
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from pipeline.harvest.fill import fill_store
from pipeline.harvest.forward import model_forward
from pipeline.harvest.identity import StoreIdentity
from pipeline.harvest.task import StoreTask, prepare_store
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import find_layout
from pipeline.progress import silent
from pipeline.store.layout import StoreFolder
from pipeline.study.config import HarvestConfig
from pipeline.study.names import Site, Weights

LAYERS, LAYER, WIDTH, VOCAB, CONTEXT, ROWS = 6, 3, 512, 4096, 256, 16
ONE = [Site("resid_post", LAYER)]
ALL = [Site("resid_post", layer) for layer in range(LAYERS)]
OUTPUTS = [Site(kind, n) for kind in ("attn_out", "mlp_out") for n in range(LAYERS)]
MLP = [Site("mlp_act", layer) for layer in range(LAYERS)]
_TOUCHED = 1 << 30  # bytes


@dataclass(frozen=True)
class Tokens:
    """Packed rows of random tokens, none of them special."""

    packed_rows: int
    context: int = CONTEXT
    hash: str = "c"
    path: Path = Path("tokens")
    special_ids: frozenset[int] = frozenset({VOCAB})

    def n_rows(self, split: str) -> int:
        """Rows of a split."""
        return ROWS if split == "calibration" else self.packed_rows

    def n_tokens(self, split: str) -> int:
        """Tokens of a split."""
        return self.n_rows(split) * CONTEXT

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows start..stop and their documents."""
        ids = np.random.default_rng(start).integers(0, VOCAB, (stop - start, CONTEXT))
        documents = np.repeat(np.arange(start, stop)[:, None], CONTEXT, axis=1)
        return ids.astype(np.int32), documents.astype(np.int32)


def language_model() -> LanguageModel:
    """The model, without a tokenizer."""
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=CONTEXT,
    )
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    return LanguageModel(model, None, frozenset(), find_layout(model))


def bare(trunk: torch.nn.Module, corpus: Tokens, *, path: Path | None = None, row_bytes: int = 0):
    """The forward alone; with a path, `row_bytes` per token are written to it, with fsync."""

    def run() -> None:
        with torch.inference_mode():
            for start in range(0, corpus.packed_rows, ROWS):
                ids, _ = corpus.tokens("train", start, min(start + ROWS, corpus.packed_rows))
                trunk(input_ids=torch.from_numpy(ids.astype(np.int64)), use_cache=False)
        if path is not None:
            block = np.random.default_rng(0).bytes(row_bytes * 1024)
            with path.open("wb") as file:
                for _ in range(corpus.n_tokens("train") // 1024):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())

    return run


def stopped_after(trunk: torch.nn.Module, layer: int) -> torch.nn.Module:
    """The trunk with its blocks after `layer` cut off; weights are shared."""
    short = copy.copy(trunk)
    short._modules = dict(trunk._modules) | {"layers": trunk.layers[: layer + 1]}
    short.config = copy.deepcopy(trunk.config)
    short.config.num_hidden_layers = layer + 1
    return short


def harvested(
    lm: LanguageModel, corpus: Tokens, sites: Sequence[Site], *, root: Path
) -> Callable[[], None]:
    """Harvests into a new store each time; the calibration is copied from one made before."""
    settings = HarvestConfig(calibration_tokens=2048, shard_rows=16384)
    identity = StoreIdentity("s", "bench", Weights("trained"), "c", "m")
    hashes = {site: str(site) for site in sites}
    forward, numbers = model_forward(lm), itertools.count()

    def task_in(folder: Path, tokens: Tokens) -> StoreTask:
        return prepare_store(
            StoreFolder(folder), identity, tokens, settings=settings, batch_rows=ROWS
        )

    fill_store(task_in(root / "model", Tokens(ROWS)), forward, sites, silent, source_hash=hashes)

    def run() -> None:
        folder = root / str(next(numbers))
        for site in sites:
            for name in ("calibration.json", "statistics.safetensors"):
                file = folder / "manifests" / f"{site}.{name}"
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root / "model" / "manifests" / file.name, file)
        task = task_in(folder, corpus)
        fill_store(task, forward, sites, silent, source_hash=hashes)
        shutil.rmtree(folder)

    return run


def touch_memory() -> None:
    """Has the system hold free memory for the next contender."""
    np.empty(_TOUCHED, np.uint8)[::4096] = 1


def contenders(lm: LanguageModel, corpus: Tokens, folder: Path) -> dict[str, CpuTimed]:
    """Each harvest by its name, and before it its floor."""
    trunk = lm.trunk
    pairs = {
        "one site": (ONE, bare(stopped_after(trunk, LAYER), corpus)),
        "resid_post, all layers": (ALL, bare(trunk, corpus)),
    }
    for name, sites in (("attn_out and mlp_out, all layers", OUTPUTS), ("mlp_act", MLP)):
        row_bytes = 2 * sum(lm.layout.width(site) for site in sites)
        raw = bare(trunk, corpus, path=folder / f"{name}.raw", row_bytes=row_bytes)
        pairs[name] = (sites, raw)
    timed: dict[str, CpuTimed] = {}
    for name, (sites, floor) in pairs.items():
        timed[_floor(name)] = CpuTimed(floor)
        timed[name] = CpuTimed(harvested(lm, corpus, sites, root=folder / name))
    return timed


def _floor(name: str) -> str:
    return f"floor of {name}"


def main() -> None:
    """Prints the table; `--save` keeps it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    lm, corpus = language_model(), Tokens(given.batches * ROWS)
    with tempfile.TemporaryDirectory() as folder:
        timed = contenders(lm, corpus, Path(folder))
        wall = interleave(timed, rounds=given.rounds, before=touch_memory)
    cpu = {name: run.seconds[-given.rounds :] for name, run in timed.items()}
    figures = {}
    for name in list(timed)[1::2]:
        by_wall, by_cpu = (ratio(seconds, name, to=_floor(name)) for seconds in (wall, cpu))
        rate = corpus.n_tokens("train") / sorted(wall[name])[given.rounds // 2]
        figures[name] = {
            "x_floor_wall": by_wall,
            "x_floor_cpu": by_cpu,
            "tokens_per_second": rate,
        }
        print(
            f"{name:<34} {rate:8.0f} tokens/s  {by_wall:5.2f} x floor by wall  {by_cpu:5.2f} by CPU"
            f"  {verdict(by_wall, 1.05 if name == 'one site' else 1.10)}"
        )
    if given.save:
        rounds = {"batches": given.batches, "rounds": given.rounds}
        print(save("harvest", rounds | {"contenders": figures}))


if __name__ == "__main__":
    main()
