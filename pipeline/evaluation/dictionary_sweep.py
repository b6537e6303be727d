"""What SAEs of a dictionary are measured on: the dictionary's rows, and no language model.

Each row stands in the place of a document, so intervals resample rows. The rows are those of
training: a dictionary has no held-out part. Documents are numbered by the dictionary's hash, so
that nothing is ever paired with what was measured on another dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pipeline.evaluation.sums import Candidate, Sums
from pipeline.evaluation.sweep import exact
from pipeline.evaluation.tables import DocumentTables
from pipeline.progress import Progress, Report
from sae_core.metrics.tally_metric import Seen
from sae_core.metrics.token_metric import Reconstruction

NO_LANGUAGE_MODEL = "an SAE of a dictionary reads no activations: nothing is spliced into the LM"
ON_ROWS = "measured on the rows of the dictionary it was trained on; intervals resample rows"
_DOCUMENTS = 4096  # resampling is a product with a matrix of so many columns
_BLOCK = 4096


def dictionary_sweep(
    rows: torch.Tensor, rows_hash: str, candidates: Sequence[Candidate], *, report: Report
) -> dict[str, DocumentTables]:
    """What each candidate's metrics are computed from, by its name.

    `rows` (f, d) are the directions; with more than 4,096, every 4,096th forms a document.
    """
    n = min(len(rows), _DOCUMENTS)
    documents = int(rows_hash[:12], 16) + np.arange(n, dtype=np.int64)
    sums = [Sums(candidate, n, 1) for candidate in candidates]
    center = rows.double().mean(0)
    with torch.inference_mode():
        for start in range(0, len(rows), _BLOCK):
            x = rows[start : start + _BLOCK]
            places = torch.arange(start, start + len(x))
            for one in sums:
                _add(one, x, center, places)
            report(Progress("evaluation", start + len(x), len(rows), "rows", "dictionary"))
    return {s.candidate.name: s.result(documents) for s in sums}


def _add(one: Sums, x: torch.Tensor, center: torch.Tensor, places: torch.Tensor) -> None:
    sae = one.candidate.sae
    seen = x.to(sae.b_dec.device)
    code = sae.encode(seen)
    target = exact(seen)
    where = target.device
    batch = Reconstruction(
        x=target,
        x_hat=exact(sae.reconstruct(seen, code)),
        code=type(code)(code.indices.to(where), code.values.to(where), code.n_latents),
        decoder_norms=exact(sae.W_dec).norm(dim=1),
        center=center.to(where),
    )
    documents = places % one.n_documents
    one.add(batch, documents)
    one.add_seen(Seen(torch.zeros_like(places), places, documents, batch))
