"""What training on ranks costs: operations, bytes and hours, on paper.

Counts are of what the code does, per rank: docs/scale.md says where each comes from and where it
was checked. Seconds are counts over a machine's rates; parts that wait for each other are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_FLOAT = 4  # bytes of parameters, moments and gradients


@dataclass(frozen=True)
class Machine:
    """What one rank's device reaches, in numbers per second that were measured or are assumed.

    `flops` of large float32 products; `memory_rate` bytes to and from its memory; `wire_rate` bytes
    that it sends to other ranks; `read_rate` bytes of activations that it reads; `memory` bytes.
    """

    flops: float
    memory_rate: float
    wire_rate: float = float("inf")
    read_rate: float = float("inf")
    memory: float = float("inf")


@dataclass(frozen=True)
class Training:
    """A TopK training: width d, f latents, k active, tokens of a step and of the whole budget.

    `ranks` divide tokens or latents; `dead_share` of the latents and `k_aux` for AuxK;
    `micro_batch` tokens at a time (none: all); `stored_bytes` of a stored number.
    """

    d: int
    f: int
    k: int
    batch: int
    tokens: int
    ranks: int = 1
    split: Literal["tokens", "latents"] = "tokens"
    dead_share: float = 0.0
    k_aux: int = 0
    micro_batch: int | None = None
    stored_bytes: int = 2

    @property
    def own_tokens(self) -> float:
        """Tokens of a step whose loss one rank computes."""
        return self.batch / self.ranks if self.split == "tokens" else self.batch

    @property
    def own_latents(self) -> float:
        """Latents that one rank holds."""
        return self.f if self.split == "tokens" else self.f / self.ranks

    @property
    def own_weights(self) -> float:
        """Numbers of the two matrices that one rank holds."""
        return 2 * self.own_latents * self.d


@dataclass(frozen=True)
class StepCost:
    """One step of one rank: `flops` of dense products; bytes to and from memory, sent, and read."""

    flops: float
    memory: float
    sent: float
    read: float

    def seconds(self, machine: Machine) -> float:
        """Seconds: reading runs beside the step, all else waits for each other."""
        busy = (
            self.flops / machine.flops
            + self.memory / machine.memory_rate
            + self.sent / machine.wire_rate
        )
        return max(busy, self.read / machine.read_rate)


@dataclass(frozen=True)
class MemoryCost:
    """Bytes of one rank: `steady` in a step; `peak` at the start and at every checkpoint."""

    steady: float
    peak: float


def step_cost(job: Training) -> StepCost:
    """What one step of one rank does.

    Dense products: the encoder's, and AuxK's with dead latents; with micro-batches both twice once
    latents are dead (a first pass finds them). Sparse products touch (k + k_aux) rows of d a token
    four times. Adam reads and writes parameter, two moments and gradient; its norms and the
    gradient's writing are two more sweeps.
    """
    n, f, d = job.own_tokens, job.own_latents, job.d
    dead = job.dead_share * f
    passes = 2 if job.micro_batch and dead else 1
    share = 1 if job.split == "tokens" else 1 / job.ranks
    active = (job.k + job.k_aux) * share
    sparse = 4 * n * active * d * _FLOAT
    sweeps = 2 * n * (f * passes + dead) * _FLOAT
    adam = 9 * job.own_weights * _FLOAT
    return StepCost(
        flops=2 * n * d * (f * passes + dead),
        memory=sparse + sweeps + adam,
        sent=sent_bytes(job),
        read=job.batch * d * job.stored_bytes,
    )


def sent_bytes(job: Training) -> float:
    """Bytes that a rank sends in a step: matrices' gradients, or candidates and reconstructions.

    Without biases and single numbers; every gather sends a rank's part to each other rank.
    """
    others, d = job.ranks - 1, job.d
    if job.split == "tokens":
        return 2 * others / job.ranks * _FLOAT * 2 * job.f * d
    decodes = 2 if job.k_aux and job.dead_share else 1
    sums = decodes * 2 * others / job.ranks * _FLOAT * job.batch * d
    candidates = job.k + (job.k_aux if job.dead_share else 0)
    return sums + others * _FLOAT * job.batch * candidates


def memory_cost(job: Training) -> MemoryCost:
    """What one rank holds.

    Steady: parameters, two moments and gradients (ranks that divide tokens: their sum too), the
    pre-activations of a micro-batch, and the batch. Peak: beside parameters and moments the state
    as a checkpoint takes it, whole and copied on every rank; or, before the first step of ranks
    that divide latents, the whole SAE from which they take theirs.
    """
    summed = job.split == "tokens" and job.ranks > 1
    held = job.own_weights * _FLOAT
    pre_activations = min(job.micro_batch or job.own_tokens, job.own_tokens) * job.own_latents
    batch = 3 * job.own_tokens * job.d
    steady = held * (5 if summed else 4) + (pre_activations + batch) * _FLOAT
    whole = 2 * job.f * job.d * _FLOAT
    copies = 1 if job.split == "tokens" or job.ranks == 1 else 2
    checkpoint = 3 * held + 3 * whole * copies
    return MemoryCost(steady, max(steady, checkpoint))


def checkpoint_bytes(job: Training) -> float:
    """Bytes of a checkpoint: parameters and two moments."""
    return 3 * 2 * job.f * job.d * _FLOAT


def store_bytes(job: Training, stored_tokens: int) -> float:
    """Bytes of the activations of so many tokens."""
    return stored_tokens * job.d * job.stored_bytes


def training_hours(job: Training, machine: Machine) -> float:
    """Hours of the whole budget, without harvest, start and checkpoints."""
    return job.tokens / job.batch * step_cost(job).seconds(machine) / 3600


def harvest_hours(tokens: int, parameters: float, share_of_layers: float, flops: float) -> float:
    """Hours of one pass of a language model over tokens, down to a share of its layers."""
    return tokens * 2 * parameters * share_of_layers / flops / 3600
