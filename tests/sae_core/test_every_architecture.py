"""What holds for every architecture, whatever its file is called."""

from __future__ import annotations

import functools

import pytest
import torch
from sae_kernels import max_cosine
from torch.nn.functional import normalize

from sae_core.architectures import build, names
from sae_core.checkpoint import restore_trainee, sae_from_bytes, sae_to_bytes, trainee_to_bytes
from sae_core.engine import train
from sae_core.sae import Sae
from sae_core.trainee import Trainee
from sae_core.training_context import TrainingContext
from tests.sae_core import brute_force
from tests.sae_core.brute_force import toy_inputs
from tests.sae_core.small_runs import (
    JUDGES,
    TOY,
    batches,
    bits,
    config_of,
    run,
    same_bits,
    sample,
    trainee_of,
    views,
)

MOST_EXCEPTIONS = 3
each_architecture = pytest.mark.parametrize("name", names())


def random_sae(
    name: str, *, seed: int, **fields: object
) -> tuple[Sae, torch.Tensor, TrainingContext]:
    """A float64 SAE away from its start, a batch, and a run in which some latents are dead."""
    generator = torch.Generator().manual_seed(seed)
    widths = tuple(view.width for view in views(name))
    sae = build(config_of(name, **fields), width=widths[0], further=widths[1:]).double()
    with torch.no_grad():
        for parameter in sae.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(draw / 4)
        for scale in (sae.input_scale, sae.written_scale):
            scale.copy_(torch.linspace(1.7, 2.3, scale.numel(), dtype=torch.float64).view_as(scale))
    context = TrainingContext(
        progress=0.02,
        tokens_seen=10_000,
        since_fired=torch.randint(0, 2000, (48,), generator=generator),
        dead_window=1000,
        total_variance=20.0,
        language_model=toy_inputs.language_model(JUDGES[name]),
    )
    return sae, sample(name, 9, step=seed).double(), context


def test_every_architecture_has_a_second_writing_of_its_loss():
    assert set(JUDGES) == set(names())


def test_few_architectures_recover_less_and_each_says_why():
    exceptions = {name for name in names() if hasattr(JUDGES[name], "RECOVERED")}
    assert len(exceptions) <= MOST_EXCEPTIONS
    assert all(len(JUDGES[name].WHY) > 40 for name in exceptions)


@each_architecture
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_every_gradient_equal_brute_force(name, seed):
    for fields in getattr(JUDGES[name], "VARIANTS", [{}]):
        check_loss_and_gradients(name, seed, **fields)


def check_loss_and_gradients(name: str, seed: int, **fields: object) -> None:
    sae, x, context = random_sae(name, seed=seed, **fields)
    terms, activity = sae.losses(x, context)
    expected, dense = JUDGES[name].loss(sae, x, context)
    torch.testing.assert_close(terms.total, expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(activity.fired, (dense > 0).any(0))
    torch.testing.assert_close(
        activity.l0.double(), (dense > 0).double().sum(1).mean(), atol=1e-6, rtol=0
    )
    parameters = dict(sae.named_parameters())
    ours = torch.autograd.grad(terms.total, parameters.values())
    judge = torch.autograd.grad(expected, parameters.values())
    for parameter, a, b in zip(parameters, ours, judge, strict=True):
        assert b.abs().max() > 0, parameter
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=lambda m, p=parameter: p + m)


@each_architecture
def test_the_code_and_its_decoding_equal_their_dense_forms(name):
    sae, x, _ = random_sae(name, seed=3)
    sae.calibrate([x])
    code = sae.encode(x)
    assert code.n_latents == 48
    assert (code.values >= 0).all()
    padding = code.values == 0
    assert (code.indices[padding] == 0).all()
    expected = getattr(JUDGES[name], "decoded", decoded)(sae, x, code.dense())
    torch.testing.assert_close(sae.reconstruct(x, code), expected)
    torch.testing.assert_close(sae(x), expected)
    values = getattr(JUDGES[name], "values", brute_force.terms.values)(sae, x)
    on = code.dense() > 0
    torch.testing.assert_close(code.dense()[on], values[on] / sae.written_scale.view(-1)[0])


