"""What newly measured SAEs add to the picture: matches with others, and trained against random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.evaluation.comparisons import Measurement, compare, compare_seeds
from pipeline.evaluation.identity import Evaluation, identify_all
from pipeline.evaluation.kept_directions import KeptDirections
from pipeline.evaluation.matches import Match, is_matched, match, read_match
from pipeline.evaluation.measuring import match_numbers
from pipeline.evaluation.neighbours import (
    Neighbours,
    is_measured,
    neighbours,
    relatives_on_other_weights,
)
from pipeline.evaluation.rows import Row
from pipeline.evaluation.tables import DocumentTables
from pipeline.progress import Progress, Report
from pipeline.study.variants import GAUSSIAN, SHUFFLED_TEXT
from pipeline.workspace import Workspace
from sae_core.metrics.definition import Measured
from sae_core.metrics.match_metric import MatchSeen

_OTHER_TEXT = (GAUSSIAN, SHUFFLED_TEXT)  # at one place they have another token, or none


@dataclass
class Measurements:
    """Sums of measured SAEs by id, read from beside them when first asked for."""

    known: dict[str, DocumentTables] = field(default_factory=dict)

    def of(self, evaluation: Evaluation) -> DocumentTables:
        """The sums of one SAE, which must be measured."""
        from pipeline.evaluation.tables import read_tables

        if evaluation.sae not in self.known:
            tables = read_tables(evaluation.folder, evaluation.tables_hash)
            if tables is None:
                raise RuntimeError(f"{evaluation.sae} counts as measured without sums")
            self.known[evaluation.sae] = tables
        return self.known[evaluation.sae]


@dataclass(frozen=True)
class Pairing:
    """New matches, rows of `comparisons`, and match numbers by SAE id of all that changed."""

    matches: tuple[Match, ...]
    comparisons: tuple[Row, ...]
    numbers: Mapping[str, tuple[Evaluation, Mapping[str, Measured]]]


def pair_up(
    workspace: Workspace, fresh: Sequence[Evaluation], sums: Measurements, *, report: Report
) -> Pairing:
    """Matches and compares SAEs that were measured just now with all their neighbours."""
    pairs = neighbours(workspace, fresh, measured=fresh)
    missing = [pair for pair in pairs if not is_matched(pair)]
    matches = match_pairs(missing, sums, report=report)
    touched = {one.sae: one for pair in pairs for one in (pair.a, pair.b)}
    touched |= {one.sae: one for one in fresh}
    everything = neighbours(workspace, list(touched.values()), measured=fresh)
    return Pairing(
        matches=tuple(matches),
        comparisons=tuple(_compare(workspace, pairs, sums, fresh)),
        numbers={
            sae: (one, _numbers_of_matches(one, everything, matches))
            for sae, one in touched.items()
        },
    )


def numbers_of_matches(workspace: Workspace, evaluation: Evaluation) -> dict[str, Measured]:
    """The numbers of a measured SAE's matches, as they are noted beside it."""
    return _numbers_of_matches(evaluation, neighbours(workspace, [evaluation], measured=()), ())


def _numbers_of_matches(
    evaluation: Evaluation, pairs: Sequence[Neighbours], new: Sequence[Match]
) -> dict[str, Measured]:
    unwritten = {(m.neighbours.a.sae, m.neighbours.b.sae): m for m in new}
    seen: list[MatchSeen] = []
    for pair in pairs:
        if evaluation.sae in (pair.a.sae, pair.b.sae):
            found = unwritten.get((pair.a.sae, pair.b.sae))
            noted = found.seen_from(evaluation) if found else read_match(evaluation, pair)
            if noted is not None:
                seen.append(noted)
    return match_numbers(evaluation, seen)


def match_pairs(pairs: Sequence[Neighbours], sums: Measurements, *, report: Report) -> list[Match]:
    """Matches pairs of measured SAEs, each dictionary loaded once where few are in turn."""
    import torch

    from pipeline.load_sae import load
    from pipeline.training.device import training_device
    from sae_core.dictionary_match import Directions, directions_of
    from sae_core.firing_together import CodeSample

    by_id = {one.sae: one for pair in pairs for one in (pair.a, pair.b)}

    def loaded(sae: str) -> Directions:
        one = by_id[sae]
        trained = load(one.folder).to(training_device(one.cell.model.device))
        return directions_of(trained, torch.from_numpy(sums.of(one).latents.n_fires > 0))

    def sample(one: Evaluation) -> CodeSample | None:
        if one.cell.source.weights.variant in _OTHER_TEXT:
            return None
        arrays = sums.of(one).tallies.get("code_sample")
        return None if arrays is None else CodeSample.of(arrays)

    done, directions = [], KeptDirections(loaded)
    for pair in pairs:
        done.append(match(pair, lambda one: directions(one.sae), sample))
        report(Progress("matching", len(done), len(pairs), "pairs", pair.pair))
    return done


def _compare(
    workspace: Workspace,
    pairs: Sequence[Neighbours],
    sums: Measurements,
    fresh: Sequence[Evaluation],
) -> list[Row]:
    twins = [pair for pair in pairs if pair.pair == "other_weights"]
    rows = [
        row
        for pair in twins
        for row in compare((pair.a, sums.of(pair.a)), (pair.b, sums.of(pair.b)))
    ]
    for recipe in dict.fromkeys(pair.a.cell.key.recipe for pair in twins):
        mine = [pair for pair in twins if pair.a.cell.key.recipe == recipe]
        sources = {str(pair.b.cell.source) for pair in mine}
        rows += _compare_seeds(workspace, mine[0].a, sources, sums, fresh)
    return rows


def _compare_seeds(
    workspace: Workspace,
    trained: Evaluation,
    sources: set[str],
    sums: Measurements,
    fresh: Sequence[Evaluation],
) -> list[Row]:
    """Rows over all seeds: per other source touched, and per variant over its weights seeds."""
    cells = relatives_on_other_weights(workspace, trained.cell)
    new = {one.sae for one in fresh}
    groups: dict[str, dict[str, list[Measurement]]] = {}
    for one in identify_all(workspace, cells):
        if one.sae in new or is_measured(one):
            weights = one.cell.source.weights
            variant = groups.setdefault(weights.variant, {})
            variant.setdefault(str(one.cell.source), []).append((one, sums.of(one)))
    ours = groups.pop("trained", {}).get(str(trained.cell.source), [])
    place, recipe = trained.cell.source, trained.cell.key.recipe
    rows: list[Row] = []
    for variant, by_source in groups.items():
        touched = sources & by_source.keys()
        for source in sorted(touched):
            rows += compare_seeds(ours, [by_source[source]], name_b=f"{source}/{recipe}.s*")
        if touched and len(by_source) > 1:
            name = f"{place.model}.{variant}@*.{place.site}/{recipe}.s*"
            rows += compare_seeds(ours, list(by_source.values()), name_b=name)
    return rows
