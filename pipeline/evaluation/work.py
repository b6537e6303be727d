"""The work of an evaluation: sweep, numbers, matches, rows, and what is left beside the SAEs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from pipeline.catalog.write import new_run_id, write_run
from pipeline.corpus.pack import PackedCorpus, open_corpus
from pipeline.corpus.shuffled import text_as_read
from pipeline.corpus.unigram import unigram_losses
from pipeline.errors import UserError
from pipeline.evaluation.curve_rows import frequency_cut_rows, progressive_rows
from pipeline.evaluation.dictionary_sweep import dictionary_sweep
from pipeline.evaluation.document_rows import document_rows
from pipeline.evaluation.example_rows import example_rows
from pipeline.evaluation.expert_rows import expert_rows
from pipeline.evaluation.held_out import SPLIT, read_held_out
from pipeline.evaluation.identity import Evaluation
from pipeline.evaluation.labelled import labelled_tokens
from pipeline.evaluation.matches import Match, write_match
from pipeline.evaluation.measuring import missing_metrics, missing_numbers, numbers, why_not
from pipeline.evaluation.pairing import Measurements, Pairing, pair_up
from pipeline.evaluation.probe_rows import probe_rows
from pipeline.evaluation.record import EvaluationRecord, write_record
from pipeline.evaluation.rows import Row, latent_rows, metric_rows
from pipeline.evaluation.site_rows import site_rows
from pipeline.evaluation.sites_sweep import Places, sites_sweep
from pipeline.evaluation.stitching import stitch
from pipeline.evaluation.sums import Candidate
from pipeline.evaluation.sweep import Place, sweep
from pipeline.evaluation.tables import DocumentTables, read_tables, write_tables
from pipeline.harvest.gaussian import drawn_activations
from pipeline.language_model.load import load_language_model, load_tokenizer
from pipeline.load_sae import load
from pipeline.progress import Report
from pipeline.store.activation_store import ActivationStore
from pipeline.study.imported import origin_of
from pipeline.study.names import Source
from pipeline.study.registry import Cell
from pipeline.study.variants import GAUSSIAN
from pipeline.training.dead import dead_when_training_ended
from pipeline.training.dictionary_rows import DictionaryRows
from pipeline.training.record import read_done
from pipeline.workspace import Workspace
from sae_core.firing_frequency import firing_frequency
from sae_core.metrics.definition import Measured
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import TokenMetric
from sae_core.probe_text import ProbeText

if TYPE_CHECKING:
    import numpy as np
    import torch


def evaluate(workspace: Workspace, missing: Sequence[Evaluation], *, report: Report) -> None:
    """Measures SAEs of one source that were not measured yet; their rows show all at once."""
    diverged = {one.sae: how for one in missing if (how := _divergence(one)) is not None}
    sound = [one for one in missing if one.sae not in diverged]
    sums = Measurements(measured_tables(workspace, sound, report=report))
    own = {one.sae: numbers(one, sums.of(one)) for one in sound} | {
        sae: missing_numbers(how) for sae, how in diverged.items()
    }
    pairing = pair_up(workspace, sound, sums, report=report)
    run = new_run_id("evaluation")
    rows = _rows(missing, own, sums, pairing) | _examples(workspace, sound, sums)
    rows["stitching"] = _stitching(workspace, pairing, report=report)
    rows["expert_geometry"] = list(expert_rows(workspace, sound, sums))
    write_run(workspace, run, rows, kind="evaluation")
    for match in pairing.matches:
        write_match(match)
    for one in missing:
        write_record(one.folder, EvaluationRecord(one.evaluation_hash, run, own[one.sae]))


def _divergence(one: Evaluation) -> str | None:
    done = read_done(one.folder, one.sae_hash)
    return done.divergence if done is not None and done.status == "diverged" else None


def measured_tables(
    workspace: Workspace, evaluations: Sequence[Evaluation], *, report: Report
) -> dict[str, DocumentTables]:
    """Sums of SAEs of one source by id, measured where they are missing beside the SAE."""
    known = {one.sae: read_tables(one.folder, one.tables_hash) for one in evaluations}
    missing = [one for one in evaluations if _wanted(one, known[one.sae])]
    for group in _groups(missing):
        candidates = [_candidate(workspace, one, known[one.sae]) for one in group]
        found = _measured(workspace, group[0], candidates, report=report)
        for one in group:
            before, now = known[one.sae], found[one.sae]
            known[one.sae] = before.with_more(now) if before else now
            write_tables(one.folder, one.tables_hash, known[one.sae])
    return {sae: tables for sae, tables in known.items() if tables is not None}


def _groups(evaluations: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Those that one sweep can measure: on as many tokens, of the same sites or dictionary."""
    groups: dict[tuple[object, ...], list[Evaluation]] = {}
    for one in evaluations:
        settings = one.cell.evaluation
        # Architectures of several sites differ in which of them they read and write.
        roles = one.cell.recipe.architecture if one.run.further else None
        inputs = one.run.dictionary.sae_hash if one.run.dictionary else one.run.further
        key = (settings.tokens, settings.curve_tokens, one.labels_version, inputs, roles)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _wanted(one: Evaluation, known: DocumentTables | None) -> dict[str, TokenMetric | TallyMetric]:
    """The metrics that apply to an SAE and are not measured yet."""
    missing = missing_metrics(known, one.cell.evaluation.curve_tokens, one.labels_version)
    return {name: metric for name, metric in missing.items() if not why_not(metric, one.cell)}


