"""`sae match`: how alike two dictionaries are that are not matched by default."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.place import workspace_of

_SHOWN = "mmcs_ab, mmcs_ba, mmcs_null_ab, shared_50, shared_70, shared_90"


def command(
    context: typer.Context,
    one: Annotated[str, typer.Argument(help="Id of an evaluated SAE.", metavar="SAE")],
    other: Annotated[str, typer.Argument(help="Id of the other.", metavar="SAE")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of text.")
    ] = False,
) -> None:
    """Match the dictionaries of any two SAEs.

    They are of one language model and width. By default the same recipe is matched across seeds
    and weights, and the same source across widths. This adds a pair: two architectures, two sites,
    an imported SAE beside one of ours.
    """
    import json

    from pipeline.catalog.warehouse import query
    from pipeline.cli.display import shown
    from pipeline.evaluation.requested import match_requested

    workspace = workspace_of(context)
    with shown() as report:
        pair, is_new = match_requested(workspace, one, other, report=report)
    (row,) = query(
        workspace,
        f"SELECT sae_a, sae_b, pair, {_SHOWN} FROM dictionary_matches "
        f"WHERE sae_a_hash = '{pair.a.sae_hash}' AND sae_b_hash = '{pair.b.sae_hash}' "
        f"AND sae_a = '{pair.a.sae}' AND sae_b = '{pair.b.sae}'",
    ).to_pylist()
    if as_json:
        typer.echo(json.dumps(row | {"reused": not is_new}, indent=2))
        return
    typer.echo(f"{pair.a.sae} (a) and {pair.b.sae} (b): {'matched' if is_new else 'known already'}")
    for name, value in list(row.items())[2:]:
        typer.echo(f"  {name:14}{value if isinstance(value, str | None) else f'{value:.4f}'}")
    typer.echo("More: dictionary_matches and latent_matches in `sae sql`.")
