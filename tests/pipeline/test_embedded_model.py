"""The shipped model is what its card says, measured anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.corpus.documents import Document
from pipeline.embedded import EMBEDDED_MODEL_DIR, pretraining_curve
from pipeline.embedded.card import card
from pipeline.embedded.evaluation import Evaluation, kneser_ney_nats, read_evaluation
from pipeline.embedded.measure import (
    DocumentLoss,
    bits_per_byte,
    document_losses,
    loss_nats,
    mean_loss_nats,
    mlp_ablations_nats,
    mlp_zeroed,
)
from pipeline.embedded.text import Stream, builtin_split, held_out_sample, stream
from pipeline.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return read_evaluation(EMBEDDED_MODEL_DIR)


@pytest.fixture(scope="module")
def model():
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL_DIR)


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EMBEDDED_MODEL_DIR)


@pytest.fixture(scope="module")
def held_out_documents() -> list[Document]:
    return builtin_split("held_out")


@pytest.fixture(scope="module")
def sample(held_out_documents, tokenizer) -> Stream:
    return stream(held_out_sample(held_out_documents), tokenizer)


def _check_loss_on_another_pythons_text(
    model, tokenizer, documents: list[Document], evaluation: Evaluation
) -> None:
    """Only documents that were held out in the training run: others may be train files, renamed."""
    common = [d for d in documents if d.name in evaluation.documents]
    measured = mean_loss_nats(document_losses(model, common, tokenizer).values())
    recorded = mean_loss_nats(DocumentLoss(*evaluation.documents[d.name]) for d in common)
    assert measured == pytest.approx(recorded, rel=0.03)


def test_the_card_is_the_one_its_numbers_give():
    assert (EMBEDDED_MODEL_DIR / "README.md").read_text() == card(EMBEDDED_MODEL_DIR)


def test_the_recorded_sample_loss_is_measured_again(
    model, tokenizer, sample, held_out_documents, evaluation
):
    if sample.text_sha256 == evaluation.sample_text_sha256:
        assert loss_nats(model, sample.tokens) == pytest.approx(
            evaluation.sample_loss_nats, abs=1e-3
        )
    else:
        documents = held_out_sample(held_out_documents)
        _check_loss_on_another_pythons_text(model, tokenizer, documents, evaluation)


@pytest.mark.long
def test_the_recorded_held_out_loss_is_measured_again(
    model, tokenizer, held_out_documents, evaluation
):
    _check_loss_on_another_pythons_text(model, tokenizer, held_out_documents, evaluation)
    text = stream(held_out_documents, tokenizer)
    costs = mlp_ablations_nats(model, text.tokens)
    assert min(costs) >= 0.05
    if text.text_sha256 == evaluation.text_sha256:
        measured = loss_nats(model, text.tokens)
        assert measured == pytest.approx(evaluation.held_out_loss_nats, abs=1e-3)
        assert bits_per_byte(measured, text) == pytest.approx(evaluation.bits_per_byte, abs=1e-3)
        assert costs == pytest.approx(evaluation.mlp_ablations_nats, abs=2e-3)


def test_documents_average_by_their_tokens():
    assert mean_loss_nats([DocumentLoss(3, 1.0), DocumentLoss(1, 5.0)]) == 2.0


def test_the_recorded_documents_average_near_the_recorded_loss(evaluation):
    losses = [DocumentLoss(*one) for one in evaluation.documents.values()]
    assert mean_loss_nats(losses) == pytest.approx(evaluation.held_out_loss_nats, rel=0.02)


@pytest.mark.long
def test_the_ngram_baseline_is_counted_again_and_beaten_by_a_quarter(
    model, tokenizer, held_out_documents, evaluation
):
    train, held_out = (
        stream(builtin_split("train"), tokenizer),
        stream(held_out_documents, tokenizer),
    )
    baseline = kneser_ney_nats(train, held_out, vocab=model.config.vocab_size)
    if held_out.text_sha256 == evaluation.text_sha256:
        assert baseline == pytest.approx(evaluation.kneser_ney_nats, abs=1e-3)
    assert loss_nats(model, held_out.tokens) < 0.75 * baseline


def test_the_recorded_loss_is_a_quarter_below_the_ngram_baseline(evaluation):
    assert evaluation.held_out_loss_nats < 0.75 * evaluation.kneser_ney_nats
    assert evaluation.kneser_ney_order == 5


def test_zeroing_any_layers_mlp_out_costs_a_twentieth_of_a_nat(model, sample, evaluation):
    costs = mlp_ablations_nats(model, sample.tokens[:20_000])
    assert len(costs) == len(evaluation.mlp_ablations_nats) == model.config.num_hidden_layers
    assert min(costs) >= 0.05
    assert min(evaluation.mlp_ablations_nats) >= 0.05


def test_a_zeroed_mlp_is_whole_again_afterwards(model, sample):
    short = sample.tokens[:600]
    clean = loss_nats(model, short)
    with mlp_zeroed(model, 0):
        assert loss_nats(model, short) > clean + 0.05
    assert loss_nats(model, short) == clean


def test_loss_predicts_every_token_but_the_first_once(model):
    import numpy as np
    import torch

    tokens = np.random.default_rng(0).integers(0, 2048, 300)
    ids = torch.from_numpy(tokens)
    total = 0.0
    with torch.no_grad():
        for window in (ids[:257], ids[256:]):
            logits = model(window[None, :-1]).logits[0]
            total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    assert loss_nats(model, tokens) == pytest.approx(total / 299, abs=1e-5)


def test_a_stream_shorter_than_a_window_has_a_loss_too(model):
    import torch

    ids = torch.arange(10)
    with torch.no_grad():
        logits = model(ids[None, :-1]).logits[0]
    expected = torch.nn.functional.cross_entropy(logits, ids[1:]).item()
    assert loss_nats(model, ids.numpy()) == pytest.approx(expected, abs=1e-5)


def test_size_and_training_are_within_what_was_promised(model, evaluation):
    weights = EMBEDDED_MODEL_DIR / "model.safetensors"
    assert weights.stat().st_size <= 16e6
    assert evaluation.parameters == sum(p.numel() for p in model.parameters())
    assert 1e6 <= evaluation.parameters <= 2e6
    assert evaluation.tokens_seen >= 20 * evaluation.parameters
    assert evaluation.tokens_seen <= 4 * evaluation.unique_tokens
    assert evaluation.epochs == evaluation.tokens_seen / evaluation.unique_tokens


def test_the_curve_falls_and_ends_in_the_shipped_model(evaluation):
    curve = pretraining_curve()
    assert len(curve) >= 12
    losses = [point.held_out_loss_nats for point in curve]
    assert losses == sorted(losses, reverse=True)
    assert [point.tokens for point in curve] == sorted({point.tokens for point in curve})
    assert all(p.flops == 6 * evaluation.flops_parameters * p.tokens for p in curve)
    assert curve[-1].tokens == evaluation.tokens_seen
    assert losses[-1] == pytest.approx(evaluation.held_out_loss_nats, abs=1e-3)


def test_the_tokenizer_gives_back_any_text_and_packs_three_bytes(tokenizer, held_out_documents):
    text = "def f(x):\n\treturn 'naïve ☃ \U0001f40d \x00'  # 12345\r\n\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    documents = held_out_documents[:20]
    n_tokens = sum(len(tokenizer(d.text, truncation=False)["input_ids"]) for d in documents)
    assert sum(len(d.text.encode()) for d in documents) / n_tokens >= 2.8
    assert tokenizer.bos_token == tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.bos_token_id == 0


def test_asking_for_the_curve_imports_nothing_heavy():
    code = (
        "import sys; from pipeline.embedded import pretraining_curve; pretraining_curve();"
        "sys.exit(bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_without_numbers_is_an_error_that_says_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"pipeline\.embedded\.pretrain"):
        read_evaluation(tmp_path)
