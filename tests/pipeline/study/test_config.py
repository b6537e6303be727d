from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.errors import StudyError
from pipeline.launch.config import LaunchConfig
from pipeline.study.config import (
    CorpusConfig,
    EvaluationConfig,
    HarvestConfig,
    ModelConfig,
    study_hash,
)
from pipeline.study.explain import validated
from pipeline.study.read import load_study, parse_study
from sae_core import architectures

STUDY = """
study: small
models:
  pylm:
    corpus: {kind: builtin}
    harvest: {tokens: 1000}
weights: [trained, random@1]
sites: [resid_post.0-1, mlp_out.3]
recipes:
  topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 1000}
  l1: {architecture: relu, n_latents: 64, tokens: 1000}
seeds: [0, 2]
evaluation: {tokens: 4096}
"""


def _error(was: str, now: str) -> str:
    assert was in STUDY
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY.replace(was, now, 1), "small.yaml")
    return str(caught.value)


def test_cells_are_the_product_of_what_is_named() -> None:
    study = parse_study(STUDY, "small.yaml")
    cells = [f"{source}/{key}" for source, key in study.cells()]
    assert len(cells) == len(set(cells)) == 2 * 3 * 2 * 2
    assert cells[0] == "pylm.trained.resid_post.0/topk8.s0"
    assert "pylm.random@1.mlp_out.3/l1.s2" in cells


def test_the_starter_study_can_be_used_as_it_is() -> None:
    text = files("pipeline.study").joinpath("starter.yaml").read_text()
    assert parse_study(text, "starter.yaml").cells()


def test_equal_content_gives_an_equal_hash_whatever_the_form() -> None:
    text = STUDY.replace("seeds: [0, 2]", "seeds:\n- 0\n- 2\n# a comment")
    text = text.replace("random@1", "'random@1'").replace("tokens: 1000", "tokens: 1e3")
    assert study_hash(parse_study(text, "a")) == study_hash(parse_study(STUDY, "b"))
    other = parse_study(STUDY.replace("k: 8", "k: 9"), "b")
    assert study_hash(other) != study_hash(parse_study(STUDY, "b"))


