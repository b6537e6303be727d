from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pipeline.errors import StudyError
from pipeline.evaluation import revision_curve as module
from pipeline.evaluation.curve import setting_of
from pipeline.evaluation.revision_curve import write_revision_curve
from pipeline.study.config import ModelConfig
from pipeline.study.names import Source, Weights
from tests.pipeline.evaluation.scene import (
    CONTEXT,
    SITE,
    SPECIAL,
    identity_sae,
    numbers_of,
    swept,
    tiny_lm,
)

FLOPS = {"step10": 1e9, "main": 1e12, "step100": 1e11}


@pytest.fixture
def made(lm, held_out, tmp_path, monkeypatch):
    """The model itself as `main`, others of other weights; what was loaded, and a writer."""
    models = {"step10": tiny_lm(spread=0.02, seed=3), "step100": tiny_lm(seed=4), "main": lm}
    loaded = []

    def load(config, weights):
        loaded.append((config.revision, str(weights)))
        return models[config.revision]

    monkeypatch.setattr(module, "load_language_model", load)
    corpus = SimpleNamespace(
        context=CONTEXT,
        special_ids=frozenset({SPECIAL}),
        n_rows=lambda split: len(held_out.tokens),
        tokens=lambda split, a, b: (held_out.tokens[a:b], held_out.document_index[a:b]),
    )
    path = tmp_path / "curve.json"

    def write(flops=FLOPS):
        config = ModelConfig(path="some/model", batch_rows=5)
        return write_revision_curve(path, config, corpus, flops, n_tokens=10**6)

    return SimpleNamespace(write=write, path=path, loaded=loaded)


def test_revisions_are_measured_as_the_clean_loss_is(made, lm, held_out):
    curve = made.write()
    assert made.loaded == [(name, "trained") for name in ("step10", "step100", "main")]
    assert curve.flops == (1e9, 1e11, 1e12)
    (tables,) = swept(lm, held_out, identity_sae())
    assert curve.losses[-1] == pytest.approx(numbers_of(tables)["ce_clean"].value, rel=1e-6)
    assert curve.losses[0] > curve.losses[-1]


def test_the_file_is_one_that_a_study_can_name(made):
    curve = made.write()
    config = ModelConfig(path="some/model", pretraining_curve=str(made.path))
    found = setting_of(Source("lm", Weights.parse("trained"), SITE), config, vocab_size=64)
    assert found.curve == curve
    assert [row["revision"] for row in json.loads(made.path.read_text())][-1] == "main"


def test_revisions_that_never_fall_are_refused_and_nothing_is_written(made):
    with pytest.raises(StudyError, match="must fall"):
        made.write({"main": 1e9, "step10": 1e12})
    assert not made.path.exists()
