"""One SAE in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from sae_core.accumulation import batch_gradients
from sae_core.architectures import build
from sae_core.config import SaeConfig
from sae_core.initialise import initialise
from sae_core.initialise_sites import initialise_sites
from sae_core.language_model import ReadingModel
from sae_core.latent_shards import shard_of
from sae_core.loss_terms import LossTerms
from sae_core.optim import RowAdam
from sae_core.ranks import (
    ALONE,
    Ranks,
    Share,
    as_share,
    check_divisible,
    one_after_another,
    summed,
)
from sae_core.resampling import Resampler, resampling_phase
from sae_core.sae import Sae
from sae_core.schedule import lr_factor
from sae_core.statistics import SourceStatistics, scaled_variance
from sae_core.training_context import TrainingContext, advanced
from sae_core.weight_average import WeightAverage


class Trainee:
    """An SAE, its optimiser and its counters; `step` is one training step.

    A step depends on the state and the batch alone, so a run that is continued from `state` and a
    run in company of others give the same bits as one run alone. `further` are the statistics of
    the sites that stand beside the source's in a batch; `language_model` is what it is trained
    through. From the first step with a
    non-finite loss or gradient on, parameters, moments and counters keep their last good values.

    With several `ranks` each process has a trainee of the same arguments; they take one process's
    step but for the order of sums: gradients are equal within 1e-5 of the largest (float32). By
    `split`, each is given its share of every batch and holds the whole SAE, or is given the whole
    batch and holds its share of the latents. `state`, `load_state`, `result` and `all_since_fired`
    are of the whole SAE, are called by all ranks together, and states fit any number of ranks.
    Raises ValueError for a configuration that cannot be divided.
    """

    def __init__(
        self,
        config: SaeConfig,
        *,
        name: str,
        statistics: SourceStatistics,
        seed: int,
        init_rows: torch.Tensor | None = None,
        further: Sequence[SourceStatistics] = (),
        language_model: ReadingModel | None = None,
        ranks: Ranks = ALONE,
        split: Literal["tokens", "latents"] = "tokens",
        device: torch.device | str = "cpu",
    ) -> None:
        # Of those among which batches are divided, and of those among which latents are.
        self.ranks, self.shards = (ranks, ALONE) if split == "tokens" else (ALONE, ranks)
        check_divisible(config, self.ranks)
        self.config, self.name = config, name
        self.language_model = language_model
        inputs, widths = (statistics, *further), tuple(one.width for one in further)
        self.sae = build(config, width=statistics.width, further=widths).to(device)
        if further:
            initialise_sites(self.sae, inputs, seed=seed, init_rows=init_rows)
        else:
            initialise(self.sae, statistics, seed=seed, init_rows=init_rows)
        if self.shards.size > 1:
            self.sae = shard_of(self.sae, self.shards)
        self.optimiser = RowAdam(self.sae, shards=self.shards)
        share = config.ema_share
        window = None if share is None else share * config.tokens
        self.average = None if window is None else WeightAverage(self.sae, window=window)
        self.resampler = Resampler(self.sae) if config.resample_at else None
        self.seed = seed
        self.step_count = 0
        self.tokens_seen = 0
        self.total_variance = sum(scaled_variance(inputs[i]) for i in self.sae.writes)
        scale = self.sae.written_scale
        mean = torch.cat([inputs[i].mean for i in self.sae.writes])
        self.mean = mean.to(scale.dtype).to(device) * scale
        counters = torch.zeros(self.sae.n_latents, dtype=torch.int64, device=device)
        self.since_fired = counters
        self.first_bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self.first_bad_term = self.first_bad_step.clone()
        self._judged: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the token budget is spent."""
        return self.tokens_seen >= self.config.tokens

    @property
    def diverged(self) -> int | None:
        """The first step with a non-finite loss or gradient, None where all were finite."""
        step = int(self.first_bad_step)
        return None if step < 0 else step

    @property
    def diverged_in(self) -> str | None:
        """What was not finite at that step: the first such of the loss's terms in their order,
        `loss` where only their sum was not, `gradient_norm` where the whole loss was finite."""
        term = int(self.first_bad_term)
        return None if term < 0 else self._judged[term]

    def step(self, batch: torch.Tensor | Share) -> dict[str, torch.Tensor | float]:
        """One training step on activations (n, d), with several ranks on this one's share of them.

        Gives the step's measurements, of the whole batch:
        Loss terms; `loss` their total; `fvu` = reconstruction / (s²·E‖x − mean‖²): the batch's
        squared error over the source's variance; `l0`; `dead_share`; `lr`; `gradient_norm` before
        clipping; `resampled`, latents started anew so far, where the recipe asks for it. All but
        lr are 0-d tensors on the device: nothing waits for it.
        """
        share = as_share(batch)
        n = share.n
        made = batch_gradients(self.sae, share, self._context(), self.optimiser.parameters)
        terms, activity = made.terms, made.activity
        ready, gradient_norm = self.optimiser.prepare(made.gradients)
        healthy = self._healthy(terms, gradient_norm)
        lr = self.config.learning_rate * lr_factor(self.config, seen=self.tokens_seen, n=n)
        self.optimiser.step(ready, lr=lr, healthy=healthy, seed=self.seed)
        if self.average is not None:
            self.average.add(self.sae, n=n, healthy=healthy)
        self.sae.observe(activity, healthy)
        counters = advanced(self.since_fired, activity.fired, n)
        self.since_fired = torch.where(healthy, counters, self.since_fired)
        if self.resampler is not None:
            self._resample(share, made.token_losses, healthy)
        self.step_count += 1
        self.tokens_seen += n
        return self._measurements(terms) | {
            "l0": activity.l0,
            "lr": lr,
            "gradient_norm": gradient_norm,
        }

    def result(self) -> Sae:
        """The SAE that training has made so far: the averaged one where weights are averaged."""
        made = self.sae if self.average is None else self.average.averaged(self.sae)
        return made.whole() if self.shards.size > 1 else made

    def all_since_fired(self) -> torch.Tensor:
        """Tokens since each latent fired, (f,)."""
        return self._whole({"since_fired": self.since_fired})["since_fired"]

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that the next step depends on, copied: continue with `load_state`."""
        counters = {
            "step_count": torch.tensor(self.step_count),
            "tokens_seen": torch.tensor(self.tokens_seen),
            "seed": torch.tensor(self.seed),
        }
        return {
            name: tensor.detach().clone()
            for name, tensor in (self._whole(self._tensors()) | counters).items()
        }

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Takes over a state; raises ValueError where it is not one of such an SAE."""
        own = self._tensors()
        expected = {name: self._whole_shape(name, tensor.shape) for name, tensor in own.items()}
        expected |= {name: torch.Size() for name in ("step_count", "tokens_seen", "seed")}
        found = {name: tensor.shape for name, tensor in state.items()}
        if found != expected:
            wrong = sorted(
                name
                for name in expected.keys() | found.keys()
                if expected.get(name) != found.get(name)
            )
            raise ValueError(
                f"this training state does not fit {self.name}: {', '.join(wrong)} are missing, "
                "unknown or of another shape. Allowed: the state of the same configuration and "
                "width. Remove the checkpoint to start over."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                given = state[name]
                if self._is_divided(name):
                    given = given[self.shards.index * len(tensor) :][: len(tensor)]
                tensor.copy_(given)
        self.step_count = int(state["step_count"])
        self.tokens_seen = int(state["tokens_seen"])
        self.seed = int(state["seed"])

    def _context(self) -> TrainingContext:
        return TrainingContext(
            progress=self.tokens_seen / self.config.tokens,
            tokens_seen=self.tokens_seen,
            since_fired=self.since_fired,
            dead_window=self.config.dead_window,
            total_variance=self.total_variance,
            mean=self.mean,
            seed=self.seed,
            step=self.step_count,
            language_model=self.language_model,
            ranks=self.ranks,
        )

    @torch.no_grad()
    def _resample(self, share: Share, losses: torch.Tensor, healthy: torch.Tensor) -> None:
        """Collects candidates in a resampling's window; at its end starts dead latents anew."""
        collecting, ending = resampling_phase(self.config, seen=self.tokens_seen, n=share.n)
        if collecting:
            losses = one_after_another(torch.where(healthy, losses, 0.0), self.ranks)
            scaled = one_after_another(self.sae.scaled(share.rows), self.ranks)
            self.resampler.collect(scaled, losses, seed=self.seed, step=self.step_count)
        if ending:
            dead = healthy & (self.since_fired >= self.config.dead_window)
            started = self.resampler.resample(self.sae, self.optimiser, dead)
            self.since_fired = self.since_fired.masked_fill(started, 0)
            if self.average is not None:
                self.average.forget(self.sae, started)

    def _healthy(self, terms: LossTerms, gradient_norm: torch.Tensor) -> torch.Tensor:
        """Whether all steps so far were finite, 0-d bool; notes the first that was not, and why."""
        judged = {**terms.terms, "loss": terms.total, "gradient_norm": gradient_norm}
        self._judged = tuple(judged)
        finite = torch.stack(list(judged.values())).isfinite()
        unmarked = self.first_bad_step < 0
        healthy = unmarked & finite.all()
        first_now = unmarked & ~healthy
        self.first_bad_step = torch.where(first_now, self.step_count, self.first_bad_step)
        # argmin gives the first False
        term = finite.to(torch.uint8).argmin()
        self.first_bad_term = torch.where(first_now, term, self.first_bad_term)
        return healthy

    def _measurements(self, terms: LossTerms) -> dict[str, torch.Tensor]:
        found = {**terms.terms, "loss": terms.total}
        found["fvu"] = found["reconstruction"] / self.total_variance
        dead = self.since_fired >= self.config.dead_window
        found["dead_share"] = summed(dead.sum(), self.shards) / self.config.n_latents
        if self.resampler is not None:
            found["resampled"] = self.resampler.total.clone()
        return found

    def _is_divided(self, name: str) -> bool:
        """Whether ranks hold parts of this tensor of the state."""
        of_latents = (*self.sae.latent_parameters, "since_fired")
        return self.shards.size > 1 and name.rsplit(".", 1)[-1] in of_latents

    def _whole_shape(self, name: str, own: torch.Size) -> torch.Size:
        return torch.Size([own[0] * self.shards.size, *own[1:]]) if self._is_divided(name) else own

    def _whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            name: self.shards.gathered(tensor.detach()).flatten(0, 1)
            if self._is_divided(name)
            else tensor
            for name, tensor in tensors.items()
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        sae = {f"sae.{name}": tensor for name, tensor in self.sae.state_dict().items()}
        adam = {f"adam.{name}": tensor for name, tensor in self.optimiser.state().items()}
        counters = {
            "since_fired": self.since_fired,
            "first_bad_step": self.first_bad_step,
            "first_bad_term": self.first_bad_term,
        }
        average = {} if self.average is None else self.average.state()
        ema = {f"ema.{name}": tensor for name, tensor in average.items()}
        resampler = {} if self.resampler is None else self.resampler.state()
        candidates = {f"resampling.{name}": tensor for name, tensor in resampler.items()}
        return sae | adam | ema | candidates | counters
