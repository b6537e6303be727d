"""A plan as a person reads it, and as a script does."""

from __future__ import annotations

from typing import Any

from pipeline.plan import DIVERGED, CellWork, Plan

_NAMES_SHOWN = 6
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def plan_lines(plan: Plan) -> list[str]:
    """The plan in words, one line per source and the sums."""
    n_there = len(plan.cells) - len(plan.missing_cells)
    full = len(plan.sources) * len(plan.keys) == len(plan.cells)
    product = (
        f"{_count(len(plan.sources), 'source')} × {_count(len(plan.keys), 'SAE')} = "
        f"{_count(len(plan.cells), 'cell')}"
    )
    with_inputs = (
        f"{_count(len(plan.cells), 'cell')} on {_count(len(plan.sources), 'source')}, with what "
        "recipes need besides"
    )
    lines = [f"{product if full else with_inputs}; there already: {n_there}"]
    lines += [f"  {_source_line(plan, i)}" for i in range(len(plan.sources))]
    lines += [f"work   {line}" for line in _work_lines(plan)]
    lines.append(f"disk   {_amount(plan.bytes, 'B')}")
    lines.append(f"time   {_duration(plan.seconds)} ({plan.rates.origin})")
    return lines


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "sources": [
            {"source": str(w.source), "state": w.state, "rows": w.rows, "bytes": w.bytes}
            for w in plan.sources
        ],
        "cells": [
            {
                "sae": w.cell.sae_id,
                "training": w.training,
                "evaluation": w.evaluation,
                "tokens": w.cell.recipe.tokens,
                "epochs": w.epochs,
            }
            for w in plan.cells
        ],
        "passes": [
            {"model": model, "weights": weights, "sites": [str(w.source.site) for w in works]}
            for (model, weights), works in plan.passes()
        ],
        "bytes": plan.bytes,
        "seconds": plan.seconds,
        "rates": plan.rates.origin,
    }


def _source_line(plan: Plan, number: int) -> str:
    work = plan.sources[number]
    harvest = {"done": "stored", "partial": "harvest goes on", "missing": "to harvest"}[work.state]
    cells = plan.cells_of(work.source)
    train = [str(c.cell.key) for c in cells if c.to_train]
    judge = [str(c.cell.key) for c in cells if c.to_evaluate and not c.to_train]
    parts = [harvest]
    parts += [f"to train: {_some(train)}"] if train else []
    parts += [f"to evaluate: {_some(judge)}"] if judge else []
    bad = [str(c.cell.key) for c in cells if c.training == DIVERGED]
    parts += [f"diverged: {_some(bad)}"] if bad else []
    if not cells:
        parts.append("read by SAEs of other sites")
    elif all(c.exists for c in cells):
        parts.append("all SAEs exist")
    return f"{work.source}: {'; '.join(parts)}"


def _work_lines(plan: Plan) -> list[str]:
    lines = [_packing_line(plan, name) for name in plan.unpacked]
    for (model, weights), works in plan.passes():
        rows = f"{_amount(works[0].rows, 'tokens')}" if works[0].rows else "all train tokens"
        lines.append(
            f"one pass of {model}, {weights}, over {rows} stores {_count(len(works), 'site')}"
        )
    train = [work for work in plan.cells if work.to_train]
    if train:
        tokens = sum(work.cell.recipe.tokens for work in train)
        lines.append(f"{_count(len(train), 'SAE')} to train, {_amount(tokens, 'tokens')} in all")
    lines += _epoch_lines(plan)
    judge = [work for work in plan.cells if work.to_evaluate]
    if judge:
        lines.append(f"{_count(len(judge), 'SAE')} to evaluate")
    lines += _short_lines(plan, judge)
    return lines or ["nothing: all of it exists"]


def _packing_line(plan: Plan, name: str) -> str:
    """What is not known before the corpus is packed, and so not checked."""
    line = f"the corpus of {name} is packed first, and says how many tokens there are"
    rows = next(work.rows for work in plan.sources if work.source.model == name)
    if rows is None:
        return line
    return f"{line}; whether they are the {rows:,} of harvest.tokens is checked then, not now"


def _epoch_lines(plan: Plan) -> list[str]:
    """Budgets beyond the rows mean epochs: one line per recipe and model."""
    lines = {}
    for work in plan.cells:
        if work.epochs is not None and work.epochs > 1 and work.to_train:
            recipe, model = work.cell.key.recipe, work.cell.source.model
            budget = _amount(work.cell.recipe.tokens, "tokens")
            lines[recipe, model] = (
                f"{recipe} on {model}: {budget} are {work.epochs:.1f} epochs over the rows"
            )
    return list(lines.values())


def _short_lines(plan: Plan, judge: list[CellWork]) -> list[str]:
    """Held-out text that is shorter than asked for: one line per model."""
    lines = {}
    for work in judge:
        model, wanted = work.cell.source.model, work.cell.evaluation.tokens
        there = plan.held_out.get(model, wanted)
        if there < wanted:
            lines[model] = (
                f"evaluation on {model} takes all {there:,} held-out tokens, fewer than the "
                f"{wanted:,} of evaluation.tokens: give more text, or a larger held_out_share"
            )
    return list(lines.values())


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "not known yet"
    for size, letter in _UNITS:
        if value >= size:
            return f"{value / size:.3g} {letter}{'' if unit == 'B' else ' '}{unit}"
    return f"{value:.0f} {unit}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not known yet"
    if seconds < 5:
        return "a few seconds"
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
