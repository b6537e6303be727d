from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch
from sae_kernels import fvu, linear_batch_topk, sparse_decode
from sae_kernels.dispatch import forms, implementation, using

from tests.kernels.every_kernel import HAS_TRITON

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is for Linux alone")
CODE = (torch.zeros(2, 1).long(), torch.ones(2, 1), torch.ones(3, 4), torch.zeros(4))


def module_name(op, tensor):
    return implementation(op, tensor).__name__


def test_the_device_decides_which_form_runs():
    assert module_name("sparse_decode", torch.ones(1)) == "sae_kernels.sparse_decode.cpu"
    assert module_name("fvu", torch.ones(1)) == "sae_kernels.fvu.reference"


@needs_triton
def test_the_fused_form_runs_where_it_is_asked_for():
    on_gpu = torch.ones(1, device="meta")
    with using("fused"):
        assert module_name("fvu", on_gpu) == "sae_kernels.fvu.fused"


def test_a_chosen_form_runs_inside_its_block_alone():
    with using("reference"):
        assert module_name("sparse_decode", torch.ones(1)).endswith("reference")
        with using("cpu"):
            assert module_name("sparse_decode", torch.ones(1)).endswith("cpu")
        assert module_name("sparse_decode", torch.ones(1)).endswith("reference")
    assert module_name("sparse_decode", torch.ones(1)).endswith("cpu")


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="Allowed: reference, cpu, fused"), using("fast"):
        pass


def test_a_form_that_an_operation_lacks_is_refused():
    assert forms("fvu") == ("reference", "fused")
    with using("cpu"), pytest.raises(ValueError, match="fvu was asked for its cpu form and has no"):
        fvu(torch.ones(2, 2), torch.ones(2, 2))


def test_the_fused_form_is_refused_where_it_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with using("fused"), pytest.raises(ValueError, match=r"with a tensor on the CPU\. Allowed: a"):
        sparse_decode(*CODE)


def test_the_fused_form_is_refused_without_triton(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with using("fused"), pytest.raises(ValueError, match=r"needs triton .* Install it, or run the"):
        implementation("sparse_decode", torch.ones(1, device="meta"))


@needs_triton
def test_float64_is_refused_by_the_fused_form():
    with (
        using("fused"),
        pytest.raises(ValueError, match=r"got torch.float64 .* computes in float32"),
    ):
        implementation("sparse_decode", torch.ones(1, dtype=torch.float64, device="meta"))


def test_the_cpu_form_is_refused_for_other_devices():
    with using("cpu"), pytest.raises(ValueError, match=r"Allowed: the CPU\. Move the tensor"):
        implementation("sparse_decode", torch.ones(1, device="meta"))


def test_the_cpu_path_does_not_import_triton():
    lines = (
        "import sys, torch, sae_kernels as k",
        "d = torch.ones(3, 4, requires_grad=True)",
        "i, v = k.linear_topk(torch.ones(2, 4), d, torch.zeros(3), 2)",
        "k.sparse_decode(i, v, d, torch.zeros(4)).sum().backward()",
        "assert not [m for m in sys.modules if m.startswith('triton')]",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_a_public_operation_follows_the_choice():
    x, weight = torch.randn(4, 3), torch.randn(8, 3)
    plain = linear_batch_topk(x, weight, torch.zeros(8), 5)
    with using("reference"):
        judge = linear_batch_topk(x, weight, torch.zeros(8), 5)
    assert torch.equal(plain.columns, judge.columns)
