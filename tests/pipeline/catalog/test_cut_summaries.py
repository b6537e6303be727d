from __future__ import annotations

import pytest

from pipeline.catalog.warehouse import query
from pipeline.catalog.write import write_run
from pipeline.workspace import Workspace
from tests.pipeline.catalog.rows import row, sae

SITE = "m.trained.resid_post.0"
CUT, NEAR, FAR, ELSEWHERE = (
    f"{SITE}/a.s0",
    f"{SITE}/b.s0",
    f"{SITE}/c.s0",
    "m.random.mlp_out.1/a.s0",
)


def cut(name: str, tau: float, dropped: int, l0: float, fvu: float, ce: float) -> dict[str, object]:
    numbers = {"l0": l0, "fvu": fvu, "ce_increase_nats": ce, "n_dropped": dropped, "tau": tau}
    return row("frequency_cuts", sae=name, sae_hash="h", is_stated=True, **numbers)


@pytest.fixture
def cuts(workspace: Workspace) -> dict[tuple[str, float], dict[str, object]]:
    rows = [
        cut(CUT, 1.0, 0, 40.0, 0.1, 0.1),
        cut(CUT, 0.2, 3, 11.0, 0.5, 0.6),
        cut(CUT, 0.1, 5, 3.0, 0.7, 0.9),
        cut(CUT, 0.01, 9, 0.0, 1.0, 2.0),
        cut(NEAR, 1.0, 0, 10.0, 0.3, 0.2),
        cut(NEAR, 0.5, 0, 10.0, 0.3, 0.2),
        cut(FAR, 1.0, 0, 14.0, 0.2, 0.2),
        cut(ELSEWHERE, 1.0, 0, 11.0, 0.0, 0.0),
        cut(ELSEWHERE, 0.1, 1, 10.0, 0.1, 0.1),
    ]
    saes = [sae(name, n_latents=64) for name in (CUT, NEAR, FAR, ELSEWHERE)]
    write_run(workspace, "r1", {"saes": saes, "frequency_cuts": rows}, kind="x")
    found = query(workspace, "FROM cut_against_trained").to_pylist()
    return {(one["sae"], one["tau"]): one for one in found}


def test_a_cut_stands_beside_the_sae_trained_at_its_l0(cuts) -> None:
    found = cuts[CUT, 0.2]
    assert (found["trained"], found["trained_l0"], found["trained_n_latents"]) == (NEAR, 10.0, 64)
    assert found["fvu_excess"] == pytest.approx(0.2)
    assert found["ce_excess_nats"] == pytest.approx(0.4)
    assert found["reason"] is None


def test_where_none_is_near_there_is_a_reason(cuts) -> None:
    assert cuts[CUT, 0.1]["trained"] is None
    assert "10.0 of m.trained.resid_post.0/b.s0" in cuts[CUT, 0.1]["reason"]
    assert "no active latent" in cuts[CUT, 0.01]["reason"]
    assert "no other SAE" in cuts[ELSEWHERE, 0.1]["reason"]
    assert cuts[ELSEWHERE, 0.1]["fvu_excess"] is None


def test_only_cuts_that_drop_something_are_listed_once(cuts) -> None:
    assert set(cuts) == {(CUT, 0.2), (CUT, 0.1), (CUT, 0.01), (ELSEWHERE, 0.1)}
