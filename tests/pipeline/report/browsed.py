"""What the latent browser of a page holds."""

from __future__ import annotations

import re

import numpy as np

from pipeline.report.packed import unpacked


def browsed(html: str) -> dict[str, tuple[dict[str, np.ndarray], dict[str, object]]]:
    found = re.findall(r'data-sae="([^"]*)">([^<]*)</script>', html)
    return {sae: unpacked(data) for sae, data in found}
