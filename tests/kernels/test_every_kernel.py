"""Every operation, every form: the same signature, values, gradients and bits as it promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.kernels.every_kernel import (
    DEVICES,
    DTYPES,
    FAST,
    OPS,
    TESTED,
    compare,
    inputs_of,
    longest_sum,
    made,
    placed,
    real_sizes,
    run,
    signature,
)

pytestmark = pytest.mark.usefixtures("poisoned")
EXAMPLES = [
    pytest.param(
        op, form, sizes, id=f"{op}-{form}-" + "-".join(f"{n}{v}" for n, v in sizes.items())
    )
    for op, form in FAST
    for sizes in inputs_of(op).EXAMPLES
]
REAL = [
    pytest.param(
        op,
        sizes,
        device,
        marks=[pytest.mark.gpu] if device == "cuda" else [],
        id=f"{op}-{device}-" + "-".join(f"{n}{v}" for n, v in sizes.items()),
    )
    for op, form in FAST
    if form == "fused"
    for device in ("cpu", "cuda")
    # The interpreter shows of one size that the test runs.
    for sizes in inputs_of(op).COMPILED[: None if device == "cuda" else 1]
]


def check(op, form, sizes, device, dtype, *, seed=0, zeros=False, strided=False):
    """A form against the reference in float64 on the same numbers."""
    if device == "cuda" and form == "cpu":
        pytest.skip("the cpu form takes no CUDA tensors")
    fixed = getattr(inputs_of(op), "IN_PLACE", ())
    arguments = made(op, sizes, seed=seed, zeros=zeros)
    arguments = placed(arguments, device, dtype, strided=strided, in_place=fixed)
    compare(
        run(op, form, arguments), run(op, "reference", placed(arguments, device, torch.float64))
    )


def test_every_operation_has_a_file_of_inputs():
    assert OPS == TESTED
    assert len(OPS) > 5


@pytest.mark.parametrize("op", TESTED)
def test_all_forms_have_one_signature(op):
    wanted = signature(op, None)
    for form in ("reference", *[form for name, form in FAST if name == op]):
        # The public function alone has defaults and checks; a form is called with everything.
        assert signature(op, form) == wanted, form


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("zeros", [False, True], ids=["plain", "zeros"])
@pytest.mark.parametrize(("op", "form", "sizes"), EXAMPLES)
def test_values_and_every_gradient_equal_the_reference(op, form, sizes, zeros, device):
    check(op, form, sizes, device, torch.float32, zeros=zeros, strided=zeros)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("op", "form", "sizes"), [e for e in EXAMPLES if "fused" in e.values])
def test_half_precision_inputs_give_the_rounded_result(op, form, sizes, device):
    check(op, form, sizes, device, torch.bfloat16, seed=1)


@pytest.mark.parametrize(("op", "sizes", "device"), REAL)
def test_real_sizes_give_what_the_reference_gives_and_the_same_bits_twice(op, sizes, device):
    sizes = real_sizes(sizes, device)
    for dtype in DTYPES:
        drawn = made(op, sizes, seed=2, zeros=dtype is torch.bfloat16, device=device)
        fixed = getattr(inputs_of(op), "IN_PLACE", ())
        arguments = placed(drawn, device, dtype, in_place=fixed)
        first, again = run(op, "fused", arguments), run(op, "fused", arguments)
        assert all(torch.equal(first[name], again[name]) for name in first)
        del again
        judge = run(op, "reference", placed(arguments, device, torch.float64))
        compare(first, judge, terms=longest_sum(sizes))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("op", "form"), FAST, ids=["-".join(pair) for pair in FAST])
def test_any_inputs_give_what_the_reference_gives(op, form, device):
    sweep(op, form, device, max_examples=3)


@pytest.mark.long
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("op", "form"), FAST, ids=["-".join(pair) for pair in FAST])
def test_many_inputs_give_what_the_reference_gives(op, form, device):
    sweep(op, form, device, max_examples=20)


def sweep(op, form, device, *, max_examples):
    """Draws sizes, numbers and layouts."""
    # Shrinking a failure of a slow interpreter takes minutes: what fails is small as it is.
    phases = (Phase.explicit, Phase.generate)
    limits = settings(
        max_examples=max_examples, deadline=None, database=None, derandomize=True, phases=phases
    )
    sizes = {name: st.sampled_from(values) for name, values in inputs_of(op).SIZES.items()}

    @limits
    @given(
        sizes=st.fixed_dictionaries(sizes),
        seed=st.integers(0, 2**16),
        # Fused forms compute in float32 whatever they are given, the cpu forms in the given dtype.
        dtype=st.sampled_from(DTYPES if form == "fused" else DTYPES[:1]),
        zeros=st.booleans(),
        strided=st.booleans(),
    )
    def one(sizes, seed, dtype, zeros, strided):
        check(op, form, sizes, device, dtype, seed=seed, zeros=zeros, strided=strided)

    one()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("op", "form"), FAST, ids=["-".join(pair) for pair in FAST])
def test_repeated_runs_give_the_same_bits(op, form, device):
    if device == "cuda" and form == "cpu":
        pytest.skip("the cpu form takes no CUDA tensors")
    arguments = placed(made(op, inputs_of(op).EXAMPLES[-1]), device, torch.float32)
    first, again = run(op, form, arguments), run(op, form, arguments)
    assert all(torch.equal(first[name], again[name]) for name in first)
