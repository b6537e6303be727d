"""SAEs that read or write several sites, spliced into the language model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.evaluation.edited_batch import Place
from pipeline.evaluation.sites_sweep import PER_SITE, Places, of_site, sites_sweep
from pipeline.evaluation.tables import DocumentTables
from pipeline.language_model.capture import capture
from pipeline.language_model.splice import next_token_loss, scored, spliced_at
from pipeline.progress import silent
from pipeline.study.names import Site
from sae_core.architectures import build, config_class
from sae_core.sae import Sae
from tests.pipeline.evaluation.scene import (
    SPECIAL,
    UNIGRAM,
    WIDTH,
    activations,
    candidate,
    constant_sae,
    numbers_of,
    swept,
)

READ, WRITTEN = Site("resid_pre", 1), Site("mlp_out", 1)
APPLYING = ("losses", "reconstruction", "code", "dictionary")
MAIN = ("fvu", "mse", "l0", "ce_clean", "ce_spliced", "ce_zero", "ce_mean", "kl_nats")


def transcoder(architecture: str = "skip_transcoder") -> Sae:
    """A transcoder of zeros."""
    config = config_class(architecture)(n_latents=8, tokens=1000, k=2, write_site="mlp_out")
    return build(config, width=WIDTH, further=(WIDTH,))


def swept_over(lm, text, sae: Sae, *sites: Site, **norms: float) -> DocumentTables:
    places = tuple(
        Place(
            site,
            activations(lm, text, site).mean(0),
            norms.get(str(site).replace(".", "_")),
            UNIGRAM,
        )
        for site in sites
    )
    one = candidate(sae, calibration=torch.zeros(1, sum(sae.widths)))
    applying = {n: m for n, m in one.metrics.items() if getattr(m, "of", "") in APPLYING}
    found = sites_sweep(
        lm,
        Places(places, sae.reads, sae.writes),
        [replace(one, metrics=applying)],
        text,
        batch_rows=5,
        report=silent,
    )
    return found["sae"]


def test_an_output_that_is_exact_costs_nothing(lm, held_out) -> None:
    """resid_pre.1 is what resid_post.0 leaves: the identity is their transcoder."""
    sae = transcoder()
    with torch.no_grad():
        sae.W_skip.copy_(torch.eye(WIDTH))
    found = numbers_of(swept_over(lm, held_out, sae, Site("resid_post", 0), READ))
    assert found["fvu"].value == 0.0
    assert found["ce_increase_nats"].value == 0.0
    assert found["kl_nats"].value == 0.0


def test_a_transcoder_is_measured_where_it_writes(lm, held_out) -> None:
    """One whose output is constant is what a constant SAE of the written site is."""
    x_hat = activations(lm, held_out, WRITTEN)[3].float()
    sae = transcoder()
    with torch.no_grad():
        sae.b_dec.copy_(x_hat)
        sae.b_enc.fill_(-1.0)
    ours = numbers_of(swept_over(lm, held_out, sae, READ, WRITTEN))
    plain = numbers_of(swept(lm, held_out, constant_sae(x_hat), site=WRITTEN)[0])
    for name in MAIN:
        assert ours[name].value == pytest.approx(plain[name].value, abs=1e-6), name


def test_the_written_site_is_replaced_by_what_is_made_of_the_read_one(lm, held_out) -> None:
    generator = torch.Generator().manual_seed(0)
    sae = transcoder()
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    found = numbers_of(swept_over(lm, held_out, sae, READ, WRITTEN))
    tokens = torch.from_numpy(held_out.tokens).long()
    documents = torch.from_numpy(held_out.document_index)
    at = capture(lm, tokens, [READ, WRITTEN])
    plain = tokens != SPECIAL
    made = at[WRITTEN].clone()
    with torch.no_grad():
        made[plain] = sae(at[READ][plain])
        logits = spliced_at(lm, tokens, {WRITTEN: lambda _: made}, ~plain)
    keep = scored(tokens, documents, {SPECIAL})
    expected = next_token_loss(logits, tokens)[keep].double().mean()
    assert found["ce_spliced"].value == pytest.approx(float(expected), abs=1e-5)
    error = (made - at[WRITTEN])[plain].double().square().sum(1).mean()
    assert found["mse"].value == pytest.approx(float(error), rel=1e-5)


def test_a_token_that_is_masked_at_either_site_is_left_as_it_was(lm, held_out) -> None:
    norms = {s: activations(lm, held_out, s).norm(dim=1) for s in (READ, WRITTEN)}
    limits = {s: float(norm.median()) for s, norm in norms.items()}
    both = (norms[READ] <= limits[READ]) & (norms[WRITTEN] <= limits[WRITTEN])
    found = swept_over(
        lm,
        held_out,
        transcoder(),
        READ,
        WRITTEN,
        resid_pre_1=limits[READ],
        mlp_out_1=limits[WRITTEN],
    )
    assert found.latents.n_tokens == int(both.sum())


def test_cosines_of_a_transcoders_encoder_and_decoder_are_not_told(lm, held_out) -> None:
    found = swept_over(lm, held_out, transcoder("transcoder"), READ, WRITTEN)
    assert torch.from_numpy(found.latents.encoder_decoder_cosine).isnan().all()


def crosscoder() -> Sae:
    sites = ("resid_pre.1", "resid_post.1")
    config = config_class("crosscoder")(n_latents=4 * WIDTH, tokens=1000, sites=sites)
    return build(config, width=WIDTH, further=(WIDTH,))


def test_a_crosscoder_that_reconstructs_all_sites_costs_nothing(lm, held_out) -> None:
    sae, eye = crosscoder(), torch.eye(2 * WIDTH)
    with torch.no_grad():
        sae.W_enc.copy_(torch.cat([eye, -eye]))
        sae.W_dec.copy_(torch.cat([eye, -eye]))
    found = swept_over(lm, held_out, sae, READ, Site("resid_post", 1))
    assert numbers_of(found)["ce_increase_nats"].value == 0.0
    assert numbers_of(found)["fvu"].value == 0.0


def test_a_crosscoder_is_spliced_in_at_all_its_sites_at_once(lm, held_out) -> None:
    """One that gives the mean everywhere costs what mean ablation of all its sites costs."""
    sites = (Site("attn_out", 0), Site("mlp_out", 2))
    means = [activations(lm, held_out, site).mean(0).float() for site in sites]
    sae = crosscoder()
    with torch.no_grad():
        sae.b_dec.copy_(torch.cat(means))
        sae.b_enc.fill_(-1.0)
    found = numbers_of(swept_over(lm, held_out, sae, *sites))
    assert found["ce_spliced"].value == pytest.approx(found["ce_mean"].value, abs=1e-5)
    assert found["fvu"].value == pytest.approx(1.0, abs=1e-6)
    tokens = torch.from_numpy(held_out.tokens).long()
    edits = {s: lambda x, m=m: m.expand_as(x) for s, m in zip(sites, means, strict=True)}
    logits = spliced_at(lm, tokens, edits, tokens == SPECIAL)
    keep = scored(tokens, torch.from_numpy(held_out.document_index), {SPECIAL})
    expected = float(next_token_loss(logits, tokens)[keep].double().mean())
    assert found["ce_spliced"].value == pytest.approx(expected, abs=1e-5)


def test_each_sites_sums_are_those_of_the_site_alone(lm, held_out) -> None:
    sites = (Site("attn_out", 0), Site("mlp_out", 2))
    constants = [activations(lm, held_out, site)[5].float() for site in sites]
    sae = crosscoder()
    with torch.no_grad():
        sae.b_dec.copy_(torch.cat(constants))
        sae.b_enc.fill_(-1.0)
    found = swept_over(lm, held_out, sae, *sites)
    for site, constant in zip(sites, constants, strict=True):
        alone = swept(lm, held_out, constant_sae(constant), site=site)[0]
        for name in PER_SITE:
            ours, judge = found.tables[of_site(name, site)], alone.tables[name]
            torch.testing.assert_close(torch.from_numpy(ours), torch.from_numpy(judge))
