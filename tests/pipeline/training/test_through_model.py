"""Training through a language model: what is replaced, what that does, which rows come."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline.evaluation.predictions import kl, predictions
from pipeline.language_model.capture import capture
from pipeline.language_model.splice import scored, spliced_losses, token_losses
from pipeline.study.names import Site
from pipeline.training.through_model import ThroughModel
from pipeline.training.token_row_data import TokenRowData
from tests.pipeline.evaluation.scene import (
    CONTEXT,
    LAYERS,
    SPECIAL,
    WIDTH,
    held_out_text,
    tiny_lm,
)

SITE, LATER = Site("mlp_out", 0), (Site("resid_post", 0), Site("resid_post", LAYERS - 1))


@pytest.fixture(scope="module")
def batch() -> torch.Tensor:
    text = held_out_text(tiny_lm(), rows=4)
    both = np.stack([text.tokens, text.document_index], axis=-1).reshape(-1, 2)
    return torch.from_numpy(both.astype(np.int64))


def through(max_norm: float | None = None, site: Site = SITE) -> ThroughModel:
    return ThroughModel(tiny_lm(), site, LATER, CONTEXT, max_norm)


def parts(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return batch[:, 0].view(-1, CONTEXT), batch[:, 1].view(-1, CONTEXT)


def test_rows_are_the_sites_activations_where_they_are_replaced(batch: torch.Tensor) -> None:
    tokens, _ = parts(batch)
    x = capture(tiny_lm(), tokens, [SITE])[SITE].flatten(0, 1)
    limit = float(x.norm(dim=1).median())
    reading = through(limit).read(batch)
    expected = (batch[:, 0] != SPECIAL) & (x.norm(dim=1) <= limit)
    assert torch.equal(reading.replaced, expected)
    assert torch.equal(reading.x, torch.where(expected[:, None], x, 0.0))


def test_the_same_in_its_place_changes_nothing(batch: torch.Tensor) -> None:
    reading = through().read(batch)
    found = reading.splice(reading.x)
    assert float(found.kl) == 0.0
    assert float(found.later) == 0.0


def test_what_a_replacement_does_is_what_evaluation_measures(batch: torch.Tensor) -> None:
    tokens, documents = parts(batch)
    reading = through().read(batch)
    draws = torch.Generator().manual_seed(0)
    x_hat = reading.x + torch.randn(reading.x.shape, generator=draws)
    found = reading.splice(x_hat)
    lm, special = tiny_lm(), tokens == SPECIAL
    spliced = spliced_losses(lm, tokens, SITE, lambda _: x_hat.view(*tokens.shape, WIDTH), special)
    each = kl(predictions(token_losses(lm, tokens).logits, tokens), predictions(spliced, tokens))
    expected = each[scored(tokens, documents, {SPECIAL})].mean()
    assert float(found.kl) == pytest.approx(float(expected), rel=1e-4)
    assert float(found.later) > 0


def test_gradients_reach_the_replacement_and_nothing_of_the_model(batch: torch.Tensor) -> None:
    """Against differences of the loss, in float64, along a drawn direction."""
    model = through()
    model.lm.model.double()
    reading = model.read(batch)
    draws = torch.Generator().manual_seed(0)
    start, towards = (
        torch.randn(reading.x.shape, generator=draws, dtype=torch.float64) for _ in range(2)
    )

    def loss(x_hat: torch.Tensor) -> torch.Tensor:
        found = reading.splice(x_hat)
        return found.kl + found.later

    x_hat = (reading.x + start).requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(x_hat), x_hat)
    assert (gradient[~reading.replaced] == 0).all()
    assert all(parameter.grad is None for parameter in model.lm.model.parameters())
    step = 1e-3
    ends = [loss((x_hat + sign * step * towards).detach()) for sign in (1, -1)]
    difference = float(ends[0] - ends[1]) / (2 * step)
    assert float((gradient * towards).sum()) == pytest.approx(difference, rel=2e-3)


def test_a_group_shares_the_pass_of_the_untouched_model(batch: torch.Tensor) -> None:
    model = through()
    first = model.read(batch)
    assert model.read(batch) is first
    assert model.read(batch.clone()) is not first


@dataclass
class Rows:
    """A corpus whose tokens say which row they are of."""

    n: int
    context: int = 4

    def tokens(self, split: str, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        assert split == "train"
        ids = np.repeat(np.arange(start, stop, dtype=np.int32)[:, None], self.context, 1)
        return ids, ids + 7


def data(n: int) -> TokenRowData:
    return TokenRowData(Rows(n), n, SimpleNamespace(), SimpleNamespace())


def rows_of(batches: list[torch.Tensor]) -> list[int]:
    whole = torch.cat(batches).view(-1, 4, 2)
    assert (whole[..., 0] == whole[:, :1, 0]).all()
    assert torch.equal(whole[..., 1], whole[..., 0] + 7)
    return whole[:, 0, 0].tolist()


def test_batches_are_whole_rows_and_an_epoch_visits_each_once() -> None:
    batches = list(islice(data(2500).batches(batch_size=20, data_seed=0), 1000))
    assert all(batch.shape == (20, 2) for batch in batches)
    seen = rows_of(batches)
    assert sorted(seen[:2500]) == sorted(seen[2500:]) == list(range(2500))
    assert seen[:2500] != seen[2500:]
    assert seen[:100] != sorted(seen[:100])


@pytest.mark.parametrize("start", [1, 204, 205, 206, 511, 1024])
def test_batch_b_is_the_same_wherever_reading_starts(start: int) -> None:
    how = {"batch_size": 20, "data_seed": 3}
    whole = list(islice(data(2500).batches(**how), start + 2))
    later = list(islice(data(2500).batches(**how, start=start), 2))
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], later, strict=True))