def _candidate(workspace: Workspace, one: Evaluation, known: DocumentTables | None) -> Candidate:
    def frequency() -> torch.Tensor:
        store = _store(workspace, one.cell.source, one.run.source_hash)
        return firing_frequency(sae, store.calibration())

    sae = load(one.folder)
    return Candidate(
        name=one.sae,
        sae=sae,
        metrics=_wanted(one, known),
        dead_train=_dead_in_training(one),
        calibration_frequency=frequency,
        curve_tokens=one.cell.evaluation.curve_tokens,
        labels_version=one.labels_version,
    )


def _dead_in_training(one: Evaluation) -> np.ndarray | None:
    """Latents (f,) bool; None for an SAE that was trained elsewhere: its counters are not here."""
    recipe = one.cell.recipe
    if origin_of(recipe) is not None:
        return None
    return dead_when_training_ended(one.folder, one.sae_hash, dead_window=recipe.dead_window)


def _measured(
    workspace: Workspace, one: Evaluation, candidates: Sequence[Candidate], *, report: Report
) -> dict[str, DocumentTables]:
    """What the candidates, which `one` is the first of, are measured on."""
    if one.run.dictionary is not None:
        rows = DictionaryRows.open(one.run.dictionary).rows
        return dictionary_sweep(rows, one.run.dictionary.sae_hash, candidates, report=report)
    source, model = one.cell.source, one.cell.model
    corpus = _corpus(workspace, one.cell)
    lm = load_language_model(model, source.weights)
    unigram = unigram_losses(corpus, lm.vocabulary)
    sources = [(source, one.run.source_hash), *one.run.further]
    places = [
        _place(each, _store(workspace, each, hash_), unigram, context=corpus.context)
        for each, hash_ in sources
    ]
    for candidate in candidates:
        candidate.sae.to(lm.device)
    held_out, size = read_held_out(corpus, one.cell.evaluation.tokens), model.batch_rows
    if any(candidate.needs_labels for candidate in candidates):
        text = ProbeText(labelled_tokens(corpus, model, held_out, one.cell.evaluation))
        candidates = [replace(candidate, probe_text=text) for candidate in candidates]
    if len(places) == 1:
        return sweep(lm, places[0], candidates, held_out, batch_rows=size, report=report)
    sae = candidates[0].sae
    several = Places(tuple(places), sae.reads, sae.writes)
    return sites_sweep(lm, several, candidates, held_out, batch_rows=size, report=report)


def _store(workspace: Workspace, source: Source, source_hash: str) -> ActivationStore:
    return ActivationStore.open(workspace, source, source_hash)


