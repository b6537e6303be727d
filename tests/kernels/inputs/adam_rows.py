"""Inputs of adam_rows."""

from __future__ import annotations

import torch
from sae_kernels import AdamSettings

GRADIENTS = ()
IN_PLACE = ("parameter", "mean", "mean_square")
ALSO = {"gradient_norms": ("parameter", "gradient", "unit_rows")}
SIZES = {
    "r": (1, 3, 33),
    "w": (1, 3, 33),
    "unit": (0, 1),
    "scaled": (0, 1, 2),
    "step": (1, 9),
    "half": (0, 1),
}
EXAMPLES = (
    {"r": 3, "w": 4096, "unit": 1, "scaled": 2, "step": 1, "half": 1},
    {"r": 1, "w": 5000, "unit": 0, "scaled": 1, "step": 3, "half": 0},
    {"r": 33, "w": 17, "unit": 1, "scaled": 0, "step": 1000, "half": 0},
)
COMPILED = tuple(
    {"r": r, "w": w, "unit": unit, "scaled": 2, "step": 1, "half": half}
    for r, w in ((24576, 768), (65536, 2304), (131072, 4096), (24576, 1), (1, 4096))
    for unit in (0, 1)
    for half in (0, 1)
)
COMPILED_DTYPES = (torch.float32,)


def make(
    generator: torch.Generator,
    *,
    r: int,
    w: int,
    unit: int,
    scaled: int,
    step: int,
    half: int,
    zeros: bool,
) -> dict:
    """Moments after some steps; `scaled`: no factors, one, or one a row; `zeros` a zero row.

    `half`: moments in bfloat16, rounded by chance.
    """
    parameter = torch.randn(r, w, generator=generator)
    if unit:
        parameter = torch.nn.functional.normalize(parameter)
    gradient = torch.randn(r, w, generator=generator)
    if zeros:
        parameter[0], gradient[-1] = 0, 0
    mean = torch.randn(r, w, generator=generator) / 8
    mean_square = torch.rand(r, w, generator=generator) / 8 + 0.01
    if half:
        mean, mean_square = mean.bfloat16(), mean_square.bfloat16()
    factors = torch.rand(r, generator=generator)
    return {
        "parameter": parameter,
        "gradient": gradient,
        "mean": mean,
        "mean_square": mean_square,
        "factors": (None, factors[0], factors)[scaled],
        "count": torch.tensor(float(step)),
        "healthy": torch.tensor(not (zeros and step == 3)),
        "settings": AdamSettings(
            lr=0.01, beta1=0.9 if step > 3 else 0.0, beta2=0.999, eps=1e-8, seed=r
        ),
        "unit_rows": bool(unit),
    }
