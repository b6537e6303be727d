from __future__ import annotations

import pytest
from pydantic import ValidationError

from sae_core.active_latents import ActiveLatentsConfig
from sae_core.architectures import config_class, names
from sae_core.schedule import annealed_k, lr_factor, penalty_factor
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee


def factors(**fields: object) -> list[float]:
    config = config_class("relu")(n_latents=4, tokens=1000, **fields)
    return [lr_factor(config, seen=seen, n=10) for seen in range(0, 1000, 10)]


def test_it_rises_stays_and_falls_and_is_never_zero():
    found = factors(warmup_share=0.1, decay_share=0.2)
    assert found[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert found[10:80] == [1.0] * 70
    assert found[80:] == pytest.approx([1 - 0.05 * i for i in range(20)])
    assert min(found) > 0


def test_without_phases_it_is_constant():
    assert factors(warmup_share=0.0, decay_share=0.0) == [1.0] * 100


def test_a_penalty_rises_from_zero_and_stays():
    assert [penalty_factor(0.5, progress=p / 4) for p in range(5)] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert penalty_factor(0.0, progress=0.0) == 1.0


def test_k_falls_linearly_from_its_multiple_and_stays():
    found = [annealed_k(8, multiple=4.0, share=0.5, progress=p / 8) for p in range(9)]
    assert found == [32, 26, 20, 14, 8, 8, 8, 8, 8]
    assert [annealed_k(8, multiple=1.0, share=0.0, progress=p / 8) for p in range(9)] == [8] * 9


ANNEALED = {"n_latents": 96, "k": 2, "k_start_multiple": 4.0, "k_anneal_share": 0.5}


def anneals(name: str) -> bool:
    """Whether an architecture of one site has a k that is free to move; if not, it says why."""
    config = config_class(name)
    if not issubclass(config, ActiveLatentsConfig) or config.inputs != "source":
        return False
    try:
        config_class(name)(**ANNEALED, tokens=640)
    except ValidationError as error:
        if "k_anneal_share 0.5 with architecture" not in str(error):
            raise
        return False
    return True


with_k = pytest.mark.parametrize("name", [name for name in names() if anneals(name)])


@with_k
def test_k_anneals_in_training(name):
    toy = Superposition()
    config = config_class(name)(**ANNEALED, tokens=640, batch_size=64)
    trainee = Trainee(config, name="a", statistics=statistics_of(toy.sample(512, step=9)), seed=0)
    found = [float(trainee.step(toy.sample(64, step=s))["l0"]) for s in range(10)]
    # A token of a mixture of experts may have fewer than 8 latents > 0.
    assert 5 < found[0] <= 8
    assert found[0] > found[2] > found[4] > found[5]
    assert found[5:] == pytest.approx([2.0] * 5, abs=0.1)


@with_k
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k_start_multiple": 60.0}, r"are 120 active latents of n_latents = 96.*Lower k_start"),
        ({"k_start_multiple": 1.0}, "k would not move.*Set both or neither"),
        ({"k_anneal_share": 0.0}, "k would not move"),
        ({"k_start_multiple": 0.5}, "greater than or equal to 1"),
    ],
)
def test_impossible_annealing_is_refused(name, fields, message):
    with pytest.raises(ValidationError, match=message):
        config_class(name)(**(ANNEALED | fields), tokens=640)
