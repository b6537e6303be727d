"""`sae frontier`: a family of recipes' frontier, and whether it is better than another's."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.place import workspace_of


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The source, such as pylm.trained.resid_post.2.")],
    family: Annotated[str, typer.Argument(help="Its recipes: a name, * for any letters.")],
    other: Annotated[
        str | None, typer.Argument(help="Another family: is the first one better?")
    ] = None,
    l0: Annotated[
        float | None,
        typer.Option("--l0", min=0, help="Where to compare; none: the middle that all reach."),
    ] = None,
    loss: Annotated[
        str, typer.Option(help="mse, or loss_not_recovered: 1 - loss_recovered_zero.")
    ] = "mse",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Show a frontier of L0 and loss; say whether it beats another.

    Intervals resample documents and, within each recipe, seeds.
    """
    import json

    from pipeline.overview.families import compare_families

    patterns = [family] if other is None else [family, other]
    told = compare_families(workspace_of(context), source, patterns, quantity=loss, l0=l0)
    typer.echo(json.dumps(told, indent=2) if as_json else _text(told))


def _text(told: dict[str, Any]) -> str:
    what, place = told["quantity"], told["l0"]
    at = "no L0 that all reach" if place is None else f"L0 {place:.4g}"
    lines = [f"{told['source']}: {what}"]
    for family in told["families"]:
        lines += ["", family["family"]]
        for point in family["points"]:
            beaten = point["dominated_by"]
            told_of = f"  beaten by {beaten}" if beaten else ""
            seeds = "1 seed" if point["seeds"] == 1 else f"{point['seeds']} seeds"
            lines.append(
                f"  {point['recipe']:24} L0 {point['l0']:8.4g}  {what} {point['loss']:.4g}"
                f"  {seeds}{told_of}"
            )
        lines.append(f"  at {at}: {_measured(family['at_l0'])}")
        reference = told["reference"]
        lines.append(
            f"  area inside L0 {reference['l0']:.4g}, {what} {reference['loss']:.4g}: "
            f"{family['hypervolume']:.4g}"
        )
    if "difference" in told:
        first, second = (family["family"] for family in told["families"])
        lines += ["", f"{first} less {second}; below 0 the first is better"]
        for name, title in (("at_l0", f"at {at}"), ("area", "area, sign turned")):
            one = told["difference"][name]
            lines.append(f"  {title}: {_measured(one)}{_probability(one['probability'])}")
    return "\n".join(lines)


def _measured(one: dict[str, Any]) -> str:
    why = f" ({one['reason']})" if one["reason"] else ""
    if one["value"] is None:
        return f"not known{why}"
    if one["ci_low"] is None:
        return f"{one['value']:.4g}{why}"
    return f"{one['value']:.4g}, 95 % interval {one['ci_low']:.4g} to {one['ci_high']:.4g}{why}"


def _probability(share: float | None) -> str:
    return "" if share is None else f"; below 0 in {share:.1%} of resamples"
