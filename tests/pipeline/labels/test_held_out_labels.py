"""Labels of packed held-out text, against the text itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing

from pipeline.corpus.pack import PackedCorpus, pack_corpus
from pipeline.corpus.shuffled import text_as_read
from pipeline.embedded.tokenizer import END_OF_TEXT, train_tokenizer
from pipeline.errors import CheckpointError, StoreError
from pipeline.evaluation.held_out import SPLIT, read_held_out
from pipeline.evaluation.labelled import labelled_tokens
from pipeline.language_model.load import load_tokenizer
from pipeline.study.config import CorpusConfig, EvaluationConfig, ModelConfig
from pipeline.study.names import Weights
from pipeline.workspace import Workspace
from sae_core.labelled_tokens import LabelledTokens

CONTEXT, N_DOCUMENTS = 16, 40
LINES = ('x = "ü€"', "y = f(a=1)  # 漢字", "def größe(z): return z", "pass")
SETTINGS = EvaluationConfig(tokens=100_000, probe_tokens=100_000, labels="python", bootstrap=100)
Made = tuple[PackedCorpus, ModelConfig]


@pytest.fixture(params=["end of text between", "a token before every row"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Python documents, packed by a tokenizer of either kind; one in eight does not parse."""
    texts, model = tmp_path / "texts", tmp_path / "model"
    texts.mkdir()
    rng = np.random.default_rng(0)
    for i in range(N_DOCUMENTS):
        lines = [str(line) for line in rng.choice(LINES, int(rng.integers(2, 9)))]
        broken = ["print 'old'"] if i % 8 == 0 else []
        (texts / f"{i:02}.txt").write_text("\n".join([*lines, *broken]) + "\n")
    tokenizer = train_tokenizer(["\n".join(LINES)] * 4, vocab_size=290)
    if request.param == "a token before every row":
        tokenizer.bos_token = END_OF_TEXT
        first = (END_OF_TEXT, tokenizer.eos_token_id)
        tokenizer._tokenizer.post_processor = TemplateProcessing(
            single=f"{END_OF_TEXT} $A", special_tokens=[first]
        )
    tokenizer.save_pretrained(model)
    (model / "config.json").write_text("{}")
    corpus = CorpusConfig(kind="text", path=str(texts), held_out_share=0.4, calibration_share=0.2)
    config = ModelConfig(path=str(model), context=CONTEXT, corpus=corpus)
    return pack_corpus(Workspace.open(tmp_path / "workspace"), "tiny", config), config


def labels_of(made: Made, settings: EvaluationConfig = SETTINGS, weights: str = "trained"):
    corpus, config = made
    text = text_as_read(corpus, Weights.parse(weights))
    return labelled_tokens(text, config, read_held_out(text, settings.tokens), settings)


def test_tokens_that_have_a_label_spell_what_it_is_about(made: Made) -> None:
    found, tokenizer = labels_of(made), load_tokenizer(made[1])
    told = {
        "in_comment": {"# 漢字"},
        "in_string": {'"ü€"'},
        "definition_name": {"größe"},
        "keyword_argument": {"a"},
    }
    for label, texts in told.items():
        has = found.labels[:, found.names.index(label)]
        assert has.any()
        for run in runs(found, has):
            shown = tokenizer.decode(found.tokens[run].tolist()).strip()
            # Rows cut documents anywhere: a run at a row's edge holds part of it.
            edge = {int(place) % CONTEXT for place in found.places[run]} & {0, 1, CONTEXT - 1}
            assert shown in texts or edge, shown
        whole = [tokenizer.decode(found.tokens[run].tolist()).strip() for run in runs(found, has)]
        assert texts & set(whole)


def runs(found: LabelledTokens, has: torch.Tensor) -> list[list[int]]:
    """Tokens in a row that have a label."""
    groups: list[list[int]] = []
    for i in has.nonzero().squeeze(1).tolist():
        if groups and groups[-1][-1] == i - 1 and found.places[i] == found.places[i - 1] + 1:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def test_tokens_stand_at_their_places_beside_those_before_them(made: Made) -> None:
    corpus, _ = made
    held_out, found = read_held_out(corpus, SETTINGS.tokens), labels_of(made)
    flat, documents = held_out.tokens.reshape(-1), held_out.document_index.reshape(-1)
    places = found.places.numpy()
    assert (np.diff(places) > 0).all()
    assert np.array_equal(flat[places], found.tokens.numpy())
    assert not np.isin(flat[places], sorted(held_out.special_ids)).any()
    for place, before in zip(places.tolist(), found.previous.tolist(), strict=True):
        follows = place % CONTEXT and documents[place] == documents[place - 1]
        ordinary = follows and flat[place - 1] not in held_out.special_ids
        assert before == (flat[place - 1] if ordinary else -1)


