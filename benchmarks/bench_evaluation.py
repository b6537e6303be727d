"""What metrics cost beside the forwards and the encoding that they cannot do without.

The floor of one SAE: a clean forward, a forward from the site for each of the three activations
spliced in (reconstruction, zero, mean), and one encoding. Nothing of the floor looks at its
logits. `core` are the metrics of one sweep, sums per document; `all` are these with every tally
(examples, token statistics, cuts, progressive code), and losses along curves left out. CPU seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from interleaved import interleave, ratio, save, verdict

from pipeline.evaluation.forwards import Forwards
from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.measuring import missing_metrics
from pipeline.evaluation.sums import Candidate
from pipeline.evaluation.sweep import Place, rows_per_forward, sweep
from pipeline.language_model.load import load_language_model
from pipeline.language_model.model import LanguageModel
from pipeline.progress import silent
from pipeline.study.config import ModelConfig
from pipeline.study.names import Site, Weights
from sae_core.architectures import build, config_class
from sae_core.initialise import initialise
from sae_core.metrics.token_metric import TokenMetric
from sae_core.sae import Sae
from sae_core.toy import statistics_of

TARGET = 1.5
SITE, CONTEXT, BATCH_ROWS = Site("resid_post", 2), 256, 16


def held_out(lm: LanguageModel, n_tokens: int) -> HeldOut:
    """Rows of drawn tokens, in documents of 100."""
    vocabulary = int(lm.model.get_input_embeddings().weight.shape[0])
    plain = np.array([i for i in range(vocabulary) if i not in lm.special_ids])
    draw = np.random.default_rng(0)
    shape = (n_tokens // CONTEXT, CONTEXT)
    documents = (np.arange(shape[0] * CONTEXT) // 100).reshape(shape)
    tokens = plain[draw.integers(len(plain), size=shape)].astype(np.int32)
    numbers = np.arange(shape[0])
    return HeldOut(
        tokens, documents.astype(np.int32), np.unique(documents), lm.special_ids, numbers
    )


def contenders(n_tokens: int, n_latents: int, k: int) -> dict[str, Callable[[], object]]:
    """The floor, the core metrics and all metrics."""
    lm = load_language_model(ModelConfig(device="cpu"), Weights.parse("trained"))
    text = held_out(lm, n_tokens)
    vocabulary = int(lm.model.get_input_embeddings().weight.shape[0])
    first = next(iter(text.batches(BATCH_ROWS)))
    x = Forwards(lm, SITE).activations(first.tokens).flatten(0, 1)
    statistics = statistics_of(x)
    sae = build(
        config_class("topk")(n_latents=n_latents, k=k, tokens=10**6), width=x.shape[1]
    ).eval()
    initialise(sae, statistics, seed=0)
    unigram = torch.full((vocabulary,), 5.0, dtype=torch.float64)
    place = Place(SITE, statistics.mean, None, unigram)
    everything = missing_metrics(None, 0)
    # What is measured on a part of the text is left out, as losses along curves are.
    whole = {n: m for n, m in everything.items() if getattr(m, "of", "") != "every_prediction"}
    core = {name: one for name, one in whole.items() if isinstance(one, TokenMetric)}
    unspliced = {n: m for n, m in whole.items() if not getattr(m, "splices", False)}
    frequency = torch.zeros(n_latents, dtype=torch.float64)

    def measure(metrics: dict) -> object:
        one = Candidate("sae", sae, metrics, None, lambda: frequency, n_tokens)
        return sweep(lm, place, [one], text, batch_rows=BATCH_ROWS, report=silent)

    return {
        "floor": lambda: floor(lm, sae, text, vocabulary),
        "core": lambda: measure(core),
        "all but losses along curves": lambda: measure(unspliced),
    }


def floor(lm: LanguageModel, sae: Sae, text: HeldOut, vocabulary: int) -> None:
    """The forwards and the encoding alone."""
    forwards = Forwards(lm, SITE)
    rows = rows_per_forward(BATCH_ROWS, CONTEXT, vocabulary)
    with torch.inference_mode():
        for batch in text.batches(rows):
            x, _ = forwards.clean(batch.tokens)
            keep = torch.zeros(batch.tokens.shape, dtype=torch.bool)
            sae.encode(x.flatten(0, 1).float())
            for _ in range(3):
                forwards.spliced(batch.tokens, x, keep)


def main() -> None:
    """Prints and saves the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--latents", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs = contenders(given.tokens, given.latents, given.k)
    seconds = interleave(runs, rounds=given.rounds, warm_up=1, clock=time.process_time)
    print(f"1 thread, {given.tokens} tokens, f {given.latents}, k {given.k}, CPU seconds")
    figures = {}
    for name in runs:
        found = ratio(seconds, name, to="floor")
        target = TARGET if name == "core" else None
        figures[name] = {"ratio": round(found, 3), "cpu_seconds": round(min(seconds[name]), 2)}
        print(f"  {name:28} {found:6.3f} x  {min(seconds[name]):7.2f} s  {verdict(found, target)}")
    print(f"saved {save('evaluation', figures)}")


if __name__ == "__main__":
    main()
