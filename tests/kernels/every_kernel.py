"""What the shared kernel test needs: the operations, their inputs, and one way to run a form."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sae_kernels
import torch
from sae_kernels.dispatch import forms, using

FOLDER = Path(sae_kernels.__file__).parent
OPS = sorted(path.parent.name for path in FOLDER.glob("*/reference.py"))
INPUTS = Path(__file__).parent / "inputs"
TESTED = [op for op in OPS if (INPUTS / f"{op}.py").exists()]
HAS_TRITON = importlib.util.find_spec("triton") is not None  # on Linux alone
FAST = [
    (op, form)
    for op in TESTED
    for form in forms(op)
    if form == "cpu" or (form == "fused" and HAS_TRITON)
]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
DTYPES = [torch.float32, torch.bfloat16]
# Relative to the expected value, and absolute as a share of the largest expected value. bfloat16
# keeps 8 bits: results and gradients are rounded to it once or twice.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1.6e-2}
_REFERENCE_ENTRIES = 2**27
_GROWING_WITH_ROWS = ("m", "count")


def inputs_of(op: str) -> Any:
    """The file of inputs of an operation."""
    return importlib.import_module(f"tests.kernels.inputs.{op}")


def operation(op: str) -> Any:
    """The public function of an operation."""
    return getattr(importlib.import_module(f"sae_kernels.{op}"), op)


def made(
    op: str, sizes: Mapping[str, int], *, seed: int = 0, zeros: bool = False, device: str = "cpu"
) -> dict:
    """One set of inputs in float32, drawn on a device: large ones take long on the CPU."""
    generator = torch.Generator(device).manual_seed(seed)
    with torch.device(device):
        return inputs_of(op).make(generator, **sizes, zeros=zeros)


def real_sizes(sizes: Mapping[str, int], device: str) -> dict[str, int]:
    """Sizes that an operation is compiled for, as a test can compare them.

    On a GPU width, latents and k are whole, and there are as many tokens (or rows) as let the
    reference hold a tensor of a token's f or k·d numbers in 1 GB of float64. In the interpreter
    all are small shares of themselves: it shows that the same test runs.
    """
    if device == "cpu":
        shares = {"n": 1024, "m": 4096, "count": 4096, "r": 2048} | dict.fromkeys("fg", 1024)
        shares |= {"d": 128, "w": 128, "k": 8}
        found = {name: max(1, value // shares.get(name, 1)) for name, value in sizes.items()}
        return found | {"k": min(found["k"], found["f"])} if "k" in found else found
    rows = next(name for name in ("n", "r", "f") if name in sizes)
    of_row = max(
        sizes.get("f", 1) if rows == "n" else sizes.get("g", 1),
        sizes.get("k", 1) * sizes.get("d", 1),
        sizes.get("w", 1),
    )
    share = min(1.0, _REFERENCE_ENTRIES / (sizes[rows] * of_row))
    return dict(sizes) | {
        name: max(1, int(sizes[name] * share))
        for name in (rows, *_GROWING_WITH_ROWS)
        if name in sizes
    }


def longest_sum(sizes: Mapping[str, int]) -> int:
    """The most terms that one number of a result or a gradient is the sum of."""
    tokens = sizes.get("n", 1) * max(sizes.get("k", 1), sizes.get("d", 1))
    return max(tokens, sizes.get("m", 1), sizes.get("count", 1), sizes.get("w", 1))


def placed(
    arguments: Mapping[str, Any],
    device: str,
    dtype: torch.dtype,
    *,
    strided: bool = False,
    in_place: tuple[str, ...] = (),
) -> dict:
    """Inputs on a device, floating ones in a dtype; `strided`: matrices in column order.

    Not those that are changed in place: what is trained is contiguous. What is made in bfloat16
    stays so, except where all is float64.
    """
    found = {}
    for name, value in arguments.items():
        turned = strided and name not in in_place
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            parts = placed(value._asdict(), device, dtype, strided=strided)
            found[name] = type(value)(**parts)
        elif torch.is_tensor(value):
            kept = value.dtype is torch.bfloat16 and dtype is not torch.float64
            changed = value.is_floating_point() and not kept
            moved = value.to(device, dtype if changed else None)
            found[name] = moved.T.contiguous().T if turned and moved.ndim == 2 else moved
        else:
            found[name] = value
    return found


def run(op: str, form: str, arguments: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Outputs by name, and the gradient of every differentiable input of a fixed sum of them."""
    arguments, leaves = with_leaves(arguments, inputs_of(op).GRADIENTS)
    changed = {n: arguments[n].clone() for n in getattr(inputs_of(op), "IN_PLACE", ())}
    with using(form):
        outputs = operation(op)(**(arguments | changed))
        outputs = changed if outputs is None else named(outputs)
        for function, names in getattr(inputs_of(op), "ALSO", {}).items():
            given = {name: arguments[name] for name in names}
            outputs |= {function: getattr(sae_kernels, function)(**given).detach()}
        total = sum(
            (value * cotangent(value)).sum() for value in outputs.values() if value.requires_grad
        )
        if leaves:
            gradients = torch.autograd.grad(total, list(leaves.values()))
            outputs |= {f"gradient of {n}": g for n, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach() for name, value in outputs.items()}


