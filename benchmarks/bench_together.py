"""SAEs of one shape trained together against each trained alone, and what reading costs.

Alone, every SAE reads the store for itself; together, each batch is read once and seen by all.
CPU seconds are those of all threads of this process: the reader's thread is in them. The share
that reading takes is measured twice: CPU seconds of the same batches read and dropped, over those
of training; and the wall time that training waited for a batch, over all its wall time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import torch
from bench_reader import WIDTH, make_store
from interleaved import interleave, ratio, save, verdict

from pipeline.store.activation_store import ActivationStore
from sae_core.architectures import config_class
from sae_core.engine import train
from sae_core.toy import statistics_of
from sae_core.trainee import Trainee

BATCH = 2048


def trainees(count: int, *, n_latents: int, rows: torch.Tensor) -> list[Trainee]:
    """TopK SAEs that differ in their seeds."""
    config = config_class("topk")(n_latents=n_latents, tokens=10**12, batch_size=BATCH, k=32)
    statistics = statistics_of(rows)
    return [
        Trainee(config, name=f"s{seed}", statistics=statistics, seed=seed) for seed in range(count)
    ]


def training(
    group: list[Trainee], store: ActivationStore, *, steps: int
) -> Callable[[], Iterator[object]]:
    """Steps of a group over its own stream of batches, going on from call to call."""
    batches = store.batches(batch_size=BATCH, data_seed=0)
    reports = train(group, batches, report_every=steps)
    return lambda: next(reports)


def reading_seconds(store: ActivationStore) -> float:
    """CPU seconds of reading one batch and dropping it, over four epochs.

    Not interleaved: a reader works ahead, and would do so on another contender's time.
    """
    count = 4 * store.n_rows // BATCH
    start = time.process_time()
    for _ in islice(store.batches(batch_size=BATCH, data_seed=0), count):
        pass
    return (time.process_time() - start) / count


def measured(
    store: ActivationStore, count: int, given: argparse.Namespace, *, per_batch: float
) -> dict[str, object]:
    """The figures of one group size; printed. `per_batch`: CPU seconds of reading a batch."""
    rows = next(store.batches(batch_size=BATCH, data_seed=0))
    shape = {"n_latents": given.latents, "rows": rows}
    one_by_one = [training([one], store, steps=given.steps) for one in trainees(count, **shape)]
    contenders = {
        "alone": lambda: [run() for run in one_by_one],
        "together": training(trainees(count, **shape), store, steps=given.steps),
    }
    seconds = interleave(contenders, rounds=given.rounds, clock=time.process_time)
    waited, began = store.wait_seconds, time.perf_counter()
    contenders["together"]()
    waited_share = (store.wait_seconds - waited) / (time.perf_counter() - began)
    found = {
        "saes": count,
        "together_x_alone": round(ratio(seconds, "together", to="alone"), 3),
        "reading_share_together": round(per_batch * given.steps / median(seconds["together"]), 4),
        "waiting_share_wall": round(waited_share, 4),
        "tokens_per_second_each": round(given.steps * BATCH / min(seconds["together"])),
    }
    print(
        f"  {count:3} SAEs: {found['together_x_alone']:5.2f} x alone, reading "
        f"{100 * found['reading_share_together']:4.1f} % of CPU, waiting "
        f"{100 * found['waiting_share_wall']:4.1f} % of wall time "
        f"{verdict(found['waiting_share_wall'], 0.02)}, "
        f"{found['tokens_per_second_each']:8,} tokens/s",
        flush=True,
    )
    return found


def main() -> None:
    """Prints and saves the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saes", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--latents", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"d {WIDTH}, f {given.latents}, k 32, {BATCH} tokens a step, CPU seconds, 1 thread")
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), shards=2, shuffle="global")
        per_batch = reading_seconds(store)
        figures = [measured(store, count, given, per_batch=per_batch) for count in given.saes]
    print(f"saved {save('together', figures)}")


if __name__ == "__main__":
    main()
