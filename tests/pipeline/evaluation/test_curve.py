from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from pipeline.errors import StudyError
from pipeline.evaluation.curve import setting_of
from pipeline.study.config import ModelConfig
from pipeline.study.names import Source

TRAINED = Source.parse("lm.trained.resid_post.1")
POINTS = [
    {"tokens": 20, "flops": 2e9, "held_out_loss_nats": 3.0},
    {"tokens": 10, "flops": 1e9, "held_out_loss_nats": 5.0},
]


def write(folder: Path, content: object) -> ModelConfig:
    path = folder / "curve.json"
    path.write_text(json.dumps(content))
    return ModelConfig(path="some/model", pretraining_curve=str(path))


def test_a_curve_is_read_from_its_file_in_any_order(tmp_path: Path) -> None:
    setting = setting_of(TRAINED, write(tmp_path, POINTS), vocab_size=100)
    assert setting.curve.flops == (1e9, 2e9)
    assert setting.curve.losses == (5.0, 3.0)
    assert setting.uniform_loss == math.log(100)


@pytest.mark.parametrize("weights", ["random", "random@3", "permuted", "revision:step1"])
def test_other_weights_have_no_curve(tmp_path: Path, weights: str) -> None:
    source = Source.parse(f"lm.{weights}.resid_post.1")
    setting = setting_of(source, write(tmp_path, POINTS), vocab_size=100)
    assert setting.curve is None
    assert weights in setting.no_curve


def test_a_model_without_a_curve_says_where_to_give_one() -> None:
    setting = setting_of(TRAINED, ModelConfig(path="some/model"), vocab_size=100)
    assert setting.curve is None
    assert "pretraining_curve" in setting.no_curve


@pytest.mark.parametrize("content", [[], [POINTS[0]], [{"flops": 1}], "text", {"a": 1}])
def test_an_unusable_curve_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(StudyError, match="cannot be used as a pre-training curve"):
        setting_of(TRAINED, write(tmp_path, content), vocab_size=100)


def test_a_missing_curve_file_is_refused(tmp_path: Path) -> None:
    config = ModelConfig(path="some/model", pretraining_curve=str(tmp_path / "none.json"))
    with pytest.raises(StudyError, match=r"none\.json"):
        setting_of(TRAINED, config, vocab_size=100)
