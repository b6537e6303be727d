"""A batch divided among ranks: all that one process would have computed, whatever architecture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from sae_core import latent_shards
from sae_core.accumulation import batch_gradients
from sae_core.architectures import build, config_class, names
from sae_core.config import SaeConfig
from sae_core.ranks import ALONE, Ranks, share_of
from sae_core.trainee import Trainee
from tests.sae_core.brute_force import toy_inputs
from tests.sae_core.small_runs import JUDGES, TOY, same_bits
from tests.sae_core.thread_ranks import on_ranks

STEPS, BATCH = 10, 64
# 63 tokens of 64: some rows are masked, so that ranks' shares are of different sizes.
SIZES = [BATCH if step % 3 else BATCH - 1 for step in range(STEPS)]


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    """Rounding is far below any difference in meaning."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def config_of(name: str, **fields: object) -> SaeConfig:
    shared = {"n_latents": 48, "tokens": STEPS * BATCH, "batch_size": BATCH, "lr": 1e-2}
    # Latents die within the run, so that AuxK and resampling have some.
    shared |= {"dead_window_share": 0.15, "ema_share": 0.5}
    return config_class(name)(**(shared | JUDGES[name].SETTINGS | fields))


DIVISIBLE = [name for name in names() if config_of(name).one_rank_only is None]
RESAMPLING = [name for name in DIVISIBLE if not config_class(name).no_resampling]
IN_PARTS = [name for name in DIVISIBLE if not config_class(name).needs_whole_batch]