def with_leaves(arguments: Mapping[str, Any], names: tuple[str, ...]) -> tuple[dict, dict]:
    """The inputs with those named (`code.values`: a part of one) as leaves that want a gradient."""
    arguments, leaves = dict(arguments), {}
    for name in names:
        whole, _, part = name.partition(".")
        value = getattr(arguments[whole], part) if part else arguments[whole]
        # Cloning keeps the strides.
        leaves[name] = leaf = value.detach().clone().requires_grad_()
        arguments[whole] = arguments[whole]._replace(**{part: leaf}) if part else leaf
    return arguments, leaves


def cotangent(value: torch.Tensor) -> torch.Tensor:
    """Weights of a fixed sum over an output, exact in every dtype."""
    count = torch.arange(value.numel(), device=value.device).view_as(value)
    return (count % 7 - 3).to(value.dtype) / 4


def named(outputs: Any) -> dict[str, torch.Tensor]:
    """The tensors of a result, by name."""
    if torch.is_tensor(outputs):
        return {"output": outputs}
    names = getattr(outputs, "_fields", [f"output {i}" for i in range(len(outputs))])
    return {n: torch.as_tensor(o) for n, o in zip(names, outputs, strict=True)}


def compare(
    ours: Mapping[str, torch.Tensor], judge: Mapping[str, torch.Tensor], *, terms: int = 1
) -> None:
    """Every output and gradient equals the judge's: integers exactly, others to the dtype.

    Rounding errors of a sum are a random walk: of `terms` numbers, each below the largest of the
    result, they stay within 4 standard deviations, 4 · 2^-24 · sqrt(terms) of it in float32.
    """
    walk = 4 * 2.0**-24 * math.sqrt(terms)
    assert list(ours) == list(judge)
    for name, found in ours.items():
        expected = judge[name]
        assert found.shape == expected.shape, name
        if not found.is_floating_point():
            assert torch.equal(found.cpu(), expected.cpu()), name
            continue
        share = max(TOLERANCE[found.dtype], walk)
        largest = float(expected.nan_to_num(0, 0, 0).abs().amax()) if expected.numel() else 0.0
        torch.testing.assert_close(
            found.cpu().double(),
            expected.cpu().double(),
            rtol=share,
            atol=share * largest,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def signature(op: str, form: str | None) -> list[tuple[str, Any]]:
    """Parameter names and kinds of an operation or one of its forms."""
    module = f"sae_kernels.{op}" + (f".{form}" if form else "")
    parameters = inspect.signature(getattr(importlib.import_module(module), op)).parameters
    return [(name, parameter.kind) for name, parameter in parameters.items()]
