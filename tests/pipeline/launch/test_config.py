"""The launch section: what it allows, and that nothing is named by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StudyError
from pipeline.launch.config import LaunchConfig, given_launch
from pipeline.launch.ray_tasks import n_slots
from pipeline.launch.torchrun import LaunchError
from pipeline.orchestrate.requested import launch_tag, requested_launch
from pipeline.study.config import study_hash
from pipeline.study.names import SaeKey, Source
from pipeline.study.read import parse_study
from pipeline.study.registry import Registry, register
from pipeline.workspace import Workspace

STUDY = """
study: small
models:
  pylm: {}
sites: [resid_post.0]
recipes:
  topk8: {architecture: topk, n_latents: 64, k: 8, tokens: 1000}
  far: {architecture: jumprelu, penalty: target_l0, target_l0: 8, n_latents: 64, tokens: 1000}
"""
LAUNCH = "launch: {engine: torchrun, ranks: 2}\n"


def without_far(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if "far" not in line) + "\n"


def test_a_study_has_one_hash_wherever_it_runs() -> None:
    here, there = (parse_study(without_far(STUDY) + more, "a") for more in ("", LAUNCH))
    assert there.launch == LaunchConfig(engine="torchrun", ranks=2)
    assert study_hash(here) == study_hash(there)


def test_a_recipe_that_ranks_cannot_train_is_refused_when_the_study_is_read() -> None:
    with pytest.raises(
        StudyError, match=r"'far' cannot be trained by launch 'torchrun'.*target_l0"
    ):
        parse_study(STUDY + LAUNCH, "small.yaml")
    shards = "launch: {engine: torchrun, ranks: 3, split: latents}\n"
    with pytest.raises(StudyError, match=r"'topk8'.*n_latents 64 is no multiple of 3 ranks"):
        parse_study(without_far(STUDY) + shards, "small.yaml")


@pytest.mark.parametrize(
    ("launch", "says"),
    [
        ("{engine: slurm}", "engine"),
        ("{engine: local, ranks: 4}", "ranks 4 with engine 'local'"),
        ("{engine: torchrun, rank: 4}", "'ranks'"),
        ("{engine: torchrun, address: here}", "address .here. with engine"),
        ("{engine: torchrun, ranks: 0}", "ranks"),
    ],
)
def test_an_unusable_section_is_refused_with_what_is_allowed(launch: str, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        parse_study(without_far(STUDY) + f"launch: {launch}\n", "small.yaml")


def test_the_flag_goes_before_the_section() -> None:
    section = LaunchConfig(engine="torchrun", ranks=8, split="latents", max_restarts=5)
    assert given_launch("local", section).engine == "local"
    assert given_launch("torchrun", section) == section
    assert given_launch("torchrun:2", section) == section.model_copy(update={"ranks": 2})
    assert given_launch("torchrun:2", LaunchConfig()).split == "tokens"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torchrn", "Did you mean 'torchrun'?"),
        ("torchrun:two", "'two' is no number of processes"),
        ("torchrun:0", ""),
        ("ray:x", "'x' is no number of processes"),
    ],
)
def test_an_unknown_flag_is_refused(text: str, says: str) -> None:
    with pytest.raises(StudyError, match="--launch") as told:
        given_launch(text, LaunchConfig())
    assert says in str(told.value)


def test_a_study_registered_again_runs_where_it_now_says(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    source, key = Source.parse("pylm.trained.resid_post.0"), SaeKey.parse("topk8.s0")
    hashes = set()
    for text in (without_far(STUDY), without_far(STUDY) + LAUNCH, without_far(STUDY) + LAUNCH):
        study = parse_study(text, "a")
        register(workspace, study, yaml_text=text)
        registry = Registry.load(workspace)
        assert registry.cell(source, key).launch == study.launch
        hashes.add(registry.registrations[-1].study_hash)
    assert len(registry.registrations) == 2
    assert len(hashes) == 1


def test_a_commands_choice_travels_with_its_runs() -> None:
    launch = LaunchConfig(engine="torchrun", ranks=2)
    assert requested_launch(launch_tag(launch)) == launch
    assert requested_launch(launch_tag(None)) is None


def test_a_cluster_that_is_not_there_is_said() -> None:
    launch = LaunchConfig.model_construct(engine="ray", address="127.0.0.1:1", ranks=None)
    with pytest.raises(LaunchError, match=r"No Ray cluster answers at 127.0.0.1:1.*ray start"):
        n_slots(launch)


def test_without_ray_its_engine_is_refused_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StudyError, match=r"pip install 'sae-foundry\[ray\]'"):
        given_launch("ray", LaunchConfig())