def trained(
    config: SaeConfig,
    ranks: Ranks,
    start: dict | None = None,
    steps: range = range(STEPS),
    split: str = "tokens",
) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The state at the end and what was measured on the way."""
    judge = JUDGES[config.architecture]
    trainee = toy_inputs.trainee(judge, TOY, config, name="a", seed=0, ranks=ranks, split=split)
    if start is not None:
        trainee.load_state(start)
    told = []
    for step in steps:
        x = toy_inputs.sample(judge, TOY, SIZES[step], step=step).double()
        given = share_of(x, ranks) if split == "tokens" else x
        told.append({k: float(v) for k, v in trainee.step(given).items()})
    assert trainee.diverged is None
    return trainee.state(), told


def assert_same(found: tuple, expected: tuple) -> None:
    state, told = found
    expected_state, expected_told = expected
    for ours, judge in zip(told, expected_told, strict=True):
        assert ours == pytest.approx(judge, rel=1e-7, abs=1e-9)
    assert state.keys() == expected_state.keys()
    for name, tensor in expected_state.items():
        torch.testing.assert_close(
            state[name], tensor, rtol=1e-7, atol=1e-9, equal_nan=True, msg=name
        )


def assert_ranks_agree(config: SaeConfig, *, size: int, split: str = "tokens") -> None:
    on_all = on_ranks(size, lambda ranks: trained(config, ranks, split=split))
    for other in on_all[1:]:
        assert same_bits(on_all[0][0], other[0])
    assert_same(on_all[0], trained(config, ALONE))


@pytest.mark.parametrize("name", DIVISIBLE)
def test_two_ranks_train_as_one(name: str) -> None:
    assert_ranks_agree(config_of(name), size=2)


def test_three_ranks_train_as_one() -> None:
    assert_ranks_agree(config_of("batch_topk"), size=3)


def test_gradients_clipped_together_are_those_of_the_whole_batch() -> None:
    config = config_of("topk", clip_by="global", clip=0.1, loss_scale="token_variance")
    assert_ranks_agree(config, size=2)


@pytest.mark.parametrize("name", DIVISIBLE)
def test_in_float32_gradients_agree_to_a_hundred_thousandth_of_the_largest(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    config, judge = config_of(name), JUDGES[name]

    def gradients(ranks: Ranks) -> tuple[torch.Tensor, ...]:
        trainee = toy_inputs.trainee(judge, TOY, config, name="a", seed=0, ranks=ranks)
        trainee.since_fired += config.dead_window
        trainee.tokens_seen += config.dead_window
        share = share_of(toy_inputs.sample(judge, TOY, BATCH, step=0), ranks)
        parameters = trainee.optimiser.parameters
        return batch_gradients(trainee.sae, share, trainee._context(), parameters).gradients

    for ours, whole in zip(on_ranks(2, gradients)[0], gradients(ALONE), strict=True):
        torch.testing.assert_close(ours, whole, rtol=0, atol=float(1e-5 * whole.abs().max()))


@pytest.mark.parametrize("name", RESAMPLING)
def test_resampling_draws_from_all_ranks(name: str) -> None:
    assert_ranks_agree(config_of(name, resample_at=(0.4, 0.7)), size=2)


@pytest.mark.parametrize("name", IN_PARTS)
def test_ranks_may_split_their_shares_further(name: str) -> None:
    assert_ranks_agree(config_of(name, micro_batch=20), size=2)


def test_dead_latents_and_resampling_occurred() -> None:
    _, told = trained(config_of("topk", resample_at=(0.4, 0.7), k=1), ALONE)
    assert told[-1]["resampled"] > 0
    assert max(step["auxk"] for step in told) > 0


@pytest.mark.parametrize("name", sorted(set(names()) - set(DIVISIBLE)))
def test_what_cannot_be_divided_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ValueError, match=r"divide its batches.*Allowed: one process"):
        on_ranks(2, lambda ranks: trained(config_of(name), ranks))


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu_kde"])
def test_a_target_for_the_mean_l0_is_refused_with_a_reason(name: str) -> None:
    config = config_of(name, penalty="target_l0", target_l0=4.0)
    with pytest.raises(ValueError, match=r"divide its batches.*target_l0.*Allowed: one process"):
        on_ranks(2, lambda ranks: trained(config, ranks))


def test_a_batch_smaller_than_the_ranks_is_refused() -> None:
    with pytest.raises(ValueError, match="Raise batch_size or use fewer ranks"):
        on_ranks(3, lambda ranks: trained(config_of("topk", batch_size=2), ranks))
    with pytest.raises(ValueError, match="a batch of 2 tokens"):
        on_ranks(3, lambda ranks: share_of(torch.zeros(2, 4), ranks))


@pytest.mark.parametrize("name", ["batch_topk", "jumprelu_kde"])
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_states_move_between_numbers_of_ranks(name: str, before: int, after: int) -> None:
    config = config_of(name)
    first, second = range(STEPS // 2), range(STEPS // 2, STEPS)
    middle = on_ranks(before, lambda ranks: trained(config, ranks, steps=first))[0]
    ends = on_ranks(after, lambda ranks: trained(config, ranks, middle[0], second))
    whole = trained(config, ALONE)
    assert_same((ends[0][0], middle[1] + ends[0][1]), whole)


@pytest.mark.parametrize("name", latent_shards.names())
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"clip_by": "global", "clip": 0.1},
        {"loss_scale": "token_variance", "k_start_multiple": 2.0, "k_anneal_share": 0.5},
        {"k": 40, "k_aux": 40},
    ],
    ids=lambda fields: "-".join(fields) or "plain",
)
def test_latents_divided_among_ranks_train_as_one_sae(name: str, fields: dict) -> None:
    assert_ranks_agree(config_of(name, **fields), size=2, split="latents")


def test_ranks_with_latents_of_their_own_may_split_batches() -> None:
    assert_ranks_agree(config_of("topk", micro_batch=20), size=2, split="latents")


@pytest.mark.parametrize("name", latent_shards.names())
def test_in_float32_shards_gradients_agree_to_a_hundred_thousandth(name: str) -> None:
    torch.set_default_dtype(torch.float32)
    config, judge = config_of(name), JUDGES[name]
    x = toy_inputs.sample(judge, TOY, BATCH, step=0)

    def gradients(ranks: Ranks) -> dict[str, torch.Tensor]:
        trainee = toy_inputs.trainee(
            judge, TOY, config, name="a", seed=0, ranks=ranks, split="latents"
        )
        trainee.since_fired += config.dead_window
        trainee.tokens_seen += config.dead_window
        made = batch_gradients(trainee.sae, x, trainee._context(), trainee.optimiser.parameters)
        assert made.terms.terms["auxk"] > 0
        named = dict(zip(trainee.optimiser.names, made.gradients, strict=True))
        return {
            key: ranks.gathered(gradient).flatten(0, 1)
            if ranks.size > 1 and key in trainee.sae.latent_parameters
            else gradient
            for key, gradient in named.items()
        }

    ours, whole = on_ranks(2, gradients)[0], gradients(ALONE)
    for key, judged in whole.items():
        atol = float(1e-5 * judged.abs().max())
        torch.testing.assert_close(ours[key], judged, rtol=0, atol=atol, msg=key)


def test_a_rank_without_dead_latents_takes_part_in_auxk() -> None:
    config = config_of("topk")

    def one_step(ranks: Ranks) -> dict[str, torch.Tensor]:
        trainee = toy_inputs.trainee(
            JUDGES["topk"], TOY, config, name="a", seed=0, ranks=ranks, split="latents"
        )
        with torch.no_grad():
            if ranks.index == 0:  # both where it is alone: the first half of the latents
                trainee.sae.b_enc[:24] = -1000.0
                trainee.since_fired[:24] = config.dead_window
        trainee.tokens_seen = config.dead_window
        x = toy_inputs.sample(JUDGES["topk"], TOY, BATCH, step=0).double()
        measured = trainee.step(x)
        return trainee.state() | {"auxk": measured["auxk"]}

    ours, whole = on_ranks(2, one_step)[0], one_step(ALONE)
    for name, judge in whole.items():
        torch.testing.assert_close(ours[name], judge, msg=name)


@pytest.mark.parametrize("name", sorted(set(names()) - set(latent_shards.names())))
def test_latents_that_cannot_be_divided_are_refused_with_a_reason(name: str) -> None:
    with pytest.raises(ValueError, match=r"latents of batch_topk, topk alone can be divided"):
        on_ranks(2, lambda ranks: trained(config_of(name), ranks, split="latents"))


def test_latents_divide_evenly_and_are_not_resampled() -> None:
    for fields, why in (
        ({"n_latents": 49}, "no multiple of 2"),
        ({"resample_at": (0.5,)}, "draws"),
    ):
        config = config_of("topk", **fields)
        with pytest.raises(ValueError, match=why):
            on_ranks(2, lambda ranks, config=config: trained(config, ranks, split="latents"))


@pytest.mark.parametrize("name", latent_shards.names())
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_states_move_between_numbers_of_shards(name: str, before: int, after: int) -> None:
    config = config_of(name)
    first, second = range(STEPS // 2), range(STEPS // 2, STEPS)

    def half(size: int, start: dict | None, steps: range) -> tuple:
        return on_ranks(size, lambda r: trained(config, r, start, steps, "latents"))[0]

    middle = half(before, None, first)
    end = half(after, middle[0], second)
    assert_same((end[0], middle[1] + end[1]), trained(config, ALONE))


@pytest.mark.parametrize("name", latent_shards.names())
def test_the_result_of_shards_is_the_whole_sae(name: str) -> None:
    config = config_of(name, ema_share=0.5)

    def made(ranks: Ranks) -> dict[str, torch.Tensor]:
        judge = JUDGES[name]
        trainee = toy_inputs.trainee(
            judge, TOY, config, name="a", seed=0, ranks=ranks, split="latents"
        )
        for step in range(3):
            trainee.step(toy_inputs.sample(judge, TOY, BATCH, step=step).double())
        sae = trainee.result()
        assert type(sae) is type(build(config, width=32))
        return sae.state_dict() | {"since_fired": trainee.all_since_fired()}

    ours, whole = on_ranks(2, made)[1], made(ALONE)
    for key, judged in whole.items():
        torch.testing.assert_close(ours[key], judged, equal_nan=True, msg=key)


def test_ranks_repeat_their_bits() -> None:
    config = config_of("batch_topk")
    one, two = (on_ranks(2, lambda ranks: trained(config, ranks))[0][0] for _ in range(2))
    assert same_bits(one, two)


def test_a_trainee_of_one_rank_takes_a_batch_as_it_is() -> None:
    config = config_of("topk")
    one, other = (
        toy_inputs.trainee(JUDGES["topk"], TOY, config, name="a", seed=0) for _ in range(2)
    )
    assert isinstance(one, Trainee)
    x = toy_inputs.sample(JUDGES["topk"], TOY, BATCH, step=0).double()
    assert one.step(x)["loss"] == other.step(share_of(x, ALONE))["loss"]
