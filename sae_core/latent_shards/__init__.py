"""SAEs whose latents are divided among ranks, discovered from the names of the files here.

One file is one architecture of the same name. It defines SHARD, a subclass of LatentShard and of
the architecture's SAE, whose `losses` give the whole SAE's.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sae_core.config import SaeConfig
    from sae_core.latent_shard import LatentShard
    from sae_core.ranks import Ranks
    from sae_core.sae import Sae


def names() -> list[str]:
    """The architectures whose latents can be divided, sorted; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def why_not_sharded(config: SaeConfig, size: int | None) -> str | None:
    """Why such an SAE's latents cannot be divided among `size` ranks; None where they can."""
    if config.architecture not in names():
        return f"the latents of {', '.join(names())} alone can be divided"
    if config.resample_at:
        return "resampling draws for all dead latents together"
    if size is not None and config.n_latents % size:
        return f"n_latents {config.n_latents} is no multiple of {size} ranks"
    return None


def shard_of(whole: Sae, ranks: Ranks) -> LatentShard:
    """This rank's latents of an SAE; raises ValueError where they cannot be divided."""
    why = why_not_sharded(whole.config, ranks.size)
    if why:
        raise ValueError(
            f"the latents of architecture {whole.config.architecture!r} are to be divided among "
            f"{ranks.size} ranks: {why}. Allowed: an SAE that can be, or one process. Train it "
            "with launch 'local'."
        )
    module = importlib.import_module(f"{__name__}.{whole.config.architecture}")
    return module.SHARD.of(whole, ranks)
