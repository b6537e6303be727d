"""What a finished evaluation leaves beside the SAE, last of all: its numbers and its run.

An evaluation is done where its record is. The record is written after the rows are committed, so
that an evaluation killed in between is finished by the next command.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.atomic import write_json
from pipeline.errors import CheckpointError
from pipeline.hashing import short
from sae_core.metrics.definition import Measured


@dataclass(frozen=True)
class EvaluationRecord:
    """The evaluation's hash, the run whose rows it committed, and its numbers."""

    evaluation_hash: str
    run: str
    metrics: Mapping[str, Measured]


def record_path(folder: Path, evaluation_hash: str) -> Path:
    """Where an evaluation's record lies."""
    return folder / f"evaluation-{short(evaluation_hash)}.json"


def write_record(folder: Path, record: EvaluationRecord) -> None:
    """Writes the record: from here on the evaluation is done."""
    write_json(record_path(folder, record.evaluation_hash), asdict(record))


def read_record(folder: Path, evaluation_hash: str) -> EvaluationRecord | None:
    """The record of an evaluation; None where it is not done.

    Raises CheckpointError for a record that is unreadable or of another evaluation.
    """
    path = record_path(folder, evaluation_hash)
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        found = json.loads(text)
        metrics = {name: Measured(**measured) for name, measured in found["metrics"].items()}
        if found["evaluation_hash"] != evaluation_hash:
            raise ValueError(f"it belongs to evaluation {found['evaluation_hash']}")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete this one file: the next command writes it "
            "again from the tables beside it."
        ) from error
    return EvaluationRecord(evaluation_hash, found["run"], metrics)
