"""A family of recipes' frontier in numbers, and whether it is better than another family's."""

from __future__ import annotations

import fnmatch
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.catalog.warehouse import query
from pipeline.errors import UserError
from pipeline.overview.frontier import arms, recipes_of
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from sae_core.frontier import Frontier
    from sae_core.frontier_comparison import Arm

RESAMPLES, SEED = 1000, 0


def compare_families(
    workspace: Workspace,
    source: str,
    patterns: Sequence[str],
    *,
    quantity: str = "mse",
    l0: float | None = None,
) -> dict[str, Any]:
    """One or two families on a source, as JSON can hold it.

    A pattern names recipes, `front-topk-*`. Per family its points, each with the recipe that beats
    it by most, its hypervolume inside a reference point that both share (the largest L0 and loss of
    any recipe given), and its loss at `l0` with an interval over documents and seeds; of two also
    the differences, first less second, and the share of resamples in which the first is lower.
    `l0` None: the geometric middle of the L0 that all families reach; null, with reasons beside the
    values, where there is none. Raises UserError for a pattern without recipes, for losses without
    a denominator (a random network's) and what `arms` raises.
    """
    from sae_core.bootstrap import resample_counts
    from sae_core.frontier_comparison import family_frontier, no_denominator

    families = [arms(workspace, source, named(workspace, source, p), quantity) for p in patterns]
    counts = resample_counts(families[0][0].active.shape[1], RESAMPLES, seed=SEED)
    if undefined := no_denominator([arm for family in families for arm in family], counts):
        raise UserError(f"{source} has no {quantity}. {undefined}. `--loss mse` exists for it.")
    fronts = [family_frontier(family) for family in families]
    points = [_points(family) for family in families]
    edge = max(1.0, *(p["l0"] for family in points for p in family))
    loss = max(p["loss"] for family in points for p in family)
    place = _middle(fronts) if l0 is None else l0
    told: dict[str, Any] = {
        "source": source,
        "quantity": quantity,
        "l0": _number(place),
        "reference": {"l0": edge, "loss": loss},
        "families": [
            _family(*given, counts, place, (edge, loss))
            for given in zip(patterns, families, fronts, points, strict=True)
        ],
    }
    if len(families) == 2:
        told["difference"] = _difference(families[0], families[1], place, (edge, loss), counts)
    return told


def named(workspace: Workspace, source: str, pattern: str) -> list[str]:
    """The evaluated recipes of a source that a pattern names, sorted."""
    there = recipes_of(workspace, source)
    if not there:
        evaluated = "FROM evaluations WHERE evaluation_hash IS NOT NULL"
        known = query(workspace, f"SELECT DISTINCT source {evaluated} ORDER BY source")
        listed = ", ".join(known["source"].to_pylist()) or "none"
        raise UserError(f"{source} has no evaluated SAE. Sources that have: {listed}.")
    found = fnmatch.filter(there, pattern)
    if not found:
        raise UserError(
            f"{pattern!r} names no evaluated recipe of {source}. There are: "
            f"{', '.join(there)}. * stands for any letters; quote it."
        )
    return found


def _difference(
    a: Sequence[Arm],
    b: Sequence[Arm],
    place: float,
    reference: tuple[float, float],
    counts: np.ndarray,
) -> dict[str, Any]:
    from sae_core.frontier_comparison import compare_areas, compare_at

    at = compare_at(a, b, place, counts, seed=SEED)
    l0, loss = reference
    area = compare_areas(a, b, counts, l0=l0, loss=loss, seed=SEED)
    return {
        "at_l0": asdict(at.difference) | {"probability": at.probability},
        "area": asdict(area.difference) | {"probability": area.probability},
    }


def _family(
    pattern: str,
    family: Sequence[Arm],
    front: Frontier,
    points: list[dict[str, Any]],
    counts: np.ndarray,
    place: float,
    reference: tuple[float, float],
) -> dict[str, Any]:
    from sae_core.frontier import hypervolume
    from sae_core.frontier_comparison import value_with_interval

    l0, loss = reference
    return {
        "family": pattern,
        "points": points,
        "hypervolume": hypervolume(front, l0=l0, loss=loss),
        "at_l0": asdict(value_with_interval(family, place, counts, seed=SEED)),
    }


def _points(family: Sequence[Arm]) -> list[dict[str, Any]]:
    """Each recipe's mean over seeds, ascending in L0, and the recipe that beats it by most."""
    import numpy as np

    from sae_core.frontier import dominated_by
    from sae_core.frontier_comparison import family_frontier

    single = [family_frontier([arm]) for arm in family]
    l0, loss = (np.array([getattr(one, axis)[0] for one in single]) for axis in ("l0", "loss"))
    beaten = dominated_by(l0, loss)
    return [
        {
            "recipe": family[i].name,
            "seeds": len(family[i].active),
            "l0": float(l0[i]),
            "loss": float(loss[i]),
            "dominated_by": family[beaten[i]].name if beaten[i] >= 0 else None,
        }
        for i in np.argsort(l0, kind="stable")
    ]


def _middle(fronts: Sequence[Frontier]) -> float:
    low = max(float(front.l0[0]) for front in fronts)
    high = min(float(front.l0[-1]) for front in fronts)
    return math.sqrt(low * high) if low <= high else math.nan


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
