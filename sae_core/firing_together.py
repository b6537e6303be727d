"""How latents of one SAE fire together with chosen latents of another one, on common tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CodeSample:
    """Sparse codes of n tokens: their places (n,), ascending, and m entries in three columns.

    `rows` (m,) numbers the tokens from 0, `latents` (m,) the latents that fired there, each once
    per token, with the activations `values` (m,) > 0; `n_latents` f.
    """

    places: np.ndarray
    rows: np.ndarray
    latents: np.ndarray
    values: np.ndarray
    n_latents: int

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> CodeSample:
        """The sample that the tally `code_sample` left."""
        rows = np.repeat(np.arange(len(arrays["places"])), arrays["counts"])
        latents, values = arrays["latents"].astype(np.int64), arrays["values"].astype(np.float64)
        return cls(arrays["places"], rows, latents, values, int(arrays["n_latents"]))

    def at(self, places: np.ndarray) -> CodeSample:
        """The same at these places alone, which must be among its own."""
        kept = np.isin(self.places, places)
        new_row = np.cumsum(kept) - 1
        entries = kept[self.rows]
        rows = new_row[self.rows[entries]]
        return CodeSample(
            self.places[kept], rows, self.latents[entries], self.values[entries], self.n_latents
        )


@dataclass(frozen=True)
class Together:
    """How each latent i (f,) fires with its partner on `n_tokens` common tokens.

    `n_fires`: tokens on which i fires, `n_both`: those on which its partner does as well.
    `correlation`: of the two activations, zeros counted; NaN where one of them does not vary.
    """

    n_tokens: int
    n_fires: np.ndarray
    n_both: np.ndarray
    correlation: np.ndarray

    @property
    def share(self) -> np.ndarray:
        """Share of a latent's fires on which its partner fires too; NaN where it never fires."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.n_both / self.n_fires


def in_common(a: CodeSample, b: CodeSample) -> tuple[CodeSample, CodeSample]:
    """Both samples at the places that both hold."""
    places = np.intersect1d(a.places, b.places, assume_unique=True)
    return a.at(places), b.at(places)


def firing_together(a: CodeSample, b: CodeSample, partner: np.ndarray) -> Together:
    """Each latent i of a with latent `partner[i]` (f,) of b, −1 for none, at the same places.

    ρ_i = (mean(a_i b_p) − mean(a_i) mean(b_p)) / (σ(a_i) σ(b_p)), over all tokens, zeros included.
    Looks up one entry of b for every entry of a: memory grows with the entries, never with f × g.
    Raises ValueError for samples of different places.
    """
    if not np.array_equal(a.places, b.places):
        raise ValueError(
            f"samples of {len(a.places)} and {len(b.places)} tokens at other places cannot be "
            "compared. Take both `in_common` first."
        )
    n, f = len(a.places), a.n_latents
    other = partner[a.latents]
    beside = np.where(other >= 0, _values_at(b, a.rows, other), 0.0)
    cross = np.bincount(a.latents, a.values * beside, minlength=f)
    n_both = np.bincount(a.latents[beside > 0], minlength=f)
    mean_a, deviation_a = _moments(a)
    mean_b, deviation_b = (part[partner] for part in _moments(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (cross / n - mean_a * mean_b) / (deviation_a * deviation_b)
    alone = (partner < 0) | (deviation_a <= 0) | (deviation_b <= 0)
    correlation = np.clip(np.where(alone, np.nan, correlation), -1.0, 1.0)
    return Together(n, np.bincount(a.latents, minlength=f), n_both, correlation)


def _values_at(sample: CodeSample, rows: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """The activations at (row, latent), 0 where the latent did not fire."""
    key = sample.rows * sample.n_latents + sample.latents
    if not len(key):
        return np.zeros(len(rows))
    order = np.argsort(key)
    wanted = rows * sample.n_latents + latents
    at = np.searchsorted(key[order], wanted).clip(max=len(key) - 1)
    return np.where(key[order][at] == wanted, sample.values[order][at], 0.0)


def _moments(sample: CodeSample) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (f,) of each latent's activation over all tokens."""
    n, f = max(len(sample.places), 1), sample.n_latents
    mean = np.bincount(sample.latents, sample.values, minlength=f) / n
    square = np.bincount(sample.latents, sample.values**2, minlength=f) / n
    # A latent that fires alike everywhere has no deviation, whatever rounding leaves of it.
    variance = np.where(square - mean**2 > 1e-12 * square, square - mean**2, 0.0)
    return mean, np.sqrt(variance)
