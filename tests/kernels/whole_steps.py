"""Whole training steps as a device would run them: the kernels that they launch, not run.

Tensors of the `meta` device have shapes and no numbers: a step that read one would raise. Those of
architectures that say so (`waits_in_steps`) walk on with sizes that are guessed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch
from sae_kernels.dispatch import using
from sae_kernels.launch import Launch, recorded

from sae_core.architectures import config_class, names
from sae_core.config import SaeConfig
from sae_core.optim import RowAdam
from sae_core.toy import Superposition, statistics_of
from sae_core.trainee import Trainee
from tests.kernels.guessed_sizes import GuessedSizes

# Width d, latents f, tokens n of a batch: a real size, and odd ones, as a last batch may have.
REAL, ODD = {"d": 768, "f": 24576, "n": 2048}, {"d": 33, "f": 48, "n": 129}
MODES = (
    {},
    {"moments": "bfloat16"},
    {"compute": "bfloat16"},
    {"clip_by": "global"},
    {"clip": None},
)


def judges() -> tuple[dict[str, ModuleType], ModuleType]:
    """What tests/sae_core knows of each architecture: small configurations, and their inputs."""
    name = "whole_steps_brute_force"
    if name not in sys.modules:
        file = Path(__file__).parents[1] / "sae_core" / "brute_force" / "__init__.py"
        spec = importlib.util.spec_from_file_location(name, file)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].judges(), sys.modules[name].toy_inputs


def variants(name: str, sizes: dict[str, int]) -> list[dict[str, object]]:
    """Fields of an architecture's configurations: its defaults at the real size, else small ones
    of every kind."""
    judge, made = judges()[0][name], config_class(name)
    common = {"n_latents": sizes["f"], "tokens": 10**6, "batch_size": sizes["n"]}
    if sizes is not REAL:
        return [common | judge.SETTINGS | more for more in getattr(judge, "VARIANTS", [{}])]
    needed = {n for n, field in made.model_fields.items() if field.is_required()}
    settings = judge.SETTINGS | ({"k": 32} if "k" in needed else {})
    return [common | {n: value for n, value in settings.items() if n in needed}]


def trainee_on_meta(config: SaeConfig, *, width: int) -> Trainee:
    """A trainee that has seen enough for latents to be dead, its tensors without numbers."""
    known, toy_inputs = judges()
    judge = known[config.architecture]
    toy = Superposition(n_features=width, width=width)
    rows = [view.sample(256, step=10**6) for view in toy_inputs.views(judge, toy)]
    first, *further = map(statistics_of, rows)
    model = None
    if toy_inputs.language_model(judge) is not None:
        model = toy_inputs.ToyLanguageModel(width)
        model.to_logits, model.to_later = model.to_logits.to("meta"), model.to_later.to("meta")
    one = Trainee(
        config,
        name="a",
        statistics=first,
        further=further,
        language_model=model,
        seed=0,
        init_rows=torch.cat(rows, 1),
        device="meta",
    )
    one.tokens_seen = 500_000
    return one


def step_launches(one: Trainee, *, n: int) -> list[Launch]:
    """What a step on n tokens launches."""
    with using("fused"), recorded() as launches:
        one.step(torch.empty(n, sum(one.sae.widths), device="meta"))
    return launches


def launches() -> Iterator[Launch]:
    """Of steps of every architecture, of real and of odd size, in every mode."""
    for name in names():
        for sizes in (REAL, ODD):
            for fields in variants(name, sizes):
                one = trainee_on_meta(config_class(name)(**fields), width=sizes["d"])
                for mode in MODES:
                    if changed(one, fields | mode):
                        yield from every_guess(one, n=sizes["n"])


def changed(one: Trainee, fields: dict[str, object]) -> bool:
    """Gives the trainee another configuration of the same SAE; false where it is refused."""
    made = config_class(one.config.architecture)
    if made.float32_only and fields.get("compute") == "bfloat16":
        return False
    one.config = one.sae.config = made(**fields)
    one.optimiser = RowAdam(one.sae)
    return True


def every_guess(one: Trainee, *, n: int) -> Iterator[Launch]:
    """A step's launches; where the host waits for sizes, for both kinds of size."""
    if one.config.waits_in_steps is None:
        yield from step_launches(one, n=n)
        return
    for odd in (False, True):
        with GuessedSizes(n, odd=odd):
            yield from step_launches(one, n=n)
