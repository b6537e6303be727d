"""What a format cannot hold: refused with the nearest and its error, or written as that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from pipeline.errors import ExchangeError
from pipeline.exchange.export import export
from pipeline.exchange.held_out_rows import held_out_rows
from pipeline.exchange.nearest import nearest
from pipeline.exchange.saved import open_saved
from pipeline.study.config import Study
from pipeline.workspace import Workspace
from sae_core.plain import Threshold, TopK
from tests.pipeline.exchange import oracles
from tests.pipeline.exchange.some_saes import activations, both, random_sae

Kinds = tuple[Workspace, Study]
SOURCE = "pylm.trained.resid_post.1"


def fvu(y: torch.Tensor, made: torch.Tensor) -> float:
    total = (y - y.mean(0)).double().square().sum()
    return float((y - made).double().square().sum() / total)


@pytest.mark.parametrize(
    ("recipe", "format", "what"),
    [
        ("batch", "sparsify", "largest latents in the place of thresholds"),
        ("gated", "sparsify", "largest latents in the place of thresholds"),
        ("groups", "saelens", "in the place of 8 largest, one of each group"),
        ("groups", "dictionary_learning", "in the place of 8 largest, one of each group"),
        ("switch", "saelens", "the 8 largest latents of all, without router"),
        ("switch", "sparsify", "the 8 largest latents of all, without router"),
        ("skip", "saelens", "one threshold"),
    ],
)
def test_the_nearest_is_told_with_its_error_and_written_on_request(
    kinds: Kinds, tmp_path: Path, recipe: str, format: str, what: str
) -> None:
    workspace, _ = kinds
    name, out = f"{SOURCE}/{recipe}.s0", tmp_path / "near"
    with pytest.raises(ExchangeError, match=re.escape(what)) as told:
        export(workspace, name, format, out=out)
    assert "held-out tokens FVU" in str(told.value)
    assert "--nearest writes that one" in str(told.value)
    assert not out.exists()
    made = export(workspace, name, format, out=out, near=True)
    assert made.nearness is not None
    assert made.nearness.n_tokens > 500
    # The numbers are those of what was written, counted again by the second reader.
    saved = open_saved(workspace, name)
    x, y = held_out_rows(workspace, saved.cell)
    dense, reconstruction = both(saved.sae, x)
    code, theirs = getattr(oracles, format)(out, x)
    assert made.nearness.fvu == pytest.approx(fvu(y, reconstruction), rel=1e-4)
    assert made.nearness.fvu_near == pytest.approx(fvu(y, theirs), rel=1e-3)
    unlike = ((dense > 0) ^ (code > 0)).sum() / ((dense > 0) | (code > 0)).sum()
    assert made.nearness.code_disagreement == pytest.approx(float(unlike), abs=2e-3)
    assert made.nearness.l0_near == pytest.approx(float((code > 0).sum(1).float().mean()), rel=0.01)


@pytest.mark.parametrize(
    ("recipe", "format", "why"),
    [
        ("cross", "saelens", "it reads and writes several sites"),
        ("normal", "sparsify", "normalises tokens one by one"),
        ("skip", "dictionary_learning", "no linear skip"),
    ],
)
def test_where_nothing_comes_near_that_is_said(
    kinds: Kinds, tmp_path: Path, recipe: str, format: str, why: str
) -> None:
    workspace, _ = kinds
    for near in (False, True):
        with pytest.raises(ExchangeError, match=rf"{why}.*Nothing there comes near"):
            export(workspace, f"{SOURCE}/{recipe}.s0", format, out=tmp_path / "x", near=near)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("recipe", ["gated", "batch", "normal"])
def test_what_a_format_holds_needs_no_nearest(kinds: Kinds, tmp_path: Path, recipe: str) -> None:
    workspace, _ = kinds
    made = export(workspace, f"{SOURCE}/{recipe}.s0", "saelens", out=tmp_path / "x", near=True)
    assert made.nearness is None
    saved = open_saved(workspace, made.sae)
    x, _ = held_out_rows(workspace, saved.cell)
    code, theirs = oracles.saelens(tmp_path / "x", x)
    dense, ours = both(saved.sae, x)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(code, dense, rtol=1e-5, atol=1e-4)


def test_thresholds_and_k_are_set_for_the_same_number_of_latents() -> None:
    x = activations(512)
    near = nearest(random_sae("topk"), (Threshold,), x, x)
    assert near is not None
    assert near[1].l0_near == pytest.approx(5, abs=0.1)
    near = nearest(random_sae("batch_topk"), (TopK,), x, x)
    assert near is not None
    assert near[0].rule == TopK(round(near[1].l0))


def test_of_two_rules_the_one_that_reconstructs_better_is_taken() -> None:
    x, sae = activations(512), random_sae("group_max")
    best = nearest(sae, (TopK, Threshold), x, x)
    each = [nearest(sae, (rule,), x, x) for rule in (TopK, Threshold)]
    assert best is not None
    assert best[1].fvu_near == min(one[1].fvu_near for one in each if one)
