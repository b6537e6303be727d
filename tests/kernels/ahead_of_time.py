"""Compiles kernels without a GPU, in the configurations that operations select by themselves.

`python -m tests.kernels.ahead_of_time CAPABILITY OP …` walks each operation's host code, forward
and backward, over tensors of the `meta` device with the sizes in its file of inputs, compiles
every launch it lists, and prints one JSON line per machine code: registers, spills, shared memory.
Must run without TRITON_INTERPRET: the interpreter's kernels cannot be compiled.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from collections.abc import Iterator
from functools import partial

import torch
from sae_kernels.launch import Launch, recorded

from tests.kernels.every_kernel import inputs_of, placed, run
from tests.kernels.whole_steps import launches as whole_steps

# In place of an operation: the training steps of whole_steps.py.
STEPS = "whole_steps"
# Bytes of shared memory that one program may have: A100, H100.
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}


def launches_of(op: str) -> Iterator[Launch]:
    """Every launch that the operation makes at its real sizes, in each dtype.

    An operation that reads sizes from the device says in its inputs how to walk around that.
    """
    inputs = inputs_of(op)
    walk = getattr(inputs, "walk", partial(run, op, "fused"))
    for sizes in inputs.COMPILED:
        with torch.device("meta"):
            arguments = inputs.make(None, **sizes, zeros=False)
        for dtype in getattr(inputs, "COMPILED_DTYPES", (torch.bfloat16, torch.float32)):
            with recorded() as launches:
                walk(placed(arguments, "meta", dtype))
            yield from launches


def compiled(launch: Launch, capability: int) -> dict[str, object]:
    """The assembler's report on one launch, specialised as Triton would at run time."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import create_function_from_signature

    target = GPUTarget("cuda", capability, 32)
    backend = make_backend(target)
    kernel = launch.kernel
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    options = {
        "num_warps": launch.num_warps,
        "num_stages": launch.num_stages,
        "enable_fp_fusion": True,
    }
    bound, specialization, options = bind(**launch.arguments, **launch.constants, **options)
    options, signature, constants, attributes = kernel._pack_args(
        backend, options, bound, specialization, options
    )
    source = ASTSource(kernel, signature, constants, attributes)
    triton.knobs.compilation.always_compile = True
    triton.knobs.nvidia.dump_ptxas_log = True
    log = io.StringIO()
    start = time.perf_counter()
    with contextlib.redirect_stdout(log):
        made = triton.compile(source, target=target, options=options.__dict__)
    return {
        "kernel": kernel.__name__,
        "capability": capability,
        "constants": {name: str(value) for name, value in launch.constants.items()},
        "warps": launch.num_warps,
        "registers": numbers(r"Used (\d+) registers", log.getvalue()),
        "spilled_bytes": numbers(r"(\d+) bytes spill (?:stores|loads)", log.getvalue()),
        "shared_bytes": made.metadata.shared,
        "cubin_bytes": len(made.asm["cubin"]),
        "seconds": round(time.perf_counter() - start, 2),
    }


def numbers(pattern: str, text: str) -> int:
    """The sum of what the pattern finds; the report must speak of it."""
    found = re.findall(pattern, text)
    if not found:
        raise ValueError(f"the assembler's report has no {pattern!r}:\n{text}")
    return sum(map(int, found))


def main(capability: int, ops: list[str]) -> None:
    """Prints a line for every distinct machine code of each operation; compiles each once."""
    known: dict[tuple, dict[str, object]] = {}
    for op in ops:
        printed = set()
        for launch in whole_steps() if op == STEPS else launches_of(op):
            types = [
                (name, str(a.dtype)) if torch.is_tensor(a) else (name, type(a).__name__)
                for name, a in launch.arguments.items()
            ]
            ints = [(a == 1, a % 16 == 0) for a in launch.arguments.values() if isinstance(a, int)]
            key = (launch.kernel.__name__, *map(str, (types, ints, launch.constants)), launch[4:])
            if key not in known:
                known[key] = compiled(launch, capability)
            if key not in printed:
                printed.add(key)
                print(json.dumps({"op": op} | known[key]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
