from __future__ import annotations

import pytest
import torch

from sae_core.absorption import absorption
from sae_core.code import SparseCode
from sae_core.toy_hierarchy import Hierarchy

EYE = torch.eye(3)
PARENT, CHILDREN = EYE[:1], EYE[1:]


def code(*tokens: tuple[float, ...]) -> SparseCode:
    values = torch.tensor(tokens)
    return SparseCode(torch.arange(values.shape[1]).expand(values.shape), values, values.shape[1])


def test_absorption_is_counted_by_hand():
    """Latents: the parent; one child with the parent in it; the other child pure."""
    dictionary = torch.stack([EYE[0], EYE[0] + EYE[1], EYE[2]])
    seen = code(
        (1.0, 0.0, 0.0),  # parent alone
        (0.0, 0.0, 0.0),  # parent alone, missed
        (0.0, 1.0, 0.0),  # first child, absorbed
        (0.4, 0.6, 0.0),  # first child, the parent's latent still fires
        (1.0, 0.0, 1.0),  # second child
        (0.0, 0.0, 1.0),  # second child, the parent is missed but not supplied by it
    )
    parent = torch.ones(6, 1, dtype=torch.bool)
    child = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]).bool()
    found = absorption(seen, dictionary, PARENT, CHILDREN, parent, child)
    assert found.parent_latent.tolist() == [0]
    assert found.child_latent.tolist() == [1, 2]
    assert found.n_child.tolist() == [2, 2]
    assert found.silent.tolist() == [1, 1]
    assert found.absorbed.tolist() == [1, 0]
    assert found.rate == 0.25
    assert (found.alone.tolist(), found.alone_silent.tolist()) == ([2], [1])
    assert found.missed_alone == 0.5


def test_a_direction_that_others_supply_is_not_absorbed():
    """Of the parent's reading the child's latent gives 1 of 3: a third latent gives the rest."""
    dictionary = torch.stack([EYE[0], 0.5 * EYE[0] + EYE[1], EYE[0] + 0.9 * EYE[2]])
    active = torch.ones(1, 1, dtype=torch.bool)
    child = torch.tensor([[True, False]])
    found = absorption(code((0.0, 1.0, 1.0)), dictionary, PARENT, CHILDREN, active, child)
    assert (found.silent.tolist(), found.absorbed.tolist()) == ([1, 0], [0, 0])


def test_a_child_is_never_active_without_its_parent():
    toy = Hierarchy()
    parents, children = toy.directions()
    together = torch.cat([parents, children])
    assert torch.allclose(together @ together.T, torch.eye(len(together)), atol=1e-5)
    seen = toy.sample(4000, step=0)
    assert torch.equal(seen.x, toy.sample(4000, step=0).x)
    assert not torch.equal(seen.x, toy.sample(4000, step=1).x)
    assert torch.allclose(seen.x @ parents.T, seen.parents, atol=1e-4)
    assert torch.allclose(seen.x @ children.T, seen.children, atol=1e-4)
    by_parent = (seen.children > 0).view(4000, toy.n_parents, toy.n_children)
    assert (by_parent.sum(2) <= (seen.parents > 0)).all()
    assert (seen.parents > 0).float().mean() == pytest.approx(toy.density, abs=0.01)
    share = by_parent.any(2).sum() / (seen.parents > 0).sum()
    assert float(share) == pytest.approx(toy.with_child, abs=0.03)


def test_features_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width >= 32"):
        Hierarchy(width=31).directions()
