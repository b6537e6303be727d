"""Which form of an operation runs: by the tensor's device, or the one asked for; never silently."""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType

import torch

FORMS = ("reference", "cpu", "fused")
MADE_FOR = {"cuda": "fused", "cpu": "cpu"}  # device -> form
FUSED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_chosen: ContextVar[str | None] = ContextVar("chosen", default=None)


@contextmanager
def using(form: str) -> Iterator[None]:
    """Within the block every operation runs in this form: reference, cpu or fused.

    For tests and benchmarks. An operation that has no such form, or whose tensors it cannot take,
    raises. Raises ValueError for another name.
    """
    if form not in FORMS:
        raise ValueError(f"using got {form!r}. Allowed: {', '.join(FORMS)}. Choose one of them.")
    token = _chosen.set(form)
    try:
        yield
    finally:
        _chosen.reset(token)


def implementation(op: str, tensor: torch.Tensor) -> ModuleType:
    """The module of `op` that runs for a tensor.

    On a CUDA device the fused form, on the CPU the cpu form; the reference where an operation has
    no form made for the device. Raises ValueError where a form that was asked for by `using` is
    not there, and where the tensor is not one it can take.
    """
    form = _chosen.get()
    if form is None:
        made_for = MADE_FOR.get(tensor.device.type, "reference")
        form = made_for if made_for in forms(op) else "reference"
    elif form not in forms(op):
        raise ValueError(
            f"{op} was asked for its {form} form and has none. Allowed: {', '.join(forms(op))}. "
            "Choose one of them, or leave the choice to the device."
        )
    _require(op, form, tensor)
    return importlib.import_module(f"sae_kernels.{op}.{form}")


@cache
def forms(op: str) -> tuple[str, ...]:
    """The forms that an operation's folder holds."""
    folder = importlib.import_module(f"sae_kernels.{op}").__path__
    files = {module.name for module in pkgutil.iter_modules(folder)}
    return tuple(form for form in FORMS if form in files)


def _require(op: str, form: str, tensor: torch.Tensor) -> None:
    kind = tensor.device.type
    if form == "cpu" and kind != "cpu":
        raise ValueError(
            f"{op} was asked for its cpu form with a tensor on {tensor.device}. Allowed: the CPU. "
            "Move the tensor, or leave the choice to the device."
        )
    if form != "fused":
        return
    if kind == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"{op} was asked for its fused form with a tensor on the CPU. Allowed: a CUDA device, "
            "or TRITON_INTERPRET=1 in the environment (slow; for tests). Move the tensor, or leave "
            "the choice to the device."
        )
    if importlib.util.find_spec("triton") is None:
        raise ValueError(
            f"{op} needs triton for tensors on {tensor.device}, and it is not installed. Allowed: "
            "triton 3.6 or newer (Linux). Install it, or run the plain form: "
            '`with using("reference")`.'
        )
    if tensor.is_floating_point() and tensor.dtype not in FUSED_DTYPES:
        raise ValueError(
            f"{op} got {tensor.dtype} on {tensor.device}. Its fused form computes in float32. "
            "Allowed: float32, bfloat16, float16. Convert, or run the plain form: "
            '`with using("reference")`.'
        )
