from __future__ import annotations

import struct

import numpy as np

from pipeline.evaluation.pictures import match_picture, probe_picture, trained_vs_random_picture

WIDEST = 550


def width_of(png: bytes) -> int:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">I", png[16:20])[0]


def comparison(metric: str, sae: str, trained: float | None, random: float | None) -> dict:
    return {"metric": metric, "sae_trained": sae, "trained": trained, "random": random}


def matched(pair: str, ab: float | None, ba: float | None, null: float | None) -> dict:
    return {"pair": pair, "mmcs_ab": ab, "mmcs_ba": ba, "mmcs_null_ab": null}


def probed(auc: float) -> dict[str, np.ndarray]:
    """Two labels; the token's id was not probed for the second."""
    rows = [("latents", 1, "in_a_place_of_a_long_name", auc), ("latents", 1, "b", auc - 0.1)]
    rows += [("dense", -1, "b", auc), ("token", -1, "in_a_place_of_a_long_name", auc)]
    names = ("probe", "k", "label", "auc")
    return {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def test_pictures_fit_the_page() -> None:
    assert width_of(probe_picture(probed(0.7))) <= WIDEST
    rows = [
        comparison(metric, f"lm.trained.resid_post.{i}/topk.s0", 0.2, 0.4)
        for metric in ("fvu", "l0", "ce_increase_nats")
        for i in range(30)
    ]
    assert width_of(trained_vs_random_picture(rows)) <= WIDEST
    pairs = ("other_seed", "other_weights", "other_width")
    matches = [matched(pair, 0.5, 0.6, 0.3) for pair in pairs]
    assert width_of(match_picture(matches)) <= WIDEST


def test_pictures_show_their_values() -> None:
    low, high = (
        [comparison("fvu", "lm.trained.resid_post.0/topk.s0", value, 0.9)] for value in (0.1, 0.8)
    )
    assert trained_vs_random_picture(low) != trained_vs_random_picture(high)
    assert trained_vs_random_picture(low) == trained_vs_random_picture(low)
    low, high = ([matched("other_seed", value, 0.9, 0.3)] for value in (0.1, 0.8))
    assert match_picture(low) != match_picture(high)
    assert probe_picture(probed(0.6)) != probe_picture(probed(0.8))
    assert probe_picture(probed(0.6)) == probe_picture(probed(0.6))


def test_nothing_to_show_is_said() -> None:
    nulls = [comparison("fvu", "a", None, 0.5)]
    assert trained_vs_random_picture([]) == trained_vs_random_picture(nulls)
    assert width_of(match_picture([])) <= WIDEST
    width_of(match_picture([matched("other_seed", None, None, None)]))
    assert probe_picture({}) == probe_picture(probed(float("nan")))
