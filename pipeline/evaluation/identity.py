"""Which evaluation a cell's is: content hashes, cheap and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.evaluation.curve import setting_of
from pipeline.hashing import content_hash
from pipeline.labels import labels_version
from pipeline.study.registry import Cell
from pipeline.training import identity as training
from pipeline.workspace import Workspace
from sae_core.metrics import definitions
from sae_core.metrics.token_metric import Setting

if TYPE_CHECKING:
    from pipeline.corpus.pack import PackedCorpus

VERSION = 2  # raised by hand when the same SAE and text give other sums


@dataclass(frozen=True)
class Evaluation:
    """One SAE to be measured, and the hashes of what is measured.

    `tables_hash` covers what the sums per document depend on: SAE, text and number of tokens;
    `evaluation_hash` also the intervals, the pre-training curve and the set of metrics with their
    versions. A new metric changes only the latter, and only it is measured. `labels_version` says
    what probes rest on; it is empty where there are none.
    """

    run: training.Run
    tables_hash: str
    evaluation_hash: str
    setting: Setting
    labels_version: str = ""

    @property
    def sae(self) -> str:
        """The SAE's id, <source>/<recipe>.s<seed>."""
        return self.run.name

    @property
    def cell(self) -> Cell:
        """The SAE's cell."""
        return self.run.cell

    @property
    def sae_hash(self) -> str:
        """The SAE's content hash."""
        return self.run.sae_hash

    @property
    def folder(self) -> Path:
        """Where the SAE and what is measured of it lie."""
        return self.run.folder


def identify(workspace: Workspace, cell: Cell) -> Evaluation:
    """The evaluation of a cell; raises UserError where its corpus was not packed yet."""
    return identify_all(workspace, [cell])[0]


def identify_all(workspace: Workspace, cells: Sequence[Cell]) -> list[Evaluation]:
    """The evaluations of cells of any sources, in the same order; reads each input once."""
    metrics = {definition.name: definition.version for definition in definitions()}
    found: dict[str, Evaluation] = {}
    for source in dict.fromkeys(cell.source for cell in cells):
        mine = [cell for cell in cells if cell.source == source]
        corpus = _corpus(workspace, mine[0])
        setting = setting_of(source, mine[0].model, vocab_size=corpus.vocab_size)
        for run in training.identify_all(workspace, mine):
            found[run.name] = _evaluation(run, corpus.hash, setting, metrics)
    return [found[cell.sae_id] for cell in cells]


def _corpus(workspace: Workspace, cell: Cell) -> PackedCorpus:
    from pipeline.corpus.pack import open_corpus

    corpus = open_corpus(workspace, cell.source.model, cell.model)
    if corpus is None:
        raise UserError(
            f"{cell.sae_id} cannot be evaluated: the corpus of model {cell.source.model!r} is not "
            "packed in this workspace. Run the study, which packs it first."
        )
    return corpus


def _evaluation(
    run: training.Run, corpus_hash: str, setting: Setting, metrics: dict[str, int]
) -> Evaluation:
    settings, labels = run.cell.evaluation, _labels(run.cell)
    tables_hash = content_hash(
        {
            "stage": "evaluation",
            "version": VERSION,
            "sae_hash": run.sae_hash,
            "corpus_hash": corpus_hash,
            "tokens": settings.tokens,
        }
    )
    evaluation_hash = content_hash(
        {
            "tables": tables_hash,
            "evaluation": settings.model_dump(mode="json"),
            "curve": asdict(setting),
            "metrics": metrics,
            "labels": labels,
        }
    )
    return Evaluation(run, tables_hash, evaluation_hash, setting, labels)


def _labels(cell: Cell) -> str:
    settings = cell.evaluation
    if not settings.probe_tokens:
        return ""
    version = labels_version(settings.labels, cell.model.corpus.kind)
    resampled = f"resampled {settings.bootstrap} times by {settings.bootstrap_seed}"
    return f"{version} on {settings.probe_tokens} tokens {resampled}"