def test_documents_that_do_not_parse_are_left_out_and_counted(made: Made) -> None:
    corpus, _ = made
    held_out, found = read_held_out(corpus, SETTINGS.tokens), labels_of(made)
    names = corpus.document_names(SPLIT)
    broken = {n for n, name in names.items() if int(Path(name).stem) % 8 == 0}
    seen = set(held_out.documents.tolist())
    assert found.n_left_out == len(broken & seen) > 0
    labelled = held_out.documents[held_out.document_index.reshape(-1)[found.places.numpy()]]
    assert not broken & set(labelled.tolist())
    assert found.n_documents == len(set(labelled.tolist()))


def test_a_document_lies_on_one_side_and_the_sides_are_alike(made: Made) -> None:
    corpus, _ = made
    held_out, found = read_held_out(corpus, SETTINGS.tokens), labels_of(made)
    documents = held_out.document_index.reshape(-1)[found.places.numpy()]
    test = found.is_test.numpy()
    assert not set(documents[test].tolist()) & set(documents[~test].tolist())
    assert 0.35 < test.mean() < 0.65
    clusters = found.clusters.numpy()
    assert found.resamples.shape == (100, len(set(documents[test].tolist())))
    pairs = set(zip(documents[test].tolist(), clusters[test].tolist(), strict=True))
    assert len(pairs) == found.resamples.shape[1]


def test_an_exclusive_or_of_two_labels_joins_them(made: Made) -> None:
    found = labels_of(made)
    names = [name for name, is_xor in zip(found.names, found.is_xor, strict=True) if is_xor]
    assert names
    for name in names:
        a, b = (found.labels[:, found.names.index(one)] for one in name.split(" xor "))
        assert torch.equal(found.labels[:, found.names.index(name)], a ^ b)


def test_labels_go_with_their_tokens_where_the_text_is_shuffled(made: Made) -> None:
    plain, shuffled = labels_of(made), labels_of(made, weights="shuffled_text@1")
    assert not torch.equal(plain.tokens, shuffled.tokens)
    pairs = [
        sorted(
            (int(place) // CONTEXT, int(token), tuple(labels))
            for place, token, labels in zip(
                one.places,
                one.tokens,
                one.labels[:, : sum(not x for x in one.is_xor)].tolist(),
                strict=True,
            )
        )
        for one in (plain, shuffled)
    ]
    assert pairs[0] == pairs[1]


def test_fewer_tokens_are_spread_over_the_same_documents(made: Made) -> None:
    corpus, _ = made
    whole = labels_of(made)
    n = read_held_out(corpus, SETTINGS.tokens).tokens.size
    part = labels_of(made, SETTINGS.model_copy(update={"probe_tokens": n // 3}))
    assert torch.equal(part.places, whole.places[whole.places % 3 == 0])
    assert part.n_documents > 0.8 * whole.n_documents


def test_labels_are_made_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    before = labels_of(made)

    def never(*_: object) -> None:
        raise AssertionError("the text was read again")

    monkeypatch.setattr("pipeline.evaluation.row_labels.held_out_texts", never)
    after = labels_of(made)
    assert before.names == after.names
    assert torch.equal(before.labels, after.labels)
    assert torch.equal(before.places, after.places)
    with pytest.raises(AssertionError, match="read again"):
        labels_of(made, SETTINGS.model_copy(update={"labels": "lexical"}))


def changed(made: Made, change: Callable[[Path], None]) -> None:
    corpus, config = made
    for name in corpus.document_names(SPLIT).values():
        change(Path(str(config.corpus.path)) / name)


def test_text_that_is_not_the_packed_one_is_refused(made: Made) -> None:
    changed(made, lambda path: path.write_text("z" + path.read_text()))
    with pytest.raises(StoreError, match="is not the text that was packed"):
        labels_of(made)


def test_text_that_is_gone_is_refused(made: Made) -> None:
    corpus, config = made
    changed(made, lambda path: path.unlink())
    with pytest.raises(StoreError, match="is not the text that was packed"):
        labels_of((corpus, config))


def test_a_damaged_file_of_labels_is_named(made: Made) -> None:
    labels_of(made)
    (path,) = made[0].path.glob("labels-*.npz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=path.name):
        labels_of(made)


def test_tokens_that_are_not_labelled_are_not_found(made: Made) -> None:
    found = labels_of(made)
    known, numbers = found.find(torch.arange(int(found.places[-1]) + 40))
    assert torch.equal(known.nonzero().squeeze(1), found.places)
    assert torch.equal(numbers, torch.arange(len(found.places)))
    none = replace(found, places=found.places[:0])
    assert not none.find(torch.arange(5))[0].any()
