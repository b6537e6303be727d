"""What a finished run leaves beside its weights: config.json, curve.json and, last, done.json.

An SAE exists where its done.json does. The file is written after everything else, the rows in
the tables included, so that a run killed before it is finished by the next command from its
last checkpoint, without training again.
"""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from pipeline.atomic import write_json
from pipeline.catalog.provenance import code_commit, package_version
from pipeline.errors import CheckpointError
from pipeline.hashing import short
from pipeline.training.curve import Curve, CurveRow
from pipeline.training.identity import Run

CHECKPOINT_FILE = "checkpoint.safetensors"
SAE_FILE = "sae.safetensors"
CONFIG_FILE = "config.json"
CURVE_FILE = "curve.json"
DONE_FILE = "done.json"


@dataclass(frozen=True)
class Done:
    """What done.json says of a finished run.

    `status` is 'ok' or 'diverged'; a diverged run names the step whose loss was not finite, the
    term that was not (loss_terms.py; None in records of older versions), and the step of its last
    good checkpoint (None where it diverged before the first one). `ways`: on what it was trained,
    in order, such as '1 process' or '2 ranks by tokens' (none in records of older versions).
    """

    sae: str
    sae_hash: str
    status: str
    step: int
    tokens: int
    epochs: float
    seconds: float
    wait_seconds: float
    final: dict[str, float | None]
    diverged_at: int | None
    last_good_step: int | None
    diverged_in: str | None = None
    ways: tuple[str, ...] = ()

    @property
    def divergence(self) -> str:
        """Where and in what a diverged run went wrong, and what is left of it, in one sentence."""
        what = (
            f" ({self.diverged_in} was the first that was not finite)" if self.diverged_in else ""
        )
        kept = (
            "it was never checkpointed before"
            if self.last_good_step is None
            else f"its last good checkpoint is of step {self.last_good_step}"
        )
        return f"training diverged at step {self.diverged_at}{what}; {kept}"

    @property
    def tokens_per_second(self) -> float:
        """Tokens of this SAE per second of training."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the training seconds spent waiting for data."""
        return self.wait_seconds / self.seconds if self.seconds else 0.0


def write_config(run: Run) -> None:
    """Writes config.json where it is missing: what the SAE is, and what code began it."""
    path = run.folder / CONFIG_FILE
    if path.exists():
        return
    cell = run.cell
    write_json(
        path,
        {
            "sae": run.name,
            "sae_hash": run.sae_hash,
            "source": str(cell.source),
            "source_hash": run.source_hash,
            "further_sources": {str(source): hash_ for source, hash_ in run.further},
            "dictionary": _dictionary(run),
            "recipe": cell.key.recipe,
            "config": cell.recipe.model_dump(mode="json"),
            "seed": cell.key.seed,
            "data_seed": cell.data_seed,
            "study": cell.study,
            "begun_by": {
                "package_version": package_version(),
                "commit": code_commit(),
                "python": platform.python_version(),
                "torch": version("torch"),
            },
        },
    )


def _dictionary(run: Run) -> dict[str, str] | None:
    of = run.dictionary
    return None if of is None else {"sae": of.name, "sae_hash": of.sae_hash}


def read_done(folder: Path, sae_hash: str) -> Done | None:
    """The record of a finished run; None where there is none yet.

    Raises CheckpointError for a record that is unreadable or of another SAE.
    """
    path = folder / DONE_FILE
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        fields = json.loads(text)
        done = Done(**fields | {"ways": tuple(fields.get("ways", ()))})
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete this one file: the next command finishes "
            "the SAE from its last checkpoint."
        ) from error
    if done.sae_hash != sae_hash:
        raise CheckpointError(
            f"{folder} holds SAE {done.sae_hash}, but {sae_hash} is wanted: both begin with "
            f"{short(sae_hash)}. Move the folder away to make room for the other."
        )
    return done


def write_done(folder: Path, done: Done) -> None:
    """Writes done.json: from here on the SAE exists."""
    write_json(folder / DONE_FILE, asdict(done))


def write_curve(folder: Path, curve: Curve) -> None:
    """Writes curve.json: the whole curve as columns; a value that is not finite becomes null."""
    rows = curve.rows
    write_json(
        folder / CURVE_FILE,
        {
            "step": [row.step for row in rows],
            "tokens": [row.tokens for row in rows],
            "metric": [row.metric for row in rows],
            "value": [_finite(row.value) for row in rows],
        },
    )


def read_curve(folder: Path) -> Curve:
    """The curve of curve.json, null as NaN; raises CheckpointError where it is unreadable."""
    path = folder / CURVE_FILE
    try:
        columns = json.loads(path.read_text())
        listed = zip(*(columns[name] for name in CurveRow._fields), strict=True)
        return Curve(
            tuple(CurveRow(s, t, m, math.nan if v is None else v) for s, t, m, v in listed)
        )
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete {folder / DONE_FILE}: the next command "
            "writes both again from the last checkpoint."
        ) from error


def finite_values(values: dict[str, float]) -> dict[str, float | None]:
    """The same values with None for those that JSON cannot hold."""
    return {name: _finite(value) for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
