"""Runs fused operations on a CUDA device at the sizes of their examples, forward and backward.

`python -m tests.kernels.on_device OP …`: what compute-sanitizer is run on. Prints each example.
"""

from __future__ import annotations

import sys

import torch

from tests.kernels.every_kernel import DTYPES, inputs_of, made, placed, run


def main(ops: list[str]) -> None:
    """Every example of the operations, in each dtype."""
    for op in ops:
        fixed = getattr(inputs_of(op), "IN_PLACE", ())
        for sizes in inputs_of(op).EXAMPLES:
            for dtype in DTYPES:
                run(op, "fused", placed(made(op, sizes), "cuda", dtype, in_place=fixed))
                torch.cuda.synchronize()
            print(op, sizes, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
