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
from itertools import product
from typing import Any, NamedTuple

import torch
from sae_kernels.launch import Launch, recorded

from tests.kernels.every_kernel import inputs_of, placed, run
from tests.kernels.guessed_sizes import GuessedSizes
from tests.kernels.whole_steps import launches as whole_steps

# In place of an operation: the training steps of whole_steps.py.
STEPS = "whole_steps"
# Bytes of shared memory that one program may have: A100, H100.
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}


def launches_of(op: str) -> Iterator[Launch]:
    """Every launch that the operation makes at its real sizes, in each dtype.

    Where it counts on the device, with a count that is divisible and one that is not.
    """
    inputs = inputs_of(op)
    dtypes = getattr(inputs, "COMPILED_DTYPES", (torch.bfloat16, torch.float32))
    for sizes, dtype, odd in product(inputs.COMPILED, dtypes, (False, True)):
        with torch.device("meta"):
            arguments = inputs.make(None, **sizes, zeros=False)
        with recorded() as launches, GuessedSizes(2**18, odd=odd):
            run(op, "fused", placed(arguments, "meta", dtype))
        yield from launches


class Specialised(NamedTuple):
    """A launch as Triton would compile it at run time: what decides its machine code."""

    launch: Launch
    signature: dict[str, str]
    constants: dict[tuple[int, ...], Any]
    attributes: dict[tuple[int, ...], Any]
    options: Any

    @property
    def key(self) -> str:
        """Equal for launches of one machine code."""
        return f"{self.launch.kernel.__module__} {self.launch.kernel.__name__} {self[1:]}"


def specialised(launch: Launch, target: Any) -> Specialised:
    """The types, constants and divisibilities that Triton compiles a launch for."""
    from triton.compiler import make_backend
    from triton.runtime.jit import create_function_from_signature

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
    return Specialised(launch, signature, constants, attributes, options)


def compiled(made: Specialised, target: Any) -> dict[str, object]:
    """The assembler's report on one machine code."""
    import triton
    from triton.compiler import ASTSource

    kernel = made.launch.kernel
    source = ASTSource(kernel, made.signature, made.constants, made.attributes)
    triton.knobs.compilation.always_compile = True
    triton.knobs.nvidia.dump_ptxas_log = True
    log = io.StringIO()
    start = time.perf_counter()
    with contextlib.redirect_stdout(log):
        code = triton.compile(source, target=target, options=made.options.__dict__)
    return {
        "kernel": kernel.__name__,
        "capability": target.arch,
        "constants": {name: str(value) for name, value in made.launch.constants.items()},
        "warps": made.launch.num_warps,
        "registers": numbers(r"Used (\d+) registers", log.getvalue()),
        "spilled_bytes": numbers(r"(\d+) bytes spill (?:stores|loads)", log.getvalue()),
        "shared_bytes": code.metadata.shared,
        "cubin_bytes": len(code.asm["cubin"]),
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
    from triton.backends.compiler import GPUTarget

    target = GPUTarget("cuda", capability, 32)
    known: dict[str, dict[str, object]] = {}
    for op in ops:
        printed = set()
        for launch in whole_steps() if op == STEPS else launches_of(op):
            made = specialised(launch, target)
            if made.key not in known:
                known[made.key] = compiled(made, target)
            if made.key not in printed:
                printed.add(made.key)
                print(json.dumps({"op": op} | known[made.key]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
