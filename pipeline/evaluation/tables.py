"""What a sweep leaves beside an SAE: sums per document, tallies, how often each latent fired.

The file is written whole. It is what intervals, comparisons and matches are computed from, so
that none of them needs the language model again.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipeline.atomic import write_bytes
from pipeline.errors import CheckpointError
from pipeline.hashing import short
from sae_core.metrics.tally_metric import TallyMetric
from sae_core.metrics.token_metric import TokenMetric

_TABLE, _TALLY = "table/", "tally/"


@dataclass(frozen=True)
class LatentSums:
    """Per latent, over `n_tokens` tokens: fires (f,), sum and max of activations (f,).

    `l0_histogram[j]` tokens had exactly j active latents. `group_fires` (G, f), `group_l0` (G, j):
    the same by group of documents (see `sae_core.group_jackknife`). `dead_train`, `decoder_norm`
    and `encoder_decoder_cosine` (f,) are the SAE's own; `dead_train` is None where unknown.
    """

    n_tokens: int
    n_fires: np.ndarray
    sum_values: np.ndarray
    max_value: np.ndarray
    l0_histogram: np.ndarray
    group_fires: np.ndarray
    group_l0: np.ndarray
    decoder_norm: np.ndarray
    encoder_decoder_cosine: np.ndarray
    dead_train: np.ndarray | None

    @property
    def firing_frequency(self) -> np.ndarray:
        """Share of tokens on which each latent fired, (f,)."""
        return self.n_fires / max(self.n_tokens, 1)


@dataclass(frozen=True)
class DocumentTables:
    """Sums (D, 1 + c) per document by metric file, the D documents, and the latents' sums.

    `tallies`: the arrays of metrics that keep a tally, by metric file. `versions` says, for each
    metric file, which definitions its sums or its tally were made for.
    """

    documents: np.ndarray
    tables: Mapping[str, np.ndarray]
    versions: Mapping[str, str]
    latents: LatentSums
    tallies: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)

    def with_more(self, newer: DocumentTables) -> DocumentTables:
        """The same with the newer tables added or in place of the older ones."""
        return replace(
            newer,
            tables={**self.tables, **newer.tables},
            tallies={**self.tallies, **newer.tallies},
            versions={**self.versions, **newer.versions},
        )


def version_text(
    metric: TokenMetric | TallyMetric, curve_tokens: int, labels_version: str = ""
) -> str:
    """What a metric file's sums or tally were made for, as one text."""
    text = ",".join(f"{d.name}={d.version}" for d in metric.definitions)
    if isinstance(metric, TokenMetric):
        return f"{text} on {curve_tokens}" if metric.of == "every_prediction" else text
    splices = f" splices on {curve_tokens}" if metric.splices else ""
    labels = f" labels {labels_version}" if metric.labelled else ""
    return f"tally {metric.version}{splices}{labels}; {text}"


def tables_path(folder: Path, tables_hash: str) -> Path:
    """Where an SAE's tables lie."""
    return folder / f"documents-{short(tables_hash)}.npz"


def write_tables(folder: Path, tables_hash: str, found: DocumentTables) -> None:
    """Writes the tables beside the SAE, whole or not at all."""
    latents = {k: v for k, v in vars(found.latents).items() if isinstance(v, np.ndarray)}
    about = {"hash": tables_hash, "versions": found.versions, "n": found.latents.n_tokens}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        about=np.array(json.dumps(about, sort_keys=True)),
        documents=found.documents,
        **{f"latents/{name}": value for name, value in latents.items()},
        **{f"{_TABLE}{name}": table for name, table in found.tables.items()},
        **{
            f"{_TALLY}{metric}/{name}": array
            for metric, arrays in found.tallies.items()
            for name, array in arrays.items()
        },
    )
    write_bytes(tables_path(folder, tables_hash), buffer.getvalue())


def read_tables(folder: Path, tables_hash: str) -> DocumentTables | None:
    """The tables of an SAE; None where there are none yet.

    Raises CheckpointError for a file that is unreadable or of another evaluation.
    """
    path = tables_path(folder, tables_hash)
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        latents = {n.split("/")[1]: v for n, v in arrays.items() if n.startswith("latents/")}
        latents.setdefault("dead_train", None)
        if about["hash"] != tables_hash:
            raise ValueError(f"it belongs to evaluation {about['hash']}")
        return DocumentTables(
            documents=arrays["documents"],
            tables={n[len(_TABLE) :]: v for n, v in arrays.items() if n.startswith(_TABLE)},
            versions=about["versions"],
            latents=LatentSums(n_tokens=about["n"], **latents),
            tallies=_tallies(arrays),
        )
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, EOFError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}. Delete this one file: the next evaluation "
            "measures it again."
        ) from error


def _tallies(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        if key.startswith(_TALLY):
            metric, name = key[len(_TALLY) :].split("/", 1)
            found.setdefault(metric, {})[name] = array
    return found
