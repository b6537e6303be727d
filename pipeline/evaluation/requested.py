"""Matching two SAEs that a person names: of different recipes, sites or origins."""

from __future__ import annotations

from pipeline.catalog.write import new_run_id, write_run
from pipeline.errors import UserError
from pipeline.evaluation.identity import Evaluation, identify
from pipeline.evaluation.matches import is_matched, write_match
from pipeline.evaluation.neighbours import Neighbours, is_measured, ordered, pair_of
from pipeline.evaluation.pairing import Measurements, match_pairs
from pipeline.locks import cell_lock, device_lock
from pipeline.progress import Progress, Report
from pipeline.study.names import SaeKey, Source
from pipeline.study.registry import Registry
from pipeline.workspace import Workspace


def match_requested(
    workspace: Workspace, one: str, other: str, *, report: Report
) -> tuple[Neighbours, bool]:
    """Matches two measured SAEs, named by their ids, unless they are matched already.

    Returns the pair, and whether it was matched just now; its rows are in `dictionary_matches` and
    `latent_matches`. Raises UserError for SAEs that are not measured, of two language models, of
    other widths, or for one and the same SAE; StudyError for an id that no study names.
    """
    a, b = sorted((_measured(workspace, one), _measured(workspace, other)), key=ordered)
    _check(a, b)
    pair = Neighbours(pair_of(a.cell, b.cell) or "requested", a, b)
    with (
        cell_lock(workspace, f"matching {a.sae} {b.sae}"),
        device_lock(
            workspace,
            f"matching {a.sae}",
            on_wait=lambda holder: report(
                Progress("matching", 0, 1, "pairs", f"waits for {holder}")
            ),
        ),
    ):
        if is_matched(pair):
            return pair, False
        _make(workspace, pair, report)
    return pair, True


def _make(workspace: Workspace, pair: Neighbours, report: Report) -> None:
    import pyarrow as pa

    try:
        (match,) = match_pairs([pair], Measurements(), report=report)
    except ValueError as error:  # their dictionaries are of two widths
        raise UserError(f"{pair.a.sae} and {pair.b.sae}: {error}") from error
    latents = match.latent_rows()
    rows = {
        "dictionary_matches": [match.row],
        "latent_matches": pa.concat_tables(latents) if latents else [],
    }
    write_run(workspace, new_run_id("matching"), rows, kind="matching")
    write_match(match)


def _measured(workspace: Workspace, name: str) -> Evaluation:
    source, slash, key = name.rpartition("/")
    if not slash:
        raise UserError(
            f"{name!r} is no id of an SAE. Ids look like pylm.trained.resid_post.2/topk16.s0; "
            '`sae sql "SELECT sae FROM saes"` lists them.'
        )
    found = identify(
        workspace, Registry.load(workspace).cell(Source.parse(source), SaeKey.parse(key))
    )
    if not is_measured(found):
        raise UserError(
            f"{name} is not evaluated with today's metrics, so which of its latents live is not "
            "known. `sae backfill` evaluates what its study names; then match again."
        )
    return found


def _check(a: Evaluation, b: Evaluation) -> None:
    if a.sae == b.sae:
        raise UserError(f"{a.sae} was given twice. Name two SAEs.")
    if a.cell.source.model != b.cell.source.model:
        raise UserError(
            f"{a.sae} and {b.sae} read two language models, {a.cell.source.model} and "
            f"{b.cell.source.model}: their directions have nothing in common. Name SAEs of one."
        )