@pytest.mark.parametrize(
    ("was", "now", "path", "offer"),
    [
        ("seeds:", "seedz:", "seedz", "'seeds'"),
        ("harvest:", "harvst:", "models.pylm.harvst", "'harvest'"),
        ("{tokens: 1000}", "{token: 1000}", "models.pylm.harvest.token", "'tokens'"),
        ("{kind:", "{knd:", "models.pylm.corpus.knd", "'kind'"),
        ("{tokens: 4096}", "{toks: 4096}", "evaluation.toks", "'tokens'"),
        ("k: 8", "kk: 8", "recipes.topk8.kk", "'k'"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one(
    was: str, now: str, path: str, offer: str
) -> None:
    first = _error(was, now).splitlines()[0]
    assert first.startswith(f"small.yaml: {path}: unknown key")
    assert f"Did you mean {offer}?" in first
    assert "Valid keys here: " in first


def test_every_problem_is_told_at_once() -> None:
    text = _error("k: 8", "kk: 8")
    assert "recipes.topk8.k is missing" in text
    assert all(line.startswith("small.yaml: ") for line in text.splitlines())


def test_an_unknown_architecture_is_offered_the_nearest_name() -> None:
    text = _error("architecture: topk", "architecture: topkk")
    assert "recipes.topk8.architecture: 'topkk' is not an architecture" in text
    assert "Did you mean 'topk'?" in text


def _choices() -> list[tuple[type[BaseModel], str, str]]:
    """Every (model, field, word) where a study chooses among words."""
    kinds = [CorpusConfig, HarvestConfig, ModelConfig, EvaluationConfig, LaunchConfig]
    kinds += [architectures.config_class(name) for name in architectures.names()]
    return [
        (kind, name, word)
        for kind in kinds
        for name, field in kind.model_json_schema()["properties"].items()
        for part in field.get("anyOf", [field])
        for word in part.get("enum", [])
    ]


def test_a_misspelt_word_is_offered_the_nearest_wherever_a_study_chooses() -> None:
    choices = _choices()
    assert {("CorpusConfig", "kind"), ("HarvestConfig", "shuffle"), ("LaunchConfig", "split")} <= {
        (kind.__name__, name) for kind, name, _ in choices
    }
    for kind, name, word in choices:
        with pytest.raises(StudyError) as told:
            validated(kind, {name: word[:-1] + "_" + word[-1:]}, "s.yaml")
        line = next(line for line in str(told.value).splitlines() if f" {name}: " in line)
        assert f"Did you mean {word!r}? Allowed: " in line


@pytest.mark.parametrize(
    ("was", "now", "parts"),
    [
        ("{tokens: 4096}", "{tokens: 3}", ("evaluation.tokens: 3 was given", ">= 256")),
        (
            "kind: builtin",
            "kind: bultin",
            ('"bultin" was given', "Did you mean 'builtin'?", "builtin, text, jsonl"),
        ),
        (
            "seeds: [0, 2]",
            "seeds: [0, -1]",
            ("seeds.1: -1 was given", "greater than or equal to 0"),
        ),
        ("seeds: [0, 2]", "seeds: [0, 0]", ("the seed 0 is given twice", "remove one")),
        ("mlp_out.3", "resid_post.1", ("the site resid_post.1 is given twice",)),
        ("seeds: [0, 2]", "seeds: [a]", ('seeds.0: "a" was given. Allowed: a whole number. Mend',)),
        (
            "pylm:",
            "pylm:\n    device: cudaa",
            ("models.pylm.device: 'cudaa' is not a device", "Did you mean 'cuda'?"),
        ),
        ("random@1", "random@0, random", ("the weights variant random is given twice",)),
        ("random@1", "randm", ("'randm' is not a weights variant", "'random'")),
        ("mlp_out.3", "mlp_uot.3", ("'mlp_uot.3' is not a site", "'mlp_out'")),
        ("mlp_out.3", "resid_post.3-2", ("empty range", "resid_post.2-3")),
        ("topk8:", "to.pk:", ("'to.pk' cannot be used as a name",)),
        ("pylm:", "py.lm:", ("'py.lm' cannot be used as a name",)),
        ("k: 8", "k: 65", ("recipes.topk8", "65", "64")),
        ("kind: builtin", "kind: text", ("models.pylm.corpus", "set 'path'")),
        ("kind: builtin", "kind: builtin, held_out_share: .nan", ("held_out_share",)),
        (
            "kind: builtin",
            "kind: builtin, held_out_share: 0.2",
            ("held_out_share is 0.2", "at most 0.06", "trained on the rest"),
        ),
        ("study: small", "study: [", ("small.yaml, line ", "column ")),
        ("seeds: [0, 2]", "seeds: [0]\nseeds: [1]", ("'seeds' is given twice", "line 13")),
        ("topk8:", "l1:", ("'l1' is given twice",)),
    ],
)
def test_a_bad_value_says_what_was_given_and_what_is_allowed(
    was: str, now: str, parts: tuple[str, ...]
) -> None:
    text = _error(was, now)
    for part in parts:
        assert part in text


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_told(text: str) -> None:
    with pytest.raises(StudyError, match="a study is a mapping"):
        parse_study(text, "small.yaml")


def test_yaml_makes_plain_data_only() -> None:
    with pytest.raises(StudyError, match="not valid YAML"):
        parse_study("study: !!python/object/apply:os.getcwd []", "small.yaml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read as a study"):
        load_study(tmp_path / "none.yaml")


def test_local_paths_are_relative_to_the_study_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "small.yaml"
    corpus = "path: ./model\n    corpus: {kind: text, path: texts}"
    path.write_text(STUDY.replace("corpus: {kind: builtin}", corpus))
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = load_study(path).models["pylm"]
    assert model.path == str(tmp_path / "model")
    assert model.corpus.path == str(tmp_path / "texts")


def test_a_hub_id_stays_a_hub_id(tmp_path: Path) -> None:
    text = STUDY.replace("corpus: {kind: builtin}", "path: EleutherAI/pythia-70m")
    assert parse_study(text, "a", folder=tmp_path).models["pylm"].path == "EleutherAI/pythia-70m"
