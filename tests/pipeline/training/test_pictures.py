"""Training pictures are small PNGs, drawn from whatever is known."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from pipeline.training.curve import Curve
from pipeline.training.pictures import curve_picture, frequency_picture

MAGIC = b"\x89PNG\r\n\x1a\n"


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(MAGIC)
    return struct.unpack(">II", png[16:24])


def curve(metrics: dict[str, float]) -> Curve:
    made = Curve()
    for step in range(1, 20):
        made = made.extended(step, 64 * step, {k: v / step for k, v in metrics.items()})
    return made


EVERYTHING = {
    "fvu": 0.9,
    "l0": 16.0,
    "dead_share": 0.1,
    "loss": 90.0,
    "reconstruction": 80.0,
    "auxk": 0.9,
    "prefixes": 70.0,
    "lr": 1.0,
    "gradient_norm": 3.0,
    "tokens_per_second": 1e5,
    "wait_share": 0.1,
}


@pytest.mark.parametrize(
    "metrics",
    [EVERYTHING, {"fvu": 0.9, "l0": 16.0, "lr": 1.0}, {"fvu": float("nan")}, {}],
)
def test_a_curve_is_a_picture_that_fits_the_page(metrics: dict[str, float]) -> None:
    png = curve_picture(curve(metrics).rows)
    assert size(png)[0] <= 550
    assert len(png) < 100_000


@pytest.mark.parametrize("frequency", [np.zeros(8), np.geomspace(1e-5, 0.5, 64), np.ones(1)])
def test_frequencies_are_a_picture_that_fits_the_page(frequency: np.ndarray) -> None:
    assert size(frequency_picture(frequency))[0] <= 550


def test_the_picture_shows_the_values() -> None:
    low, high = curve({"fvu": 0.2}), curve({"fvu": 0.9, "l0": 3.0})
    assert curve_picture(low.rows) != curve_picture(high.rows)
    assert frequency_picture([0.1, 0.2]) != frequency_picture([0.0, 0.2])


@pytest.mark.parametrize("name", [name for name in EVERYTHING if name != "wait_share"])
def test_every_loss_term_and_number_of_training_is_in_the_picture(name: str) -> None:
    changed = EVERYTHING | {name: 2 * EVERYTHING[name]}
    assert curve_picture(curve(EVERYTHING).rows) != curve_picture(curve(changed).rows)