def _place(source: Source, store: ActivationStore, unigram: torch.Tensor, *, context: int) -> Place:
    limit, drawn = store.manifest.calibration.max_norm, None
    if source.weights.variant == GAUSSIAN:
        draw = drawn_activations(store.folder, source, context=context)
        drawn = partial(draw, SPLIT)
    return Place(source.site, store.statistics.mean, limit, unigram, drawn)


def _stitching(workspace: Workspace, pairing: Pairing, *, report: Report) -> list[Row]:
    """Rows of the new pairs of two widths, all of one source, that reconstruct their own site."""
    matches = [match for match in pairing.matches if _may_be_stitched(match)]
    if not matches:
        return []
    one = matches[0].neighbours.a
    model, corpus = one.cell.model, _corpus(workspace, one.cell)
    lm = load_language_model(model, one.cell.source.weights)
    store = _store(workspace, one.cell.source, one.run.source_hash)
    unigram = unigram_losses(corpus, lm.vocabulary)
    return stitch(
        lm,
        _place(one.cell.source, store, unigram, context=corpus.context),
        matches,
        cache(lambda folder: load(folder).to(lm.device)),
        read_held_out(corpus, one.cell.evaluation.tokens),
        batch_rows=model.batch_rows,
        report=report,
    )


def _may_be_stitched(match: Match) -> bool:
    one = match.neighbours.a
    recipes = (match.neighbours.a.cell.recipe, match.neighbours.b.cell.recipe)
    is_plain = one.cell.dictionary is None and not one.run.further
    is_plain = is_plain and all(recipe.code_is_all for recipe in recipes)
    drawn = one.cell.source.weights.variant == GAUSSIAN
    return match.neighbours.pair == "other_width" and is_plain and not drawn


def _examples(
    workspace: Workspace, evaluations: Sequence[Evaluation], sums: Measurements
) -> dict[str, object]:
    import pyarrow as pa

    evaluations = [one for one in evaluations if one.cell.dictionary is None]
    if not evaluations:
        return {}
    cell = evaluations[0].cell
    corpus, tokenizer = _corpus(workspace, cell), load_tokenizer(cell.model)
    found = [
        example_rows(
            one, sums.of(one), read_held_out(corpus, one.cell.evaluation.tokens), tokenizer
        )
        for one in evaluations
    ]
    return {"latent_examples": pa.concat_tables(found)}


def _corpus(workspace: Workspace, cell: Cell) -> PackedCorpus:
    corpus = open_corpus(workspace, cell.source.model, cell.model)
    if corpus is None:
        name = cell.source.model
        raise UserError(f"the corpus of {name!r} was removed meanwhile. Run the study.")
    return text_as_read(corpus, cell.source.weights)


def _rows(
    missing: Sequence[Evaluation],
    own: dict[str, dict[str, Measured]],
    sums: Measurements,
    pairing: Pairing,
) -> dict[str, object]:
    import pyarrow as pa

    measured: list[Row] = []
    for one in missing:
        measured += metric_rows(one, own[one.sae])
    for one, found in pairing.numbers.values():
        measured += metric_rows(one, found)
    sound = [one for one in missing if one.sae in sums.known]
    latents = [latent_rows(one, sums.of(one)) for one in sound]
    matched = [rows for match in pairing.matches for rows in match.latent_rows()]
    of_text = [one for one in sound if one.cell.dictionary is None]
    of_one_site = [one for one in of_text if not one.run.further and one.cell.recipe.code_is_all]
    documents = [document_rows(one, sums.of(one)) for one in of_text]
    return {
        **site_rows((one, sums.of(one)) for one in sound),
        "metrics": measured,
        "latents": pa.concat_tables(latents) if latents else [],
        "document_sums": pa.concat_tables(documents) if documents else [],
        "frequency_cuts": [
            row for one in of_one_site for row in frequency_cut_rows(one, sums.of(one))
        ],
        "progressive_code": [
            row for one in of_one_site for row in progressive_rows(one, sums.of(one))
        ],
        "probes": [row for one in of_text for row in probe_rows(one, sums.of(one))],
        "dictionary_matches": [match.row for match in pairing.matches],
        "latent_matches": pa.concat_tables(matched) if matched else [],
        "comparisons": list(pairing.comparisons),
    }