def decoded(sae: Sae, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
    """The reconstruction from a dense code."""
    return (code @ sae.W_dec) + sae.b_dec / sae.input_scale


@each_architecture
def test_units_of_the_activations_do_not_matter(name):
    """x in other units: the same latents, values and reconstructions in those units."""
    small, large = trainee_of(name), trainee_of(name, unit=256.0)
    for trainee, unit in ((small, 1.0), (large, 256.0)):
        for step in range(4):
            trainee.step(sample(name, 64, step=step) * unit)
        trainee.sae.calibrate([sample(name, 256, step=50) * unit])
    x = sample(name, 32, step=99)
    torch.testing.assert_close(
        large.sae.encode(x * 256).dense(), small.sae.encode(x).dense() * 256, rtol=1e-3, atol=1e-2
    )
    torch.testing.assert_close(large.sae(x * 256), small.sae(x) * 256, rtol=1e-3, atol=1e-1)


@each_architecture
def test_activations_that_are_no_rows_of_its_width_are_refused(name):
    sae = trainee_of(name).sae
    read = sae.W_enc.shape[1]
    for shape in ((4, read - 1), (read,), (2, 4, read)):
        with pytest.raises(ValueError, match=rf"Allowed: \(n, {read}\), a row per token"):
            sae.scaled(torch.zeros(shape))


@each_architecture
def test_encoding_and_losses_change_no_state(name):
    trainee = trainee_of(name)
    trainee.step(sample(name, 64, step=0))
    trainee.sae.calibrate([sample(name, 64, step=1)])
    before = trainee.state()
    trainee.sae.encode(sample(name, 64, step=2))
    trainee.sae.losses(sample(name, 64, step=3), trainee._context())
    assert same_bits(before, trainee.state())


@each_architecture
def test_memory_layout_of_a_batch_does_not_change_a_bit(name):
    x = sample(name, 64, step=0)
    shifted = torch.cat([torch.zeros(1), x.reshape(-1)])[1:].view(x.shape)
    transposed = x.T.contiguous().T
    states = []
    for layout in (x, shifted, transposed):
        trainee = trainee_of(name)
        trainee.step(layout)
        states.append(trainee.state())
    assert same_bits(states[0], states[1])
    assert same_bits(states[0], states[2])


@each_architecture
def test_saved_and_loaded_it_is_the_same_sae(name):
    trainee = trainee_of(name)
    trainee.step(sample(name, 64, step=0))
    trainee.sae.calibrate([sample(name, 64, step=1)])
    data = sae_to_bytes(trainee.sae)
    loaded = sae_from_bytes(data)
    assert loaded.config == trainee.config
    assert sae_to_bytes(loaded) == data
    x = sample(name, 16, step=2)
    assert torch.equal(loaded(x), trainee.sae(x))


@each_architecture
@pytest.mark.parametrize("cut", [1, 4, 11])
def test_resumed_equals_uninterrupted_bit_for_bit(name, cut):
    whole = trainee_of(name, dead_window_tokens=128)
    run(name, [whole])
    first = trainee_of(name, dead_window_tokens=128)
    stream = train([first], batches(name), report_every=1)
    for _ in range(cut):
        next(stream)
    data = trainee_to_bytes(first)
    resumed = trainee_of(name, dead_window_tokens=128, seed=1)
    restore_trainee(resumed, data)
    assert resumed.step_count == cut
    run(name, [resumed])
    assert same_bits(whole.state(), resumed.state())
    assert trainee_to_bytes(whole) == trainee_to_bytes(resumed)


def trio(name: str) -> list[Trainee]:
    """One SAE of an architecture, one of another seed, and one with a smaller budget."""
    short = trainee_of(name, called=f"{name} short", tokens=5 * 64, seed=3)
    return [
        trainee_of(name, called=name),
        trainee_of(name, called=f"{name} again", seed=1),
        short,
    ]


@functools.cache
def together(n_sites: int) -> dict[str, Trainee]:
    """Three SAEs of every architecture on so many sites, trained in one group."""
    of_sites = [name for name in names() if len(views(name)) == n_sites]
    group = [trainee for name in of_sites for trainee in trio(name)]
    run(of_sites[0], group)
    return {trainee.name: trainee for trainee in group}


@each_architecture
def test_together_equals_alone_bit_for_bit(name):
    for fresh in trio(name):
        run(name, [fresh])
        group = together(len(views(name)))
        assert same_bits(group[fresh.name].state(), fresh.state()), fresh.name


@each_architecture
def test_seeds_start_and_end_differently(name):
    one, other = trainee_of(name), trainee_of(name, seed=1)
    assert not torch.equal(one.sae.W_dec, other.sae.W_dec)
    run(name, [one])
    run(name, [other])
    assert not torch.equal(one.sae.W_enc, other.sae.W_enc)


@each_architecture
def test_training_moves_every_parameter_and_keeps_unit_decoder_rows_unit(name):
    trainee = trainee_of(name)
    before = {key: value.clone() for key, value in trainee.sae.named_parameters()}
    run(name, [trainee])
    for key, value in trainee.sae.named_parameters():
        assert not torch.equal(value, before[key]), key
    norms = trainee.sae.W_dec.detach().norm(dim=1, keepdim=True)
    if trainee.sae.unit_decoder:
        torch.testing.assert_close(norms, torch.ones(48, 1))
    torch.testing.assert_close(trainee.sae.dictionary() * norms, trainee.sae.W_dec.detach())


@each_architecture
def test_every_report_names_the_same_finite_measurements(name):
    reports = run(name, [trainee_of(name)], report_every=4)
    assert [report.step for report in reports] == [4, 8, 12]
    expected = {"loss", "reconstruction", "fvu", "l0", "dead_share", "lr", "gradient_norm"}
    for report in reports:
        measured = report.metrics["a"]
        assert expected <= measured.keys()
        assert all(torch.as_tensor(value).isfinite() for value in measured.values())


@each_architecture
def test_a_diverging_trainee_is_masked_and_the_others_go_on(name):
    alone = trainee_of(name)
    run(name, [alone])
    healthy, bad = trainee_of(name), trainee_of(name, called="bad", seed=7)
    stream = train([healthy, bad], batches(name), report_every=3)
    next(stream)
    good_values = bad.state()
    with torch.no_grad():
        bad.sae.W_enc[5] = torch.nan
    reports = list(stream)
    assert bad.diverged == 3
    assert bad.diverged_in == getattr(JUDGES[name], "FIRST_TERM", "reconstruction")
    assert healthy.diverged_in is None
    assert healthy.diverged is None
    assert same_bits(healthy.state(), alone.state())
    assert not torch.as_tensor(reports[-1].metrics["bad"]["loss"]).isfinite()
    for key, value in bad.state().items():
        if key not in {"sae.W_enc", "step_count", "tokens_seen"} and "first_bad" not in key:
            assert bits(value) == bits(good_values[key]), key


def known_directions(sae: Sae, *of_sites: torch.Tensor) -> torch.Tensor:
    """The features' directions at what is written, sites side by side."""
    return torch.cat([of_sites[i] for i in sae.writes], 1)


@each_architecture
def test_known_directions_are_recovered(name):
    judge = JUDGES[name]
    own = getattr(judge, "RECOVERY", {})
    trainee = trainee_of(name, **({"tokens": 600 * 256, "batch_size": 256} | own))
    list(train([trainee], batches(name, n=256), report_every=600))
    known = getattr(judge, "known_directions", known_directions)
    directions = known(trainee.sae, *(view.directions() for view in views(name)))
    found = max_cosine(normalize(directions), trainee.sae.dictionary())
    assert found.value_ab.mean() > getattr(judge, "RECOVERED", 0.9)
    trainee.sae.calibrate([sample(name, 2048, step=10**5)])
    x = sample(name, 2048, step=10**5 + 1)
    target = torch.cat([x.split(TOY.width, 1)[i] for i in trainee.sae.writes], 1)
    error, spread = target - trainee.sae(x), target - target.mean(0)
    fvu = error.square().sum() / spread.square().sum()
    assert fvu < 0.25
