"""How many rows of a source may be masked."""

from __future__ import annotations

from pipeline.errors import StoreError
from pipeline.study.config import HarvestConfig
from pipeline.study.names import Source


def check_masked(
    source: Source,
    settings: HarvestConfig,
    *,
    split: str,
    nonfinite: int,
    high_norm: int,
    rows: int,
) -> None:
    """Raises StoreError where more rows are masked than `max_masked_share` allows, or all."""
    allowed = settings.max_masked_share
    if nonfinite + high_norm <= min(allowed * rows, rows - 1):
        return
    raise StoreError(
        f"{source}: {nonfinite + high_norm:,} of {rows:,} rows of the {split} split are masked "
        f"({nonfinite:,} non-finite, {high_norm:,} of high norm); harvest.max_masked_share "
        f"allows {allowed:.2%}. For non-finite rows set harvest.dtype to bfloat16 or float32, or "
        "the model's dtype to float32; for high norms raise harvest.high_norm_factor; or raise "
        "harvest.max_masked_share."
    )
