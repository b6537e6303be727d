"""A tiny language model, text for it, and SAEs whose numbers can be told by hand."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.evaluation.held_out import HeldOut
from pipeline.evaluation.measuring import missing_metrics
from pipeline.evaluation.sums import Candidate
from pipeline.evaluation.sweep import Place, sweep
from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.capture import capture
from pipeline.language_model.model import LanguageModel
from pipeline.language_model.sites import find_layout
from pipeline.progress import silent
from pipeline.study.names import Site
from sae_core.architectures import build, config_class
from sae_core.bootstrap import resample_counts
from sae_core.firing_frequency import firing_frequency
from sae_core.metrics import metrics
from sae_core.metrics.definition import Measured
from sae_core.metrics.firing_metric import Firing, FiringMetric
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import Setting, TokenMetric, measure
from sae_core.pretraining_curve import PretrainingCurve
from sae_core.sae import Sae

WIDTH, LAYERS, VOCABULARY, CONTEXT, SPECIAL = 16, 3, 64, 32, 0
SITE = Site("resid_post", 1)
UNIGRAM = torch.linspace(2, 6, VOCABULARY, dtype=torch.float64)
CURVE = PretrainingCurve(flops=(1e9, 1e10, 1e11), losses=(9.0, 6.0, 4.0))


def tiny_lm(*, spread: float = 0.4, seed: int = 0) -> LanguageModel:
    """A GPT-NeoX of 3 layers with weights drawn widely enough that its sites matter."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=CONTEXT,
        initializer_range=spread,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = GPTNeoXForCausalLM(config)
    model = model.eval().requires_grad_(False)
    return LanguageModel(model, None, frozenset({SPECIAL}), find_layout(model))


def held_out_text(lm: LanguageModel, *, rows: int = 12, seed: int = 0) -> HeldOut:
    """Rows that the model itself wrote, in documents of 20 tokens that end in a special token."""
    generator = torch.Generator().manual_seed(seed)
    ends = (torch.arange(rows * CONTEXT) % 20 == 19).view(rows, CONTEXT)
    tokens = torch.randint(1, VOCABULARY, (rows, CONTEXT), generator=generator)
    for position in range(1, CONTEXT):
        written = tokens[:, :position].masked_fill(ends[:, :position], SPECIAL)
        chances = lm.model(input_ids=written).logits[:, -1].float().softmax(1)
        chances[:, SPECIAL] = 0
        tokens[:, position] = torch.multinomial(chances, 1, generator=generator)[:, 0]
    documents = np.arange(rows * CONTEXT) // 20
    return HeldOut(
        tokens.masked_fill(ends, SPECIAL).numpy().astype(np.int32),
        documents.astype(np.int32).reshape(rows, CONTEXT),
        np.unique(documents) + 100,
        frozenset({SPECIAL}),
        np.arange(rows),
    )


def activations(lm: LanguageModel, text: HeldOut, site: Site = SITE) -> torch.Tensor:
    """Activations (n, d) float64 of the tokens that are not special."""
    tokens = torch.from_numpy(text.tokens.astype(np.int64))
    return capture(lm, tokens, [site])[site][tokens != SPECIAL].double()


def identity_sae(width: int = WIDTH) -> Sae:
    """x̂ = ReLU(x) − ReLU(−x) = x, bit for bit: one latent per direction ±e_i."""
    sae = empty_sae(2 * width, width)
    eye = torch.eye(width)
    with torch.no_grad():
        sae.W_enc.copy_(torch.cat([eye, -eye]))
        sae.W_dec.copy_(torch.cat([eye, -eye]))
    return sae


def constant_sae(x_hat: torch.Tensor) -> Sae:
    """x̂ is the same for every x, and no latent ever fires."""
    sae = empty_sae(4, len(x_hat))
    with torch.no_grad():
        sae.b_dec.copy_(x_hat)
        sae.b_enc.fill_(-1.0)
    return sae


def empty_sae(n_latents: int, width: int) -> Sae:
    """A ReLU SAE of zeros."""
    return build(config_class("relu")(n_latents=n_latents, tokens=1000), width=width)


def candidate(
    sae: Sae, name: str = "sae", *, calibration: torch.Tensor, curve_tokens: int = 10**6
) -> Candidate:
    """The SAE as one that lacks all metrics; its cuts are chosen on the given activations."""
    return Candidate(
        name=name,
        sae=sae,
        metrics=missing_metrics(None, curve_tokens),
        dead_train=np.zeros(sae.n_latents, bool),
        calibration_frequency=lambda: firing_frequency(sae, [calibration]),
        curve_tokens=curve_tokens,
    )


def swept(
    lm: LanguageModel,
    text: HeldOut,
    *saes: Sae,
    site: Site = SITE,
    mean: torch.Tensor | None = None,
    max_norm: float | None = None,
    batch_rows: int = 5,
    curve_tokens: int = 10**6,
) -> list[DocumentTables]:
    """What one sweep finds of each SAE."""
    x = activations(lm, text, site).float()
    center = x.double().mean(0) if mean is None else mean
    candidates = [
        candidate(sae, f"sae{i}", calibration=x, curve_tokens=curve_tokens)
        for i, sae in enumerate(saes)
    ]
    place = Place(site, center, max_norm, UNIGRAM)
    found = sweep(lm, place, candidates, text, batch_rows=batch_rows, report=silent)
    return [found[one.name] for one in candidates]


def numbers_of(tables: DocumentTables, setting: Setting | None = None) -> dict[str, Measured]:
    """Every number that sums give, with 200 resamples."""
    counts = resample_counts(len(tables.documents), 200, seed=0)
    latents = tables.latents
    seen = Firing(latents.n_fires, latents.n_tokens, latents.l0_histogram, latents.dead_train)
    found: dict[str, Measured] = {}
    for name, metric in metrics().items():
        if isinstance(metric, TallyMetric) and name not in tables.tallies:
            continue
        if isinstance(metric, TokenMetric):
            if metric.of == "every_prediction" and name not in tables.tables:
                continue
            found |= measure(metric, tables.tables[name], counts, setting or Setting(CURVE))
        elif isinstance(metric, FiringMetric):
            found |= metric.values(seen)
        elif isinstance(metric, TallyMetric):
            found |= metric.values(tables.tallies[name])
    return found
