"""Matching two dictionaries with everything that is told of a pair, up to 131,072 latents each.

A share of b's rows are a's, turned a little (cosine near 0.95), in another order; the others are
drawn. So the truth is known: which latents are shared, and with whom. Told per size: CPU seconds of
one thread, the rise of the peak memory beyond what making the dictionaries took, how many planted
pairs the one-to-one matching found, and how far its sum can be from the best one (its certificate).
Target: less than 1 GB held; all cosines of 131,072 latents would be 64 GiB. Each size runs in a
process of its own, and what is done is kept: a run that was broken off goes on (`--again` forgets).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from bench_max_cosine import peak_mb
from interleaved import save, verdict
from torch.nn.functional import normalize

from sae_core.dictionary_match import Directions, match_dictionaries

SHARED, COSINE, TARGET_MB = 0.3, 0.95, 1000
KEPT = Path(tempfile.gettempdir()) / "bench_match_dictionaries.json"


def planted(f: int, d: int) -> tuple[Directions, Directions, torch.Tensor]:
    """Dictionaries a and b of f latents, and a's partners in b (f,), −1 where there is none."""
    draw = torch.Generator().manual_seed(0)
    a = normalize(torch.randn(f, d, generator=draw))
    b = normalize(torch.randn(f, d, generator=draw))
    n, order = int(SHARED * f), torch.randperm(f, generator=draw)
    aside = torch.randn(n, d, generator=draw)
    aside = normalize(aside - (aside * a[:n]).sum(1, keepdim=True) * a[:n])
    b[order[:n]] = COSINE * a[:n] + math.sqrt(1 - COSINE**2) * aside
    partner = torch.full((f,), -1)
    partner[:n] = order[:n]
    alive = torch.ones(f, dtype=torch.bool)
    return Directions(a, a, alive), Directions(b, b, alive), partner


def measured(f: int, d: int) -> dict[str, object]:
    """Figures of one size."""
    torch.set_num_threads(1)
    warm = planted(4097, d)
    match_dictionaries(warm[0], warm[1], null_seed=0)  # the libraries' own first-call memory
    a, b, partner = planted(f, d)
    before, start = peak_mb(), time.process_time()
    found = match_dictionaries(a, b, null_seed=0)
    seconds, held = time.process_time() - start, peak_mb() - before
    assert found.living is not None
    pairs, planted_rows = found.living.pairs, partner >= 0
    right = (pairs.partner[planted_rows] == partner[planted_rows]).double().mean()
    return {
        "latents": f,
        "width": d,
        "cpu_seconds": round(seconds, 1),
        "held_mb": round(held),
        "is_exact": pairs.is_exact,
        "planted_pairs_found": float(right),
        "mean_cosine": pairs.mean_cosine,
        "mean_at_most": pairs.mean_at_most,
        "shared": pairs.shared,
        "shared_at_most": pairs.shared_at_most,
        "mmcs_ab": found.mmcs_ab,
        "random_null_ab": found.living.nulls.random.ab.mean,
    }


def main() -> None:
    """Prints and saves the figures of every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latents", type=int, nargs="+", default=[32768])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--again", action="store_true", help="forget what was done before")
    parser.add_argument("--one", action="store_true", help="one size, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.latents[0], given.width)))
        return
    known = json.loads(KEPT.read_text()) if KEPT.exists() and not given.again else {}
    rows = []
    for f in given.latents:
        key = f"{f} {given.width}"
        if key not in known:
            size = ["--latents", str(f), "--width", str(given.width), "--one"]
            one = subprocess.run([sys.executable, __file__, *size], check=True, capture_output=True)
            known[key] = json.loads(one.stdout)
            KEPT.write_text(json.dumps(known))
        row = known[key]
        rows.append(row)
        print(
            f"{f:7} latents, d {given.width}: {row['cpu_seconds']} CPU s, {row['held_mb']} MB held "
            f"{verdict(row['held_mb'], TARGET_MB)}, {row['planted_pairs_found']:.4f} of planted "
            f"pairs; mean cosine {row['mean_cosine']:.4f}, at most {row['mean_at_most']:.4f}; "
            f"shared {row['shared']}, at most {row['shared_at_most']}",
            flush=True,
        )
    print(f"saved {save('match_dictionaries', {'target_mb': TARGET_MB, 'rows': rows})}")


if __name__ == "__main__":
    main()
